package release

import (
	"slices"
	"time"
)

// withdrawAfter is how far apart two fetches that lacked a release must be, so that an edge of Apple's
// that is behind for some minutes withdraws nothing (rules 3).
const withdrawAfter = 20 * time.Hour

// Merge takes a response into what is known (rules 3) and never writes to known.
//
// The error is an ErrRefused whose text is a sentence for the admin; then known stays in force, and
// withdrawals that it lists as pending do not advance. Otherwise next is to be kept, whether it changed
// or not: FetchedAt, LackedAt and Expires move on without it. changed means that something happened
// which a plan may depend on: what is on offer, for which boards, a mark, or an earlier posting date;
// then, and only then, next has a new Revision.
//
// at is when the response was fetched. It is kept in UTC and whole seconds.
func Merge(known *Catalog, f *Feed, at time.Time) (next *Catalog, changed bool, err error) {
	if known == nil {
		known = &Catalog{}
	}
	builds := f.OSBuilds()
	accepted := known.Source == SourceFeed // else nothing was accepted yet: the snapshot is no measure
	switch {
	case builds == 0:
		return nil, false, refuse("the response names no macOS build")
	case accepted && 2*builds < known.OSBuilds:
		return nil, false, refuse(
			"the response names %d macOS builds, fewer than half of the %d that the last accepted one named",
			builds,
			known.OSBuilds,
		)
	}
	at = at.UTC().Truncate(time.Second)
	n := &Catalog{
		Revision: known.Revision, Source: SourceFeed, FetchedAt: at, Digest: digestOf(f.Releases), OSBuilds: builds,
		Releases: make([]Release, 0, len(known.Releases)), Exploited: known.Exploited,
		LeftOut: f.Odd,
	}
	before := make(map[string]Release, len(known.Releases))
	for _, r := range known.Releases {
		before[r.Build] = r
	}
	earlier := false
	present := make(map[string]bool, len(f.Releases))
	for _, r := range f.Releases {
		r.Available, r.FirstSeen, r.LackedAt = true, at, time.Time{}
		if old, ok := before[r.Build]; ok {
			r.FirstSeen, r.Exploited, r.ExploitedAt = old.FirstSeen, old.Exploited, old.ExploitedAt
			r.Posted = min(r.Posted, old.Posted, DayOf(r.FirstSeen))
			earlier = earlier || r.Posted < old.Posted
		}
		r.Posted = min(r.Posted, DayOf(r.FirstSeen))
		present[r.Build] = true
		n.Releases = append(n.Releases, r)
	}
	for _, r := range known.Releases {
		if present[r.Build] {
			continue
		}
		if r.LackedAt.IsZero() {
			r.LackedAt = at
		}
		if !accepted || at.Sub(r.LackedAt) >= withdrawAfter {
			r.Available = false
		}
		n.Releases = append(n.Releases, r)
	}
	slices.SortFunc(n.Releases, compareReleases)
	marked := n.applyMarks(at)
	if !accepted || earlier || marked || digestOf(n.offered()) != digestOf(known.offered()) {
		n.Revision++
		return n, true, nil
	}
	return n, false, nil
}

// Repeat is Merge for a fetch that answered "not modified": the last accepted response came again, and what
// it lacked is lacked by this fetch too. Before the first accepted response there is nothing to repeat.
func Repeat(known *Catalog, at time.Time) (next *Catalog, changed bool) {
	again := &Feed{Odd: known.LeftOut}
	for _, r := range known.Releases {
		if r.Available && r.LackedAt.IsZero() {
			again.Releases = append(again.Releases, r)
		}
	}
	if known.Source == SourceFeed {
		if n, changed, err := Merge(known, again, at); err == nil {
			return n, changed
		}
	}
	same := *known
	return &same, false
}

func (c *Catalog) offered() []Release {
	var on []Release
	for _, r := range c.Releases {
		if r.Available {
			on = append(on, r)
		}
	}
	return on
}

// Offered lists the macOS versions that Apple offers now for any board, as Apple writes them, newest first.
func (c *Catalog) Offered() []string {
	var on []Version
	for _, r := range c.offered() {
		if r.Kind == KindOS {
			on = append(on, r.Version)
		}
	}
	slices.SortStableFunc(on, func(a, b Version) int { return b.Compare(a) })
	on = slices.CompactFunc(on, func(a, b Version) bool { return a.Compare(b) == 0 })
	list := make([]string, len(on))
	for i, v := range on {
		list[i] = string(v)
	}
	return list
}
