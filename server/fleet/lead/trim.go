package lead

import (
	"context"
	"time"

	"plimsoll/declarations/release"
	"plimsoll/server/fleet/outbox"
	"plimsoll/storage"
)

const (
	historyEvery = 10 * time.Minute
	trimEvery    = 6 * time.Hour
	firstTrim    = 15 * time.Minute // after the lease was taken, which may happen more often than every 6 hours
	keepCodes    = 30               // days after an enrolment code expired or was used up
)

// housekeepingLoop keeps today's row of the history, and deletes what is older than its retention, until ctx ends.
func (l *Leader) housekeepingLoop(ctx context.Context) {
	history := time.NewTicker(historyEvery)
	defer history.Stop()
	trim := time.NewTimer(firstTrim)
	defer trim.Stop()
	l.keepToday(ctx)
	for {
		select {
		case <-ctx.Done():
			return
		case <-history.C:
			l.keepToday(ctx)
		case <-trim.C:
			l.Trim(ctx)
			trim.Reset(trimEvery)
		}
	}
}

func (l *Leader) keepToday(ctx context.Context) {
	now := l.o.Now()
	row, err := l.o.Today(now)
	if err == nil {
		err = l.o.Store.SetDay(ctx, now.Format(time.DateOnly), row)
	}
	if err != nil && ctx.Err() == nil {
		l.o.Log.Warn("today's row of the history could not be kept", "error", err)
	}
}

// Trim deletes what is older than its retention: raw reports, events, manifests, command results, history, what patch
// reports are made of, SCEP challenges, enrolment codes; and repairs the index.
func (l *Leader) Trim(ctx context.Context) {
	limits := l.limits()
	l.trimFleet(ctx, limits)
	l.each(ctx, l.o.Index.IDs(), func(id string) error {
		if err := l.o.Store.Trim(ctx, id, limits); err != nil || l.o.Keep.Results == nil {
			return err
		}
		return l.o.Keep.Results(ctx, id, limits.EventsAfter)
	})
	members := map[string]bool{}
	for n := range storage.Shards {
		if ctx.Err() != nil {
			return
		}
		if err := l.o.Store.TrimFleetEvents(ctx, n, limits.EventsAfter); err != nil {
			l.o.Log.Warn("old events could not be deleted", "shard", n, "error", err)
		}
		if err := l.repair(ctx, n, true, members); err != nil {
			l.o.Log.Warn("an index shard could not be checked", "shard", n, "error", err)
			return
		}
	}
	if err := l.dropUnknown(ctx, members); err != nil {
		l.o.Log.Warn("the index could not be checked", "error", err)
	}
	l.LookAtAll()
}

func (l *Leader) limits() storage.Limits {
	now := l.o.Now()
	limits := storage.Limits{Reports: l.o.Keep.Reports, MaxEvents: outbox.MaxEvents}
	if l.o.Keep.Events > 0 {
		limits.EventsAfter = now.Add(-l.o.Keep.Events)
	}
	if l.o.Keep.History > 0 {
		limits.HistoryAfter = now.Add(-l.o.Keep.History)
	}
	if l.o.Keep.Patching > 0 {
		limits.PatchingFrom = release.DayOf(now.Add(-l.o.Keep.Patching))
	}
	return limits
}

// trimFleet deletes what belongs to no Mac.
func (l *Leader) trimFleet(ctx context.Context, limits storage.Limits) {
	now := l.o.Now()
	if !limits.HistoryAfter.IsZero() {
		if err := l.o.Store.DropDays(ctx, limits.HistoryAfter.Format(time.DateOnly)); err != nil {
			l.o.Log.Warn("old history could not be deleted", "error", err)
		}
	}
	// Before the Macs' courses are cut: what was posted earlier is not counted any more.
	if limits.PatchingFrom != 0 {
		if err := l.o.Store.TrimPatching(ctx, limits.PatchingFrom); err != nil {
			l.o.Log.Warn("old days of the patch reports could not be deleted", "error", err)
		}
	}
	if err := l.o.Store.TrimFleet(ctx, limits.EventsAfter); err != nil {
		l.o.Log.Warn("old events of the fleet could not be deleted", "error", err)
	}
	if l.o.TrimAudit != nil {
		if err := l.o.TrimAudit(ctx); err != nil {
			l.o.Log.Warn("old entries of the audit could not be deleted", "error", err)
		}
	}
	if err := l.o.Store.DropChallenges(ctx, now); err != nil {
		l.o.Log.Warn("expired SCEP challenges could not be deleted", "error", err)
	}
	if err := l.o.Store.DropCodes(ctx, now.AddDate(0, 0, -keepCodes)); err != nil {
		l.o.Log.Warn("old enrolment codes could not be deleted", "error", err)
	}
}
