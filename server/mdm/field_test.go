package mdm_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"plimsoll/declarations/policy"
	"plimsoll/server/fleet"
)

// field reads a message as it occurs in the field; testdata/field says in its README where each comes from.
func field(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/field/" + name)
	check(t, err)
	return b
}

func (w *world) fresh(id string) *client {
	c := w.mac(id)
	c.cert = issue(w.t, deviceCA(), id, nil)
	return c
}

// one reads a Mac by itself: lists leave its fingerprint out.
func (w *world) one(id string) fleet.Device {
	w.t.Helper()
	d, err := w.fleet.Device(context.Background(), id)
	check(w.t, err)
	return d
}

func codes(d fleet.Device) (codes []string) {
	for _, r := range d.Reasons {
		codes = append(codes, r.Code)
	}
	return codes
}

func (w *world) events(id, kind string) (found []fleet.Event) {
	w.t.Helper()
	page, err := w.fleet.DeviceEvents(context.Background(), id, 100, "")
	check(w.t, err)
	for _, e := range page.Items {
		if e.Type == kind {
			found = append(found, e)
		}
	}
	return found
}

// TestDeletedMacStaysOut: deletion is revocation. The key of a deleted Mac is neither that Mac's nor another's any more.
func TestDeletedMacStaysOut(t *testing.T) {
	w := newWorld(t)
	mac := w.mac(macID)
	mac.enrol()
	check(t, w.fleet.Forget(context.Background(), macID, fleet.Origin{Actor: "test"}))
	want(t, "itself", mac.checkin(authenticate("26.5", "25F71")), http.StatusBadRequest)
	mac.id = otherID
	want(t, "as another Mac", mac.checkin(authenticate("26.5", "25F71")), http.StatusBadRequest)
	w.fresh(macID).enrol()
}

// TestTakeover: an identity that takes a known Mac's place is told by an event with both fingerprints; while the replaced one goes on
// knocking the Mac needs attention.
func TestTakeover(t *testing.T) {
	w := newWorld(t)
	mac, thief := w.mac(macID), w.fresh(macID)
	mac.enrol()
	first := w.one(macID).Identity.Fingerprint
	thief.enrol()
	d := w.one(macID)
	changed := w.events(macID, "identity_changed")
	if len(changed) != 1 || changed[0].Data["from"] != first || changed[0].Data["to"] != d.Identity.Fingerprint || first == d.Identity.Fingerprint {
		t.Fatalf("from %s to %s: the events are %+v", first, d.Identity.Fingerprint, changed)
	}
	for range 3 {
		w.pass(time.Hour)
		want(t, "the replaced one", mac.ddm("tokens", nil), http.StatusBadRequest)
	}
	if d = w.one(macID); d.Refused == nil || d.Refused.Cause != "replaced" || !slices.Contains(codes(d), "refused") {
		t.Errorf("refused %+v, reasons %v", d.Refused, codes(d))
	}
	if n := len(w.events(macID, "refused")); n < 1 || n > 2 { // a day may end meanwhile
		t.Errorf("%d events of refusals in three hours", n)
	}
	o, err := w.fleet.Overview(context.Background())
	check(t, err)
	if !slices.ContainsFunc(o.Attention, func(a fleet.Attention) bool { return a.Code == "refused" }) {
		t.Errorf("attention: %+v", o.Attention)
	}
	w.pass(72 * time.Hour)
	if d = w.one(macID); slices.Contains(codes(d), "refused") {
		t.Errorf("three days after the last knock: %v", codes(d))
	}
}

// TestRefusedMacsLeaveATrace: each cause is told on the page of the Mac that it concerns.
func TestRefusedMacsLeaveATrace(t *testing.T) {
	for cause, send := range map[string]func(w *world, mac *client) answer{
		"expired": func(w *world, mac *client) answer {
			w.pass(2 * 366 * 24 * time.Hour)
			return mac.ddm("tokens", nil)
		},
		"other_certificate": func(w *world, mac *client) answer { return w.fresh(macID).ddm("tokens", nil) },
		"copied_identity": func(_ *world, mac *client) answer {
			copied := *mac
			copied.id = otherID
			return copied.checkin(authenticate("26.5", "25F71"))
		},
		"wrong_signature": func(w *world, mac *client) answer {
			req := mac.request(checkinType, []byte("one"))
			req.Header.Set("Mdm-Signature", mac.sign([]byte("another")))
			return w.do(req)
		},
	} {
		t.Run(cause, func(t *testing.T) {
			w := newWorld(t)
			mac := w.mac(macID)
			mac.enrol()
			want(t, cause, send(w, mac), http.StatusBadRequest)
			d := w.one(macID)
			if d.Refused == nil || d.Refused.Cause != cause || !slices.Contains(codes(d), "refused") {
				t.Errorf("refused %+v, reasons %v", d.Refused, codes(d))
			}
		})
	}
}

// TestNoMacIsNotManaged: the family is known from Authenticate, and from a report.
func TestNoMacIsNotManaged(t *testing.T) {
	const ipod = "00008030-0000000000000001"
	w := newWorld(t)
	w.putPolicy(`{"name":"all","priority":10,"updates":{"mode":"minimum","version":"26.6.1","deadline":"2027-08-28T12:00:00"},"settings":{"Notifications":true}}`)
	c := w.mac(ipod)
	want(t, "Authenticate", w.do(c.request(checkinType, field(t, "ipod-authenticate.plist"))), http.StatusOK)
	want(t, "TokenUpdate", c.checkin(tokenUpdate(ipod)), http.StatusOK)
	ipad := w.mac(otherID)
	want(t, "Authenticate", ipad.checkin(message{"MessageType": "Authenticate", "Topic": pushTopic}), http.StatusOK)
	want(t, "TokenUpdate", ipad.checkin(tokenUpdate(otherID)), http.StatusOK)
	want(t, "report", ipad.ddm("status", field(t, "ipad-report.json")), http.StatusOK)
	for _, c := range []*client{c, ipad} {
		d := w.one(c.id)
		if d.State != "unsupported" || codes(d)[0] != "not_a_mac" {
			t.Errorf("%s is %s, %v", c.id, d.State, codes(d))
		}
		items := c.ddm("declaration-items", nil)
		if !strings.Contains(items.body, "plimsoll.status") || strings.Contains(items.body, "plimsoll.settings") || strings.Contains(items.body, "plimsoll.os-update") {
			t.Errorf("%s is told %s", c.id, items.body)
		}
	}
	compliance, err := w.fleet.Compliance(context.Background())
	check(t, err)
	if n := compliance.Devices; n != 0 {
		t.Errorf("%d devices are counted", n)
	}
}

// TestLetteredVersion: "26.3.1 (a)" is 26.3.1 with a letter, and its build is never that of another version.
func TestLetteredVersion(t *testing.T) {
	const id = "00000000-0000-4000-8000-000000000077"
	w := newWorld(t)
	mac := w.mac(id)
	want(t, "Authenticate", w.do(mac.request(checkinType, field(t, "rsr-authenticate.plist"))), http.StatusOK)
	want(t, "TokenUpdate", mac.checkin(tokenUpdate(id)), http.StatusOK)
	wantOS := fleet.OS{Version: "26.3.1", Letter: "a", SupplementalBuild: "25D771280a"}
	if d := w.one(id); d.OS != wantOS {
		t.Errorf("Authenticate: %+v, want %+v", d.OS, wantOS)
	}
	want(t, "26.5", mac.ddm("status", fullReport("TESTMAC00077")), http.StatusOK)
	want(t, "report", mac.ddm("status", field(t, "rsr-report.json")), http.StatusOK)
	if d := w.one(id); d.OS != wantOS {
		t.Errorf("report: %+v, want %+v", d.OS, wantOS)
	}
	before := w.one(id).OS
	want(t, "beta", mac.ddm("status", []byte(`{"StatusItems":{"device":{"operating-system":{"version":"27.0 beta","build-version":"26A1"}}},"Errors":[]}`)), http.StatusOK)
	if d := w.one(id); d.OS != before {
		t.Errorf("a version that is none: %+v, want %+v", d.OS, before)
	}
}

// TestUnawaitedAnswers: what a Mac answers to a command that was never sent is not taken.
func TestUnawaitedAnswers(t *testing.T) {
	w := newWorld(t)
	mac := w.mac(macID)
	mac.enrol()
	before := w.one(macID).OS
	want(t, "an invented answer", mac.command(message{
		"Status": "Acknowledged", "CommandUUID": "99999999-9999-4999-8999-999999999999",
		"QueryResponses": map[string]any{"OSVersion": "27.9", "BuildVersion": "99Z999"},
	}), http.StatusOK)
	if d := w.one(macID); d.OS != before || w.mdm.Counters().Unawaited.Load() != 1 {
		t.Errorf("%+v, counted %d", d.OS, w.mdm.Counters().Unawaited.Load())
	}
}

// TestCommandFailure: Apple's words are on the Mac's page, whole, with an event.
func TestCommandFailure(t *testing.T) {
	w := newWorld(t)
	w.putPolicy(floor)
	mac := w.mac(macID)
	mac.enrol()
	cmd := mac.next("", nil)
	if cmd == nil || cmd.Command.RequestType != "DeclarativeManagement" {
		t.Fatalf("the command is %+v", cmd)
	}
	body := bytes.ReplaceAll(field(t, "command-error.plist"), []byte("THE COMMAND'S"), []byte(cmd.CommandUUID))
	body = bytes.ReplaceAll(body, []byte("00000000-0000-4000-8000-000000000001"), []byte(macID))
	want(t, "the answer", w.do(mac.request(commandType, body)), http.StatusOK)
	const words = "“DeclarativeManagement” is not a valid request type."
	d := w.one(macID)
	i := slices.IndexFunc(d.Reasons, func(r policy.Reason) bool { return r.Code == "command_failed" })
	if i < 0 || slices.Contains(codes(d), "push_failed") {
		t.Fatalf("reasons: %v", codes(d))
	}
	if r := d.Reasons[i]; r.Evidence["error"] != words || strings.Contains(r.Advice, "push certificate") {
		t.Errorf("%+v", r)
	}
	if events := w.events(macID, "command_failed"); len(events) != 1 || !strings.Contains(events[0].Text, "not a valid request type") {
		t.Errorf("events: %+v", events)
	}
	mac.ddm("declaration-items", nil)
	if d := w.one(macID); slices.Contains(codes(d), "command_failed") {
		t.Errorf("it syncs, and the reasons are %v", codes(d))
	}
}

// TestForeignReport: a report that claims another serial number does not change groups.
func TestForeignReport(t *testing.T) {
	w := newWorld(t)
	mac := w.mac(macID)
	mac.enrol()
	want(t, "report", mac.ddm("status", fullReport("C02BOSS")), http.StatusOK)
	d := w.one(macID)
	if d.Serial != "C02XYZ" || !slices.Contains(codes(d), "report_contradicts") || len(w.events(macID, "report_contradicts")) != 1 {
		t.Errorf("serial %s, reasons %v", d.Serial, codes(d))
	}
	want(t, "its own", mac.ddm("status", fullReport("C02XYZ")), http.StatusOK)
	if d := w.one(macID); slices.Contains(codes(d), "report_contradicts") {
		t.Errorf("afterwards: %v", codes(d))
	}
}

// TestIDsOfAppleDevices: nothing else can enrol, a serial number least of all.
func TestIDsOfAppleDevices(t *testing.T) {
	w := newWorld(t)
	for id, status := range map[string]int{
		"66ADE930-5FDF-5EC4-8429-15640684C489": 200, "66ade930-5fdf-5ec4-8429-15640684c488": 200,
		strings.Repeat("0a", 20): 200, "00008030-001A2B3C4D5E6F70": 200,
		"C02XYZ": 400, ".": 400, "..": 400, "66ADE930": 400, strings.Repeat("0a", 19): 400, "00008030-001A2B3C4D5E6F7": 400,
	} {
		want(t, id, w.fresh(id).checkin(authenticate("26.5", "25F71")), status)
	}
}

// TestCertificatesFitForMDM: what another department's CA signs is not an identity for that alone.
func TestCertificatesFitForMDM(t *testing.T) {
	w := newWorld(t, func(s *setup) { s.Further = []*x509.Certificate{otherCA().Cert} })
	for name, change := range map[string]func(*x509.Certificate){
		"no key usage":          func(c *x509.Certificate) { c.KeyUsage = 0 },
		"encryption only":       func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment },
		"no extended key usage": func(c *x509.Certificate) { c.ExtKeyUsage = nil },
		"for servers":           func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} },
	} {
		c := w.mac(macID)
		c.cert = issue(t, otherCA(), macID, change)
		want(t, name, c.checkin(authenticate("26.5", "25F71")), http.StatusBadRequest)
	}
	c := w.mac(macID)
	c.cert = issue(t, otherCA(), macID, nil)
	want(t, "a good one", c.checkin(authenticate("26.5", "25F71")), http.StatusOK)
}

// TestPassedOnRequestsNeedACode: a proxy or another server on this machine speaks for strangers.
func TestPassedOnRequestsNeedACode(t *testing.T) {
	w := newWorld(t)
	for _, header := range []string{"Via", "X-Real-IP", "CF-Connecting-IP", "X-Enrollment-ID", "X-Enrollment-Type", "X-Forwarded-For", "Forwarded"} {
		want(t, header, w.get("/enroll", header, "x"), http.StatusForbidden)
	}
	want(t, "from here", w.get("/enroll"), http.StatusOK)
}
