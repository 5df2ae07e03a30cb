package api

import (
	"strings"
	"testing"

	"plimsoll/server/rest"

	"plimsoll/server/fleet"
)

const yearEnd = `{"from":"2026-12-19","to":"2027-01-04","reason":"the shops are full"}`

func TestFreezes(t *testing.T) {
	r := newRig(t)
	put := func(name, body string) call { return call{method: "PUT", target: "/v1/freezes/" + name, body: body} }

	var res fleet.FreezeResult
	created := r.want(put("year-end", yearEnd), 201, &res)
	if got := created.Header().Get("Location"); got != "/v1/freezes/year-end" {
		t.Errorf("Location %q", got)
	}
	if !res.Changed || res.Freeze.Name != "year-end" || res.Freeze.From.String() != "2026-12-19" || res.Freeze.By == "" || len(res.Warnings) != 0 {
		t.Errorf("created: %+v", res)
	}
	r.want(put("year-end", yearEnd), 200, &res)
	if res.Changed {
		t.Error("the same freeze again changes something")
	}

	// What GET gives, PUT takes back.
	got := r.want(call{method: "GET", target: "/v1/freezes/year-end"}, 200, nil)
	r.want(put("year-end", got.Body.String()), 200, &res)
	if res.Changed || got.Header().Get("ETag") == "" {
		t.Errorf("what GET gave: changed %t, ETag %q", res.Changed, got.Header().Get("ETag"))
	}
	r.want(call{method: "PUT", target: "/v1/freezes/year-end", body: yearEnd, header: []string{"If-Match", `"another"`}}, 412, nil)

	r.want(put("shops", `{"from":"2026-11-25","to":"2026-12-31","reason":"sale","groups":["shops"],"strict":true}`), 201, &res)
	if len(res.Warnings) != 1 || res.Warnings[0].Evidence["group"] != "shops" {
		t.Errorf("an unknown group: %+v", res.Warnings)
	}
	var list struct {
		Freezes []struct {
			Name   string `json:"name"`
			Strict bool   `json:"strict"`
		} `json:"freezes"`
	}
	r.get("/v1/freezes", &list)
	if len(list.Freezes) != 2 || list.Freezes[0].Name != "shops" || !list.Freezes[0].Strict || list.Freezes[1].Name != "year-end" {
		t.Errorf("listed: %+v", list)
	}

	r.want(call{method: "DELETE", target: "/v1/freezes/shops?dry_run=true"}, 200, nil)
	r.want(call{method: "DELETE", target: "/v1/freezes/shops"}, 204, nil)
	r.want(call{method: "DELETE", target: "/v1/freezes/shops"}, 404, nil)
	r.want(call{method: "GET", target: "/v1/freezes/shops"}, 404, nil)
}

// Each fault is 422, names its field, and changes nothing. The rig's day is 2026-08-25.
func TestFaultyFreezes(t *testing.T) {
	r := newRig(t)
	for _, tt := range []struct{ name, freeze, body, field string }{
		{"a day that does not exist", "f", `{"from":"2027-02-29","to":"2027-03-04","reason":"x"}`, "from"},
		{"no day", "f", `{"from":"tomorrow","to":"2027-03-04","reason":"x"}`, "from"},
		{"no end", "f", `{"from":"2027-03-04","reason":"x"}`, "to"},
		{"an end before the beginning", "f", `{"from":"2027-03-04","to":"2027-03-03","reason":"x"}`, "to"},
		{"46 days", "f", `{"from":"2027-01-01","to":"2027-02-15","reason":"x"}`, "to"},
		{"over", "f", `{"from":"2026-08-01","to":"2026-08-23","reason":"x"}`, "to"},
		{"no reason", "f", `{"from":"2027-01-01","to":"2027-01-02"}`, "reason"},
		{"an empty reason", "f", `{"from":"2027-01-01","to":"2027-01-02","reason":""}`, "reason"},
		{"a long reason", "f", `{"from":"2027-01-01","to":"2027-01-02","reason":"` + strings.Repeat("x", 501) + `"}`, "reason"},
		{"a name that is none", "F%20f", `{"from":"2027-01-01","to":"2027-01-02","reason":"x"}`, "name"},
		{"an unknown field", "f", `{"from":"2027-01-01","to":"2027-01-02","reason":"x","until":"2027"}`, "until"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var body rest.ErrorBody
			r.want(call{method: "PUT", target: "/v1/freezes/" + tt.freeze, body: tt.body}, 422, &body)
			named := false
			for _, f := range body.Errors {
				named = named || f.Field == tt.field
			}
			if !named {
				t.Errorf("%+v does not name %s", body.Errors, tt.field)
			}
		})
	}
	// 45 days, and a freeze that has begun, are taken; to is the last day at UTC-12, so yesterday's is not over yet.
	r.want(call{method: "PUT", target: "/v1/freezes/long", body: `{"from":"2027-01-01","to":"2027-02-14","reason":"x"}`}, 201, nil)
	r.want(call{method: "PUT", target: "/v1/freezes/begun", body: `{"from":"2026-08-01","to":"2026-08-24","reason":"x"}`}, 201, nil)
	var list struct {
		Freezes []struct{ Name string }
	}
	r.get("/v1/freezes", &list)
	if len(list.Freezes) != 2 {
		t.Errorf("%+v: a faulty freeze was kept", list.Freezes)
	}
}
