package answer

import "plimsoll/declarations/plan"

// WriteOptions are what every guarded write takes.
type WriteOptions struct {
	By      Origin
	DryRun  bool // change nothing, answer the impact
	Confirm bool // the admin has seen the impact
	// IfMatch is the ETag that the stored object must have, with quotes; "*" asks that it exists; empty asks nothing.
	IfMatch string
	// Create refuses a name that exists.
	Create bool
}

// Impact tells whom a write hits and when (docs/api.md 4).
type Impact struct {
	Devices          int `json:"devices"`
	NewlyTargeted    int `json:"newly_targeted"`
	DueWithin24h     int `json:"due_within_24h"`
	DueWithin7d      int `json:"due_within_7d"`
	NewlyDueWithin7d int `json:"newly_due_within_7d"`
	TooLate          int `json:"too_late"` // Macs within 2 h of their deadline, which macOS may enforce all the same
	TokensChanged    int `json:"tokens_changed"`
	// NoLongerAsked counts Macs of which an update is enforced now and would not be; Cannot those that the write governs,
	// but that no update can be enforced on (incompatible, unsupported, or of unknown facts).
	NoLongerAsked int `json:"no_longer_asked"`
	Cannot        int `json:"cannot"`
	// StatesAfter counts all enrolled Macs by the state they would have once told, every state with its count.
	StatesAfter map[string]int `json:"states_after"`
	// FirstRestartLocal and LastRestartLocal are the earliest and the latest new deadline, as wall-clock times of the Macs,
	// of those whose target or deadline would change; null when there is none. Restarting counts those Macs.
	FirstRestartLocal *string `json:"first_restart_local"`
	LastRestartLocal  *string `json:"last_restart_local"`
	Restarting        int     `json:"restarting"`
	// Guard is why the write would ask for confirmation; null when it would not.
	Guard    *string        `json:"guard"`
	ByTarget []ImpactTarget `json:"by_target"`
	ByGroup  []ImpactGroup  `json:"by_group"`
	Sample   []ImpactSample `json:"sample"` // at most 20 of those that would be told otherwise
}

// ImpactTarget counts the Macs that would have a target.
type ImpactTarget struct {
	Target  plan.Target `json:"target"`
	Devices int         `json:"devices"`
}

// ImpactGroup counts the Macs of a group that would be targeted, and that would be due within 7 days.
type ImpactGroup struct {
	Group       string `json:"group"`
	Devices     int    `json:"devices"`
	DueWithin7d int    `json:"due_within_7d"`
}

// ImpactSample is one Mac before and after.
type ImpactSample struct {
	Device string     `json:"device"`
	Serial string     `json:"serial"`
	Before ImpactSide `json:"before"`
	After  ImpactSide `json:"after"`
}

// ImpactSide is what a Mac is told on one side of a write.
type ImpactSide struct {
	Target        *plan.Target `json:"target"`
	DeadlineLocal *string      `json:"deadline_local"`
}

// Same tells whether a Mac is told to install the same by the same deadline.
func (a ImpactSide) Same(b ImpactSide) bool {
	if a.Target == nil || b.Target == nil {
		return a.Target == b.Target
	}
	return *a.Target == *b.Target && *a.DeadlineLocal == *b.DeadlineLocal
}
