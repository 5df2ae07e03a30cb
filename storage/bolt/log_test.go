package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.etcd.io/bbolt"

	"plimsoll/storage"
	"plimsoll/storage/bolt/wal"
	"plimsoll/storage/storagetest"
)

// openSmall opens a database that moves its log into the file after nearly every commit.
func openSmall(t testing.TB, path string) *DB {
	t.Helper()
	db := open(t, path)
	if err := db.Ping(t.Context()); err != nil { // the writer has looked at logFull for the last time
		t.Fatal(err)
	}
	db.logFull = 300
	return db
}

func TestConformanceWhileTheLogIsMoved(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) storage.DB { return openSmall(t, file(t)) })
}

// copyOf is what a machine that lost power finds: database and logs as they are, without an orderly end.
func copyOf(t *testing.T, path string) string {
	t.Helper()
	to := file(t)
	logs, copies := wal.Paths(logPath(path)), wal.Paths(logPath(to))
	for from, to := range map[string]string{path: to, logs[0]: copies[0], logs[1]: copies[1]} {
		b, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// contents are all values and revisions of the partitions.
func contents(t *testing.T, db *DB, partitions ...string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, p := range partitions {
		err := db.View(t.Context(), p, func(r storage.Reader) error {
			rev, err := r.Revision()
			if err != nil {
				return err
			}
			all[p] = fmt.Sprint("revision ", rev)
			entries, err := r.List("", "", 1000)
			for _, e := range entries {
				all[p+" "+e.Key] = string(e.Value)
				got, err := r.Get(e.Key)
				if err != nil || !bytes.Equal(got, e.Value) {
					t.Errorf("%s %s: Get and List differ (%v)", p, e.Key, err)
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// Whatever was moved into the file, and wherever a turn of a log begins, a crash finds exactly what was there.
func TestCrashFindsWhatWasCommitted(t *testing.T) {
	path := file(t)
	db := openSmall(t, path)
	partitions := []string{"mac/0", "mac/1", "mac/2", "shard/07"}
	dice := rand.New(rand.NewPCG(1, 2))
	for step := range 300 {
		db.logFull = []int64{300, 2000, 20_000}[step/100]
		p := partitions[dice.IntN(len(partitions))]
		var err error
		switch dice.IntN(12) {
		case 0:
			err = db.Drop(t.Context(), p)
		default:
			err = db.Update(t.Context(), p, func(tx storage.Tx) error {
				for range 1 + dice.IntN(4) {
					key := fmt.Sprint("key", dice.IntN(9))
					if dice.IntN(4) == 0 {
						tx.Delete(key)
					} else {
						tx.Set(key, []byte(strings.Repeat(fmt.Sprint(step, " "), dice.IntN(300))))
					}
				}
				return nil
			})
		}
		if err != nil {
			t.Fatal(err)
		}
		if step%7 != 0 {
			continue
		}
		want := contents(t, db, partitions...)
		crashed := open(t, crash(t, db))
		if got := contents(t, crashed, partitions...); !maps.Equal(got, want) {
			t.Fatalf("step %d: after a crash\n%v, want\n%v", step, got, want)
		}
	}
}

// crash copies the files while the writer rests; what is on its way into the file may be there in part.
func crash(t *testing.T, db *DB) (path string) {
	t.Helper()
	if err := inTurn(t, db, func() { path = copyOf(t, db.path) }); err != nil {
		t.Fatal(err)
	}
	return path
}

// inTurn runs fn while the writer waits.
func inTurn(t *testing.T, db *DB, fn func()) error {
	t.Helper()
	err := db.submit(t.Context(), inTurnJob(t, func() {
		db.mu.Lock()
		defer db.mu.Unlock()
		fn()
	}))
	if !errors.Is(err, errSkip) {
		return err
	}
	return nil
}

var errSkip = errors.New("nothing to commit")

// inTurnJob ends with errSkip when the writer has waited for fn.
func inTurnJob(t *testing.T, fn func()) *job {
	j := newJob(t.Context(), update, "rest", func(storage.Tx) error {
		fn()
		return errSkip
	})
	j.tx = &tx{revision: 1 << 60} // which the partition does not have
	return j
}

// A log that cannot be this database's is said in one line, with what to do.
func TestDamagedLogIsSaid(t *testing.T) {
	db := open(t, file(t))
	for i := range 5 {
		if err := set(t.Context(), db, "mac/0", fmt.Sprint("key", i), "value"); err != nil {
			t.Fatal(err)
		}
	}
	copied := crash(t, db)
	logs := wal.Paths(logPath(copied))
	whole, err := os.ReadFile(logs[0])
	if err != nil {
		t.Fatal(err)
	}
	const header, room = 24, 20 // magic and salt; length, number and checksum
	second := header + room + int(binary.BigEndian.Uint64(whole[header:]))
	for name, c := range map[string]struct {
		log  []byte
		want string
	}{
		"a group is missing": {append(slices.Clone(whole[:header]), whole[second:]...), "the log lacks group 1, and goes on with 2: restore a copy"},
		"another file":       {[]byte(strings.Repeat("no log ", 100)), "is not a log of this database"},
	} {
		damaged := copyOf(t, copied)
		if err := os.WriteFile(wal.Paths(logPath(damaged))[0], c.log, 0o600); err != nil {
			t.Fatal(err)
		}
		db, err := Open(damaged)
		if err == nil {
			t.Fatal(name, db.Close())
		}
		if !errors.Is(err, storage.ErrUnavailable) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// While the file cannot take what the log has, nothing more is taken, everything can be read, and it goes on by itself afterwards.
func TestFileThatTakesNothing(t *testing.T) {
	db := open(t, file(t))
	if err := set(t.Context(), db, "mac/0", "key", strings.Repeat("value", 100)); err != nil {
		t.Fatal(err)
	}
	// bbolt refuses a key of this length, which is what a move that fails looks like.
	unfit := layer{"mac/1": &part{revision: 1, pairs: []pair{{strings.Repeat("k", maxKey), []byte("=")}}}}
	if err := inTurn(t, db, func() { db.frozen, db.w.stuck = unfit, errors.New("the disk is full") }); err != nil {
		t.Fatal(err)
	}
	_ = db.Ping(t.Context()) // it may still be taken with the group before
	for range 3 {
		if err := set(t.Context(), db, "mac/0", "key", "later"); !errors.Is(err, storage.ErrUnavailable) {
			t.Fatalf("a write: %v", err)
		}
		if err := db.Ping(t.Context()); !errors.Is(err, storage.ErrUnavailable) {
			t.Fatalf("Ping: %v", err)
		}
	}
	if got := contents(t, db, "mac/0"); got["mac/0 key"] != strings.Repeat("value", 100) {
		t.Errorf("%v", got)
	}
	delete(unfit, "mac/1")
	if err := set(t.Context(), db, "mac/0", "key", "later"); err != nil {
		t.Errorf("a write when the file takes it again: %v", err)
	}
}

// Readers see one moment, while commits go through log, layers and file under them.
func TestReadersSeeOneMoment(t *testing.T) {
	db := openSmall(t, file(t))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for p := range 3 {
		partition := fmt.Sprint("mac/", p)
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if err := db.Update(t.Context(), partition, func(tx storage.Tx) error {
					for k := range 4 {
						tx.Set(fmt.Sprint("key", k), fmt.Append(nil, i))
					}
					return nil
				}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 2000 {
		for p := range 3 {
			err := db.View(t.Context(), fmt.Sprint("mac/", p), func(r storage.Reader) error {
				vals, err := r.GetMany("key0", "key1", "key2", "key3")
				rev, _ := r.Revision() // never fails here
				for _, v := range vals {
					if err == nil && string(v) != fmt.Sprint(int(rev)-1) && rev > 0 {
						t.Errorf("revision %d: %q", rev, vals)
					}
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	close(stop)
	wg.Wait()
}

func TestOrderlyEndLeavesOneFile(t *testing.T) {
	path := file(t)
	db, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := set(t.Context(), db, "mac/0", "key", "value"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, log := range wal.Paths(logPath(path)) {
		if _, err := os.Stat(log); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there (%v)", log, err)
		}
	}
	b, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(b.View(func(file *bbolt.Tx) error {
		if v, err := newTx(file, "mac/0").Get("key"); err != nil || string(v) != "value" {
			t.Errorf("the file has %q (%v)", v, err)
		}
		return nil
	}), b.Close()); err != nil {
		t.Error(err)
	}
}

func FuzzReplay(f *testing.F) {
	f.Add(appendDrop(appendCommit(nil, "mac/0", 3, []pair{{"key", []byte("=value")}, {"gone", nil}}), "mac/1", 4))
	f.Add([]byte{kindCommit, 1, 'p', 1, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = make(layer).replay(b) // damage is an error, never a panic
	})
}
