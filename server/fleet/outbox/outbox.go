// Package outbox holds what the index shards, and with them the other replicas and all streams, have yet to learn of
// changed Macs.
package outbox

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"plimsoll/server/fleet/each"
	"plimsoll/status/compliance"
	"plimsoll/storage"
)

// every is how long a change may wait for others before the shards learn of it.
const every = 200 * time.Millisecond

// MaxEvents is how many events are kept of one Mac, whatever their age.
const MaxEvents = 2000

// Index is this replica's own memory of the Macs.
type Index interface {
	// Take keeps a record that was read, unless a younger one is there already.
	Take(*storage.Record) error
	// Wrote notes that this replica itself wrote the numbers of a shard above before, up to after.
	Wrote(shard int, before, after uint64)
}

// Options are what an Outbox is made of.
type Options struct {
	Store *storage.Store
	Index Index
	// Reconcile looks at a Mac whose last commit had an unknown outcome: what follows from it if it was committed is still
	// to be done.
	Reconcile func(ctx context.Context, id string) error
	Log       *slog.Logger
}

// Outbox collects what the index shards have to learn: they are written behind the Mac, coalesced. Safe for concurrent use.
type Outbox struct {
	o    Options
	Feed Feed

	mu     sync.Mutex
	macs   map[string]int // with how many events the Mac has had (storage.Changed)
	events []compliance.Event
	// unknown are the Macs whose last commit had an unknown outcome, with how many events they had before it.
	unknown  map[string]int
	wake     chan struct{}
	flushing sync.Mutex // one flush at a time
}

// New makes an empty Outbox.
func New(o Options) *Outbox {
	return &Outbox{o: o, macs: map[string]int{}, unknown: map[string]int{}, wake: make(chan struct{}, 1)}
}

// Add adds a Mac that changed, with its events; had is how many it has had in all, 0 when that is not known.
func (b *Outbox) Add(id string, had int, events []compliance.Event) {
	b.mu.Lock()
	id = storage.DeviceID(id)
	b.macs[id] = max(b.macs[id], had)
	b.events = append(b.events, events...)
	b.mu.Unlock()
	b.signal()
}

func (b *Outbox) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// later wakes the flush when the store may be back.
func (b *Outbox) later() { time.AfterFunc(time.Second, b.signal) }

// AddUnknown adds a Mac whose change may have been committed although the store did not say so; had is how many events it
// had before.
func (b *Outbox) AddUnknown(id string, had int) {
	b.mu.Lock()
	id = storage.DeviceID(id)
	if before, known := b.unknown[id]; !known || had < before {
		b.unknown[id] = had
	}
	b.mu.Unlock()
	b.later()
}

// take takes what was collected, by shard.
func (b *Outbox) take() map[int]*batch {
	b.mu.Lock()
	defer b.mu.Unlock()
	shards := map[int]*batch{}
	of := func(id string) *batch {
		n := storage.ShardOf(id)
		if shards[n] == nil {
			shards[n] = &batch{}
		}
		return shards[n]
	}
	for id, had := range b.macs {
		s := of(id)
		s.macs = append(s.macs, storage.Changed{ID: id, Events: had})
	}
	for _, e := range b.events {
		s := of(e.Device)
		s.events = append(s.events, e)
	}
	b.macs, b.events = map[string]int{}, nil
	return shards
}

// batch is what one shard has to learn.
type batch struct {
	macs   []storage.Changed
	events []compliance.Event
}

// back keeps for the next time what could not be written; its events come before those that were added meanwhile.
func (b *Outbox) back(failed *batch) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, mac := range failed.macs {
		b.macs[mac.ID] = max(b.macs[mac.ID], mac.Events)
	}
	b.events = slices.Concat(failed.events, b.events)
}

// takeUnknown takes no more than are read again in a moment: the shards are waiting.
func (b *Outbox) takeUnknown() map[string]int {
	const most = 64
	b.mu.Lock()
	defer b.mu.Unlock()
	taken := make(map[string]int, min(most, len(b.unknown)))
	for id, had := range b.unknown {
		if len(taken) == most {
			b.later()
			break
		}
		taken[id] = had
		delete(b.unknown, id)
	}
	return taken
}

// Run writes to the shards at most every 200 ms, until ctx ends.
func (b *Outbox) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.wake:
		}
		timer := time.NewTimer(every)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		b.Flush(ctx)
	}
}

// resolve reads Macs again whose last commit had an unknown outcome, and does what follows from it if it was committed.
func (b *Outbox) resolve(ctx context.Context) {
	unknown := b.takeUnknown()
	bad := each.Do(ctx, 16, slices.Collect(maps.Keys(unknown)), func(id string) error {
		if err := b.Publish(ctx, id, unknown[id]); err != nil {
			return err
		}
		return b.o.Reconcile(ctx, id)
	})
	for _, f := range bad {
		b.AddUnknown(f.Item, unknown[f.Item])
	}
}

// Publish brings what the index and the fleet's timeline may lack of a Mac there: its record, and its events but for the
// first published ones.
func (b *Outbox) Publish(ctx context.Context, id string, published int) error {
	var rec *storage.Record
	var events []compliance.Event
	err := b.o.Store.ViewMac(ctx, id, func(m *storage.Mac) (err error) {
		events = nil
		if rec, err = m.Record(); err != nil || rec == nil || rec.Events <= published {
			return err
		}
		events, err = m.Events("", min(rec.Events-published, MaxEvents))
		return err
	})
	switch {
	case err != nil:
		return fmt.Errorf("read %s again: %w", id, err)
	case rec == nil:
		return nil
	}
	slices.Reverse(events)
	b.Add(id, rec.Events, events)
	return b.o.Index.Take(rec)
}

// Flush writes what was collected. What cannot be written is kept for the next time.
func (b *Outbox) Flush(ctx context.Context) {
	b.flushing.Lock()
	defer b.flushing.Unlock()
	b.resolve(ctx)
	shards := b.take()
	if len(shards) == 0 {
		return
	}
	failed := each.Do(ctx, 16, slices.Collect(maps.Keys(shards)), func(n int) error {
		before, after, err := b.o.Store.AddToIndex(ctx, n, shards[n].macs, shards[n].events)
		if err == nil {
			b.o.Index.Wrote(n, before, after)
		}
		return err
	})
	if len(failed) == 0 {
		b.Feed.Signal()
		return
	}
	b.o.Log.Warn("the index shards could not be written; trying again", "shards", len(failed), "error", failed[0].Err)
	for _, f := range failed {
		b.back(shards[f.Item])
	}
	b.later()
}

// PublishFleet brings the events that concern no Mac to the shards and to whoever listens. It names the last one of the book
// that is there.
func (b *Outbox) PublishFleet(ctx context.Context) (published string, err error) {
	published, before, after, err := b.o.Store.PublishFleetEvents(ctx)
	if err == nil && after != before {
		b.o.Index.Wrote(storage.FleetShard, before, after)
		b.Feed.Signal()
	}
	return published, err
}
