package fleet

import (
	"context"
	"sync"
	"time"

	"plimsoll/status/compliance"
	"plimsoll/storage"
)

// behindEvery is how long a change may wait for others before the shards learn of it.
const behindEvery = 200 * time.Millisecond

// writeBehind collects what the index shards have to learn: they are written behind the Mac, coalesced.
type writeBehind struct {
	mu     sync.Mutex
	ids    map[string]bool
	events []compliance.Event
	wake   chan struct{}
	flush  sync.Mutex // one flush at a time
}

func (w *writeBehind) init() { w.ids, w.wake = map[string]bool{}, make(chan struct{}, 1) }

// note adds a Mac that changed, with its events.
func (w *writeBehind) note(id string, events []compliance.Event) {
	w.mu.Lock()
	w.ids[storage.DeviceID(id)] = true
	w.events = append(w.events, events...)
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *writeBehind) take() (map[string]bool, []compliance.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	ids, events := w.ids, w.events
	w.ids, w.events = map[string]bool{}, nil
	return ids, events
}

// behindLoop writes to the shards at most every 200 ms, until ctx ends.
func (f *Fleet) behindLoop(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.behind.wake:
		}
		timer := time.NewTimer(behindEvery)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		f.flushBehind(ctx)
	}
}

// flushBehind writes what was collected. What cannot be written is kept for the next time.
func (f *Fleet) flushBehind(ctx context.Context) {
	f.behind.flush.Lock()
	defer f.behind.flush.Unlock()
	ids, events := f.behind.take()
	if len(ids) == 0 && len(events) == 0 {
		return
	}
	type work struct {
		ids    []string
		events []compliance.Event
	}
	shards := map[int]*work{}
	shard := func(id string) *work {
		n := storage.ShardOf(id)
		if shards[n] == nil {
			shards[n] = &work{}
		}
		return shards[n]
	}
	for id := range ids {
		w := shard(id)
		w.ids = append(w.ids, id)
	}
	for _, e := range events {
		w := shard(e.Device)
		w.events = append(w.events, e)
	}
	numbers := make([]int, 0, len(shards))
	for n := range shards {
		numbers = append(numbers, n)
	}
	failed := parallel(ctx, 16, numbers, func(n int) error {
		before, after, err := f.store.AddToIndex(ctx, n, shards[n].ids, shards[n].events)
		if err == nil {
			f.index.wrote(n, before, after)
		}
		return err
	})
	if len(failed) == 0 {
		f.feed.signal()
		return
	}
	f.log.Warn("the index shards could not be written; trying again", "shards", len(failed), "error", failed[0].err)
	f.behind.mu.Lock()
	for _, bad := range failed {
		for _, id := range shards[bad.item].ids {
			f.behind.ids[id] = true
		}
		f.behind.events = append(append([]compliance.Event(nil), shards[bad.item].events...), f.behind.events...)
	}
	f.behind.mu.Unlock()
	time.AfterFunc(time.Second, func() {
		select {
		case f.behind.wake <- struct{}{}:
		default:
		}
	})
}

// failure is an item for which something failed.
type failure[T any] struct {
	item T
	err  error
}

// parallel calls fn for every item, at most n at a time, and returns the failures. It stops early when ctx ends; the rest counts as failed.
func parallel[T any](ctx context.Context, n int, items []T, fn func(T) error) []failure[T] {
	var mu sync.Mutex
	var failed []failure[T]
	fail := func(item T, err error) {
		mu.Lock()
		failed = append(failed, failure[T]{item, err})
		mu.Unlock()
	}
	next := make(chan T)
	var wg sync.WaitGroup
	for range min(n, len(items)) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for item := range next {
				if err := ctx.Err(); err != nil {
					fail(item, err)
				} else if err := fn(item); err != nil {
					fail(item, err)
				}
			}
		}()
	}
	for _, item := range items {
		next <- item
	}
	close(next)
	wg.Wait()
	return failed
}

// each looks after many Macs at once and logs how many failed.
func (f *Fleet) each(ctx context.Context, ids []string, fn func(id string) error) (failed int) {
	bad := parallel(ctx, 64, ids, fn)
	if len(bad) > 0 && ctx.Err() == nil {
		f.log.Warn("some Macs could not be looked after; they are looked at again", "macs", len(bad), "first", bad[0].item, "error", bad[0].err)
	}
	return len(bad)
}
