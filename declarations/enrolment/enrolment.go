// Package enrolment decides whether a Mac in Setup Assistant is to install a version before it enrols (rules 15).
package enrolment

import (
	"cmp"
	"slices"
	"time"

	"plimsoll/declarations"
	"plimsoll/declarations/plan"
	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
	"plimsoll/status"
)

// Why a Mac is asked for a version, or let through. Where a plan has a code for it, that one is given.
const (
	Asked        = "asked"
	Unverified   = "unverified"    // the signature is not that of a Mac
	CannotUpdate = "cannot_update" // the Mac does not offer to update
	Nothing      = "not_asked"     // the policy asks nothing at enrolment
	NoTarget     = "no_target"     // there is nothing newer for the Mac
	NotRequired  = "not_required"  // the policy does not require more than the Mac has
	NotNewest    = "not_newest"    // Apple refuses the target below macOS 15
	Loop         = "asked_twice"   // the Mac was asked twice, to no effect
)

const askable = 15 // from this major on Apple takes any release that it offers, not only the newest

// Decide returns the release that a Mac is asked to install, nil when it is let through, and why. Whether the signature is good,
// and whether the Mac was asked before, is the caller's to know.
func Decide(b *plan.Book, m *status.MachineInfo, now time.Time) (ask *release.Release, why string) {
	f := m.Facts()
	switch {
	case !m.CanUpdate:
		return nil, CannotUpdate
	case f.Version == "":
		return nil, plan.CodeVersionUnknown
	case f.Board == "":
		return nil, plan.CodeBoardUnknown
	case b.Index.Board(f.Board) == nil:
		return nil, plan.CodeNotInCatalogue
	}
	rule, why := governs(b, f)
	switch {
	case rule == nil:
		return nil, why
	case b.Pause != nil:
		return nil, plan.CodePaused
	case rule.AtEnrolment == "" || rule.Mode == policy.ModeNone:
		return nil, Nothing
	}
	a := b.Arriving(f, rule, now)
	switch {
	case a.Target == nil:
		return nil, cmp.Or(a.Why, NoTarget)
	case rule.AtEnrolment == policy.AtEnrolmentFloor && !requires(rule, &a, now):
		return nil, NotRequired
	case f.Version.Major() < askable && !a.Newest:
		return nil, NotNewest
	}
	return a.Target, Asked
}

// governs is the policy that governs by what the Mac tells before it enrols; nil, and why, when none does or when that depends
// on more. A bootstrap token is escrowed later.
func governs(b *plan.Book, f status.Facts) (rule *policy.Compiled, why string) {
	without := b.Govern(&f, false)
	f.BootstrapToken = true
	switch with := b.Govern(&f, false); {
	case without.Unknown != nil || with.Unknown != nil || with.Rule != without.Rule:
		return nil, plan.CodeAssignmentUnknown
	case with.Rule == nil:
		return nil, plan.CodeNotGoverned
	}
	return without.Rule, ""
}

// requires tells whether the policy already requires more than the Mac has: in automatic, that a missed release of the lane is
// due today (UTC).
func requires(rule *policy.Compiled, a *plan.Arrival, now time.Time) bool {
	if rule.Mode != policy.ModeAutomatic {
		return !a.Satisfied
	}
	return a.Due < declarations.LocalAt((release.DayOf(now)+1).Time(), 0)
}

// A Mac that was asked so often within a day, at least so far apart, and comes again with the same build is let through
// (rules 15).
const (
	enough = 2
	apart  = 10 * time.Minute
	day    = 24 * time.Hour
)

// Asks is when a Mac was asked for a version before it enrolled, for as long as that matters.
type Asks struct {
	Build string      `json:"build"`
	At    []time.Time `json:"at"` // UTC, oldest first; those within 10 minutes of one before are left out
}

// Ask notes that the Mac is asked again. It returns false, and the same, when the Mac was asked often enough.
func (a Asks) Ask(build string, now time.Time) (Asks, bool) {
	if a.Build != build {
		a = Asks{Build: build}
	}
	a.At = slices.DeleteFunc(slices.Clone(a.At), func(at time.Time) bool { return now.Sub(at) > day })
	if len(a.At) >= enough {
		return a, false
	}
	if len(a.At) == 0 || now.Sub(a.At[len(a.At)-1]) >= apart {
		a.At = append(a.At, now.UTC())
	}
	return a, true
}
