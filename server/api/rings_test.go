package api

import (
	"strings"
	"testing"

	"plimsoll/server/rest"

	"plimsoll/server/fleet"
)

const ringed = `{"name":"ringed","priority":10,"updates":{"mode":"automatic","within_days":14},"notice_days":2,"rings":[` +
	`{"name":"canary","groups":["it"],"within_days":2},{"name":"broad","min_age_days":5}],"gate":{}}`

func TestRings(t *testing.T) {
	r := newRig(t)
	r.want(call{method: "POST", target: "/v1/policies", body: ringed}, 201, nil)
	open := func(policy, build, body string) call {
		return call{method: "POST", target: "/v1/policies/" + policy + "/rings/" + build + "/open", body: body}
	}
	const broad = `{"ring":"broad","reason":"tested"}`
	r.want(open("none", "25G83", broad), 404, nil)
	r.want(open("ringed", "25Z999", broad), 404, nil)
	for _, body := range []string{`{"ring":"late","reason":"x"}`, `{"reason":"x"}`} {
		var e rest.ErrorBody
		r.want(open("ringed", "25G83", body), 422, &e)
		if len(e.Errors) != 1 || e.Errors[0].Field != "ring" {
			t.Errorf("%s: %+v", body, e)
		}
	}
	r.want(open("ringed", "25G83", `{"ring":"broad"}`), 422, nil)
	var rings fleet.Rings
	if r.get("/v1/policies/ringed/rings", &rings); len(rings.Releases) != 0 {
		t.Errorf("no Mac, and nothing was opened: %+v", rings)
	}
	var res fleet.RingResult
	r.want(open("ringed", "25G83", broad), 200, &res)
	if !res.Changed || res.Ring != "broad" || res.Policy != "ringed" || res.Build != "25G83" {
		t.Errorf("opened: %+v", res)
	}
	if r.want(open("ringed", "25G83", broad), 200, &res); res.Changed {
		t.Error("open already, and changed")
	}
	r.get("/v1/policies/ringed/rings", &rings)
	if len(rings.Releases) != 1 || len(rings.Releases[0].Rings) != 2 {
		t.Fatalf("rings: %+v", rings)
	}
	if v := rings.Releases[0]; v.Version != "26.6.2" || v.HaltedSince != nil || v.WaitsFor != nil || *v.Rings[0].Why != "first" ||
		*v.Rings[1].Why != "hand" || !v.Rings[1].OpenSince.Equal(today) {
		t.Errorf("rings: %+v", v)
	}
	r.want(call{method: "GET", target: "/v1/policies/none/rings"}, 404, nil)
	metrics := r.want(call{method: "GET", target: "/metrics", as: r.token("prometheus", "metrics")}, 200, nil).Body.String()
	for _, line := range []string{
		`plimsoll_gate_halted{policy="ringed"} 0`,
		`plimsoll_ring_devices{policy="ringed",ring="broad",state="failing"} 0`,
	} {
		if !strings.Contains(metrics, line+"\n") {
			t.Errorf("there is no line %s", line)
		}
	}
}

// A device tells its ring and how updates reach it, and lists are filtered by both (API 5).
func TestRingsAndMechanismsOfDevices(t *testing.T) {
	r := newRig(t)
	old := mac("4")
	old.Version, old.Build = "11.7.10", "20G1427"
	r.enrol(mac("1"), mac("2"), mac("3"), old)
	r.want(call{method: "PUT", target: "/v1/groups/it", body: `{"devices":["SERIAL1"]}`}, 201, nil)
	var d fleet.Device
	if r.get("/v1/devices/SERIAL1", &d); d.Ring != nil || d.Mechanism == nil || *d.Mechanism != "declaration" {
		t.Errorf("without a policy: %+v", d)
	}
	r.want(call{method: "POST", target: "/v1/policies?confirm=true", body: ringed}, 201, nil)
	for _, c := range []struct{ query, serials string }{
		{"ring=canary", "SERIAL1"},
		{"ring=broad", "SERIAL2 SERIAL3 SERIAL4"},
		{"ring=broad&mechanism=declaration&sort=deadline", "SERIAL2 SERIAL3"},
		{"ring=none", ""},
		{"mechanism=none", "SERIAL4"},
		{"mechanism=command", ""},
		{"mechanism=installer", ""},
		{"identity=changed", ""},
		{"ring=canary&enrolled=false", ""},
	} {
		var list struct{ Devices []fleet.Device }
		r.get("/v1/devices?"+c.query, &list)
		var serials []string
		for _, d := range list.Devices {
			serials = append(serials, d.Serial)
		}
		if got := strings.Join(serials, " "); got != c.serials {
			t.Errorf("%s: %q, want %q", c.query, got, c.serials)
		}
	}
	if r.get("/v1/devices/SERIAL4", &d); *d.Ring != "broad" || *d.Mechanism != "none" {
		t.Errorf("the old Mac: %+v", d)
	}
	csv := r.want(call{method: "GET", target: "/v1/devices?ring=canary", header: []string{"Accept", "text/csv"}}, 200, nil).Body.String()
	if lines := strings.Split(strings.TrimSpace(csv), "\r\n"); len(lines) != 2 || !strings.HasSuffix(lines[0], ",ring,mechanism") ||
		!strings.HasSuffix(lines[1], ",canary,declaration") {
		t.Errorf("as CSV: %s", csv)
	}
	r.want(call{method: "GET", target: "/v1/devices?mechanism=magic"}, 400, nil)
	r.want(call{method: "GET", target: "/v1/devices?identity=same"}, 400, nil)
}
