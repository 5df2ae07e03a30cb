package plan

import (
	"plimsoll/declarations"
	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
)

// The mechanisms that Macs before macOS 14 need (rules 8).
const (
	mechanismCommand   = "mdm_command"
	mechanismInstaller = "installer"
)

// gate tells whether the target can be declared to this macOS (rules 6.7).
func (pl *planner) gate() {
	f := &pl.m.Facts
	e := pl.evidence("macos")
	e["version"], e["build"] = pl.plan.Target.Version, pl.plan.Target.Build
	switch {
	case pl.major < 14:
		e["needs"], e["mechanism"] = mechanismCommand, "an MDM command (ScheduleOSUpdate)"
		if pl.major < 12 {
			e["needs"], e["mechanism"] = mechanismInstaller, "the macOS installer"
		}
		pl.plan.Gated = CodeMacOSTooOld
	case f.Capabilities.Known && !f.Capabilities.Enforcement:
		pl.plan.Gated = CodeTypeNotSupported
	default:
		return
	}
	pl.leaveOut(pl.plan.Gated, e)
}

// declare puts the declarations together, in the order of items, and their token.
func (pl *planner) declare() {
	p, f := pl.plan, &pl.m.Facts
	var enforcement, settings, subscription *pair
	if p.Enforced() {
		enforcement = pl.enforcement()
	}
	if pl.rule != nil {
		p.LeftOut = append(p.LeftOut, pl.rule.LeftOut...)
		if s := pl.b.settings[pl.rule]; s != nil {
			p.LeftOut = append(p.LeftOut, s.leftOut...)
			settings = pl.settings(s)
		}
	}
	if f.Version != "" && pl.major < 13 {
		pl.leaveOut(CodeStatusNotSupported, map[string]any{"macos": f.Version})
	} else { // a Mac that has not told its version speaks this protocol, so it is at least on macOS 13
		subscription = pl.b.subscription(f.Capabilities)
	}
	pairs := [...]*pair{enforcement, settings, subscription}
	p.Declarations = make([]declarations.Declaration, 0, 2*len(pairs))
	for _, d := range pairs {
		if d != nil {
			p.Declarations = append(p.Declarations, d.activation)
		}
	}
	for _, d := range pairs {
		if d != nil {
			p.Declarations = append(p.Declarations, d.configuration)
		}
	}
	var room [2 * len(pairs)]declarations.Item
	items := room[:0]
	for i := range p.Declarations {
		items = append(items, p.Declarations[i].Item())
	}
	p.Token = declarations.DeclarationsToken(items, pl.m.Generation)
}

func (pl *planner) enforcement() *pair {
	p := pl.plan
	url := pl.rule.DetailsURL
	if url == policy.DetailsSelf {
		if url = pl.m.SelfURL; url == "" {
			pl.leaveOut(CodeNoSelfPage, nil)
		}
	}
	r := p.Target
	if r.Kind == release.KindBSI {
		return &pair{declarations.Enforcement(declarations.IDBSI, string(r.Version), r.Build, p.Deadline, url), pl.b.bsiActivation}
	}
	build := ""
	if pl.rule.Mode == policy.ModeExact && pl.rule.Build != "" {
		build = r.Build
	}
	return &pair{declarations.Enforcement(declarations.IDOSUpdate, string(r.Version), build, p.Deadline, url), pl.b.osActivation}
}

// settings are those of the policy as far as the Mac supports them (rules 6.7).
func (pl *planner) settings(s *settings) *pair {
	f := &pl.m.Facts
	if s.full == nil {
		return nil
	}
	if pl.major < 15 || f.Capabilities.Known && !f.Capabilities.Settings {
		pl.leaveOut(CodeSettingsNotSupported, pl.evidence("macos"))
		return nil
	}
	if s.hasBeta && f.Version.Compare("15.4") < 0 {
		pl.leaveOut(CodeBetaNotSupported, pl.evidence("macos"))
		return s.noBeta
	}
	return s.full
}
