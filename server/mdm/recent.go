package mdm

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// recent is a bounded map: it has two generations, and when the young one is full or old enough it takes the place of
// the old one, which is dropped. What is used stays. Safe for concurrent use.
type recent[K comparable, V any] struct {
	max   int           // entries of one generation
	every time.Duration // how long a generation stays young; 0: until it is full

	mu         sync.Mutex
	young, old map[K]V
	turned     time.Time
	epoch      uint64 // counts deletions
}

// get finds an entry. The epoch is for putSince.
func (r *recent[K, V]) get(k K, now time.Time) (v V, epoch uint64, found bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if v, found = r.young[k]; found {
		return v, r.epoch, true
	}
	if v, found = r.old[k]; found {
		r.put(k, v, now)
	}
	return v, r.epoch, found
}

// putSince keeps an entry, unless something was deleted since the epoch: what was read before may not be true any more.
func (r *recent[K, V]) putSince(epoch uint64, k K, v V, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.epoch == epoch {
		r.put(k, v, now)
	}
}

func (r *recent[K, V]) delete(k K) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.epoch++
	delete(r.young, k)
	delete(r.old, k)
}

// change puts f(entry) in the place of an entry, the zero value when there is none, and returns it.
func (r *recent[K, V]) change(k K, now time.Time, f func(v V, found bool) V) V {
	r.mu.Lock()
	defer r.mu.Unlock()
	v, found := r.young[k]
	if !found {
		v, found = r.old[k]
	}
	v = f(v, found)
	r.put(k, v, now)
	return v
}

func (r *recent[K, V]) put(k K, v V, now time.Time) {
	if r.young == nil || len(r.young) >= r.max || r.every > 0 && now.Sub(r.turned) >= r.every {
		r.old, r.young, r.turned = r.young, make(map[K]V), now
	}
	r.young[k] = v
}

// size counts the entries of both generations; one that is in both counts twice.
func (r *recent[K, V]) size() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.young) + len(r.old)
}

const (
	macRate  = 20  // requests a second of one Mac (docs/api.md 1)
	macBurst = 100 // and at once
)

// limiter limits each Mac, told apart by its certificate. After macBurst/macRate seconds of rest a Mac has its whole
// burst again, so that forgetting it then changes nothing.
type limiter struct {
	macs recent[fingerprint, *rate.Limiter]
}

func newLimiter() *limiter {
	return &limiter{macs: recent[fingerprint, *rate.Limiter]{max: maxKnown, every: macBurst / macRate * time.Second}}
}

func (l *limiter) allow(cert fingerprint, now time.Time) bool {
	lim := l.macs.change(cert, now, func(lim *rate.Limiter, found bool) *rate.Limiter {
		if !found {
			lim = rate.NewLimiter(macRate, macBurst)
		}
		return lim
	})
	return lim.AllowN(now, 1)
}
