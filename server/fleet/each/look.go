package each

import (
	"context"
	"sync"
	"time"
)

// How often something that is not known may have the store looked at: guessing must not be an attack on it.
const (
	lookEvery = 250 * time.Millisecond
	lookTime  = 2 * time.Second // at most for one look: strangers wait for it
)

// Look is a look at the store that many who wait for it share. The zero value is ready; safe for concurrent use.
type Look struct {
	mu     sync.Mutex // one look at a time
	began  time.Time  // when the last look began, or failed
	failed error      // why the last look failed
}

// Take returns once a look is over that began after the call.
func (l *Look) Take(ctx context.Context, look func(context.Context) error) error {
	came := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.began.After(came) {
		return l.failed
	}
	if wait := lookEvery - time.Since(l.began); wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	l.began = time.Now()
	// Others wait for it too: it does not end with the one who began it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTime)
	defer cancel()
	if l.failed = look(ctx); l.failed != nil {
		l.began = time.Now() // a store that is away is not waited for once more by those who came meanwhile
	}
	return l.failed
}
