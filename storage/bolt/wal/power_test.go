package wal_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"

	"plimsoll/storage/bolt/wal"
	"plimsoll/storage/bolt/wal/waltest"
)

// The power fails at every operation on the log's files, and within the commits of the database behind it: what was acknowledged is found, and
// after it at most one group that was not.
func TestPowerFailsAtEveryOperation(t *testing.T) {
	const seeds, lives = 60, 5
	states := 0
	for seed := range uint64(seeds) {
		p := &power{T: t, seed: seed, dice: rand.New(rand.NewPCG(seed, 3))}
		for range lives {
			p.live()
		}
		states += p.states
	}
	t.Logf("seeds 0 to %d: %d states after a power failure", seeds-1, states)
	if states < 100*seeds {
		t.Errorf("only %d states were tried", states)
	}
}

// power is a log before the simplest of databases, a list of groups.
type power struct {
	*testing.T
	seed uint64
	dice *rand.Rand

	disk   *waltest.Disk
	db     []string // as of its last commit
	moving []string // what it is committing: a crash finds this or db
	acked  []string
	maybe  []string // groups that failed after the last acknowledged one, and the one that is being appended
	states int
	left   crashed // by one of the failures: the next life begins with it
	chance int     // of one in so many that it is the next one
}

// crashed is what a power failure leaves.
type crashed struct {
	files map[string][]byte
	db    []string
}

func (p *power) live() {
	p.disk, p.db, p.chance = waltest.New(p.dice, p.left.files), p.left.db, 0
	l, found := p.recover(p.left)
	p.acked, p.maybe = found, nil
	p.disk.Event = p.crash
	p.commit(found)
	if err := l.Begin(uint64(len(found))); err != nil {
		p.Fatal(p.seed, err)
	}
	faults := []int{0, 10, 40}[p.dice.IntN(3)]
	p.disk.Fail = func(string) error {
		if p.dice.IntN(100) < faults {
			return syscall.EIO
		}
		return nil
	}
	frozen := len(found) // so many are in the file that rests, or in the database
	for range p.dice.IntN(30) {
		switch p.dice.IntN(5) {
		case 0:
			if frozen == len(p.db) && l.Rotate() {
				frozen = len(p.acked)
			}
		case 1:
			if frozen > len(p.db) {
				p.commit(p.acked[:frozen])
				l.Release()
			}
		default:
			p.append(l)
		}
	}
}

// append appends a group of some sectors, which equals no other one.
func (p *power) append(l *wal.Log) {
	g := fmt.Sprintf("%020d %s", p.dice.Uint64(), strings.Repeat("x", p.dice.IntN([]int{1, 2, 600, 3000}[p.dice.IntN(4)])))
	p.maybe = append(p.maybe, g)
	if err := l.Append(frame(g)); err == nil {
		p.acked, p.maybe = append(slices.Clip(p.acked), g), nil
	}
	if int(l.Last()) != len(p.acked) {
		p.Fatalf("seed %d: %d groups are acknowledged, and the last has number %d", p.seed, len(p.acked), l.Last())
	}
}

func (p *power) commit(to []string) {
	p.moving = to
	p.crash("commit")
	p.db, p.moving = to, nil
}

// crash looks at what a power failure would leave now.
func (p *power) crash(op string) {
	c := crashed{p.disk.Crash(), p.db}
	if p.moving != nil && p.dice.IntN(2) == 0 {
		c.db = p.moving
	}
	_, found := p.recover(c)
	known := slices.Equal(found, p.acked)
	for _, g := range p.maybe {
		known = known || slices.Equal(found, append(slices.Clip(p.acked), g))
	}
	if !known {
		p.Fatalf("seed %d, state %d, %s: after a power failure there are %d groups\n%.60q, acknowledged are %d\n%.60q", p.seed, p.states, op, len(found), found, len(p.acked), p.acked)
	}
	p.states++
	if p.chance++; p.dice.IntN(p.chance) == 0 {
		p.left = c
	}
}

// recover is what the next process does first.
func (p *power) recover(c crashed) (*wal.Log, []string) {
	disk := p.disk
	if c.files != nil && disk.Event != nil {
		disk = waltest.New(p.dice, c.files)
	}
	l, err := wal.Open(disk, "log")
	if err != nil {
		p.Fatalf("seed %d, state %d: %v", p.seed, p.states, err)
	}
	found := slices.Clip(c.db)
	last, err := l.Replay(uint64(len(found)), func(g []byte) error {
		found = append(found, string(g))
		return nil
	})
	if err != nil || last != uint64(len(found)) {
		p.Fatalf("seed %d, state %d: up to %d of %d groups: %v", p.seed, p.states, last, len(found), err)
	}
	return l, found
}
