// Package guard sees to it that the store is one that this program can run on, and stays it: its format, its secrets, and the
// other replicas.
package guard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"plimsoll/storage"
	"plimsoll/storage/migrate"
)

// ErrOtherStore ends a replica: the store is not, or not any more, one that it can run on.
var ErrOtherStore = errors.New("this program cannot run on the store")

func otherStore(format string, a ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrOtherStore}, a...)...)
}

const (
	lookEvery    = 500 * time.Millisecond
	migrateAgain = 5 * time.Second
	// Replicas tell their format from firstTold on. One of format 1 finds the number raised within lookEvery, and has ended when
	// what it had begun is over.
	firstTold = 2
	untoldEnd = 2*lookEvery + storage.Timeout
)

// Options are what a Guard is made of.
type Options struct {
	Store *storage.Store
	Alone bool // no other process can have the store open
	Log   *slog.Logger
	// Lease is what a replica that knows no format renews, at least once within Renewals.
	Lease    string
	Renewals time.Duration
	// Migrated is called when values were rewritten: what is held of them in memory is old.
	Migrated func(context.Context) error
}

// Guard watches over one replica's store. Take must come first; then it is safe for concurrent use.
type Guard struct {
	*memory
	o         Options
	record    storage.FormatRecord // what the store is, from the start on
	presence  *presence
	untoldEnd time.Duration
}

// New makes a Guard.
func New(o Options) *Guard {
	return &Guard{
		o: o, presence: newPresence(o.Store, o.Log), untoldEnd: untoldEnd,
		memory: &memory{store: o.Store, log: o.Log, secrets: map[string][]byte{}},
	}
}

// Record is what the store is.
func (g *Guard) Record() storage.FormatRecord { return g.record }

// Take reads what the store is, or makes the format record of a new one. It comes before everything else: a store of a
// newer format, or one into which a restore was begun, is not touched. A store of an older format gets this one's number, and
// nothing else is written before the older replicas have ended.
func (g *Guard) Take(ctx context.Context) error {
	rec, err := g.o.Store.FormatRecord(ctx)
	if err != nil {
		return fmt.Errorf("read the store's format: %w", err)
	}
	if rec == nil && !g.o.Alone {
		if err := g.noneWithoutFormat(ctx); err != nil {
			return err
		}
	}
	fresh := false
	if rec == nil {
		if fresh, err = g.o.Store.Empty(ctx); err != nil {
			return fmt.Errorf("look whether the store is new: %w", err)
		}
	} else if err := usable(rec); err != nil {
		return err
	}
	// Whoever raises the number looks for older replicas afterwards. So this one is known to it, or finds the number raised.
	if !g.o.Alone {
		if err := g.presence.beat(ctx); err != nil {
			return fmt.Errorf("tell the other replicas of this one: %w", err)
		}
	}
	if err := g.raiseFormat(ctx, fresh); err != nil {
		return errors.Join(err, g.presence.leave(ctx))
	}
	if g.o.Alone {
		return nil
	}
	if rec != nil && rec.Oldest < firstTold && rec.Format > 0 {
		if err := pause(ctx, g.untoldEnd); err != nil {
			return err
		}
	}
	return g.presence.awaitOlder(ctx)
}

// raiseFormat gives the store this program's format.
func (g *Guard) raiseFormat(ctx context.Context, fresh bool) error {
	return g.o.Store.UpdateFormat(ctx, func(rec *storage.FormatRecord) (*storage.FormatRecord, error) {
		if rec == nil {
			rec = &storage.FormatRecord{ID: storage.NewStoreID()}
			if fresh {
				rec.Oldest = storage.Format
			}
		}
		g.record = *rec
		if err := usable(rec); err != nil {
			return nil, err
		}
		if rec.Format == storage.Format {
			return nil, nil
		}
		raised := *rec
		raised.Format = storage.Format
		g.record = raised
		return &raised, nil
	})
}

// Migrate rewrites what is of an older format, until ctx ends or it is done. It is the leader's work.
func (g *Guard) Migrate(ctx context.Context) {
	for {
		changed, err := migrate.Run(ctx, g.o.Store, g.o.Log)
		if changed > 0 {
			err = errors.Join(err, g.tellMigrated(ctx))
		}
		if err == nil || ctx.Err() != nil {
			return
		}
		g.o.Log.Warn("the migration of the store was broken off; it goes on", "in", migrateAgain, "error", err)
		if pause(ctx, migrateAgain) != nil {
			return
		}
	}
}

// tellMigrated lets every replica read the records again.
func (g *Guard) tellMigrated(ctx context.Context) error {
	if !g.o.Alone {
		if _, err := g.o.Store.CountStart(ctx); err != nil {
			return err
		}
	}
	return g.o.Migrated(ctx)
}

// pause waits, or returns the error of ctx when that ends earlier.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close tells the other replicas that this one has ended. It comes after Run, when no request is in flight any more.
func (g *Guard) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := g.presence.leave(ctx); err != nil {
		g.o.Log.Debug("the other replicas could not be told that this one has ended", "error", err)
	}
}

// usable tells why no replica of this program runs on a store.
func usable(rec *storage.FormatRecord) error {
	switch {
	case rec.Restoring != nil:
		return otherStore("a restore into it was begun at %s and is not through: run the same restore again",
			rec.Restoring.Since.Format(time.RFC3339))
	case rec.Format > storage.Format:
		return otherStore("it has format %d, and this program knows up to %d: a newer version of Plimsoll has used it",
			rec.Format, storage.Format)
	}
	return nil
}

// noneWithoutFormat refuses to go on while a replica runs that knows no format, and so would write values as if there were
// none: such a replica renews the lease.
func (g *Guard) noneWithoutFormat(ctx context.Context) error {
	held, before, err := g.o.Store.LeaseNow(ctx, g.o.Lease)
	if err != nil || !held {
		return err
	}
	if err := pause(ctx, g.o.Renewals); err != nil {
		return err
	}
	held, after, err := g.o.Store.LeaseNow(ctx, g.o.Lease)
	if err != nil || !held || after == before {
		return err
	}
	if rec, err := g.o.Store.FormatRecord(ctx); err != nil || rec != nil { // another one of this version was first
		return err
	}
	return otherStore("a replica of an older version runs on it; end all of them first")
}

// Watch looks every 500 ms whether the store is still the one that was taken, and tells the other replicas that this one lives,
// until ctx ends; the error says why it is not.
func (g *Guard) Watch(ctx context.Context) error {
	all, ctx := errgroup.WithContext(ctx)
	if !g.o.Alone {
		all.Go(func() error { g.presence.run(ctx); return nil })
	}
	all.Go(func() error {
		tick := time.NewTicker(lookEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
			}
			if err := g.look(ctx); errors.Is(err, ErrOtherStore) {
				g.end(err)
				return err
			}
		}
	})
	return all.Wait()
}

// look compares the store with what was taken. Of an error that is not ErrOtherStore others tell: the store is not reachable.
// It is the record that is looked at: one that is made anew may have the revision of the one before.
func (g *Guard) look(ctx context.Context) error {
	rec, err := g.o.Store.FormatRecord(ctx)
	if err != nil {
		return err
	}
	if rec == nil {
		if rec, err = g.putBack(ctx); err != nil {
			return err
		}
	}
	if err := usable(rec); err != nil {
		return err
	}
	if rec.ID != g.record.ID {
		return otherStore("it is another one than at the start: it was emptied and used by another replica, or a backup was restored" +
			" into it")
	}
	return g.keepSecrets(ctx)
}

// putBack writes the format record of a store that was emptied, and returns the one that stands there then.
func (g *Guard) putBack(ctx context.Context) (*storage.FormatRecord, error) {
	g.noteLoss("format", nil)
	stands := g.record
	err := g.o.Store.UpdateFormat(ctx, func(rec *storage.FormatRecord) (*storage.FormatRecord, error) {
		if rec != nil {
			stands = *rec
			return nil, nil
		}
		stands = g.record
		return &stands, nil
	})
	return &stands, err
}
