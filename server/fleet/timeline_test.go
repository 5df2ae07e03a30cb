package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"plimsoll/storage"
	"plimsoll/storage/storagetest"
)

// One shard that cannot be read ends the reading of all at once, with the store's own error.
func TestEventsWhileAShardIsDown(t *testing.T) {
	w := newWorld(t)
	db := storagetest.Faulty(w.db)
	f, err := New(Options{Store: storage.New(db), Notifier: w.notifier, Log: slog.New(slog.DiscardHandler), Now: w.now, Alone: true})
	w.must(err)
	w.must(f.Start(t.Context()))
	db.Set(storagetest.Fault{Down: true, Partition: storage.ShardPartition(3)})
	if _, err := f.Events(t.Context(), "", 10); !errors.Is(err, ErrUnavailable) || errors.Is(err, context.Canceled) {
		t.Errorf("events with a shard down: %v", err)
	}
	db.Set(storagetest.Fault{})
	if _, err := f.Events(t.Context(), "", 10); err != nil {
		t.Errorf("events with all shards up: %v", err)
	}
}

// Replicas write to a shard, and their clocks differ: times and ids run backwards in it. Whatever the pages, every event comes once and in the
// same order, which in a shard is that of its numbers; and every event's cursor goes on after it.
func TestEventsWhateverThePages(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	random := rand.New(rand.NewPCG(1, 2))
	written := map[string][]string{} // by shard, in the order of writing
	for n := range 120 {
		shard := []int{0, 1, 17, 63}[random.IntN(4)]
		e := Event{
			ID: fmt.Sprintf("%08x-%d", random.Uint32(), n), At: testDay.Add(time.Duration(random.IntN(5)) * time.Second),
			Type: "updated", Device: fmt.Sprint(shard),
		}
		_, _, err := w.store.AddToIndex(ctx, shard, nil, []Event{e})
		w.must(err)
		written[e.Device] = append(written[e.Device], e.ID)
	}
	walk := func(after string, limits ...int) (ids []string, cursors []string) {
		t.Helper()
		for n := 0; ; n++ {
			p, err := w.Events(ctx, after, limits[n%len(limits)])
			w.must(err)
			if len(p.Items) == 0 {
				return ids, cursors
			}
			for _, e := range p.Items {
				ids, cursors = append(ids, e.ID), append(cursors, e.Cursor)
			}
			after = p.Next
		}
	}
	whole, cursors := walk("", 1000)
	p, err := w.Events(ctx, "", 1000)
	w.must(err)
	given := map[string][]string{}
	for _, e := range p.Items {
		given[e.Device] = append(given[e.Device], e.ID)
	}
	if diff := cmp.Diff(written, given); diff != "" {
		t.Fatalf("not what was written, shard by shard (-want +got):\n%s", diff)
	}
	for _, limits := range [][]int{{1}, {2}, {3, 1, 7}, {11}, {50, 1}, {119}, {120}} {
		if got, _ := walk("", limits...); !cmp.Equal(whole, got) {
			t.Errorf("in pages of %v:\n%s", limits, cmp.Diff(whole, got))
		}
	}
	for i := range cursors {
		if got, _ := walk(cursors[i], 1000, 7); !cmp.Equal(whole[i+1:], append([]string{}, got...)) {
			t.Errorf("after event %d:\n%s", i, cmp.Diff(whole[i+1:], got))
		}
	}
}
