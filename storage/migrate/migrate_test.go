package migrate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plimsoll/status"
	"plimsoll/storage"
	"plimsoll/storage/bolt"
	"plimsoll/storage/redis"
	"plimsoll/storage/storagetest"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var databases = map[string]func(t *testing.T) storage.DB{
	"bolt": func(t *testing.T) storage.DB {
		db, err := bolt.Open(filepath.Join(t.TempDir(), "p.db"))
		must(t, err)
		t.Cleanup(func() { must(t, db.Close()) })
		return db
	},
	"redis": func(t *testing.T) storage.DB {
		db, err := redis.Open(t.Context(), storagetest.RedisServer(t).URL())
		must(t, err)
		t.Cleanup(func() { must(t, db.Close()) })
		return db
	},
}

const macs = 12

// models are what the devices of an old store said of themselves, and the families that they belong to.
var models = []struct{ model, family string }{
	{"Mac14,2", ""}, {"iPad13,1", "iPad"}, {"AppleTV14,1", "Apple TV"}, {"", ""}, {"iMac21,1", ""},
}

// old makes a store in which the number is raised, and no value rewritten yet.
func old(t *testing.T, db storage.DB) {
	t.Helper()
	store := storage.New(db)
	for i := range macs {
		id := fmt.Sprint("MAC-", i)
		rec := &storage.Record{Facts: status.Facts{ID: id, Model: models[i%len(models)].model, Enrolled: true}, Life: 1, Revision: 1 << 41}
		must(t, store.UpdateMac(t.Context(), id, func(m *storage.MacTx) error { _, err := m.SetRecord(rec); return err }))
	}
	must(t, db.Update(t.Context(), storage.MacPartition("DAMAGED"), func(tx storage.Tx) error {
		tx.Set("x", []byte("not JSON"))
		return nil
	}))
	must(t, db.Update(t.Context(), storage.BookPartition, func(tx storage.Tx) error {
		tx.Set("policy/all", []byte("{}"))
		return nil
	}))
	must(t, store.DropMac(t.Context(), "DELETED"))
	must(t, store.UpdateFormat(t.Context(), func(*storage.FormatRecord) (*storage.FormatRecord, error) {
		return &storage.FormatRecord{Format: storage.Format, ID: "old"}, nil
	}))
}

// check sees that all was rewritten, once.
func check(t *testing.T, db storage.DB) {
	t.Helper()
	store := storage.New(db)
	for i := range macs {
		id := fmt.Sprint("MAC-", i)
		want := models[i%len(models)].family
		records, err := store.Records(t.Context(), []string{id})
		must(t, err)
		revs, err := db.Revisions(t.Context(), storage.MacPartition(id))
		must(t, err)
		commits := uint64(1)
		if want != "" {
			commits++
		}
		if got := records[0]; got.Facts.Family != want || got.Revision != 1<<41+int64(commits)-1 || revs[0] != commits {
			t.Fatalf("%s is a %q of revision %d after %d commits", id, got.Facts.Family, got.Revision-1<<41, revs[0])
		}
	}
	rec, err := store.FormatRecord(t.Context())
	must(t, err)
	if diff := cmp.Diff(&storage.FormatRecord{Format: storage.Format, Oldest: storage.Format, ID: "old"}, rec); diff != "" {
		t.Fatal(diff)
	}
	must(t, db.View(t.Context(), storage.MacPartition("DAMAGED"), func(r storage.Reader) error {
		if x, err := r.Get("x"); err != nil || string(x) != "not JSON" {
			t.Fatalf("a damaged record is %q (%v)", x, err)
		}
		return nil
	}))
}

// A migration that is killed at any write goes on when it is run again, and rewrites nothing twice.
func TestKilledAtAnyWrite(t *testing.T) {
	for name, open := range databases {
		t.Run(name, func(t *testing.T) {
			for n := 1; ; n++ {
				through := false
				for _, does := range []bool{false, true} {
					db := open(t)
					old(t, db)
					dying := storagetest.Dying(db, n, does)
					_, err := Run(t.Context(), storage.New(dying), quiet)
					if through = err == nil; !through && !errors.Is(err, storage.ErrUnavailable) {
						t.Fatalf("killed at write %d: %v", n, err)
					}
					if _, err := Run(t.Context(), storage.New(db), quiet); err != nil {
						t.Fatalf("killed at write %d, and run again: %v", n, err)
					}
					check(t, db)
				}
				if through {
					if n < 5 {
						t.Errorf("only %d writes", n)
					}
					return
				}
				if name == "redis" {
					n += 2 // a server for each takes its time
				}
			}
		})
	}
}

// Steps are taken in their order, each once; the store says how far it is, and one that is migrated is not read again.
func TestSteps(t *testing.T) {
	db := databases["bolt"](t)
	old(t, db)
	store := storage.New(db)
	var taken []string
	step := func(to int, fail bool) Step {
		return Step{To: to, Prefix: storage.BookPartition, Rewrite: func(_ context.Context, _ *storage.Store, partition string) (bool, error) {
			if fail {
				return false, errors.New("broken off")
			}
			taken = append(taken, fmt.Sprint(to, " ", partition))
			return false, nil
		}}
	}
	if _, err := run(t.Context(), store, quiet, []Step{step(1, false), step(2, true)}); err == nil {
		t.Fatal("a step that failed is taken")
	}
	rec, err := store.FormatRecord(t.Context())
	must(t, err)
	if rec.Oldest != 1 {
		t.Errorf("after the first step the oldest format is %d", rec.Oldest)
	}
	for range 2 {
		if _, err := run(t.Context(), store, quiet, []Step{step(1, false), step(2, false)}); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"1 book", "2 book"}, taken); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// The steps lead to the present format, in order.
func TestStepsAreInOrder(t *testing.T) {
	last := 0
	for _, s := range Steps {
		if s.To < last || s.To > storage.Format || s.What == "" || s.Prefix == "" {
			t.Errorf("step to %d (%q) after one to %d", s.To, s.What, last)
		}
		last = s.To
	}
}
