package api

import (
	"encoding/csv"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"plimsoll/server/rest"

	"github.com/google/go-cmp/cmp"

	"plimsoll/declarations/plan"
	"plimsoll/server/fleet"
	"plimsoll/status/patching"
	"plimsoll/storage"
)

func TestPolicyLifecycle(t *testing.T) {
	r := newRig(t)
	var made fleet.PolicyResult
	res := r.want(call{method: "POST", target: "/v1/policies", body: minimumPolicy}, 201, &made)
	if got := res.Header().Get("Location"); got != "/v1/policies/everyone" {
		t.Errorf("Location is %q", got)
	}
	if !made.Changed || made.Policy.Name != "everyone" || !strings.Contains(res.Body.String(), `"warnings":[]`) {
		t.Errorf("created: %s", res.Body)
	}
	etag := res.Header().Get("ETag")

	got := r.want(call{method: "GET", target: "/v1/policies/everyone"}, 200, nil)
	if got.Header().Get("ETag") != etag {
		t.Errorf("GET has the ETag %s, the write had %s", got.Header().Get("ETag"), etag)
	}
	for _, header := range []string{etag, "W/" + etag, `"x", ` + etag, "*"} {
		res := r.want(call{method: "GET", target: "/v1/policies/everyone", header: []string{"If-None-Match", header}}, 304, nil)
		if res.Body.Len() > 0 || res.Header().Get("ETag") != etag {
			t.Errorf("304 for %s: ETag %s, body %q", header, res.Header().Get("ETag"), res.Body)
		}
	}
	r.want(call{method: "GET", target: "/v1/policies/everyone", header: []string{"If-None-Match", `"x"`}}, 200, nil)

	// What GET gives, PUT takes back, and nothing changes.
	var put fleet.PolicyResult
	r.want(call{method: "PUT", target: "/v1/policies/everyone", body: got.Body.String(), header: []string{"If-Match", etag}}, 200, &put)
	if put.Changed {
		t.Error("putting what GET gave changed it")
	}
	// The name may be left out.
	changed := r.want(call{method: "PUT", target: "/v1/policies/everyone", body: `{"priority":11,"updates":{"mode":"none"}}`, header: []string{"If-Match", `"x", ` + etag}}, 200, &put)
	if !put.Changed || put.Policy.Priority != 11 || changed.Header().Get("ETag") == etag {
		t.Errorf("replaced: %s", changed.Body)
	}
	r.want(call{method: "PUT", target: "/v1/policies/everyone", body: `{"priority":12}`, header: []string{"If-Match", etag}}, 412, nil)
	r.want(call{method: "DELETE", target: "/v1/policies/everyone", header: []string{"If-Match", etag}}, 412, nil)
	r.want(call{method: "PUT", target: "/v1/policies/second", body: `{"priority":1}`}, 201, nil)

	var tried rest.DryRun
	r.want(call{method: "DELETE", target: "/v1/policies/everyone?dry_run=true"}, 200, &tried)
	if tried.Impact == nil {
		t.Error("the dry run has no impact")
	}
	r.want(call{method: "DELETE", target: "/v1/policies/everyone"}, 204, nil)
	r.want(call{method: "GET", target: "/v1/policies/everyone"}, 404, nil)
}

func TestUnknownGroupIsAWarning(t *testing.T) {
	r := newRig(t)
	var made fleet.PolicyResult
	r.want(call{method: "POST", target: "/v1/policies", body: `{"name":"a","priority":1,"assign":{"groups":["later"]}}`}, 201, &made)
	if len(made.Warnings) != 1 {
		t.Errorf("warnings: %+v", made.Warnings)
	}
}

func TestGroups(t *testing.T) {
	r := newRig(t)
	r.enrol(mac("1"))
	var g fleet.Group
	res := r.want(call{method: "PUT", target: "/v1/groups/lab", body: `{"devices":["SERIAL1","LATER","SERIAL1"]}`}, 201, &g)
	want := fleet.Group{Name: "lab", Devices: []string{"LATER", "SERIAL1"}, UnknownMembers: 1}
	if diff := cmp.Diff(want, g); diff != "" || res.Header().Get("Location") != "/v1/groups/lab" {
		t.Error(diff, res.Header().Get("Location"))
	}
	r.want(call{method: "PUT", target: "/v1/groups/lab", body: `{"devices":["SERIAL1"]}`}, 200, &g)
	r.want(call{method: "POST", target: "/v1/groups/lab", body: `{"add":["UDID-1"],"remove":["SERIAL1"]}`}, 200, &g)
	if !slices.Equal(g.Devices, []string{"UDID-1"}) || g.UnknownMembers != 0 {
		t.Errorf("after the edit: %+v", g)
	}
	var devices struct{ Devices []fleet.Device }
	r.get("/v1/devices?group=lab", &devices)
	if len(devices.Devices) != 1 || !slices.Equal(devices.Devices[0].Groups, []string{"lab"}) {
		t.Errorf("the group's devices: %+v", devices.Devices)
	}
	r.want(call{method: "POST", target: "/v1/groups/lab?dry_run=1", body: `{"remove":["UDID-1"]}`}, 200, &rest.DryRun{})
	r.get("/v1/groups/lab", &g)
	if len(g.Devices) != 1 {
		t.Errorf("the dry run changed the group: %+v", g)
	}
	r.want(call{method: "DELETE", target: "/v1/groups/lab"}, 204, nil)
}

func TestCatalogueHoldsAndPause(t *testing.T) {
	r := newRig(t)
	var releases struct {
		Releases []fleet.Release
		Next     string `json:"next_cursor"`
	}
	r.get("/v1/releases?limit=2", &releases)
	if len(releases.Releases) != 2 || releases.Next == "" {
		t.Fatalf("the first page: %+v", releases)
	}
	r.get("/v1/releases?as_of=2026-08-23", &releases)
	r.get("/v1/releases?as_of=2026-08-23T10:00:00%2B02:00", &releases)

	var h fleet.Hold
	r.want(call{method: "PUT", target: "/v1/holds/26.6", body: `{"reason":"breaks the VPN","until":"2026-09-30T00:00:00Z"}`}, 201, &h)
	if !h.Successors || h.By != "admin-token" || !slices.Contains(h.Releases, "26.6.1") {
		t.Errorf("the hold: %+v", h)
	}
	r.want(call{method: "PUT", target: "/v1/holds/26.6", body: `{"reason":"breaks the VPN","successors":false,"until":null}`}, 200, &h)
	if h.Successors || h.Until != nil || slices.Contains(h.Releases, "26.6.1") {
		t.Errorf("the hold, replaced: %+v", h)
	}
	r.want(call{method: "PUT", target: "/v1/holds/26.5?dry_run=true", body: `{"reason":"x"}`}, 200, &rest.DryRun{})
	var holds struct{ Holds []fleet.Hold }
	r.get("/v1/holds", &holds)
	if len(holds.Holds) != 1 {
		t.Errorf("holds: %+v", holds)
	}
	r.want(call{method: "DELETE", target: "/v1/holds/26.6?dry_run=true"}, 200, &rest.DryRun{})
	r.want(call{method: "DELETE", target: "/v1/holds/26.6"}, 204, nil)

	var p fleet.Pause
	r.want(call{method: "PUT", target: "/v1/pause?dry_run=true", body: `{"reason":"freeze"}`}, 200, &rest.DryRun{})
	r.get("/v1/pause", &p)
	if p.Paused {
		t.Error("the dry run paused")
	}
	r.want(call{method: "PUT", target: "/v1/pause", body: `{"reason":"freeze"}`}, 200, &p)
	if !p.Paused || p.Reason != "freeze" || p.By != "admin-token" {
		t.Errorf("the pause: %+v", p)
	}
	r.want(call{method: "DELETE", target: "/v1/pause?dry_run=true"}, 200, &rest.DryRun{})
	r.want(call{method: "DELETE", target: "/v1/pause"}, 200, &p)
	if p.Paused {
		t.Errorf("still paused: %+v", p)
	}
}

const report = `{"StatusItems":{"device":{"operating-system":{"version":"26.5","build-version":"25F71"},"model":{"identifier":"Mac14,2"}},
	"softwareupdate":{"device-id":"J413AP","install-state":"none"}},"Errors":[]}`

func TestOneDevice(t *testing.T) {
	r := newRig(t)
	r.enrol(mac("1"))
	r.want(call{method: "POST", target: "/v1/policies", body: minimumPolicy}, 201, nil)
	if _, err := r.fleet.Items(t.Context(), "UDID-1"); err != nil {
		t.Fatal(err)
	}
	if err := r.fleet.Ingest(t.Context(), "UDID-1", []byte(report)); err != nil {
		t.Fatal(err)
	}
	var d fleet.Device
	for _, id := range []string{"UDID-1", "SERIAL1"} {
		r.get("/v1/devices/"+id, &d)
		if d.ID != "UDID-1" || d.State != "pending" || d.Target == nil || d.Target.Version < "26.6.1" || d.Policy == nil || *d.Policy != "everyone" {
			t.Errorf("%s: %+v", id, d)
		}
	}
	if d.DeadlineLocal == nil || *d.DeadlineLocal != "2027-03-01T12:00:00" {
		t.Errorf("deadline %v", d.DeadlineLocal)
	}
	var plan plan.Explanation
	r.get("/v1/devices/SERIAL1/plan", &plan)
	if len(plan.Policies) != 1 || !plan.Policies[0].Won || len(plan.DeadlineWords) == 0 {
		t.Errorf("the plan: %+v", plan)
	}
	var man fleet.ServedManifest
	r.get("/v1/devices/SERIAL1/declarations", &man)
	if len(man.Declarations) == 0 {
		t.Error("nothing was served")
	}
	r.get("/v1/devices/SERIAL1/declarations?at=2026-08-25", &man)
	var items fleet.StatusItems
	r.get("/v1/devices/SERIAL1/status", &items)
	if string(items.Items["softwareupdate.device-id"]) != `"J413AP"` {
		t.Errorf("status: %v", items)
	}
	var reports struct{ Reports []fleet.ReportInfo }
	r.get("/v1/devices/SERIAL1/reports", &reports)
	if len(reports.Reports) != 1 {
		t.Fatalf("reports: %+v", reports)
	}
	var rep fleet.Report
	r.get("/v1/devices/SERIAL1/reports/"+url.PathEscape(reports.Reports[0].ID), &rep)
	if !strings.Contains(string(rep.Body), "J413AP") {
		t.Errorf("report: %s", rep.Body)
	}
	var events struct{ Events []fleet.Event }
	r.get("/v1/devices/SERIAL1/events", &events)
	if len(events.Events) == 0 || events.Events[len(events.Events)-1].Type != "enrolled" {
		t.Errorf("events: %+v", events)
	}
	r.want(call{method: "POST", target: "/v1/devices/SERIAL1/sync"}, 204, nil)
	r.want(call{method: "DELETE", target: "/v1/devices/SERIAL1"}, 204, nil)
	r.want(call{method: "GET", target: "/v1/devices/SERIAL1"}, 404, nil)
}

func TestDeviceListPagesAndFilters(t *testing.T) {
	r := newRig(t)
	for _, n := range []string{"1", "2", "3", "4", "5"} {
		r.enrol(mac(n))
	}
	var serials []string
	target := "/v1/devices?limit=2&state=unmanaged&enrolled=true&version=26.5&model=Mac14,2&q=serial&sort=serial"
	for pages := 0; target != ""; pages++ {
		var page struct {
			Devices []fleet.Device
			Next    string `json:"next_cursor"`
		}
		res := r.want(call{method: "GET", target: target}, 200, &page)
		for _, d := range page.Devices {
			serials = append(serials, d.Serial)
		}
		target = ""
		if link := res.Header().Get("Link"); (link != "") != (page.Next != "") {
			t.Errorf("Link %q beside next_cursor %q", link, page.Next)
		} else if link != "" {
			target = strings.TrimSuffix(strings.TrimPrefix(link, "<"), `>; rel="next"`)
		}
		if pages > 5 {
			t.Fatal("the list does not end")
		}
	}
	if want := []string{"SERIAL1", "SERIAL2", "SERIAL3", "SERIAL4", "SERIAL5"}; !slices.Equal(serials, want) {
		t.Errorf("got %v, want %v", serials, want)
	}
	var none struct{ Devices []fleet.Device }
	for _, q := range []string{"state=pending", "flag=silent", "policy=x", "group=x", "version=1", "model=x", "q=x", "seen_before=2020-01-01", "enrolled=false"} {
		r.get("/v1/devices?"+q, &none)
		if len(none.Devices) != 0 {
			t.Errorf("%s gives %d devices", q, len(none.Devices))
		}
	}
}

func TestFleetWide(t *testing.T) {
	r := newRig(t)
	r.enrol(mac("1"), mac("2"))
	var c fleet.Compliance
	res := r.want(call{method: "GET", target: "/v1/compliance"}, 200, &c)
	if c.Devices != 2 || len(c.States) != 10 || len(c.Flags) != 9 {
		t.Errorf("compliance: %+v", c)
	}
	r.want(call{method: "GET", target: "/v1/compliance", header: []string{"If-None-Match", res.Header().Get("ETag")}}, 304, nil)
	var history struct{ History []fleet.HistoryDay }
	r.get("/v1/compliance/history?days=7", &history)
	r.want(call{method: "GET", target: "/v1/compliance/history", header: []string{"Accept", "text/csv"}}, 200, nil)
}

func TestTokensAndCodes(t *testing.T) {
	r := newRig(t)
	secret := r.token("monitor", "read")
	if res := r.want(call{method: "GET", target: "/v1/tokens"}, 200, nil); strings.Contains(res.Body.String(), secret) {
		t.Error("the list shows the secret")
	}
	r.want(call{method: "GET", target: "/v1/policies", as: secret}, 200, nil)
	r.want(call{method: "POST", target: "/v1/tokens", body: `{"name":"monitor","scope":"read"}`}, 409, nil)
	r.want(call{method: "DELETE", target: "/v1/tokens/monitor"}, 204, nil)
	r.want(call{method: "GET", target: "/v1/policies", as: secret}, 401, nil)

	var code fleet.CodeInfo
	r.want(call{method: "POST", target: "/v1/enrollment-codes", body: `{"label":"lab","uses":3,"expires_at":"2026-12-01T00:00:00Z"}`}, 201, &code)
	if code.Code == "" || code.UsesLeft == nil || *code.UsesLeft != 3 {
		t.Errorf("code: %+v", code)
	}
	r.want(call{method: "POST", target: "/v1/enrollment-codes", body: `{}`}, 201, nil)
	var codes struct {
		Codes []fleet.CodeInfo `json:"enrollment_codes"`
	}
	r.get("/v1/enrollment-codes", &codes)
	if len(codes.Codes) != 2 {
		t.Errorf("codes: %+v", codes)
	}
	r.want(call{method: "DELETE", target: "/v1/enrollment-codes/" + code.ID}, 204, nil)
}

// Every list gives the same rows as CSV.
func TestCSV(t *testing.T) {
	r := newRig(t)
	evil := mac("1")
	evil.Name = `=HYPERLINK("http://x","y")`
	r.enrol(evil, mac("2"))
	r.want(call{method: "POST", target: "/v1/policies", body: minimumPolicy}, 201, nil)
	r.want(call{method: "PUT", target: "/v1/groups/lab", body: `{"devices":["SERIAL1","SERIAL2"]}`}, 201, nil)
	r.want(call{method: "PUT", target: "/v1/holds/26.5", body: `{"reason":"-2+3"}`}, 201, nil)
	r.want(call{method: "POST", target: "/v1/enrollment-codes", body: `{}`}, 201, nil)
	r.token("reader", "read")
	if err := r.fleet.Ingest(t.Context(), "UDID-1", []byte(report)); err != nil {
		t.Fatal(err)
	}
	r.awaitEnrolment("UDID-1", "")
	for _, tc := range []struct {
		target, header string
		rows           int // -1: some
	}{
		{"/v1/devices", "id,serial,name,model,board,version,build,letter,state,phase,flags,policy,target_version,target_build,deadline_local,due_local,last_seen_at,ring,mechanism", 2},
		{"/v1/devices?limit=1", "id,serial,name,model,board,version,build,letter,state,phase,flags,policy,target_version,target_build,deadline_local,due_local,last_seen_at,ring,mechanism", 1},
		{"/v1/policies", "name,label,priority,assign,os,updates,background_security,notice_days,delay,details_url,settings,rings,gate,time_zone,at_enrolment", 1},
		{"/v1/groups", "name,devices,unknown_members", 1},
		{"/v1/releases", "version,build,kind,letter,prerequisite_build,posted,first_seen_at,available,held,exploited,devices", -1},
		{"/v1/holds", "subject,reason,successors,until,since_at,by,releases", 1},
		{"/v1/devices/UDID-1/reports", "id,received_at,bytes,full,odd", 1},
		{"/v1/devices/UDID-1/events", "id,at,type,device,serial,text,data", -1},
		{"/v1/events", "id,at,type,device,serial,text,data", -1},
		{"/v1/tokens", "name,scope,scopes,created_at,expires_at,by", 1},
		{"/v1/enrollment-codes", "id,code,label,expires_at,uses,uses_left,created_at,by", 1},
	} {
		t.Run(tc.target, func(t *testing.T) {
			r.t = t
			res := r.want(call{method: "GET", target: tc.target, header: []string{"Accept", "text/csv"}}, 200, nil)
			rows, err := csv.NewReader(res.Body).ReadAll()
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(rows[0], ","); got != tc.header {
				t.Errorf("header %s, want %s", got, tc.header)
			}
			if n := len(rows) - 1; n != tc.rows && (tc.rows >= 0 || n == 0) {
				t.Errorf("%d rows, want %d", n, tc.rows)
			}
			for _, row := range rows[1:] {
				for _, cell := range row {
					if strings.HasPrefix(cell, "=") || strings.HasPrefix(cell, "-2+") {
						t.Errorf("a spreadsheet would take %q for a formula", cell)
					}
				}
			}
		})
	}
}

func TestServerRoutes(t *testing.T) {
	r := newRig(t)
	for _, target := range []string{"/healthz", "/readyz", "/version", "/openapi.json", "/schemas/policy.json", "/schemas/device.json"} {
		for _, method := range []string{"GET", "HEAD"} {
			res := r.want(call{method: method, target: target, as: "-"}, 200, nil)
			if res.Header().Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%s has no nosniff", target)
			}
		}
	}
	want := fmt.Sprintf("{\"version\":\"1.2.3\",\"format\":%d}\n", storage.Format)
	if got := r.send(call{method: "GET", target: "/version", as: "-"}).Body.String(); got != want {
		t.Errorf("version: %s", got)
	}
}

func TestCompression(t *testing.T) {
	r := newRig(t)
	for target, want := range map[string]string{"/v1/releases?limit=50": "gzip", "/v1/pause": ""} {
		res := r.send(call{method: "GET", target: target, header: []string{"Accept-Encoding", "gzip"}})
		if got := res.Header().Get("Content-Encoding"); res.Code != 200 || got != want {
			t.Errorf("%s: status %d, encoding %q, want %q", target, res.Code, got, want)
		}
	}
}

// HEAD answers what GET does; net/http leaves out the body.
func TestHead(t *testing.T) {
	r := newRig(t)
	for _, target := range []string{"/v1/devices", "/v1/policies", "/v1/compliance", "/metrics"} {
		r.want(call{method: "HEAD", target: target}, 200, nil)
	}
	r.want(call{method: "HEAD", target: "/v1/devices/nobody"}, 404, nil)
	r.want(call{method: "HEAD", target: "/v1/events", header: []string{"Accept", "text/event-stream"}}, 200, nil)
}

func TestNanoMDMRoutesGetTheRequestUnchanged(t *testing.T) {
	r := newRig(t)
	for _, c := range []call{
		{method: "PUT", target: "/v1/pushcert", body: "PEM"},
		{method: "GET", target: "/v1/push/UDID-1,UDID-2"},
		{method: "PUT", target: "/v1/enqueue/UDID-1", body: "<plist/>"},
	} {
		var got struct {
			Path  string
			Bytes int
		}
		r.want(c, http.StatusOK, &got)
		if got.Path != c.target || got.Bytes != len(c.body) {
			t.Errorf("%s: the handler got %+v", c.target, got)
		}
	}
}

// What GET gives of a group or a hold, PUT takes back; a name that is not the path's is a fault.
func TestRoundTripOfGroupsAndHolds(t *testing.T) {
	r := newRig(t)
	r.want(call{method: "PUT", target: "/v1/groups/eng", body: `{"devices":["C02XXX"]}`}, 201, nil)
	got := r.want(call{method: "GET", target: "/v1/groups/eng"}, 200, nil)
	put := r.want(call{method: "PUT", target: "/v1/groups/eng", body: got.Body.String(), header: []string{"If-Match", got.Header().Get("ETag")}}, 200, nil)
	if put.Body.String() != got.Body.String() || put.Header().Get("ETag") != got.Header().Get("ETag") {
		t.Errorf("PUT of what GET gave answers %s %s, GET gave %s %s", put.Header().Get("ETag"), put.Body, got.Header().Get("ETag"), got.Body)
	}
	hold := r.want(call{method: "PUT", target: "/v1/holds/26.6.2", body: `{"reason":"Wi-Fi"}`}, 201, nil)
	again := r.want(call{method: "PUT", target: "/v1/holds/26.6.2", body: hold.Body.String()}, 200, nil)
	if again.Body.String() != hold.Body.String() {
		t.Errorf("PUT of what was answered gives %s, not %s", again.Body, hold.Body)
	}
	for target, body := range map[string]string{
		"/v1/groups/eng":   `{"name":"ops","devices":[]}`,
		"/v1/holds/26.6.2": `{"subject":"26.6.1","reason":"x"}`,
		"/v1/groups/ops":   `{"devices":[],"members":1}`,
	} {
		r.want(call{method: "PUT", target: target, body: body}, 422, nil)
	}
}

func TestMechanisms(t *testing.T) {
	r := newRig(t)
	var got Mechanisms
	r.get("/v1/mechanisms", &got)
	intel := plan.MechanismRow{}
	for _, row := range got.Mechanisms {
		if row.MacOS == "12" && row.Silicon == "intel" {
			intel = row
		}
	}
	if len(got.Mechanisms) != 5 || intel.Patch != "command" || intel.Upgrade != "installer" {
		t.Errorf("%+v", got)
	}
}

func TestPatchReports(t *testing.T) {
	r := newRig(t)
	r.enrol(mac("1"), mac("2"))
	var report patching.Patching
	r.get("/v1/reports/patching?as_of=now&sla=cyber-essentials", &report)
	if report.Format != 1 || report.Closed || report.SLA == nil || report.SLA.Days != 14 || report.SLA.Source == "" {
		t.Errorf("as of now: %+v", report)
	}
	for target, want := range map[string]int{
		"?policy=a&group=b": 422, "?sla=pci": 422, "?from=2100-01-01": 422, "?as_of=2020-01-01": 404, "?as_of=now&group=x": 404,
		"?as_of=now&release=99.1": 404, "?policie=a": 400, "?from=2026-08-02&to=2026-08-01": 422, "?to=2100-01-01": 422, "?as_of=2100-01-01": 422,
		"?release=x": 422, "?from=x": 422, "?as_of=yesterday": 422, "?as_of=now&policy=nobody": 404, "?sla=0": 422, "?sla=14&sla=15": 400,
	} {
		r.want(call{method: "GET", target: "/v1/reports/patching" + target}, want, nil)
	}
	if err := r.fleet.CloseDays(t.Context()); err != nil {
		t.Fatal(err)
	}
	pack := r.want(call{method: "GET", target: "/v1/reports/evidence?sla=cis"}, 200, nil)
	if pack.Header().Get("Content-Type") != "application/zip" || !strings.HasPrefix(pack.Body.String(), "PK") {
		t.Errorf("%v", pack.Header())
	}
	again := r.want(call{method: "GET", target: "/v1/reports/evidence?sla=cis"}, 200, nil)
	if again.Body.String() != pack.Body.String() {
		t.Error("the same question has other bytes")
	}
	r.want(call{method: "GET", target: "/v1/reports/evidence?macs=true"}, 200, nil)
	r.api.packs <- struct{}{}
	r.want(call{method: "GET", target: "/v1/reports/evidence"}, 429, nil)
	<-r.api.packs
	for target, want := range map[string]int{
		"?as_of=now": 422, "?as_of=2020-01-01": 404, "?as_of=2100-01-01": 422, "?sla=pci": 422, "?from=2026-08-02&to=2026-08-01": 422,
		"?policy=a": 400, "?macs=perhaps": 400,
	} {
		r.want(call{method: "GET", target: "/v1/reports/evidence" + target}, want, nil)
	}
}

// A code ends after 30 days and 50 uses, unless its request says otherwise; left out is not null. The rig's day is 2026-08-25.
func TestCodesEnd(t *testing.T) {
	r := newRig(t)
	end := today.AddDate(0, 0, 30)
	for _, tt := range []struct {
		body    string
		expires *time.Time
		uses    int
	}{
		{`{}`, &end, 50},
		{`{"uses":0}`, &end, 0},
		{`{"expires_at":null}`, nil, 50},
		{`{"expires_at":null,"uses":0}`, nil, 0},
		{`{"uses":3}`, &end, 3},
	} {
		var code fleet.CodeInfo
		r.want(call{method: "POST", target: "/v1/enrollment-codes", body: tt.body}, 201, &code)
		if code.Uses != tt.uses || (code.ExpiresAt == nil) != (tt.expires == nil) || tt.expires != nil && !code.ExpiresAt.Equal(*tt.expires) {
			t.Errorf("%s: %+v", tt.body, code)
		}
	}
}
