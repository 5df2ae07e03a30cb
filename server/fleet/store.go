package fleet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"plimsoll/server/fleet/lead"
	"plimsoll/storage"
)

// ErrOtherStore ends a replica: the store is not, or not any more, one that it can run on.
var ErrOtherStore = errors.New("this program cannot run on the store")

func otherStore(format string, a ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrOtherStore}, a...)...)
}

// takeStore reads what the store is, or makes the format record of a new one. It comes before everything else: a store of a
// newer format, or one into which a restore was begun, is not touched. A store of an older format gets this one's number,
// so that older replicas end.
func (f *Fleet) takeStore(ctx context.Context) error {
	rec, err := f.store.FormatRecord(ctx)
	if err != nil {
		return fmt.Errorf("read the store's format: %w", err)
	}
	if rec == nil && !f.o.Alone {
		if err := f.noneWithoutFormat(ctx); err != nil {
			return err
		}
	}
	return f.store.UpdateFormat(ctx, func(rec *storage.FormatRecord) (*storage.FormatRecord, error) {
		if rec == nil {
			rec = &storage.FormatRecord{ID: storage.NewStoreID()}
		}
		f.storeRecord = *rec
		if err := usable(rec); err != nil {
			return nil, err
		}
		if rec.Format == storage.Format {
			return nil, nil
		}
		raised := *rec
		raised.Format = storage.Format
		f.storeRecord = raised
		return &raised, nil
	})
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
func (f *Fleet) noneWithoutFormat(ctx context.Context) error {
	held, before, err := f.store.LeaseNow(ctx, lead.Name)
	if err != nil || !held {
		return err
	}
	timer := time.NewTimer(f.renewals)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	held, after, err := f.store.LeaseNow(ctx, lead.Name)
	if err != nil || !held || after == before {
		return err
	}
	if rec, err := f.store.FormatRecord(ctx); err != nil || rec != nil { // another one of this version was first
		return err
	}
	return otherStore("a replica of an older version runs on it; end all of them first")
}

// watchStore looks every 500 ms whether the store is still the one that was taken, until ctx ends; the error says why it is
// not.
func (f *Fleet) watchStore(ctx context.Context) error {
	if f.o.Alone {
		return nil
	}
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	var seen uint64
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		revs, err := f.store.Revisions(ctx, storage.FormatPartition)
		if err != nil || revs[0] == seen {
			continue // the poll says that the store is not reachable
		}
		rec, err := f.store.FormatRecord(ctx)
		if err != nil || rec == nil { // it was emptied: what follows from that is not decided here
			continue
		}
		if err := usable(rec); err != nil {
			return err
		}
		if rec.ID != f.storeRecord.ID {
			return otherStore("it is another one than at the start: a backup was restored into it")
		}
		seen = revs[0]
	}
}

// StoreFormat is the number of the store's format.
func (f *Fleet) StoreFormat() int { return f.storeRecord.Format }

// notBefore is the earliest timestamp that is advertised on a store that was restored. Many changes within a second lead to
// timestamps ahead of the clock (rules 7), so it is a minute after the restore.
func (f *Fleet) notBefore() time.Time {
	if f.storeRecord.RestoredAt.IsZero() {
		return time.Time{}
	}
	return f.storeRecord.RestoredAt.Add(time.Minute).Truncate(time.Second)
}
