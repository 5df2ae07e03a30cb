package plan

import (
	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
)

// Explanation is the plan as GET /v1/devices/{id}/plan shows it (docs/api.md 4).
type Explanation struct {
	Policy        *string             `json:"policy"`
	Policies      []ExplainedPolicy   `json:"policies"`
	Lanes         []ExplainedLane     `json:"lanes"`
	Releases      []ExplainedRelease  `json:"releases"`
	Target        *Target             `json:"target"`
	DueLocal      *string             `json:"due_local"`
	DeadlineLocal *string             `json:"deadline_local"`
	DeadlineWords []string            `json:"deadline_words"`
	Ring          *ExplainedRing      `json:"ring"` // null: the policy has no rings
	Declarations  []ExplainedDocument `json:"declarations"`
	LeftOut       []policy.Reason     `json:"left_out"`
	Outcome       Outcome             `json:"outcome"`
	Reasons       []policy.Reason     `json:"reasons"`
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
	SlotLocal     *string `json:"slot_local"` // where the due date falls on an open day (rules 11)
	SlotSetBy     *Target `json:"slot_set_by"`
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
