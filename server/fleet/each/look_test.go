package each

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
)

// Many who wait share few looks, and every one of them gets a look that began after it came.
func TestLook(t *testing.T) {
	var l Look
	var looks, value atomic.Int64
	var all sync.WaitGroup
	const waiting = 200
	for range waiting {
		all.Go(func() {
			want := value.Add(1)
			var saw atomic.Int64
			if err := l.Take(t.Context(), func(context.Context) error { looks.Add(1); saw.Store(value.Load()); return nil }); err != nil {
				t.Error(err)
			}
			if got := saw.Load(); got != 0 && got < want {
				t.Errorf("looked at %d after %d", got, want)
			}
		})
	}
	all.Wait()
	if n := looks.Load(); n == 0 || n > waiting/10 {
		t.Errorf("%d who wait looked %d times", waiting, n)
	}
}

// Who goes away does not end the look that others wait for; a failure is told to all who wait.
func TestLookFails(t *testing.T) {
	var l Look
	gone, leave := context.WithCancel(t.Context())
	leave()
	failed := errors.New("away")
	if err := l.Take(gone, func(ctx context.Context) error { return errors.Join(ctx.Err(), failed) }); !errors.Is(err, failed) || errors.Is(err, context.Canceled) {
		t.Errorf("the first look: %v", err)
	}
	if err := l.Take(gone, func(context.Context) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("who is gone waits for a look: %v", err)
	}
	if err := l.Take(t.Context(), func(context.Context) error { return nil }); err != nil {
		t.Errorf("the next look: %v", err)
	}
}
