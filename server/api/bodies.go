// Package api is the JSON API: it authenticates, decodes, calls one use case, and encodes.
package api

import (
	"time"

	"plimsoll/server/rest"

	"plimsoll/declarations/policy"
	"plimsoll/server/fleet"
)

// PolicyBody is what POST /v1/policies and PUT /v1/policies/{name} take. In a PUT the name may be left out.
type PolicyBody struct {
	policy.Policy
	rest.Confirmation
}

// GroupBody is what PUT /v1/groups/{name} takes.
type GroupBody struct {
	Devices []string `json:"devices"` // serial numbers or enrollment ids, which need not be enrolled yet
	rest.Confirmation
}

// GroupEditBody is what POST /v1/groups/{name} takes.
type GroupEditBody struct {
	Add    []string `json:"add,omitempty"`    // serial numbers or enrollment ids
	Remove []string `json:"remove,omitempty"` // serial numbers or enrollment ids
	rest.Confirmation
}

// HoldBody is what PUT /v1/holds/{subject} takes.
type HoldBody struct {
	Reason string `json:"reason"`
	// Successors extends the hold to every later release of that major, and to the BSIs of a held one. Left out, it is true.
	Successors *bool `json:"successors,omitempty"`
	// Until is when the hold ends by itself; null or left out: until let go.
	Until *time.Time `json:"until,omitempty"`
	rest.Confirmation
}

// PauseBody is what PUT /v1/pause takes.
type PauseBody struct {
	Reason string `json:"reason"`
	rest.Confirmation
}

// TokenBody is what POST /v1/tokens takes: one scope, or several.
type TokenBody struct {
	Name   string        `json:"name"`
	Scope  fleet.Scope   `json:"scope,omitempty"`
	Scopes []fleet.Scope `json:"scopes,omitempty"`
	// ExpiresAt is when the token stops working; null or left out: never.
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
}

// CodeBody is what POST /v1/enrollment-codes takes.
type CodeBody struct {
	Label string `json:"label,omitempty"`
	// ExpiresAt is when the code stops working; null: never. Left out: after 30 days.
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
	Uses      int        `json:"uses,omitempty"` // how many Macs may enrol with it; 0: any number. Left out: 50
}

// Version answers GET /version.
type Version struct {
	Version string `json:"version"`
	Format  int    `json:"format"` // of the store
}

// Health answers GET /healthz.
type Health struct {
	Status string `json:"status"` // "ok"
}
