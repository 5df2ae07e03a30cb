package api

import (
	"strings"
	"testing"

	"plimsoll/server/rest"

	"plimsoll/server/fleet"
)

// The rig's day is 2026-08-25.
func TestExemptionRoutes(t *testing.T) {
	r := newRig(t)
	r.enrol(mac("1"), mac("2"))
	operator, reader := r.token("desk", "operator"), r.token("eye", "read")
	put := func(id, body string) call {
		return call{method: "PUT", target: "/v1/exemptions/" + id, body: body, as: operator}
	}
	const fair = `{"until":"2026-09-25T12:00:00+02:00","reason":"a trade fair"}`
	var res fleet.ExemptionResult
	created := r.want(put("SERIAL1", fair), 201, &res)
	if got := created.Header().Get("Location"); got != "/v1/exemptions/UDID-1" {
		t.Errorf("Location %q", got)
	}
	if x := res.Exemption; !res.Changed || x.Device != "UDID-1" || x.Until.Format("2006-01-02T15:04:05Z07:00") != "2026-09-25T10:00:00Z" || x.By != "token:desk" {
		t.Errorf("created: %+v", res)
	}
	got := r.want(call{method: "GET", target: "/v1/exemptions/UDID-1", as: reader}, 200, nil)
	r.want(put("UDID-1", got.Body.String()), 200, &res)
	if res.Changed {
		t.Error("what GET gave changes something")
	}
	var list struct {
		Exemptions []fleet.Exemption `json:"exemptions"`
	}
	r.get("/v1/exemptions", &list)
	if len(list.Exemptions) != 1 || list.Exemptions[0] != res.Exemption {
		t.Errorf("listed: %+v", list)
	}
	var d fleet.Device
	r.get("/v1/devices/UDID-1", &d)
	if d.Exemption == nil || d.Exemption.Reason != "a trade fair" {
		t.Errorf("the device: %+v", d)
	}
	if text := r.do(call{method: "GET", target: "/metrics"}).Body.String(); !strings.Contains(text, "\nplimsoll_exempt_devices 1\n") {
		t.Error("the metric is not 1")
	}
	for _, tt := range []struct{ name, body, field string }{
		{"no reason", `{"until":"2026-09-25T12:00:00Z"}`, "reason"},
		{"no end", `{"reason":"x"}`, "until"},
		{"no time", `{"until":"soon","reason":"x"}`, "until"},
		{"past", `{"until":"2026-08-25T08:59:59Z","reason":"x"}`, "until"},
		{"over 90 days", `{"until":"2026-11-24T09:00:00Z","reason":"x"}`, "until"},
		{"unknown", `{"until":"2026-09-25T12:00:00Z","reason":"x","forever":true}`, "forever"},
	} {
		var body rest.ErrorBody
		r.want(put("UDID-2", tt.body), 422, &body)
		if len(body.Errors) != 1 || body.Errors[0].Field != tt.field {
			t.Errorf("%s: %+v", tt.name, body)
		}
	}
	r.want(call{method: "PUT", target: "/v1/exemptions/UDID-2", body: fair, as: reader}, 403, nil)
	r.want(put("NO-SUCH", fair), 404, nil)
	r.want(call{method: "DELETE", target: "/v1/exemptions/UDID-1", as: operator}, 204, nil)
	r.want(call{method: "DELETE", target: "/v1/exemptions/UDID-1", as: operator}, 404, nil)
	r.want(call{method: "GET", target: "/v1/exemptions/UDID-1"}, 404, nil)
}

func TestUpdateRoutes(t *testing.T) {
	r := newRig(t)
	r.enrol(mac("1"))
	operator := r.token("desk", "operator")
	put := func(body string) call {
		return call{method: "PUT", target: "/v1/devices/UDID-1/update", body: body, as: operator}
	}
	var body rest.ErrorBody
	r.want(put(`{}`), 422, &body)
	if len(body.Errors) != 1 || body.Errors[0].Field != "reason" {
		t.Errorf("no reason: %+v", body)
	}
	r.want(put(`{"reason":"a hole"}`), 409, &body)
	if body.Code != "no_target" {
		t.Errorf("nothing to install: %+v", body)
	}
	r.want(call{method: "PUT", target: "/v1/devices/UDID-1/update", body: `{"reason":"x"}`, as: r.token("eye", "read")}, 403, nil)
	r.want(call{method: "DELETE", target: "/v1/devices/UDID-1/update", as: operator}, 404, nil)
}
