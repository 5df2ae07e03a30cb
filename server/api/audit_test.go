package api

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"

	"plimsoll/server/fleet"
)

type auditPage struct {
	Entries []fleet.AuditEntry `json:"entries"`
	Next    string             `json:"next_cursor"`
}

func (r *rig) audit(query string) []fleet.AuditEntry {
	r.t.Helper()
	var page auditPage
	r.get("/v1/audit"+query, &page)
	return page.Entries
}

// Every write over the API is one entry, with its actor, its way and its request; what changes nothing, a dry run and what is refused
// are none, and no entry has a secret.
func TestEveryWriteIsAudited(t *testing.T) {
	r := newRig(t)
	accept := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte("{}"))
	})
	r.api = New(Options{Fleet: r.fleet, Log: slog.New(slog.DiscardHandler), Enqueue: accept, PushCert: accept})
	r.enrol(mac("1"))
	secret := r.token("ci", "admin")
	var code fleet.CodeInfo
	const command = `<?xml version="1.0" encoding="UTF-8"?><plist version="1.0"><dict><key>CommandUUID</key><string>U-1</string>` +
		`<key>Command</key><dict><key>RequestType</key><string>DeviceLock</string><key>PIN</key><string>483920</string></dict></dict></plist>`
	const ringed = `{"priority":7,"updates":{"mode":"automatic","within_days":14},"rings":[{"name":"early","percent":10},{"name":"broad"}]}`
	for _, tt := range []struct {
		method, target, body string
		status               int
		want                 string // action and object; empty: no entry
		reason               string
	}{
		{"PUT", "/v1/policies/eng", `{"priority":5,"updates":{"mode":"none"}}`, 201, "policy.put policy/eng", ""},
		{"PUT", "/v1/policies/eng", `{"priority":5,"updates":{"mode":"none"}}`, 200, "", ""},
		{"PUT", "/v1/policies/eng?dry_run=true", `{"priority":6,"updates":{"mode":"none"}}`, 200, "", ""},
		{"PUT", "/v1/policies/eng", `{"priority":"x"}`, 422, "", ""},
		{"POST", "/v1/policies", `{"name":"two","priority":6,"updates":{"mode":"none"}}`, 201, "policy.put policy/two", ""},
		{"POST", "/v1/policies", `{"name":"three","priority":6,"updates":{"mode":"none"}}`, 409, "", ""},
		{"DELETE", "/v1/policies/two", ``, 204, "policy.delete policy/two", ""},
		{"DELETE", "/v1/policies/two", ``, 404, "", ""},
		{"PUT", "/v1/policies/ringed", ringed, 201, "policy.put policy/ringed", ""},
		{"POST", "/v1/policies/ringed/rings/25G83/open", `{"ring":"broad","reason":"tested"}`, 200, "ring.open policy/ringed", "tested"},
		{"POST", "/v1/policies/ringed/rings/25G83/open", `{"ring":"broad","reason":"tested"}`, 200, "", ""},
		{"PUT", "/v1/groups/lab", `{"devices":["A","B"]}`, 201, "group.put group/lab", ""},
		{"POST", "/v1/groups/lab", `{"add":["C"],"remove":["A"]}`, 200, "group.put group/lab", ""},
		{"POST", "/v1/groups/lab", `{"add":["C"]}`, 200, "", ""},
		{"DELETE", "/v1/groups/lab", ``, 204, "group.delete group/lab", ""},
		{"PUT", "/v1/holds/26.6.2", `{"reason":"VPN"}`, 201, "hold.put hold/26.6.2", "VPN"},
		{"PUT", "/v1/holds/26.6.2", `{"reason":"VPN"}`, 200, "", ""},
		{"DELETE", "/v1/holds/26.6.2", ``, 204, "hold.delete hold/26.6.2", ""},
		{"PUT", "/v1/freezes/end", `{"from":"2026-12-19","to":"2027-01-04","reason":"holidays"}`, 201, "freeze.put freeze/end", "holidays"},
		{"DELETE", "/v1/freezes/end", ``, 204, "freeze.delete freeze/end", ""},
		{"DELETE", "/v1/pause", ``, 200, "", ""},
		{"PUT", "/v1/pause", `{"reason":"incident"}`, 200, "pause.put pause", "incident"},
		{"PUT", "/v1/pause", `{"reason":"incident"}`, 200, "", ""},
		{"DELETE", "/v1/pause", ``, 200, "pause.delete pause", ""},
		{"PUT", "/v1/exemptions/SERIAL1", `{"until":"2026-09-25T12:00:00Z","reason":"a fair"}`, 201, "exemption.put device/UDID-1", "a fair"},
		{"PUT", "/v1/exemptions/SERIAL1", `{"until":"2026-09-25T12:00:00Z","reason":"a fair"}`, 200, "", ""},
		{"DELETE", "/v1/exemptions/UDID-1", ``, 204, "exemption.delete device/UDID-1", ""},
		{"DELETE", "/v1/exemptions/UDID-1", ``, 404, "", ""},
		{"PUT", "/v1/devices/UDID-1/update", `{"reason":"a hole"}`, 200, "update.put device/UDID-1", "a hole"},
		{"DELETE", "/v1/devices/UDID-1/update", ``, 204, "update.delete device/UDID-1", ""},
		{"DELETE", "/v1/devices/UDID-1/update", ``, 404, "", ""},
		{"POST", "/v1/devices/UDID-1/sync", ``, 204, "device.sync device/UDID-1", ""},
		{"POST", "/v1/devices/UDID-9/sync", ``, 404, "", ""},
		{"POST", "/v1/tokens", `{"name":"eye","scope":"read"}`, 201, "token.create token/eye", ""},
		{"POST", "/v1/tokens", `{"name":"eye","scope":"read"}`, 409, "", ""},
		{"DELETE", "/v1/tokens/eye", ``, 204, "token.delete token/eye", ""},
		{"POST", "/v1/enrollment-codes", `{"label":"office"}`, 201, "code.create code/office", ""},
		{"PUT", "/v1/enqueue/UDID-1", command, 200, "command.enqueue device/UDID-1", ""},
		{"PUT", "/v1/pushcert", "PEM", 200, "pushcert.put pushcert", ""},
		{"GET", "/v1/backup", ``, 200, "backup.create backup", ""},
		{"GET", "/v1/policies", ``, 200, "", ""},
		{"DELETE", "/v1/devices/UDID-1", ``, 204, "device.delete device/UDID-1", ""},
	} {
		before := r.audit("?limit=1")[0].N
		c := call{method: tt.method, target: tt.target, body: tt.body, as: secret}
		var into any
		if strings.HasPrefix(tt.want, "code.create") {
			into = &code
		}
		res := r.want(c, tt.status, into)
		entries := slices.DeleteFunc(r.audit(""), func(e fleet.AuditEntry) bool { return e.N <= before })
		if tt.want == "" {
			if len(entries) > 0 {
				t.Errorf("%s %s: entered as %+v", tt.method, tt.target, entries)
			}
			continue
		}
		if len(entries) != 1 {
			t.Errorf("%s %s: %d entries", tt.method, tt.target, len(entries))
			continue
		}
		e := entries[0]
		if e.Action+" "+e.Object != tt.want || e.Actor != "token:ci" || e.Via != "api" || e.Address == "" || e.Reason != tt.reason ||
			e.RequestID != res.Header().Get("X-Request-Id") || e.Failed != 0 {
			t.Errorf("%s %s: entered as %+v", tt.method, tt.target, e)
		}
	}
	all, err := json.Marshal(r.audit("?limit=1000"))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{secret, adminSecret, code.Code, "483920"} {
		if s == "" || strings.Contains(string(all), s) {
			t.Errorf("the audit holds a secret of %d characters: %s", len(s), all)
		}
	}
	if first := r.audit("?actor=admin-token"); len(first) != 1 || first[0].Object != "token/ci" {
		t.Errorf("of the token of the command line: %+v", first)
	}
	if got := r.audit("?object=group/lab&action=group.put"); len(got) != 2 || got[0].Changes[0].Added[0] != "C" || got[0].Changes[0].Removed[0] != "A" {
		t.Errorf("of the group: %+v", got)
	}
}

// What NanoMDM's handler refuses has an entry that says so.
func TestRefusedCommandsAreAudited(t *testing.T) {
	r := newRig(t)
	refuse := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	r.api = New(Options{Fleet: r.fleet, Log: slog.New(slog.DiscardHandler), Enqueue: refuse})
	const command = `<plist version="1.0"><dict><key>CommandUUID</key><string>U</string><key>Command</key><dict><key>RequestType</key><string>X</string></dict></dict></plist>`
	r.want(call{method: "PUT", target: "/v1/enqueue/A,B", body: command}, 500, nil)
	r.want(call{method: "PUT", target: "/v1/enqueue/A,B", body: "no command"}, 500, nil)
	entries := r.audit("")
	if len(entries) != 4 || entries[0].Failed != 2 || entries[1].Failed != 1 || entries[3].Object != "device/A" || entries[2].Object != "device/B" {
		t.Errorf("the entries are %+v", entries)
	}
}

// The audit is told in the timelines: of a Mac in that Mac's, of all else with an empty device.
func TestAuditEvents(t *testing.T) {
	r := newRig(t)
	r.enrol(mac("1"))
	r.want(call{method: "POST", target: "/v1/devices/UDID-1/sync"}, 204, nil)
	r.want(call{method: "PUT", target: "/v1/groups/lab", body: `{"devices":[]}`}, 201, nil)
	for range 2 { // the second time tells nothing
		if err := r.fleet.TellAudit(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.fleet.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	count := func(target, action, device string) (n int) {
		var p struct{ Events []fleet.Event }
		r.get(target, &p)
		for _, e := range p.Events {
			if e.Type == "admin_action" && e.Data["action"] == action && e.Data["actor"] == "admin-token" && e.Device == device {
				n++
			}
		}
		return n
	}
	for name, n := range map[string]int{
		"the Mac's":        count("/v1/devices/UDID-1/events", "device.sync", "UDID-1"),
		"the fleet's":      count("/v1/events?limit=1000", "device.sync", "UDID-1"),
		"without a device": count("/v1/events?limit=1000", "group.put", ""),
	} {
		if n != 1 {
			t.Errorf("%s: %d events", name, n)
		}
	}
}

// The filters refuse what makes no sense.
func TestAuditParameters(t *testing.T) {
	r := newRig(t)
	for _, q := range []string{"?since=yesterday", "?until=x", "?cursor=x", "?after=3", "?actors=x", "?limit=0"} {
		r.want(call{method: "GET", target: "/v1/audit" + q}, 400, nil)
	}
	r.want(call{method: "GET", target: "/v1/audit?after=x", header: []string{"Accept", "text/event-stream"}}, 400, nil)
	var head fleet.AuditHead
	r.get("/v1/audit/head", &head)
	if head.N != 0 || head.Hash != strings.Repeat("0", 64) || head.First.N != 1 {
		t.Errorf("the head of an empty chain is %+v", head)
	}
}
