package rest

import "plimsoll/server/fleet"

// Confirmation is part of every body that docs/api.md lets one confirm. It is never stored and never returned.
type Confirmation struct {
	// Confirm: the admin has seen the impact and means it. The same as ?confirm=true.
	Confirm bool `json:"confirm,omitempty"`
}

// ErrorBody is the body of every error.
type ErrorBody struct {
	Error     string        `json:"error"`            // a sentence
	Code      string        `json:"code"`             // a slug to tell errors apart by
	Errors    []FieldError  `json:"errors"`           // the faulty fields or parameters
	RequestID string        `json:"request_id"`       // stands in the server's log too
	Impact    *fleet.Impact `json:"impact,omitempty"` // for confirm_required: what the write would do
}

// FieldError is one fault of a request, by the JSON path of the field or the name of the parameter.
type FieldError struct {
	Field  string `json:"field"`
	Reason string `json:"reason"`
}

// DryRun answers a write that was only tried.
type DryRun struct {
	Impact *fleet.Impact `json:"impact"`
}
