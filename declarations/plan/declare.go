package plan

import (
	"plimsoll/declarations"
	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
)

// needsInstaller is the word for what a Mac needs that neither declarations nor commands reach (rules 8).
const needsInstaller = "installer"

// gate tells whether the target can be told to this Mac (rules 6.7 and 14).
func (d *draft) gate(chosen *lane) {
	_, code := MechanismOf(&d.m.Facts, chosen.Lane)
	if d.plan.Gated = code; code != "" {
		d.leaveOut(code, d.mechanismEvidence(d.plan.Target))
	} else if other := d.lanes[Upgrade]; other != nil && other != chosen && other.Mechanism == ByInstaller {
		d.leaveOut(CodeNeedsInstaller, d.mechanismEvidence(other.Target))
	}
}

// mechanismEvidence is the evidence of why a target is not declared, with what the Mac needs.
func (d *draft) mechanismEvidence(target *release.Release) map[string]any {
	e := d.evidence("macos")
	e["version"], e["build"] = target.Version, target.Build
	if d.major < 14 && target.Kind == release.KindOS {
		e["needs"], e["mechanism"] = needsInstaller, "the macOS installer"
	}
	return e
}

// declare puts the declarations together, in the order of items, and their token.
func (d *draft) declare() {
	p, f := d.plan, &d.m.Facts
	var enforcement, settings, subscription *pair
	if p.Enforced() && p.Mechanism == ByDeclaration {
		enforcement = d.enforcement()
	}
	if d.rule != nil {
		p.LeftOut = append(p.LeftOut, d.rule.LeftOut...)
		if s := d.b.settings[d.rule]; s != nil {
			p.LeftOut = append(p.LeftOut, s.leftOut...)
			settings = d.settings(s)
		}
	}
	if d.b.Companion && !f.IsMac() {
		subscription = nil
	} else if f.Version != "" && d.major < 13 {
		d.leaveOut(CodeStatusNotSupported, map[string]any{"macos": f.Version})
	} else { // a Mac that has not told its version speaks this protocol, so it is at least on macOS 13
		subscription = d.b.subscription(f.Capabilities)
	}
	pairs := [...]*pair{enforcement, settings, subscription}
	p.Declarations = make([]declarations.Declaration, 0, 2*len(pairs))
	for _, pair := range pairs {
		if pair != nil {
			p.Declarations = append(p.Declarations, pair.activation)
		}
	}
	for _, pair := range pairs {
		if pair != nil {
			p.Declarations = append(p.Declarations, pair.configuration)
		}
	}
	var room [2 * len(pairs)]declarations.Item
	items := room[:0]
	for i := range p.Declarations {
		items = append(items, p.Declarations[i].Item())
	}
	p.Token = declarations.DeclarationsToken(items, d.m.Generation)
}

func (d *draft) enforcement() *pair {
	p := d.plan
	url := d.rule.DetailsURL
	if url == policy.DetailsSelf {
		if url = d.m.SelfURL; url == "" {
			d.leaveOut(CodeNoSelfPage, nil)
		}
	}
	r := p.Target
	if r.Kind == release.KindBSI {
		return &pair{declarations.Enforcement(declarations.IDBSI, string(r.Version), r.Build, p.Deadline, url), d.b.bsiActivation}
	}
	build := ""
	if d.rule.Mode == policy.ModeExact && d.rule.Build != "" {
		build = r.Build
	}
	return &pair{declarations.Enforcement(declarations.IDOSUpdate, string(r.Version), build, p.Deadline, url), d.b.osActivation}
}

// settings are those of the policy as far as the Mac supports them (rules 6.7).
func (d *draft) settings(s *settings) *pair {
	f := &d.m.Facts
	if s.full == nil {
		return nil
	}
	if d.major < 15 || f.Capabilities.Known && !f.Capabilities.Settings {
		d.leaveOut(CodeSettingsNotSupported, d.evidence("macos"))
		return nil
	}
	if s.hasBeta && f.Version.Compare("15.4") < 0 {
		d.leaveOut(CodeBetaNotSupported, d.evidence("macos"))
		return s.noBeta
	}
	return s.full
}
