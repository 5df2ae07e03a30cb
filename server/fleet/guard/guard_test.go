package guard

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"plimsoll/status"
	"plimsoll/storage"
	"plimsoll/storage/bolt"
	"plimsoll/storage/redis"
	"plimsoll/storage/storagetest"
)

const lease = "leader"

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func opened(t *testing.T, db storage.DB, err error) *storage.Store {
	t.Helper()
	must(t, err)
	t.Cleanup(func() { must(t, db.Close()) })
	return storage.New(db)
}

func onBolt(t *testing.T) *storage.Store {
	t.Helper()
	db, err := bolt.Open(filepath.Join(t.TempDir(), "p.db"))
	return opened(t, db, err)
}

func onRedis(t *testing.T) *storage.Store {
	t.Helper()
	db, err := redis.Open(t.Context(), storagetest.RedisServer(t).URL())
	return opened(t, db, err)
}

func guardOf(store *storage.Store, alone bool) *Guard {
	return New(Options{
		Store: store, Alone: alone, Log: slog.New(slog.DiscardHandler), Lease: lease, Renewals: 200 * time.Millisecond,
		Migrated: func(context.Context) error { return nil },
	})
}

// ofFormat is a guard of a program that writes that format.
func ofFormat(store *storage.Store, format int) *Guard {
	g := guardOf(store, false)
	g.presence.format = format
	return g
}

func recordOf(t *testing.T, store *storage.Store) storage.FormatRecord {
	t.Helper()
	rec, err := store.FormatRecord(t.Context())
	must(t, err)
	if rec == nil {
		t.Fatal("the store has no format record")
	}
	return *rec
}

func setRecord(t *testing.T, store *storage.Store, rec storage.FormatRecord) {
	t.Helper()
	must(t, store.UpdateFormat(t.Context(), func(*storage.FormatRecord) (*storage.FormatRecord, error) { return &rec, nil }))
}

// A new store has nothing to migrate; one without a number has all. Its number is raised at once.
func TestTake(t *testing.T) {
	for name, store := range map[string]*storage.Store{"bolt": onBolt(t), "redis": onRedis(t)} {
		t.Run(name, func(t *testing.T) {
			must(t, guardOf(store, name == "bolt").Take(t.Context()))
			made := recordOf(t, store)
			if made.Format != storage.Format || made.Oldest != storage.Format || made.ID == "" {
				t.Errorf("a new store is %+v", made)
			}
			must(t, guardOf(store, name == "bolt").Take(t.Context()))
			if again := recordOf(t, store); again != made {
				t.Errorf("taken again it is %+v", again)
			}
			must(t, store.DB().Drop(t.Context(), storage.FormatPartition))
			g := guardOf(store, name == "bolt")
			must(t, g.Take(t.Context()))
			if old := recordOf(t, store); old.Format != storage.Format || old.Oldest != 0 || g.Record() != old {
				t.Errorf("one without a number is %+v", old)
			}
			g.Migrate(t.Context())
			if rec := recordOf(t, store); rec.Oldest != storage.Format {
				t.Errorf("migrated it is %+v", rec)
			}
		})
	}
}

// Beside a replica that knows no format none starts that does; when the older one has ended or died, the store gets its format.
func TestNoneStartsBesideOneWithoutFormat(t *testing.T) {
	store, ctx := onRedis(t), t.Context()
	take := func() error {
		must(t, store.DB().Drop(ctx, storage.FormatPartition))
		return guardOf(store, false).Take(ctx)
	}
	renewing, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for renewing.Err() == nil {
			_, _, _ = store.Lease(renewing, lease, "old", "", false)
		}
	}()
	storagetest.Await(t, "the older replica has the lease", func() error {
		if held, _, err := store.LeaseNow(ctx, lease); err != nil || !held {
			return errors.Join(errors.New("it has not"), err)
		}
		return nil
	})
	if err := take(); !errors.Is(err, ErrOtherStore) || !strings.Contains(err.Error(), "older version runs on it") {
		t.Errorf("beside an older replica: %v", err)
	}
	stop()
	<-done
	must(t, take()) // it died
	must(t, store.Release(ctx, lease, "old"))
	must(t, take())
}

// A replica of an older format ends when the number is raised, and the newer one writes nothing before it has.
func TestOlderReplicasEndFirst(t *testing.T) {
	store, ctx := onRedis(t), t.Context()
	old := ofFormat(store, storage.Format-1)
	must(t, old.presence.beat(ctx))
	setRecord(t, store, storage.FormatRecord{Format: storage.Format - 1, Oldest: firstTold, ID: "store"})
	newer, taken := guardOf(store, false), make(chan error, 1)
	go func() { taken <- newer.Take(ctx) }()
	storagetest.Await(t, "the number is raised", func() error {
		if rec, err := store.FormatRecord(ctx); err != nil || rec.Format != storage.Format {
			return errors.Join(errors.New("it is not"), err)
		}
		return nil
	})
	before, err := store.Revisions(ctx, storage.ReplicasPartition)
	must(t, err)
	storagetest.Await(t, "the newer one has looked again", func() error {
		if now, err := store.Revisions(ctx, storage.ReplicasPartition); err != nil || now[0] < before[0]+2 {
			return errors.Join(errors.New("it has not"), err)
		}
		return nil
	})
	select {
	case err := <-taken:
		t.Fatalf("taken beside an older replica: %v", err)
	default:
	}
	must(t, old.presence.leave(ctx))
	must(t, <-taken)

	// One that was killed stands still, and is forgotten.
	must(t, ofFormat(store, 1).presence.beat(ctx))
	must(t, newer.presence.beat(ctx))
	if n := len(newer.presence.others); n != 1 {
		t.Fatalf("%d others", n)
	}
	newer.presence.now = func() time.Time { return time.Now().Add(deadAfter) }
	must(t, newer.presence.awaitOlder(ctx))
	if n := len(newer.presence.others); n != 0 {
		t.Errorf("%d others are left", n)
	}

	// Of one that ends while another waits for it, only the context's end is told.
	waits := guardOf(store, false)
	must(t, ofFormat(store, 1).presence.beat(ctx))
	ended, cancel := context.WithCancel(ctx)
	go func() { taken <- waits.Take(ended) }()
	cancel()
	if err := <-taken; err == nil {
		t.Error("a start that was stopped took the store")
	}
}

// What two replicas of one format note of each other is that both live.
func TestPresence(t *testing.T) {
	store, ctx := onRedis(t), t.Context()
	a, b := guardOf(store, false), guardOf(store, false)
	must(t, a.Take(ctx))
	must(t, b.Take(ctx))
	must(t, a.presence.beat(ctx))
	if len(a.presence.others) != 1 || len(b.presence.others) != 1 {
		t.Errorf("a sees %v, b sees %v", a.presence.others, b.presence.others)
	}
	b.Close()
	must(t, a.presence.beat(ctx))
	if len(a.presence.others) != 0 {
		t.Errorf("after b ended a sees %v", a.presence.others)
	}
	revs, err := store.Revisions(ctx, storage.ReplicasPartition)
	must(t, err)
	guardOf(store, false).Close() // it never joined
	if now, err := store.Revisions(ctx, storage.ReplicasPartition); err != nil || now[0] != revs[0] {
		t.Error("one that never joined wrote that it ended")
	}
}

// Migrate tells when values were rewritten, and goes on after the store was away.
func TestMigrate(t *testing.T) {
	db, err := bolt.Open(filepath.Join(t.TempDir(), "p.db"))
	must(t, err)
	faulty := storagetest.Faulty(db)
	store := opened(t, faulty, nil)
	must(t, store.UpdateMac(t.Context(), "PAD", func(m *storage.MacTx) error {
		_, err := m.SetRecord(&storage.Record{Facts: status.Facts{ID: "PAD", Model: "iPad13,1", Enrolled: true}})
		return err
	}))
	told := 0
	g := New(Options{
		Store: store, Alone: true, Log: slog.New(slog.DiscardHandler), Lease: lease,
		Migrated: func(context.Context) error { told++; return nil },
	})
	must(t, g.Take(t.Context()))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	faulty.Set(storagetest.Fault{Down: true})
	g.Migrate(ended)
	if told != 0 {
		t.Error("a migration that was broken off told of what it had not done")
	}
	faulty.Set(storagetest.Fault{})
	g.Migrate(t.Context())
	g.Migrate(t.Context())
	if told != 1 {
		t.Errorf("told %d times", told)
	}
}
