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
		if err := f.index.fill(records); err != nil {
			return err
		}
		for i, rec := range records { // a process that died had not brought it there yet
			if f.o.Alone && rec != nil && rec.Events > sh.Members[i].Events {
				if err := f.publish(ctx, sh.IDs[i], sh.Members[i].Events); err != nil {
					return err
				}
			}
		}
		f.index.mu.Lock()
		f.index.last[n], f.index.revisions[n] = sh.Last, sh.Revision
		f.index.mu.Unlock()
	}
	return nil
}

// wrote notes that this replica itself wrote the numbers above before, up to after: it need not read them back.
func (x *index) wrote(shard int, before, after uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.last[shard] == before {
		x.last[shard] = after
	}
}

// pollIndex reads what other replicas wrote to a shard since it was looked at last.
func (f *Fleet) pollIndex(ctx context.Context, shard int) error {
	f.index.mu.RLock()
	after := f.index.last[shard]
	f.index.mu.RUnlock()
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
	take := f.index.take
	if lost {
		take = f.index.replace
		f.again.Store(true)
		f.doubt.Store(true) // for the Macs of which nothing is left
		f.wake()
	}
	for i, rec := range records {
		if rec == nil {
			f.index.remove(sh.IDs[i])
			continue
		}
		if err := take(rec); err != nil {
			return err
		}
		f.lookIfOld(rec)
	}
	f.index.mu.Lock()
	if lost {
		f.index.last[shard] = sh.Last
	}
	f.index.last[shard], f.index.revisions[shard] = max(f.index.last[shard], sh.Last), sh.Revision
	f.index.mu.Unlock()
	f.feed.signal()
	return nil
}
