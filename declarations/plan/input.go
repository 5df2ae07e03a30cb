package plan

import (
	"time"

	"plimsoll/declarations/calendar"

	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
)

// input is what one plan is made from: looked up once, and not changed while the lanes are planned.
type input struct {
	b       *Book
	m       *Mac
	now     time.Time // UTC
	rule    *policy.Compiled
	table   *table // of the Mac's board; nil when the catalogue does not know it
	major   int    // the Mac's own
	above   int    // how many entries of table.os are newer than what the Mac runs
	ring    int    // the Mac's ring, when the policy has rings
	freezes []*policy.Freeze
	// next is the next instant at which the plan can change by the passing of time.
	next *time.Time
}

// look finds what there is for the Mac's board.
func (b *Book) look(m *Mac, now time.Time) input {
	f := &m.Facts
	in := input{b: b, m: m, now: now.UTC(), major: f.Version.Major(), next: new(time.Time)}
	if f.Board == "" {
		return in
	}
	if in.table = b.tables[f.Board]; in.table == nil || f.Version == "" {
		return in
	}
	// Entries are newest first: a binary search for the first that is not newer.
	lo, hi := 0, len(in.table.os)
	for lo < hi {
		mid := (lo + hi) / 2
		if in.table.os[mid].r.Version.Compare(f.Version) > 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	in.above = lo
	return in
}

// governedBy takes the policy that governs.
func (in *input) governedBy(rule *policy.Compiled) {
	if in.rule = rule; rule == nil {
		return
	}
	if len(rule.Rings) > 0 {
		in.ring = in.b.RingOf(rule, &in.m.Facts)
	}
	in.freezes = in.b.FreezesOf(&in.m.Facts)
	for _, f := range in.freezes {
		in.wait(f.BeginsAt())
		in.wait(f.EndsAt())
	}
}

// wait notes an instant at which the plan may change by the passing of time alone.
func (in *input) wait(at time.Time) {
	if at.After(in.now) {
		*in.next = earlier(*in.next, at)
	}
}

// calendar is that of a lane.
func (in *input) calendar(id Lane) calendar.Calendar {
	c := calendar.Calendar{Freezes: in.freezes}
	switch {
	case id == BSI:
		c.Days = in.rule.BSIDays
	case in.rule.Mode == policy.ModeAutomatic:
		c.Days = in.rule.Days
	}
	return c
}

// knowsMajor tells whether the catalogue has any release of the Mac's own major for its board.
func (in *input) knowsMajor() bool {
	if in.table == nil {
		return false
	}
	for i := range in.table.os {
		if in.table.os[i].major == in.major {
			return true
		}
	}
	return false
}

// offers tells whether Apple offers a release of that major above what the Mac runs, held or not.
func (in *input) offers(major int) bool {
	for i := range in.table.os[:in.above] {
		if c := &in.table.os[i]; c.major == major && c.r.Available {
			return true
		}
	}
	return false
}

// newestOfMajor tells whether a version is the newest available one of its major for the board.
func (in *input) newestOfMajor(v release.Version) bool {
	for i := range in.table.os {
		if c := &in.table.os[i]; c.major == v.Major() && c.r.Available {
			return c.r.Version.Compare(v) == 0
		}
	}
	return false
}

// evidence gives the Mac's own facts by their keys, as far as they are known.
func (in *input) evidence(keys ...string) map[string]any {
	f, e := &in.m.Facts, map[string]any{}
	for _, k := range keys {
		var v string
		switch k {
		case "macos":
			v = string(f.Version)
		case "macos_build":
			v = f.Build
		case "board":
			v = f.Board
		case "model":
			v = f.Model
		case "policy":
			v = in.rule.Name
		}
		if v != "" {
			e[k] = v
		}
	}
	return e
}

// updateNow is what an admin asked of a lane, while that is in force (rules 12).
func (in *input) updateNow(id Lane) *UpdateNow {
	u := in.m.UpdateNow
	if u == nil || u.Lane != id || !in.now.Before(u.EndsAt()) || in.calendar(id).Frozen(in.now) != nil {
		return nil
	}
	in.wait(u.EndsAt())
	in.wait(u.At.Add(PendingAfterNow))
	return u
}
