package fleet

import (
	"context"

	"plimsoll/storage"
)

// loadIndex reads every Mac's record, at the start.
func (f *Fleet) loadIndex(ctx context.Context) error {
	for n := range storage.Shards {
		sh, err := f.store.Members(ctx, n)
		if err != nil {
			return err
		}
		records, err := f.store.Records(ctx, sh.IDs)
		if records == nil && err != nil {
			return err
		}
		if err != nil {
			f.log.Error("some Macs' records cannot be read; they are left out", "error", err)
		}
		if err := f.index.Fill(records); err != nil {
			return err
		}
		for i, rec := range records { // a process that died had not brought it there yet
			if f.o.Alone && rec != nil && rec.Events > sh.Members[i].Events {
				if err := f.outbox.Publish(ctx, sh.IDs[i], sh.Members[i].Events); err != nil {
					return err
				}
			}
		}
		f.index.SetSeen(n, sh.Last, sh.Revision, true)
	}
	return nil
}

// pollIndex reads what other replicas wrote to a shard since it was looked at last.
func (f *Fleet) pollIndex(ctx context.Context, shard int) error {
	after, _ := f.index.Seen(shard)
	sh, err := f.store.Changes(ctx, shard, after)
	lost := err == nil && sh.Last < after // the database lost its newest writes: the numbers are given again
	if lost {
		sh, err = f.store.Members(ctx, shard)
	}
	if err != nil {
		return err
	}
	records, err := f.store.Records(ctx, sh.IDs)
	if err != nil && records == nil {
		return err
	}
	take := f.index.Take
	if lost {
		take = f.index.Replace
		f.again.Store(true)
		f.doubt.Store(true) // for the Macs of which nothing is left
		f.wake()
	}
	for i, rec := range records {
		if rec == nil {
			f.index.Remove(sh.IDs[i])
			continue
		}
		if err := take(rec); err != nil {
			return err
		}
		f.lookIfOld(rec)
	}
	f.index.SetSeen(shard, sh.Last, sh.Revision, lost)
	f.outbox.Feed.Signal()
	return nil
}
