package plan

import (
	"cmp"
	"fmt"
	"time"

	"plimsoll/declarations/calendar"

	"plimsoll/declarations"
	"plimsoll/declarations/release"
)

// words tell the arithmetic of the deadline that is declared.
func (d *draft) words() []string {
	l := d.lanes[d.plan.Lane]
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	switch {
	case l.wish != nil:
		say("The user asked for this upgrade at %s: the deadline is that moment as UTC-12 reads it, %s, which is past "+
			"everywhere, so macOS installs it within about an hour.", l.wish.At.UTC().Format(time.RFC3339), l.Own)
	case l.DueSetBy == nil:
		say("The policy's own deadline is %s, so that is the due date.", l.Due)
	default:
		say("macOS %s was posted on %s and is due %s after %s: %s.", name(l.DueSetBy), posted(l.DueSetBy), days(l.DueDays),
			d.countedFrom(l), l.Due)
		if l.DueSetBy != l.Target {
			say("It is the missed release that is due first. The target, macOS %s, does not postpone it.", name(l.Target))
		}
	}
	d.slotWords(l, say)
	switch {
	case d.plan.Gated != "":
		say("Nothing of it is declared to this Mac, so no deadline is promised to it.")
	case l.wish == nil:
		d.noticeWords(l, say)
	}
	if l.MovedBy != nil {
		say("That deadline passed before the freeze %s (%s to %s), so it is the first open day after it: "+
			"%s.", l.MovedBy.Name, l.MovedBy.From, l.MovedBy.To, l.Own)
	}
	if l.Now {
		u := d.m.UpdateNow
		say(
			"%s had the Mac install it at %s: that moment as UTC-12 reads it, %s, takes the place of the lane's deadline until %s.",
			cmp.Or(u.By, "An admin"),
			u.At.UTC().Format(time.RFC3339),
			l.Deadline,
			u.EndsAt().UTC().Format(time.RFC3339),
		)
	}
	if l.Delayed {
		say("The user delayed it: the deadline is %s.", l.Deadline)
	}
	if patch, upgrade := d.lanes[Patch], d.lanes[Upgrade]; patch != nil && upgrade != nil {
		other := patch
		if l == patch {
			other = upgrade
		}
		say("Of the lanes patch and upgrade the one with the earlier deadline is declared, when equal the upgrade: the lane %s "+
			"(%s), not the lane %s (%s).", l.Lane, l.Own, other.Lane, other.Own)
	}
	return out
}

// countedFrom names the day that the due date is counted from.
func (d *draft) countedFrom(l *lane) string {
	if l.Lane == Upgrade {
		if since := d.rule.Since(l.DueSetBy.Version.Major()); !since.IsZero() && release.DayOf(since) > posted(l.DueSetBy) {
			return fmt.Sprintf("%s, when the policy began to ask for macOS %d", release.DayOf(since), l.DueSetBy.Version.Major())
		}
	}
	return "that"
}

func days(n int) string {
	if n == 1 {
		return "1 day"
	}
	return fmt.Sprintf("%d days", n)
}

func (d *draft) noticeWords(l *lane, say func(string, ...any)) {
	notice, due := d.rule.NoticeDays, "due date"
	if l.SlotSetBy != nil {
		notice = min(notice, l.SlotDays)
	}
	if l.Slot != l.Due {
		due = "open day"
	}
	if counts := l.cal.Counts(l.Promise, l.Urgent); counts != l.Promise {
		f := l.cal.Closing(calendar.DayOf(l.Promise), l.Urgent)
		say("The Mac was promised %s, which lies in the freeze %s now, so that counts as %s.", l.Promise, f.Name, counts)
	}
	switch {
	case l.Renewed == RenewedReturned:
		say("The Mac was promised %s, which had passed when it came back from more than 7 days of silence, so it is told "+
			"anew.", l.Promise)
	case l.Renewed == RenewedNeverServed:
		say("The Mac was promised %s but never fetched that, and less than 24 hours are left, so it is told anew.", l.Promise)
	}
	switch {
	case l.Fair == 0:
		say("The Mac was promised %s, not later than the %s, so the deadline is the %s.", l.Promise, due, due)
	case l.Own == l.Slot && l.Fair <= l.Slot:
		say("That leaves the Mac the notice of %s that it is promised at least (fair: %s), so the deadline is the "+
			"%s.", days(notice), l.Fair, due)
	case l.Own == l.Fair:
		say("With a notice of %s from now, read where every clock arrives first, the earliest fair deadline is %s, and that is "+
			"the deadline.", days(notice), l.Fair)
	case l.Own == l.Promise:
		say("The Mac was already promised %s, and that does not move later (fair from now would be %s), so it stays the "+
			"deadline.", l.Promise, l.Fair)
	default:
		say("The deadline is %s: never later than what the Mac was told last.", l.Own)
	}
}

// slotWords tell which day was closed, by what, and where the due date went (rules 11).
func (d *draft) slotWords(l *lane, say func(string, ...any)) {
	if l.wish != nil || l.Slot == l.Due {
		return
	}
	due := l.Due
	if l.SlotSetBy != nil && l.SlotSetBy != l.DueSetBy {
		due = d.dueOf(l, l.SlotSetBy).at
		say("The earliest open day is that of macOS %s, which is due %s.", name(l.SlotSetBy), due)
	}
	closed := "closed"
	if f := l.cal.Closing(calendar.DayOf(due), false); f != nil {
		closed = fmt.Sprintf("in the freeze %s (%s to %s)", f.Name, f.From, f.To)
	} else if !l.cal.Days.Has(calendar.DayOf(due)) {
		closed = "a weekday on which the policy sets no deadlines"
	}
	switch {
	case l.Slot < due:
		say("%s is %s, so the deadline falls on the newest open day before it: %s.", dayText(due), closed, l.Slot)
	case l.Slot > due:
		say(
			"%s is %s, and no open day before it leaves half of the days, so the deadline falls on the first open day after it: %s.",
			dayText(due),
			closed,
			l.Slot,
		)
	}
}

func dayText(l declarations.Local) string {
	d := calendar.DayOf(l)
	return d.Time().Weekday().String() + " " + d.String()
}
