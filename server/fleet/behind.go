package fleet

import (
	"context"
	"fmt"
	"maps"
	"slices"
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
	ids    map[string]int // with how many events the Mac has had (storage.Changed)
	events []compliance.Event
	// doubtful are the Macs of which it is not known whether their last change was committed, with how many events they had before it.
	doubtful map[string]int
	wake     chan struct{}
	flush    sync.Mutex // one flush at a time
}

func (w *writeBehind) init() {
	w.ids, w.doubtful, w.wake = map[string]int{}, map[string]int{}, make(chan struct{}, 1)
}

// note adds a Mac that changed, with its events; had is how many it has had in all, 0 when that is not known.
func (w *writeBehind) note(id string, had int, events []compliance.Event) {
	w.mu.Lock()
	id = storage.DeviceID(id)
	w.ids[id] = max(w.ids[id], had)
	w.events = append(w.events, events...)
	w.mu.Unlock()
	w.signal()
}

func (w *writeBehind) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// later wakes the flush when the store may be back.
func (w *writeBehind) later() { time.AfterFunc(time.Second, w.signal) }

// doubt adds a Mac whose change may have been committed although the store did not say so.
func (w *writeBehind) doubt(id string, had int) {
	w.mu.Lock()
	id = storage.DeviceID(id)
	if before, known := w.doubtful[id]; !known || had < before {
		w.doubtful[id] = had
	}
	w.mu.Unlock()
	w.later()
}

func (w *writeBehind) take() (map[string]int, []compliance.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	ids, events := w.ids, w.events
	w.ids, w.events = map[string]int{}, nil
	return ids, events
}

// takeDoubtful takes no more than are read again in a moment: the shards are waiting.
func (w *writeBehind) takeDoubtful() map[string]int {
	const most = 64
	w.mu.Lock()
	defer w.mu.Unlock()
	doubtful := make(map[string]int, min(most, len(w.doubtful)))
	for id, had := range w.doubtful {
		if len(doubtful) == most {
			w.later()
			break
		}
		doubtful[id] = had
		delete(w.doubtful, id)
	}
	return doubtful
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

// resolveDoubts reads Macs again whose last change may have been committed, and does what follows from it if it was.
func (f *Fleet) resolveDoubts(ctx context.Context) {
	doubtful := f.behind.takeDoubtful()
	bad := parallel(ctx, 16, slices.Collect(maps.Keys(doubtful)), func(id string) error {
		if err := f.publish(ctx, id, doubtful[id]); err != nil {
			return err
		}
		return f.look(ctx, id)
	})
	for _, b := range bad {
		f.behind.doubt(b.item, doubtful[b.item])
	}
}

// publish brings what the index and the fleet's timeline may lack of a Mac there: its record, and its events but for as many as are known to be there.
func (f *Fleet) publish(ctx context.Context, id string, published int) error {
	var rec *storage.Record
	var events []compliance.Event
	err := f.store.ViewMac(ctx, id, func(m *storage.Mac) (err error) {
		if rec, err = m.Record(); err != nil || rec == nil || rec.Events <= published {
			return err
		}
		events, err = m.Events("", min(rec.Events-published, maxEvents))
		return err
	})
	switch {
	case err != nil:
		return fmt.Errorf("read %s again: %w", id, err)
	case rec == nil:
		return nil
	}
	slices.Reverse(events)
	f.behind.note(id, rec.Events, events)
	return f.index.take(rec)
}

// flushBehind writes what was collected. What cannot be written is kept for the next time.
func (f *Fleet) flushBehind(ctx context.Context) {
	f.behind.flush.Lock()
	defer f.behind.flush.Unlock()
	f.resolveDoubts(ctx)
	ids, events := f.behind.take()
	if len(ids) == 0 && len(events) == 0 {
		return
	}
	type work struct {
		macs   []storage.Changed
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
	for id, had := range ids {
		w := shard(id)
		w.macs = append(w.macs, storage.Changed{ID: id, Events: had})
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
		before, after, err := f.store.AddToIndex(ctx, n, shards[n].macs, shards[n].events)
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
		for _, mac := range shards[bad.item].macs {
			f.behind.ids[mac.ID] = max(f.behind.ids[mac.ID], mac.Events)
		}
		f.behind.events = append(append([]compliance.Event(nil), shards[bad.item].events...), f.behind.events...)
	}
	f.behind.mu.Unlock()
	f.behind.later()
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

// each looks after many Macs at once, and returns and logs those that failed.
func (f *Fleet) each(ctx context.Context, ids []string, fn func(id string) error) (failed []string) {
	bad := parallel(ctx, 64, ids, fn)
	if len(bad) > 0 && ctx.Err() == nil {
		f.log.Warn("some Macs could not be looked after; they are looked at again", "macs", len(bad), "first", bad[0].item, "error", bad[0].err)
	}
	for _, b := range bad {
		failed = append(failed, b.item)
	}
	return failed
}
