package lead

import (
	"sync"
	"time"
)

const (
	maxRequeued = 1000 // beyond that the whole fleet is looked at again
	requeueIn   = 2 * time.Second
	requeueMax  = 5 * time.Minute
)

// requeue holds the Macs that a sweep is to look at whatever it finds: those that could not be reconciled, with patience,
// so that one of them does not make the whole fleet be looked at again and again.
type requeue struct {
	mu   sync.Mutex
	at   map[string]time.Time
	wait map[string]time.Duration
}

func newRequeue() requeue {
	return requeue{at: map[string]time.Time{}, wait: map[string]time.Duration{}}
}

func (q *requeue) add(id string, at time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.at[id] = at
}

// due takes those whose time has come.
func (q *requeue) due(now time.Time) (ids []string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for id, at := range q.at {
		if !at.After(now) {
			ids = append(ids, id)
			delete(q.at, id)
		}
	}
	return ids
}

// tried notes which of those that were looked at could not be reconciled.
func (q *requeue) tried(ids, failed []string, now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	wait := make(map[string]time.Duration, len(failed))
	for _, id := range failed {
		wait[id] = min(max(requeueIn, 2*q.wait[id]), requeueMax)
	}
	for _, id := range ids {
		delete(q.wait, id)
	}
	if len(failed) > maxRequeued {
		return
	}
	for id, d := range wait {
		q.wait[id], q.at[id] = d, now.Add(d)
	}
}
