package view

import (
	"cmp"
	"strconv"
	"strings"

	"plimsoll/declarations"
	"plimsoll/declarations/policy"
)

// PolicyWords puts a policy into words: its first sentence says who gets what by when, the others what else it does.
func PolicyWords(p *policy.Policy) []string {
	r := p.Rule()
	who := assignedWords(p.Assign)
	var out []string
	add := func(s string) { out = append(out, s) }
	switch r.Mode {
	case policy.ModeAutomatic:
		add(who + " get " + newestWords(&r) + " within " + Days(r.WithinDays) + " of release, at " + clock(r.Time) + " local, with " +
			noticeWords(r.NoticeDays))
		if r.Upgrade == policy.UpgradeEnforce {
			add("Upgrades from an older macOS are due within " + Days(r.UpgradeWithinDays))
		}
		if r.ExploitedWithinDays > 0 && r.ExploitedWithinDays < r.WithinDays {
			add("Releases that fix an actively exploited vulnerability are due within " + Days(r.ExploitedWithinDays))
		}
		if r.MinAgeDays > 0 {
			add("Releases younger than " + Days(r.MinAgeDays) + " are not asked for yet")
		}
		if p.Updates.Days != nil {
			add("Deadlines fall on " + WeekdayWords(p.Updates.Days) + " only")
		}
		if len(r.Rings) > 0 {
			add(ringsWords(&r))
		}
	case policy.ModeMinimum:
		add(who + " must run " + floorWords(&r) + " by " + untilWords(r.Deadline) + " local, with " + noticeWords(r.NoticeDays))
	case policy.ModeExact:
		add(who + " must run exactly macOS " + exactWords(&r) + " by " + untilWords(r.Deadline) + " local, with " +
			noticeWords(r.NoticeDays))
	default:
		if r.BSI {
			add("Updates of " + inner(who) + " are not managed, only their Background Security Improvements")
		} else {
			add("Updates of " + inner(who) + " are not managed")
		}
	}
	if r.Mode != policy.ModeNone {
		if s := upgradeWords(&r); s != "" {
			add(s)
		}
	}
	if r.BSI {
		add("Background Security Improvements are due within " + Days(r.BSIWithinDays) + " of release, at " +
			clock(r.BSITime) + " local")
	}
	if r.BSI && p.BackgroundSecurity.Days != nil {
		add("Their deadlines fall on " + WeekdayWords(p.BackgroundSecurity.Days) + " only")
	}
	if r.DelayHours > 0 {
		add("Users may delay by up to " + Plural(r.DelayHours, "hour"))
	}
	if p.Settings != nil {
		add("macOS's own settings for updates are set: " + Join(settingsWords(p.Settings), "and"))
	}
	for i := range out {
		out[i] = Sentence(out[i])
	}
	return out
}

// inner is the words for the assigned within a sentence.
func inner(who string) string {
	if rest, ok := strings.CutPrefix(who, "All "); ok {
		return "all " + rest
	}
	return who
}

// assignedWords say whom a policy applies to: "Macs in eng or design, except those in lab, where model startsWith 'Mac16'".
func assignedWords(a policy.Assign) string {
	s := "All Macs"
	switch {
	case len(a.Groups) > 0:
		s = "Macs in " + Join(a.Groups, "or")
	case a.When != "":
		s = "Macs"
	}
	if a.When != "" {
		s += " where " + a.When
	}
	if len(a.ExcludeGroups) > 0 {
		s += ", except those in " + Join(a.ExcludeGroups, "or") + ","
	}
	return s
}

// ringsWords say through which rings releases go: "Releases go through the rings pilot (within 2 days) and rest, with a gate".
func ringsWords(r *policy.Rule) string {
	names := make([]string, len(r.Rings))
	for i, ring := range r.Rings {
		if names[i] = ring.Name; ring.WithinDays != r.WithinDays {
			names[i] += " (within " + Days(ring.WithinDays) + ")"
		}
	}
	words := "Releases go through the rings " + Join(names, "and")
	if r.Gate == nil {
		return words + ", without a gate"
	}
	return words + ", and a gate halts one that fails"
}

var weekdays = map[string]string{
	"mon": "Mondays", "tue": "Tuesdays", "wed": "Wednesdays", "thu": "Thursdays", "fri": "Fridays", "sat": "Saturdays",
	"sun": "Sundays",
}

// WeekdayWords are weekdays as people say them: "Tuesdays, Wednesdays and Thursdays".
func WeekdayWords(days []string) string {
	words := make([]string, len(days))
	for i, d := range days {
		words[i] = cmp.Or(weekdays[d], d)
	}
	return Join(words, "and")
}

// trackWords is the macOS that a track leads to.
func trackWords(r *policy.Rule) string {
	if r.Track == policy.AnyMajor {
		return "the latest macOS that Apple offers for them"
	}
	return "macOS " + strconv.Itoa(r.Track)
}

func newestWords(r *policy.Rule) string {
	switch {
	case r.Upgrade != policy.UpgradeEnforce || r.Track == 0:
		return "the newest release of the macOS that they run"
	case r.Track == policy.AnyMajor:
		return "the newest macOS that Apple offers for them"
	}
	return "the newest macOS " + strconv.Itoa(r.Track)
}

// upgradeWords say what becomes of upgrades that are not enforced; empty when there is nothing to say.
func upgradeWords(r *policy.Rule) string {
	if r.Track == 0 {
		if r.Mode == policy.ModeAutomatic {
			return "" // it is said already
		}
		return "They are not upgraded to another macOS"
	}
	switch r.Upgrade {
	case policy.UpgradeSelfService:
		return "Users may ask for the upgrade to " + trackWords(r)
	case policy.UpgradeHold:
		return "They are not upgraded to another macOS"
	}
	return ""
}

// floorWords are the floors of minimum.
func floorWords(r *policy.Rule) string {
	if len(r.Floors) == 1 {
		return "macOS " + string(r.Floors[0]) + " or newer"
	}
	words := make([]string, len(r.Floors))
	for i, v := range r.Floors {
		words[i] = string(v) + " (macOS " + strconv.Itoa(v.Major()) + ")"
	}
	return "at least " + Join(words, "or")
}

func exactWords(r *policy.Rule) string {
	if r.Build == "" {
		return string(r.Exact)
	}
	return string(r.Exact) + " (" + r.Build + ")"
}

// noticeWords is the shortest notice: "5 days' notice".
func noticeWords(n int) string {
	switch n {
	case 0:
		return "no notice"
	case 1:
		return "1 day's notice"
	}
	return strconv.Itoa(n) + " days' notice"
}

// clock is a time of day in seconds as "12:00".
func clock(seconds int) string {
	return declarations.Local(seconds).At(0).Format("15:04")
}

// untilWords is a deadline as people say it: "1 December 2026 at 12:00".
func untilWords(l declarations.Local) string {
	return l.At(0).Format("2 January 2006 at 15:04")
}

// settingsWords name the parts of the settings that are set.
func settingsWords(s *declarations.Settings) []string {
	var out []string
	for _, part := range []struct {
		set  bool
		word string
	}{
		{s.Notifications != nil, "notifications"},
		{s.Deferrals != nil, "deferrals"},
		{s.AutomaticActions != nil, "automatic downloads and installs"},
		{s.RapidSecurityResponse != nil, "Background Security Improvements"},
		{s.AllowStandardUserOSUpdates != nil, "updates by standard users"},
		{s.Beta != nil, "beta programs"},
	} {
		if part.set {
			out = append(out, part.word)
		}
	}
	return out
}
