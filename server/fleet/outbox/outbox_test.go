package outbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"plimsoll/status/compliance"
	"plimsoll/storage"
	"plimsoll/storage/bolt"
	"plimsoll/storage/storagetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is an Index that keeps what it was told.
type memory struct {
	mu    sync.Mutex
	taken map[string]int64
	wrote map[int][2]uint64
}

func (m *memory) Take(rec *storage.Record) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.taken[rec.Facts.ID] = rec.Revision
	return nil
}

func (m *memory) Wrote(shard int, before, after uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wrote[shard] = [2]uint64{before, after}
}

type box struct {
	*Outbox
	t     *testing.T
	store *storage.Store
	db    *storagetest.FaultyDB
	index *memory
	again []string // what was reconciled
}

func newBox(t *testing.T) *box {
	t.Helper()
	db, err := bolt.Open(filepath.Join(t.TempDir(), "p.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	b := &box{t: t, db: storagetest.Faulty(db), index: &memory{taken: map[string]int64{}, wrote: map[int][2]uint64{}}}
	b.store = storage.New(b.db)
	b.Outbox = New(Options{
		Store: b.store, Index: b.index, Log: slog.New(slog.DiscardHandler),
		Reconcile: func(_ context.Context, id string) error { b.again = append(b.again, id); return nil },
	})
	return b
}

func (b *box) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func event(id, mac string) compliance.Event {
	return compliance.Event{ID: id, Device: mac, Type: "updated", At: time.Unix(1, 0).UTC()}
}

// timeline are the ids of the events in the shard of a Mac, in their order.
func (b *box) timeline(mac string) (ids []string) {
	b.t.Helper()
	events, err := b.store.FleetEvents(b.t.Context(), storage.ShardOf(mac), 0, 1000)
	b.must(err)
	for _, e := range events {
		if e.Event.Device == mac {
			ids = append(ids, e.Event.ID)
		}
	}
	return ids
}

// mac writes a Mac with as many events.
func (b *box) mac(id string, events int) {
	b.t.Helper()
	b.must(b.store.UpdateMac(b.t.Context(), id, func(m *storage.MacTx) error {
		rec := &storage.Record{Revision: time.Now().UnixMilli(), Events: events}
		rec.Facts.ID = id
		if _, err := m.SetRecord(rec); err != nil {
			return err
		}
		var all []compliance.Event
		for i := range events {
			all = append(all, event(fmt.Sprint("e", i), id))
		}
		return m.AddEvents(all)
	}))
}

// What was collected is written once, with how many events each Mac has had, and the followers are woken.
func TestFlush(t *testing.T) {
	b := newBox(t)
	ctx, cancel := context.WithCancel(t.Context())
	woken := b.Feed.Subscribe(ctx)
	b.Add("A", 2, []compliance.Event{event("1", "A"), event("2", "A")})
	b.Add("A", 1, nil)
	b.Add("B", 0, []compliance.Event{event("3", "B")})
	b.Flush(ctx)
	b.Flush(ctx)
	if a, bs := b.timeline("A"), b.timeline("B"); !slices.Equal(a, []string{"1", "2"}) || !slices.Equal(bs, []string{"3"}) {
		t.Errorf("timelines %v and %v", a, bs)
	}
	sh, err := b.store.Members(ctx, storage.ShardOf("A"))
	b.must(err)
	if i := slices.Index(sh.IDs, "A"); i < 0 || sh.Members[i].Events != 2 {
		t.Errorf("the shard has %+v of %v", sh.Members, sh.IDs)
	}
	if w, ok := b.index.wrote[storage.ShardOf("A")]; !ok || w[0] != 0 || w[1] != sh.Last {
		t.Errorf("the index was told that %v was written, want up to %d", w, sh.Last)
	}
	if _, open := <-woken; !open {
		t.Error("the follower was not woken")
	}
	cancel()
	for range woken { // it is closed
	}
}

// What one shard could not take is written later, before what came meanwhile; the others have it at once.
func TestAShardIsDown(t *testing.T) {
	b := newBox(t)
	ctx := t.Context()
	down, up := "A", "B"
	for i := 0; storage.ShardOf(down) == storage.ShardOf(up); i++ {
		up = fmt.Sprint("B", i)
	}
	b.db.Set(storagetest.Fault{Down: true, Partition: storage.ShardPartition(storage.ShardOf(down))})
	b.Add(down, 5, []compliance.Event{event("1", down), event("2", down)})
	b.Add(up, 1, []compliance.Event{event("x", up)})
	b.Flush(ctx)
	if got := b.timeline(up); !slices.Equal(got, []string{"x"}) {
		t.Errorf("the shard that is up has %v", got)
	}
	b.Add(down, 3, []compliance.Event{event("3", down)})
	b.db.Set(storagetest.Fault{})
	b.Flush(ctx)
	if got := b.timeline(down); !slices.Equal(got, []string{"1", "2", "3"}) {
		t.Errorf("the shard that was down has %v", got)
	}
	sh, err := b.store.Members(ctx, storage.ShardOf(down))
	b.must(err)
	if i := slices.Index(sh.IDs, down); sh.Members[i].Events != 5 {
		t.Errorf("it counts %d events", sh.Members[i].Events)
	}
}

// A Mac whose commit had an unknown outcome is read again: what was committed is published, and what follows from it is done.
func TestUnknownOutcome(t *testing.T) {
	for name, c := range map[string]struct {
		events, before int
		want           []string
	}{
		"it was committed":           {3, 1, []string{"e1", "e2"}},
		"it was not committed":       {1, 1, nil},
		"the first of its life":      {2, 0, []string{"e0", "e1"}},
		"there is no such Mac":       {-1, 0, nil},
		"more than is known to miss": {2, 5, nil},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBox(t)
			if c.events >= 0 {
				b.mac("A", c.events)
			}
			b.AddUnknown("A", c.before+2)
			b.AddUnknown("A", c.before) // the fewer are known to be there, the more are brought
			b.Flush(t.Context())
			if got := b.timeline("A"); !slices.Equal(got, c.want) {
				t.Errorf("the timeline has %v, want %v", got, c.want)
			}
			if !slices.Equal(b.again, []string{"A"}) {
				t.Errorf("reconciled: %v", b.again)
			}
			if _, known := b.index.taken["A"]; known != (c.events >= 0) {
				t.Errorf("the index has it: %v", known)
			}
		})
	}
}

// While the store is away the unknown outcomes are kept.
func TestUnknownWhileTheStoreIsAway(t *testing.T) {
	b := newBox(t)
	b.mac("A", 1)
	b.AddUnknown("A", 0)
	b.db.Set(storagetest.Fault{Down: true})
	b.Flush(t.Context())
	b.db.Set(storagetest.Fault{})
	b.Flush(t.Context())
	if got := b.timeline("A"); !slices.Equal(got, []string{"e0"}) {
		t.Errorf("the timeline has %v", got)
	}
	if err := b.Publish(t.Context(), "NOBODY", 0); err != nil {
		t.Error(err)
	}
	b.db.Set(storagetest.Fault{Down: true})
	if err := b.Publish(t.Context(), "A", 0); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("published while the store is away: %v", err)
	}
}

// The loop writes what is added without being asked, and ends with its context.
func TestRun(t *testing.T) {
	b := newBox(t)
	ctx, cancel := context.WithCancel(t.Context())
	woken := b.Feed.Subscribe(ctx)
	ended := make(chan struct{})
	go func() { defer close(ended); b.Run(ctx) }()
	b.Add("A", 1, []compliance.Event{event("1", "A")})
	select {
	case <-woken:
	case <-time.After(time.Minute):
		t.Error("nothing was written")
	}
	cancel()
	<-ended
}

// The events that concern no Mac come to the shards once, and whoever listens is told.
func TestPublishFleet(t *testing.T) {
	b := newBox(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	news := b.Feed.Subscribe(ctx)
	b.must(b.store.UpdateBook(ctx, func(tx *storage.BookTx) error {
		return tx.AddEvents([]compliance.Event{event("1", ""), event("2", "")}, "")
	}))
	published, err := b.PublishFleet(ctx)
	b.must(err)
	<-news
	again, err := b.PublishFleet(ctx)
	b.must(err)
	if got := b.index.wrote[storage.FleetShard]; published == "" || again != published || got != [2]uint64{0, 2} {
		t.Errorf("published %q, then %q; wrote %v", published, again, got)
	}
	b.db.Set(storagetest.Fault{Down: true})
	if _, err := b.PublishFleet(ctx); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("while the store is away: %v", err)
	}
}
