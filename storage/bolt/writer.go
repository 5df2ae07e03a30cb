package bolt

import (
	"context"
	"errors"

	"go.etcd.io/bbolt"

	"plimsoll/storage"
)

// maxGroup bounds a group of commits in jobs, and maxGroupBytes in bytes, so that nobody waits long for his group.
const (
	maxGroup      = 1024
	maxGroupBytes = 16 << 20
)

var (
	errSkip    = errors.New("nothing to commit")
	errAborted = errors.New("the function did not return")
)

// job is one Update, Drop or Ping on its way through the writer.
type job struct {
	ctx       context.Context
	partition string
	fn        func(storage.Tx) error

	tx   *tx    // what fn read and wrote when it ran last
	puts []pair // tx.staged, packed
	// apply replaces all of the above: it is no function of the caller's, and neither fails by conflict.
	apply func(*bbolt.Bucket) error

	turn   chan *bbolt.Tx // from the writer: run fn here, now
	turned chan error     // to the writer: fn has run; not nil: it wrote nothing
	gone   chan struct{}  // closed when the caller has given up
	result chan error     // from the writer: committed, or why not
}

type pair struct {
	key []byte // in the bucket
	val []byte // packed; nil: delete
}

func newJob(ctx context.Context, partition string, fn func(storage.Tx) error) *job {
	return &job{
		ctx: ctx, partition: partition, fn: fn,
		turn: make(chan *bbolt.Tx), turned: make(chan error, 1), gone: make(chan struct{}), result: make(chan error, 1),
	}
}

// run runs fn in a transaction, and packs what it wrote.
func (j *job) run(t *bbolt.Tx) error {
	var err error
	if j.tx, err = newTx(t, j.partition); err != nil {
		return err
	}
	if err := j.fn(j.tx); err != nil {
		return err
	}
	if j.tx.err != nil {
		return j.tx.err
	}
	j.puts = j.puts[:0]
	j.tx.staged.Each(func(key string, val []byte) {
		p := pair{key: under(j.tx.prefix, kindValue, key)}
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
	for {
		select {
		case t := <-j.turn:
			if err := j.take(t); err != nil {
				return err
			}
			if j.tx.staged.Len() == 0 {
				return nil
			}
		case err := <-j.result:
			return err
		case <-ctx.Done():
			close(j.gone)
			return unavailable("write to", db.path, ctx.Err())
		}
	}
}

// take runs fn in the writer's turn, and gives the turn back whatever fn does.
func (j *job) take(t *bbolt.Tx) (err error) {
	err = errAborted
	defer func() { j.turned <- err }()
	err = j.run(t)
	return err
}

// write is the one goroutine that writes. It takes what is queued, and commits it with one sync.
func (db *DB) write() {
	defer close(db.done)
	for {
		select {
		case <-db.quit:
			return
		case j := <-db.jobs:
			db.commit(j)
		}
	}
}

// commit applies first and all jobs that are queued behind it in one bolt transaction.
func (db *DB) commit(first *job) {
	t, err := db.bolt.Begin(true)
	if err != nil {
		first.result <- unavailable("write to", db.path, err)
		return
	}
	var group []*job
	bytes := 0
	for j := first; j != nil; j = db.next(len(group), bytes) {
		n, err := applyJob(t, j)
		bytes += n
		switch {
		case err == errSkip:
		case err != nil: // what it has written before stays in the transaction: none of it may be committed
			_ = t.Rollback() // cannot fail in an open transaction
			err = unavailable("write to", db.path, err)
			for _, g := range append(group, j) {
				g.result <- err
			}
			return
		default:
			group = append(group, j)
		}
	}
	if len(group) == 0 {
		_ = t.Rollback()
		return
	}
	if err = t.Commit(); err != nil {
		err = unavailable("write to", db.path, err)
	}
	for _, j := range group {
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

// applyJob writes a job into the transaction, and returns about how many bytes that are.
// errSkip: it wrote nothing, and somebody else answers the caller.
func applyJob(t *bbolt.Tx, j *job) (int, error) {
	if j.ctx.Err() != nil { // the caller has been told that it failed
		return 0, errSkip
	}
	b := t.Bucket(bucketName)
	b.FillPercent = fillPercent // of this transaction's bucket only
	if j.apply != nil {
		return 0, j.apply(b)
	}
	if revision(b, j.tx.prefix) != j.tx.revision {
		select {
		case j.turn <- t:
			if err := <-j.turned; err != nil || j.tx.staged.Len() == 0 {
				return 0, errSkip
			}
		case <-j.gone:
			return 0, errSkip
		}
	}
	bytes := 0
	for _, p := range j.puts {
		bytes += len(p.key) + len(p.val)
		var err error
		if p.val == nil {
			err = b.Delete(p.key)
		} else {
			err = b.Put(p.key, p.val)
		}
		if err != nil {
			return bytes, err
		}
	}
	return bytes, raise(b, j.tx.prefix)
}
