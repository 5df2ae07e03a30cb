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
	held // and nothing but that
)

// verdict is the one test that a release must pass to be a target (rules 6.2), in the order in which reasons are told.
func (pl *planner) verdict(l *lane, c *candidate) verdict {
	switch {
	case !c.r.Available:
		return withdrawn
	case l.named != "" && !pl.isNamed(c):
		return notNamed
	case c.superseded && (l.named == "" || pl.rule.Build == ""):
		return superseded
	case l.Lane != BSI && pl.now.Before(pl.oldEnough(c.r)):
		return tooYoung
	case c.held(pl.now):
		return held
	}
	return possible
}

// isNamed tells whether a release is the one that an exact policy names.
func (pl *planner) isNamed(c *candidate) bool {
	return c.r.Version.Compare(pl.rule.Exact) == 0 && (pl.rule.Build == "" || c.r.Build == pl.rule.Build)
}

// posted is the day of posting; of a release without one, the day on which it first appeared.
func posted(r *release.Release) release.Day {
	if r.Posted == 0 {
		return release.DayOf(r.FirstSeen)
	}
	return r.Posted
}

// oldEnough is when a release reaches the policy's min_age_days.
func (pl *planner) oldEnough(r *release.Release) time.Time {
	if pl.rule.Mode != policy.ModeAutomatic || pl.rule.MinAgeDays == 0 {
		return time.Time{}
	}
	return (posted(r) + release.Day(pl.rule.MinAgeDays)).Time()
}

// becamePossible is when a release became a possible target of the lane.
func (pl *planner) becamePossible(l *lane, r *release.Release) time.Time {
	if l.Lane != BSI {
		if at := pl.oldEnough(r); at.After(r.FirstSeen) {
			return at
		}
	}
	return r.FirstSeen
}

// targetOS finds the targets of the OS lanes, or what it comes to when there is none (rules 6.2, (d) and (e)).
func (pl *planner) targetOS(floor release.Version) {
	if pl.rule.Mode != policy.ModeAutomatic && !pl.satisfied && !pl.reachable() {
		e := pl.evidence("policy", "board", "macos")
		e["version"] = floor
		pl.lanes = [lanes]*lane{}
		pl.end(Unsupported, CodeUnsupported, e)
		return
	}
	reached := false
	var heldBy, young *candidate
	for _, l := range pl.lanes {
		if l == nil {
			continue
		}
		pl.target(l)
		pl.watch(l)
		reached = reached || l.Target != nil && l.satisfies(l.Target)
		if l.heldBy != nil && l.satisfies(l.heldBy.r) {
			heldBy = cmp.Or(heldBy, l.heldBy)
		}
		young = cmp.Or(young, l.young)
	}
	none := true
	for i, l := range pl.lanes {
		if l != nil && (l.Target == nil || reached && !l.satisfies(l.Target)) {
			pl.lanes[i] = nil
		}
		none = none && pl.lanes[i] == nil
	}
	switch {
	case !none, pl.satisfied:
	case heldBy != nil:
		pl.end(Held, CodeHeld, heldEvidence(heldBy))
	case young != nil:
		pl.because(CodeSoaking, map[string]any{"version": young.r.Version, "build": young.r.Build, "min_age_days": pl.rule.MinAgeDays, "from": release.DayOf(pl.oldEnough(young.r)).String()})
	}
}

// reachable tells whether a lane has a release that satisfies the policy, held ones counted (rules 6.2, (d)).
func (pl *planner) reachable() bool {
	for _, l := range pl.lanes {
		if l == nil {
			continue
		}
		for i := range l.list {
			c := &l.list[i]
			if v := pl.verdict(l, c); (v == possible || v == held) && l.satisfies(c.r) {
				return true
			}
		}
	}
	return false
}

func heldEvidence(c *candidate) map[string]any {
	e := map[string]any{"version": c.r.Version, "build": c.r.Build, "subject": c.hold.Subject}
	if c.r.Letter != "" {
		e["letter"] = c.r.Letter
	}
	if c.hold.Reason != "" {
		e["reason"] = c.hold.Reason
	}
	if !c.hold.Until.IsZero() {
		e["until"] = c.hold.Until.UTC().Format(time.RFC3339)
	}
	return e
}

// target finds the lane's target and its dates; without any, the lane's Target stays nil.
func (pl *planner) target(l *lane) {
	var newest *candidate
	for i := range l.list {
		c := &l.list[i]
		switch pl.verdict(l, c) {
		case held:
			l.heldBy = cmp.Or(l.heldBy, c)
		case tooYoung:
			l.young = cmp.Or(l.young, c)
		case possible:
			newest = c
		}
		if newest != nil {
			break
		}
	}
	if l.heldBy != nil {
		l.Held = l.heldBy.r
	}
	if newest == nil {
		return
	}
	best := pl.dates(l, newest.r)
	if newest.r.Build != l.state.Target {
		if kept := pl.keep(l, newest.r, pl.becamePossible(l, newest.r)); kept != nil {
			best = *kept
			best.HeldBack = newest.r
		}
	}
	if l.Lane == Upgrade {
		best.HeldBack = cmp.Or(pl.lateMajor, best.HeldBack)
	}
	best.Held = l.Held
	l.LanePlan = best
}

// Around a lane's deadline a newer release does not take an older one's place (rules 6.2, no late swap).
const (
	swapBefore = 24 * time.Hour
	swapAfter  = 72 * time.Hour
)

// keep finds the older target that a newer one, possible since came, may not replace so close to the deadline; nil when it may. The
// older one is what the lane would be at without the late ones: its last target, or the newest that was possible before the window.
func (pl *planner) keep(l *lane, newest *release.Release, came time.Time) *LanePlan {
	for i := range l.list {
		k := &l.list[i]
		if compare(k.r, newest) >= 0 || pl.verdict(l, k) != possible || !l.satisfies(k.r) {
			continue
		}
		dates := pl.dates(l, k.r)
		from, to := pl.swapWindow(l, &dates)
		if k.r.Build != l.state.Target && !pl.becamePossible(l, k.r).Before(from) {
			continue
		}
		if pl.now.Before(from) || pl.now.After(to) || came.Before(from) {
			return nil
		}
		pl.wait(to.Add(time.Second))
		return &dates
	}
	return nil
}

// compare orders releases by version and letter.
func compare(a, b *release.Release) int {
	return cmp.Or(a.Version.Compare(b.Version), cmp.Compare(a.Letter, b.Letter))
}

// watch notes when the lane's releases may change their part by the passing of time.
func (pl *planner) watch(l *lane) {
	for i := range l.list {
		pl.watchOne(l, &l.list[i])
	}
	if l.Lane == Upgrade { // the missed releases of the majors between
		for i := range pl.table.os[:pl.above] {
			if c := &pl.table.os[i]; c.major > pl.major && c.hold != nil {
				pl.wait(c.hold.Until)
			}
		}
	}
}

func (pl *planner) watchOne(l *lane, c *candidate) {
	if c.hold != nil {
		pl.wait(c.hold.Until)
	}
	if l.Lane != BSI && c.r.Available {
		pl.wait(pl.oldEnough(c.r))
	}
}
