package fleet

import (
	"context"
	"encoding/json"
	"time"

	"plimsoll/storage"
)

const (
	historyEvery = 10 * time.Minute
	trimEvery    = 6 * time.Hour
	maxEvents    = 2000 // of one Mac, whatever their age
)

// housekeepingLoop keeps today's row of the history, and deletes what is older than its retention, until ctx ends.
func (f *Fleet) housekeepingLoop(ctx context.Context) {
	history := time.NewTicker(historyEvery)
	defer history.Stop()
	trim := time.NewTicker(trimEvery)
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

// Trim deletes what is older than its retention: raw reports, events, manifests, command results, history, SCEP challenges; and repairs the index.
func (f *Fleet) Trim(ctx context.Context) {
	now := f.now()
	limits := storage.Limits{Reports: f.o.KeepReports, MaxEvents: maxEvents}
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
	f.each(ctx, f.index.ids(), func(id string) error {
		if err := f.store.Trim(ctx, id, limits); err != nil {
			return err
		}
		if f.o.SweepResults == nil {
			return nil
		}
		return f.o.SweepResults(ctx, id, limits.EventsAfter)
	})
	for n := range storage.Shards {
		if ctx.Err() != nil {
			return
		}
		if err := f.store.TrimFleetEvents(ctx, n, limits.EventsAfter); err != nil {
			f.log.Warn("old events could not be deleted", "shard", n, "error", err)
		}
		if err := f.repairIndex(ctx, n, true); err != nil {
			f.log.Warn("an index shard could not be checked", "shard", n, "error", err)
		}
	}
}

// repairIndex compares a shard with the Macs themselves. With clean, entries of Macs that are known no more go.
func (f *Fleet) repairIndex(ctx context.Context, shard int, clean bool) error {
	sh, err := f.store.Members(ctx, shard)
	if err != nil {
		return err
	}
	records, err := f.store.Records(ctx, sh.IDs)
	if err != nil && records == nil {
		return err
	}
	var gone []string
	for i, rec := range records {
		if rec == nil {
			f.index.remove(sh.IDs[i])
			gone = append(gone, sh.IDs[i])
			continue
		}
		if err := f.index.take(rec); err != nil {
			return err
		}
	}
	if len(gone) == 0 || err != nil || !clean {
		return err
	}
	return f.store.DropFromIndex(ctx, shard, gone)
}
