package plan

import (
	"cmp"
	"time"

	"plimsoll/declarations"
	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
)

// planner works out one plan. Explain uses the same one, with a trace.
type planner struct {
	b         *Book
	m         *Mac
	now       time.Time
	plan      *Plan
	rule      *policy.Compiled // governs; nil when none does
	table     *table           // of the Mac's board; nil when the catalogue does not know it
	major     int              // the Mac's own
	satisfied bool             // the floor or the named version is reached
	above     int              // how many entries of table.os are newer than what the Mac runs
	lateMajor *release.Release // of a major that came too late to be the track's now

	unknownRule *policy.Compiled // the policy of which it is not known whether it applies
	lanes       [lanes]*lane
	worked      []*lane                // the OS lanes before those without a use are dropped, when a trace is wanted
	considered  []policy.Consideration // every policy, when a trace is wanted
	trace       bool
}

// Plan works out what a Mac is told, and why (rules 6). It is pure: the same Book, Mac and now give the same bytes.
// now is truncated to whole seconds in what is remembered of it.
func (b *Book) Plan(m *Mac, now time.Time) *Plan {
	pl := &planner{b: b, m: m, now: now.UTC()}
	pl.run()
	return pl.plan
}

func (pl *planner) run() {
	pl.plan = &Plan{Paused: pl.b.Pause}
	pl.look()
	pl.govern()
	pl.plan.MissingBSI = pl.missingBSI()
	p, f := pl.plan, &pl.m.Facts
	switch {
	case pl.unknownRule == nil && pl.rule == nil:
		pl.end(Unmanaged, CodeNotGoverned, nil)
	case p.Paused != nil:
		e := map[string]any{"since_at": p.Paused.Since, "reason": p.Paused.Reason}
		if p.Paused.By != "" {
			e["by"] = p.Paused.By
		}
		pl.end(Unmanaged, CodePaused, e)
	case pl.unknownRule != nil:
		pl.end(Unknown, CodeAssignmentUnknown, pl.unknownEvidence())
	case pl.rule.ManagesNothing() && pl.b.settings[pl.rule] == nil:
		pl.end(Unmanaged, CodeNothingManaged, map[string]any{"policy": pl.rule.Name})
	case f.Version == "" || f.Board == "":
		p.Outcome = Unknown
		if f.Version == "" {
			pl.because(CodeVersionUnknown, nil)
		}
		if f.Board == "" {
			pl.because(CodeBoardUnknown, pl.evidence("model", "macos"))
		}
	default:
		pl.decide()
	}
	pl.declare()
	pl.remember()
}

// govern finds the policy that governs the Mac.
func (pl *planner) govern() {
	g := pl.b.Govern(&pl.m.Facts, pl.trace)
	pl.unknownRule, pl.considered = g.Unknown, g.Considered
	if pl.rule = g.Rule; pl.rule != nil {
		pl.plan.Policy = g.Rule.Stored
	}
}

// look finds what there is for the Mac's board.
func (pl *planner) look() {
	f := &pl.m.Facts
	pl.major = f.Version.Major()
	if f.Board == "" {
		return
	}
	if pl.table = pl.b.tables[f.Board]; pl.table == nil || f.Version == "" {
		return
	}
	// Entries are newest first: a binary search for the first that is not newer.
	lo, hi := 0, len(pl.table.os)
	for lo < hi {
		mid := (lo + hi) / 2
		if pl.table.os[mid].r.Version.Compare(f.Version) > 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	pl.above = lo
}

// because adds a reason to the outcome.
func (pl *planner) because(code string, evidence map[string]any) {
	pl.plan.Reasons = append(pl.plan.Reasons, reason(code, evidence))
}

func (pl *planner) end(outcome Outcome, code string, evidence map[string]any) {
	pl.plan.Outcome = outcome
	pl.because(code, evidence)
}

func (pl *planner) leaveOut(code string, evidence map[string]any) {
	pl.plan.LeftOut = append(pl.plan.LeftOut, reason(code, evidence))
}

// evidence gives the Mac's own facts by their keys, as far as they are known.
func (pl *planner) evidence(keys ...string) map[string]any {
	f, e := &pl.m.Facts, map[string]any{}
	for _, k := range keys {
		var v string
		switch k {
		case "macos":
			v = string(f.Version)
		case "macos_build":
			v = f.Build
		case "board":
			v = f.Board
		case "model":
			v = f.Model
		case "policy":
			v = pl.rule.Name
		}
		if v != "" {
			e[k] = v
		}
	}
	return e
}

func (pl *planner) unknownEvidence() map[string]any {
	e := map[string]any{"policy": pl.unknownRule.Name}
	if pl.unknownRule.WhenError != "" {
		e["fault"] = pl.unknownRule.WhenError
	}
	return e
}

// decide works out the lanes, and which of them is declared (rules 6.2 to 6.6).
func (pl *planner) decide() {
	p := pl.plan
	p.Outcome = Satisfied
	if pl.rule.Mode != policy.ModeNone {
		pl.planOS()
	}
	chosen := pl.choose()
	if pl.rule.Mode == policy.ModeNone && !pl.knowsMajor() {
		pl.end(Unknown, CodeNotInCatalogue, pl.evidence("board", "macos"))
	}
	if chosen == nil && pl.rule.BSI {
		pl.planBSI()
		chosen = pl.lanes[BSI]
	}
	for _, l := range pl.lanes {
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
	p.Lane, p.Target, p.Due, p.Deadline = chosen.Lane, chosen.Target, chosen.Due, chosen.Deadline
	p.Optional = chosen.Lane == BSI && !pl.newestOfMajor(chosen.Target.Version)
	if pl.gate(); p.Gated != "" {
		p.Deadline = p.Due // nothing is declared, so nothing is promised: a fair deadline would move on with every day
	}
	if chosen.HeldBack != nil {
		pl.leaveOut(CodeSwapRefused, map[string]any{"newer": name(chosen.HeldBack), "version": name(chosen.Target)})
	}
}

// choose takes the one OS lane that is declared, and the user's delay of it (rules 6.5).
func (pl *planner) choose() *lane {
	patch, upgrade := pl.lanes[Patch], pl.lanes[Upgrade]
	chosen := cmp.Or(patch, upgrade)
	if patch != nil && upgrade != nil && upgrade.Deadline <= patch.Deadline {
		chosen = upgrade
	}
	if chosen != nil {
		pl.delay(chosen)
	}
	return chosen
}

func (pl *planner) delay(l *lane) {
	if until := pl.delayed(l); until > l.Deadline {
		l.Deadline, l.Delayed = until, true
	}
}

// delayed is what the user delayed the lane's obligation to, 0 when he did not.
func (pl *planner) delayed(l *lane) declarations.Local {
	if d := pl.m.Delayed; d != nil && d.Lane == l.Lane && !l.state.Since.IsZero() && d.Since.Equal(l.state.Since) {
		return d.Until
	}
	return 0
}

// remember works out what the lanes are once this plan is kept, and keeps what is waited for in order.
func (pl *planner) remember() {
	p := pl.plan
	now := pl.now.Truncate(time.Second)
	for i, l := range pl.lanes {
		if l == nil {
			continue // the obligation ends, and the promise with it
		}
		s := l.state
		if s.Since.IsZero() {
			s.Since = now
		}
		s.Target = l.Target.Build
		switch {
		case p.Enforced() && p.Lane == l.Lane:
			s.Promise = l.Own
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

// MarkServed is what the lanes are once the declarations of p, whose lanes are s, were served to the Mac (rules 6.4).
func (s LaneStates) MarkServed(p *Plan) LaneStates {
	if !p.Enforced() {
		return s
	}
	l, planned := &s[p.Lane], &p.NextLanes[p.Lane]
	if l.Since.Equal(planned.Since) && planned.Promise != 0 {
		l.Served = planned.Promise
		l.Renewed = l.Renewed && l.Promise != planned.Promise
	}
	return s
}

// wait notes an instant at which the plan may change by the passing of time alone.
func (pl *planner) wait(at time.Time) {
	if at.After(pl.now) {
		pl.plan.NextAt = earlier(pl.plan.NextAt, at)
	}
}
