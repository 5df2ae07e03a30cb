// Package bolt is the embedded database: one file, one process, every commit synced to disk.
package bolt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"plimsoll/storage"
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
	// maxValue keeps a packed value far from what a page can count.
	maxValue = 1 << 30
	// pageSize is the same on every machine (bbolt takes the system's, 16 KB on some); larger pages write more per commit
	// and save nothing.
	pageSize = 4096
	// fillPercent: a Mac's keys are mostly added in order, so that pages may be filled; with bbolt's 0.5 the file is a
	// sixth larger.
	fillPercent = 0.9
	// allocStep is by how much the file grows. It bounds what a small fleet's file wastes.
	allocStep = 2 << 20
	// mmapSize is address space, not memory. The file is remapped when it outgrows this, which waits for all readers.
	mmapSize = 1 << 30
)

// DB is a storage.DB in a file.
type DB struct {
	path  string
	bolt  *bbolt.DB
	jobs  chan *job
	quit  chan struct{} // closed by Close: no more jobs
	done  chan struct{} // closed by the writer when it has ended
	close func() error
}

var _ storage.DB = (*DB)(nil)

// Open opens or creates the file. The error wraps storage.ErrUnavailable when another process uses it.
func Open(path string) (*DB, error) {
	opts := &bbolt.Options{
		Timeout:      lockTimeout,
		FreelistType: bbolt.FreelistMapType,
		// The list of free pages is made again when the file is opened, instead of being written with every commit.
		NoFreelistSync: true,
		NoStatistics:   true,
		PageSize:       pageSize,
	}
	if strconv.IntSize == 64 && runtime.GOOS != "windows" { // there the file would become as large
		opts.InitialMmapSize = mmapSize
	}
	b, err := bbolt.Open(path, 0o600, opts)
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fmt.Errorf("database %s is in use by another process: %w", path, storage.ErrUnavailable)
	}
	if err != nil {
		return nil, fmt.Errorf("open database %s: %w: %w", path, storage.ErrUnavailable, err)
	}
	b.AllocSize = allocStep
	err = b.Update(func(t *bbolt.Tx) error {
		_, err := t.CreateBucketIfNotExists(bucketName)
		return err
	})
	if err == nil {
		err = syncFolder(filepath.Dir(path))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("prepare database %s: %w: %w", path, storage.ErrUnavailable, err), b.Close())
	}
	db := &DB{path: path, bolt: b, jobs: make(chan *job), quit: make(chan struct{}), done: make(chan struct{})}
	db.close = sync.OnceValue(func() error {
		close(db.quit)
		<-db.done
		if err := b.Close(); err != nil {
			return fmt.Errorf("close database %s: %w", path, err)
		}
		return nil
	})
	go db.write()
	return db, nil
}

// syncFolder makes a file that is new survive a power failure: syncing the file does not promise that its name does.
func syncFolder(dir string) error {
	if runtime.GOOS == "windows" { // which cannot
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Close commits what the writer has taken, waits for the readers, and closes the file. It may be called again.
func (db *DB) Close() error { return db.close() }

// View runs fn once, over one snapshot of the file.
func (db *DB) View(ctx context.Context, partition string, fn func(storage.Reader) error) error {
	return db.read(ctx, func(t *bbolt.Tx) error {
		r, err := newTx(t, partition)
		if err != nil {
			return err
		}
		return fn(r)
	})
}

// Update runs fn over a snapshot, in parallel with others, and hands what it wrote to the writer.
// When somebody else committed to the partition in between, fn runs again alone, in the writer's turn.
func (db *DB) Update(ctx context.Context, partition string, fn func(storage.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, storage.Timeout)
	defer cancel()
	j := newJob(ctx, partition, fn)
	err := db.read(ctx, j.run)
	if err != nil || j.tx.staged.Len() == 0 {
		return err
	}
	return db.submit(ctx, j)
}

// Drop deletes the partition; its revision stays, and grows.
func (db *DB) Drop(ctx context.Context, partition string) error {
	ctx, cancel := context.WithTimeout(ctx, storage.Timeout)
	defer cancel()
	if len(partition) > maxKey/2 {
		return tooLong(partition)
	}
	j := newJob(ctx, partition, nil)
	j.apply = func(b *bbolt.Bucket) error {
		prefix := prefixOf(partition)
		if err := drop(b, prefix); err != nil {
			return err
		}
		return raise(b, prefix)
	}
	return db.submit(ctx, j)
}

// Ping commits a small write, so that a full disk is noticed.
func (db *DB) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, storage.Timeout)
	defer cancel()
	j := newJob(ctx, "", nil)
	j.apply = func(b *bbolt.Bucket) error {
		_, err := b.NextSequence() // the bucket's own number, of no other use
		return err
	}
	return db.submit(ctx, j)
}

// Revisions returns the revisions of one snapshot.
func (db *DB) Revisions(ctx context.Context, partitions ...string) ([]uint64, error) {
	revs := make([]uint64, len(partitions))
	err := db.read(ctx, func(t *bbolt.Tx) error {
		b := t.Bucket(bucketName)
		for i, p := range partitions {
			revs[i] = revision(b, prefixOf(p))
		}
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
	err := db.read(ctx, func(t *bbolt.Tx) error {
		b := t.Bucket(bucketName)
		for i, p := range partitions {
			if i%1000 == 0 && ctx.Err() != nil {
				return unavailable("read", db.path, ctx.Err())
			}
			v, err := get(b, prefixOf(p), key)
			if err != nil {
				return fmt.Errorf("partition %q: %w", p, err)
			}
			vals[i] = v
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return vals, nil
}

// read runs fn in a read transaction. Reading memory does not block, so the context is only looked at before.
func (db *DB) read(ctx context.Context, fn func(*bbolt.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return unavailable("read", db.path, err)
	}
	select {
	case <-db.quit:
		return closed(db.path)
	default:
	}
	ran := false
	err := db.bolt.View(func(t *bbolt.Tx) error {
		ran = true
		return fn(t)
	})
	if err != nil && !ran {
		return unavailable("read", db.path, err)
	}
	return err
}

func unavailable(what, path string, err error) error {
	return fmt.Errorf("%s database %s: %w: %w", what, path, storage.ErrUnavailable, err)
}

func closed(path string) error {
	return fmt.Errorf("database %s: %w: closed", path, storage.ErrUnavailable)
}

func tooLong(key string) error {
	return fmt.Errorf("%w: database key of %d bytes (%q…) is too long", storage.ErrInvalid, len(key), strings.ToValidUTF8(key[:20], "?"))
}
