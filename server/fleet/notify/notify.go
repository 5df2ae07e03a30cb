// Package notify holds the Macs that are to be woken through APNs, and wakes them at a bounded rate.
package notify

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"plimsoll/server/fleet/each"
)

// ErrNoPush is what a Pusher returns when there is no push certificate.
var ErrNoPush = errors.New("there is no push certificate")

// Batch is how many Macs are handed to the Pusher at once.
const Batch = 50

const (
	againAfter = time.Minute // after there was no push certificate
	backoff    = time.Second // after APNs could not be reached, doubled up to againAfter
)

// Pusher wakes Macs through APNs.
type Pusher interface {
	// Push wakes Macs; the result holds an error for each id that failed. An error of its own means that nothing was
	// pushed: there is no push certificate (ErrNoPush), or APNs cannot be reached.
	Push(ctx context.Context, ids []string) (map[string]error, error)
}

// Result is what became of the push of one Mac.
type Result struct {
	ID    string
	Token string // that the queued command carries
	// Failed is why APNs refused the push; empty when it did not.
	Failed string
	// NoCertificate: nothing was pushed, because there is no push certificate.
	NoCertificate bool
}

// Options are what a Queue is made of.
type Options struct {
	Pusher func() Pusher
	// Rate bounds the pushes a second.
	Rate float64
	// Note keeps what became of a push in the Mac's record. The push is repeated when it returns an error.
	Note func(ctx context.Context, r Result) error
	// Count counts pushes that were taken and that failed.
	Count func(pushed, failed int)
	Log   *slog.Logger
}

// Queue holds the Macs for which a command was queued and that are still to be pushed and noted. Safe for concurrent use.
type Queue struct {
	o Options
	// possible is false while there is no push certificate; commands are then noted when they are queued.
	possible atomic.Bool
	mu       sync.Mutex
	tokens   map[string]string // by id, the token that the command carries
	order    []string
	inHand   map[string]string
	wake     chan struct{}
}

// New makes an empty Queue.
func New(o Options) *Queue {
	q := &Queue{o: o, tokens: map[string]string{}, inHand: map[string]string{}, wake: make(chan struct{}, 1)}
	q.possible.Store(true)
	return q
}

// Add queues a Mac, with the token that its command carries. It replaces the Mac's older one.
func (q *Queue) Add(id, token string) {
	q.mu.Lock()
	if _, waiting := q.tokens[id]; !waiting {
		q.order = append(q.order, id)
	}
	q.tokens[id] = token
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// Possible tells whether Macs can be pushed, as far as is known: there was a push certificate when one was needed last.
func (q *Queue) Possible() bool { return q.possible.Load() }

// Ready lets Macs be pushed again: a push certificate was stored.
func (q *Queue) Ready() { q.possible.Store(true) }

// Pending are the tokens of a Mac's push that is still to come, and of the one that is under way; empty: none.
func (q *Queue) Pending(id string) (next, inHand string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.tokens[id], q.inHand[id]
}

// Waiting tells whether any push of a Mac is still to come or under way.
func (q *Queue) Waiting(id string) bool {
	next, inHand := q.Pending(id)
	return next != "" || inHand != ""
}

// Forget drops what was to be pushed to a Mac: its commands are cleared with its life.
func (q *Queue) Forget(id string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.tokens, id)
	delete(q.inHand, id)
}

// take takes the next n Macs in hand.
func (q *Queue) take(n int) []string {
	q.mu.Lock()
	defer q.mu.Unlock()
	var ids []string
	for len(q.order) > 0 && len(ids) < n {
		id := q.order[0]
		q.order = q.order[1:]
		if token, ok := q.tokens[id]; ok { // else it was forgotten
			q.inHand[id] = token
			delete(q.tokens, id)
			ids = append(ids, id)
		}
	}
	return ids
}

// back puts Macs that are still in hand into the queue again.
func (q *Queue) back(ids []string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, id := range ids {
		token, ok := q.inHand[id]
		if _, waiting := q.tokens[id]; ok && !waiting {
			q.tokens[id] = token
			q.order = append(q.order, id)
		}
		delete(q.inHand, id)
	}
}

func (q *Queue) done(ids []string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, id := range ids {
		delete(q.inHand, id)
	}
}

// Run pushes what is queued, at most Rate a second, and notes it, until ctx ends.
func (q *Queue) Run(ctx context.Context) {
	limit := rate.NewLimiter(rate.Limit(q.o.Rate), max(Batch, int(q.o.Rate)))
	again := time.NewTicker(againAfter)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-again.C:
			q.possible.Store(true)
			continue
		case <-q.wake:
		}
		q.empty(ctx, limit)
	}
}

// empty pushes until the queue is empty or ctx ends.
func (q *Queue) empty(ctx context.Context, limit *rate.Limiter) {
	for wait := backoff; ; {
		ids := q.take(Batch)
		if len(ids) == 0 {
			return
		}
		if q.possible.Load() {
			if err := limit.WaitN(ctx, len(ids)); err != nil {
				return
			}
		}
		if q.push(ctx, ids) {
			q.done(ids)
			wait = backoff
			continue
		}
		q.back(ids)
		pause := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			pause.Stop()
			return
		case <-pause.C:
		}
		wait = min(2*wait, againAfter)
	}
}

// Once pushes what is queued now, without a bound on the rate, and returns how many Macs are to be pushed again because
// APNs could not be reached or a push could not be noted. Run does the same by itself and at its own pace.
func (q *Queue) Once(ctx context.Context) (again int) {
	var rest []string
	for ids := q.take(Batch); len(ids) > 0; ids = q.take(Batch) {
		if q.push(ctx, ids) {
			q.done(ids)
		} else {
			rest = append(rest, ids...)
		}
	}
	q.back(rest)
	return len(rest)
}

// push wakes Macs and notes it (rules 10: queue the command, push, note it). It returns false when APNs could not be
// reached, or a push could not be noted: those that are still in hand then are pushed again.
func (q *Queue) push(ctx context.Context, ids []string) bool {
	failed, err := q.o.Pusher().Push(ctx, ids)
	noCertificate := errors.Is(err, ErrNoPush)
	switch {
	case noCertificate:
		q.possible.Store(false)
	case err != nil:
		q.o.Count(0, len(ids))
		if ctx.Err() == nil {
			q.o.Log.Warn("Macs could not be pushed; trying again", "macs", len(ids), "error", err)
		}
		return false
	default:
		q.o.Count(len(ids)-len(failed), len(failed))
	}
	bad := each.Do(ctx, 64, ids, func(id string) error {
		r := Result{ID: id, NoCertificate: noCertificate}
		_, r.Token = q.Pending(id)
		if e := failed[id]; e != nil {
			r.Failed = e.Error()
		}
		return q.o.Note(ctx, r)
	})
	if len(bad) == 0 {
		return true
	}
	if ctx.Err() == nil {
		q.o.Log.Warn("pushes could not be noted; they are made again", "macs", len(bad), "first", bad[0].Item, "error", bad[0].Err)
	}
	q.done(slices.DeleteFunc(slices.Clone(ids), func(id string) bool {
		return slices.ContainsFunc(bad, func(b each.Failure[string]) bool { return b.Item == id })
	}))
	return false
}
