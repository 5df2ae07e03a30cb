package fleet

import (
	"context"
	"time"

	"plimsoll/storage"
)

const (
	pollEvery = 500 * time.Millisecond
	// rereadEvery is how often a replica reads every record again: a replica that dies between a Mac's commit and the
	// shard's leaves the others behind.
	rereadEvery = 15 * time.Minute
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

// contactsLoop writes every hour the contact times that no change has carried, until ctx ends.
func (f *Fleet) contactsLoop(ctx context.Context) {
	hourly := time.NewTicker(time.Hour)
	defer hourly.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-hourly.C:
			f.flushContacts(ctx)
		}
	}
}

// rereadLoop reads every record again when something may be missing, until ctx ends. It is not the poll's work, which must
// not be kept waiting.
func (f *Fleet) rereadLoop(ctx context.Context) {
	if f.o.Alone {
		return
	}
	reread := time.NewTicker(rereadEvery)
	defer reread.Stop()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-reread.C:
			f.missing.Store(true)
		case <-tick.C:
			if !f.missing.Swap(false) {
				continue
			}
			if err := f.lead.Reread(ctx); err != nil {
				f.missing.Store(true)
				f.log.Debug("the records could not be read again; trying again", "error", err)
			}
		}
	}
}

// pollLoop looks every 500 ms at what other replicas wrote, until ctx ends.
func (f *Fleet) pollLoop(ctx context.Context) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	down := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if f.o.Alone {
			continue
		}
		err := f.poll(ctx)
		switch {
		case err != nil && !down && ctx.Err() == nil:
			f.log.Warn("the store cannot be polled", "error", err)
		case err == nil && down:
			f.log.Info("the store can be polled again")
		}
		down = err != nil
	}
}

// poll compares the revisions of book, tokens and shards with what is in memory, and reads what changed.
func (f *Fleet) poll(ctx context.Context) error {
	const others = 4
	partitions := make([]string, 0, storage.Shards+others)
	partitions = append(partitions, storage.BookPartition, storage.AuthPartition, storage.StartsPartition, storage.SecretsPartition)
	for n := range storage.Shards {
		partitions = append(partitions, storage.ShardPartition(n))
	}
	revs, err := f.store.Revisions(ctx, partitions...)
	if err != nil {
		return err
	}
	switch seen := f.Current().Revision; {
	case revs[0] > seen:
		err = f.ReloadBook(ctx)
	case revs[0] < seen:
		err = f.RaiseBook(ctx, seen)
	}
	if err != nil {
		return err
	}
	if revs[1] != f.TokensRevision() {
		if err := f.ReloadTokens(ctx); err != nil {
			return err
		}
	}
	if f.authorities != nil && revs[3] != f.authorities.Revision() {
		if err := f.authorities.Reload(ctx); err != nil {
			return err
		}
	}
	for n := range storage.Shards {
		if _, known := f.index.Seen(n); revs[n+others] == known {
			continue
		}
		if err := f.pollIndex(ctx, n); err != nil {
			return err
		}
	}
	if revs[2] != f.starts {
		f.missing.Store(true)
		f.starts = revs[2]
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
		f.missing.Store(true) // for the Macs of which nothing is left
		f.lead.LookAtAll()
	}
	for i, rec := range records {
		if rec == nil {
			f.index.Remove(sh.IDs[i])
			continue
		}
		if err := take(rec); err != nil {
			return err
		}
		f.lead.RequeueIfOld(rec)
	}
	f.index.SetSeen(shard, sh.Last, sh.Revision, lost)
	f.outbox.Feed.Signal()
	return nil
}
