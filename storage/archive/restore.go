package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"filippo.io/age"
	"golang.org/x/sync/errgroup"

	"plimsoll/storage"
)

const (
	// part is how many bytes are loaded with one request: Redis answers nobody else meanwhile.
	part = 4 << 20
	// loads is how many requests are under way.
	loads = 4
)

// RestoreOptions say how a backup is restored.
type RestoreOptions struct {
	Identities    []age.Identity // open one that is encrypted
	WithoutTokens bool           // leave API tokens and enrolment codes out
	Now           time.Time
}

// Restore reads a backup whole, and then writes it into a database that has no partition. From the first write to the last the
// store is marked, so that no server starts on it; when the restore was broken off, the same one may be run again. open is
// called twice. An error wraps storage.ErrInvalid when the backup cannot be restored, and storage.ErrConflict when it cannot be
// into this database; nothing was written then.
func Restore(ctx context.Context, open func() (io.ReadCloser, error), db storage.DB, o RestoreOptions) (Summary, error) {
	checked, err := visitFile(open, o.Identities, ignore{})
	if err != nil {
		return Summary{}, err
	}
	store := storage.New(db)
	if err := mark(ctx, store, checked.Checksum, o.Now); err != nil {
		return Summary{}, err
	}
	l := &loader{db: db, withoutTokens: o.WithoutTokens}
	l.g, l.ctx = errgroup.WithContext(ctx)
	l.g.SetLimit(loads)
	written, err := visitFile(open, o.Identities, l)
	if err == nil {
		err = l.flush()
	}
	if waitErr := l.g.Wait(); waitErr != nil { // it is why the rest was not read
		err = waitErr
	}
	if err == nil && written.Checksum != checked.Checksum {
		err = invalid("the backup was changed while it was restored")
	}
	if err != nil {
		return Summary{}, fmt.Errorf("the restore was broken off, and may be run again: %w", err)
	}
	if err := index(ctx, store, l.macs); err != nil {
		return Summary{}, fmt.Errorf("the restore was broken off, and may be run again: %w", err)
	}
	if err := store.UpdateFormat(ctx, func(rec *storage.FormatRecord) (*storage.FormatRecord, error) {
		if rec == nil || rec.Restoring == nil || rec.Restoring.Backup != checked.Checksum {
			return nil, fmt.Errorf("%w: the store was changed while it was restored", storage.ErrConflict)
		}
		return &storage.FormatRecord{
			Format: checked.Format, Oldest: checked.Oldest, ID: rec.ID, RestoredAt: o.Now.UTC(),
		}, nil
	}); err != nil {
		return Summary{}, err
	}
	return checked, nil
}

func visitFile(open func() (io.ReadCloser, error), ids []age.Identity, v visitor) (Summary, error) {
	f, err := open()
	if err != nil {
		return Summary{}, err
	}
	s, err := visit(f, ids, v)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return s, err
}

// mark marks an empty store, or finds the mark of the same restore.
func mark(ctx context.Context, store *storage.Store, backup string, now time.Time) error {
	rec, err := store.FormatRecord(ctx)
	if err != nil {
		return err
	}
	if rec == nil {
		switch empty, err := store.Empty(ctx); {
		case err != nil:
			return err
		case !empty:
			return notEmpty()
		}
	}
	return store.UpdateFormat(ctx, func(rec *storage.FormatRecord) (*storage.FormatRecord, error) {
		switch {
		case rec == nil:
			return &storage.FormatRecord{
				ID:        storage.NewStoreID(),
				Restoring: &storage.Restoring{Backup: backup, Since: now.UTC()},
			}, nil
		case rec.Restoring == nil:
			return nil, notEmpty()
		case rec.Restoring.Backup != backup:
			return nil, fmt.Errorf(
				"%w: the restore of another backup (SHA-256 %s) into this store was broken off: run that one again, or take an empty store",
				storage.ErrConflict,
				rec.Restoring.Backup,
			)
		}
		return nil, nil
	})
}

func notEmpty() error {
	return fmt.Errorf(
		"%w: the store is not empty: a backup is restored only into one that no server has used",
		storage.ErrConflict,
	)
}

// loader writes what is read into the database.
type loader struct {
	ctx           context.Context
	g             *errgroup.Group
	db            storage.DB
	withoutTokens bool

	macs    [storage.Shards][]string // by shard, for the index
	p       partition
	bytes   int  // of the entries of p
	pending bool // p is to be loaded
	skip    bool // p is left out
}

func (l *loader) partition(name string, revision uint64) error {
	if err := l.flush(); err != nil {
		return err
	}
	l.p = partition{name: name, revision: revision}
	l.pending, l.skip = true, l.withoutTokens && name == storage.AuthPartition
	if stageOf(name) == macs {
		id := name[len(macPrefix):]
		shard := storage.ShardOf(id)
		l.macs[shard] = append(l.macs[shard], id)
	}
	return nil
}

func (l *loader) value(key string, n int, r io.Reader) error {
	val := make([]byte, n)
	if _, err := io.ReadFull(r, val); err != nil {
		return err
	}
	l.p.entries = append(l.p.entries, storage.Entry{Key: key, Value: val})
	if l.bytes += len(key) + n; l.bytes < part {
		return nil
	}
	if err := l.flush(); err != nil {
		return err
	}
	l.pending = true // its revision is loaded with each part
	return nil
}

// flush loads what was read of the partition. Parts of one may be loaded in any order.
func (l *loader) flush() error {
	p, pending := l.p, l.pending
	l.p.entries, l.bytes, l.pending = nil, 0, false
	if !pending || l.skip {
		return nil
	}
	if err := l.ctx.Err(); err != nil {
		return errors.Join(storage.ErrUnavailable, err)
	}
	l.g.Go(func() error { return l.db.Load(l.ctx, p.name, p.revision, p.entries) })
	return nil
}

// index makes the shards of the Macs.
func index(ctx context.Context, store *storage.Store, macs [storage.Shards][]string) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(loads)
	for n, ids := range macs {
		g.Go(func() error { return store.RebuildShard(ctx, n, ids) })
	}
	return g.Wait()
}
