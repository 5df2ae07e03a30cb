package plan

import (
	"cmp"
	"time"

	"plimsoll/declarations"
	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
	"plimsoll/status"
)

// Arrival is what a policy wants of a Mac that has not enrolled yet (rules 15).
type Arrival struct {
	Target *release.Release // the upgrade's before the patch's; nil: there is none
	Due    declarations.Local
	// Satisfied: the floor or the named version is reached. Newest: the target is the newest available of its major for the board.
	Satisfied, Newest bool
	// Why there is no target, when a plan has a code for that.
	Why string
}

// Arriving plans for a Mac that has not enrolled yet: it was promised nothing, and a floor that is reached ends nothing.
func (b *Book) Arriving(f status.Facts, rule *policy.Compiled, now time.Time) (a Arrival) {
	d := &draft{input: b.look(&Mac{Facts: f}, now), plan: &Plan{}, enrolling: true}
	d.governedBy(rule)
	d.planOS()
	a.Satisfied = d.satisfied
	if l := cmp.Or(d.lanes[Upgrade], d.lanes[Patch]); l != nil {
		a.Target, a.Due, a.Newest = l.Target, l.Due, d.newestOfMajor(l.Target.Version)
	} else if len(d.plan.Reasons) > 0 {
		a.Why = d.plan.Reasons[0].Code
	}
	return a
}
