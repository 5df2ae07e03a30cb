package policy

import (
	"fmt"
	"slices"
	"time"

	"plimsoll/declarations"
	"plimsoll/declarations/release"
)

// The bounds of rules 11 and 13.
const (
	minRings      = 2
	maxRings      = 10
	maxMinMacs    = 100_000
	maxFreezeDays = 45
	maxReason     = 500
)

// weekdays checks a list of days.
func (c *check) weekdays(field string, days []string) {
	if days == nil {
		return
	}
	if len(days) == 0 {
		c.fault(field, "must name at least one weekday: mon, tue, wed, thu, fri, sat or sun")
	}
	for i, d := range days {
		at := fmt.Sprintf("%s[%d]", field, i)
		if _, err := weekdays([]string{d}); err != nil {
			c.fault(at, "must be a weekday: mon, tue, wed, thu, fri, sat or sun")
		} else if slices.Contains(days[:i], d) {
			c.fault(at, "names %s again", d)
		}
	}
}

func (c *check) zone() {
	if c.p.TimeZone == "" {
		return
	}
	if _, err := loadZone(c.p.TimeZone); err != nil {
		c.fault("time_zone", "must be an IANA time zone such as Europe/Berlin")
	}
}

func (c *check) enrolment() {
	switch c.p.AtEnrolment {
	case "":
	case AtEnrolmentNewest, AtEnrolmentFloor:
		if u := c.p.Updates; u == nil || u.Mode == ModeNone {
			c.fault("at_enrolment", noMeaning, "updates are not managed")
		}
	default:
		c.fault("at_enrolment", "must be newest or floor")
	}
}

func (c *check) rings() {
	p := c.p
	if p.Rings == nil {
		if p.Gate != nil {
			c.fault("gate", noMeaning, "there are no rings")
		}
		return
	}
	if p.Updates == nil || p.Updates.Mode != ModeAutomatic {
		c.fault("rings", noMeaning, "updates.mode is not automatic")
		return
	}
	if n := len(p.Rings); n < minRings || n > maxRings {
		c.fault("rings", "must have between %d and %d rings", minRings, maxRings)
		return
	}
	if p.Updates.MinAgeDays != nil {
		c.fault("updates.min_age_days", noMeaning, "there are rings: each has its own")
	}
	names := map[string]bool{}
	percent := 0.0
	for i := range p.Rings {
		r, at := &p.Rings[i], fmt.Sprintf("rings[%d]", i)
		switch {
		case !ValidName(r.Name):
			c.fault(at+".name", nameWords)
		case names[r.Name]:
			c.fault(at+".name", "is the name of another ring too")
		}
		names[r.Name] = true
		c.groups(at+".groups", r.Groups)
		if r.Percent != nil {
			if *r.Percent > 0 && *r.Percent <= 100 {
				percent += *r.Percent
			} else {
				c.fault(at+".percent", "must be above 0 and at most 100")
			}
			if percent > 100+1e-9 {
				c.fault(at+".percent", "makes more than 100 together with the rings before it")
				percent = 0
			}
		}
		c.ringTakes(at, r, i == len(p.Rings)-1)
	}
	c.ringDays()
	c.gate()
}

// ringTakes checks whom a ring takes: groups, a percentage or both; the last one takes the rest.
func (c *check) ringTakes(at string, r *Ring, last bool) {
	takes := len(r.Groups) > 0 || r.Percent != nil
	switch {
	case !last && !takes:
		c.fault(at, "must have groups or percent")
	case last && r.Percent != nil:
		c.fault(at+".percent", "must not be given for the last ring, which takes the rest")
	case last && r.Groups != nil:
		c.fault(at+".groups", "must not be given for the last ring, which takes the rest")
	}
}

// ringDays checks the days of the rings against each other.
func (c *check) ringDays() {
	u := c.p.Updates
	if u.WithinDays == nil {
		return
	}
	notice := c.p.Rule().NoticeDays
	within, age := 0, 0
	for i := range c.p.Rings {
		r, at := &c.p.Rings[i], fmt.Sprintf("rings[%d]", i)
		mine := *u.WithinDays
		if r.WithinDays != nil {
			mine = *r.WithinDays
		}
		switch {
		case i == len(c.p.Rings)-1 && r.WithinDays != nil:
			c.fault(at+".within_days", "must not be given for the last ring, whose days are those of updates")
			mine = *u.WithinDays
		case mine < 1 || mine > maxDays:
			c.fault(at+".within_days", mustBeDays, 1, maxDays)
		}
		if mine < within {
			if i == len(c.p.Rings)-1 {
				at = fmt.Sprintf("rings[%d]", i-1)
				c.fault(at+".within_days", "must be at most updates.within_days (%d), which are the last ring's", *u.WithinDays)
			} else {
				c.fault(at+".within_days", "must be at least the %d days of the ring before it", within)
			}
		}
		within = max(within, mine)
		if r.MinAgeDays == nil {
			if age > 0 {
				c.fault(at+".min_age_days", "must be at least the %d days of the ring before it", age)
			}
			continue
		}
		most := mine - min(notice, mine) - 1
		switch n := *r.MinAgeDays; {
		case i == 0:
			c.fault(at+".min_age_days", "must not be given for the first ring, which is always open")
		case n < 0 || n > most:
			c.fault(at+".min_age_days", "must be between 0 and %d: within_days less the notice less 1", max(0, most))
		case n < age:
			c.fault(at+".min_age_days", "must be at least the %d days of the ring before it", age)
		default:
			age = n
		}
	}
}

func (c *check) gate() {
	g := c.p.Gate
	if g == nil {
		return
	}
	if g.MinMacs != nil && (*g.MinMacs < 1 || *g.MinMacs > maxMinMacs) {
		c.fault("gate.min_macs", mustBeDays, 1, maxMinMacs)
	}
	if g.MaxBadPercent != nil && !(*g.MaxBadPercent >= 0 && *g.MaxBadPercent <= 100) {
		c.fault("gate.max_bad_percent", mustBeDays, 0, 100)
	}
}

// ValidateFreeze finds everything that is wrong with a freeze (rules 11). before is the freeze that it replaces, nil for a new
// one: one
// that is over is taken when the write does not change its days.
func ValidateFreeze(f, before *Freeze, book *Book, now time.Time) (faults []FieldError, warnings []Reason) {
	c := &check{book: book}
	if !ValidName(f.Name) {
		c.fault("name", nameWords)
	}
	if f.Reason == "" || len([]rune(f.Reason)) > maxReason || !printable(f.Reason) {
		c.fault("reason", "must be 1 to %d printable characters long", maxReason)
	}
	same := before != nil && before.From == f.From && before.To == f.To
	switch {
	case f.From == 0 || f.From.Time().Year() < firstYear || f.From.Time().Year() > lastYear:
		c.fault("from", "must be given as a date such as 2026-12-19, between %d and %d", firstYear, lastYear)
	case f.To == 0:
		c.fault("to", "must be given as a date such as 2027-01-04")
	case f.To < f.From:
		c.fault("to", "must not be before from (%s)", f.From)
	case f.To-f.From+1 > maxFreezeDays:
		c.fault("to", "must make the freeze at most %d days long, not %d", maxFreezeDays, f.To-f.From+1)
	case !same && !f.EndsAt().After(now):
		c.fault("to", "has passed")
	}
	c.groups("groups", f.Groups)
	c.groups("exclude_groups", f.ExcludeGroups)
	for _, g := range slices.Concat(f.Groups, f.ExcludeGroups) {
		if _, ok := slices.BinarySearch(book.groups, g); !ok {
			warnings = append(warnings, texts.Reason(CodeUnknownGroup, map[string]any{"group": g}))
		}
	}
	return c.faults, warnings
}

// BeginsAt is when the freeze begins anywhere: its first day at UTC+14.
func (f *Freeze) BeginsAt() time.Time { return f.From.Time().Add(-declarations.FirstZone) }

// EndsAt is when the freeze is over everywhere: the end of its last day at UTC-12.
func (f *Freeze) EndsAt() time.Time { return (f.To + 1).Time().Add(-declarations.LastZone) }

// Covers tells whether a day lies in the freeze.
func (f *Freeze) Covers(d release.Day) bool { return f.From <= d && d <= f.To }

// ringWarnings tell of rings that are allowed and may still surprise: a ring that opens by time before the deadlines of the
// one before it.
func ringWarnings(p *Policy) []Reason {
	r := p.Rule()
	var out []Reason
	for i := 1; i < len(r.Rings); i++ {
		before, ring := &r.Rings[i-1], &r.Rings[i]
		notice := min(r.NoticeDays, ring.WithinDays)
		if opens := ring.WithinDays - notice - 1; opens < before.WithinDays+1 {
			out = append(out, texts.Reason(CodeRingTooEarly, map[string]any{
				"ring": ring.Name, "before": before.Name, "opens_days": max(0, opens), "deadline_days": before.WithinDays,
			}))
		}
	}
	return out
}

// SmallRings warns of rings that have fewer Macs than the gate needs to see; macs counts the Macs of each ring.
func SmallRings(p *Policy, macs []int) []Reason {
	r := p.Rule()
	var out []Reason
	for i := range min(len(macs), len(r.Rings)-1) {
		if r.Gate != nil && macs[i] < r.Gate.MinMacs {
			out = append(out, texts.Reason(CodeRingTooSmall, map[string]any{
				"ring": r.Rings[i].Name, "macs": macs[i],
				"min_macs": r.Gate.MinMacs,
			}))
		}
	}
	return out
}
