package bolt

import (
	"context"
	"errors"
	"time"

	"go.etcd.io/bbolt"

	"plimsoll/storage"
	"plimsoll/storage/bolt/wal"
)

// maxGroup bounds a group of commits in jobs, and maxGroupBytes in bytes, so that nobody waits long for his group.
const (
	maxGroup      = 1024
	maxGroupBytes = 16 << 20
	// nearlyFull is with how many bytes left a disk counts as full once a group did not fit.
	nearlyFull = 64 << 10
)

var errAborted = errors.New("the function did not return")

// job is one Update, Drop or Ping on its way through the writer.
type job struct {
	ctx       context.Context
	kind      jobKind
	partition string
	fn        func(storage.Tx) error

	tx   *tx    // what fn read and wrote when it ran last
	puts []pair // tx.staged, packed

	revision uint64 // after a load

	turn   chan *tx      // from the writer: run fn here, now
	turned chan error    // to the writer: fn has run; not nil: it wrote nothing
	gone   chan struct{} // closed when the caller has given up
	result chan error    // from the writer: committed, or why not
}

type jobKind byte

const (
	update jobKind = iota
	dropAll
	ping // writes nothing that counts, and is made durable all the same
	load // writes over what is there, and sets the revision
)

func newJob(ctx context.Context, kind jobKind, partition string, fn func(storage.Tx) error) *job {
	return &job{
		ctx: ctx, kind: kind, partition: partition, fn: fn,
		turn: make(chan *tx), turned: make(chan error, 1), gone: make(chan struct{}), result: make(chan error, 1),
	}
}

// run runs fn in a transaction, and packs what it wrote.
func (j *job) run(t *tx) error {
	j.tx = t
	if err := j.fn(t); err != nil {
		return err
	}
	if err := t.staged.Err(); err != nil {
		return err
	}
	j.puts = make([]pair, 0, t.staged.Len())
	t.staged.Each(func(key string, val []byte) {
		p := pair{key: key}
		if val != nil {
			p.val = storage.Pack(val)
		}
		j.puts = append(j.puts, p)
	})
	return nil
}

// submit gives the job to the writer and waits for its end. When the writer finds that the partition has changed, it
// stops and lets fn run here, in the caller's goroutine: a panic of fn is the caller's, not the writer's.
func (db *DB) submit(ctx context.Context, j *job) error {
	select {
	case db.jobs <- j:
	case <-db.quit:
		return closed(db.path)
	case <-ctx.Done():
		return unavailable("write to", db.path, ctx.Err())
	}
	var outcome error // of fn, when it has run in the writer's turn
	for {
		select {
		case t := <-j.turn:
			outcome = j.take(t)
			if (outcome != nil || t.staged.Len() == 0) && !t.unsynced {
				return outcome
			}
		case err := <-j.result:
			if err == nil {
				err = outcome
			}
			return err
		case <-ctx.Done():
			close(j.gone)
			return unavailable("write to", db.path, ctx.Err())
		}
	}
}

// take runs fn in the writer's turn, and gives the turn back whatever fn does.
func (j *job) take(t *tx) (err error) {
	err = errAborted
	defer func() { j.turned <- err }()
	err = j.run(t)
	return err
}

// writer is what belongs to the one goroutine that writes.
type writer struct {
	log   *wal.Log // the file that rests has the frozen layer
	frame []byte   // room for the next group
	// tooLarge is the length of the last frame that could not be written, until one as long could be: on a disk that is nearly
	// full nothing is taken, not the small commits alone. What a Mac does next would find the half of it done.
	tooLarge int

	// A frozen layer is on its way into the file, or could not be moved there.
	frozenSeq uint64     // of its last group
	moving    bool       // by a goroutine of its own
	moved     chan error // its result
	stuck     error      // why the last attempt failed
}

// write takes what is queued, and commits it with one sync.
func (db *DB) write() {
	defer close(db.done)
	tick := time.NewTicker(moveEvery)
	defer tick.Stop()
	for {
		select {
		case <-db.quit:
			return
		case err := <-db.w.moved:
			db.settle(err)
		case <-tick.C:
			if !db.w.moving && db.w.stuck == nil &&
				len(db.active) > 0 { // groups in which nothing is committed stay where they are
				db.freeze()
			}
		case j := <-db.jobs:
			db.commit(j)
		}
	}
}

// pending is a group that is being put together.
type pending struct {
	file  *bbolt.Tx        // what is below the layers
	parts map[string]*part // the active layer's parts as they will be
	jobs  []*job
}

// commit makes first and all jobs that are queued behind it durable, and then visible.
func (db *DB) commit(first *job) {
	err := db.makeRoom()
	var g pending
	if err == nil {
		g.parts = make(map[string]*part)
		g.file, err = db.bolt.Begin(false)
	}
	if err != nil {
		first.result <- unavailable("write to", db.path, err)
		return
	}
	w := &db.w
	w.frame = append(w.frame[:0], make([]byte, wal.Room)...)
	for j := first; j != nil; j = db.next(len(g.jobs), len(w.frame)) {
		if db.add(&g, j) {
			g.jobs = append(g.jobs, j)
		}
	}
	_ = g.file.Rollback() // cannot fail in an open transaction
	if len(g.jobs) == 0 {
		return
	}
	if missing := min(w.tooLarge, nearlyFull) - len(w.frame); missing > 0 {
		w.frame = append(w.frame, make([]byte, missing)...)
	}
	if err = w.log.Append(w.frame); err != nil {
		err = unavailable("write to", db.path, err)
		w.tooLarge = len(w.frame)
	} else {
		w.tooLarge = 0
		db.mu.Lock()
		for partition, p := range g.parts {
			db.active[partition] = p
		}
		db.mu.Unlock()
	}
	if cap(w.frame) > maxGroupBytes {
		w.frame = nil
	}
	for _, j := range g.jobs {
		j.result <- err
	}
}

func (db *DB) next(jobs, bytes int) *job {
	if jobs >= maxGroup || bytes >= maxGroupBytes {
		return nil
	}
	select {
	case j := <-db.jobs:
		return j
	default:
		return nil
	}
}

// add puts a job into the group. false: it wrote nothing, and the caller waits for no answer.
func (db *DB) add(g *pending, j *job) bool {
	if j.ctx.Err() != nil { // the caller has been told that it failed
		return false
	}
	if j.kind == ping {
		return true
	}
	top := g.parts[j.partition]
	if top == nil {
		top = db.active[j.partition]
	}
	t := newTx(g.file, j.partition, top, db.frozen[j.partition])
	t.unsynced = g.parts[j.partition] != nil
	revision := t.revision + 1
	if j.kind == dropAll {
		g.parts[j.partition] = &part{revision: revision, dropped: true}
		db.w.frame = appendDrop(db.w.frame, j.partition, revision)
		return true
	}
	if j.kind == load {
		revision = j.revision
	} else if t.revision != j.tx.revision {
		select {
		case j.turn <- t:
			if err := <-j.turned; err != nil || t.staged.Len() == 0 {
				return t.unsynced // what fn found must not be answered before it is durable
			}
		case <-j.gone:
			return false
		}
	}
	g.parts[j.partition] = top.with(revision, j.puts)
	db.w.frame = appendCommit(db.w.frame, j.partition, revision, j.puts)
	return true
}

// makeRoom freezes the active layer when the log is long enough, and lets the other log take its turn.
func (db *DB) makeRoom() error {
	w := &db.w
	long := w.log.Size()
	if w.moving && long >= logMost*db.logFull {
		db.settle(<-w.moved)
	}
	if w.stuck != nil { // nothing is taken any more until the file takes what it should have
		db.move()
		db.settle(<-w.moved)
		if w.stuck != nil {
			return w.stuck
		}
	}
	if !w.moving && long >= db.logFull {
		db.freeze()
	}
	return nil
}

// freeze lets the other file of the log take its turn, and begins to move what is committed.
func (db *DB) freeze() {
	w := &db.w
	if !w.log.Rotate() {
		return
	}
	db.mu.Lock()
	db.frozen, db.active = db.active, make(layer)
	db.mu.Unlock()
	w.frozenSeq = w.log.Last()
	db.move()
}

// move writes the frozen layer into the file, in a goroutine of its own.
func (db *DB) move() {
	db.w.moving = true
	frozen, seq, bytes := db.frozen, db.w.frozenSeq, db.moveBytes
	go func() { db.w.moved <- frozen.move(db.main, seq, bytes) }()
}

// settle ends a move. What is in the file need not be in memory and in the log.
func (db *DB) settle(err error) {
	w := &db.w
	w.moving = false
	if w.stuck = err; err != nil {
		return
	}
	db.mu.Lock()
	db.frozen = nil
	db.mu.Unlock()
	w.log.Release()
}

// moveAll brings everything into the file; the writer has ended.
func (db *DB) moveAll() error {
	w := &db.w
	if w.moving {
		db.settle(<-w.moved)
	}
	if db.frozen != nil {
		if err := db.frozen.move(db.main, w.frozenSeq, db.moveBytes); err != nil {
			return err
		}
	}
	return db.active.move(db.main, w.log.Last(), db.moveBytes)
}
