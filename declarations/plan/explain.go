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
	pl := &planner{b: b, m: m, now: now.UTC(), trace: true}
	pl.run()
	return pl.plan, pl.explain()
}

func (pl *planner) explain() Explanation {
	p := pl.plan
	x := Explanation{
		Policies: []ExplainedPolicy{}, Lanes: []ExplainedLane{}, Releases: []ExplainedRelease{}, DeadlineWords: []string{}, Declarations: []ExplainedDocument{},
		Target: TargetOf(p.Target), DueLocal: LocalText(p.Due), DeadlineLocal: LocalText(p.Deadline),
		LeftOut: append([]policy.Reason{}, p.LeftOut...), Outcome: p.Outcome, Reasons: append([]policy.Reason{}, p.Reasons...),
	}
	if p.Policy != nil {
		x.Policy = &p.Policy.Name
	}
	for _, c := range pl.considered {
		x.Policies = append(x.Policies, pl.explainPolicy(c))
	}
	for i := range p.Lanes {
		l := &p.Lanes[i]
		x.Lanes = append(x.Lanes, ExplainedLane{
			Lane: l.Lane.String(), Target: TargetOf(l.Target), DueLocal: LocalText(l.Due), DueSetBy: TargetOf(l.DueSetBy),
			DeadlineLocal: LocalText(l.Deadline), PromiseLocal: LocalText(l.Promise),
		})
	}
	if p.Target != nil {
		x.DeadlineWords = pl.words()
	}
	if pl.table != nil {
		for i := range pl.table.os {
			x.Releases = append(x.Releases, pl.explainOS(&pl.table.os[i], i < pl.above))
		}
		for i := range pl.table.bsi {
			x.Releases = append(x.Releases, pl.explainBSI(&pl.table.bsi[i]))
		}
	}
	for i := range p.Declarations {
		x.Declarations = append(x.Declarations, explainDocument(&p.Declarations[i]))
	}
	return x
}

func (pl *planner) explainPolicy(c policy.Consideration) ExplainedPolicy {
	e := ExplainedPolicy{Name: c.Rule.Name, Priority: c.Rule.Priority, Applies: c.Applies, Won: c.Won, Why: c.Why}
	switch {
	case c.Won:
		e.Why += "; it has the highest priority of those that apply"
	case c.Rule == pl.unknownRule:
		e.Why += ", so no policy of a lower priority can govern the Mac either"
	case c.Applies && pl.rule != nil:
		e.Why += fmt.Sprintf(", but %s has a higher priority (%d)", pl.rule.Name, pl.rule.Priority)
	case c.Applies && pl.unknownRule != nil:
		e.Why += fmt.Sprintf(", but whether %s applies, which has a higher priority (%d), is not known", pl.unknownRule.Name, pl.unknownRule.Priority)
	}
	return e
}

// The roles of a release (docs/api.md 4).
const (
	roleTarget  = "target"
	roleMissed  = "missed"
	roleIgnored = "ignored"
)

func (pl *planner) explainOS(c *candidate, above bool) ExplainedRelease {
	e := ExplainedRelease{Version: string(c.r.Version), Build: c.r.Build, Role: roleIgnored}
	if pl.rule == nil || pl.rule.Mode == policy.ModeNone || pl.plan.Outcome == Unmanaged {
		e.Why = "updates are not managed"
		return e
	}
	if !above {
		if e.Why = "older than what the Mac runs"; c.r.Version.Compare(pl.m.Facts.Version) == 0 {
			e.Why = "the version that the Mac runs"
		}
		return e
	}
	e.Why = pl.outside(c)
	for _, l := range pl.worked {
		if role, due, why := pl.part(l, c); role != "" {
			e.Role, e.DueLocal, e.Why = role, LocalText(due), why
		}
	}
	return e
}

// outside tells why a release belongs to no lane.
func (pl *planner) outside(c *candidate) string {
	switch {
	case pl.satisfied:
		return "the Mac already satisfies the policy"
	case len(pl.worked) == 0:
		return "nothing is asked of the Mac"
	case c.major < pl.major:
		return "of an older major version"
	case pl.rule.Upgrade == policy.UpgradeSelfService:
		return "an upgrade that the user has not asked for"
	case pl.rule.Upgrade == policy.UpgradeHold || pl.rule.Track == 0:
		return "an upgrade that the policy does not ask for"
	}
	return "of a major version that is not the policy's track"
}

// part is what a release is to one lane: its role, when it is due, and why. An empty role: it is not of the lane.
func (pl *planner) part(l *lane, c *candidate) (role string, due declarations.Local, why string) {
	inList := false
	for i := range l.list {
		inList = inList || l.list[i].r == c.r
	}
	between := l.Lane == Upgrade && c.major > pl.major && c.major < l.major // majors that the upgrade passes by count as missed
	if !inList && !between {
		return "", 0, ""
	}
	if l.Target == c.r && l.Target != nil {
		if pl.lanes[l.Lane] != l {
			return roleIgnored, 0, "the newest of its lane, but it does not satisfy the policy, and another lane reaches what does"
		}
		why = "the newest release of the lane " + l.Lane.String() + " that may be installed"
		if pl.plan.Target == c.r {
			return roleTarget, pl.dueIn(l, c), why
		}
		why += "; the other lane has the earlier deadline and is declared first"
		if l.DueSetBy == nil {
			return roleIgnored, 0, why
		}
		return roleMissed, pl.dueIn(l, c), why
	}
	if l.HeldBack == c.r && l.HeldBack != nil {
		return roleIgnored, 0, "came within 24 hours before or 72 hours after the deadline, and does not replace the target now"
	}
	if l.Target != nil && pl.missed(c, l.Target) && pl.rule.Mode == policy.ModeAutomatic && l.wish == nil {
		why = "newer than what the Mac runs, and not above the target"
		if l.DueSetBy == c.r {
			why += "; it is due first and sets the due date"
		}
		if !c.r.Available {
			why += " (Apple does not offer it any more)"
		}
		return roleMissed, pl.dueIn(l, c), why
	}
	switch pl.verdict(l, c) {
	case withdrawn:
		return roleIgnored, 0, "Apple does not offer it any more"
	case notNamed:
		return roleIgnored, 0, "not the release that the policy names"
	case superseded:
		return roleIgnored, 0, "Apple offers a newer build of this version"
	case tooYoung:
		return roleIgnored, 0, fmt.Sprintf("younger than min_age_days (%d): a target from %s on", pl.rule.MinAgeDays, release.DayOf(pl.oldEnough(c.r)))
	case held:
		why = "held"
		if c.hold.Reason != "" {
			why += ": " + c.hold.Reason
		}
		return roleIgnored, 0, why
	}
	return roleIgnored, 0, "older than the target"
}

func (pl *planner) dueIn(l *lane, c *candidate) declarations.Local {
	switch {
	case l.wish != nil || pl.rule.Mode != policy.ModeAutomatic && l.Lane != BSI:
		return l.Due
	case l.Lane == BSI:
		return dueAt(posted(c.r), pl.rule.BSIWithinDays, pl.rule.BSITime)
	}
	due, _ := pl.dueOf(l, c)
	return due
}

func (pl *planner) explainBSI(c *candidate) ExplainedRelease {
	e := ExplainedRelease{Version: string(c.r.Version), Build: c.r.Build, Letter: c.r.Letter, Role: roleIgnored}
	build, letter := pl.has()
	switch l := pl.lanes[BSI]; {
	case c.r.PrerequisiteBuild != build:
		e.Why = "for the base build " + c.r.PrerequisiteBuild + ", which the Mac does not run"
	case c.r.Letter <= letter:
		e.Why = "installed, or older than the one that is"
	case l != nil && l.Target == c.r:
		e.Role, e.DueLocal, e.Why = roleTarget, LocalText(pl.dueIn(l, c)), "the newest Background Security Improvement for the Mac's build"
	case l != nil && l.HeldBack == c.r:
		e.Why = "came within 24 hours before or 72 hours after the deadline, and does not replace the target now"
	case l != nil && pl.missed(c, l.Target):
		e.Role, e.DueLocal, e.Why = roleMissed, LocalText(pl.dueIn(l, c)), "above what the Mac has, and not above the target"
	case pl.rule == nil || !pl.rule.BSI || pl.plan.Outcome == Unmanaged:
		e.Why = "Background Security Improvements are not enforced"
	case l == nil && pl.plan.Target != nil:
		e.Why = "an update of macOS is the target, and comes first"
	case !c.r.Available:
		e.Why = "Apple does not offer it any more"
	case c.held(pl.now):
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

// words tell the arithmetic of the deadline that is declared.
func (pl *planner) words() []string {
	l := pl.lanes[pl.plan.Lane]
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	switch {
	case l.wish != nil:
		say("The user asked for this upgrade at %s: the deadline is that moment as UTC-12 reads it, %s, which is past everywhere, so macOS installs it within about an hour.", l.wish.At.UTC().Format(time.RFC3339), l.Own)
	case l.DueSetBy == nil:
		say("The policy's own deadline is %s, so that is the due date.", l.Due)
	default:
		say("macOS %s was posted on %s and is due %s after %s: %s.", name(l.DueSetBy), posted(l.DueSetBy), days(l.DueDays), pl.countedFrom(l), l.Due)
		if l.DueSetBy != l.Target {
			say("It is the missed release that is due first. The target, macOS %s, does not postpone it.", name(l.Target))
		}
	}
	switch {
	case pl.plan.Gated != "":
		say("Nothing of it is declared to this Mac, so no deadline is promised to it.")
	case l.wish == nil:
		pl.noticeWords(l, say)
	}
	if l.Delayed {
		say("The user delayed it: the deadline is %s.", l.Deadline)
	}
	if patch, upgrade := pl.lanes[Patch], pl.lanes[Upgrade]; patch != nil && upgrade != nil {
		other := patch
		if l == patch {
			other = upgrade
		}
		say("Of the lanes patch and upgrade the one with the earlier deadline is declared, when equal the upgrade: the lane %s (%s), not the lane %s (%s).", l.Lane, l.Own, other.Lane, other.Own)
	}
	return out
}

// countedFrom names the day that the due date is counted from.
func (pl *planner) countedFrom(l *lane) string {
	if l.Lane == Upgrade {
		if since := pl.rule.Since(l.DueSetBy.Version.Major()); !since.IsZero() && release.DayOf(since) > posted(l.DueSetBy) {
			return fmt.Sprintf("%s, when the policy began to ask for macOS %d", release.DayOf(since), l.DueSetBy.Version.Major())
		}
	}
	return "that"
}

func days(n int) string {
	if n == 1 {
		return "1 day"
	}
	return fmt.Sprintf("%d days", n)
}

func (pl *planner) noticeWords(l *lane, say func(string, ...any)) {
	notice := pl.rule.NoticeDays
	if l.DueSetBy != nil {
		notice = min(notice, l.DueDays)
	}
	switch {
	case l.Renewed == RenewedReturned:
		say("The Mac was promised %s, which had passed when it came back from more than 7 days of silence, so it is told anew.", l.Promise)
	case l.Renewed == RenewedNeverServed:
		say("The Mac was promised %s but never fetched that, and less than 24 hours are left, so it is told anew.", l.Promise)
	}
	switch {
	case l.Fair == 0:
		say("The Mac was promised %s, not later than the due date, so the deadline is the due date.", l.Promise)
	case l.Own == l.Due && l.Fair <= l.Due:
		say("That leaves the Mac the notice of %s that it is promised at least (fair: %s), so the deadline is the due date.", days(notice), l.Fair)
	case l.Own == l.Fair:
		say("With a notice of %s from now, read where every clock arrives first, the earliest fair deadline is %s, and that is the deadline.", days(notice), l.Fair)
	case l.Own == l.Promise:
		say("The Mac was already promised %s, and that does not move later (fair from now would be %s), so it stays the deadline.", l.Promise, l.Fair)
	default:
		say("The deadline is %s: never later than what the Mac was told last.", l.Own)
	}
}
