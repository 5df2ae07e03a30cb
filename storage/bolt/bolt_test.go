package bolt

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"plimsoll/storage"
	"plimsoll/storage/storagetest"
)

func TestMain(m *testing.M) {
	if task := children[os.Getenv(childEnv)]; task != nil {
		if err := task(os.Getenv(fileEnv)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func open(t testing.TB, path string) *DB {
	t.Helper()
	db, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func file(t testing.TB) string { return filepath.Join(t.TempDir(), "test.db") }

func TestConformance(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) storage.DB { return open(t, file(t)) })
}

func TestSecondOpenIsRefused(t *testing.T) {
	path := file(t)
	open(t, path)
	db, err := Open(path)
	if err == nil {
		t.Fatal("a second Open succeeded", db.Close())
	}
	if want := "database " + path + " is in use by another process: unavailable"; err.Error() != want || !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("Open: %q, want %q", err, want)
	}
}

func TestOpenThatFails(t *testing.T) {
	garbage := file(t)
	if err := os.WriteFile(garbage, []byte(strings.Repeat("no database ", 10_000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{
		"a folder that does not exist": filepath.Join(t.TempDir(), "none", "test.db"),
		"a folder":                     t.TempDir(),
		"another kind of file":         garbage,
	} {
		db, err := Open(path)
		if err == nil {
			t.Fatal(name, db.Close())
		}
		if !errors.Is(err, storage.ErrUnavailable) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReopenFindsEverything(t *testing.T) {
	path := file(t)
	db, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for w := range 64 {
		wg.Go(func() {
			for i := range 10 {
				if err := set(t.Context(), db, fmt.Sprint("mac/", w), fmt.Sprint("key", i), strings.Repeat("value", i*100)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := db.Drop(t.Context(), "mac/0"); err != nil {
		t.Error(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = open(t, path)
	for w := range 64 {
		err := db.View(t.Context(), fmt.Sprint("mac/", w), func(r storage.Reader) error {
			entries, err := r.List("", "", 100)
			rev, _ := r.Revision() // never fails here
			wantEntries, wantRev := 10, uint64(10)
			if w == 0 {
				wantEntries, wantRev = 0, 11
			}
			if len(entries) != wantEntries || rev != wantRev {
				t.Errorf("mac/%d: %d entries at revision %d, want %d at %d", w, len(entries), rev, wantEntries, wantRev)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func TestWhatBoltCannotKeepIsInvalid(t *testing.T) {
	db := open(t, file(t))
	long := strings.Repeat("k", maxKey)
	// bbolt takes keys of 32768 bytes; 16000 need a length of two bytes before them, and the kind one after them.
	half := strings.Repeat("p", 16_000)
	for name, err := range map[string]error{
		"a key":                     set(t.Context(), db, "p", long, "value"),
		"a partition":               set(t.Context(), db, long, "key", "value"),
		"a partition to drop":       db.Drop(t.Context(), long),
		"a partition to view":       db.View(t.Context(), long, func(storage.Reader) error { return nil }),
		"a key to delete":           db.Update(t.Context(), "p", func(tx storage.Tx) error { tx.Delete(long); return nil }),
		"both together by one byte": set(t.Context(), db, half, strings.Repeat("k", 32768-16_000-3+1), "value"),
	} {
		if !errors.Is(err, storage.ErrInvalid) {
			t.Errorf("%s that is too long: %v", name, err)
		}
	}
	if err := set(t.Context(), db, half, strings.Repeat("k", 32768-16_000-3), "value"); err != nil {
		t.Errorf("the longest of all: %v", err)
	}
	if err := set(t.Context(), db, "p", "key", "value"); err != nil {
		t.Errorf("a write after them: %v", err)
	}
}
