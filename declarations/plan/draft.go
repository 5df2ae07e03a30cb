package plan

import (
	"cmp"
	"time"

	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
)

// draft is one plan in the making. Explain reads the same one.
type draft struct {
	input
	plan        *Plan
	governing   policy.Governing
	unknownRule *policy.Compiled // the policy of which it is not known whether it applies
	track       track
	satisfied   bool // the floor or the named version is reached
	enrolling   bool // the Mac is asked before it enrols, where a floor that is reached ends nothing (rules 15)
	lanes       [lanes]*lane
	worked      []*lane // the OS lanes before those without a use are dropped
}

// Plan works out what a Mac is told, and why (rules 6). It is pure: the same Book, Mac and now give the same bytes.
// now is truncated to whole seconds in what is remembered of it.
func (b *Book) Plan(m *Mac, now time.Time) *Plan { return b.draft(m, now, false).plan }

// draft plans; with every, the policies that lose are considered too.
func (b *Book) draft(m *Mac, now time.Time, every bool) *draft {
	d := &draft{input: b.look(m, now), plan: &Plan{Paused: b.Pause}}
	if f := &m.Facts; !f.IsMac() { // it is told its subscriptions and nothing else (rules 4)
		d.end(Unsupported, CodeNotAMac, map[string]any{"family": f.Family, "model": f.Model})
		d.declare()
		return d
	}
	d.governing = b.Govern(&m.Facts, every)
	d.unknownRule = d.governing.Unknown
	d.governedBy(d.governing.Rule)
	p, f := d.plan, &m.Facts
	p.MissingBSI = d.missingBSI()
	if d.rule != nil {
		p.Policy = d.rule.Stored
		if len(d.rule.Rings) > 0 {
			p.Ring = d.rule.Rings[d.ring].Name
		}
	}
	switch {
	case d.unknownRule == nil && d.rule == nil:
		d.end(Unmanaged, CodeNotGoverned, nil)
	case p.Paused != nil:
		e := map[string]any{"since_at": p.Paused.Since, "reason": p.Paused.Reason}
		if p.Paused.By != "" {
			e["by"] = p.Paused.By
		}
		d.end(Unmanaged, CodePaused, e)
	case d.unknownRule != nil:
		d.end(Unknown, CodeAssignmentUnknown, d.unknownEvidence())
	case d.rule.ManagesNothing() && b.settings[d.rule] == nil:
		d.end(Unmanaged, CodeNothingManaged, map[string]any{"policy": d.rule.Name})
	case f.Version == "" || f.Board == "":
		p.Outcome = Unknown
		if f.Version == "" {
			d.because(CodeVersionUnknown, nil)
		}
		if f.Board == "" {
			d.because(CodeBoardUnknown, d.evidence("model", "macos"))
		}
	default:
		d.decide()
	}
	d.declare()
	d.remember()
	p.NextAt = *d.next
	return d
}

// because adds a reason to the outcome.
func (d *draft) because(code string, evidence map[string]any) {
	d.plan.Reasons = append(d.plan.Reasons, reason(code, evidence))
}

func (d *draft) end(outcome Outcome, code string, evidence map[string]any) {
	d.plan.Outcome = outcome
	d.because(code, evidence)
}

func (d *draft) leaveOut(code string, evidence map[string]any) {
	d.plan.LeftOut = append(d.plan.LeftOut, reason(code, evidence))
}

func (d *draft) unknownEvidence() map[string]any {
	e := map[string]any{"policy": d.unknownRule.Name}
	if d.unknownRule.WhenError != "" {
		e["fault"] = d.unknownRule.WhenError
	}
	return e
}

// decide works out the lanes, and which of them is declared (rules 6.2 to 6.7, and 12).
func (d *draft) decide() {
	p := d.plan
	p.Outcome = Satisfied
	if d.rule.Mode != policy.ModeNone {
		d.planOS()
	}
	chosen := choose(d.lanes[Patch], d.lanes[Upgrade])
	if chosen != nil {
		d.takeDelay(chosen)
	}
	if d.rule.Mode == policy.ModeNone && !d.knowsMajor() {
		d.end(Unknown, CodeNotInCatalogue, d.evidence("board", "macos"))
	}
	if chosen == nil && d.rule.BSI {
		chosen = d.chooseBSI()
	}
	if chosen != nil && d.exempt(chosen) {
		return
	}
	for _, l := range d.lanes {
		if l != nil {
			p.Lanes = append(p.Lanes, l.LanePlan)
		}
	}
	if chosen == nil {
		return
	}
	if p.Outcome == Satisfied {
		p.Outcome = Targeted
		p.Reasons = nil
	}
	p.Lane, p.Target, p.Due, p.Deadline, p.Mechanism = chosen.Lane, chosen.Target, chosen.Due, chosen.Deadline, chosen.Mechanism
	p.Optional = chosen.Lane == BSI && !d.newestOfMajor(chosen.Target.Version)
	if d.gate(chosen); p.Gated != "" {
		p.Deadline = p.Due // nothing is declared, so nothing is promised: a fair deadline would move on with every day
	}
	if chosen.HeldBack != nil {
		d.leaveOut(CodeSwapRefused, map[string]any{"newer": name(chosen.HeldBack), "version": name(chosen.Target)})
	}
	if p.Mechanism == ByCommand {
		p.Zone = d.zone()
		p.Frozen = d.frozenAt(p.Zone)
	}
	if by := cmp.Or(chosen.MovedBy, p.Frozen); by != nil && p.Gated == "" {
		d.leaveOut(CodeFrozen, frozenEvidence(by, chosen.Own))
	}
}

// exempt tells whether an exemption keeps what would be asked from the Mac (rules 12).
func (d *draft) exempt(chosen *lane) bool {
	x := d.m.Exemption
	if x == nil || !d.now.Before(x.Until) {
		return false
	}
	d.wait(x.Until)
	e := map[string]any{
		"until":   x.Until.UTC().Format(time.RFC3339),
		"version": chosen.Target.Version,
		"build":   chosen.Target.Build,
	}
	for key, v := range map[string]string{"reason": x.Reason, "by": x.By, "letter": chosen.Target.Letter} {
		if v != "" {
			e[key] = v
		}
	}
	d.lanes = [lanes]*lane{}
	if d.plan.Outcome != Held { // a hold comes first, and the BSI beside it is not asked
		d.plan.Reasons = nil
		d.end(Exempt, CodeExempt, e)
	}
	return true
}

// planOS works out the two OS lanes in the order of rules 6.2, (a) to (e).
func (d *draft) planOS() {
	rule, v := d.rule, d.m.Facts.Version
	d.track = d.trackOf()
	track, wish := d.track.major, d.track.wish
	if track > 0 && d.major > track {
		d.aboveTrack()
		return
	}
	upgrade := track > d.major && (rule.Upgrade == policy.UpgradeEnforce || wish != nil)
	floor := d.floor(track, upgrade)
	d.satisfied = floor != "" && v.Compare(floor) >= 0
	if d.satisfied && !d.enrolling && (wish == nil || !upgrade || rule.Mode != policy.ModeMinimum || d.table == nil) {
		d.otherBuild()
		return
	}
	if !d.knowsMajor() && (!upgrade || d.table == nil) {
		d.end(Unknown, CodeNotInCatalogue, d.evidence("board", "macos"))
		return
	}
	if !d.mayReach(floor, upgrade) {
		e := d.evidence("policy", "macos")
		e["version"] = floor
		d.end(Satisfied, CodeUpgradeNotEnforced, e)
		return
	}
	if !d.satisfied || d.enrolling { // else only the upgrade that the user asked for is left to do
		d.work(d.planLane(Patch, d.major, floor, nil))
	}
	if upgrade {
		l := d.planLane(Upgrade, track, floor, wish)
		l.HeldBack = cmp.Or(d.track.late, l.HeldBack)
		d.work(l)
	}
	d.targetOS(floor)
}

// mayReach tells whether a lane's major is at or above the floor's; for exact, whether it is that of the named version
// (rules 6.2, (c)).
func (d *draft) mayReach(floor release.Version, upgrade bool) bool {
	top := d.major
	if upgrade {
		top = d.track.major
	}
	switch d.rule.Mode {
	case policy.ModeMinimum:
		return top >= floor.Major()
	case policy.ModeExact:
		return d.major == floor.Major() || top == floor.Major()
	}
	return true
}

func (d *draft) work(l *lane) {
	d.lanes[l.Lane] = l
	d.worked = append(d.worked, l)
}

// aboveTrack ends a plan for a Mac whose major is above the track. When the track is the latest and a release of its own major
// is only too
// young, that is why.
func (d *draft) aboveTrack() {
	if d.rule.Track == policy.AnyMajor {
		l := d.osLane(Patch, d.major, "", nil)
		for i := range l.list {
			if j := &l.list[i]; j.verdict == tooYoung || j.verdict == possible && d.tooYoungToUpgrade(j.r) {
				d.soaking(j)
				return
			}
		}
	}
	d.end(Satisfied, CodeAboveTrack, d.evidence("macos", "policy"))
}

func (d *draft) tooYoungToUpgrade(r *release.Release) bool {
	return d.oldEnough(&lane{LanePlan: LanePlan{Lane: Upgrade}}, r).After(d.now)
}

// soaking says that only its age keeps a release from being the target.
func (d *draft) soaking(j *judged) {
	age := d.minAge(Patch)
	if age == 0 || j.major > d.major {
		age = d.minAge(Upgrade)
	}
	d.because(CodeSoaking, map[string]any{
		"version": j.r.Version, "build": j.r.Build, "min_age_days": age, "from": (posted(j.r) + release.Day(age)).String(),
	})
}

// otherBuild notes that a Mac at the exact version has another build than the one named.
func (d *draft) otherBuild() {
	f := &d.m.Facts
	if d.rule.Mode == policy.ModeExact && d.rule.Build != "" && f.Build != "" && f.Build != d.rule.Build &&
		f.Version.Compare(d.rule.Exact) == 0 {
		e := d.evidence("macos", "macos_build", "policy")
		e["build"] = d.rule.Build
		d.because(CodeOtherBuild, e)
	}
}

// targetOS takes the OS lanes that have a use, or tells what it comes to when there is none (rules 6.2, (d) and (e)).
func (d *draft) targetOS(floor release.Version) {
	if d.rule.Mode != policy.ModeAutomatic && !d.satisfied && !d.reachable() {
		e := d.evidence("policy", "board", "macos")
		e["version"] = floor
		d.lanes = [lanes]*lane{}
		d.end(Unsupported, CodeUnsupported, e)
		return
	}
	reached := false
	var heldBy, young, shut *judged
	for _, l := range d.worked {
		reached = reached || l.Target != nil && l.satisfies(l.Target)
		if l.heldBy != nil && l.satisfies(l.heldBy.r) {
			heldBy = cmp.Or(heldBy, l.heldBy)
		}
		young, shut = cmp.Or(young, l.young), cmp.Or(shut, l.shut)
	}
	none := true
	for _, l := range d.worked {
		if l.Target == nil || reached && !l.satisfies(l.Target) {
			d.lanes[l.Lane] = nil
		}
		none = none && d.lanes[l.Lane] == nil
	}
	switch {
	case !none, d.satisfied:
	case heldBy != nil:
		d.end(Held, CodeHeld, heldEvidence(heldBy))
	case !d.knowsMajor():
		d.end(Unknown, CodeNotInCatalogue, d.evidence("board", "macos"))
	case young != nil:
		d.soaking(young)
	case shut != nil:
		d.because(CodeRingClosed, d.ringEvidence(shut))
	}
}

// reachable tells whether a lane has a release that satisfies the policy, held ones counted (rules 6.2, (d)).
func (d *draft) reachable() bool {
	for _, l := range d.worked {
		for i := range l.list {
			if j := &l.list[i]; (j.verdict == possible || j.verdict == held) && l.satisfies(j.r) {
				return true
			}
		}
	}
	return false
}

// chooseBSI is the BSI lane when it has a target (rules 6.6).
func (d *draft) chooseBSI() *lane {
	l := d.planBSI()
	if l == nil {
		return nil
	}
	if l.Target == nil {
		if l.heldBy != nil && d.plan.Outcome == Satisfied && d.newestOfMajor(l.heldBy.r.Version) {
			d.plan.Reasons = nil
			d.end(Held, CodeHeld, heldEvidence(l.heldBy))
		}
		return nil
	}
	d.lanes[BSI] = l
	return l
}

// remember works out what the lanes are once this plan is kept.
func (d *draft) remember() {
	p := d.plan
	now := d.now.Truncate(time.Second)
	for i, l := range d.lanes {
		p.NextLanes[i].Told = d.m.Lanes[i].Told
		if l == nil {
			continue // the obligation ends, and the promise with it
		}
		s := l.state
		if s.Told = l.told; s.Since.IsZero() {
			s.Since = now
		}
		s.Target = l.Target.Build
		switch {
		case p.Enforced() && p.Lane == l.Lane:
			if s.Told = l.Target.Build; !l.Now {
				s.Promise = l.Own
			}
			s.Renewed = s.Renewed || l.Renewed == RenewedNeverServed
			s.Returned = s.Returned || l.Renewed == RenewedReturned
		case l.Renewed == "":
		case l.Renewed == RenewedNeverServed && s.Served != 0:
			s.Promise, s.Renewed = l.Own, true // not later than what the Mac was told
		default:
			// The old promise is void, or the next sweep, which renews nothing, would declare this lane after all; and
			// none takes its place, because the Mac is not told of it.
			s.Promise = 0
			s.Returned = s.Returned || l.Renewed == RenewedReturned
		}
		p.NextLanes[i] = s
	}
}

// Offer is the upgrade that the user of a Mac may ask for now (os.upgrade self_service, rules 9), nil when there is none
// or it was asked for already. A Wish for it has the major of its version.
func (b *Book) Offer(m *Mac, now time.Time) *release.Release {
	in := b.look(m, now)
	in.governedBy(b.Govern(&m.Facts, false).Rule)
	if in.rule == nil || in.rule.Mode == policy.ModeNone || in.rule.Upgrade != policy.UpgradeSelfService || in.table == nil {
		return nil
	}
	t := in.trackOf()
	if t.wish != nil || t.major <= in.major {
		return nil
	}
	asked := *m
	asked.Wish = &Wish{Major: t.major, At: now}
	p := b.Plan(&asked, now)
	if !p.Enforced() || p.Lane != Upgrade {
		return nil
	}
	return p.Target
}
