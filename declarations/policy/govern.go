package policy

import (
	"github.com/expr-lang/expr/vm"

	"plimsoll/declarations/release"
	"plimsoll/status"
)

// Governing tells which policy governs a Mac.
type Governing struct {
	// Rule governs; nil when none does, or when it is not known which.
	Rule *Compiled
	// Unknown is the policy of which it is not known whether it applies; nil if there is none.
	Unknown *Compiled
	// Considered has every policy, highest priority first, when they were asked for.
	Considered []Consideration
}

// Consideration is what became of one policy.
type Consideration struct {
	Rule         *Compiled
	Applies, Won bool
	Why          string // a clause without a full stop
}

// Govern finds the policy that governs a Mac: of those that apply to it the one with the highest priority (rules 5). With
// every, the
// policies that lose are considered too.
func (b *Book) Govern(f *status.Facts, every bool) Governing {
	var g Governing
	a := assignment{b: b, f: f, groups: b.groupsOf(f)}
	for _, r := range b.Rules {
		applies, known, why := a.applies(r)
		decided := g.Rule != nil || g.Unknown != nil
		if every {
			g.Considered = append(g.Considered, Consideration{r, applies, !decided && applies && known, why})
		}
		if decided || known && !applies {
			continue
		}
		if known {
			g.Rule = r
		} else {
			g.Unknown = r
		}
		if !every {
			break
		}
	}
	return g
}

// The reasons why a policy does or does not apply.
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

// assignment asks of one Mac which policies apply to it.
type assignment struct {
	b      *Book
	f      *status.Facts
	groups []int
	env    *env // made when the first expression is evaluated
}

func (a *assignment) applies(r *Compiled) (applies, known bool, why string) {
	why = whyEvery
	if !r.everyGroup {
		if why = whyGroup; !share(a.groups, r.groups) {
			return false, true, whyNoGroup
		}
	}
	if share(a.groups, r.exclude) {
		return false, true, whyExcluded
	}
	if r.WhenError != "" {
		return false, false, whyWhenBroken
	}
	if r.when == nil {
		return true, true, why
	}
	if a.env == nil {
		a.env = a.b.envOf(a.f)
	}
	machine := a.b.machines.Get().(*vm.VM)
	applies, known = runWhen(machine, r.when, a.env)
	a.b.machines.Put(machine)
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

// envOf is what expressions see of a Mac.
func (b *Book) envOf(f *status.Facts) *env {
	e := &env{
		Serial: f.Serial, Name: f.Name, Model: f.Model, Board: f.Board, Groups: b.GroupsOf(f), Major: f.Version.Major(),
		Version: macVersion{f.Version}, Build: f.Build, Letter: release.NormalLetter(f.Letter), BootstrapToken: f.BootstrapToken,
	}
	if f.Version == "" {
		e.Letter = unknownLetter
	}
	if board := b.Index.Board(f.Board); board != nil {
		e.MaxMajor = board.MaxMajor
	}
	return e
}
