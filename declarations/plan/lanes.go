package plan

import (
	"cmp"
	"time"

	"plimsoll/declarations/calendar"

	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
)

// lane is one lane with its releases and its plan.
type lane struct {
	LanePlan
	major int      // of an OS lane's releases
	list  []judged // the lane's releases above what the Mac has, newest first
	cal   calendar.Calendar
	clock int       // the time of day of its deadlines, in seconds
	state LaneState // as found; the zero value when its obligation belongs to something else
	told  string    // the build that was advertised last in this life, whatever became of the obligation
	// floor is what a target must reach to satisfy the policy, "" when each does; named is the only version that may be
	// the target, "" when each may.
	floor, named release.Version
	wish         *Wish // the user asked for this upgrade
	// heldBy, young and shut are the newest releases above the target that only a hold, only their age, or only the Mac's ring
	// keeps from
	// being it.
	heldBy, young, shut *judged
}

func (l *lane) satisfies(r *release.Release) bool {
	return l.floor == "" || r.Version.Compare(l.floor) >= 0
}

// osLane is a lane with the releases of one major that are above the Mac's version, without its target.
func (in *input) osLane(id Lane, major int, floor release.Version, wish *Wish) *lane {
	l := &lane{
		LanePlan: LanePlan{Lane: id}, major: major, floor: floor, wish: wish, cal: in.calendar(id), clock: in.rule.Time,
		state: in.m.Lanes[id], told: in.m.Lanes[id].Told,
	}
	if in.rule.Mode == policy.ModeExact {
		l.named = floor
	}
	// The patch lane of another major is another lane: what was promised for that one says nothing about this one.
	if r := in.b.Index.Build(l.state.Target); id == Patch && r != nil && r.Version.Major() != major {
		l.state = LaneState{}
	}
	if in.table != nil {
		l.list = in.judge(l, ofMajor(in.table.os[:in.above], major))
	}
	return l
}

// planLane is an OS lane with its target and its dates.
func (in *input) planLane(id Lane, major int, floor release.Version, wish *Wish) *lane {
	l := in.osLane(id, major, floor, wish)
	in.target(l)
	if id == Upgrade { // the missed releases of the majors between
		for i := range in.table.os[:in.above] {
			if c := &in.table.os[i]; c.major > in.major && c.hold != nil {
				in.wait(c.hold.Until)
			}
		}
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

// track is the major version that the policy asks for on a Mac.
type track struct {
	major int   // 0 when it cannot be told
	wish  *Wish // the user asked for it
	// late is the newest release of a newer major that came too late to be the track's now; nil if there is none.
	late *release.Release
}

// trackOf finds the track of the Mac.
func (in *input) trackOf() (t track) {
	switch in.rule.Track {
	case 0:
		return track{major: in.major}
	case policy.AnyMajor:
		t.major = in.latest(1 << 30)
		if in.rule.Upgrade != policy.UpgradeHold {
			if before, late := in.keepMajor(t.major); late != nil {
				t.major, t.late = before, late
			}
		}
	default:
		t.major = in.rule.Track
	}
	if w := in.m.Wish; w != nil && in.rule.Upgrade == policy.UpgradeSelfService && w.Major == t.major {
		t.wish = w
	}
	return t
}

// latest is the highest major below a bound of which a release for the board is available, not held, old enough and open for
// the Mac; 0 when
// there is none. Of the Mac's own major age and ring do not matter: the Mac has it.
func (in *input) latest(below int) int {
	if in.table == nil {
		return 0
	}
	for i := range in.table.os {
		c := &in.table.os[i]
		if c.major >= below || !c.r.Available {
			continue
		}
		if c.held(in.now) {
			in.wait(c.hold.Until)
			continue
		}
		if at := in.oldEnough(&lane{LanePlan: LanePlan{Lane: Upgrade}}, c.r); at.After(in.now) {
			in.wait(at)
			continue
		}
		return c.major
	}
	return 0
}

// keepMajor is the major that stays the track, and the newest release of the newer one that came too close to the deadline to
// take its
// place (rules 6.2, no late swap); nil when it may.
func (in *input) keepMajor(newer int) (int, *release.Release) {
	before := in.latest(newer)
	if newer <= in.major || before <= in.major {
		return 0, nil
	}
	if r := in.b.Index.Build(in.m.Lanes[Upgrade].Told); r != nil && r.Version.Major() >= newer {
		return 0, nil // it was advertised, so it stays
	}
	var newest *release.Release
	var came time.Time // when the newer major became possible
	upgrade := &lane{LanePlan: LanePlan{Lane: Upgrade}}
	for i := range in.table.os {
		c := &in.table.os[i]
		if c.major != newer || !c.r.Available {
			continue
		}
		at := c.r.FirstSeen
		if old := in.oldEnough(upgrade, c.r); old.After(at) {
			at = old
		}
		if !at.After(in.now) {
			newest, came = cmp.Or(newest, c.r), earlier(came, at)
		}
	}
	if newest == nil {
		return 0, nil
	}
	var wish *Wish
	if in.rule.Upgrade == policy.UpgradeSelfService {
		if wish = in.m.Wish; wish == nil || wish.Major != before {
			return 0, nil
		}
	}
	l := in.osLane(Upgrade, before, in.floor(before, true), wish)
	if in.keep(l, newest, came) == nil {
		return 0, nil
	}
	return before, newest
}

// floor is the version that satisfies the policy on this Mac, "" for automatic: of several the one of the highest
// major that it may reach, or else the lowest.
func (in *input) floor(track int, upgrade bool) release.Version {
	switch in.rule.Mode {
	case policy.ModeExact:
		return in.rule.Exact
	case policy.ModeMinimum:
	default:
		return ""
	}
	floors := in.rule.Floors
	if in.table == nil {
		return floors[0] // at or above the highest is the only thing that can be told
	}
	reach := in.major
	if upgrade && in.offers(track) {
		reach = track
	}
	for _, f := range floors {
		if f.Major() <= reach {
			return f
		}
	}
	return floors[len(floors)-1]
}

// choose takes the one OS lane that is declared (rules 6.5): one that an admin asked for now, else one that can be told, else
// the one with
// the earlier deadline, the upgrade when they are equal.
func choose(patch, upgrade *lane) *lane {
	if patch == nil || upgrade == nil {
		return cmp.Or(patch, upgrade)
	}
	told := func(l *lane) bool { return l.Mechanism == ByDeclaration || l.Mechanism == ByCommand }
	switch {
	case patch.Now:
		return patch
	case upgrade.Now:
		return upgrade
	case told(patch) && !told(upgrade):
		return patch
	case told(upgrade) && !told(patch) || upgrade.Deadline <= patch.Deadline:
		return upgrade
	}
	return patch
}

// takeDelay gives a lane the deadline that its user delayed it to (rules 9).
func (in *input) takeDelay(l *lane) {
	if until := in.delayed(l); until > l.Deadline && !l.Now {
		l.Deadline, l.Delayed = until, true
	}
}
