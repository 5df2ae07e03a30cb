package fleet

import (
	"context"
	"fmt"
	"sync"
	"time"

	"plimsoll/storage"
)

// The lease of the work that must happen once: a candidate takes over after it saw the lease unchanged for leaseTime by its own clock.
const (
	leaseName  = "leader"
	leaseTime  = 10 * time.Second
	leaseRenew = 2 * time.Second
	pollEvery  = 500 * time.Millisecond
	// rereadEvery is how often a replica reads every record again: a replica that dies between a Mac's commit and the shard's leaves the others behind.
	rereadEvery = 15 * time.Minute
)

// leaderLoop takes and keeps the lease, and runs the sweep, the catalogue, retention and history while it has it, until ctx ends.
func (f *Fleet) leaderLoop(ctx context.Context) {
	var (
		seen       string
		seenSince  = time.Now()
		renewed    time.Time
		stop       context.CancelFunc
		work       sync.WaitGroup
		tick       = time.NewTicker(leaseRenew)
		stopLeader = func() {
			if stop != nil {
				f.leading.Store(false)
				stop()
				work.Wait()
				stop = nil
			}
		}
	)
	defer tick.Stop()
	for {
		steal := f.o.Alone || time.Since(seenSince) >= leaseTime
		began := time.Now()
		held, now, err := f.store.Lease(ctx, leaseName, f.owner, seen, steal || f.o.Alone)
		if f.o.Alone && err == nil && !held {
			held, now, err = f.store.Lease(ctx, leaseName, f.owner, now, true)
		}
		if now != seen && err == nil {
			seen, seenSince = now, time.Now()
		}
		switch {
		case err == nil && held:
			renewed = began
			if stop == nil {
				leading, cancel := context.WithCancel(ctx)
				stop = cancel
				f.leading.Store(true)
				f.doubt.Store(true)
				for _, loop := range []func(context.Context){f.sweepLoop, f.catalogue.Run, f.housekeepingLoop} {
					work.Add(1)
					go func() { defer work.Done(); loop(leading) }()
				}
			}
		case err == nil || time.Since(renewed) > leaseTime-leaseRenew:
			stopLeader()
		}
		select {
		case <-ctx.Done():
			stopLeader()
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), storage.Timeout)
			defer cancel()
			if err := f.store.Release(last, leaseName, f.owner); err != nil {
				f.log.Warn("the lease could not be given back; another replica takes it over when it has expired", "error", err)
			}
			return
		case <-tick.C:
		}
	}
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

// rereadLoop reads every record again when there is doubt, until ctx ends. It is not the poll's work, which must not be kept waiting.
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
			f.doubt.Store(true)
		case <-tick.C:
			if !f.doubt.Swap(false) {
				continue
			}
			if err := f.reread(ctx); err != nil {
				f.doubt.Store(true)
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

// reread reads every record again, and lets the sweep look at every Mac.
func (f *Fleet) reread(ctx context.Context) error {
	members := map[string]bool{}
	for n := range storage.Shards {
		if err := f.repairIndex(ctx, n, false, members); err != nil {
			return fmt.Errorf("read index shard %d again: %w", n, err)
		}
	}
	if err := f.dropUnknown(ctx, members); err != nil {
		return err
	}
	f.again.Store(true)
	f.wake()
	return nil
}

// poll compares the revisions of book, tokens and shards with what is in memory, and reads what changed.
func (f *Fleet) poll(ctx context.Context) error {
	const others = 3
	partitions := make([]string, 0, storage.Shards+others)
	partitions = append(partitions, storage.BookPartition, storage.AuthPartition, storage.StartsPartition)
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
	for n := range storage.Shards {
		if _, known := f.index.Seen(n); revs[n+others] == known {
			continue
		}
		if err := f.pollIndex(ctx, n); err != nil {
			return err
		}
	}
	if revs[2] != f.starts {
		f.doubt.Store(true)
		f.starts = revs[2]
	}
	return nil
}
