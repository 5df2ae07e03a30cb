package api

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

// problem is an error as the client sees it; the log sees cause as well.
type problem struct {
	status int
	code   string
	text   string
	fields []FieldError
	impact *fleet.Impact
	retry  int            // seconds, for Retry-After; 0: none
	more   map[string]any // members of the body beside ours
	cause  error
}

func (p *problem) Error() string { return p.text }
func (p *problem) Unwrap() error { return p.cause }

// The most that an error names: a body of 4 MiB can have a million faults, and a field a name of 4 MiB.
const (
	maxFaults = 100
	maxWords  = 1000 // bytes of a name, and of a reason
)

// bound shortens what the client itself caused to be long.
func (p *problem) bound() {
	p.text = cut(p.text, maxWords)
	if more := len(p.fields) - maxFaults; more > 0 {
		p.text += fmt.Sprintf("; %d more faults are not named", more)
	}
	p.fields = slices.Clone(p.fields[:min(len(p.fields), maxFaults)])
	for i, f := range p.fields {
		p.fields[i] = FieldError{Field: cut(f.Field, maxWords), Reason: cut(f.Reason, maxWords)}
	}
}

func badParameter(name, reason string) *problem {
	return &problem{
		status: http.StatusBadRequest, code: "bad_parameter", text: "the parameter " + name + " " + reason,
		fields: []FieldError{{Field: name, Reason: reason}},
	}
}

func invalid(fields []FieldError) *problem {
	return &problem{status: http.StatusUnprocessableEntity, code: "invalid", text: "the body is not valid", fields: fields}
}

func noSuchRoute() *problem {
	return &problem{status: http.StatusNotFound, code: "not_found", text: "there is nothing at this path"}
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
var words = map[int][2]string{
	http.StatusBadRequest:            {"bad_request", "the request is not understood"},
	http.StatusNotFound:              {"not_found", "there is nothing at this path"},
	http.StatusMethodNotAllowed:      {"method_not_allowed", "this path does not take that method"},
	http.StatusRequestEntityTooLarge: {"too_large", "the body is over 4 MiB"},
	http.StatusUnsupportedMediaType:  {"unsupported_media_type", "this content type is not taken"},
	http.StatusTooManyRequests:       {"rate_limited", "too many requests"},
}

// asProblem brings any error to what the client is told.
func asProblem(err error) *problem {
	var p *problem
	if errors.As(err, &p) {
		return p
	}
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		w := words[http.StatusRequestEntityTooLarge]
		return &problem{status: http.StatusRequestEntityTooLarge, code: w[0], text: w[1], cause: err}
	}
	var he *echo.HTTPError
	if errors.As(err, &he) {
		w, ok := words[he.Code]
		if !ok {
			w = [2]string{
				strings.ReplaceAll(strings.ToLower(http.StatusText(he.Code)), " ", "_"),
				strings.ToLower(http.StatusText(he.Code)),
			}
		}
		p := &problem{status: he.Code, code: w[0], text: w[1], cause: err}
		if he.Code == http.StatusTooManyRequests {
			p.retry = 1
		}
		return p
	}
	for _, k := range kinds {
		if errors.Is(err, k.kind) {
			return fromFleet(err, &problem{status: k.status, code: k.code, text: err.Error(), retry: k.retry, cause: err})
		}
	}
	return &problem{
		status: http.StatusInternalServerError,
		code:   "internal",
		text:   "something went wrong here; the log names it by this request's id",
		cause:  err,
	}
}

// fromFleet adds what a use case says about its error.
func fromFleet(err error, p *problem) *problem {
	var fe *fleet.Error
	if !errors.As(err, &fe) {
		if p.status == http.StatusServiceUnavailable {
			p.text = "the store is not reachable" // the rest names hosts and files; it is in the log
		}
		return p
	}
	p.text, p.impact = fe.Text, fe.Impact
	if fe.Code != "" {
		p.code = fe.Code
	}
	for _, f := range fe.Fields {
		p.fields = append(p.fields, FieldError{Field: f.Field, Reason: f.Reason})
	}
	if status, ok := codes[fe.Code]; ok {
		p.status, p.retry = status, int(math.Ceil(fe.Wait.Seconds()))
	}
	if fe.Code == "bad_cursor" && len(p.fields) == 0 {
		p.fields = []FieldError{{Field: "cursor", Reason: "is not one that this server gave"}}
	}
	return p
}

// answerError writes an error's body. It is the only place that does.
func (a *API) answerError(err error, c echo.Context) {
	if c.Response().Committed {
		return // too late: the connection is cut instead
	}
	p := asProblem(err)
	h := c.Response().Header()
	if p.status == http.StatusUnauthorized {
		// Basic works too, but is not asked for: a browser would remember it and send it along for others.
		h.Set(echo.HeaderWWWAuthenticate, `Bearer realm="plimsoll"`)
		if slices.Contains(nanomdmPaths, c.Path()) { // its clients wait for the challenge before they send a password
			h.Add(echo.HeaderWWWAuthenticate, `Basic realm="plimsoll"`)
		}
	}
	if p.retry > 0 {
		h.Set(echo.HeaderRetryAfter, strconv.Itoa(p.retry))
	}
	h.Set(echo.HeaderCacheControl, "no-store")
	p.bound()
	body := ErrorBody{Error: p.text, Code: p.code, Errors: p.fields, RequestID: h.Get(echo.HeaderXRequestID), Impact: p.impact}
	if body.Errors == nil {
		body.Errors = []FieldError{}
	}
	var whole any = body
	if p.more != nil {
		p.more["error"], p.more["code"], p.more["errors"], p.more["request_id"] = body.Error, body.Code, body.Errors, body.RequestID
		whole = p.more
	}
	if err := c.JSON(p.status, whole); err != nil {
		a.log.Debug("the client left before its error was written", "request_id", body.RequestID, "error", err)
	}
}
