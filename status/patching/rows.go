package patching

import (
	"time"

	"plimsoll/declarations/release"
)

// Mac is one Mac as it was at the end of the day that is counted.
type Mac struct {
	History History
	Board   string
	// LastContact is that of the life that goes on.
	LastContact time.Time
	Policy      string // empty: none governs it
	Groups      []string
}

// State is how a Mac stands with a release. The first that holds counts.
type State string

// The states, in their order.
const (
	Patched State = "patched"
	Gone    State = "gone"   // checked out or deleted
	Silent  State = "silent" // no contact for 7 days
	Exempt  State = "exempt"
	Open    State = "open"
)

const silentAfter = 7 * 24 * time.Hour

// Key names a release in reports: all builds of one version, or one Background Security Improvement.
type Key struct {
	Version release.Version
	Letter  string
}

// Row is one Mac that misses, or missed, one release.
type Row struct {
	Release Key
	Posted  release.Day // of the build for the Mac's board
	// Late: the Mac enrolled after the posting. Such rows are counted apart and in nothing else.
	Late  bool
	State State
	// Day is the whole days from the posting to the report that told the fix, or to the censoring: the last contact of gone and
	// silent Macs, the day that is counted of the others.
	Day int
}

// Catalogue is what of the catalogue the rows need. It is made once for all Macs.
type Catalogue struct {
	boards map[string][]fix
	heads  map[Key]Head
}

// Head is what a report says of a release beside its numbers.
type Head struct {
	Posted    release.Day // the earliest of its builds
	Exploited bool
}

// fix is one release for one board: for all its builds of one version the earliest posting.
type fix struct {
	key    Key
	posted release.Day
	prereq string // prerequisite build of a Background Security Improvement
}

// NewCatalogue arranges the releases that were posted by the end of a day.
func NewCatalogue(releases []*release.Release, day release.Day) *Catalogue {
	c := &Catalogue{boards: map[string][]fix{}, heads: map[Key]Head{}}
	places := map[string]map[Key]int{}
	for _, r := range releases {
		if r.Posted == 0 || r.Posted > day {
			continue
		}
		k := Key{r.Version, r.Letter}
		h, known := c.heads[k]
		if !known || r.Posted < h.Posted {
			h.Posted = r.Posted
		}
		h.Exploited = h.Exploited || r.Exploited
		c.heads[k] = h
		for _, board := range r.Devices {
			if places[board] == nil {
				places[board] = map[Key]int{}
			}
			if i, ok := places[board][k]; ok {
				f := &c.boards[board][i]
				f.posted = min(f.posted, r.Posted)
				continue
			}
			places[board][k] = len(c.boards[board])
			c.boards[board] = append(c.boards[board], fix{k, r.Posted, r.PrerequisiteBuild})
		}
	}
	return c
}

// Exploited tells whether a release is known to fix an exploited vulnerability.
func (c *Catalogue) Exploited(k Key) bool { return c.heads[k].Exploited }

// LateBy tells whether the Mac had not had the release when so many days had passed, as today has it, and how many it took, or
// has taken until today. Macs that left are not late, nor are those that enrolled after the posting.
func (r *Row) LateBy(today release.Day, limit int) (days int, late bool) {
	days = int(today - r.Posted)
	if r.State == Patched {
		days = r.Day
	}
	return days, !r.Late && r.State != Gone && days >= limit
}

// Rows are the releases that a Mac misses or missed, as the facts up to the end of the day are (UTC).
func Rows(m *Mac, c *Catalogue, day release.Day) []Row {
	end := (day + 1).Time()
	var rows []Row
	for _, f := range c.boards[m.Board] {
		if row, ok := m.row(&f, day, end); ok {
			rows = append(rows, row)
		}
	}
	return rows
}

func (m *Mac) row(f *fix, day release.Day, end time.Time) (Row, bool) {
	posted := f.posted.Time()
	r := Row{Release: f.key, Posted: f.posted, Day: int(day - f.posted)}
	life := m.History.at(posted)
	from := posted
	if life == nil {
		if life = m.first(posted, end); life == nil {
			return r, false
		}
		r.Late, from = true, life.From
	}
	if had := life.had(from); had == nil || !had.At.Before(end) || !f.missing(had) {
		return r, false
	}
	if at := m.patchedAt(f, from); !at.IsZero() && at.Before(end) {
		r.State, r.Day = Patched, daysFrom(f.posted, at)
		return r, true
	}
	now := m.lastLife(end)
	last := m.LastContact
	if !now.To.IsZero() {
		last = now.Last
	}
	if last.Before(now.From) {
		last = now.From
	}
	switch {
	case !now.To.IsZero() && !now.To.After(end):
		r.State, r.Day = Gone, daysFrom(f.posted, last)
	case end.Sub(last) >= silentAfter:
		r.State, r.Day = Silent, daysFrom(f.posted, last)
	case m.History.exempt(end):
		r.State = Exempt
	default:
		r.State = Open
	}
	return r, true
}

// missing tells whether a Mac with this version misses the release: it is of its major and above what it has; a Background
// Security Improvement, on its prerequisite build.
func (f *fix) missing(had *Version) bool {
	if f.prereq != "" {
		return had.Build == f.prereq && had.Letter < f.key.Letter
	}
	return had.Version.Major() == f.key.Version.Major() && had.Version.Compare(f.key.Version) < 0
}

// first is the first life that begins after the posting and before the end of the day.
func (m *Mac) first(posted, end time.Time) *Life {
	for i := range m.History.Lives {
		if l := &m.History.Lives[i]; l.From.After(posted) && l.From.Before(end) {
			return l
		}
	}
	return nil
}

// lastLife is the last life that began before the end of the day.
func (m *Mac) lastLife(end time.Time) *Life {
	last := &m.History.Lives[0]
	for i := range m.History.Lives {
		if l := &m.History.Lives[i]; l.From.Before(end) {
			last = l
		}
	}
	return last
}

// patchedAt is when the Mac first told the version or a higher one, from the given time on and in whatever life; zero: never.
func (m *Mac) patchedAt(f *fix, from time.Time) time.Time {
	for i := range m.History.Lives {
		for j := range m.History.Lives[i].Had {
			if v := &m.History.Lives[i].Had[j]; !v.At.Before(from) && v.atLeast(f.key.Version, f.key.Letter) {
				return v.At
			}
		}
	}
	return time.Time{}
}

// daysFrom is the whole days from a posting to an instant; before the posting: 0.
func daysFrom(posted release.Day, at time.Time) int { return max(0, int(release.DayOf(at)-posted)) }
