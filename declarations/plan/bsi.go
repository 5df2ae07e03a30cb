package plan

import "plimsoll/declarations/release"

// has is the build that the Mac's system is based on, and the letter of the BSI that is installed on it. A Mac may tell the
// build of the BSI in place of its base's, before its first report; and it may tell the BSI's build without the letter.
func (in *input) has() (build, letter string) {
	f := &in.m.Facts
	build, letter = f.Build, release.NormalLetter(f.Letter)
	for _, b := range [...]string{f.Build, f.SupplementalBuild} {
		if r := in.b.Index.Build(b); r != nil && r.Kind == release.KindBSI {
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
func (in *input) bsis() []candidate {
	if in.table == nil || len(in.table.bsi) == 0 || in.m.Facts.Build == "" {
		return nil
	}
	build, letter := in.has()
	var list []candidate
	for i := range in.table.bsi {
		if r := in.table.bsi[i].r; r.PrerequisiteBuild == build && r.Letter > letter {
			list = append(list, in.table.bsi[i])
		}
	}
	return list
}

// missingBSI is the newest BSI that applies to the Mac and is not installed, whether it is enforced or not.
func (in *input) missingBSI() *release.Release {
	for _, c := range in.bsis() {
		switch {
		case !c.r.Available:
		case c.held(in.now):
			in.wait(c.hold.Until)
		default:
			return c.r
		}
	}
	return nil
}

// planBSI is the lane of the BSIs for the Mac's build; nil when there are none.
func (in *input) planBSI() *lane {
	list := in.bsis()
	if len(list) == 0 {
		return nil
	}
	l := &lane{
		LanePlan: LanePlan{Lane: BSI}, cal: in.calendar(BSI), clock: in.rule.BSITime, state: in.m.Lanes[BSI],
		told: in.m.Lanes[BSI].Told,
	}
	// BSIs of another base are another lane, as patches of another major are.
	if r := in.b.Index.Build(l.state.Target); r != nil && r.PrerequisiteBuild != list[0].r.PrerequisiteBuild {
		l.state = LaneState{}
	}
	l.list = in.judge(l, list)
	in.target(l)
	in.takeDelay(l)
	return l
}
