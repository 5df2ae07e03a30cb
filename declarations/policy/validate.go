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
)

var nameForm = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

// The bounds of what a policy may say, and words that recur in its faults.
const (
	nameWords = "must be 1 to 63 characters long, begin with a letter or a digit, and have only a-z, 0-9, dots, hyphens and " +
		"underscores"
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

// Validate finds everything that is wrong with a policy (rules 5). before is the policy that it replaces, nil for a new
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

// DeadlinePast tells whether the policy's own deadline has already passed everywhere: at UTC-12 (rules 8).
func DeadlinePast(p *Policy, now time.Time) bool {
	u := p.Updates
	if u == nil || u.Mode != ModeMinimum && u.Mode != ModeExact || u.Deadline == nil {
		return false
	}
	return !u.Deadline.At(declarations.LastZone).After(now)
}

func warningsOf(p *Policy, book *Book) []Reason {
	var out []Reason
	named := slices.Concat(p.Assign.Groups, p.Assign.ExcludeGroups)
	for i := range p.Rings {
		named = append(named, p.Rings[i].Groups...)
	}
	for _, g := range named {
		if _, ok := slices.BinarySearch(book.groups, g); !ok {
			out = append(out, texts.Reason(CodeUnknownGroup, map[string]any{"group": g}))
		}
	}
	if p.Settings != nil && p.Settings.Beta != nil {
		out = append(out, texts.Reason(CodeBetaGate, nil))
	}
	if r := p.Rule(); r.Mode == ModeAutomatic && r.MinAgeDays > 0 && r.WithinDays-r.MinAgeDays < r.NoticeDays {
		out = append(out, texts.Reason(CodeShortWindow, map[string]any{"min_age_days": r.MinAgeDays, "within_days": r.WithinDays}))
	}
	return append(out, ringWarnings(p)...)
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
	c.rings()
	c.zone()
	c.enrolment()
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
		c.weekdays("background_security.days", s.Days)
	case ModeNone:
		if s.WithinDays != nil {
			c.fault("background_security.within_days", noMeaning, "mode is none")
		}
		if s.Time != "" {
			c.fault("background_security.time", noMeaning, "mode is none")
		}
		if s.Days != nil {
			c.fault("background_security.days", noMeaning, "mode is none")
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
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || len(s) > maxURL ||
		!printable(s) || strings.Contains(s, " ") {
		c.fault("details_url", `must be an http or https address of at most %d characters, or "self"`, maxURL)
	}
}
