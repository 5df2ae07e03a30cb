package plan

import (
	"plimsoll/declarations/release"
)

// has is the build that the Mac's system is based on, and the letter of the BSI that is installed on it. A Mac may tell the
// build of the BSI in place of its base's, before its first report; and it may tell the BSI's build without the letter.
func (pl *planner) has() (build, letter string) {
	f := &pl.m.Facts
	build, letter = f.Build, release.NormalLetter(f.Letter)
	for _, b := range [...]string{f.Build, f.SupplementalBuild} {
		if r := pl.b.Index.Build(b); r != nil && r.Kind == release.KindBSI {
			if b == f.Build {
				build = r.PrerequisiteBuild
			}
			if r.PrerequisiteBuild == build {
				letter = max(letter, r.Letter)
			}
		}
	}
	return build, letter
}

// bsis lists the BSIs for the Mac's board and base build above the letter that it has, newest first (rules 6.6).
func (pl *planner) bsis() []candidate {
	if pl.table == nil || len(pl.table.bsi) == 0 || pl.m.Facts.Build == "" {
		return nil
	}
	build, letter := pl.has()
	var list []candidate
	for i := range pl.table.bsi {
		if r := pl.table.bsi[i].r; r.PrerequisiteBuild == build && r.Letter > letter {
			list = append(list, pl.table.bsi[i])
		}
	}
	return list
}

// missingBSI is the newest BSI that applies to the Mac and is not installed, whether it is enforced or not.
func (pl *planner) missingBSI() *release.Release {
	for _, c := range pl.bsis() {
		switch {
		case !c.r.Available:
		case c.held(pl.now):
			pl.wait(c.hold.Until)
		default:
			return c.r
		}
	}
	return nil
}

func (pl *planner) planBSI() {
	list := pl.bsis()
	if len(list) == 0 {
		return
	}
	l := &lane{LanePlan: LanePlan{Lane: BSI}, list: list, state: pl.m.Lanes[BSI]}
	// BSIs of another base are another lane, as patches of another major are.
	if r := pl.b.Index.Build(l.state.Target); r != nil && r.PrerequisiteBuild != list[0].r.PrerequisiteBuild {
		l.state = LaneState{}
	}
	pl.target(l)
	pl.watch(l)
	if l.Target == nil {
		if l.heldBy != nil && pl.plan.Outcome == Satisfied && pl.newestOfMajor(l.heldBy.r.Version) {
			pl.plan.Reasons = nil
			pl.end(Held, CodeHeld, heldEvidence(l.heldBy))
		}
		return
	}
	pl.delay(l)
	pl.lanes[BSI] = l
}
