package plan

import (
	"time"

	"plimsoll/declarations/calendar"

	"plimsoll/declarations"
	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
)

// Why a promise was made anew (rules 6.4).
const (
	RenewedNeverServed = "never_served"
	RenewedReturned    = "returned"
)

const renewWithin = 24 * time.Hour

// due is when one missed release is due, and where that falls.
type due struct {
	at       declarations.Local // the due date (rules 6.3)
	days     int                // that were counted
	slot     declarations.Local // on an open day (rules 11)
	slotDays int
	from     release.Day // from which the days are counted
	urgent   bool
}

// dueOf is when one missed release of a lane is due, in automatic and for BSIs.
func (in *input) dueOf(l *lane, r *release.Release) due {
	d := due{from: posted(r), days: in.rule.WithinDays}
	switch l.Lane {
	case BSI:
		d.days = in.rule.BSIWithinDays
	case Upgrade:
		d.days = in.rule.UpgradeWithinDays
		if since := in.rule.Since(r.Version.Major()); !since.IsZero() {
			d.from = max(d.from, release.DayOf(since))
		}
	default:
		if len(in.rule.Rings) > 0 {
			d.days = in.rule.Rings[in.ring].WithinDays
		}
	}
	d.slotDays = d.days
	d.at = calendar.DueAt(d.from, d.days, l.clock)
	d.slot = l.cal.Slot(d.at, d.from, d.days)
	exploited := in.rule.ExploitedWithinDays
	if d.urgent = l.Lane != Upgrade && r.Exploited && exploited > 0; !d.urgent {
		return d
	}
	urgent := calendar.DueAt(d.from, exploited, l.clock)
	if l.Lane == Patch && exploited < d.days {
		d.at, d.days = urgent, exploited
	}
	d.slotDays = min(d.slotDays, exploited)
	d.slot = min(d.slot, l.cal.From(urgent, true))
	return d
}

// dates are the lane's due date and deadline with r as its target (rules 6.3, 6.4 and 11).
func (in *input) dates(l *lane, r *release.Release) LanePlan {
	d := LanePlan{Lane: l.Lane, Target: r, Promise: l.state.Promise}
	if l.wish != nil {
		d.Wished = true
		d.Deadline = in.pastAt(l.Lane, l.wish.At)
		d.Due, d.Slot, d.Own = d.Deadline, d.Deadline, d.Deadline
		return d
	}
	clock, notice := l.clock, in.rule.NoticeDays
	if in.rule.Mode == policy.ModeAutomatic || l.Lane == BSI {
		in.earliest(l, &d)
		notice = min(notice, d.SlotDays)
	} else {
		d.Due, d.Slot = in.rule.Deadline, l.cal.From(in.rule.Deadline, false)
		clock = int(calendar.Mod(int64(d.Due), calendar.DaySeconds))
	}
	in.deadline(l, &d, notice, clock)
	d.Own = d.Deadline
	return d
}

// missed tells whether a release counts as missed when r is the target: it is not held, not above the target, and not halted
// while it is
// closed for the Mac. Whether Apple still offers it does not matter (rules 6.3).
func (in *input) missed(l *lane, c *candidate, r *release.Release) bool {
	if c.held(in.now) || compare(c.r, r) > 0 {
		return false
	}
	if l.Lane != Patch || len(in.rule.Rings) == 0 {
		return true
	}
	o := in.opening(l, c)
	return !o.halted || !o.since.IsZero()
}

// earliest finds the due date and the slot of the lane among its missed releases: those of the Mac's own major, in the upgrade
// lane those of
// every major above it.
func (in *input) earliest(l *lane, d *LanePlan) {
	take := func(c *candidate) {
		if !in.missed(l, c, d.Target) {
			return
		}
		x := in.dueOf(l, c.r)
		d.Urgent = d.Urgent || x.urgent
		// Of two at once the one with more days counts: it sets the notice.
		if d.DueSetBy == nil || x.at < d.Due || x.at == d.Due && x.days >= d.DueDays {
			d.Due, d.DueSetBy, d.DueDays = x.at, c.r, x.days
		}
		if d.SlotSetBy == nil || x.slot < d.Slot || x.slot == d.Slot && x.slotDays >= d.SlotDays {
			d.Slot, d.SlotSetBy, d.SlotDays = x.slot, c.r, x.slotDays
		}
	}
	if l.Lane != Upgrade {
		for i := range l.list {
			take(l.list[i].candidate)
		}
		return
	}
	for i := range in.table.os[:in.above] {
		if c := &in.table.os[i]; c.major > in.major {
			take(c)
		}
	}
}

// deadline sets the deadline from the slot, the promise found and fair notice (rules 6.4 and 11).
func (in *input) deadline(l *lane, d *LanePlan, notice, clock int) {
	promise := l.cal.Counts(d.Promise, d.Urgent)
	if promise != 0 && promise <= d.Slot {
		d.Deadline = d.Slot
	} else {
		d.Fair = l.cal.Fair(in.now, notice, clock, d.Urgent)
		d.Deadline = max(d.Slot, d.Fair)
		if promise != 0 {
			d.Deadline = min(d.Deadline, promise)
		}
	}
	if promise != 0 && in.m.Asks {
		in.renew(l, d, promise, notice, clock)
	}
	if len(in.freezes) == 0 {
		return
	}
	in.wait(d.Deadline.At(declarations.LastZone))
	if moved, by := l.cal.Passed(d.Deadline, in.now, clock, d.Urgent); by != nil {
		d.Deadline, d.MovedBy = moved, by
	}
}

// renew makes a promise anew for one of the two causes of rules 6.4; neither ever makes it earlier.
func (in *input) renew(l *lane, d *LanePlan, promise declarations.Local, notice, clock int) {
	anewFair := l.cal.Fair(in.now, notice, clock, d.Urgent)
	anew := max(d.Slot, anewFair)
	s := &l.state
	switch arrives := promise.At(declarations.FirstZone); {
	case !s.Returned && !in.m.BackAt.IsZero() && !s.Since.After(in.m.BackAt) && !arrives.After(in.m.BackAt):
		if anew > d.Deadline {
			d.Deadline, d.Fair, d.Renewed = anew, anewFair, RenewedReturned
		}
	case !s.Renewed && s.Served != d.Promise && arrives.Sub(in.now) < renewWithin:
		if s.Served != 0 {
			anew = min(anew, max(d.Slot, s.Served))
		}
		if anew > d.Deadline {
			d.Deadline, d.Fair, d.Renewed = anew, anewFair, RenewedNeverServed
		}
	}
}

// swapWindow is the time in which a newer release may not replace the target: around the deadline wherever the Mac is, also
// around
// the one that the user delayed it to, and after the user's wish for an upgrade.
func (in *input) swapWindow(l *lane, d *LanePlan) (from, to time.Time) {
	if l.wish != nil {
		return l.wish.At, l.wish.At.Add(swapAfter)
	}
	end := d.Own
	if until := in.delayed(l); until > end {
		end = until
	}
	return d.Own.At(declarations.FirstZone).Add(-swapBefore), end.At(declarations.LastZone).Add(swapAfter)
}

// delayed is what the user delayed the lane's obligation to, 0 when he did not.
func (in *input) delayed(l *lane) declarations.Local {
	if d := in.m.Delayed; d != nil && d.Lane == l.Lane && !l.state.Since.IsZero() && d.Since.Equal(l.state.Since) {
		return d.Until
	}
	return 0
}
