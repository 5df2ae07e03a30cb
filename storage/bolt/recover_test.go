package bolt

import (
	"cmp"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"

	"go.etcd.io/bbolt"

	"plimsoll/storage"
	"plimsoll/storage/bolt/wal"
	"plimsoll/storage/bolt/wal/waltest"
)

// openDisk opens a database whose log lies on a disk in memory.
func openDisk(t testing.TB, disk wal.Disk) *DB {
	t.Helper()
	db, err := openOn(disk, file(t), func(b *bbolt.DB) updater { return b })
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

// failing is whether the syncs of a disk fail.
type failing struct{ atomic.Bool }

func (f *failing) disk() *waltest.Disk {
	d := waltest.New(rand.New(rand.NewPCG(1, 1)), nil)
	d.Fail = func(op string) error {
		if op == "sync" && f.Load() {
			return syscall.EIO
		}
		return nil
	}
	return d
}

// Who finds what another has written, and leaves it at that, is answered like the other: not before it is durable.
func TestNothingIsFoundBeforeItIsDurable(t *testing.T) {
	errFound := errors.New("it is there already")
	for _, c := range []struct {
		name          string
		fail          bool
		found         error // what fn returns when it finds the value
		first, second error
	}{
		{"durable, and nothing to do", false, nil, nil, nil},
		{"durable, and an error", false, errFound, nil, errFound},
		{"not durable, and nothing to do", true, nil, storage.ErrUnavailable, storage.ErrUnavailable},
		{"not durable, and an error", true, errFound, storage.ErrUnavailable, storage.ErrUnavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var fails failing
				db := openDisk(t, fails.disk())
				answers := [2]chan error{make(chan error, 1), make(chan error, 1)}
				queued := make(chan struct{})
				go func() {
					_ = db.submit(t.Context(), inTurnJob(t, func() { <-queued; fails.Store(c.fail) }))
				}()
				synctest.Wait()
				for _, answer := range answers { // both read that there is nothing, and come into one group
					go func() {
						answer <- db.Update(t.Context(), "mac/0", func(tx storage.Tx) error {
							got, err := tx.Get("key")
							if err != nil || got != nil {
								return cmp.Or(err, c.found)
							}
							tx.Set("key", []byte("value"))
							return nil
						})
					}()
					synctest.Wait()
				}
				close(queued)
				defer fails.Store(false)
				if err := <-answers[0]; !errors.Is(err, c.first) {
					t.Errorf("who wrote it: %v, want %v", err, c.first)
				}
				if err := <-answers[1]; !errors.Is(err, c.second) {
					t.Errorf("who found it: %v, want %v", err, c.second)
				}
			})
		})
	}
}

// Groups without a commit count too: the next ones go on from their numbers.
func TestCrashAfterPings(t *testing.T) {
	db := open(t, file(t))
	for range 3 {
		if err := db.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	db = open(t, crash(t, db))
	if err := set(t.Context(), db, "mac/0", "key", "value"); err != nil {
		t.Fatal(err)
	}
	if got := contents(t, open(t, crash(t, db)), "mac/0"); got["mac/0 key"] != "value" {
		t.Errorf("after another crash %v", got)
	}
}
