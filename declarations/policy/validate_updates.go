package policy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"plimsoll/declarations/release"
)

// updateFields are the fields of updates beside mode, with whether they are given, and the modes that they belong to.
func updateFields(u *Updates) []struct {
	field string
	given bool
	modes []string
} {
	automatic, minimum, exact, fixed := []string{ModeAutomatic}, []string{ModeMinimum}, []string{ModeExact},
		[]string{ModeMinimum, ModeExact}
	return []struct {
		field string
		given bool
		modes []string
	}{
		{"within_days", u.WithinDays != nil, automatic},
		{"exploited_within_days", u.ExploitedWithinDays != nil, automatic},
		{"time", u.Time != "", automatic},
		{"min_age_days", u.MinAgeDays != nil, automatic},
		{"days", u.Days != nil, automatic},
		{"version", u.Version != "", fixed},
		{"versions", u.Versions != nil, minimum},
		{"build", u.Build != "", exact},
		{"deadline", u.Deadline != nil, fixed},
	}
}

func (c *check) updates() {
	u := c.p.Updates
	if u == nil {
		return
	}
	switch u.Mode {
	case ModeAutomatic, ModeMinimum, ModeExact, ModeNone:
	default:
		c.fault("updates.mode", "must be automatic, minimum, exact or none")
		return
	}
	for _, f := range updateFields(u) {
		if f.given && !slices.Contains(f.modes, u.Mode) {
			c.fault("updates."+f.field, noMeaning, "mode is "+u.Mode)
		}
	}
	switch u.Mode {
	case ModeAutomatic:
		c.automatic(u)
	case ModeMinimum, ModeExact:
		c.fixed(u)
	}
}

func (c *check) automatic(u *Updates) {
	if u.WithinDays == nil {
		c.fault("updates.within_days", "must be given when mode is automatic")
	}
	c.days("updates.within_days", u.WithinDays, 1, maxDays)
	c.days("updates.exploited_within_days", u.ExploitedWithinDays, 1, maxDays)
	c.days("updates.min_age_days", u.MinAgeDays, 0, maxMinAge)
	c.clock("updates.time", u.Time)
	c.weekdays("updates.days", u.Days)
	if u.MinAgeDays != nil && u.WithinDays != nil && *u.MinAgeDays > *u.WithinDays && *u.MinAgeDays <= maxMinAge {
		c.fault("updates.min_age_days", "must not be greater than within_days (%d): a release would be due before it may be a "+
			"target", *u.WithinDays)
	}
}

// fixed checks what minimum and exact have in common, then their versions.
func (c *check) fixed(u *Updates) {
	if u.Deadline == nil {
		c.fault("updates.deadline", "must be given when mode is %s, as a local time such as 2026-12-01T12:00:00", u.Mode)
	} else if y := u.Deadline.At(0).Year(); y < firstYear || y > lastYear {
		c.fault("updates.deadline", "must lie between %d and %d", firstYear, lastYear)
	}
	given := u.Version != ""
	if u.Mode == ModeMinimum {
		switch {
		case given && u.Versions != nil:
			c.fault("updates.versions", "must not be given beside version")
		case u.Versions != nil:
			c.floors(u.Versions)
			return
		}
	}
	if !given {
		c.fault("updates.version", "must be given when mode is %s", u.Mode)
		return
	}
	if _, err := release.ParseVersion(string(u.Version)); err != nil {
		c.fault("updates.version", "is not a version such as 26.6.1")
		return
	}
	if u.Mode == ModeMinimum {
		c.floor("updates.version", u.Version, c.highest(u.Version))
	} else {
		c.exact(u)
	}
}

func (c *check) floors(versions []release.Version) {
	if len(versions) == 0 || len(versions) > maxFloors {
		c.fault("updates.versions", "must have between 1 and %d versions", maxFloors)
		return
	}
	majors := map[int]bool{}
	for i, v := range versions {
		field := "updates.versions." + strconv.Itoa(i)
		if _, err := release.ParseVersion(string(v)); err != nil {
			c.fault(field, "is not a version such as 26.6.1")
			continue
		}
		if majors[v.Major()] {
			c.fault(field, "is a second floor for macOS %d: there can be one for each major version", v.Major())
		}
		majors[v.Major()] = true
		c.floor(field, v, v.Major())
	}
}

// highest is the highest major that a policy with this floor may lead to.
func (c *check) highest(floor release.Version) int {
	if c.p.OS == nil {
		return floor.Major()
	}
	track, err := parseTrack(c.p.OS.Track)
	if err != nil || track == 0 || track == AnyMajor {
		return highestMajor
	}
	return track
}

// floor checks that Apple offers something at or above a floor, in a major that the policy may lead to.
func (c *check) floor(field string, v release.Version, highest int) {
	for _, r := range c.book.Index.All() {
		if r.Kind == release.KindOS && r.Available && r.Version.Compare(v) >= 0 && r.Version.Major() <= highest {
			return
		}
	}
	within := ""
	if highest < highestMajor {
		within = fmt.Sprintf(" up to macOS %d, which is as far as os.track goes", highest)
	}
	c.fault(field, "Apple offers nothing at or above %s%s; it offers %s", v, within, c.offered())
}

func (c *check) exact(u *Updates) {
	builds := slices.DeleteFunc(
		slices.Clone(c.book.Index.Version(u.Version)),
		func(r *release.Release) bool { return !r.Available },
	)
	if len(builds) == 0 {
		c.fault("updates.version", "Apple does not offer %s; it offers %s", u.Version, c.offered())
		return
	}
	if u.Build == "" {
		return
	}
	if r := c.book.Index.Build(u.Build); r != nil && r.Kind == release.KindBSI {
		c.fault("updates.build", "%s is a Background Security Improvement, which background_security enforces", u.Build)
		return
	}
	if !slices.ContainsFunc(builds, func(r *release.Release) bool { return r.Build == u.Build }) {
		names := make([]string, len(builds))
		for i, r := range builds {
			names[i] = r.Build
		}
		c.fault(
			"updates.build",
			"Apple does not offer build %.40q of %s; it offers %s",
			u.Build,
			u.Version,
			strings.Join(names, ", "),
		)
	}
}

func (c *check) offered() string {
	list := c.book.Catalog.Offered()
	if len(list) == 0 {
		return "nothing"
	}
	return strings.Join(list, ", ")
}

func (c *check) os() {
	o := c.p.OS
	if o == nil {
		return
	}
	if c.p.Updates == nil || c.p.Updates.Mode == ModeNone {
		c.fault("os", noMeaning, "updates are not managed")
		return
	}
	if o.Track == "" {
		c.fault("os.track", "must be given: current, latest or a major version such as 26")
		return
	}
	track, err := parseTrack(o.Track)
	if err != nil {
		c.fault("os.track", "must be current, latest or a major version such as 26")
		return
	}
	c.upgrade(o, track)
	if track == 0 || track == AnyMajor && c.p.Updates.Mode != ModeExact {
		return
	}
	if majors := c.book.Index.Majors(); track != AnyMajor && !slices.Contains(majors, track) {
		words := make([]string, len(majors))
		for i, m := range majors {
			words[i] = strconv.Itoa(m)
		}
		c.fault("os.track", "Apple offers macOS %d for no Mac; it offers %s", track, strings.Join(words, ", "))
		return
	}
	switch r := c.p.Rule(); {
	case r.Mode == ModeExact && track != r.Exact.Major():
		c.fault("os.track", "must be current or %d: version %s is not reached on another track", r.Exact.Major(), r.Exact)
	case r.Mode == ModeMinimum && track < r.Floors[0].Major():
		c.fault(
			"os.track",
			"must be current, latest or at least %d: version %s is above this track",
			r.Floors[0].Major(),
			r.Floors[0],
		)
	}
}

func (c *check) upgrade(o *OS, track int) {
	switch o.Upgrade {
	case UpgradeEnforce, UpgradeSelfService:
		if track == 0 {
			c.fault("os.upgrade", noMeaning, "track is current")
		}
	case UpgradeHold:
	case "":
		if track != 0 {
			c.fault("os.upgrade", "must be given when track is latest or a major version: enforce, self_service or hold")
		}
	default:
		c.fault("os.upgrade", "must be enforce, self_service or hold")
	}
	if o.UpgradeWithinDays == nil {
		return
	}
	c.days("os.upgrade_within_days", o.UpgradeWithinDays, 1, maxDays)
	switch {
	case c.p.Updates.Mode != ModeAutomatic:
		c.fault("os.upgrade_within_days", noMeaning, "mode is "+c.p.Updates.Mode)
	case track == 0 || o.Upgrade != UpgradeEnforce && o.Upgrade != "":
		c.fault("os.upgrade_within_days", noMeaning, "upgrades are not enforced")
	}
}
