package plan

import (
	"encoding/json"
	"fmt"
	"time"

	"plimsoll/declarations"
	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
)

// Explain is Plan together with its explanation. The same code decides; Explain only asks it more questions.
func (b *Book) Explain(m *Mac, now time.Time) (*Plan, Explanation) {
	d := b.draft(m, now, true)
	return d.plan, d.explain()
}

func (d *draft) explain() Explanation {
	p := d.plan
	x := Explanation{
		Policies: []ExplainedPolicy{}, Lanes: []ExplainedLane{}, Releases: []ExplainedRelease{}, DeadlineWords: []string{},
		Declarations: []ExplainedDocument{},
		Target:       TargetOf(p.Target), DueLocal: LocalText(p.Due), DeadlineLocal: LocalText(p.Deadline),
		LeftOut: append([]policy.Reason{}, p.LeftOut...), Outcome: p.Outcome, Reasons: append([]policy.Reason{}, p.Reasons...),
	}
	if p.Policy != nil {
		x.Policy = &p.Policy.Name
	}
	for _, c := range d.governing.Considered {
		x.Policies = append(x.Policies, d.explainPolicy(c))
	}
	for i := range p.Lanes {
		l := &p.Lanes[i]
		x.Lanes = append(x.Lanes, ExplainedLane{
			Lane: l.Lane.String(), Target: TargetOf(l.Target), DueLocal: LocalText(l.Due), DueSetBy: TargetOf(l.DueSetBy),
			SlotLocal: LocalText(l.Slot), SlotSetBy: TargetOf(l.SlotSetBy),
			DeadlineLocal: LocalText(l.Deadline), PromiseLocal: LocalText(l.Promise),
		})
	}
	if p.Target != nil {
		x.DeadlineWords = d.words()
	}
	x.Ring = d.explainRing()
	if d.table != nil {
		for i := range d.table.os {
			x.Releases = append(x.Releases, d.explainOS(&d.table.os[i], i < d.above))
		}
		for i := range d.table.bsi {
			x.Releases = append(x.Releases, d.explainBSI(&d.table.bsi[i]))
		}
	}
	for i := range p.Declarations {
		x.Declarations = append(x.Declarations, explainDocument(&p.Declarations[i]))
	}
	return x
}

func (d *draft) explainPolicy(c policy.Consideration) ExplainedPolicy {
	e := ExplainedPolicy{Name: c.Rule.Name, Priority: c.Rule.Priority, Applies: c.Applies, Won: c.Won, Why: c.Why}
	switch {
	case c.Won:
		e.Why += "; it has the highest priority of those that apply"
	case c.Rule == d.unknownRule:
		e.Why += ", so no policy of a lower priority can govern the Mac either"
	case c.Applies && d.rule != nil:
		e.Why += fmt.Sprintf(", but %s has a higher priority (%d)", d.rule.Name, d.rule.Priority)
	case c.Applies && d.unknownRule != nil:
		e.Why += fmt.Sprintf(", but whether %s applies, which has a higher priority (%d), is not known", d.unknownRule.Name,
			d.unknownRule.Priority)
	}
	return e
}

// The roles of a release (docs/api.md 4).
const (
	roleTarget  = "target"
	roleMissed  = "missed"
	roleIgnored = "ignored"
)

func (d *draft) explainOS(c *candidate, above bool) ExplainedRelease {
	e := ExplainedRelease{Version: string(c.r.Version), Build: c.r.Build, Role: roleIgnored}
	if d.rule == nil || d.rule.Mode == policy.ModeNone || d.plan.Outcome == Unmanaged {
		e.Why = "updates are not managed"
		return e
	}
	if !above {
		if e.Why = "older than what the Mac runs"; c.r.Version.Compare(d.m.Facts.Version) == 0 {
			e.Why = "the version that the Mac runs"
		}
		return e
	}
	e.Why = d.outside(c)
	for _, l := range d.worked {
		if role, due, why := d.part(l, c); role != "" {
			e.Role, e.DueLocal, e.Why = role, LocalText(due), why
		}
	}
	return e
}

// outside tells why a release belongs to no lane.
func (d *draft) outside(c *candidate) string {
	switch {
	case d.satisfied:
		return "the Mac already satisfies the policy"
	case len(d.worked) == 0:
		return "nothing is asked of the Mac"
	case c.major < d.major:
		return "of an older major version"
	case d.rule.Upgrade == policy.UpgradeSelfService:
		return "an upgrade that the user has not asked for"
	case d.rule.Upgrade == policy.UpgradeHold || d.rule.Track == 0:
		return "an upgrade that the policy does not ask for"
	}
	return "of a major version that is not the policy's track"
}

// part is what a release is to one lane: its role, when it is due, and why. An empty role: it is not of the lane.
func (d *draft) part(l *lane, c *candidate) (role string, due declarations.Local, why string) {
	var judged *judged
	for i := range l.list {
		if l.list[i].r == c.r {
			judged = &l.list[i]
		}
	}
	between := l.Lane == Upgrade && c.major > d.major && c.major < l.major // majors that the upgrade passes by count as missed
	switch {
	case judged == nil && !between:
		return "", 0, ""
	case l.Target == c.r && l.Target != nil:
		return d.targetPart(l, c)
	case l.HeldBack == c.r && l.HeldBack != nil:
		return roleIgnored, 0, "came within 24 hours before or 72 hours after the deadline, and does not replace the target now"
	case l.Target != nil && d.missed(l, c, l.Target) && d.rule.Mode == policy.ModeAutomatic && l.wish == nil:
		why = "newer than what the Mac runs, and not above the target"
		if l.DueSetBy == c.r {
			why += "; it is due first and sets the due date"
		}
		if !c.r.Available {
			why += " (Apple does not offer it any more)"
		}
		return roleMissed, d.dueIn(l, c), why
	case judged == nil:
		return roleIgnored, 0, "of a major version that the upgrade passes by"
	}
	return roleIgnored, 0, d.ignored(l, judged)
}

func (d *draft) targetPart(l *lane, c *candidate) (role string, due declarations.Local, why string) {
	if d.lanes[l.Lane] != l {
		if d.plan.Outcome == Exempt {
			return roleIgnored, 0, "the Mac is exempt"
		}
		return roleIgnored, 0, "the newest of its kind, but it does not satisfy the policy, and another kind of update does"
	}
	why = "the newest " + laneWords[l.Lane] + " that may be installed"
	if d.plan.Target == c.r {
		return roleTarget, d.dueIn(l, c), why
	}
	why += "; the other kind of update has the earlier deadline and is declared first"
	if l.DueSetBy == nil {
		return roleIgnored, 0, why
	}
	return roleMissed, d.dueIn(l, c), why
}

// ignored tells why a release of a lane is neither its target nor missed.
func (d *draft) ignored(l *lane, j *judged) string {
	switch j.verdict {
	case withdrawn:
		return "Apple does not offer it any more"
	case notNamed:
		return "not the release that the policy names"
	case superseded:
		return "Apple offers a newer build of this version"
	case tooYoung:
		return fmt.Sprintf(
			"younger than min_age_days (%d): a target from %s on",
			d.minAge(l.Lane),
			release.DayOf(d.oldEnough(l, j.r)),
		)
	case closed:
		return "not open for the Mac's ring yet: " + openingWords(j.opening)
	case held:
		if j.hold.Reason != "" {
			return "held: " + j.hold.Reason
		}
		return "held"
	}
	return "older than the target"
}

// openingWords tell what a release that is closed for a ring waits for.
func openingWords(o opening) string {
	if o.halted {
		return "the gate halts it"
	}
	return fmt.Sprintf("it opens when the rings before it went well, and on %s at the latest", release.DayOf(o.at))
}

func (d *draft) dueIn(l *lane, c *candidate) declarations.Local {
	if l.wish != nil || d.rule.Mode != policy.ModeAutomatic && l.Lane != BSI {
		return l.Due
	}
	return d.dueOf(l, c.r).at
}

func (d *draft) explainBSI(c *candidate) ExplainedRelease {
	e := ExplainedRelease{Version: string(c.r.Version), Build: c.r.Build, Letter: c.r.Letter, Role: roleIgnored}
	build, letter := d.has()
	switch l := d.lanes[BSI]; {
	case c.r.PrerequisiteBuild != build:
		e.Why = "for the base build " + c.r.PrerequisiteBuild + ", which the Mac does not run"
	case c.r.Letter <= letter:
		e.Why = "installed, or older than the one that is"
	case l != nil && l.Target == c.r:
		e.Role, e.DueLocal, e.Why = roleTarget, LocalText(d.dueIn(l, c)), "the newest Background Security Improvement for the "+
			"Mac's build"
	case l != nil && l.HeldBack == c.r:
		e.Why = "came within 24 hours before or 72 hours after the deadline, and does not replace the target now"
	case l != nil && d.missed(l, c, l.Target):
		e.Role, e.DueLocal, e.Why = roleMissed, LocalText(d.dueIn(l, c)), "above what the Mac has, and not above the target"
	case d.rule == nil || !d.rule.BSI || d.plan.Outcome == Unmanaged:
		e.Why = "Background Security Improvements are not enforced"
	case l == nil && d.plan.Target != nil:
		e.Why = "an update of macOS is the target, and comes first"
	case !c.r.Available:
		e.Why = "Apple does not offer it any more"
	case c.held(d.now):
		e.Why = "held"
	default:
		e.Why = "nothing is asked of the Mac"
	}
	return e
}

func explainDocument(d *declarations.Declaration) ExplainedDocument {
	var body struct{ Payload any }
	_ = json.Unmarshal(d.Body, &body) // our own canonical JSON
	return ExplainedDocument{Identifier: d.Identifier, Type: d.Type, ServerToken: d.ServerToken, Payload: body.Payload}
}

// laneWords are the lanes as people call them.
var laneWords = [...]string{"update within its macOS", "upgrade", "Background Security Improvement"}
