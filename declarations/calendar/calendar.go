// Package calendar tells on which days deadlines may fall: open weekdays and freezes (rules 11).
package calendar

import (
	"time"

	"plimsoll/declarations"
	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
)

// Calendar tells on which days the deadlines of one lane of one Mac may fall (rules 11).
type Calendar struct {
	Days    policy.Weekdays
	Freezes []*policy.Freeze // that cover the Mac
}

// Closing is the freeze that closes a day, nil when none does. For what is urgent only a strict one counts.
func (c Calendar) Closing(d release.Day, urgent bool) *policy.Freeze {
	for _, f := range c.Freezes {
		if f.Covers(d) && (f.Strict || !urgent) {
			return f
		}
	}
	return nil
}

// open tells whether a deadline may fall on a day.
func (c Calendar) open(d release.Day, urgent bool) bool {
	return (urgent || c.Days.Has(d)) && c.Closing(d, urgent) == nil
}

// first is the first open day that is not before d.
func (c Calendar) first(d release.Day, urgent bool) release.Day {
	for !c.open(d, urgent) {
		if f := c.Closing(d, urgent); f != nil {
			d = f.To
		}
		d++
	}
	return d
}

// Slot is where a due date falls that is counted in days from a day: on its own day when that is open, else on the newest open
// day before it on which at least half of its days have passed, else on the first open day after it.
func (c Calendar) Slot(due declarations.Local, from release.Day, days int) declarations.Local {
	day := DayOf(due)
	if len(c.Freezes) == 0 && c.Days == 0 || c.open(day, false) {
		return due
	}
	for d := day - 1; d >= from+release.Day((days+1)/2); d-- {
		if c.open(d, false) {
			return OnDay(due, d)
		}
	}
	return c.From(due, false)
}

// From is the given time of day on the first open day that is not before its own.
func (c Calendar) From(l declarations.Local, urgent bool) declarations.Local {
	return OnDay(l, c.first(DayOf(l), urgent))
}

// Counts is what a promise counts as: one that lies in a freeze, the first open day after it.
func (c Calendar) Counts(promise declarations.Local, urgent bool) declarations.Local {
	if promise == 0 || c.Closing(DayOf(promise), urgent) == nil {
		return promise
	}
	return c.From(promise, urgent)
}

// Passed is the first time of day on an open day after a freeze, when the freeze lasts anywhere and the deadline lies before it
// and has passed everywhere; else 0.
func (c Calendar) Passed(
	deadline declarations.Local, now time.Time, clock int, urgent bool,
) (declarations.Local, *policy.Freeze) {
	if deadline.At(declarations.LastZone).After(now) {
		return 0, nil
	}
	for _, f := range c.Freezes {
		if (f.Strict || !urgent) && DayOf(deadline) < f.From && !now.Before(f.BeginsAt()) && now.Before(f.EndsAt()) {
			return DueAt(c.first(f.To+1, urgent), 0, clock), f
		}
	}
	return 0, nil
}

// Fair is the first time of day on an open day that is at least the given days after now, read where every wall clock arrives
// first; for no days it is today's, or that of the first open day after.
func (c Calendar) Fair(now time.Time, days, clock int, urgent bool) declarations.Local {
	if now.Nanosecond() != 0 {
		now = now.Truncate(time.Second).Add(time.Second)
	}
	at := int64(declarations.LocalAt(now, declarations.FirstZone)) + int64(days)*DaySeconds
	today := at - Mod(at, DaySeconds) + int64(clock)
	if days > 0 && today < at {
		today += DaySeconds
	}
	return c.From(declarations.Local(today), urgent)
}

// Frozen is the strict freeze that lasts anywhere at now, nil if there is none.
func (c Calendar) Frozen(now time.Time) *policy.Freeze {
	for _, f := range c.Freezes {
		if f.Strict && !now.Before(f.BeginsAt()) && now.Before(f.EndsAt()) {
			return f
		}
	}
	return nil
}

// DaySeconds are the seconds of a day on a wall clock.
const DaySeconds = 24 * 3600

// Mod is the remainder that is never negative.
func Mod(a, b int64) int64 { return ((a % b) + b) % b }

// DayOf is the day of a moment on a wall clock.
func DayOf(l declarations.Local) release.Day {
	return release.Day((int64(l) - Mod(int64(l), DaySeconds)) / DaySeconds)
}

// OnDay is the same time of day on another day.
func OnDay(l declarations.Local, d release.Day) declarations.Local {
	return declarations.Local(int64(d)*DaySeconds + Mod(int64(l), DaySeconds))
}

// DueAt is a time of day, in seconds, so many days after a day.
func DueAt(from release.Day, days, clock int) declarations.Local {
	return declarations.Local((int64(from)+int64(days))*DaySeconds + int64(clock))
}
