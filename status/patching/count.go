package patching

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"plimsoll/declarations/release"
)

// Scope is the part of the fleet that a count is about: all of it, a policy's Macs, or a group's.
type Scope struct{ Policy, Group string }

// Count is how the Macs of a scope stand with a release at the end of a day. Counts are additive, and do not change while nothing
// happens: the day is no part of them.
type Count struct {
	Head
	Patched  Days `json:"patched,omitempty"` // by the whole days from the posting
	Gone     Days `json:"gone,omitempty"`    // by the day of the last contact
	Silent   Days `json:"silent,omitempty"`
	Exempt   int  `json:"exempt,omitempty"`
	Open     int  `json:"open,omitempty"`
	LateDone int  `json:"late_patched,omitempty"`
	LateOpen int  `json:"late_open,omitempty"`
	// Younger counts the exempt and open Macs for whose board the release was posted later, by how many days.
	Younger Days `json:"younger,omitempty"`
}

// Days is a histogram: pairs of a day and a number above 0, sorted by day.
type Days [][2]int

func (d Days) total() int {
	n := 0
	for _, p := range d {
		n += p[1]
	}
	return n
}

// add counts n more on a day.
func (d *Days) add(day, n int) {
	i, found := slices.BinarySearchFunc(*d, day, func(p [2]int, day int) int { return cmp.Compare(p[0], day) })
	if found {
		(*d)[i][1] += n
	} else {
		*d = slices.Insert(*d, i, [2]int{day, n})
	}
}

// Macs is the number of Macs that were enrolled when the release was posted, and missed it: the sum of the parts.
func (c *Count) Macs() int {
	return c.Patched.total() + c.Gone.total() + c.Silent.total() + c.Exempt + c.Open
}

// Counts are those of one day, by scope and release.
type Counts map[Scope]map[Key]*Count

// NewCounts counts nothing yet.
func NewCounts() Counts { return Counts{} }

// Add counts one Mac: in the fleet, in its policy and in each of its groups. A late Mac that left unpatched is no longer counted.
func (c Counts) Add(m *Mac, cat *Catalogue, day release.Day) {
	rows := Rows(m, cat, day)
	if len(rows) == 0 {
		return
	}
	scopes := []Scope{{}}
	if m.Policy != "" {
		scopes = append(scopes, Scope{Policy: m.Policy})
	}
	for _, g := range m.Groups {
		if s := (Scope{Group: g}); g != "" && !slices.Contains(scopes, s) {
			scopes = append(scopes, s)
		}
	}
	for _, s := range scopes {
		byKey := c[s]
		if byKey == nil {
			byKey = map[Key]*Count{}
			c[s] = byKey
		}
		for i := range rows {
			r := &rows[i]
			if r.Late && r.State == Gone {
				continue
			}
			n := byKey[r.Release]
			if n == nil {
				n = &Count{Head: cat.heads[r.Release]}
				byKey[r.Release] = n
			}
			n.add(r)
		}
	}
}

func (c *Count) add(r *Row) {
	if r.Late {
		if r.State == Patched {
			c.LateDone++
		} else {
			c.LateOpen++
		}
		return
	}
	switch r.State {
	case Patched:
		c.Patched.add(r.Day, 1)
	case Gone:
		c.Gone.add(r.Day, 1)
	case Silent:
		c.Silent.add(r.Day, 1)
	case Exempt:
		c.Exempt++
	case Open:
		c.Open++
	}
	if later := int(r.Posted - c.Posted); later > 0 && (r.State == Exempt || r.State == Open) {
		c.Younger.add(later, 1)
	}
}

// Equal tells whether two counts are the same, so that the later one need not be written.
func (c *Count) Equal(o *Count) bool {
	return c.Head == o.Head && slices.Equal(c.Patched, o.Patched) && slices.Equal(c.Gone, o.Gone) &&
		slices.Equal(c.Silent, o.Silent) &&
		c.Exempt == o.Exempt && c.Open == o.Open && c.LateDone == o.LateDone && c.LateOpen == o.LateOpen &&
		slices.Equal(c.Younger, o.Younger)
}

// censored are the Macs that left the curve, by day, at the end of the day that was counted: the last contact of gone and silent
// Macs, and that day of the others. Macs whose own build was posted later are that much younger.
func (c *Count) censored(day release.Day) (left, watched Days) {
	for _, d := range []Days{c.Gone, c.Silent} {
		for _, p := range d {
			left.add(p[0], p[1])
		}
	}
	age, rest := int(day-c.Posted), c.Exempt+c.Open
	for _, p := range c.Younger {
		watched.add(max(0, age-p[0]), p[1])
		rest -= p[1]
	}
	if rest > 0 {
		watched.add(max(0, age), rest)
	}
	return left, watched
}

// ParseKey reads "26.4", or "26.4 (a)" for a Background Security Improvement.
func ParseKey(s string) (*Key, error) {
	version, rest, improved := strings.Cut(s, " ")
	v, err := release.ParseVersion(version)
	if err != nil {
		return nil, err
	}
	letter := release.NormalLetter(rest)
	if improved && letter == "" {
		return nil, fmt.Errorf("%q is neither a version nor a version and a letter", s)
	}
	return &Key{v, letter}, nil
}
