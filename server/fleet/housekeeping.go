package fleet

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"plimsoll/server/fleet/outbox"
	"plimsoll/storage"
)

const (
	historyEvery = 10 * time.Minute
	trimEvery    = 6 * time.Hour
	firstTrim    = 15 * time.Minute // after the lease was taken, which may happen more often than every 6 hours
	keepCodes    = 30               // days after an enrolment code expired or was used up
	// aWhile is longer than the shards are ever behind a Mac whose replica lives.
	aWhile = time.Minute
)

// housekeepingLoop keeps today's row of the history, and deletes what is older than its retention, until ctx ends.
func (f *Fleet) housekeepingLoop(ctx context.Context) {
	history := time.NewTicker(historyEvery)
	defer history.Stop()
	trim := time.NewTimer(firstTrim)
	defer trim.Stop()
	f.keepHistory(ctx)
	for {
		select {
		case <-ctx.Done():
			return
		case <-history.C:
			f.keepHistory(ctx)
		case <-trim.C:
			f.Trim(ctx)
			trim.Reset(trimEvery)
		}
	}
}

func (f *Fleet) keepHistory(ctx context.Context) {
	now := f.now()
	row, err := json.Marshal(f.today(now))
	if err == nil {
		err = f.store.SetDay(ctx, now.Format(time.DateOnly), row)
	}
	if err != nil && ctx.Err() == nil {
		f.log.Warn("today's row of the history could not be kept", "error", err)
	}
}

// Trim deletes what is older than its retention: raw reports, events, manifests, command results, history, SCEP challenges, enrolment codes; and repairs the index.
func (f *Fleet) Trim(ctx context.Context) {
	now := f.now()
	limits := storage.Limits{Reports: f.o.KeepReports, MaxEvents: outbox.MaxEvents}
	if f.o.KeepEvents > 0 {
		limits.EventsAfter = now.Add(-f.o.KeepEvents)
	}
	if f.o.KeepHistory > 0 {
		limits.HistoryAfter = now.Add(-f.o.KeepHistory)
		if err := f.store.DropDays(ctx, limits.HistoryAfter.Format(time.DateOnly)); err != nil {
			f.log.Warn("old history could not be deleted", "error", err)
		}
	}
	if err := f.store.DropChallenges(ctx, now); err != nil {
		f.log.Warn("expired SCEP challenges could not be deleted", "error", err)
	}
	if err := f.store.DropCodes(ctx, now.AddDate(0, 0, -keepCodes)); err != nil {
		f.log.Warn("old enrolment codes could not be deleted", "error", err)
	}
	f.each(ctx, f.index.IDs(), func(id string) error {
		if err := f.store.Trim(ctx, id, limits); err != nil {
			return err
		}
		if f.o.SweepResults == nil {
			return nil
		}
		return f.o.SweepResults(ctx, id, limits.EventsAfter)
	})
	members := map[string]bool{}
	for n := range storage.Shards {
		if ctx.Err() != nil {
			return
		}
		if err := f.store.TrimFleetEvents(ctx, n, limits.EventsAfter); err != nil {
			f.log.Warn("old events could not be deleted", "shard", n, "error", err)
		}
		if err := f.repairIndex(ctx, n, true, members); err != nil {
			f.log.Warn("an index shard could not be checked", "shard", n, "error", err)
			return
		}
	}
	if err := f.dropUnknown(ctx, members); err != nil {
		f.log.Warn("the index could not be checked", "error", err)
	}
	f.again.Store(true)
	f.wake()
}

// repairIndex compares a shard with the Macs themselves, and adds its Macs to members. The leader brings what the fleet's timeline lacks there:
// a replica that died had not done so yet. With clean, entries of Macs that are known no more go.
func (f *Fleet) repairIndex(ctx context.Context, shard int, clean bool, members map[string]bool) error {
	sh, err := f.store.Members(ctx, shard)
	if err != nil {
		return err
	}
	records, err := f.store.Records(ctx, sh.IDs)
	if err != nil && records == nil {
		return err
	}
	gone := map[string]storage.Member{}
	for i, rec := range records {
		id := sh.IDs[i]
		members[id] = true
		if rec == nil {
			f.index.Remove(id)
			gone[id] = sh.Members[i]
			continue
		}
		if err := f.index.Take(rec); err != nil {
			return err
		}
		if rec.Events > sh.Members[i].Events && (clean || f.leading.Load()) && f.now().Sub(rec.NotedAt) > aWhile {
			if err := f.outbox.Publish(ctx, id, sh.Members[i].Events); err != nil {
				return err
			}
		}
	}
	if len(gone) == 0 || err != nil || !clean {
		return err
	}
	return f.store.DropFromIndex(ctx, shard, gone)
}

// dropUnknown forgets the Macs that no shard has, if they really are no more.
func (f *Fleet) dropUnknown(ctx context.Context, members map[string]bool) error {
	unknown := slices.DeleteFunc(f.index.IDs(), func(id string) bool { return members[id] })
	records, err := f.store.Records(ctx, unknown)
	if err != nil && records == nil {
		return err
	}
	for i, rec := range records {
		if rec == nil {
			f.index.Remove(unknown[i])
			f.contacts.Forget(unknown[i])
		}
	}
	return err
}
