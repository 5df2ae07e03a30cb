// Package answer holds what use cases answer with: errors for the one who asked, pages of lists with their cursors, ETags,
// and the impact of a write.
package answer

import (
	"time"

	"plimsoll/declarations/policy"
	"plimsoll/storage"
)

// The kinds of error that a use case can end with (errors.Is), the store's own.
var (
	ErrNotFound    = storage.ErrNotFound
	ErrConflict    = storage.ErrConflict
	ErrInvalid     = storage.ErrInvalid
	ErrForbidden   = storage.ErrForbidden
	ErrUnavailable = storage.ErrUnavailable
)

// Error is an error for the one who asked: a kind, a slug, a sentence, and what belongs to it.
type Error struct {
	Kind   error               // one of the kinds above
	Code   string              // slug, such as "confirm_required", "not_found", "precondition_failed", "rate_limited"
	Text   string              // sentence
	Fields []policy.FieldError // for ErrInvalid
	Impact *Impact             // for confirm_required
	Wait   time.Duration       // for rate_limited: when to try again
}

// Error is the sentence, with the faulty fields.
func (e *Error) Error() string {
	s := e.Text
	for _, f := range e.Fields {
		s += "; " + f.Field + ": " + f.Reason
	}
	return s
}

// Unwrap is the kind.
func (e *Error) Unwrap() error { return e.Kind }

// Invalid refuses an object for its fields.
func Invalid(text string, fields ...policy.FieldError) *Error {
	return &Error{Kind: ErrInvalid, Code: "invalid", Text: text, Fields: fields}
}

// NotFound says that there is no such object.
func NotFound(text string) *Error {
	return &Error{Kind: ErrNotFound, Code: "not_found", Text: text}
}

// Conflict refuses a write for the state that the object is in.
func Conflict(code, text string) *Error { return &Error{Kind: ErrConflict, Code: code, Text: text} }

// PreconditionFailed refuses a write of an object, such as "the policy", that is not the one that If-Match names.
func PreconditionFailed(object string) *Error {
	return Conflict("precondition_failed",
		object+" is not what If-Match names: somebody changed it in between, or it does not exist")
}
