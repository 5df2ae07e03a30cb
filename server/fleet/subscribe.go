package fleet

import (
	"context"
	"sync"
)

// subscribers are told that there may be new events.
type subscribers struct {
	mu   sync.Mutex
	subs map[chan struct{}]bool
}

func (s *subscribers) signal() {
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
func (f *Fleet) Subscribe(ctx context.Context) <-chan struct{} {
	c := make(chan struct{}, 1)
	f.feed.mu.Lock()
	if f.feed.subs == nil {
		f.feed.subs = map[chan struct{}]bool{}
	}
	f.feed.subs[c] = true
	f.feed.mu.Unlock()
	context.AfterFunc(ctx, func() {
		f.feed.mu.Lock()
		defer f.feed.mu.Unlock()
		delete(f.feed.subs, c)
		close(c)
	})
	return c
}
