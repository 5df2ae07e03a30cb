package fleet

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"plimsoll/storage"
)

// ErrNoPush is what a Teller's Push returns when there is no push certificate.
var ErrNoPush = errors.New("there is no push certificate")

const (
	pushBatch      = 50          // pushes handed to the Teller at once
	pushAgainAfter = time.Minute // after a push was not possible at all
)

// pushQueue holds the Macs for which a command was queued and that are still to be pushed and noted.
type pushQueue struct {
	// possible is false after a push failed as a whole; commands are then noted when they are queued.
	possible atomic.Bool
	mu       sync.Mutex
	tokens   map[string]string // by id, the token that the command carries
	order    []string
	inHand   map[string]string
	wake     chan struct{}
}

func (q *pushQueue) init() {
	q.tokens, q.inHand, q.wake = map[string]string{}, map[string]string{}, make(chan struct{}, 1)
	q.possible.Store(true)
}

func (q *pushQueue) add(id, token string) {
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

// pending tells whether a push for that very token is still to come or under way.
func (q *pushQueue) pending(id, token string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.tokens[id] == token || q.inHand[id] == token
}

func (q *pushQueue) take(n int) []string {
	q.mu.Lock()
	defer q.mu.Unlock()
	n = min(n, len(q.order))
	ids := q.order[:n:n]
	q.order = q.order[n:]
	for _, id := range ids {
		q.inHand[id] = q.tokens[id]
		delete(q.tokens, id)
	}
	return ids
}

func (q *pushQueue) done(ids []string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, id := range ids {
		delete(q.inHand, id)
	}
}

// pushLoop pushes what was queued, at most PushRate a second, and notes it, until ctx ends.
func (f *Fleet) pushLoop(ctx context.Context) {
	limit := rate.NewLimiter(rate.Limit(f.o.PushRate), max(pushBatch, int(f.o.PushRate)))
	again := time.NewTicker(pushAgainAfter)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-again.C:
			f.pushes.possible.Store(true)
			continue
		case <-f.pushes.wake:
		}
		for {
			ids := f.pushes.take(pushBatch)
			if len(ids) == 0 {
				break
			}
			if f.pushes.possible.Load() {
				if err := limit.WaitN(ctx, len(ids)); err != nil {
					return
				}
			}
			f.push(ctx, ids)
			f.pushes.done(ids)
		}
	}
}

// push wakes Macs and notes it (rules.md 10: queue the command, push, note it).
func (f *Fleet) push(ctx context.Context, ids []string) {
	failed, err := f.o.Teller.Push(ctx, ids)
	switch {
	case errors.Is(err, ErrNoPush):
		f.pushes.possible.Store(false)
	case err != nil:
		f.pushes.possible.Store(false)
		f.counters.PushesFailed.Add(int64(len(ids)))
		f.log.Warn("Macs could not be pushed", "macs", len(ids), "error", err)
	default:
		f.counters.Pushes.Add(int64(len(ids) - len(failed)))
		f.counters.PushesFailed.Add(int64(len(failed)))
	}
	f.each(ctx, ids, func(id string) error {
		reason := ""
		if e := failed[id]; e != nil {
			reason = e.Error()
		}
		return f.noteTold(ctx, id, reason)
	})
}

// noteTold notes that a Mac was told what is advertised to it, or why the push failed: then it is not outstanding.
func (f *Fleet) noteTold(ctx context.Context, id, failed string) error {
	f.pushes.mu.Lock()
	token := f.pushes.inHand[id]
	f.pushes.mu.Unlock()
	_, err := f.change(ctx, id, settling{now: f.now()}, func(_ *storage.MacTx, s *settling) (bool, error) {
		rec := s.Record
		if rec == nil || !rec.Facts.Enrolled {
			return false, nil
		}
		if len(failed) > 200 {
			failed = failed[:200]
		}
		changed := rec.Push != failed
		rec.Push = failed
		// A Mac whose push failed is tried again with the patience of one that was told: a dead token must not be pushed for ever.
		// One that was noted when its command was queued, since no push was possible, is not noted twice.
		if noted := rec.Told == token && s.now.Before(rec.ToldAt.Add(patience(rec.Tries))); !noted && rec.Manifest != token && rec.Advertised == token {
			if rec.Told != token {
				rec.Tries = 0
			}
			rec.Told, rec.ToldAt = token, s.now
			rec.Tries++
			changed = true
		}
		return changed, nil
	})
	if err != nil {
		return fmt.Errorf("note that %s was told: %w", id, err)
	}
	return nil
}

// PushReady tells the fleet that a push certificate was stored: Macs that were told without a push are woken.
func (f *Fleet) PushReady() {
	f.pushes.possible.Store(true)
	for _, rec := range f.index.all() {
		if rec.Facts.Enrolled && rec.Told != "" && rec.Told == rec.Advertised {
			f.pushes.add(rec.Facts.ID, rec.Told)
		}
	}
}
