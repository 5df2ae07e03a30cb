package bolt

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"

	"go.etcd.io/bbolt"

	"plimsoll/storage"
)

// setSync replaces the syncs of both logs; the writer must be waiting.
func (db *DB) setSync(sync func(*os.File) error) {
	for _, l := range db.w.logs {
		l.sync = sync
	}
}

func failedSync(*os.File) error { return syscall.EIO }

// Who finds what another has written, and leaves it at that, is answered like the other: not before it is durable.
func TestNothingIsFoundBeforeItIsDurable(t *testing.T) {
	errFound := errors.New("it is there already")
	for _, c := range []struct {
		name          string
		sync          func(*os.File) error
		found         error // what fn returns when it finds the value
		first, second error
	}{
		{"durable, and nothing to do", syncData, nil, nil, nil},
		{"durable, and an error", syncData, errFound, nil, errFound},
		{"not durable, and nothing to do", failedSync, nil, storage.ErrUnavailable, storage.ErrUnavailable},
		{"not durable, and an error", failedSync, errFound, storage.ErrUnavailable, storage.ErrUnavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				db := open(t, file(t))
				answers := [2]chan error{make(chan error, 1), make(chan error, 1)}
				queued := make(chan struct{})
				go func() {
					_ = db.submit(t.Context(), inTurnJob(t, func() { <-queued; db.setSync(c.sync) }))
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

// A group whose sync failed may be whole in the log. When the other log got a group of the same number, that one counts.
func TestFailedSyncHidesNothing(t *testing.T) {
	db := open(t, file(t))
	if err := set(t.Context(), db, "mac/0", "key", "value"); err != nil {
		t.Fatal(err)
	}
	if err := inTurn(t, db, func() { db.setSync(failedSync) }); err != nil {
		t.Fatal(err)
	}
	if err := set(t.Context(), db, "mac/1", "key", "refused"); !errors.Is(err, storage.ErrUnavailable) {
		t.Fatalf("a write whose sync fails: %v", err)
	}
	db.logFull = int64(headerSize) + 1 // the other log takes its turn
	if err := inTurn(t, db, func() { db.setSync(syncData) }); err != nil {
		t.Fatal(err)
	}
	if err := set(t.Context(), db, "mac/0", "key", "acknowledged"); err != nil {
		t.Fatal(err)
	}
	db.logFull = logFull
	want := contents(t, db, "mac/0", "mac/1")
	if got := contents(t, open(t, crash(t, db)), "mac/0", "mac/1"); !maps.Equal(got, want) {
		t.Errorf("after a crash %v, want %v", got, want)
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

// Syncs fail, processes are killed and the power is cut, at rest and within a commit: what was acknowledged is there, and nothing else
// but what failed since.
func TestLivesAndCrashes(t *testing.T) {
	for seed := range uint64(25) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			dice := rand.New(rand.NewPCG(seed, 7))
			m := &machine{T: t, dice: dice, acked: map[string]map[string]string{}}
			for _, p := range machinePartitions {
				m.acked[p] = map[string]string{p: "revision 0"}
			}
			path := file(t)
			for range 6 {
				path = m.live(path)
			}
		})
	}
}

var machinePartitions = []string{"mac/0", "mac/1", "mac/2", "shard/07"}

// machine is one on which a database lives and crashes, and what must be in the database.
type machine struct {
	*testing.T
	dice *rand.Rand

	db     *DB
	synced map[*logFile][]byte // what of a log survives a power cut
	faults int                 // so many syncs of a hundred fail
	cut    bool                // the next sync is the last moment
	left   string              // then: what the next process finds

	acked map[string]map[string]string // contents by partition
	maybe []change                     // what failed after the last acknowledged commit: it may be found after a crash
}

// change is one commit to a partition.
type change struct {
	partition string
	want      map[string]string // contents after it
	run       func() error
}

// live opens the database, holds it against what must be there, and changes it until it crashes. It returns what is left.
func (m *machine) live(path string) string {
	m.db, m.left, m.cut = open(m.T, path), "", false
	m.synced, m.faults = map[*logFile][]byte{}, []int{0, 10, 40}[m.dice.IntN(3)]
	for _, p := range machinePartitions {
		got := contents(m.T, m.db, p)
		known := maps.Equal(got, m.acked[p])
		for _, c := range m.maybe {
			known = known || c.partition == p && maps.Equal(got, c.want)
		}
		if !known {
			m.Fatalf("found %v, want %v or one of %v", got, m.acked[p], m.maybe)
		}
		m.acked[p] = got
	}
	m.maybe = nil
	m.inTurn(func() {
		m.db.bolt.NoSync = true // the file itself is copied whole
		for _, l := range m.db.w.logs {
			m.synced[l] = m.read(l.file.Name())
			l.sync = func(*os.File) error { return m.sync(l) }
		}
	})
	for steps := m.dice.IntN([]int{4, 40}[m.dice.IntN(2)]); steps > 0; steps-- {
		m.inTurn(func() { m.db.logFull = []int64{300, 2000, logFull}[m.dice.IntN(3)] })
		m.cut = steps == 1 && m.dice.IntN(2) == 0
		if m.step(); m.left != "" {
			return m.left
		}
	}
	m.inTurn(func() { m.left = m.crash() })
	return m.left
}

// step runs a few changes at once.
func (m *machine) step() {
	if m.dice.IntN(6) == 0 {
		if err := m.db.Ping(m.Context()); err == nil && m.left == "" {
			m.maybe = nil
		}
		return
	}
	var changes []change
	for _, i := range m.dice.Perm(len(machinePartitions))[:1+m.dice.IntN(3)] {
		changes = append(changes, m.change(machinePartitions[i]))
	}
	errs := make([]error, len(changes))
	var wg sync.WaitGroup
	for i, c := range changes {
		wg.Go(func() { errs[i] = c.run() })
	}
	wg.Wait()
	if m.left != "" { // one of these was the last moment
		m.maybe = append(m.maybe, changes...)
		return
	}
	var failed []change
	for i, c := range changes {
		switch {
		case errs[i] == nil:
			m.acked[c.partition], m.maybe = c.want, nil
		case errors.Is(errs[i], storage.ErrUnavailable):
			failed = append(failed, c)
		default:
			m.Fatal(errs[i])
		}
	}
	m.maybe = append(m.maybe, failed...)
	for _, p := range machinePartitions {
		if got := contents(m.T, m.db, p); !maps.Equal(got, m.acked[p]) {
			m.Fatalf("there is %v, want %v", got, m.acked[p])
		}
	}
}

// change makes a change of the partition up.
func (m *machine) change(partition string) change {
	var revision int
	if _, err := fmt.Sscanf(m.acked[partition][partition], "revision %d", &revision); err != nil {
		m.Fatal(err)
	}
	c := change{partition: partition, want: map[string]string{}}
	if m.dice.IntN(10) == 0 {
		c.run = func() error { return m.db.Drop(m.Context(), partition) }
	} else {
		maps.Copy(c.want, m.acked[partition])
		vals := map[string][]byte{} // nil: deleted
		for range 1 + m.dice.IntN(4) {
			key := fmt.Sprint("key", m.dice.IntN(9))
			if m.dice.IntN(4) == 0 {
				vals[key] = nil
				delete(c.want, partition+" "+key)
			} else {
				vals[key] = bytes.Repeat(fmt.Append(nil, m.dice.IntN(1000), " "), m.dice.IntN(150))
				c.want[partition+" "+key] = string(vals[key])
			}
		}
		c.run = func() error {
			return m.db.Update(m.Context(), partition, func(tx storage.Tx) error {
				for key, val := range vals {
					if val == nil {
						tx.Delete(key)
					} else {
						tx.Set(key, val)
					}
				}
				return nil
			})
		}
	}
	c.want[partition] = fmt.Sprint("revision ", revision+1)
	return c
}

// sync stands for a sync of a log.
func (m *machine) sync(l *logFile) error {
	if m.cut && m.left == "" {
		m.left = m.crash()
	}
	now := m.read(l.file.Name())
	if m.dice.IntN(100) < m.faults {
		m.synced[l] = m.some(m.synced[l], now)
		return syscall.EIO
	}
	m.synced[l] = now
	return nil
}

// crash copies what the next process finds. When the process alone is killed that is everything that was written.
func (m *machine) crash() string {
	to := file(m.T)
	power := m.dice.IntN(2) == 0
	for i, l := range m.db.w.logs {
		b := m.read(l.file.Name())
		if power {
			b = m.some(m.synced[l], b)
		}
		if err := os.WriteFile(logPaths(to)[i], b, 0o600); err != nil {
			m.Error(err)
		}
	}
	if err := m.db.bolt.View(func(t *bbolt.Tx) error { return t.CopyFile(to, 0o600) }); err != nil {
		m.Error(err)
	}
	return to
}

// some is what was synced with any sectors of what was written since.
func (m *machine) some(synced, now []byte) []byte {
	const sector = 512
	b := make([]byte, len(now))
	copy(b, synced)
	for at := 0; at < len(now); at += sector {
		if m.dice.IntN(2) == 0 {
			copy(b[at:], now[at:min(at+sector, len(now))])
		}
	}
	return b
}

func (m *machine) read(path string) []byte {
	b, err := os.ReadFile(path)
	if err != nil {
		m.Error(err)
	}
	return b
}

func (m *machine) inTurn(fn func()) {
	if err := inTurn(m.T, m.db, fn); err != nil {
		m.Fatal(err)
	}
}
