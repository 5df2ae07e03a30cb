// Package bolt is the embedded database: one file with a log beside it, one process, every commit synced to disk.
package bolt

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"plimsoll/storage"
	"plimsoll/storage/bolt/wal"
)

// Everything is in one bucket. A partition is the prefix
//
//	uvarint(length of its name), its name
//
// which no other partition's prefix can begin with. After it come one byte and the rest of the key:
//
//	0x00       the revision, 8 bytes, big endian; it outlives everything else
//	0x01 KEY   a value, packed
var bucketName = []byte("plimsoll")

const (
	kindRevision = 0
	kindValue    = 1
	kindEnd      = 2 // after everything of the partition
)

const (
	lockTimeout = time.Second
	// maxKey bounds partition and key together, prefix included.
	maxKey = bbolt.MaxKeySize
	// pageSize is the same on every machine (bbolt takes the system's, 16 KB on some); larger pages write more per commit
	// and save nothing.
	pageSize = 4096
	// fillPercent: a Mac's keys are mostly added in order, so that pages may be filled; with bbolt's 0.5 the file is a
	// sixth larger.
	fillPercent = 0.9
	// allocStep is by how much the file grows. It bounds what a small fleet's file wastes.
	allocStep = 2 << 20
	// mmapSize is address space, not memory. The file is remapped when it outgrows this, which waits for all readers and lets no
	// other begin. Where so much cannot be had (RLIMIT_AS), it is mmapLess.
	mmapSize = min(64<<30, math.MaxInt)
	mmapLess = 1 << 30
	// logFull bounds what lies in memory and is read again after a crash: twice as much, or logMost times when the file cannot
	// keep up.
	logFull = 4 << 20
	logMost = 4
	// moveBytes bounds what bbolt needs for a commit, which grows with it.
	moveBytes = 1 << 20
	// moveEvery bounds how long the file is behind its log: what is committed is on its way there within 20 s.
	moveEvery = 10 * time.Second
)

// DB is a storage.DB in a file. A commit goes into the log, and is then read from memory until it is moved into the file, many
// at once.
type DB struct {
	path  string
	bolt  *bbolt.DB
	main  updater // commits to bolt
	jobs  chan *job
	quit  chan struct{} // closed by Close: no more jobs
	done  chan struct{} // closed by the writer when it has ended
	close func() error

	logFull   int64 // bytes of a file of the log, after which the other one takes its turn
	moveBytes int   // about so much is moved into the file with one commit
	w         writer

	mu     sync.RWMutex
	active layer // lies over frozen, and is in the log that is written
	frozen layer // lies over the file, and is in the other log; nil: nothing is being moved
}

var _ storage.DB = (*DB)(nil)

// updater is how the file is written. Tests look at it.
type updater interface {
	Update(fn func(*bbolt.Tx) error) error
}

// Open opens or creates the file. The error wraps storage.ErrUnavailable when another process uses it, and when the file lacks
// its log.
func Open(path string) (*DB, error) {
	return openOn(wal.OS, path, func(b *bbolt.DB) updater { return b })
}

func openOn(disk wal.Disk, path string, main func(*bbolt.DB) updater) (*DB, error) {
	b, err := openFile(path)
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fmt.Errorf("database %s is in use by another process: %w", path, storage.ErrUnavailable)
	}
	if err != nil {
		return nil, fmt.Errorf("open database %s: %w: %w", path, storage.ErrUnavailable, err)
	}
	b.AllocSize = allocStep
	db := &DB{
		path: path, bolt: b, main: main(b), jobs: make(chan *job), quit: make(chan struct{}), done: make(chan struct{}),
		logFull: logFull, moveBytes: moveBytes, active: make(layer),
	}
	db.w.moved = make(chan error, 1)
	if err := db.recover(disk); err != nil {
		err = fmt.Errorf("prepare database %s: %w: %w", path, storage.ErrUnavailable, err)
		if db.w.log != nil {
			err = errors.Join(err, db.w.log.Close())
		}
		return nil, errors.Join(err, b.Close())
	}
	db.close = sync.OnceValue(func() error {
		close(db.quit)
		<-db.done
		if err := errors.Join(db.end(), b.Close()); err != nil {
			return fmt.Errorf("close database %s: %w", path, err)
		}
		return nil
	})
	go db.write()
	return db, nil
}

// openFile opens bbolt's file, and makes it when there is none.
func openFile(path string) (*bbolt.DB, error) {
	opts := &bbolt.Options{
		Timeout:      lockTimeout,
		FreelistType: bbolt.FreelistMapType,
		// The list of free pages is made again when the file is opened, instead of being written with every commit.
		NoFreelistSync: true,
		NoStatistics:   true,
		PageSize:       pageSize,
	}
	if strconv.IntSize == 32 || runtime.GOOS == "windows" { // there the file would become as large
		return bbolt.Open(path, 0o600, opts)
	}
	opts.InitialMmapSize = mmapSize
	b, err := bbolt.Open(path, 0o600, opts)
	if errors.Is(err, syscall.ENOMEM) {
		opts.InitialMmapSize = mmapLess
		b, err = bbolt.Open(path, 0o600, opts)
	}
	return b, err
}

// Close commits what the writer has taken, brings everything into the file, waits for the readers, and closes it. It may be
// called again. After an error what is not in the file is still in the log, which the next Open reads.
func (db *DB) Close() error { return db.close() }

// View runs fn once, over one snapshot.
func (db *DB) View(ctx context.Context, partition string, fn func(storage.Reader) error) error {
	return db.view(ctx, partition, func(t *tx) error { return fn(t) })
}

// Update runs fn over a snapshot, in parallel with others, and hands what it wrote to the writer.
// When somebody else committed to the partition in between, fn runs again alone, in the writer's turn.
func (db *DB) Update(ctx context.Context, partition string, fn func(storage.Tx) error) error {
	limited, cancel := context.WithTimeout(ctx, storage.Timeout)
	defer cancel()
	j := newJob(limited, update, partition, fn)
	err := db.view(limited, partition, j.run)
	if err != nil || j.tx.staged.Len() == 0 {
		return err
	}
	if err := ctx.Err(); err != nil { // limited may learn of it a moment later
		return unavailable("write to", db.path, err)
	}
	return db.submit(limited, j)
}

// Drop deletes the partition; its revision stays, and grows.
func (db *DB) Drop(ctx context.Context, partition string) error {
	ctx, cancel := context.WithTimeout(ctx, storage.Timeout)
	defer cancel()
	if len(partition) > maxKey/2 {
		return tooLong(partition)
	}
	return db.submit(ctx, newJob(ctx, dropAll, partition, nil))
}

// Ping makes an empty group durable, so that a full disk is noticed.
func (db *DB) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, storage.Timeout)
	defer cancel()
	return db.submit(ctx, newJob(ctx, ping, "", nil))
}

// Revisions returns the revisions of one snapshot.
func (db *DB) Revisions(ctx context.Context, partitions ...string) ([]uint64, error) {
	revs := make([]uint64, len(partitions))
	err := db.views(ctx, partitions, func(i int, t *tx) error {
		revs[i] = t.revision
		return nil
	})
	if err != nil {
		return nil, err
	}
	return revs, nil
}

// Collect reads one key of many partitions from one snapshot.
func (db *DB) Collect(ctx context.Context, partitions []string, key string) ([][]byte, error) {
	vals := make([][]byte, len(partitions))
	err := db.views(ctx, partitions, func(i int, t *tx) error {
		if i%1000 == 0 && ctx.Err() != nil {
			return unavailable("read", db.path, ctx.Err())
		}
		v, err := t.Get(key)
		if err != nil {
			return fmt.Errorf("partition %q: %w", partitions[i], err)
		}
		vals[i] = v
		return nil
	})
	if err != nil {
		return nil, err
	}
	return vals, nil
}

// view runs fn over a snapshot of the partition.
func (db *DB) view(ctx context.Context, partition string, fn func(*tx) error) error {
	if len(partition) > maxKey/2 {
		return tooLong(partition)
	}
	return db.views(ctx, []string{partition}, func(_ int, t *tx) error { return fn(t) })
}

// views runs fn over one snapshot of the partitions, one after the other. Reading memory does not block, so the context is only
// looked at before.
func (db *DB) views(ctx context.Context, partitions []string, fn func(int, *tx) error) error {
	if err := db.usable(ctx); err != nil {
		return err
	}
	// The layers and the file below them are of one moment: while the lock is held, nothing is moved out of the layers.
	over := make([][2]*part, len(partitions))
	db.mu.RLock()
	for i, p := range partitions {
		over[i] = [2]*part{db.active[p], db.frozen[p]}
	}
	file, err := db.bolt.Begin(false)
	db.mu.RUnlock()
	if err != nil {
		return unavailable("read", db.path, err)
	}
	defer func() { _ = file.Rollback() }() // cannot fail in an open transaction
	for i, p := range partitions {
		if err := fn(i, newTx(file, p, over[i][:]...)); err != nil {
			return err
		}
	}
	return nil
}

func unavailable(what, path string, err error) error {
	return fmt.Errorf("%s database %s: %w: %w", what, path, storage.ErrUnavailable, err)
}

func closed(path string) error {
	return fmt.Errorf("database %s: %w: closed", path, storage.ErrUnavailable)
}

func tooLong(key string) error {
	return fmt.Errorf(
		"%w: database key of %d bytes (%q…) is too long",
		storage.ErrInvalid,
		len(key),
		strings.ToValidUTF8(key[:20], "?"),
	)
}
