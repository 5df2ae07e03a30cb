package policy

import (
	"time"

	"plimsoll/declarations/release"
)

// Group is a named set of serial numbers or enrollment ids.
type Group struct {
	Name    string   `json:"name"`
	Devices []string `json:"devices"` // sorted, without duplicates
}

// Input is everything that admins and Apple said: what is common to all Macs.
type Input struct {
	Revision uint64 // of the book in the database
	Policies []Stored
	Groups   []Group
	Catalog  *release.Catalog
	Holds    []release.Hold
	Pause    *release.Pause
}

// Book is an Input made ready for planning. It is immutable and safe for concurrent use.
type Book struct {
	Input
	Index *release.Index
	compiled
}

// Explanation is the plan as GET /v1/devices/{id}/plan shows it (api.md 4).
type Explanation struct {
	Policy        *string             `json:"policy"`
	Policies      []ExplainedPolicy   `json:"policies"`
	Lanes         []ExplainedLane     `json:"lanes"`
	Releases      []ExplainedRelease  `json:"releases"`
	Target        *Target             `json:"target"`
	DueLocal      *string             `json:"due_local"`
	DeadlineLocal *string             `json:"deadline_local"`
	DeadlineWords []string            `json:"deadline_words"`
	Declarations  []ExplainedDocument `json:"declarations"`
	LeftOut       []Reason            `json:"left_out"`
	Outcome       Outcome             `json:"outcome"`
	Reasons       []Reason            `json:"reasons"`
}

// Target is a release as a target; Build is always the release's.
type Target struct {
	Kind    release.Kind    `json:"kind"`
	Version release.Version `json:"version"`
	Build   string          `json:"build"`
}

// ExplainedPolicy tells why a policy won or lost.
type ExplainedPolicy struct {
	Name     string `json:"name"`
	Priority int    `json:"priority"`
	Applies  bool   `json:"applies"`
	Won      bool   `json:"won"`
	Why      string `json:"why"`
}

// ExplainedLane is a lane with its target and dates.
type ExplainedLane struct {
	Lane          string  `json:"lane"`
	Target        *Target `json:"target"`
	DueLocal      *string `json:"due_local"`
	DueSetBy      *Target `json:"due_set_by"`
	DeadlineLocal *string `json:"deadline_local"`
	PromiseLocal  *string `json:"promise_local"`
}

// ExplainedRelease tells what a release is to the Mac: "target", "missed" or "ignored", and why.
type ExplainedRelease struct {
	Version  string  `json:"version"`
	Build    string  `json:"build"`
	Letter   string  `json:"letter,omitempty"`
	Role     string  `json:"role"`
	Why      string  `json:"why"`
	DueLocal *string `json:"due_local"`
}

// ExplainedDocument is a declaration that the Mac would be given.
type ExplainedDocument struct {
	Identifier  string `json:"identifier"`
	Type        string `json:"type"`
	ServerToken string `json:"server_token"`
	Payload     any    `json:"payload"`
}

// earlier is the earlier of two instants, where zero means never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}
