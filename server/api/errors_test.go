package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"plimsoll/server/rest"

	"github.com/labstack/echo/v4"

	"plimsoll/server/fleet"
)

func TestErrors(t *testing.T) {
	r := newRig(t)
	twin := mac("2")
	twin.Serial = "SERIAL1"
	r.enrol(mac("1"), twin)
	r.want(call{method: "POST", target: "/v1/policies", body: minimumPolicy}, 201, nil)
	big := `{"name":"` + strings.Repeat("x", rest.MaxBody) + `"}`
	for _, tc := range []struct {
		name   string
		call   call
		status int
		code   string
		fields string // of errors, joined by spaces
	}{
		{"no token", call{method: "GET", target: "/v1/devices", as: "-"}, 401, "unauthorized", ""},
		{"an unknown token", call{method: "GET", target: "/v1/devices", as: "wrong"}, 401, "unauthorized", ""},
		{"another scheme", call{method: "GET", target: "/v1/devices", as: "-", header: []string{"Authorization", "Digest x"}}, 401, "unauthorized", ""},

		{"nothing there", call{method: "GET", target: "/v1/nothing"}, 404, "not_found", ""},
		{"a path that goes on", call{method: "GET", target: "/v1/policies/everyone/more"}, 404, "not_found", ""},
		{"another method", call{method: "PATCH", target: "/v1/policies/everyone"}, 405, "method_not_allowed", ""},
		{"no such policy", call{method: "GET", target: "/v1/policies/nobody"}, 404, "not_found", ""},
		{"no such policy to delete", call{method: "DELETE", target: "/v1/policies/nobody"}, 404, "not_found", ""},
		{"no such group", call{method: "GET", target: "/v1/groups/nobody"}, 404, "not_found", ""},
		{"no such hold", call{method: "DELETE", target: "/v1/holds/26.6"}, 404, "not_found", ""},
		{"no such device", call{method: "GET", target: "/v1/devices/NOBODY"}, 404, "not_found", ""},
		{"no plan of no device", call{method: "GET", target: "/v1/devices/NOBODY/plan"}, 404, "not_found", ""},
		{"no sync of no device", call{method: "POST", target: "/v1/devices/NOBODY/sync"}, 404, "not_found", ""},
		{"no report of no device", call{method: "GET", target: "/v1/devices/NOBODY/reports"}, 404, "not_found", ""},
		{"no such report", call{method: "GET", target: "/v1/devices/UDID-1/reports/1"}, 404, "not_found", ""},
		{"no such token", call{method: "DELETE", target: "/v1/tokens/nobody"}, 404, "not_found", ""},
		{"no such code", call{method: "DELETE", target: "/v1/enrollment-codes/nothing"}, 404, "not_found", ""},
		{"no such schema", call{method: "GET", target: "/schemas/nothing.json"}, 404, "not_found", ""},
		{"a schema outside", call{method: "GET", target: "/schemas/..%2Fopenapi.json"}, 404, "not_found", ""},

		{"no body", call{method: "POST", target: "/v1/policies"}, 400, "bad_json", ""},
		{"half a body", call{method: "POST", target: "/v1/policies", body: `{"name":`}, 400, "bad_json", ""},
		{"a body and more", call{method: "POST", target: "/v1/policies", body: minimumPolicy + "x"}, 400, "bad_json", ""},
		{"a name given twice", call{method: "POST", target: "/v1/policies", body: `{"name":"a","name":"b","priority":1}`}, 400, "bad_json", ""},
		{"a body over 4 MiB", call{method: "POST", target: "/v1/policies", body: big}, 413, "too_large", ""},
		{"a body over 4 MiB for NanoMDM", call{method: "PUT", target: "/v1/enqueue/UDID-1", body: big}, 413, "too_large", ""},

		{"limit 0", call{method: "GET", target: "/v1/devices?limit=0"}, 400, "bad_parameter", "limit"},
		{"limit above 1000", call{method: "GET", target: "/v1/releases?limit=1001"}, 400, "bad_parameter", "limit"},
		{"limit no number", call{method: "GET", target: "/v1/policies?limit=ten"}, 400, "bad_parameter", "limit"},
		{"limit twice", call{method: "GET", target: "/v1/policies?limit=1&limit=2"}, 400, "bad_parameter", "limit"},
		{"an unknown state", call{method: "GET", target: "/v1/devices?state=late"}, 400, "bad_parameter", "state"},
		{"an unknown flag", call{method: "GET", target: "/v1/devices?flag=red"}, 400, "bad_parameter", "flag"},
		{"an unknown order", call{method: "GET", target: "/v1/devices?sort=name"}, 400, "bad_parameter", "sort"},
		{"a bad time", call{method: "GET", target: "/v1/devices?seen_before=yesterday"}, 400, "bad_parameter", "seen_before"},
		{"a bad boolean", call{method: "GET", target: "/v1/devices?enrolled=maybe"}, 400, "bad_parameter", "enrolled"},
		{"a bad day", call{method: "GET", target: "/v1/releases?as_of=2026-13-01"}, 400, "bad_parameter", "as_of"},
		{"bad days", call{method: "GET", target: "/v1/compliance/history?days=-1"}, 400, "bad_parameter", "days"},
		{"a bad dry_run", call{method: "POST", target: "/v1/policies?dry_run=perhaps", body: minimumPolicy}, 400, "bad_parameter", "dry_run"},
		{"a bad confirm", call{method: "DELETE", target: "/v1/policies/everyone?confirm=perhaps"}, 400, "bad_parameter", "confirm"},
		{"two cursors", call{method: "GET", target: "/v1/events?after=a&cursor=b"}, 400, "bad_parameter", "after"},
		{"a bad cursor", call{method: "GET", target: "/v1/devices?cursor=%21"}, 400, "bad_cursor", "cursor"},
		{"a bad cursor of policies", call{method: "GET", target: "/v1/policies?cursor=%21"}, 400, "bad_cursor", "cursor"},
		{"a bad cursor of events", call{method: "GET", target: "/v1/events?after=%21"}, 400, "bad_cursor", "cursor"},
		{"a bad cursor of the stream", call{method: "GET", target: "/v1/events?after=%21", header: []string{"Accept", "text/event-stream"}}, 400, "bad_cursor", "cursor"},

		{"a policy of nothing", call{method: "POST", target: "/v1/policies", body: `{}`}, 422, "invalid", "name priority"},
		{"a policy that is a list", call{method: "POST", target: "/v1/policies", body: `[]`}, 422, "invalid", "body"},
		{"unknown fields and wrong types", call{method: "POST", target: "/v1/policies", body: `{"name":"a","priority":"1","prio":1,"updates":{"mode":"minimum","Version":"26"}}`}, 422, "invalid", "prio priority updates.Version updates.deadline updates.version"},
		{"a wrong form, and a version that Apple does not offer", call{method: "PUT", target: "/v1/policies/a", body: `{"priority":1,"foo":1,"updates":{"mode":"minimum","version":"99","deadline":"2020"}}`}, 422, "invalid", "foo updates.deadline updates.version"},
		{"a wrong form in a list, and a wrong version in it", call{method: "PUT", target: "/v1/policies/a", body: `{"priority":1,"updates":{"mode":"minimum","versions":[26,"99"],"deadline":"2027-03-01T12:00:00"}}`}, 422, "invalid", "updates.versions.0 updates.versions.1"},
		{"a list that is none", call{method: "PUT", target: "/v1/policies/a", body: `{"priority":1,"updates":{"mode":"minimum","versions":"26.6.1","deadline":"2027-03-01T12:00:00"}}`}, 422, "invalid", "updates.versions"},
		{"an unknown mode, and what hangs on it", call{method: "PUT", target: "/v1/policies/a", body: `{"priority":1,"os":{"track":"26","upgrade":"enforce","upgrade_within_days":9},"updates":{"mode":"auto","within_days":9}}`}, 422, "invalid", "updates.mode"},
		{"updates that are none, and what hangs on them", call{method: "PUT", target: "/v1/policies/a", body: `{"priority":1,"os":{"track":"26","upgrade":"enforce"},"updates":"automatic"}`}, 422, "invalid", "updates"},
		{"another name, and a wrong expression", call{method: "PUT", target: "/v1/policies/b", body: `{"name":"a","priority":1,"assign":{"when":"serial > 5"}}`}, 422, "invalid", "name assign.when"},
		{"a wrong type, and a name that exists", call{method: "POST", target: "/v1/policies", body: `{"name":"everyone","priority":10,"label":1}`}, 422, "invalid", "label"},
		{"a version that Apple does not offer", call{method: "POST", target: "/v1/policies", body: `{"name":"a","priority":1,"updates":{"mode":"exact","version":"26.99","deadline":"2027-03-01T12:00:00"}}`}, 422, "invalid", "updates.version"},
		{"an expression that does not type-check", call{method: "POST", target: "/v1/policies", body: `{"name":"a","priority":1,"assign":{"when":"serial > 5"}}`}, 422, "invalid", "assign.when"},
		{"a key that Apple does not know", call{method: "POST", target: "/v1/policies", body: `{"name":"a","priority":1,"settings":{"AutomaticActions":{"InstallSecurityUpdates":"AlwaysOn"}}}`}, 422, "invalid", "settings.AutomaticActions.InstallSecurityUpdates"},
		{"another name than the path's", call{method: "PUT", target: "/v1/policies/everybody", body: minimumPolicy}, 422, "invalid", "name"},
		{"a name that cannot be", call{method: "PUT", target: "/v1/policies/a%2Fb", body: `{"priority":1}`}, 422, "invalid", "name"},
		{"confirm that is no boolean", call{method: "POST", target: "/v1/policies", body: `{"name":"a","priority":1,"confirm":"yes"}`}, 422, "invalid", "confirm"},
		{"a deletion with a strange body", call{method: "DELETE", target: "/v1/policies/everyone", body: `{"name":"everyone"}`}, 422, "invalid", "name"},
		{"a group without devices", call{method: "PUT", target: "/v1/groups/lab", body: `{}`}, 422, "invalid", "devices"},
		{"a group of an impossible name", call{method: "PUT", target: "/v1/groups/Lab%20One", body: `{"devices":[]}`}, 422, "invalid", "name"},
		{"a group of numbers and of an impossible name", call{method: "PUT", target: "/v1/groups/Lab", body: `{"devices":[1,"A"]}`}, 422, "invalid", "devices.0 name"},
		{"a group of numbers", call{method: "PUT", target: "/v1/groups/lab", body: `{"devices":[1,""]}`}, 422, "invalid", "devices.0 devices.1"},
		{"a hold without reason", call{method: "PUT", target: "/v1/holds/26.6", body: `{}`}, 422, "invalid", "reason"},
		{"a hold of nothing", call{method: "PUT", target: "/v1/holds/never", body: `{"reason":"x"}`}, 422, "invalid", "subject"},
		{"a hold of nothing, without reason, that has ended", call{method: "PUT", target: "/v1/holds/never", body: `{"until":"2020-01-01T00:00:00Z"}`}, 422, "invalid", "reason subject until"},
		{"a pause without reason", call{method: "PUT", target: "/v1/pause", body: `{"reason":""}`}, 422, "invalid", "reason"},
		{"a token of an unknown scope", call{method: "POST", target: "/v1/tokens", body: `{"name":"x","scope":"root"}`}, 422, "invalid", "scope"},
		{"a code that has expired", call{method: "POST", target: "/v1/enrollment-codes", body: `{"expires_at":"2020-01-01T00:00:00Z"}`}, 422, "invalid", "expires_at"},
		{"a code with negative uses that has expired", call{method: "POST", target: "/v1/enrollment-codes", body: `{"uses":-1,"expires_at":"2020-01-01T00:00:00Z"}`}, 422, "invalid", "uses expires_at"},
		{"a code with negative uses", call{method: "POST", target: "/v1/enrollment-codes", body: `{"uses":-1}`}, 422, "invalid", "uses"},

		{"a name that exists", call{method: "POST", target: "/v1/policies", body: minimumPolicy}, 409, "exists", ""},
		{"an equal priority", call{method: "POST", target: "/v1/policies", body: `{"name":"other","priority":10}`}, 409, "equal_priority", ""},
		{"a serial number that two claim", call{method: "GET", target: "/v1/devices/SERIAL1"}, 409, "", ""},
		{"no catalogue to fetch", call{method: "POST", target: "/v1/catalog/refresh"}, 409, "no_catalogue_source", ""},
		{"an If-Match that does not match", call{method: "PUT", target: "/v1/policies/everyone", body: minimumPolicy, header: []string{"If-Match", `"other"`}}, 412, "precondition_failed", ""},
		{"an If-Match for nothing", call{method: "PUT", target: "/v1/policies/nobody", body: `{"priority":11}`, header: []string{"If-Match", "*"}}, 412, "precondition_failed", ""},
		{"a create that finds one", call{method: "PUT", target: "/v1/policies/everyone", body: minimumPolicy, header: []string{"If-None-Match", "*"}}, 409, "exists", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r.t = t
			res := r.send(tc.call)
			if res.Code != tc.status {
				t.Fatalf("status %d, want %d: %s", res.Code, tc.status, res.Body)
			}
			if !slices.Contains([]int{404, 405}, tc.status) {
				r.do(tc.call)
			}
			body := errorBody(t, res)
			if tc.code != "" && body.Code != tc.code {
				t.Errorf("code %q, want %q", body.Code, tc.code)
			}
			var fields []string
			for _, f := range body.Errors {
				fields = append(fields, f.Field)
				if f.Reason == "" {
					t.Errorf("%s has no reason", f.Field)
				}
			}
			if got := strings.Join(fields, " "); got != tc.fields {
				t.Errorf("fields %q, want %q", got, tc.fields)
			}
		})
	}
}

// A body that its schema refuses is judged for the rest, and nothing of it is kept.
func TestAFaultyBodyIsJudgedWhole(t *testing.T) {
	r := newRig(t)
	res := r.want(call{method: "POST", target: "/v1/policies", body: `{"name":"a","priority":1,"foo":1,"updates":{"mode":"minimum","version":"99","deadline":"2027-03-01T12:00:00"}}`}, 422, nil)
	body := errorBody(t, res)
	if len(body.Errors) != 2 || !strings.Contains(body.Errors[1].Reason, "26.6.1") {
		t.Errorf("of the version it is not said what Apple offers: %+v", body.Errors)
	}
	r.want(call{method: "POST", target: "/v1/policies", body: `{"name":"a","priority":1,"foo":1}`}, 422, nil)
	r.want(call{method: "GET", target: "/v1/policies/a"}, 404, nil)
	r.want(call{method: "PUT", target: "/v1/groups/a", body: `{"devices":[1]}`}, 422, nil)
	r.want(call{method: "GET", target: "/v1/groups/a"}, 404, nil)
	r.want(call{method: "PUT", target: "/v1/holds/26.6.1", body: `{"reason":"x","foo":1}`}, 422, nil)
	if held := r.want(call{method: "GET", target: "/v1/holds"}, 200, nil); strings.Contains(held.Body.String(), "26.6.1") {
		t.Errorf("the hold was kept: %s", held.Body)
	}
}

// errorBody is the body of an error in its documented shape.
func errorBody(t *testing.T, res *httptest.ResponseRecorder) rest.ErrorBody {
	t.Helper()
	var body rest.ErrorBody
	d := json.NewDecoder(res.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&body); err != nil {
		t.Fatalf("the error's body is not JSON: %v", err)
	}
	if body.Error == "" || body.Code == "" || body.Errors == nil || body.RequestID == "" {
		t.Errorf("the error's body is not complete: %+v", body)
	}
	if body.RequestID != res.Header().Get("X-Request-Id") {
		t.Errorf("request_id is %q, the header says %q", body.RequestID, res.Header().Get("X-Request-Id"))
	}
	if res.Header().Get("Content-Type") != "application/json" && res.Header().Get("Content-Type") != "application/json; charset=UTF-8" {
		t.Errorf("content type %q", res.Header().Get("Content-Type"))
	}
	return body
}

// A deadline that is already past asks for confirmation, and comes with the impact.
func TestConfirmation(t *testing.T) {
	r := newRig(t)
	r.enrol(mac("1"))
	past := `{"name":"late","priority":1,"updates":{"mode":"minimum","version":"26.6","deadline":"2026-01-01T12:00:00"}}`
	res := r.want(call{method: "POST", target: "/v1/policies", body: past}, 409, nil)
	body := errorBody(t, res)
	if body.Code != "confirm_required" || body.Impact == nil {
		t.Fatalf("got %+v, want confirm_required with the impact", body)
	}
	var tried rest.DryRun
	r.want(call{method: "POST", target: "/v1/policies?dry_run=true", body: past}, 200, &tried)
	if tried.Impact == nil {
		t.Error("the dry run has no impact")
	}
	if list := r.do(call{method: "GET", target: "/v1/policies"}); strings.Contains(list.Body.String(), "late") {
		t.Error("the refused or the dry write was kept")
	}
	confirmed := strings.Replace(past, `"priority"`, `"confirm":true,"priority"`, 1)
	if res := r.want(call{method: "POST", target: "/v1/policies", body: confirmed}, 201, nil); strings.Contains(res.Body.String(), "confirm") {
		t.Errorf("confirm is returned: %s", res.Body)
	}
	res = r.want(call{method: "GET", target: "/v1/policies/late"}, 200, nil)
	if strings.Contains(res.Body.String(), "confirm") {
		t.Errorf("confirm is stored: %s", res.Body)
	}
	// The same by the query, on another write.
	second := strings.NewReplacer("late", "later", `"priority":1`, `"priority":2`).Replace(past)
	r.want(call{method: "PUT", target: "/v1/policies/later?confirm=true", body: second}, 201, nil)
	r.want(call{method: "DELETE", target: "/v1/policies/later", body: `{"confirm":true}`}, 204, nil)
}

func TestStoreNotReachable(t *testing.T) {
	r := newRig(t)
	r.enrol(mac("1"))
	r.db.down.Store(true)
	for _, c := range []call{
		{method: "POST", target: "/v1/policies", body: minimumPolicy},
		{method: "GET", target: "/v1/devices/UDID-1"},
		{method: "GET", target: "/v1/devices/UDID-1/status"},
		{method: "PUT", target: "/v1/groups/lab", body: `{"devices":[]}`},
	} {
		res := r.want(c, 503, nil)
		if res.Header().Get("Retry-After") == "" {
			t.Errorf("%s %s has no Retry-After", c.method, c.target)
		}
		if body := errorBody(t, res); body.Code != "unavailable" || strings.Contains(body.Error, "10.0.0.7") {
			t.Errorf("%s %s says %q, %q", c.method, c.target, body.Code, body.Error)
		}
	}
	var ready fleet.Readiness
	res := r.want(call{method: "GET", target: "/readyz", as: "-"}, 503, &ready)
	if ready.Ready || ready.Store != "not reachable" || res.Header().Get("Retry-After") == "" {
		t.Errorf("/readyz answers %s", res.Body)
	}
	if lines := r.logged.of("/readyz"); len(lines) != 1 || !strings.Contains(lines[0], "10.0.0.7") {
		t.Errorf("the log does not say once what is wrong with the store: %q", lines)
	}
	r.want(call{method: "GET", target: "/healthz", as: "-"}, 200, nil)
	r.db.down.Store(false)
	r.want(call{method: "GET", target: "/readyz", as: "-"}, 200, nil)
	r.want(call{method: "POST", target: "/v1/policies", body: minimumPolicy}, 201, nil)
}

// Errors that only echo or the server itself can make have the same shape.
func TestOwnErrors(t *testing.T) {
	r := newRig(t)
	for _, tc := range []struct {
		name   string
		err    error
		status int
		code   string
	}{
		{"a panic", nil, 500, "internal"},
		{"an unknown error", errors.New("secret of the house"), 500, "internal"},
		{"echo's 415", echo.ErrUnsupportedMediaType, 415, "unsupported_media_type"},
		{"echo's 413", echo.ErrStatusRequestEntityTooLarge, 413, "too_large"},
		{"echo's 429", echo.ErrTooManyRequests, 429, "rate_limited"},
		{"echo's 400", echo.ErrBadRequest, 400, "bad_request"},
		{"echo's 406", echo.NewHTTPError(http.StatusNotAcceptable), 406, "not_acceptable"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r.t = t
			path := "/test/" + strconv.Itoa(len(tc.name))
			r.api.echo.GET(path, func(echo.Context) error {
				if tc.err == nil {
					panic("secret of the house")
				}
				return tc.err
			})
			res := r.send(call{method: "GET", target: path})
			body := errorBody(t, res)
			if res.Code != tc.status || body.Code != tc.code || strings.Contains(body.Error, "secret") {
				t.Errorf("got %d %+v, want %d %s", res.Code, body, tc.status, tc.code)
			}
		})
	}
}
