package lead

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"plimsoll/server/fleet/reconcile"
	"plimsoll/storage"
)

const (
	sweepEvery    = 2 * time.Second        // how often the boundaries in time are looked at
	sweepDebounce = 150 * time.Millisecond // so that two changes in a row notify a Mac once
)

// sweepLoop looks at the Macs after every change of the book, and at those whose boundary in time has passed, until ctx ends.
func (l *Leader) sweepLoop(ctx context.Context) {
	swept := uint64(0) // the book revision that every Mac was looked at with; a new leader begins from the start
	first := true
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.woken:
			pause := time.NewTimer(sweepDebounce)
			select {
			case <-ctx.Done():
				pause.Stop()
				return
			case <-pause.C:
			}
		case <-tick.C:
		}
		book := l.o.Book()
		first = l.again.Swap(false) || first
		if failed := l.sweep(ctx, book, first || book.Revision != swept); failed <= maxRequeued && ctx.Err() == nil {
			swept, first = book.Revision, false
		}
	}
}

// RequeueIfOld lets the sweep look at a Mac that was reconciled with an older book than the one in force, with which it may
// have been swept already.
func (l *Leader) RequeueIfOld(rec *storage.Record) {
	if rec.Facts.Enrolled && l.leading.Load() && rec.Book < l.o.Book().Revision {
		l.requeue.add(rec.Facts.ID, l.o.Now())
	}
}

// Sweep looks at every Mac in memory and reconciles those for which something follows: with all, from the book in force;
// and always those for which a boundary in time has passed. It returns how many could not be reconciled.
func (l *Leader) Sweep(ctx context.Context, all bool) (failed int) {
	return l.sweep(ctx, l.o.Book(), all)
}

func (l *Leader) sweep(ctx context.Context, book reconcile.Book, all bool) (failed int) {
	now := l.o.Now()
	due := l.requeue.due(now)
	over, rest := l.o.Index.Due(now, all, l.o.Waiting)
	passed := make(map[string]bool, len(over))
	for _, id := range over {
		passed[id] = true
	}
	due = append(due, over...)
	for i := range rest { // these have to be planned to know
		if ctx.Err() != nil {
			return 0
		}
		if rec := rest[i].Record(); reconcile.Follows(rec, l.o.Memory(rec.Facts.ID), book, now) {
			due = append(due, rec.Facts.ID)
		}
	}
	if all {
		l.o.Counters.Sweeps.Add(1)
	}
	due = shuffled(due)
	l.o.Counters.SweptMacs.Add(int64(len(due)))
	bad := l.each(ctx, due, func(id string) error {
		if passed[id] {
			return l.o.Change(ctx, id, reconcile.Boundary())
		}
		return l.o.Change(ctx, id, reconcile.Look())
	})
	l.requeue.tried(due, bad, now)
	return len(bad)
}

// shuffled puts Macs into the order of the database, which then writes less; from another place each time, so that no Mac
// is always the first to hear, or the last.
func shuffled(ids []string) []string {
	slices.Sort(ids)
	ids = slices.Compact(ids)
	if len(ids) == 0 {
		return ids
	}
	at := rand.IntN(len(ids))
	return slices.Concat(ids[at:], ids[:at])
}
