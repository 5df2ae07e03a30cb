package api

import (
	"encoding/json"
	"strings"
	"testing"

	"plimsoll/server/fleet"
	"plimsoll/server/rest"
)

// What admins write about days, freezes, rings and single Macs and what is not valid is refused with the field and the cause,
// and changes nothing (rules 11 to 13).
func TestBadInputOfWhenAndToWhom(t *testing.T) {
	r := newRig(t)
	r.enrol(mac("1"))
	policyWith := func(updates, rest string) string {
		return `{"name":"p","priority":1,"updates":{"mode":"automatic","within_days":14` + updates + `},"notice_days":2` + rest + `}`
	}
	rings := func(list, gate string) string { return policyWith("", `,"rings":[`+list+`]`+gate) }
	freeze := func(from, to, rest string) string {
		return `{"from":"` + from + `","to":"` + to + `","reason":"sales"` + rest + `}`
	}
	const (
		post, put = "POST", "PUT"
		policies  = "/v1/policies"
		frozen    = "/v1/freezes/sales"
		exempted  = "/v1/exemptions/SERIAL1"
		canary    = `{"name":"canary","groups":["it"],"within_days":5}`
		last      = `{"name":"broad"}`
	)
	for _, c := range []struct {
		name, method, target, body string
		status                     int
		field, cause               string // the cause: a part of the reason
	}{
		{"a day that does not exist", post, policies, policyWith(`,"days":["mon","someday"]`, ""), 422, "updates.days", "mon"},
		{"no day", post, policies, policyWith(`,"days":[]`, ""), 422, "updates.days", ""},
		{"a BSI day that does not exist", post, policies, policyWith("", `,"background_security":{"mode":"automatic","days":["Mon"]}`), 422, "background_security.days", "mon"},
		{"days beside a named day", post, policies, `{"name":"p","priority":1,"updates":{"mode":"minimum","version":"26.6.1","deadline":"2026-12-01T12:00:00","days":["mon"]}}`, 422, "updates.days", "minimum"},
		{"a freeze that ends before it begins", put, frozen, freeze("2026-12-20", "2026-12-19", ""), 422, "to", ""},
		{"a freeze that is past", put, frozen, freeze("2026-08-01", "2026-08-23", ""), 422, "to", ""},
		{"a freeze of 46 days", put, frozen, freeze("2026-12-01", "2027-01-15", ""), 422, "to", "45"},
		{"a freeze on no day", put, frozen, freeze("2026-02-30", "2026-12-19", ""), 422, "from", ""},
		{"a freeze without a reason", put, frozen, `{"from":"2026-12-19","to":"2027-01-04"}`, 422, "reason", ""},
		{"one ring", post, policies, rings(last, ""), 422, "rings", "2"},
		{"rings whose days fall", post, policies, rings(canary+`,{"name":"early","percent":10,"within_days":4},`+last, ""), 422, "rings[1].within_days", ""},
		{"a ring beyond the policy's days", post, policies, rings(`{"name":"canary","groups":["it"],"within_days":15},`+last, ""), 422, "rings[0].within_days", "14"},
		{"an age that falls", post, policies, rings(canary+`,{"name":"early","percent":10,"min_age_days":5},{"name":"broad","min_age_days":4}`, ""), 422, "rings[2].min_age_days", ""},
		{"an age that leaves no notice", post, policies, rings(canary+`,{"name":"broad","min_age_days":12}`, ""), 422, "rings[1].min_age_days", "11"},
		{"an age of the first ring", post, policies, rings(`{"name":"canary","groups":["it"],"min_age_days":1},`+last, ""), 422, "rings[0].min_age_days", ""},
		{"a percentage over 100", post, policies, rings(`{"name":"early","percent":101},`+last, ""), 422, "rings[0].percent", "100"},
		{"no percentage", post, policies, rings(`{"name":"early","percent":0},`+last, ""), 422, "rings[0].percent", ""},
		{"percentages that sum up to over 100", post, policies, rings(`{"name":"a","percent":60},{"name":"b","percent":41},`+last, ""), 422, "rings[1].percent", "100"},
		{"a last ring with a percentage", post, policies, rings(canary+`,{"name":"broad","percent":10}`, ""), 422, "rings[1]", ""},
		{"a last ring with groups", post, policies, rings(canary+`,{"name":"broad","groups":["x"]}`, ""), 422, "rings[1]", ""},
		{"a last ring with days of its own", post, policies, rings(canary+`,{"name":"broad","within_days":14}`, ""), 422, "rings[1].within_days", ""},
		{"a ring that takes nobody", post, policies, rings(`{"name":"canary"},`+last, ""), 422, "rings[0]", ""},
		{"two rings of one name", post, policies, rings(canary+`,{"name":"canary","percent":5},`+last, ""), 422, "rings[1].name", ""},
		{"an age beside rings", post, policies, policyWith(`,"min_age_days":3`, `,"rings":[`+canary+`,`+last+`]`), 422, "updates.min_age_days", "rings"},
		{"too few Macs", post, policies, rings(canary+","+last, `,"gate":{"min_macs":0}`), 422, "gate.min_macs", ""},
		{"too many Macs", post, policies, rings(canary+","+last, `,"gate":{"min_macs":100001}`), 422, "gate.min_macs", ""},
		{"a share over 100", post, policies, rings(canary+","+last, `,"gate":{"max_bad_percent":100.5}`), 422, "gate.max_bad_percent", "100"},
		{"a gate without rings", post, policies, policyWith("", `,"gate":{}`), 422, "gate", "rings"},
		{"rings beside a named version", post, policies, `{"name":"p","priority":1,"updates":{"mode":"minimum","version":"26.6.1","deadline":"2026-12-01T12:00:00"},"rings":[` + canary + `,` + last + `]}`, 422, "rings", "automatic"},
		{"an exemption in the past", put, exempted, `{"until":"2026-08-25T00:00:00Z","reason":"x"}`, 422, "until", "future"},
		{"an exemption too far", put, exempted, `{"until":"2027-08-25T00:00:00Z","reason":"x"}`, 422, "until", "longest"},
		{"an exemption of an unknown Mac", put, "/v1/exemptions/NOBODY", `{"until":"2026-09-01T00:00:00Z","reason":"x"}`, 404, "", ""},
		{"update now on an unknown Mac", put, "/v1/devices/NOBODY/update", `{"reason":"x"}`, 404, "", ""},
	} {
		before := r.written()
		var body rest.ErrorBody
		res := r.do(call{method: c.method, target: c.target, body: c.body})
		if err := json.Unmarshal(res.Body.Bytes(), &body); res.Code != c.status || err != nil {
			t.Errorf("%s: %d, want %d: %s", c.name, res.Code, c.status, res.Body)
			continue
		}
		found := c.field == "" && body.Error != ""
		for _, e := range body.Errors {
			found = found || strings.HasPrefix(e.Field, c.field) && strings.Contains(e.Reason, c.cause)
		}
		if !found {
			t.Errorf("%s: %s does not name %s and %q", c.name, res.Body, c.field, c.cause)
		}
		if after := r.written(); after != before {
			t.Errorf("%s changed something: %s, before it %s", c.name, after, before)
		}
	}
	// A group that does not exist is a warning.
	var frz fleet.FreezeResult
	if r.want(call{method: put, target: frozen, body: freeze("2026-12-19", "2027-01-04", `,"groups":["shops"]`)}, 201, &frz); len(frz.Warnings) == 0 || !strings.Contains(frz.Warnings[0].Text, "shops") {
		t.Errorf("a freeze of an unknown group: %+v", frz)
	}
	var pol fleet.PolicyResult
	r.want(call{method: post, target: policies, body: rings(canary+","+last, "")}, 201, &pol)
	if len(pol.Warnings) == 0 {
		t.Errorf("rings of an unknown group: %+v", pol)
	}
}

// An update now while enforcement is held or paused is refused with the cause, and leaves nothing behind.
func TestUpdateNowIsRefused(t *testing.T) {
	r := newRig(t)
	r.enrol(mac("1"))
	if err := r.fleet.Ingest(t.Context(), "UDID-1", []byte(`{"StatusItems":{"device":{"operating-system":{"version":"26.5","build-version":"25F71"}},`+
		`"softwareupdate":{"device-id":"J413AP"}},"Errors":[],"FullReport":true}`)); err != nil {
		t.Fatal(err)
	}
	r.want(call{method: "POST", target: "/v1/policies?confirm=true", body: `{"name":"p","priority":1,"updates":{"mode":"automatic","within_days":14}}`}, 201, nil)
	now := call{method: "PUT", target: "/v1/devices/SERIAL1/update", body: `{"reason":"a hole"}`}
	refused := func(code string) {
		t.Helper()
		before := r.written()
		var body rest.ErrorBody
		if r.want(now, 409, &body); body.Code != code || body.Error == "" {
			t.Errorf("%+v, want %s", body, code)
		}
		if after := r.written(); after != before {
			t.Errorf("%s changed something: %s, before it %s", code, after, before)
		}
	}
	r.want(call{method: "PUT", target: "/v1/holds/26", body: `{"reason":"broken"}`}, 201, nil)
	refused("held")
	r.want(call{method: "DELETE", target: "/v1/holds/26"}, 204, nil)
	r.want(call{method: "PUT", target: "/v1/pause", body: `{"reason":"wait"}`}, 200, nil)
	refused("paused")
	r.want(call{method: "DELETE", target: "/v1/pause"}, 200, nil)
	r.want(call{method: "PUT", target: "/v1/exemptions/SERIAL1", body: `{"until":"2026-09-01T00:00:00Z","reason":"x"}`}, 201, nil)
	refused("exempt")
	r.want(call{method: "DELETE", target: "/v1/exemptions/SERIAL1"}, 204, nil)
	r.want(call{method: "PUT", target: "/v1/freezes/launch", body: `{"from":"2026-08-25","to":"2026-08-30","reason":"launch","strict":true}`}, 201, nil)
	refused("frozen")
}

// written is everything that admins wrote.
func (r *rig) written() string {
	r.t.Helper()
	in := r.fleet.Current().Input
	exemptions, err := r.fleet.Exemptions(r.t.Context(), 0, "")
	if err != nil {
		r.t.Fatal(err)
	}
	d, err := r.fleet.Device(r.t.Context(), "SERIAL1")
	if err != nil {
		r.t.Fatal(err)
	}
	b, err := json.Marshal([]any{in.Policies, in.Groups, in.Freezes, in.Holds, in.Pause, exemptions.Items, d.UpdateNow})
	if err != nil {
		r.t.Fatal(err)
	}
	return string(b)
}
