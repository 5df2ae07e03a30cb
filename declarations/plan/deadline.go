package plan

import (
	"time"

	"plimsoll/declarations"
	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
)

// Why a promise was made anew (rules 6.4).
const (
	RenewedNeverServed = "never_served"
	RenewedReturned    = "returned"
)

const (
	daySeconds  = 24 * 3600
	renewWithin = 24 * time.Hour
)

// dates are the lane's due date and deadline with r as its target (rules 6.3 and 6.4).
func (pl *planner) dates(l *lane, r *release.Release) LanePlan {
	d := LanePlan{Lane: l.Lane, Target: r, Promise: l.state.Promise}
	if l.wish != nil {
		d.Wished = true
		d.Deadline = declarations.LocalAt(l.wish.At, declarations.LastZone)
		d.Due, d.Own = d.Deadline, d.Deadline
		return d
	}
	clock := pl.rule.Time
	switch {
	case l.Lane == BSI:
		clock = pl.rule.BSITime
		pl.dueBSI(l, &d)
	case pl.rule.Mode == policy.ModeAutomatic:
		pl.dueOS(l, &d)
	default:
		d.Due = pl.rule.Deadline
		clock = int(mod(int64(d.Due), daySeconds))
	}
	notice := pl.rule.NoticeDays
	if d.DueSetBy != nil {
		notice = min(notice, d.DueDays)
	}
	pl.deadline(l, &d, notice, clock)
	d.Own = d.Deadline
	return d
}

// missed tells whether a release counts as missed when r is the target: it is not held, and not above the target.
// Whether Apple still offers it does not matter (rules 6.3).
func (pl *planner) missed(c *candidate, r *release.Release) bool {
	return !c.held(pl.now) && compare(c.r, r) <= 0
}

// dueOS is the earliest due date among the lane's missed releases: those of the Mac's own major, in the upgrade
// lane those of every major above it.
func (pl *planner) dueOS(l *lane, d *LanePlan) {
	list := l.list
	if l.Lane == Upgrade {
		list = pl.table.os[:pl.above]
	}
	for i := range list {
		c := &list[i]
		if l.Lane == Upgrade && c.major <= pl.major || !pl.missed(c, d.Target) {
			continue
		}
		due, days := pl.dueOf(l, c)
		d.sooner(c.r, due, days)
	}
}

// dueOf is when one missed release of an OS lane is due in automatic, and the days that count.
func (pl *planner) dueOf(l *lane, c *candidate) (declarations.Local, int) {
	from, days := posted(c.r), pl.rule.WithinDays
	if l.Lane == Upgrade {
		days = pl.rule.UpgradeWithinDays
		if since := pl.rule.Since(c.major); !since.IsZero() {
			from = max(from, release.DayOf(since))
		}
	} else if e := pl.rule.ExploitedWithinDays; c.r.Exploited && e != 0 {
		days = min(days, e)
	}
	return dueAt(from, days, pl.rule.Time), days
}

func (pl *planner) dueBSI(l *lane, d *LanePlan) {
	for i := range l.list {
		if c := &l.list[i]; pl.missed(c, d.Target) {
			d.sooner(c.r, dueAt(posted(c.r), pl.rule.BSIWithinDays, pl.rule.BSITime), pl.rule.BSIWithinDays)
		}
	}
}

// sooner takes a missed release into account. Of two that are due at once the one with more days sets the notice.
func (d *LanePlan) sooner(r *release.Release, due declarations.Local, days int) {
	if d.DueSetBy == nil || due < d.Due || due == d.Due && days >= d.DueDays {
		d.Due, d.DueSetBy, d.DueDays = due, r, days
	}
}

func dueAt(from release.Day, days, clock int) declarations.Local {
	return declarations.Local((int64(from)+int64(days))*daySeconds + int64(clock))
}

// deadline sets the deadline from the due date, the promise found and fair notice (rules 6.4).
func (pl *planner) deadline(l *lane, d *LanePlan, notice, clock int) {
	promise := d.Promise
	if promise != 0 && promise <= d.Due {
		d.Deadline = d.Due
	} else {
		d.Fair = fair(pl.now, notice, clock)
		d.Deadline = max(d.Due, d.Fair)
		if promise != 0 {
			d.Deadline = min(d.Deadline, promise)
		}
	}
	if promise == 0 || !pl.m.Asks {
		return
	}
	// The two causes for which a promise is made anew; neither ever makes it earlier.
	anewFair := fair(pl.now, notice, clock)
	anew := max(d.Due, anewFair)
	s := &l.state
	switch arrives := promise.At(declarations.FirstZone); {
	case !s.Returned && !pl.m.BackAt.IsZero() && !s.Since.After(pl.m.BackAt) && !arrives.After(pl.m.BackAt):
		if anew > d.Deadline {
			d.Deadline, d.Fair, d.Renewed = anew, anewFair, RenewedReturned
		}
	case !s.Renewed && s.Served != promise && arrives.Sub(pl.now) < renewWithin:
		if s.Served != 0 {
			anew = min(anew, max(d.Due, s.Served))
		}
		if anew > d.Deadline {
			d.Deadline, d.Fair, d.Renewed = anew, anewFair, RenewedNeverServed
		}
	}
}

// fair is the first time of day that is at least the given days after now, read where every wall clock arrives first;
// for no days it is today's.
func fair(now time.Time, days, clock int) declarations.Local {
	if now.Nanosecond() != 0 {
		now = now.Truncate(time.Second).Add(time.Second)
	}
	at := int64(declarations.LocalAt(now, declarations.FirstZone)) + int64(days)*daySeconds
	today := at - mod(at, daySeconds) + int64(clock)
	if days > 0 && today < at {
		today += daySeconds
	}
	return declarations.Local(today)
}

func mod(a, b int64) int64 { return ((a % b) + b) % b }

// swapWindow is the time in which a newer release may not replace the target: around the deadline wherever the Mac is, also around
// the one that the user delayed it to, and after the user's wish for an upgrade.
func (pl *planner) swapWindow(l *lane, d *LanePlan) (from, to time.Time) {
	if l.wish != nil {
		return l.wish.At, l.wish.At.Add(swapAfter)
	}
	end := d.Own
	if until := pl.delayed(l); until > end {
		end = until
	}
	return d.Own.At(declarations.FirstZone).Add(-swapBefore), end.At(declarations.LastZone).Add(swapAfter)
}
