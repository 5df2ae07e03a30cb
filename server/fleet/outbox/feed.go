package outbox

import (
	"context"
	"sync"
)

// Feed wakes those who follow the fleet's timeline. The zero value is ready; safe for concurrent use.
type Feed struct {
	mu   sync.Mutex
	subs map[chan struct{}]bool
}

// Signal says that there may be new events.
func (s *Feed) Signal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.subs {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// Subscribe returns a channel that signals that there may be new events. It is closed when ctx ends.
func (s *Feed) Subscribe(ctx context.Context) <-chan struct{} {
	c := make(chan struct{}, 1)
	s.mu.Lock()
	if s.subs == nil {
		s.subs = map[chan struct{}]bool{}
	}
	s.subs[c] = true
	s.mu.Unlock()
	context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.subs, c)
		close(c)
	})
	return c
}
