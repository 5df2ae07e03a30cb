package api

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"plimsoll/server/metrics"

	"plimsoll/server/fleet"
)

// Serial numbers that were pasted from a spreadsheet, with what stood around them and in either case, mean the Macs that they name: in a group,
// in its edits, and in a path.
func TestSerialsAsTheyAreTyped(t *testing.T) {
	r := newRig(t)
	for _, n := range []string{"1", "2", "3"} {
		r.enrol(mac(n)) // SERIAL1, UDID-1, …
	}
	var g fleet.Group
	r.want(call{method: "PUT", target: "/v1/groups/lab", body: `{"devices":["SERIAL1\r"," SERIAL2 ","serial3","SERIAL3","udid-1"]}`}, 201, &g)
	if g.UnknownMembers != 0 || len(g.Devices) != 4 {
		t.Errorf("%+v", g)
	}
	var page struct{ Devices []fleet.Device }
	r.get("/v1/devices?group=lab", &page)
	if len(page.Devices) != 3 || len(page.Devices[0].Groups) != 1 || page.Devices[2].Groups[0] != "lab" {
		t.Errorf("%+v", page.Devices)
	}
	r.want(call{method: "POST", target: "/v1/groups/lab", body: `{"remove":["serial3\n"]}`}, 200, &g)
	if len(g.Devices) != 3 {
		t.Errorf("%+v", g)
	}
	r.want(call{method: "PUT", target: "/v1/groups/lab", body: `{"devices":["\r\n"]}`}, 422, nil)
	for _, id := range []string{"serial2", "SERIAL2%0D", "%20Serial2%20", "udid-2"} {
		var d fleet.Device
		r.get("/v1/devices/"+id, &d)
		if d.ID != "UDID-2" {
			t.Errorf("%s is %q", id, d.ID)
		}
	}
}

// What a body gets wrong is named, and the answer stays small.
func TestFaultsAreBounded(t *testing.T) {
	r := newRig(t)
	var many strings.Builder
	for i := range 20000 {
		fmt.Fprintf(&many, `,"field%d":1`, i)
	}
	for name, body := range map[string]string{
		"many fields": `{"name":"a","priority":1` + many.String() + `}`,
		"a long name": `{"name":"a","priority":1,"` + strings.Repeat("ä", 1<<20) + `":1}`,
	} {
		res := r.want(call{method: "POST", target: "/v1/policies", body: body}, 422, nil)
		if res.Body.Len() > 64<<10 || !strings.Contains(res.Body.String(), "is not a known field") {
			t.Errorf("%s: answered with %d bytes: %.300s", name, res.Body.Len(), res.Body)
		}
		if name == "many fields" && !strings.Contains(res.Body.String(), "19900 more faults are not named") {
			t.Errorf("%.300s", res.Body)
		}
	}
}

// Enrolment codes are secrets: no cache keeps them. A list as CSV has the name of a file.
func TestCaches(t *testing.T) {
	r := newRig(t)
	r.want(call{method: "POST", target: "/v1/enrollment-codes", body: `{"label":"x"}`}, 201, nil)
	for _, accept := range []string{"application/json", "text/csv"} {
		res := r.want(call{method: "GET", target: "/v1/enrollment-codes", header: []string{"Accept", accept}}, 200, nil)
		if h := res.Header(); h.Get("Cache-Control") != "no-store" || h.Get("ETag") != "" {
			t.Errorf("%s: %v", accept, h)
		}
	}
	for target, name := range map[string]string{"/v1/enrollment-codes": "enrollment-codes.csv", "/v1/devices": "devices.csv", "/v1/compliance/history": "history.csv"} {
		res := r.want(call{method: "GET", target: target, header: []string{"Accept", "text/csv"}}, 200, nil)
		if got := res.Header().Get("Content-Disposition"); got != `attachment; filename="`+name+`"` {
			t.Errorf("%s: %s", target, got)
		}
	}
}

// The counters of the Macs' side reach /metrics; a request that was refused in a protocol's own form is no 200; without a source the catalogue
// has none to be stale of.
func TestMetricsOfOthers(t *testing.T) {
	r := newRig(t)
	var refused atomic.Int64
	refused.Store(7)
	r.api = New(Options{Fleet: r.fleet, Log: r.api.log, Counts: []metrics.Count{{Name: "identities_total", Help: "x", Result: "refused", Of: &refused}}})
	defer r.api.Close()
	h := r.api.Measure("/scep", http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.RawQuery != "" {
			w.(metrics.Refuser).Refused()
		}
		_, _ = w.Write([]byte("an answer"))
	}))
	for _, target := range []string{"/scep?refused", "/scep"} {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", target, nil))
	}
	text := r.want(call{method: "GET", target: "/metrics"}, 200, nil).Body.String()
	for _, line := range []string{
		`plimsoll_identities_total{result="refused"} 7`, `plimsoll_http_requests_total{code="400",method="post",route="/scep"} 1`,
		`plimsoll_http_requests_total{code="200",method="post",route="/scep"} 1`, `plimsoll_catalogue_source 0`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("/metrics lacks %s", line)
		}
	}
}
