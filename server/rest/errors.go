// Package rest is what every route of the API does alike: reading bounded bodies by their schemas, writing answers and errors.
package rest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"plimsoll/server/fleet"
)

// Problem is an error as the client sees it; the log sees cause as well.
type Problem struct {
	Status int
	Code   string
	Text   string
	fields []FieldError
	impact *fleet.Impact
	Retry  int            // seconds, for Retry-After; 0: none
	More   map[string]any // members of the body beside ours
	Cause  error
}

// Error is what the client reads.
func (p *Problem) Error() string { return p.Text }

// Unwrap is what only the log tells.
func (p *Problem) Unwrap() error { return p.Cause }

// The most that an error names: a body of 4 MiB can have a million faults, and a field a name of 4 MiB.
const (
	maxFaults = 100
	maxWords  = 1000 // bytes of a name, and of a reason
)

// bound shortens what the client itself caused to be long.
func (p *Problem) bound() {
	p.Text = Cut(p.Text, maxWords)
	if more := len(p.fields) - maxFaults; more > 0 {
		p.Text += fmt.Sprintf("; %d more faults are not named", more)
	}
	p.fields = slices.Clone(p.fields[:min(len(p.fields), maxFaults)])
	for i, f := range p.fields {
		p.fields[i] = FieldError{Field: Cut(f.Field, maxWords), Reason: Cut(f.Reason, maxWords)}
	}
}

// BadParameter is for a parameter of the query that makes no sense (400).
func BadParameter(name, reason string) *Problem {
	return &Problem{
		Status: http.StatusBadRequest, Code: "bad_parameter", Text: "the parameter " + name + " " + reason,
		fields: []FieldError{{Field: name, Reason: reason}},
	}
}

// Invalid is for a body with faulty fields (422).
func Invalid(fields []FieldError) *Problem {
	return &Problem{Status: http.StatusUnprocessableEntity, Code: "invalid", Text: "the body is not valid", fields: fields}
}

// NoSuchRoute is for a path that leads nowhere (404).
func NoSuchRoute() *Problem {
	return &Problem{Status: http.StatusNotFound, Code: "not_found", Text: "there is nothing at this path"}
}

// Forbidden is for a token that may not do what it asks for.
func Forbidden(text string) *Problem {
	return &Problem{Status: http.StatusForbidden, Code: "forbidden", Text: text}
}

// kinds is the table from the kinds of error that a use case can end with to HTTP.
var kinds = []struct {
	kind   error
	status int
	code   string // when the error brings none
	retry  int
}{
	{fleet.ErrNotFound, http.StatusNotFound, "not_found", 0},
	{fleet.ErrConflict, http.StatusConflict, "conflict", 0},
	{fleet.ErrInvalid, http.StatusUnprocessableEntity, "invalid", 0},
	{fleet.ErrForbidden, http.StatusForbidden, "forbidden", 0},
	{fleet.ErrUnavailable, http.StatusServiceUnavailable, "unavailable", 5},
	{context.DeadlineExceeded, http.StatusServiceUnavailable, "unavailable", 5},
}

// codes are the slugs whose status is not that of their kind.
var codes = map[string]int{
	"bad_cursor":          http.StatusBadRequest,
	"precondition_failed": http.StatusPreconditionFailed,
	"rate_limited":        http.StatusTooManyRequests,
}

// words are echo's own errors in ours.
var Words = map[int][2]string{
	http.StatusBadRequest:            {"bad_request", "the request is not understood"},
	http.StatusNotFound:              {"not_found", "there is nothing at this path"},
	http.StatusMethodNotAllowed:      {"method_not_allowed", "this path does not take that method"},
	http.StatusRequestEntityTooLarge: {"too_large", "the body is over 4 MiB"},
	http.StatusUnsupportedMediaType:  {"unsupported_media_type", "this content type is not taken"},
	http.StatusTooManyRequests:       {"rate_limited", "too many requests"},
}

// AsProblem brings any error to what the client is told.
func AsProblem(err error) *Problem {
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return &Problem{
			Status: http.StatusRequestEntityTooLarge, Code: Words[http.StatusRequestEntityTooLarge][0],
			Text: fmt.Sprintf("the body is over %d MiB", tooLarge.Limit>>20), Cause: err,
		}
	}
	var he *echo.HTTPError
	if errors.As(err, &he) {
		w, ok := Words[he.Code]
		if !ok {
			w = [2]string{
				strings.ReplaceAll(strings.ToLower(http.StatusText(he.Code)), " ", "_"),
				strings.ToLower(http.StatusText(he.Code)),
			}
		}
		p := &Problem{Status: he.Code, Code: w[0], Text: w[1], Cause: err}
		if he.Code == http.StatusTooManyRequests {
			p.Retry = 1
		}
		return p
	}
	for _, k := range kinds {
		if errors.Is(err, k.kind) {
			return fromFleet(err, &Problem{Status: k.status, Code: k.code, Text: err.Error(), Retry: k.retry, Cause: err})
		}
	}
	return &Problem{
		Status: http.StatusInternalServerError,
		Code:   "internal",
		Text:   "something went wrong here; the log names it by this request's id",
		Cause:  err,
	}
}

// fromFleet adds what a use case says about its error.
func fromFleet(err error, p *Problem) *Problem {
	var fe *fleet.Error
	if !errors.As(err, &fe) {
		if p.Status == http.StatusServiceUnavailable {
			p.Text = "the store is not reachable" // the rest names hosts and files; it is in the log
		}
		return p
	}
	p.Text, p.impact = fe.Text, fe.Impact
	if fe.Code != "" {
		p.Code = fe.Code
	}
	for _, f := range fe.Fields {
		p.fields = append(p.fields, FieldError{Field: f.Field, Reason: f.Reason})
	}
	if status, ok := codes[fe.Code]; ok {
		p.Status, p.Retry = status, int(math.Ceil(fe.Wait.Seconds()))
	}
	if fe.Code == "bad_cursor" && len(p.fields) == 0 {
		p.fields = []FieldError{{Field: "cursor", Reason: "is not one that this server gave"}}
	}
	return p
}

// AnswerError writes an error's body, which no other place does. basic: HTTP Basic is asked for too. The error that is returned
// is the client's, who left before that.
func AnswerError(c echo.Context, err error, basic bool) error {
	if c.Response().Committed {
		return nil // too late: the connection is cut instead
	}
	p := AsProblem(err)
	h := c.Response().Header()
	if p.Status == http.StatusUnauthorized {
		// Basic works too, but is not asked for: a browser would remember it and send it along for others.
		h.Set(echo.HeaderWWWAuthenticate, `Bearer realm="plimsoll"`)
		if basic { // its clients wait for the challenge before they send a password
			h.Add(echo.HeaderWWWAuthenticate, `Basic realm="plimsoll"`)
		}
	}
	if p.Retry > 0 {
		h.Set(echo.HeaderRetryAfter, strconv.Itoa(p.Retry))
	}
	h.Set(echo.HeaderCacheControl, "no-store")
	p.bound()
	body := ErrorBody{Error: p.Text, Code: p.Code, Errors: p.fields, RequestID: h.Get(echo.HeaderXRequestID), Impact: p.impact}
	if body.Errors == nil {
		body.Errors = []FieldError{}
	}
	var whole any = body
	if p.More != nil {
		p.More["error"], p.More["code"] = body.Error, body.Code
		p.More["errors"], p.More["request_id"] = body.Errors, body.RequestID
		whole = p.More
	}
	if err := c.JSON(p.Status, whole); err != nil {
		return fmt.Errorf("write the error: %w", err)
	}
	return nil
}
