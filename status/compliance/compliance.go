// Package compliance judges one Mac: the phase of its update, its state, its flags, and the reasons for them.
package compliance

import (
	"time"

	"plimsoll/declarations"
	"plimsoll/declarations/command"
	"plimsoll/declarations/plan"
	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
	"plimsoll/status"
)

// State is the compliance state of an enrolled Mac (rules 8).
type State string

// The states, in the order in which they match.
const (
	Unmanaged    State = "unmanaged"
	Unknown      State = "unknown"
	Unsupported  State = "unsupported"
	Held         State = "held"
	Exempt       State = "exempt"
	Incompatible State = "incompatible"
	Failing      State = "failing"
	Overdue      State = "overdue"
	Pending      State = "pending"
	Compliant    State = "compliant"
)

// States are all states, in the order in which they match.
var States = []State{Unmanaged, Unknown, Unsupported, Held, Exempt, Incompatible, Failing, Overdue, Pending, Compliant}

// Phase is how far the update of a Mac with a target has come (rules 8); empty when there is no target.
type Phase string

// The phases. Another word that a Mac reports as its install-state is kept as it is.
const (
	Planned     Phase = "planned"
	Served      Phase = "served"
	Active      Phase = "active"
	Waiting     Phase = "waiting"
	Downloading Phase = "downloading"
	Prepared    Phase = "prepared"
	Installing  Phase = "installing"
	Failed      Phase = "failed"
	Rejected    Phase = "rejected"
)

// Flags is a set of flags beside the state (rules 8).
type Flags uint16

// The flags. Silent, ReportStale, PastDeadline, CatalogueStale and IdentityExpiring depend on the time and are set by
// Summary.FlagsAt only.
const (
	Silent Flags = 1 << iota
	ReportStale
	NotSynced
	PastDeadline
	Prerelease
	BootstrapTokenMissing
	BSIPending
	CatalogueStale
	IdentityExpiring
)

// FlagNames are the flags' names in the API, in the order of their bits.
var FlagNames = []string{
	"silent",
	"report_stale",
	"not_synced",
	"past_deadline",
	"prerelease",
	"bootstrap_token_missing",
	"bsi_pending",
	"catalogue_stale",
	"identity_expiring",
}

// Names are the names of the flags that are set.
func (f Flags) Names() []string {
	names := make([]string, 0, 2)
	for i, n := range FlagNames {
		if f&(1<<i) != 0 {
			names = append(names, n)
		}
	}
	return names
}

// Input is everything that a verdict depends on.
type Input struct {
	Mac      *plan.Mac
	Plan     *plan.Plan
	Index    *release.Index
	Status   status.Merged
	Manifest *declarations.Manifest // nil: never synced
	Now      time.Time
	Zone     *time.Location // in which a deadline is read for "overdue" (--time-zone)
	// Before is the summary kept last; the zero value for a new life.
	Before Summary
	// Push is what is known of the last push: empty, or why it failed.
	Push string
	// Failure is the last command that the Mac refused; nil: it takes its commands.
	Failure *status.CommandFailure
	// ToldAt is when the Mac was last told to fetch what is advertised now, while it has not done so; zero: it was not told yet.
	ToldAt time.Time
	// Commands is what was told by command, and what was answered.
	Commands Commands
	// CatalogueStale: the catalogue is older than it should be (rules 3).
	CatalogueStale bool
}

// Commands is what is told to a Mac by command (rules 14). The zero value: nothing.
type Commands struct {
	Course *command.Course
	Token  command.Token
}

// Summary is the part of a verdict that is kept in the Mac's record: enough for lists, counts and the passing of time.
type Summary struct {
	// State is the state before time is looked at: it is Pending, never Overdue, when a target is declared.
	State State `json:"s,omitempty"`
	Phase Phase `json:"p,omitempty"`
	// PhaseAt and StateAt are when phase and state began, UTC.
	PhaseAt  time.Time          `json:"pa,omitzero"`
	StateAt  time.Time          `json:"sa,omitzero"`
	Flags    Flags              `json:"f,omitempty"` // those that do not depend on time
	Policy   string             `json:"g,omitempty"`
	Kind     release.Kind       `json:"k,omitempty"` // of the target; empty: no target
	Version  release.Version    `json:"v,omitempty"`
	Letter   string             `json:"e,omitempty"` // of a BSI
	Build    string             `json:"b,omitempty"`
	Due      declarations.Local `json:"d,omitzero"`
	Deadline declarations.Local `json:"l,omitzero"`
	// OverdueAt is the instant at which the Mac becomes overdue, read in the server's zone; zero: never.
	OverdueAt time.Time `json:"o,omitzero"`
	// PastAt is the instant at which the deadline passes for a Mac that cannot become overdue (an optional BSI, an incompatible
	// Mac) while its target is missing; zero otherwise.
	PastAt time.Time `json:"t,omitzero"`
	// TargetAt is when the target became this release, ServedAt when the Mac was first served it; UTC, zero when there is none.
	TargetAt time.Time `json:"ta,omitzero"`
	ServedAt time.Time `json:"va,omitzero"`
	// Fails is how often the Mac says that installing the target failed.
	Fails int `json:"n,omitempty"`
	// Withdrawn is the build that the Mac was told to install before Apple withdrew it; empty when that is of no interest any
	// more.
	Withdrawn string `json:"w,omitempty"`
	// Codes are the codes of the most decisive reasons that do not depend on time, at most four. ReasonsAt adds the others.
	Codes []string `json:"c,omitempty"`
}

// Verdict is a Summary with all reasons and their evidence.
type Verdict struct {
	Summary
	Reasons []policy.Reason // the most decisive first, those that depend on time included
	// NextAt is the next instant at which the verdict can change by the passing of time; zero: never.
	NextAt time.Time
	// AskVersion: the Mac is to be asked for its version, because it newly refused the target as one that it already has
	// (rules 8). It is set once for each such refusal.
	AskVersion bool
}
