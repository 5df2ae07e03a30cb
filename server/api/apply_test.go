package api

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"

	"plimsoll/server/fleet"
)

// An apply over the API: a dry run needs no admin, the revision is a condition, and faults name the object and its field.
func TestApply(t *testing.T) {
	r := newRig(t)
	reader := r.token("eye", "read")
	const objects = `{"objects":[{"kind":"policy","name":"eng","priority":5,"updates":{"mode":"none"}},` +
		`{"kind":"group","name":"lab","devices":["A"]},{"kind":"hold","name":"26.6.2","reason":"VPN"},` +
		`{"kind":"freeze","name":"end","from":"2026-12-19","to":"2027-01-04","reason":"holidays"}]}`
	var planned, done fleet.ApplyResult
	r.want(call{method: "POST", target: "/v1/apply?dry_run=true", body: objects, as: reader}, 200, &planned)
	r.want(call{method: "POST", target: "/v1/apply", body: objects, as: reader}, 403, nil)
	match := []string{"If-Match", `"` + planned.Revision + `"`}
	r.want(call{method: "POST", target: "/v1/apply", body: objects, header: match}, 200, &done)
	if len(done.Objects) != 4 || done.Objects[0].Action != "create" || !done.Objects[0].Managed || done.Revision == planned.Revision {
		t.Errorf("done: %+v", done)
	}
	r.want(call{method: "POST", target: "/v1/apply", body: objects, header: match}, 412, nil)
	r.want(call{method: "POST", target: "/v1/apply?dry_run=true", body: objects}, 200, &planned)
	for _, o := range planned.Objects {
		if o.Action != "none" {
			t.Errorf("the same again: %+v", o)
		}
	}
	if e := r.audit("?limit=4"); len(e) != 4 || e[0].RequestID == "" || e[0].RequestID != e[3].RequestID {
		t.Errorf("the entries are %+v", e)
	}
	res := r.want(call{method: "POST", target: "/v1/apply", body: `{"objects":[{"kind":"policy","name":"x","priority":"high","colour":1},{"kind":"pause","name":"y"},` +
		`{"kind":"group"},7,{"kind":"freeze","name":"z","from":"2026-02-30","to":"2026-03-01","reason":"r"},{"kind":"group","name":"g","devices":[],"confirm":true}]}`}, 422, nil)
	for _, field := range []string{
		"objects.0.priority", "objects.0.colour", "objects.1.kind", "objects.2.name", `"field":"objects.3"`, "objects.4.from", "objects.5.confirm",
	} {
		if !strings.Contains(res.Body.String(), field) {
			t.Errorf("%s is not named: %s", field, res.Body)
		}
	}
	for body, status := range map[string]int{`{`: 400, `[]`: 422, `{}`: 422, `{"objects":[],"prune":true}`: 422, `{"objects":[],"confirm":1}`: 422, `{"objects":[]}`: 200} {
		r.want(call{method: "POST", target: "/v1/apply", body: body}, status, nil)
	}
	// A body that is cut short is the client's fault, as on every route.
	req := httptest.NewRequest(http.MethodPost, "/v1/apply", io.MultiReader(strings.NewReader(`{"objects":[`), iotest.ErrReader(io.ErrUnexpectedEOF)))
	req.Header.Set("Authorization", "Bearer "+adminSecret)
	rec := httptest.NewRecorder()
	r.api.Handler().ServeHTTP(rec, req)
	if rec.Code != http.StatusBadRequest || !strings.Contains(rec.Body.String(), `"bad_request"`) {
		t.Errorf("a body that is cut short: %d %s", rec.Code, rec.Body)
	}
}
