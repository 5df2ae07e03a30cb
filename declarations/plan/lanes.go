package plan

import (
	"cmp"
	"time"

	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
)

// lane is one lane in the making.
type lane struct {
	LanePlan
	major int         // of an OS lane's releases
	list  []candidate // the lane's releases above what the Mac has, newest first
	state LaneState   // as found; the zero value when its obligation belongs to something else
	// floor is what a target must reach to satisfy the policy, "" when each does; named is the only version that may be
	// the target, "" when each may.
	floor, named release.Version
	wish         *Wish // the user asked for this upgrade
	// heldBy and young are the newest releases above the target that only a hold, or only their age, keeps from being it.
	heldBy, young *candidate
}

func (l *lane) satisfies(r *release.Release) bool {
	return l.floor == "" || r.Version.Compare(l.floor) >= 0
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

// planOS works out the two OS lanes in the order of rules 6.2, (a) to (e).
func (pl *planner) planOS() {
	rule, v := pl.rule, pl.m.Facts.Version
	track, wish := pl.track()
	if track > 0 && pl.major > track {
		pl.end(Satisfied, CodeAboveTrack, pl.evidence("macos", "policy"))
		return
	}
	upgrade := track > pl.major && (rule.Upgrade == policy.UpgradeEnforce || wish != nil)
	floor := pl.floor(track, upgrade)
	pl.satisfied = floor != "" && v.Compare(floor) >= 0
	if pl.satisfied && (wish == nil || !upgrade || rule.Mode != policy.ModeMinimum || pl.table == nil) {
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
	if rule.Mode == policy.ModeMinimum && top < floor.Major() || rule.Mode == policy.ModeExact && pl.major != floor.Major() && (!upgrade || track != floor.Major()) {
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
	case policy.AnyMajor:
		if major = pl.latest(); pl.rule.Upgrade != policy.UpgradeHold {
			major = cmp.Or(pl.keepMajor(major), major)
		}
	default:
		major = pl.rule.Track
	}
	if w := pl.m.Wish; w != nil && pl.rule.Upgrade == policy.UpgradeSelfService && w.Major == major {
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

// keepMajor is the major whose target a newer major, which the track moved on to, may not replace so close to the deadline
// (rules 6.2, no late swap); 0 when it may.
func (pl *planner) keepMajor(newer int) int {
	if newer <= pl.major {
		return 0
	}
	var newest *release.Release
	var came time.Time // when the newer major became possible
	before := 0        // the major that would be the track's without it
	for i := range pl.table.os {
		c := &pl.table.os[i]
		at := pl.becamePossible(&lane{LanePlan: LanePlan{Lane: Upgrade}}, c.r)
		switch {
		case c.major > newer || !c.r.Available || at.After(pl.now):
		case c.major == newer:
			newest, came = cmp.Or(newest, c.r), earlier(came, at)
		case before == 0:
			before = c.major
		}
	}
	if before <= pl.major {
		return 0
	}
	l := pl.osLane(Upgrade, before, pl.floor(before, true))
	if pl.rule.Upgrade == policy.UpgradeSelfService {
		if l.wish = pl.m.Wish; l.wish == nil || l.wish.Major != before {
			return 0
		}
	}
	if pl.keep(l, newest, came) == nil {
		return 0
	}
	pl.lateMajor = newest
	return before
}

// floor is the version that satisfies the policy on this Mac, "" for automatic: of several the one of the highest
// major that it may reach, or else the lowest.
func (pl *planner) floor(track int, upgrade bool) release.Version {
	switch pl.rule.Mode {
	case policy.ModeExact:
		return pl.rule.Exact
	case policy.ModeMinimum:
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
	if pl.rule.Mode == policy.ModeExact && pl.rule.Build != "" && f.Build != "" && f.Build != pl.rule.Build && f.Version.Compare(pl.rule.Exact) == 0 {
		e := pl.evidence("macos", "macos_build", "policy")
		e["build"] = pl.rule.Build
		pl.because(CodeOtherBuild, e)
	}
}

// osLane is a lane with the releases of one major that are above the Mac's version.
func (pl *planner) osLane(id Lane, major int, floor release.Version) *lane {
	l := &lane{LanePlan: LanePlan{Lane: id}, major: major, floor: floor}
	if pl.rule.Mode == policy.ModeExact {
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

// Offer is the upgrade that the user of a Mac may ask for now (os.upgrade self_service, rules 9), nil when there is none
// or it was asked for already. A Wish for it has the major of its version.
func (b *Book) Offer(m *Mac, now time.Time) *release.Release {
	pl := &planner{b: b, m: m, now: now.UTC(), plan: &Plan{}}
	pl.look()
	pl.govern()
	if pl.rule == nil || pl.rule.Mode == policy.ModeNone || pl.rule.Upgrade != policy.UpgradeSelfService || pl.table == nil {
		return nil
	}
	track, wish := pl.track()
	if wish != nil || track <= pl.major {
		return nil
	}
	asked := *m
	asked.Wish = &Wish{Major: track, At: now}
	p := b.Plan(&asked, now)
	if !p.Enforced() || p.Lane != Upgrade {
		return nil
	}
	return p.Target
}
