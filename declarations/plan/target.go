package plan

import (
	"cmp"
	"time"

	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
)

// verdict tells what a release above the Mac's version is to a lane.
type verdict int

const (
	possible verdict = iota
	withdrawn
	superseded
	notNamed
	tooYoung
	closed // for the Mac's ring
	held   // and nothing but that
)

// judged is a release of a lane with what it is to it.
type judged struct {
	*candidate
	verdict verdict
	since   time.Time // when it became a possible target
	opening opening   // in a lane with rings
}

// judge tells of each release of a lane what it is to it, in the order in which reasons are told (rules 6.2). The list is
// newest first; of
// two builds of one version the newest posted counts among those that are old enough and open.
func (in *input) judge(l *lane, list []candidate) []judged {
	out := make([]judged, len(list))
	var counts *release.Release // the build that counts of the version at hand
	for i := range list {
		c := &list[i]
		j := judged{candidate: c, since: c.r.FirstSeen}
		if counts != nil && counts.Version.Compare(c.r.Version) != 0 {
			counts = nil
		}
		oldEnough := in.oldEnough(l, c.r)
		if oldEnough.After(j.since) {
			j.since = oldEnough
		}
		if l.Lane == Patch && len(in.rule.Rings) > 0 {
			j.opening = in.opening(l, c)
			j.since = j.opening.since
		}
		switch {
		case !c.r.Available:
			j.verdict = withdrawn
		case l.named != "" && !in.isNamed(c):
			j.verdict = notNamed
		case l.Lane != BSI && counts != nil && (l.named == "" || in.rule.Build == ""):
			j.verdict = superseded
		case in.now.Before(oldEnough):
			j.verdict = tooYoung
		case j.since.IsZero() && len(in.rule.Rings) > 0 && l.Lane == Patch:
			j.verdict = closed
		case c.held(in.now):
			j.verdict, counts = held, c.r
		default:
			counts = c.r
		}
		out[i] = j
		in.watch(l, &out[i], oldEnough)
	}
	return out
}

// watch notes when a release may change its part by the passing of time.
func (in *input) watch(l *lane, j *judged, oldEnough time.Time) {
	if j.hold != nil {
		in.wait(j.hold.Until)
	}
	if j.r.Available {
		in.wait(oldEnough)
	}
	if j.verdict == closed {
		in.wait(j.opening.at)
	}
}

// opening tells since when a release is open for the Mac's ring.
func (in *input) opening(l *lane, c *candidate) opening {
	if l.told == c.r.Build && in.ring > 0 {
		return opening{since: c.r.FirstSeen, why: OpenTold}
	}
	return in.b.opened(in.rule, in.ring, c, in.dueOf(l, c.r), in.now)
}

// isNamed tells whether a release is the one that an exact policy names.
func (in *input) isNamed(c *candidate) bool {
	return c.r.Version.Compare(in.rule.Exact) == 0 && (in.rule.Build == "" || c.r.Build == in.rule.Build)
}

// posted is the day of posting; of a release without one, the day on which it first appeared.
func posted(r *release.Release) release.Day {
	if r.Posted == 0 {
		return release.DayOf(r.FirstSeen)
	}
	return r.Posted
}

// minAge is the age that a release must reach before it is a target of the lane. With rings, the patch lane has openings
// instead.
func (in *input) minAge(id Lane) int {
	switch {
	case in.rule.Mode != policy.ModeAutomatic || id == BSI:
		return 0
	case len(in.rule.Rings) == 0:
		return in.rule.MinAgeDays
	case id == Upgrade:
		return in.rule.Rings[in.ring].MinAgeDays
	}
	return 0
}

// oldEnough is when a release reaches the age that the lane asks for; zero when it asks for none.
func (in *input) oldEnough(l *lane, r *release.Release) time.Time {
	age := in.minAge(l.Lane)
	if age == 0 {
		return time.Time{}
	}
	return (posted(r) + release.Day(age)).Time()
}

// target finds the lane's target and its dates; without any, the lane's Target stays nil.
func (in *input) target(l *lane) {
	var newest *judged
	for i := range l.list {
		j := &l.list[i]
		switch j.verdict {
		case held:
			l.heldBy = cmp.Or(l.heldBy, j)
		case tooYoung:
			l.young = cmp.Or(l.young, j)
		case closed:
			l.shut = cmp.Or(l.shut, j)
		case possible:
			newest = j
		}
		if newest != nil {
			break
		}
	}
	if l.heldBy != nil {
		l.Held = l.heldBy.r
	}
	asked := in.askedNow(l)
	if newest == nil {
		return
	}
	var best LanePlan
	switch kept := in.keep(l, newest.r, newest.since); {
	case asked != nil:
		best = in.dates(l, asked.r)
	case kept != nil:
		best = *kept
		best.HeldBack = newest.r
	default:
		best = in.dates(l, newest.r)
	}
	if asked != nil {
		best.Now = true
		best.Deadline = in.pastAt(l.Lane, in.m.UpdateNow.At.Truncate(time.Second))
	}
	best.Held = l.Held
	best.Mechanism, _ = MechanismOf(&in.m.Facts, l.Lane)
	l.LanePlan = best
}

// askedNow is the release that an admin has the Mac install, while it is possible (rules 12); nil if there is none.
func (in *input) askedNow(l *lane) *judged {
	u := in.updateNow(l.Lane)
	if u == nil {
		return nil
	}
	for i := range l.list {
		if j := &l.list[i]; j.r.Build == u.Build && j.verdict == possible && l.satisfies(j.r) {
			return j
		}
	}
	return nil
}

// Around a lane's deadline a newer release does not take an older one's place (rules 6.2, no late swap).
const (
	swapBefore = 24 * time.Hour
	swapAfter  = 72 * time.Hour
)

// keep returns the plan with the current target when the newer release became possible too close to the deadline to replace
// it; nil when it
// may. The current target is the one advertised last, or else the newest that was possible before the window.
func (in *input) keep(l *lane, newest *release.Release, came time.Time) *LanePlan {
	if newest.Build == l.told {
		return nil // what was advertised is never swapped for something older by this rule
	}
	for i := range l.list {
		k := &l.list[i]
		if compare(k.r, newest) >= 0 || k.verdict != possible || !l.satisfies(k.r) {
			continue
		}
		dates := in.dates(l, k.r)
		from, to := in.swapWindow(l, &dates)
		if k.r.Build != l.told && !k.since.Before(from) {
			continue
		}
		if in.now.Before(from) || in.now.After(to) || came.Before(from) {
			return nil
		}
		in.wait(to.Add(time.Second))
		return &dates
	}
	return nil
}

// compare orders releases by version and letter.
func compare(a, b *release.Release) int {
	return cmp.Or(a.Version.Compare(b.Version), cmp.Compare(a.Letter, b.Letter))
}
