package policy

import (
	"cmp"
	"time"

	"plimsoll/declarations/release"
)

// lane is one lane in the making.
type lane struct {
	LanePlan
	list  []candidate // the lane's releases above what the Mac has, newest first
	state LaneState   // as found; the zero value when its obligation belongs to something else
	// floor is what a target must reach to satisfy the policy, "" when each does; named is the only version that may be
	// the target, "" when each may.
	floor, named release.Version
	wish         *Wish // the user asked for this upgrade
	// heldBy and young are the newest releases above the target that only a hold, or only their age, keeps from being it.
	heldBy, young *candidate
}

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

// verdict is the one test that a release must pass to be a target (rules.md 6.2), in the order in which reasons are told.
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

func (l *lane) satisfies(r *release.Release) bool {
	return l.floor == "" || r.Version.Compare(l.floor) >= 0
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
	if pl.rule.Mode != ModeAutomatic || pl.rule.MinAgeDays == 0 {
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

// knowsMajor tells whether the catalogue has any release of the Mac's own major for its board.
func (pl *planner) knowsMajor() bool {
	if pl.table == nil {
		return false
	}
	for i := range pl.table.os {
		if pl.table.os[i].major == pl.major {
			return true
		}
	}
	return false
}

// offers tells whether Apple offers a release of that major above what the Mac runs, held or not.
func (pl *planner) offers(major int) bool {
	for i := range pl.table.os[:pl.above] {
		if c := &pl.table.os[i]; c.major == major && c.r.Available {
			return true
		}
	}
	return false
}

// newestOfMajor tells whether a version is the newest available one of its major for the board.
func (pl *planner) newestOfMajor(v release.Version) bool {
	for i := range pl.table.os {
		if c := &pl.table.os[i]; c.major == v.Major() && c.r.Available {
			return c.r.Version.Compare(v) == 0
		}
	}
	return false
}

// planOS works out the two OS lanes in the order of rules.md 6.2, (a) to (e).
func (pl *planner) planOS() {
	rule, v := pl.rule, pl.m.Facts.Version
	track, wish := pl.track()
	if track > 0 && pl.major > track {
		pl.end(Satisfied, CodeAboveTrack, pl.evidence("macos", "policy"))
		return
	}
	upgrade := track > pl.major && (rule.Upgrade == UpgradeEnforce || wish != nil)
	floor := pl.floor(track, upgrade)
	pl.satisfied = floor != "" && v.Compare(floor) >= 0
	if pl.satisfied && (wish == nil || !upgrade || rule.Mode != ModeMinimum || pl.table == nil) {
		pl.otherBuild()
		return
	}
	if !pl.knowsMajor() {
		pl.end(Unknown, CodeNotInCatalogue, pl.evidence("board", "macos"))
		return
	}
	top := pl.major
	if upgrade {
		top = track
	}
	if rule.Mode == ModeMinimum && top < floor.Major() || rule.Mode == ModeExact && pl.major != floor.Major() && (!upgrade || track != floor.Major()) {
		e := pl.evidence("policy", "macos")
		e["version"] = floor
		pl.end(Satisfied, CodeUpgradeNotEnforced, e)
		return
	}
	if !pl.satisfied { // else only the upgrade that the user asked for is left to do
		pl.lanes[Patch] = pl.osLane(Patch, pl.major, floor)
	}
	if upgrade {
		pl.lanes[Upgrade] = pl.osLane(Upgrade, track, floor)
		pl.lanes[Upgrade].wish = wish
	}
	if pl.trace {
		for _, l := range pl.lanes {
			if l != nil {
				pl.worked = append(pl.worked, l)
			}
		}
	}
	pl.targetOS(floor)
}

// track is the major version that the policy asks for on this Mac, 0 when that cannot be told, and the user's wish for it.
func (pl *planner) track() (major int, wish *Wish) {
	switch pl.rule.Track {
	case 0:
		return pl.major, nil
	case AnyMajor:
		major = pl.latest()
	default:
		major = pl.rule.Track
	}
	if w := pl.m.Wish; w != nil && pl.rule.Upgrade == UpgradeSelfService && w.Major == major {
		wish = w
	}
	return major, wish
}

// latest is the highest major that Apple offers for the board, held ones counted. One of which no release is old enough
// does not count yet: else its appearance would take the upgrade away that the Mac has a deadline for.
func (pl *planner) latest() int {
	if pl.table == nil {
		return 0
	}
	for i := range pl.table.os {
		if c := &pl.table.os[i]; c.r.Available {
			if at := pl.oldEnough(c.r); at.After(pl.now) {
				pl.wait(at)
				continue
			}
			return c.major
		}
	}
	return 0
}

// floor is the version that satisfies the policy on this Mac, "" for automatic: of several the one of the highest
// major that it may reach, or else the lowest.
func (pl *planner) floor(track int, upgrade bool) release.Version {
	switch pl.rule.Mode {
	case ModeExact:
		return pl.rule.Exact
	case ModeMinimum:
	default:
		return ""
	}
	floors := pl.rule.Floors
	if pl.table == nil {
		return floors[0] // at or above the highest is the only thing that can be told
	}
	reach := pl.major
	if upgrade && pl.offers(track) {
		reach = track
	}
	for _, f := range floors {
		if f.Major() <= reach {
			return f
		}
	}
	return floors[len(floors)-1]
}

// otherBuild notes that a Mac at the exact version has another build than the one named.
func (pl *planner) otherBuild() {
	f := &pl.m.Facts
	if pl.rule.Mode == ModeExact && pl.rule.Build != "" && f.Build != "" && f.Build != pl.rule.Build && f.Version.Compare(pl.rule.Exact) == 0 {
		e := pl.evidence("macos", "macos_build", "policy")
		e["build"] = pl.rule.Build
		pl.because(CodeOtherBuild, e)
	}
}

// osLane is a lane with the releases of one major that are above the Mac's version.
func (pl *planner) osLane(id Lane, major int, floor release.Version) *lane {
	l := &lane{LanePlan: LanePlan{Lane: id}, floor: floor}
	if pl.rule.Mode == ModeExact {
		l.named = floor
	}
	if pl.table != nil {
		l.list = ofMajor(pl.table.os[:pl.above], major)
	}
	l.state = pl.m.Lanes[id]
	// The patch lane of another major is another lane: what was promised for that one says nothing about this one.
	if r := pl.b.Index.Build(l.state.Target); id == Patch && r != nil && r.Version.Major() != major {
		l.state = LaneState{}
	}
	return l
}

// ofMajor is the part of a list, newest first, that is of one major.
func ofMajor(list []candidate, major int) []candidate {
	from := 0
	for from < len(list) && list[from].major > major {
		from++
	}
	to := from
	for to < len(list) && list[to].major == major {
		to++
	}
	return list[from:to]
}

// targetOS finds the targets of the OS lanes, or what it comes to when there is none (rules.md 6.2, (d) and (e)).
func (pl *planner) targetOS(floor release.Version) {
	if pl.rule.Mode != ModeAutomatic && !pl.satisfied && !pl.reachable() {
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

// reachable tells whether a lane has a release that satisfies the policy, held ones counted (rules.md 6.2, (d)).
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
		if kept := pl.keep(l, newest); kept != nil {
			best = *kept
			best.HeldBack = newest.r
		}
	}
	best.Held = l.Held
	l.LanePlan = best
}

// Around a lane's deadline a newer release does not take an older one's place (rules.md 6.2, no late swap).
const (
	swapBefore = 24 * time.Hour
	swapAfter  = 72 * time.Hour
)

// keep finds the older target that a newer one may not replace so close to the deadline; nil when it may. The older one
// is what the lane would be at without the late ones: its last target, or the newest that was possible before the window.
func (pl *planner) keep(l *lane, newest *candidate) *LanePlan {
	for i := range l.list {
		k := &l.list[i]
		if compare(k.r, newest.r) >= 0 || pl.verdict(l, k) != possible || !l.satisfies(k.r) {
			continue
		}
		dates := pl.dates(l, k.r)
		from, to := swapWindow(l, &dates)
		if k.r.Build != l.state.Target && !pl.becamePossible(l, k.r).Before(from) {
			continue
		}
		if pl.now.Before(from) || pl.now.After(to) || pl.becamePossible(l, newest.r).Before(from) {
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
