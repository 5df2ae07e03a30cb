package fleet

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"plimsoll/declarations/plan"
	"plimsoll/server/fleet/book"
	"plimsoll/status/compliance"
	"plimsoll/storage"
)

const (
	sweepEvery    = 2 * time.Second        // how often the boundaries in time are looked at
	sweepDebounce = 150 * time.Millisecond // so that two changes in a row tell a Mac once
)

// sweepLoop looks at the Macs after every change of the book, and at those whose boundary in time has passed, until ctx ends.
func (f *Fleet) sweepLoop(ctx context.Context) {
	swept := uint64(0) // the book revision that every Mac was looked at with; a new leader begins from the start
	first := true
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.woken:
			pause := time.NewTimer(sweepDebounce)
			select {
			case <-ctx.Done():
				pause.Stop()
				return
			case <-pause.C:
			}
		case <-tick.C:
		}
		cur := f.Current()
		first = f.again.Swap(false) || first
		if failed := f.sweep(ctx, cur, first || cur.Revision != swept); failed <= maxLooks && ctx.Err() == nil {
			swept, first = cur.Revision, false
		}
	}
}

// lookIfOld lets the sweep look at a Mac that was settled with an older book than the one in force, which it may have been swept with already.
func (f *Fleet) lookIfOld(rec *storage.Record) {
	if rec.Facts.Enrolled && f.leading.Load() && rec.Book < f.Current().Revision {
		f.looks.add(rec.Facts.ID, f.now())
	}
}

const (
	maxLooks     = 1000 // beyond that the whole fleet is looked at again
	lookAgainIn  = 2 * time.Second
	lookAgainMax = 5 * time.Minute
)

// lookList are the Macs that a sweep is to look at whatever it finds: those that could not be settled, with patience, so that one of them does not
// make the whole fleet be looked at again and again.
type lookList struct {
	mu   sync.Mutex
	at   map[string]time.Time
	wait map[string]time.Duration
}

func (l *lookList) init() { l.at, l.wait = map[string]time.Time{}, map[string]time.Duration{} }

func (l *lookList) add(id string, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.at[id] = at
}

// due takes those whose time has come.
func (l *lookList) due(now time.Time) (ids []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, at := range l.at {
		if !at.After(now) {
			ids = append(ids, id)
			delete(l.at, id)
		}
	}
	return ids
}

// tried notes which of those that were looked at could not be settled.
func (l *lookList) tried(ids, failed []string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	wait := make(map[string]time.Duration, len(failed))
	for _, id := range failed {
		wait[id] = min(max(lookAgainIn, 2*l.wait[id]), lookAgainMax)
	}
	for _, id := range ids {
		delete(l.wait, id)
	}
	if len(failed) > maxLooks {
		return
	}
	for id, d := range wait {
		l.wait[id], l.at[id] = d, now.Add(d)
	}
}

// sweep looks at every Mac in memory and settles those for which something follows: with all, those that are planned otherwise than
// they are kept; and always those for which a boundary in time has passed. It returns how many could not be settled.
func (f *Fleet) sweep(ctx context.Context, cur *book.Current, all bool) (failed int) {
	now := f.now()
	due := f.looks.due(now)
	over, rest := f.index.Due(now, all, f.pushes.Waiting)
	passed := make(map[string]bool, len(over))
	for _, id := range over {
		passed[id] = true
	}
	due = append(due, over...)
	for i := range rest { // these have to be planned to know
		if ctx.Err() != nil {
			return 0
		}
		if rec := rest[i].Record(); f.plannedOtherwise(cur, rec, now) {
			due = append(due, rec.Facts.ID)
		}
	}
	if all {
		f.counters.Sweeps.Add(1)
	}
	// In the order of the database, which then writes less; from another place each time, so that no Mac is always the first to hear, or the last.
	slices.Sort(due)
	due = slices.Compact(due)
	if len(due) > 0 {
		at := rand.IntN(len(due))
		due = slices.Concat(due[at:], due[:at])
	}
	f.counters.SweptMacs.Add(int64(len(due)))
	bad := f.each(ctx, due, func(id string) error { return f.lookAgain(ctx, id, passed[id]) })
	f.looks.tried(due, bad, now)
	return len(bad)
}

// Sweep looks at every Mac once, at those whose boundary in time has passed and at those that are planned otherwise than they are kept, and
// finishes what follows from it: pushes, and what the shards have to learn. Run does the same by itself and at its own pace; tests and the
// command line use this, so that nothing has to be waited for.
func (f *Fleet) Sweep(ctx context.Context) error {
	failed := f.sweep(ctx, f.Current(), true)
	f.pushes.Once(ctx)
	f.outbox.Flush(ctx)
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	if failed > 0 {
		return fmt.Errorf("sweep: %d Macs could not be looked after", failed)
	}
	return nil
}

// look settles a Mac without any cause but the passing of time, or a change of the book.
func (f *Fleet) look(ctx context.Context, id string) error { return f.lookAgain(ctx, id, false) }

func (f *Fleet) lookAgain(ctx context.Context, id string, passed bool) error {
	_, err := f.change(ctx, id, settling{now: f.now(), passed: passed}, func(m *storage.MacTx, s *settling) (bool, error) {
		rec := s.Record
		if rec == nil {
			f.index.Remove(id)
			f.contacts.Forget(id)
			return false, nil
		}
		f.contacts.Apply(rec) // the index, which told of this Mac, knows of them
		if compliance.WentStale(&rec.Facts, rec.RaisedAt, s.now) {
			rec.Generation++
			rec.RaisedAt = s.now
			f.counters.ResyncsRaised.Add(1)
			return true, f.ask(m, id, "OSVersion", "BuildVersion")
		}
		return true, nil
	})
	return err
}

// plannedOtherwise tells whether a Mac's plan differs from what is kept of it, from memory alone.
func (f *Fleet) plannedOtherwise(cur *book.Current, rec *storage.Record, now time.Time) bool {
	plan := cur.Plan(rec.PlanningMac(false, cur.SelfURL(rec)), now)
	s := &rec.Summary
	name, build := "", ""
	if plan.Policy != nil {
		name = plan.Policy.Name
	}
	if plan.Target != nil {
		build = plan.Target.Build
	}
	return plan.Token != rec.Advertised || plan.NextLanes != rec.Lanes || name != s.Policy || build != s.Build ||
		plan.Due != s.Due || plan.Deadline != s.Deadline || !rec.NextAt.Equal(plan.NextAt.Truncate(time.Second)) ||
		plan.Outcome != outcomeOf(s.State) || plan.Optional && !s.OverdueAt.IsZero() || !plan.Optional && plan.Enforced() && !s.PastAt.IsZero() || (plan.MissingBSI != nil) != (s.Flags&compliance.BSIPending != 0) ||
		cur.Index.Prerelease(rec.Facts.Version, rec.Facts.Build) != (s.Flags&compliance.Prerelease != 0) ||
		(rec.Advertised != rec.Manifest && rec.Told != rec.Advertised && (rec.Manifest != "" || len(plan.Declarations) > 0))
}

// outcomeOf is the plan's outcome that a kept state stands for.
func outcomeOf(s compliance.State) plan.Outcome {
	switch s {
	case compliance.Unmanaged:
		return plan.Unmanaged
	case compliance.Unknown:
		return plan.Unknown
	case compliance.Unsupported:
		return plan.Unsupported
	case compliance.Held:
		return plan.Held
	case compliance.Compliant:
		return plan.Satisfied
	}
	return plan.Targeted
}
