package api

import (
	"plimsoll/server/rest"
	"strings"
	"testing"

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
