package policy

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"plimsoll/declarations"
	"plimsoll/declarations/release"
)

// The words of a policy (rules 5).
const (
	ModeAutomatic = "automatic"
	ModeMinimum   = "minimum"
	ModeExact     = "exact"
	ModeNone      = "none"

	TrackCurrent = "current"
	TrackLatest  = "latest"

	UpgradeEnforce     = "enforce"
	UpgradeSelfService = "self_service"
	UpgradeHold        = "hold"

	DetailsSelf = "self"

	AtEnrolmentNewest = "newest"
	AtEnrolmentFloor  = "floor"
)

// The defaults of rules 5.
const (
	defaultTime              = 12 * 3600
	defaultUpgradeWithinDays = 90
	defaultNoticeDays        = 5 // automatic and none
	defaultFixedNoticeDays   = 1 // minimum and exact
)

// The majors that a track may name. Nothing older than macOS 10 is alive, and a year or a build number is a slip.
const (
	lowestMajor  = 10
	highestMajor = 99
)

// Rule is a policy with everything that was left out filled in: what holds for the Macs that it governs.
type Rule struct {
	// Mode is that of the updates; "none" when they are not managed.
	Mode string
	// Track is 0 for "current", AnyMajor for "latest", else a major version. Upgrade is "hold" when the track is "current".
	Track             int
	Upgrade           string
	UpgradeWithinDays int
	// For automatic. ExploitedWithinDays is 0 when there is none, Time counts seconds from midnight.
	WithinDays          int
	ExploitedWithinDays int
	MinAgeDays          int
	Time                int
	// Floors are those of minimum, one for each major, highest first.
	Floors []release.Version
	// Exact and Build are those of exact; Build may be empty.
	Exact release.Version
	Build string
	// Deadline is that of minimum and exact.
	Deadline declarations.Local
	// BSI: Background Security Improvements are enforced, BSIWithinDays after their posting, at BSITime.
	BSI           bool
	BSIWithinDays int
	BSITime       int
	NoticeDays    int
	DelayHours    int // the hours that a user may take, 0 for none
	// Days and BSIDays are the weekdays on which deadlines of OS releases and of BSIs may fall (rules 11).
	Days    Weekdays
	BSIDays Weekdays
	// Rings are those of rules 13, at least two, or none. Gate is nil when there is none.
	Rings []RingRule
	Gate  *GateRule
	// Zone is the policy's time_zone; nil when it has none.
	Zone *time.Location
}

// ManagesNothing tells whether neither updates nor BSIs are managed.
func (r *Rule) ManagesNothing() bool { return r.Mode == ModeNone && !r.BSI }

// Rule fills in what the policy leaves out. A part that makes no sense is left out: its updates count as "none".
func (p *Policy) Rule() Rule {
	r, _ := p.rule()
	return r
}

// rule is Rule with a sentence for each part that makes no sense.
func (p *Policy) rule() (r Rule, odd []string) {
	r = Rule{
		Mode: ModeNone, Upgrade: UpgradeHold, UpgradeWithinDays: defaultUpgradeWithinDays, Time: defaultTime,
		BSITime: defaultTime, NoticeDays: defaultNoticeDays,
	}
	if err := p.updatesRule(&r); err != nil {
		odd = append(odd, "updates are left out: "+err.Error())
		r.Mode = ModeNone
	}
	if err := p.bsiRule(&r); err != nil {
		odd = append(odd, "background_security is left out: "+err.Error())
		r.BSI = false
	}
	if r.Mode == ModeMinimum || r.Mode == ModeExact {
		r.NoticeDays = defaultFixedNoticeDays
	}
	if p.NoticeDays != nil {
		r.NoticeDays = min(max(*p.NoticeDays, 0), 90)
	}
	if p.Delay != nil {
		r.DelayHours = min(max(p.Delay.MaxHours, 0), 24)
	}
	if p.TimeZone != "" {
		zone, err := loadZone(p.TimeZone)
		if err != nil {
			odd = append(odd, "time_zone is left out: "+err.Error())
		}
		r.Zone = zone
	}
	p.ringsRule(&r)
	return r, odd
}

// loadZone reads an IANA name. "Local" means another zone on every server, and is none.
func loadZone(name string) (*time.Location, error) {
	if name == "" || name == "Local" {
		return nil, fmt.Errorf("%q is not an IANA time zone such as Europe/Berlin", name)
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("%q is not an IANA time zone such as Europe/Berlin", name)
	}
	return zone, nil
}

func (p *Policy) updatesRule(r *Rule) error {
	u := p.Updates
	if u == nil || u.Mode == ModeNone {
		return nil
	}
	r.Mode = u.Mode
	switch u.Mode {
	case ModeAutomatic:
		if u.WithinDays == nil {
			return fmt.Errorf("within_days is missing")
		}
		r.WithinDays = *u.WithinDays
		if u.ExploitedWithinDays != nil {
			r.ExploitedWithinDays = *u.ExploitedWithinDays
		}
		if u.MinAgeDays != nil {
			r.MinAgeDays = *u.MinAgeDays
		}
		days, err := weekdays(u.Days)
		if err != nil {
			return err
		}
		r.Days = days
	case ModeMinimum:
		r.Floors = slices.Clone(u.Versions)
		if u.Version != "" {
			r.Floors = append(r.Floors, u.Version)
		}
		slices.SortFunc(r.Floors, func(a, b release.Version) int { return b.Compare(a) })
		if len(r.Floors) == 0 {
			return fmt.Errorf("version is missing")
		}
	case ModeExact:
		if r.Exact, r.Build = u.Version, u.Build; r.Exact == "" {
			return fmt.Errorf("version is missing")
		}
	default:
		return fmt.Errorf("the mode %q is not known", u.Mode)
	}
	if u.Deadline != nil {
		r.Deadline = *u.Deadline
	}
	if u.Mode != ModeAutomatic && r.Deadline == 0 {
		return fmt.Errorf("deadline is missing")
	}
	if u.Time != "" {
		t, err := parseTime(u.Time)
		if err != nil {
			return err
		}
		r.Time = t
	}
	return p.osRule(r)
}

func (p *Policy) osRule(r *Rule) error {
	if p.OS == nil {
		switch r.Mode {
		case ModeMinimum:
			r.Track, r.Upgrade = r.Floors[0].Major(), UpgradeEnforce
		case ModeExact:
			r.Track, r.Upgrade = r.Exact.Major(), UpgradeEnforce
		}
		return nil
	}
	track, err := parseTrack(p.OS.Track)
	if err != nil {
		return err
	}
	r.Track = track
	if track != 0 {
		switch p.OS.Upgrade {
		case UpgradeEnforce, UpgradeSelfService, UpgradeHold:
			r.Upgrade = p.OS.Upgrade
		default:
			return fmt.Errorf("the word %q for os.upgrade is not known", p.OS.Upgrade)
		}
	}
	if p.OS.UpgradeWithinDays != nil {
		r.UpgradeWithinDays = *p.OS.UpgradeWithinDays
	}
	return nil
}

func (p *Policy) bsiRule(r *Rule) error {
	s := p.BackgroundSecurity
	if s == nil || s.Mode == ModeNone {
		return nil
	}
	if s.Mode != ModeAutomatic {
		return fmt.Errorf("the mode %q is not known", s.Mode)
	}
	if s.WithinDays == nil {
		return fmt.Errorf("within_days is missing")
	}
	days, err := weekdays(s.Days)
	if err != nil {
		return err
	}
	r.BSI, r.BSIWithinDays, r.BSIDays = true, *s.WithinDays, days
	if s.Time != "" {
		t, err := parseTime(s.Time)
		if err != nil {
			return err
		}
		r.BSITime = t
	}
	return nil
}

// parseTrack gives 0 for "current", AnyMajor for "latest", else the major version.
func parseTrack(s string) (int, error) {
	switch s {
	case TrackCurrent:
		return 0, nil
	case TrackLatest:
		return AnyMajor, nil
	}
	major, err := strconv.Atoi(s)
	if err != nil || strconv.Itoa(major) != s || major < lowestMajor || major > highestMajor {
		return 0, fmt.Errorf("the track %q is neither current nor latest nor a major version such as 26", s)
	}
	return major, nil
}

// parseTime reads "12:00" into seconds from midnight.
func parseTime(s string) (int, error) {
	digit := func(i int) int { return int(s[i] - '0') }
	if len(s) == 5 && s[2] == ':' {
		for _, i := range [...]int{0, 1, 3, 4} {
			if s[i] < '0' || s[i] > '9' {
				return 0, fmt.Errorf("%q is not a time of day such as 12:00", s)
			}
		}
		if h, m := digit(0)*10+digit(1), digit(3)*10+digit(4); h < 24 && m < 60 {
			return h*3600 + m*60, nil
		}
	}
	return 0, fmt.Errorf("%q is not a time of day such as 12:00", s)
}
