// Package plan decides what one Mac is told, and why, as a pure function of the policies, the catalogue, the Mac and the time.
package plan

import (
	"time"

	"plimsoll/declarations"
	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
)

// Outcome is what the plan comes to for the operating system, before the gate (rules 6.2 and 8).
type Outcome string

// The outcomes.
const (
	Unmanaged   Outcome = "unmanaged"   // no policy governs, or it manages nothing, or enforcement is paused
	Unknown     Outcome = "unknown"     // a fact that is needed is not known, or the catalogue has nothing for the board or major
	Unsupported Outcome = "unsupported" // no release that satisfies the policy exists for the Mac
	Held        Outcome = "held"        // only a hold stands in the way
	Exempt      Outcome = "exempt"      // only an exemption stands in the way
	Targeted    Outcome = "targeted"    // there is a target (OS or BSI)
	Satisfied   Outcome = "satisfied"   // nothing is asked
)

// LanePlan is the plan of one lane.
type LanePlan struct {
	Lane   Lane
	Target *release.Release // nil: nothing to do in this lane
	// Due is the due date (rules 6.3), DueSetBy the missed release that set it (nil for minimum and exact: the policy's deadline),
	// DueDays the days that were counted.
	Due      declarations.Local
	DueSetBy *release.Release
	DueDays  int
	// Slot is where the due date falls on an open day, SlotSetBy the missed release whose slot is the earliest, SlotDays the days
	// that set the
	// notice (rules 11). Without closed days they are those of the due date.
	Slot      declarations.Local
	SlotSetBy *release.Release
	SlotDays  int
	// Urgent: one of the missed releases fixes an exploited vulnerability that the policy has days for.
	Urgent bool
	// MovedBy is the freeze that a passed deadline was moved behind; nil if none.
	MovedBy *policy.Freeze
	// Now: an admin has the Mac install the target at once (rules 12).
	Now bool
	// Mechanism is how the lane reaches the Mac (rules 14).
	Mechanism Mechanism
	// Deadline is what the Mac would be told (rules 6.4), Own the same before a delay that the user took.
	// Promise is the promise found, 0 for none.
	Deadline declarations.Local
	Own      declarations.Local
	Promise  declarations.Local
	// Fair is the earliest deadline that gives fair notice; 0 when it was not needed.
	Fair declarations.Local
	// Renewed tells why the promise was made anew: "", "never_served" or "returned".
	Renewed string
	// Delayed: a delay that the user took replaced the deadline.
	Delayed bool
	// Wished: the user asked for this upgrade.
	Wished bool
	// HeldBack is the newer release that a late swap was refused to (rules 6.2), nil if none.
	HeldBack *release.Release
	// Held is a release that would be the target if it were not held, nil if none.
	Held *release.Release
}

// Plan is what a Mac is told, and why (rules 6). It is a value: keeping it, and the promises in Lanes, is the caller's work.
type Plan struct {
	// Policy governs the Mac; nil when none does.
	Policy *policy.Stored
	Paused *release.Pause

	Outcome Outcome
	// Reasons explain the outcome, the most decisive first: not_governed, paused, nothing_managed, board_unknown, version_unknown,
	// assignment_unknown, not_in_catalogue, above_track, upgrade_not_enforced, other_build, unsupported, held, soaking.
	Reasons []policy.Reason

	Lanes []LanePlan // those with a target, patch before upgrade before bsi

	// Lane, Target, Due and Deadline are those of the one lane that is declared, or would be if the gate let it; Target is nil
	// when nothing is asked.
	Lane     Lane
	Target   *release.Release
	Due      declarations.Local
	Deadline declarations.Local
	// Mechanism is that of the lane.
	Mechanism Mechanism
	// Zone is that in which a deadline is read that is told by command, Frozen the strict freeze that lasts there now: until it is
	// over no command is sent (rules 14). Both nil otherwise.
	Zone   *time.Location
	Frozen *policy.Freeze
	// Ring is the Mac's ring, empty when its policy has none.
	Ring string

	// Gated is why the target is not told (rules 6.7 and 14): "", "macos_too_old", "enforcement_not_listed", "not_supervised" or
	// "upgrade_needs_installer".
	Gated string
	// Optional: the target is a BSI whose base is not the newest; it never makes a Mac overdue or failing (rules 6.6).
	Optional bool
	// MissingBSI is an applicable BSI that is not installed, enforced or not; nil if none.
	MissingBSI *release.Release

	Declarations []declarations.Declaration // sorted as items are
	Token        string                     // the DeclarationsToken
	LeftOut      []policy.Reason            // parts that could not be resolved, that the gate left out, or that came too late

	// NextLanes is what the lanes are once the advertisement of this plan is kept; equal to the Mac's when nothing changes.
	NextLanes LaneStates
	// NextAt is the next instant at which this plan can change by the passing of time alone; zero: never.
	NextAt time.Time
}

// Enforced tells whether the target is told to the Mac, by declaration or by command.
func (p *Plan) Enforced() bool { return p.Target != nil && p.Gated == "" }
