package plan

import (
	"time"

	"plimsoll/declarations"
	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
)

// calendar tells on which days the deadlines of one lane of one Mac may fall (rules 11).
type calendar struct {
	days    policy.Weekdays
	freezes []*policy.Freeze // that cover the Mac
}

// closing is the freeze that closes a day, nil when none does. For what is urgent only a strict one counts.
func (c calendar) closing(d release.Day, urgent bool) *policy.Freeze {
	for _, f := range c.freezes {
		if f.Covers(d) && (f.Strict || !urgent) {
			return f
		}
	}
	return nil
}

// open tells whether a deadline may fall on a day.
func (c calendar) open(d release.Day, urgent bool) bool {
	return (urgent || c.days.Has(d)) && c.closing(d, urgent) == nil
}

// first is the first open day that is not before d.
func (c calendar) first(d release.Day, urgent bool) release.Day {
	for !c.open(d, urgent) {
		if f := c.closing(d, urgent); f != nil {
			d = f.To
		}
		d++
	}
	return d
}

// slot is where a due date falls that is counted in days from a day: on its own day when that is open, else on the newest open
// day before
// it on which at least half of its days have passed, else on the first open day after it.
func (c calendar) slot(due declarations.Local, from release.Day, days int) declarations.Local {
	day := dayOf(due)
	if len(c.freezes) == 0 && c.days == 0 || c.open(day, false) {
		return due
	}
	for d := day - 1; d >= from+release.Day((days+1)/2); d-- {
		if c.open(d, false) {
			return onDay(due, d)
		}
	}
	return c.from(due, false)
}

// from is the given time of day on the first open day that is not before its own.
func (c calendar) from(l declarations.Local, urgent bool) declarations.Local {
	return onDay(l, c.first(dayOf(l), urgent))
}

// counts is what a promise counts as: one that lies in a freeze, the first open day after it.
func (c calendar) counts(promise declarations.Local, urgent bool) declarations.Local {
	if promise == 0 || c.closing(dayOf(promise), urgent) == nil {
		return promise
	}
	return c.from(promise, urgent)
}

// passed is the first time of day on an open day after a freeze, when the freeze lasts anywhere and the deadline lies before
// it and has
// passed everywhere; else 0.
func (c calendar) passed(deadline declarations.Local, now time.Time, clock int, urgent bool) (declarations.Local,
	*policy.Freeze,
) {
	if deadline.At(declarations.LastZone).After(now) {
		return 0, nil
	}
	for _, f := range c.freezes {
		if (f.Strict || !urgent) && dayOf(deadline) < f.From && !now.Before(f.BeginsAt()) && now.Before(f.EndsAt()) {
			return dueAt(c.first(f.To+1, urgent), 0, clock), f
		}
	}
	return 0, nil
}

// fair is the first time of day on an open day that is at least the given days after now, read where every wall clock arrives
// first; for no
// days it is today's, or that of the first open day after.
func (c calendar) fair(now time.Time, days, clock int, urgent bool) declarations.Local {
	if now.Nanosecond() != 0 {
		now = now.Truncate(time.Second).Add(time.Second)
	}
	at := int64(declarations.LocalAt(now, declarations.FirstZone)) + int64(days)*daySeconds
	today := at - mod(at, daySeconds) + int64(clock)
	if days > 0 && today < at {
		today += daySeconds
	}
	return c.from(declarations.Local(today), urgent)
}

// frozen is the strict freeze that lasts anywhere at now, nil if there is none.
func (c calendar) frozen(now time.Time) *policy.Freeze {
	for _, f := range c.freezes {
		if f.Strict && !now.Before(f.BeginsAt()) && now.Before(f.EndsAt()) {
			return f
		}
	}
	return nil
}

const daySeconds = 24 * 3600

func mod(a, b int64) int64 { return ((a % b) + b) % b }

func dayOf(l declarations.Local) release.Day {
	return release.Day((int64(l) - mod(int64(l), daySeconds)) / daySeconds)
}

// onDay is the same time of day on another day.
func onDay(l declarations.Local, d release.Day) declarations.Local {
	return declarations.Local(int64(d)*daySeconds + mod(int64(l), daySeconds))
}

func dueAt(from release.Day, days, clock int) declarations.Local {
	return declarations.Local((int64(from)+int64(days))*daySeconds + int64(clock))
}
