package plan

import (
	"time"

	"plimsoll/declarations/calendar"

	"plimsoll/declarations"
	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
)

// warnFor is for how many days ahead closed days are looked at (rules 11).
const warnFor = 400

// feedTime is when a release that is posted on a day usually appears, in seconds of that day (rules 3: the feed is fetched at
// 19:15 UTC).
const feedTime = 19*3600 + 15*60

// LateWarnings tells of the stretches of posting days, from today on, for which closed days would put the deadline of a new
// release, notice
// included, after its due date (rules 11). Of the freezes those count that cover every Mac or name a group of the policy.
func LateWarnings(p *policy.Policy, freezes []policy.Freeze, now time.Time) []policy.Reason {
	r := p.Rule()
	var out []policy.Reason
	if r.Mode == policy.ModeAutomatic {
		out = append(out, late(p, freezes, r.Days, r.WithinDays, r.Time, r.NoticeDays, "updates", now)...)
	}
	if r.BSI {
		out = append(out, late(p, freezes, r.BSIDays, r.BSIWithinDays, r.BSITime, r.NoticeDays, "background_security", now)...)
	}
	return out
}

func late(p *policy.Policy, freezes []policy.Freeze, days policy.Weekdays, within, clock, notice int, part string,
	now time.Time,
) []policy.Reason {
	cal := calendar.Calendar{Days: days}
	for i := range freezes {
		if concerns(&freezes[i], p) {
			cal.Freezes = append(cal.Freezes, &freezes[i])
		}
	}
	if days == 0 && len(cal.Freezes) == 0 {
		return nil
	}
	var out []policy.Reason
	var first, last release.Day
	var latest declarations.Local
	end := func() {
		if first != 0 {
			out = append(out, reason(CodeClosedDays, map[string]any{
				"part": part, "first": first.String(), "last": last.String(), "latest_deadline_local": latest,
			}))
		}
		first, latest = 0, 0
	}
	today := release.DayOf(now)
	for day := today; day < today+warnFor; day++ {
		due := calendar.DueAt(day, within, clock)
		open := calendar.Calendar{}.Fair(day.Time().Add(feedTime*time.Second), min(notice, within), clock, false)
		deadline := max(cal.Slot(due, day, within), cal.From(open, false))
		if deadline <= max(due, open) { // without closed days it would be no earlier
			end()
			continue
		}
		if first == 0 {
			first = day
		}
		last, latest = day, max(latest, deadline)
	}
	end()
	return out
}

// concerns tells whether a freeze may cover a Mac that the policy governs.
func concerns(f *policy.Freeze, p *policy.Policy) bool {
	if len(f.Groups) == 0 || len(p.Assign.Groups) == 0 {
		return len(f.Groups) == 0
	}
	for _, g := range f.Groups {
		for _, own := range p.Assign.Groups {
			if g == own {
				return true
			}
		}
	}
	return false
}
