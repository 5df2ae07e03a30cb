package policy

import (
	"cmp"
	"time"

	"github.com/expr-lang/expr/vm"

	"plimsoll/declarations"
	"plimsoll/declarations/release"
)

// planner works out one plan. Explain uses the same one, with a trace.
type planner struct {
	b         *Book
	m         *Mac
	now       time.Time
	plan      *Plan
	rule      *rule  // governs; nil when none does
	table     *table // of the Mac's board; nil when the catalogue does not know it
	major     int    // the Mac's own
	satisfied bool   // the floor or the named version is reached
	above     int    // how many entries of table.os are newer than what the Mac runs

	unknownRule *rule // the policy of which it is not known whether it applies
	lanes       [lanes]*lane
	worked      []*lane // the OS lanes before those without a use are dropped, when a trace is wanted
	environment *env
	considered  []consideration // every policy, when a trace is wanted
	trace       bool
}

// Plan works out what a Mac is told, and why (rules.md 6). It is pure: the same Book, Mac and now give the same bytes.
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
	case pl.rule.ManagesNothing() && pl.rule.settings == nil:
		pl.end(Unmanaged, CodeNothingManaged, map[string]any{"policy": pl.rule.stored.Name})
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

// govern finds the policy that governs the Mac: of those that apply to it the one with the highest priority (rules.md 5).
func (pl *planner) govern() {
	groups := pl.b.groupsOf(&pl.m.Facts)
	for _, r := range pl.b.rules {
		applies, known, why := pl.applies(r, groups)
		decided := pl.rule != nil || pl.unknownRule != nil
		if pl.trace {
			pl.considered = append(pl.considered, consideration{r, applies, known, !decided && applies && known, why})
		}
		if decided || known && !applies {
			continue
		}
		if known {
			pl.rule, pl.plan.Policy = r, r.stored
		} else {
			pl.unknownRule = r
		}
		if !pl.trace {
			return
		}
	}
}

// The reasons why a policy does or does not apply, as Explain says them.
const (
	whyEvery      = "applies to every Mac"
	whyGroup      = "the Mac is in a group of the policy"
	whyNoGroup    = "the Mac is in none of the policy's groups"
	whyExcluded   = "the Mac is in a group that the policy excludes"
	whyNotWhen    = "the expression in when is false for the Mac"
	whyWhen       = "the expression in when is true for the Mac"
	whyNotKnown   = "the expression in when needs a fact that is not known yet"
	whyWhenBroken = "the expression in when does not resolve any more"
)

func (pl *planner) applies(r *rule, groups []int) (applies, known bool, why string) {
	why = whyEvery
	if !r.everyGroup {
		if why = whyGroup; !share(groups, r.groups) {
			return false, true, whyNoGroup
		}
	}
	if share(groups, r.exclude) {
		return false, true, whyExcluded
	}
	if r.whenError != "" {
		return false, false, whyWhenBroken
	}
	if r.when == nil {
		return true, true, why
	}
	machine := pl.b.machines.Get().(*vm.VM)
	applies, known = runWhen(machine, r.when, pl.env())
	pl.b.machines.Put(machine)
	switch {
	case !known:
		return false, false, whyNotKnown
	case !applies:
		return false, true, whyNotWhen
	}
	return true, true, whyWhen
}

func share(a, b []int) bool {
	for _, x := range a {
		for _, y := range b {
			if x == y {
				return true
			}
		}
	}
	return false
}

// env is what expressions see of the Mac; it is made when the first is evaluated.
func (pl *planner) env() *env {
	if pl.environment == nil {
		f := &pl.m.Facts
		e := &env{
			Serial: f.Serial, Name: f.Name, Model: f.Model, Board: f.Board, Groups: pl.b.GroupsOf(f), Major: pl.major,
			Version: macVersion{f.Version}, Build: f.Build, Letter: release.NormalLetter(f.Letter), BootstrapToken: f.BootstrapToken,
		}
		if f.Version == "" {
			e.Letter = unknownLetter
		}
		if pl.table != nil {
			e.MaxMajor = pl.table.maxMajor
		}
		pl.environment = e
	}
	return pl.environment
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
			v = pl.rule.stored.Name
		}
		if v != "" {
			e[k] = v
		}
	}
	return e
}

func (pl *planner) unknownEvidence() map[string]any {
	e := map[string]any{"policy": pl.unknownRule.stored.Name}
	if pl.unknownRule.whenError != "" {
		e["fault"] = pl.unknownRule.whenError
	}
	return e
}

// decide works out the lanes, and which of them is declared (rules.md 6.2 to 6.6).
func (pl *planner) decide() {
	p := pl.plan
	p.Outcome = Satisfied
	if pl.rule.Mode != ModeNone {
		pl.planOS()
	}
	chosen := pl.choose()
	if chosen == nil && pl.rule.BSI {
		if pl.rule.Mode == ModeNone && !pl.knowsMajor() {
			pl.end(Unknown, CodeNotInCatalogue, pl.evidence("board", "macos"))
		}
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
	pl.gate()
	if chosen.HeldBack != nil {
		pl.leaveOut(CodeSwapRefused, map[string]any{"newer": name(chosen.HeldBack), "version": name(chosen.Target)})
	}
}

// choose takes the one OS lane that is declared, and the user's delay of it (rules.md 6.5).
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
	if d := pl.m.Delayed; d != nil && d.Lane == l.Lane && !l.state.Since.IsZero() && d.Since.Equal(l.state.Since) && d.Until > l.Deadline {
		l.Deadline, l.Delayed = d.Until, true
	}
}

// The mechanisms that Macs before macOS 14 need (rules.md 8).
const (
	mechanismCommand   = "mdm_command"
	mechanismInstaller = "installer"
)

// gate tells whether the target can be declared to this macOS (rules.md 6.7).
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

// MarkServed is what the lanes are once the declarations of p, whose lanes are s, were served to the Mac (rules.md 6.4).
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

// declare puts the declarations together, in the order of items, and their token.
func (pl *planner) declare() {
	p, f := pl.plan, &pl.m.Facts
	var enforcement, settings, subscription *pair
	if p.Enforced() {
		enforcement = pl.enforcement()
	}
	if pl.rule != nil {
		p.LeftOut = append(p.LeftOut, pl.rule.leftOut...)
		settings = pl.settings()
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
	url := pl.rule.stored.DetailsURL
	if url == DetailsSelf {
		if url = pl.m.SelfURL; url == "" {
			pl.leaveOut(CodeNoSelfPage, nil)
		}
	}
	r := p.Target
	if r.Kind == release.KindBSI {
		return &pair{declarations.Enforcement(declarations.IDBSI, string(r.Version), r.Build, p.Deadline, url), pl.b.bsiActivation}
	}
	build := ""
	if pl.rule.Mode == ModeExact && pl.rule.Build != "" {
		build = r.Build
	}
	return &pair{declarations.Enforcement(declarations.IDOSUpdate, string(r.Version), build, p.Deadline, url), pl.b.osActivation}
}

// settings are those of the policy as far as the Mac supports them (rules.md 6.7).
func (pl *planner) settings() *pair {
	f := &pl.m.Facts
	if pl.rule.settings == nil {
		return nil
	}
	if pl.major < 15 || f.Capabilities.Known && !f.Capabilities.Settings {
		pl.leaveOut(CodeSettingsNotSupported, pl.evidence("macos"))
		return nil
	}
	if pl.rule.hasBeta && f.Version.Compare("15.4") < 0 {
		pl.leaveOut(CodeBetaNotSupported, pl.evidence("macos"))
		return pl.rule.settingsNoBeta
	}
	return pl.rule.settings
}

// consideration is what became of one policy.
type consideration struct {
	rule                *rule
	applies, known, won bool
	why                 string
}
