package api

import (
	"net/url"
	"strings"
	"testing"

	"plimsoll/schemas"
)

// A query parameter that a route of /v1 does not know is an error that names it, whatever the route; NanoMDM's routes ignore it, as there.
func TestUnknownParameters(t *testing.T) {
	r := newRig(t)
	routes := 0
	for _, op := range schemas.Operations() {
		if !strings.HasPrefix(op.Path, "/v1/") {
			continue
		}
		routes++
		target := strings.NewReplacer("{", "x", "}", "x").Replace(op.Path) + "?sttate=pending&limitt=1"
		res := r.do(call{method: op.Method, target: target, body: "{}"})
		nano := strings.HasPrefix(op.Path, "/v1/push") || strings.HasPrefix(op.Path, "/v1/enqueue")
		said := strings.Contains(res.Body.String(), `"code":"unknown_parameter"`)
		switch {
		case nano && said:
			t.Errorf("%s %s refuses a parameter, unlike NanoMDM: %s", op.Method, op.Path, res.Body)
		case !nano && (res.Code != 400 || !said || !strings.Contains(res.Body.String(), `"field":"limitt"`)):
			t.Errorf("%s %s: %d: %s", op.Method, op.Path, res.Code, res.Body)
		}
	}
	if routes < 40 {
		t.Fatalf("%d routes: the document was to be read", routes)
	}
	// What a route knows stays known, and HEAD is as GET.
	for _, target := range []string{"/v1/devices?state=pending&limit=5", "/v1/events?after=", "/v1/releases?as_of=2026-08-01", "/v1/compliance/history?days=3&policy=x&limit=1&cursor="} {
		if res := r.do(call{method: "GET", target: target}); strings.Contains(res.Body.String(), "unknown_parameter") {
			t.Errorf("%s: %s", target, res.Body)
		}
	}
	if res := r.do(call{method: "HEAD", target: "/v1/devices?sttate=pending"}); res.Code != 400 {
		t.Errorf("HEAD: %d", res.Code)
	}
	if res := r.do(call{method: "GET", target: "/v1/compliance?x"}); res.Code != 400 || strings.Contains(res.Body.String(), "it takes") {
		t.Errorf("a route without parameters: %d, %s", res.Code, res.Body)
	}
	long := url.QueryEscape(strings.Repeat("ä", 5000))
	if res := r.do(call{method: "GET", target: "/v1/devices?" + long}); res.Code != 400 || res.Body.Len() > 2000 {
		t.Errorf("a long name is answered with %d bytes (%d)", res.Body.Len(), res.Code)
	}
}
