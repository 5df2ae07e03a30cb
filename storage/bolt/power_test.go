package bolt

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"

	"go.etcd.io/bbolt"

	"plimsoll/storage"
	"plimsoll/storage/bolt/wal"
	"plimsoll/storage/bolt/wal/waltest"
)

// The power fails, or the process is killed, before and after every write and sync of the log and every commit to the file: what was
// acknowledged is there; what was not is whole or absent. Syncs fail too, and each life begins with what a crash of the life before has left,
// which may have been a crash while it recovered.
func TestPowerFailsAtEveryOperation(t *testing.T) {
	const seeds, lives = 8, 6
	states := 0
	for seed := range uint64(seeds) {
		m := &machine{seed: seed, dice: rand.New(rand.NewPCG(seed, 7)), dir: t.TempDir(), acked: map[string]map[string]string{}}
		for _, p := range machinePartitions {
			m.acked[p] = map[string]string{p: "revision 0"}
		}
		synctest.Test(t, func(t *testing.T) {
			m.T = t
			for range lives {
				m.live()
			}
		})
		states += m.states
	}
	t.Logf("seeds 0 to %d: %d states after a crash", seeds-1, states)
	if states < 1000 {
		t.Errorf("only %d states were tried", states)
	}
}

var machinePartitions = []string{"mac/0", "mac/1", "shard/07"}

// machine is one on which a database lives and crashes, and what must be in the database.
type machine struct {
	*testing.T
	seed uint64
	dice *rand.Rand
	dir  string
	n    int // of files made there

	disk *waltest.Disk
	db   *DB
	file []byte        // as of its last commit
	gate chan struct{} // moves wait for it before each commit; nil: they do not

	acked map[string]map[string]string // contents by partition
	maybe []change                     // what failed after the last acknowledged commit, and what is on its way: it may be found after a crash

	left    crashed // the next life begins with it
	crashes int     // of this life; one of them is left
	seen    []crashed
	states  int
}

// crashed is what the next process finds, and what may be in it.
type crashed struct {
	logs  map[string][]byte
	file  []byte
	acked map[string]map[string]string
	maybe []change
}

// change is one commit to a partition.
type change struct {
	partition string
	want      map[string]string // contents after it
	run       func() error
}

// recorded is the file's side of the machine: each commit is a moment at which it may crash.
type recorded struct {
	*bbolt.DB
	m *machine
}

func (r recorded) Update(fn func(*bbolt.Tx) error) error {
	m := r.m
	if m.gate != nil {
		<-m.gate
	}
	if err := r.DB.Update(fn); err != nil {
		return err
	}
	var after bytes.Buffer
	if err := r.View(func(t *bbolt.Tx) error { _, err := t.WriteTo(&after); return err }); err != nil {
		return err
	}
	before := m.file // until it has returned, the power may fail before it
	m.crash()
	m.file = after.Bytes()
	m.crash()
	if before != nil && m.dice.IntN(3) == 0 {
		m.file = before
		m.crash()
		m.file = after.Bytes()
	}
	return nil
}

// open opens a database on what a crash has left.
func (m *machine) open(c crashed, disk wal.Disk, main func(*bbolt.DB) updater) *DB {
	m.n++
	path := filepath.Join(m.dir, fmt.Sprint(m.n, ".db"))
	if c.file != nil {
		if err := os.WriteFile(path, c.file, 0o600); err != nil {
			m.Fatal(err)
		}
	}
	db, err := openOn(renamed{disk}, path, main)
	if err != nil {
		m.Fatalf("seed %d, state %d: %v", m.seed, m.states, err)
	}
	return db
}

// renamed is a disk on which the log has one name, whatever that of the database.
type renamed struct{ wal.Disk }

func (r renamed) Read(path string) ([]byte, error)     { return r.Disk.Read(path[len(path)-1:]) }
func (r renamed) Create(path string) (wal.File, error) { return r.Disk.Create(path[len(path)-1:]) }
func (r renamed) Remove(path string) error             { return r.Disk.Remove(path[len(path)-1:]) }
func unsynced(b *bbolt.DB) updater                     { b.NoSync = true; return b }
func (m *machine) recorded(b *bbolt.DB) updater        { b.NoSync = true; return recorded{b, m} }

// crash makes up what a failure at this moment would leave; the writer may run it.
func (m *machine) crash() {
	c := crashed{file: m.file, acked: m.acked, maybe: slices.Clone(m.maybe)}
	if m.dice.IntN(4) == 0 {
		c.logs = m.disk.Files() // the process is killed
	} else {
		c.logs = m.disk.Crash()
	}
	m.seen = append(m.seen, c)
	if m.crashes++; m.dice.IntN(m.crashes) == 0 {
		m.left = c
	}
}

// look opens a database on each state that was made up.
func (m *machine) look() {
	for _, c := range m.seen {
		db := m.open(c, waltest.New(m.dice, c.logs), unsynced)
		m.known(db, c)
		if err := errors.Join(db.Close(), os.Remove(db.path)); err != nil {
			m.Fatal(err)
		}
		m.states++
	}
	m.seen = nil
}

// known holds what the database has against what it must and may have, and returns it.
func (m *machine) known(db *DB, c crashed) map[string]map[string]string {
	found := map[string]map[string]string{}
	for _, p := range machinePartitions {
		got := contents(m.T, db, p)
		known := maps.Equal(got, c.acked[p])
		for _, change := range c.maybe {
			known = known || change.partition == p && maps.Equal(got, change.want)
		}
		if !known {
			m.Fatalf("seed %d, state %d: found %.300v, want %.300v or one of %d that failed", m.seed, m.states, got, c.acked[p], len(c.maybe))
		}
		found[p] = got
	}
	return found
}

// live opens the database on what is left, and changes it.
func (m *machine) live() {
	from := m.left
	m.disk, m.file, m.crashes, m.gate = waltest.New(m.dice, from.logs), from.file, 0, nil // recovery waits for no gate
	if from.acked != nil {
		m.acked, m.maybe = from.acked, from.maybe
	}
	m.disk.Event = func(string) { m.crash() }
	m.db = m.open(from, m.disk, m.recorded)
	m.look()
	m.acked, m.maybe = m.known(m.db, crashed{acked: m.acked, maybe: m.maybe}), nil
	m.gate = make(chan struct{})
	faults := []int{0, 10, 40}[m.dice.IntN(3)]
	m.disk.Fail = func(op string) error {
		if m.dice.IntN(100) < faults {
			return syscall.EIO
		}
		return nil
	}
	for range m.dice.IntN(12) {
		_ = m.wait(m.begin(func() error {
			return inTurn(m.T, m.db, func() {
				m.db.logFull, m.db.moveBytes = []int64{300, 2000, logFull}[m.dice.IntN(3)], []int{1, moveBytes}[m.dice.IntN(2)]
			})
		}))
		m.step()
	}
	m.disk.Event, m.disk.Fail = nil, nil
	for m.move() {
	}
	m.gate = nil
	if err := m.db.Close(); err != nil {
		m.Error(err)
	}
}

// begin runs fn until it ends, or waits for a move that waits for the gate.
func (m *machine) begin(fn func() error) chan error {
	result := make(chan error, 1)
	go func() { result <- fn() }()
	synctest.Wait()
	return result
}

// wait lets moves go on, as far as somebody waits for them. Nothing runs beside a commit to the file, so that a seed repeats what it did.
func (m *machine) wait(result chan error) error {
	for len(result) == 0 && m.move() {
	}
	return <-result
}

// move lets a move make one commit, if there is one that waits.
func (m *machine) move() bool {
	select {
	case m.gate <- struct{}{}:
		synctest.Wait()
		return true
	default:
		return false
	}
}

// step runs one or two changes, or a Ping.
func (m *machine) step() {
	if m.dice.IntN(3) == 0 {
		m.move()
	}
	changes := []change{{run: func() error { return m.db.Ping(m.Context()) }}}
	if m.dice.IntN(6) > 0 {
		changes = nil
		for _, i := range m.dice.Perm(len(machinePartitions))[:1+m.dice.IntN(2)] {
			changes = append(changes, m.change(machinePartitions[i]))
		}
	}
	m.maybe = append(m.maybe, changes...)
	first := m.begin(changes[0].run)
	if len(first) > 0 || len(changes) == 1 {
		m.settle(m.wait(first), changes)
		if changes = changes[1:]; len(changes) > 0 {
			m.settle(m.wait(m.begin(changes[0].run)), changes)
		}
	} else { // the writer waits: they come into one group
		second := m.begin(changes[1].run)
		m.settle(m.wait(first), changes)
		m.settle(m.wait(second), changes[1:])
	}
	m.known(m.db, crashed{acked: m.acked})
	m.look()
}

// settle takes the answer to the first of changes; the others are on their way.
func (m *machine) settle(err error, changes []change) {
	switch c := changes[0]; {
	case err == nil:
		if c.want != nil {
			m.acked = maps.Clone(m.acked)
			m.acked[c.partition] = c.want
		}
		m.maybe = slices.Clone(changes[1:])
	case !errors.Is(err, storage.ErrUnavailable):
		m.Fatalf("seed %d: %v", m.seed, err)
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
