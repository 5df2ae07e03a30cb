package api

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"plimsoll/server/fleet"
)

// Asking whether the server is ready needs no token (docs/api.md 3), and costs the store one write for all who ask at about the same time. What
// they are told was found after they asked.
func TestReadyAsksTheStoreOnce(t *testing.T) {
	r := newRig(t)
	asked := func(ctx context.Context) int64 {
		before := r.db.pings.Load()
		req := call{method: "GET", target: "/readyz", as: "-"}.request().WithContext(ctx)
		r.api.Handler().ServeHTTP(httptest.NewRecorder(), req)
		return r.db.pings.Load() - before
	}
	if got := asked(t.Context()); got != 1 {
		t.Errorf("who comes alone has the store asked %d times", got)
	}
	r.api.pinged.began = time.Now().Add(time.Hour)
	if got := asked(t.Context()); got != 0 {
		t.Errorf("who waited while somebody else had the store asked has it asked %d times more", got)
	}
	r.api.pinged.every, r.api.pinged.began = time.Hour, time.Now()
	gone, leave := context.WithCancel(t.Context())
	leave()
	if got := asked(gone); got != 0 {
		t.Errorf("just after the store was asked, it is asked %d times more", got)
	}
	other := New(Options{Fleet: r.fleet, Log: r.api.log})
	defer other.Close()
	if other.pinged.every <= 0 {
		t.Error("nothing bounds how often the store is asked")
	}
}

// What is wrong with the catalogue's source is there for strangers to see, and where it lies is not.
func TestReadyNamesNoSource(t *testing.T) {
	r := newRig(t)
	const secret = "http://10.0.0.7/feed"
	for name, c := range map[string]fleet.ReadinessCatalogue{
		"not reached": {Error: "fetch " + secret + ": connection refused"},
		"no feed":     {Refused: "fetch " + secret + ": the answer is HTML"},
	} {
		r.api.pinged.began, r.api.pinged.found = time.Now().Add(time.Hour), fleet.Readiness{Ready: true, Store: "ok", Catalogue: c}
		var got fleet.Readiness
		res := r.want(call{method: "GET", target: "/readyz", as: "-"}, 200, &got)
		if strings.Contains(res.Body.String(), "10.0.0.7") || (got.Catalogue.Error == "") != (c.Error == "") || (got.Catalogue.Refused == "") != (c.Refused == "") {
			t.Errorf("%s: %s", name, res.Body)
		}
	}
	few := fleet.ReadinessCatalogue{Refused: "the response has 3 builds of macOS, the last one had 60"}
	r.api.pinged.found.Catalogue = few
	var got fleet.Readiness
	if r.get("/readyz", &got); got.Catalogue.Refused != few.Refused {
		t.Errorf("why a response was refused is told as %q", got.Catalogue.Refused)
	}
}

// Who may only read sees what a Mac is told without its link, by which one may do what the Mac's user may (rules 9).
func TestReadersSeeNoLink(t *testing.T) {
	r := newRigAt(t, "https://mdm.example.com")
	r.enrol(mac("1"))
	r.want(call{method: "POST", target: "/v1/policies?confirm=true", body: strings.Replace(minimumPolicy, `"priority"`, `"details_url":"self","priority"`, 1)}, 201, nil)
	ctx := context.Background()
	err := r.fleet.Ingest(ctx, "UDID-1", []byte(`{"StatusItems":{"device":{"operating-system":{"version":"26.5","build-version":"25F71"}},"softwareupdate":{"device-id":"J413AP"}},"Errors":[],"FullReport":true}`))
	if _, served := r.fleet.Items(ctx, "UDID-1"); errors.Join(err, served) != nil {
		t.Fatal(err, served)
	}
	reader := r.token("reader", "read")
	for _, target := range []string{"/v1/devices/UDID-1/plan", "/v1/devices/UDID-1/declarations", "/v1/devices/SERIAL1/declarations?at=2026-08-25"} {
		shown := r.want(call{method: "GET", target: target}, 200, nil).Body.String()
		_, after, _ := strings.Cut(shown, "https://mdm.example.com/self/")
		link, _, _ := strings.Cut(after, `"`)
		if r.fleet.ByLink(link) == nil {
			t.Fatalf("%s shows an admin the link %q: %s", target, link, shown)
		}
		hidden := r.want(call{method: "GET", target: target, as: reader}, 200, nil).Body.String()
		if hidden != strings.ReplaceAll(shown, link, "(hidden)") {
			t.Errorf("%s shows a reader %s", target, hidden)
		}
	}
}
