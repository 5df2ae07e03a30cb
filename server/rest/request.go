package rest

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"plimsoll/schemas"
	"plimsoll/server/fleet"
)

const principalKey = "principal"

// Principal is who makes an authenticated request.
func Principal(c echo.Context) fleet.Principal {
	p, _ := c.Get(principalKey).(fleet.Principal)
	return p
}

// SetPrincipal says who makes the request.
func SetPrincipal(c echo.Context, p fleet.Principal) { c.Set(principalKey, p) }

// Origin says for the audit who makes a request, and from where.
func Origin(c echo.Context) fleet.Origin {
	return fleet.Origin{
		Actor: Principal(c).Actor(), Via: fleet.ViaAPI, Address: c.RealIP(),
		RequestID: c.Response().Header().Get(echo.HeaderXRequestID),
	}
}

// MaxBody is the largest request body that is taken, in bytes.
const MaxBody = 4 << 20

// Param is a parameter of the path, decoded.
func Param(c echo.Context, name string) (string, error) {
	v := c.Param(name)
	if v == "" || strings.Contains(v, "/") {
		return "", NoSuchRoute() // echo lets the last parameter of a path run on over slashes
	}
	if c.Request().URL.RawPath == "" {
		return v, nil
	}
	v, err := url.PathUnescape(v)
	if err != nil {
		return "", NoSuchRoute()
	}
	return v, nil
}

// Queries are the parameters that each route takes in its query, as the OpenAPI document has them, by method and path
// in echo's form.
func Queries() map[string][]string {
	known := map[string][]string{}
	for _, op := range schemas.Operations() {
		known[op.Method+" "+strings.NewReplacer("{", ":", "}", "").Replace(op.Path)] = op.Query
	}
	return known
}

// OnlyKnown refuses a query parameter that a route does not take: one that is mistyped would be ignored, and the answer
// would be about other Macs than those that were asked for.
func OnlyKnown(names []string, next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		for _, name := range slices.Sorted(maps.Keys(c.QueryParams())) {
			if slices.Contains(names, name) {
				continue
			}
			p := BadParameter(Cut(name, 100), "is not one that this route takes")
			p.Code = "unknown_parameter"
			if len(names) > 0 {
				p.fields[0].Reason += "; it takes " + strings.Join(names, ", ")
			}
			return p
		}
		return next(c)
	}
}

// Cut shortens a text of the client's, at the edge of a character.
func Cut(s string, to int) string {
	if len(s) <= to {
		return s
	}
	for to > 0 && !utf8.RuneStart(s[to]) {
		to--
	}
	return s[:to] + "…"
}

// Query is a parameter of the query, empty when it is not given.
func Query(c echo.Context, name string) (string, error) {
	switch v := c.QueryParams()[name]; len(v) {
	case 0:
		return "", nil
	case 1:
		return v[0], nil
	default:
		return "", BadParameter(name, "must be given once only")
	}
}

// QueryInt is otherwise when the parameter is not given.
func QueryInt(c echo.Context, name string, low, high, otherwise int) (int, error) {
	v, err := Query(c, name)
	if err != nil || v == "" {
		return otherwise, err
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < low || n > high {
		return 0, BadParameter(name, fmt.Sprintf("must be a number between %d and %d", low, high))
	}
	return n, nil
}

// QueryBool is nil when the parameter is not given.
func QueryBool(c echo.Context, name string) (*bool, error) {
	v, err := Query(c, name)
	if err != nil || v == "" {
		return nil, err
	}
	b, err := strconv.ParseBool(v)
	if err != nil {
		return nil, BadParameter(name, "must be true or false")
	}
	return &b, nil
}

// QueryTime reads a moment (RFC 3339), or a day in UTC: its beginning, or its last second. Zero when the parameter is not given.
func QueryTime(c echo.Context, name string, endOfDay bool) (time.Time, error) {
	v, err := Query(c, name)
	if err != nil || v == "" {
		return time.Time{}, err
	}
	if t, err := time.Parse(time.DateOnly, v); err == nil {
		if endOfDay {
			t = t.Add(24*time.Hour - time.Second)
		}
		return t, nil
	}
	// In a query an unescaped "+" is a space.
	t, err := time.Parse(time.RFC3339, strings.Replace(v, " ", "+", 1))
	if err != nil {
		return time.Time{}, BadParameter(name, "must be a time such as 2026-03-01T08:00:00Z, or a day such as 2026-03-01")
	}
	return t.UTC(), nil
}

// QueryOneOf is empty when the parameter is not given.
func QueryOneOf[T ~string](c echo.Context, name string, values []T) (string, error) {
	v, err := Query(c, name)
	if err != nil || v == "" {
		return "", err
	}
	list := make([]string, 0, len(values))
	for _, w := range values {
		if string(w) == v {
			return v, nil
		}
		list = append(list, string(w))
	}
	return "", BadParameter(name, "must be one of "+strings.Join(list, ", "))
}

// Paging is what every list takes.
func Paging(c echo.Context) (limit int, cursor string, err error) {
	if limit, err = QueryInt(c, "limit", 1, 1000, 100); err != nil {
		return 0, "", err
	}
	cursor, err = Query(c, "cursor")
	return limit, cursor, err
}

// ReadBody reads the whole body, of at most MaxBody bytes (413).
func ReadBody(c echo.Context) ([]byte, error) { return ReadUpTo(c, MaxBody) }

// ReadUpTo is ReadBody with another limit, in bytes.
func ReadUpTo(c echo.Context, limit int64) ([]byte, error) {
	b, err := io.ReadAll(http.MaxBytesReader(c.Response(), c.Request().Body, limit))
	if err != nil {
		if AsProblem(err).Status == http.StatusRequestEntityTooLarge {
			return nil, err
		}
		return nil, &Problem{
			Status: http.StatusBadRequest,
			Code:   "bad_request",
			Text:   "the body ended before its end",
			Cause:  err,
		}
	}
	return b, nil
}

// parse reads the body as an object of the schema of that name. amend may complete the object before it is checked.
func parse(
	c echo.Context,
	schema string,
	amend func(map[string]any) []FieldError,
) (obj map[string]any, faults []FieldError, err error) {
	body, err := ReadBody(c)
	if err != nil {
		return nil, nil, err
	}
	v, err := schemas.Parse(body)
	if err != nil {
		return nil, nil, &Problem{Status: http.StatusBadRequest, Code: "bad_json", Text: err.Error()}
	}
	obj, _ = v.(map[string]any)
	if obj != nil && amend != nil {
		faults = amend(obj)
	}
	for _, f := range schemas.ValidateValue(schema, v) {
		faults = append(faults, FieldError(f))
	}
	return obj, faults, nil
}

// Decode reads the body into a Go value by way of the schema of that name.
func Decode(c echo.Context, schema string, into any) error {
	return DecodeJudged(c, schema, into, nil, nil)
}

// DecodeJudged is decode of a body that amend may change before it is checked. judge tries what the body asks for
// without doing it: when the body is faulty, the rest of it is judged too, so that all faults are named at once.
func DecodeJudged(
	c echo.Context,
	schema string,
	into any,
	amend func(map[string]any) []FieldError,
	judge func() error,
) error {
	obj, faults, err := parse(c, schema, amend)
	if err != nil {
		return err
	}
	if len(faults) == 0 {
		return schemas.Decode(obj, into)
	}
	if judge != nil && obj != nil && salvage(obj, faults, into) {
		faults = append(faults, others(faults, judge())...)
	}
	return Invalid(faults)
}

// Taken makes a body that GET gave one that PUT takes: the name must be the one in the path, and what only the server
// knows is left out.
func Taken(nameKey, name string, known ...string) func(map[string]any) []FieldError {
	return func(obj map[string]any) []FieldError {
		for _, key := range known {
			delete(obj, key)
		}
		given, ok := obj[nameKey].(string)
		if !ok {
			return nil // absent, or of a wrong type, which the schema says
		}
		delete(obj, nameKey)
		if given != name {
			return []FieldError{{Field: nameKey, Reason: fmt.Sprintf("must be %q, the name in the path, or be left out", name)}}
		}
		return nil
	}
}

// WriteOptions are what every guarded write takes; confirmed is what the body said.
func WriteOptions(c echo.Context, confirmed bool) (fleet.WriteOptions, error) {
	dry, err := QueryBool(c, "dry_run")
	if err != nil {
		return fleet.WriteOptions{}, err
	}
	confirm, err := QueryBool(c, "confirm")
	if err != nil {
		return fleet.WriteOptions{}, err
	}
	confirmed = confirmed || confirm != nil && *confirm
	if confirmed && !Principal(c).May(fleet.ScopeAdmin) {
		return fleet.WriteOptions{}, Forbidden("this token may not confirm; admin is required")
	}
	return fleet.WriteOptions{
		By:      Origin(c),
		DryRun:  dry != nil && *dry,
		Confirm: confirmed,
		IfMatch: strings.Join(c.Request().Header.Values("If-Match"), ", "),
	}, nil
}

// DeleteOptions are writeOptions for a request that may have a body with nothing but confirm.
func DeleteOptions(c echo.Context) (fleet.WriteOptions, error) {
	body, err := ReadBody(c)
	if err != nil {
		return fleet.WriteOptions{}, err
	}
	var in Confirmation
	if len(bytes.TrimSpace(body)) > 0 {
		c.Request().Body = io.NopCloser(bytes.NewReader(body))
		if err := Decode(c, "confirmation", &in); err != nil {
			return fleet.WriteOptions{}, err
		}
	}
	return WriteOptions(c, in.Confirm)
}
