package storage

import (
	"cmp"
	"container/heap"
	"context"
	"encoding/json"
	"fmt"

	"plimsoll/status/compliance"
)

// RebuildShard makes an index shard anew from the partitions of its Macs, given by id: their events in the order of time, then
// the Macs. The fleet's own events are among those of FleetShard. It is for a store that no server uses. It holds no more than a
// page of each Mac's events.
func (s *Store) RebuildShard(ctx context.Context, shard int, ids []string) error {
	if err := s.db.Drop(ctx, ShardPartition(shard)); err != nil {
		return err
	}
	var macs []Changed
	var all timelines
	if shard == FleetShard {
		t := &timeline{partition: FleetPartition}
		if err := t.fill(ctx, s); err != nil {
			return err
		}
		if len(t.next) > 0 {
			all = append(all, t)
		}
	}
	for len(ids) > 0 {
		const batch = 500
		n := min(batch, len(ids))
		records, err := s.Records(ctx, ids[:n])
		if records == nil && err != nil {
			return err
		}
		for i, rec := range records { // one that cannot be read is no reason to leave the others out
			if rec == nil {
				continue
			}
			macs = append(macs, Changed{ID: ids[i], Events: rec.Events})
			t := &timeline{partition: MacPartition(ids[i])}
			if err := t.fill(ctx, s); err != nil {
				return err
			}
			if len(t.next) > 0 {
				all = append(all, t)
			}
		}
		ids = ids[n:]
	}
	if err := s.indexEvents(ctx, shard, all); err != nil {
		return err
	}
	if shard == FleetShard {
		if err := s.markPublished(ctx); err != nil {
			return err
		}
	}
	for len(macs) > 0 {
		const batch = 500
		n := min(batch, len(macs))
		if _, _, err := s.AddToIndex(ctx, shard, macs[:n], nil); err != nil {
			return err
		}
		macs = macs[n:]
	}
	return nil
}

// markPublished notes that the fleet's own events are all in their shard.
func (s *Store) markPublished(ctx context.Context) error {
	n, err := s.number(ctx, FleetPartition, keyCounter)
	if err != nil || n == 0 {
		return err
	}
	return s.db.Update(ctx, ShardPartition(FleetShard), func(tx Tx) error {
		setNumber(tx, keyFleetEvents, n)
		return nil
	})
}

func (s *Store) indexEvents(ctx context.Context, shard int, all timelines) error {
	const batch = 500
	heap.Init(&all)
	var events []compliance.Event
	for len(all) > 0 {
		t := all[0]
		events = append(events, t.next[0])
		if t.next = t.next[1:]; len(t.next) == 0 {
			if err := t.fill(ctx, s); err != nil {
				return err
			}
		}
		if len(t.next) > 0 {
			heap.Fix(&all, 0)
		} else {
			heap.Pop(&all)
		}
		if len(events) == batch || len(all) == 0 {
			if _, _, err := s.AddToIndex(ctx, shard, nil, events); err != nil {
				return err
			}
			events = events[:0]
		}
	}
	return nil
}

// timeline is a partition's events on their way into the fleet's.
type timeline struct {
	partition string
	after     string // the key of the last event that was read
	next      []compliance.Event
	last      bool
}

func (t *timeline) fill(ctx context.Context, s *Store) error {
	const page = 20
	if t.last {
		return nil
	}
	after := t.after
	return s.db.View(ctx, t.partition, func(r Reader) error {
		entries, err := r.List(prefixEvents, after, page)
		if err != nil {
			return err
		}
		t.next = make([]compliance.Event, len(entries))
		for i, e := range entries {
			if err := json.Unmarshal(e.Value, &t.next[i]); err != nil {
				return fmt.Errorf("decode %s of %s: %w", e.Key, t.partition, err)
			}
		}
		if t.last = len(entries) < page; !t.last {
			t.after = entries[page-1].Key
		}
		return nil
	})
}

// timelines are a heap by the time of the next event.
type timelines []*timeline

func (h timelines) Len() int      { return len(h) }
func (h timelines) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h timelines) Less(i, j int) bool {
	a, b := &h[i].next[0], &h[j].next[0]
	return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.ID, b.ID)) < 0
}
func (h *timelines) Push(x any) { *h = append(*h, x.(*timeline)) }
func (h *timelines) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}
