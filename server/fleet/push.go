package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	pushAgainAfter = time.Minute // after there was no push certificate
	pushBackoff    = time.Second // after APNs could not be reached, doubled up to pushAgainAfter
)

// pushQueue holds the Macs for which a command was queued and that are still to be pushed and noted.
type pushQueue struct {
	// possible is false while there is no push certificate; commands are then noted when they are queued.
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

// waiting tells whether any push is still to come or under way.
func (q *pushQueue) waiting(id string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.tokens[id] != "" || q.inHand[id] != ""
}

func (q *pushQueue) take(n int) []string {
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

// back puts Macs that were in hand into the queue again.
func (q *pushQueue) back(ids []string) {
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

// forget drops what was to be pushed to a Mac: its queue is cleared with its life.
func (q *pushQueue) forget(id string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.tokens, id)
	delete(q.inHand, id)
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
	backoff := pushBackoff
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
			if f.push(ctx, ids) {
				f.pushes.done(ids)
				backoff = pushBackoff
				continue
			}
			f.pushes.back(ids)
			pause := time.NewTimer(backoff)
			select {
			case <-ctx.Done():
				pause.Stop()
				return
			case <-pause.C:
			}
			backoff = min(2*backoff, pushAgainAfter)
		}
	}
}

// push wakes Macs and notes it (rules.md 10: queue the command, push, note it). It returns false when APNs could not be reached, or a push
// could not be noted: those that are still in hand then are pushed again.
func (f *Fleet) push(ctx context.Context, ids []string) bool {
	failed, err := f.o.Teller.Push(ctx, ids)
	switch {
	case errors.Is(err, ErrNoPush):
		f.pushes.possible.Store(false)
	case err != nil:
		f.counters.PushesFailed.Add(int64(len(ids)))
		if ctx.Err() == nil {
			f.log.Warn("Macs could not be pushed; trying again", "macs", len(ids), "error", err)
		}
		return false
	default:
		f.counters.Pushes.Add(int64(len(ids) - len(failed)))
		f.counters.PushesFailed.Add(int64(len(failed)))
	}
	bad := f.each(ctx, ids, func(id string) error {
		// Without a certificate a Mac is noted when its command is queued, so that nothing is left to do.
		if rec := f.index.get(id); err != nil && rec != nil && rec.Push == "" && rec.Told != "" && f.pushes.pending(id, rec.Told) {
			return nil
		}
		reason := ""
		if e := failed[id]; e != nil {
			reason = e.Error()
		}
		return f.noteTold(ctx, id, reason)
	})
	if len(bad) == 0 {
		return true
	}
	f.pushes.done(slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return slices.Contains(bad, id) }))
	return false
}

// noteTold notes that a Mac was told what is advertised to it, or why the push failed: then it is not outstanding.
func (f *Fleet) noteTold(ctx context.Context, id, failed string) error {
	f.pushes.mu.Lock()
	token := f.pushes.inHand[id]
	f.pushes.mu.Unlock()
	_, err := f.change(ctx, id, settling{now: f.now(), noting: true}, func(_ *storage.MacTx, s *settling) (bool, error) {
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

// commandFailed is why a Mac could not be told that answered the command to sync with an error.
const commandFailed = "the Mac answered the DeclarativeManagement command with an error"

// CommandFailed notes that a Mac answered a DeclarativeManagement command with an error: what it was told is not outstanding any more
// (rules.md 10). It is told again as after a push that failed.
func (f *Fleet) CommandFailed(ctx context.Context, id string) error {
	_, err := f.change(ctx, id, settling{now: f.now(), noting: true}, func(_ *storage.MacTx, s *settling) (bool, error) {
		if s.Record == nil || s.Record.Told == "" || s.Record.Push != "" {
			return false, nil
		}
		s.Record.Push = commandFailed
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("note that %s refused a command: %w", id, err)
	}
	return nil
}

// PushReady tells the fleet that a push certificate was stored: Macs that were told without a push are woken.
func (f *Fleet) PushReady() {
	f.pushes.possible.Store(true)
	for _, r := range f.index.enrolled() {
		if r.tell == 0 {
			continue
		}
		if rec := r.record(); rec.Told == rec.Advertised {
			f.pushes.add(r.id, rec.Told)
		}
	}
}
