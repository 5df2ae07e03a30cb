package policy

import (
	"github.com/expr-lang/expr/vm"

	"plimsoll/declarations/release"
)

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

// consideration is what became of one policy.
type consideration struct {
	rule                *rule
	applies, known, won bool
	why                 string
}
