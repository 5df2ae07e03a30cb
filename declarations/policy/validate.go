package policy

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"plimsoll/declarations"
	"plimsoll/declarations/release"
)

var nameForm = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

const (
	nameWords  = "must be 1 to 63 characters long, begin with a letter or a digit, and have only a-z, 0-9, dots, hyphens and underscores"
	maxLabel   = 200
	maxURL     = 2000
	maxGroups  = 1000
	maxFloors  = 20
	maxMinAge  = 90
	maxNotice  = 90
	maxDays    = 365
	firstYear  = 2000
	lastYear   = 2099
	noMeaning  = "has no meaning when %s"
	mustBeDays = "must be between %d and %d"
)

// ValidName tells whether a policy may have this name.
func ValidName(name string) bool { return nameForm.MatchString(name) }

// Validate finds everything that is wrong with a policy (rules.md 5). before is the policy that it replaces, nil for a new
// one: what was already wrong with that, in fields that the write does not change, is no fault of the write, so putting
// an unchanged or relabelled policy never fails. Warnings are about what is allowed and may still surprise.
// Whether the name or the priority is taken is for Clash to tell, and whether the deadline has passed for DeadlinePast.
func Validate(p *Policy, before *Stored, book *Book, now time.Time) (faults []FieldError, warnings []Reason) {
	faults = faultsOf(p, book)
	if before != nil && len(faults) > 0 {
		old := faultsOf(&before.Policy, book)
		faults = slices.DeleteFunc(faults, func(f FieldError) bool { return slices.Contains(old, f) })
	}
	return faults, warningsOf(p, book)
}

// Clash finds what keeps a policy from being written beside others: one with the same name, which matters when the policy
// is to be new, and another one with the same priority. Each is nil when there is none.
func Clash(p *Policy, others []Stored) (sameName, samePriority *Stored) {
	for i := range others {
		switch o := &others[i]; {
		case o.Name == p.Name:
			sameName = o
		case o.Priority == p.Priority && samePriority == nil:
			samePriority = o
		}
	}
	return sameName, samePriority
}

// DeadlinePast tells whether the policy's own deadline has already passed everywhere: at UTC-12 (rules.md 8).
func DeadlinePast(p *Policy, now time.Time) bool {
	u := p.Updates
	if u == nil || u.Mode != ModeMinimum && u.Mode != ModeExact || u.Deadline == 0 {
		return false
	}
	return !u.Deadline.At(declarations.LastZone).After(now)
}

func warningsOf(p *Policy, book *Book) []Reason {
	var out []Reason
	for _, g := range slices.Concat(p.Assign.Groups, p.Assign.ExcludeGroups) {
		if _, ok := slices.BinarySearch(book.groups, g); !ok {
			out = append(out, reason(CodeUnknownGroup, map[string]any{"group": g}))
		}
	}
	if p.Settings != nil && p.Settings.Beta != nil {
		out = append(out, reason(CodeBetaGate, nil))
	}
	if r := p.Rule(); r.Mode == ModeAutomatic && r.MinAgeDays > 0 && r.WithinDays-r.MinAgeDays < r.NoticeDays {
		out = append(out, reason(CodeShortWindow, map[string]any{"min_age_days": r.MinAgeDays, "within_days": r.WithinDays}))
	}
	return out
}

// check collects faults.
type check struct {
	p      *Policy
	book   *Book
	faults []FieldError
}

func (c *check) fault(field, format string, args ...any) {
	c.faults = append(c.faults, FieldError{field, fmt.Sprintf(format, args...)})
}

func faultsOf(p *Policy, book *Book) []FieldError {
	c := &check{p: p, book: book}
	if !ValidName(p.Name) {
		c.fault("name", nameWords)
	}
	if utf8.RuneCountInString(p.Label) > maxLabel || !printable(p.Label) {
		c.fault("label", "must be at most %d printable characters long", maxLabel)
	}
	if p.Priority < -1<<31 || p.Priority > 1<<31-1 {
		c.fault("priority", "must be a 32-bit integer")
	}
	c.assign()
	c.updates()
	c.os()
	c.bsi()
	c.days("notice_days", p.NoticeDays, 0, maxNotice)
	if p.Delay != nil && (p.Delay.MaxHours < 0 || p.Delay.MaxHours > 24) {
		c.fault("delay.max_hours", mustBeDays, 0, 24)
	}
	c.details()
	if p.Settings != nil {
		for _, f := range p.Settings.Check() {
			c.fault(strings.TrimSuffix("settings."+f.Field, "."), "%s", f.Reason)
		}
	}
	return c.faults
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) })
}

func (c *check) assign() {
	c.groups("assign.groups", c.p.Assign.Groups)
	c.groups("assign.exclude_groups", c.p.Assign.ExcludeGroups)
	if c.p.Assign.When != "" {
		if _, err := compileWhen(c.p.Assign.When); err != nil {
			c.fault("assign.when", "%s", err)
		}
	}
}

func (c *check) groups(field string, list []string) {
	if len(list) > maxGroups {
		c.fault(field, "must have at most %d names", maxGroups)
	}
	for i, g := range list {
		if g == "" || len(g) > 255 || !printable(g) {
			c.fault(field+"."+strconv.Itoa(i), "is not the name of a group")
		}
	}
}

func (c *check) days(field string, n *int, low, high int) {
	if n != nil && (*n < low || *n > high) {
		c.fault(field, mustBeDays, low, high)
	}
}

func (c *check) clock(field, s string) {
	if s == "" {
		return
	}
	if _, err := parseTime(s); err != nil {
		c.fault(field, "must be a time of day such as 12:00")
	}
}

// updateFields are the fields of updates beside mode, with whether they are given, and the modes that they belong to.
func updateFields(u *Updates) []struct {
	field string
	given bool
	modes []string
} {
	automatic, minimum, exact, fixed := []string{ModeAutomatic}, []string{ModeMinimum}, []string{ModeExact}, []string{ModeMinimum, ModeExact}
	return []struct {
		field string
		given bool
		modes []string
	}{
		{"within_days", u.WithinDays != nil, automatic},
		{"exploited_within_days", u.ExploitedWithinDays != nil, automatic},
		{"time", u.Time != "", automatic},
		{"min_age_days", u.MinAgeDays != nil, automatic},
		{"version", u.Version != "", fixed},
		{"versions", u.Versions != nil, minimum},
		{"build", u.Build != "", exact},
		{"deadline", u.Deadline != 0, fixed},
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
	if u.MinAgeDays != nil && u.WithinDays != nil && *u.MinAgeDays > *u.WithinDays && *u.MinAgeDays <= maxMinAge {
		c.fault("updates.min_age_days", "must not be greater than within_days (%d): a release would be due before it may be a target", *u.WithinDays)
	}
}

// fixed checks what minimum and exact have in common, then their versions.
func (c *check) fixed(u *Updates) {
	if u.Deadline == 0 {
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
	c.fault(field, "Apple offers nothing at or above %s; it offers %s", v, c.offered())
}

func (c *check) exact(u *Updates) {
	builds := slices.DeleteFunc(slices.Clone(c.book.Index.Version(u.Version)), func(r *release.Release) bool { return !r.Available })
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
		c.fault("updates.build", "Apple does not offer build %.40q of %s; it offers %s", u.Build, u.Version, strings.Join(names, ", "))
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
		c.fault("os.track", "must be current, latest or at least %d: version %s is above this track", r.Floors[0].Major(), r.Floors[0])
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

func (c *check) bsi() {
	s := c.p.BackgroundSecurity
	if s == nil {
		return
	}
	switch s.Mode {
	case ModeAutomatic:
		if s.WithinDays == nil {
			c.fault("background_security.within_days", "must be given when mode is automatic")
		}
		c.days("background_security.within_days", s.WithinDays, 1, maxDays)
		c.clock("background_security.time", s.Time)
	case ModeNone:
		if s.WithinDays != nil {
			c.fault("background_security.within_days", noMeaning, "mode is none")
		}
		if s.Time != "" {
			c.fault("background_security.time", noMeaning, "mode is none")
		}
	default:
		c.fault("background_security.mode", "must be automatic or none")
	}
}

func (c *check) details() {
	s := c.p.DetailsURL
	if s == "" || s == DetailsSelf {
		return
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || len(s) > maxURL || !printable(s) || strings.Contains(s, " ") {
		c.fault("details_url", `must be an http or https address of at most %d characters, or "self"`, maxURL)
	}
}
