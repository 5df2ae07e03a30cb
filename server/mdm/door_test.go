package mdm_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/micromdm/plist"

	"plimsoll/declarations"
	"plimsoll/declarations/policy"
	"plimsoll/server/fleet"
	"plimsoll/storage"
	"plimsoll/storage/storagetest"
)

type command struct {
	CommandUUID string
	Command     struct {
		RequestType string
		Data        []byte
		Queries     []string
	}
}

// next answers a command, "" none, and returns the next one; nil when there is none.
func (c *client) next(answered string, more message) *command {
	c.w.t.Helper()
	m := message{"Status": "Idle"}
	if answered != "" {
		m = message{"Status": "Acknowledged", "CommandUUID": answered}
	}
	for k, v := range more {
		m[k] = v
	}
	a := c.command(m)
	want(c.w.t, "command channel", a, http.StatusOK)
	if a.body == "" {
		return nil
	}
	if a.contentType() != "application/xml" {
		c.w.t.Errorf("a command came as %q", a.contentType())
	}
	var cmd command
	check(c.w.t, plist.Unmarshal([]byte(a.body), &cmd))
	return &cmd
}

func (w *world) putPolicy(text string) {
	w.t.Helper()
	var p policy.Policy
	check(w.t, json.Unmarshal([]byte(text), &p))
	_, err := w.fleet.PutPolicy(context.Background(), p, fleet.WriteOptions{Create: true, Confirm: true})
	check(w.t, err)
}

const floor = `{"name":"everyone","priority":10,"updates":{"mode":"minimum","version":"26.6.1","deadline":"2027-08-28T12:00:00"}}`

type items struct {
	Declarations      map[string][]struct{ Identifier, ServerToken string }
	DeclarationsToken string
}

func TestWholeLoop(t *testing.T) {
	w := newWorld(t)
	w.putPolicy(floor)
	mac := w.mac(macID)
	mac.enrol()

	cmd := mac.next("", nil)
	if cmd == nil || cmd.Command.RequestType != "DeclarativeManagement" {
		t.Fatalf("after the enrolment: command %+v", cmd)
	}
	var told declarations.SyncTokens
	check(t, json.Unmarshal(cmd.Command.Data, &told))
	if cmd := mac.next(cmd.CommandUUID, nil); cmd != nil {
		t.Errorf("a second command is queued: %+v", cmd)
	}

	a := mac.ddm("status", fullReport("C02XYZ"))
	want(t, "status", a, http.StatusOK)
	if a.body != "" || a.contentType() != "" {
		t.Errorf("a status report was answered with %q as %q", a.body, a.contentType())
	}

	a = mac.ddm("tokens", nil)
	want(t, "tokens", a, http.StatusOK)
	var tokens declarations.SyncTokens
	check(t, json.Unmarshal([]byte(a.body), &tokens))
	if a.contentType() != "application/json" {
		t.Errorf("tokens came as %q", a.contentType())
	}

	a = mac.ddm("declaration-items", nil)
	want(t, "declaration-items", a, http.StatusOK)
	var manifest items
	check(t, json.Unmarshal([]byte(a.body), &manifest))
	if manifest.DeclarationsToken != tokens.SyncTokens.DeclarationsToken || a.contentType() != "application/json" {
		t.Errorf("items %s as %q, tokens %s", manifest.DeclarationsToken, a.contentType(), tokens.SyncTokens.DeclarationsToken)
	}
	fetched := 0
	for section, kind := range map[string]string{"Activations": "activation", "Configurations": "configuration"} {
		for _, it := range manifest.Declarations[section] {
			a := mac.ddm("declaration/"+kind+"/"+it.Identifier, nil)
			want(t, it.Identifier, a, http.StatusOK)
			var d struct{ Identifier, ServerToken string }
			check(t, json.Unmarshal([]byte(a.body), &d))
			if d.Identifier != it.Identifier || d.ServerToken != it.ServerToken || a.contentType() != "application/json" {
				t.Errorf("%s: got %+v as %q", it.Identifier, d, a.contentType())
			}
			fetched++
		}
	}
	if fetched != 4 {
		t.Errorf("%d declarations, want subscriptions and enforcement with their activations", fetched)
	}
	want(t, "what is not in the manifest", mac.ddm("declaration/configuration/plimsoll.settings", nil), http.StatusNotFound)

	d := w.device(macID)
	if d.Serial != "C02XYZ" || d.Name != "Kim's Mac" || d.Model != "Mac14,2" || d.ModelName != "MacBook Air" || d.OS.Version != "26.5" || d.Board != "J413AP" {
		t.Errorf("the fleet knows %+v", d)
	}
}

func (w *world) device(id string) fleet.Device {
	w.t.Helper()
	d, err := w.fleet.Device(context.Background(), id)
	check(w.t, err)
	return d
}

// What the supplemental fields of Authenticate say is not in NanoMDM's own message.
func TestAuthenticateTells(t *testing.T) {
	w := newWorld(t)
	mac := w.mac(macID)
	m := authenticate("26.3.1", "25D2128")
	m["SupplementalBuildVersion"], m["SupplementalOSVersionExtra"] = "25D771280a", "(a)"
	m["DeviceName"] = 17 // not a text: not told
	delete(m, "ProductName")
	want(t, "Authenticate", mac.checkin(m), http.StatusOK)
	want(t, "TokenUpdate", mac.checkin(tokenUpdate(macID)), http.StatusOK)
	d := w.device(macID)
	if d.OS.SupplementalBuild != "25D771280a" || d.OS.Letter != "a" || d.OS.Build != "25D2128" || d.Model != "Mac14,2" || d.Name != "" {
		t.Errorf("the fleet knows %+v", d)
	}
}

func TestLives(t *testing.T) {
	w := newWorld(t)
	mac := w.mac(macID)
	want(t, "Authenticate", mac.checkin(authenticate("12.7.6", "21H1320")), http.StatusOK)
	want(t, "TokenUpdate", mac.checkin(tokenUpdate(macID)), http.StatusOK)
	want(t, "SetBootstrapToken", mac.checkin(message{"MessageType": "SetBootstrapToken", "BootstrapToken": []byte("boot")}), http.StatusOK)
	if !w.device(macID).BootstrapToken {
		t.Error("the bootstrap token is not known to be escrowed")
	}
	a := mac.checkin(message{"MessageType": "GetBootstrapToken"})
	want(t, "GetBootstrapToken", a, http.StatusOK)
	if !strings.Contains(a.body, base64.StdEncoding.EncodeToString([]byte("boot"))) || a.contentType() != "application/xml" {
		t.Errorf("the bootstrap token came as %q: %s", a.contentType(), a.body)
	}
	want(t, "CheckOut", mac.checkin(message{"MessageType": "CheckOut"}), http.StatusOK)
	if d := w.device(macID); d.Enrolled || d.BootstrapToken {
		t.Errorf("after CheckOut: %+v", d)
	}
	want(t, "tokens after CheckOut", mac.ddm("tokens", nil), http.StatusBadRequest)

	again := w.mac(macID) // the Mac comes back with a new identity, and macOS 15
	want(t, "Authenticate", again.checkin(authenticate("15.7.7", "24G720")), http.StatusOK)
	want(t, "TokenUpdate", again.checkin(tokenUpdate(macID)), http.StatusOK)
	if d := w.device(macID); !d.Enrolled || d.BootstrapToken {
		t.Errorf("after the re-enrolment: %+v", d)
	}
	want(t, "tokens with the new identity", again.ddm("tokens", nil), http.StatusOK)
	want(t, "tokens with the replaced identity", mac.ddm("tokens", nil), http.StatusBadRequest)
	if cmd := again.next("", nil); cmd == nil || cmd.Command.RequestType != "DeclarativeManagement" {
		t.Errorf("after the re-enrolment: command %+v", cmd)
	}

	check(t, w.teller.Forget(context.Background(), macID))
	want(t, "tokens of a forgotten Mac", again.ddm("tokens", nil), http.StatusBadRequest)
	want(t, "a late TokenUpdate of a forgotten Mac", again.checkin(tokenUpdate(macID)), http.StatusBadRequest)
	w.mac(macID).enrol()
}

func TestDeviceInformation(t *testing.T) {
	w := newWorld(t)
	mac := w.mac(macID)
	want(t, "Authenticate", mac.checkin(authenticate("14.5", "23F79")), http.StatusOK)
	want(t, "TokenUpdate", mac.checkin(tokenUpdate(macID)), http.StatusOK)
	seen := map[string]*command{}
	for cmd := mac.next("", nil); cmd != nil; {
		seen[cmd.Command.RequestType] = cmd
		var more message
		if cmd.Command.RequestType == "DeviceInformation" {
			more = message{"QueryResponses": map[string]any{
				"SoftwareUpdateDeviceID": "J413AP", "OSVersion": "14.6.1", "BuildVersion": "23G93", "IsSupervised": true, "BatteryLevel": 0.5,
			}}
		}
		cmd = mac.next(cmd.CommandUUID, more)
	}
	info := seen["DeviceInformation"]
	if info == nil || strings.Join(info.Command.Queries, " ") != "BuildVersion OSVersion SoftwareUpdateDeviceID" {
		t.Fatalf("asked: %+v", info)
	}
	if d := w.device(macID); d.Board != "J413AP" || d.OS.Version != "14.6.1" || d.OS.Build != "23G93" {
		t.Errorf("after the answer: %+v", d)
	}
	// An answer that nobody can use changes nothing and is no error.
	for _, more := range []message{{"QueryResponses": "text"}, {"QueryResponses": map[string]any{"OSVersion": []any{1}}}} {
		m := message{"Status": "Acknowledged", "CommandUUID": "unknown"}
		for k, v := range more {
			m[k] = v
		}
		want(t, "an odd answer", mac.command(m), http.StatusOK)
	}
	if d := w.device(macID); d.OS.Version != "14.6.1" {
		t.Errorf("after odd answers: %+v", d)
	}
}

func TestUserChannel(t *testing.T) {
	w := newWorld(t)
	w.putPolicy(floor)
	mac := w.mac(macID)
	mac.enrol()
	before := w.device(macID)
	user := *mac
	user.user = userID
	want(t, "TokenUpdate", user.checkin(tokenUpdate("user")), http.StatusOK)

	const emptyToken = `"DeclarationsToken":"`
	tokens, its := user.ddm("tokens", nil), user.ddm("declaration-items", nil)
	want(t, "tokens", tokens, http.StatusOK)
	want(t, "declaration-items", its, http.StatusOK)
	var said declarations.SyncTokens
	check(t, json.Unmarshal([]byte(tokens.body), &said))
	if said.SyncTokens.DeclarationsToken == "" || said.SyncTokens.Timestamp != "2026-01-01T00:00:00Z" ||
		!strings.Contains(its.body, emptyToken+said.SyncTokens.DeclarationsToken) ||
		!strings.Contains(its.body, `"Activations":[],"Assets":[],"Configurations":[],"Management":[]`) {
		t.Errorf("tokens %s, items %s", tokens.body, its.body)
	}
	want(t, "a declaration", user.ddm("declaration/configuration/plimsoll.status", nil), http.StatusNotFound)
	want(t, "a malformed path", user.ddm("declaration/configuration", nil), http.StatusBadRequest)
	want(t, "an unknown endpoint", user.ddm("weather", nil), http.StatusBadRequest)
	a := user.ddm("status", []byte(`{"StatusItems":{"device":{"operating-system":{"version":"11.0"}}}}`))
	want(t, "status", a, http.StatusOK)
	if a.body != "" {
		t.Errorf("status was answered with %q", a.body)
	}
	want(t, "CheckOut", user.checkin(message{"MessageType": "CheckOut"}), http.StatusOK)
	want(t, "UserAuthenticate", user.checkin(message{"MessageType": "UserAuthenticate"}), http.StatusGone)
	after := w.device(macID)
	if !after.Enrolled || after.OS != before.OS || after.LastReportAt != nil {
		t.Errorf("the user channel changed the device: %+v", after)
	}
	want(t, "tokens of the device", mac.ddm("tokens", nil), http.StatusOK)
}

// Every one of these is answered 400, never 401 or 404, and changes nothing.
func TestRefused(t *testing.T) {
	w := newWorld(t)
	mac := w.mac(macID)
	mac.enrol()
	stranger := w.mac(otherID) // has an identity, never enrolled
	deep := append(bytes.Repeat([]byte("<array>"), 100_000), bytes.Repeat([]byte("</array>"), 100_000)...)
	body := mac.plist(message{"MessageType": "DeclarativeManagement", "Endpoint": "tokens"})

	signedBy := func(c client, change func(*x509.Certificate)) *http.Request {
		c.cert = issue(t, deviceCA(), c.id, change)
		return c.request(checkinType, body)
	}
	tests := map[string]func() *http.Request{
		"unsigned": func() *http.Request {
			r := mac.request(checkinType, body)
			r.Header.Del("Mdm-Signature")
			return r
		},
		"a signature that is not base64": func() *http.Request {
			r := mac.request(checkinType, body)
			r.Header.Set("Mdm-Signature", "*")
			return r
		},
		"a signature that is not CMS": func() *http.Request {
			r := mac.request(checkinType, body)
			r.Header.Set("Mdm-Signature", "aGVsbG8=")
			return r
		},
		"a signature that is too long": func() *http.Request {
			r := mac.request(checkinType, body)
			r.Header.Set("Mdm-Signature", strings.Repeat("MIAw", 16_000))
			return r
		},
		"a signature of something else": func() *http.Request {
			r := mac.request(checkinType, body)
			r.Header.Set("Mdm-Signature", mac.sign([]byte("something else")))
			return r
		},
		"a certificate of another CA": func() *http.Request {
			c := *mac
			c.cert = issue(t, otherCA(), macID, nil)
			return c.request(checkinType, body)
		},
		"an expired certificate": func() *http.Request {
			return signedBy(*mac, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) })
		},
		"a certificate of the future": func() *http.Request {
			return signedBy(*mac, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) })
		},
		"a certificate for servers": func() *http.Request {
			return signedBy(*mac, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })
		},
		"another certificate than the one it enrolled with": func() *http.Request { return signedBy(*mac, nil) },
		"the certificate of another Mac": func() *http.Request {
			c := *mac
			c.id = otherID
			return c.request(checkinType, c.plist(message{"MessageType": "DeclarativeManagement", "Endpoint": "tokens"}))
		},
		"an enrolment with the certificate of another Mac": func() *http.Request {
			c := *mac
			c.id = otherID
			return c.request(checkinType, c.plist(authenticate("26.5", "25F71")))
		},
		"a Mac that never enrolled": func() *http.Request {
			return stranger.request(checkinType, stranger.plist(message{"MessageType": "DeclarativeManagement", "Endpoint": "tokens"}))
		},
		"a command poll of a Mac that never enrolled": func() *http.Request {
			return stranger.request(commandType, stranger.plist(message{"Status": "Idle"}))
		},
		"an empty body":                   func() *http.Request { return mac.request(checkinType, nil) },
		"a truncated check-in":            func() *http.Request { return mac.request(checkinType, body[:len(body)/2]) },
		"a truncated command answer":      func() *http.Request { return mac.request(commandType, body[:len(body)/2]) },
		"no property list":                func() *http.Request { return mac.request(checkinType, []byte(`{"UDID":"x"}`)) },
		"a binary property list":          func() *http.Request { return mac.request(checkinType, circle) },
		"a property list of great depth":  func() *http.Request { return mac.request(checkinType, deep) },
		"a check-in without MessageType":  func() *http.Request { return mac.request(checkinType, mac.plist(message{})) },
		"an unknown MessageType":          func() *http.Request { return mac.request(checkinType, mac.plist(message{"MessageType": "Hello"})) },
		"a MessageType that is no text":   func() *http.Request { return mac.request(checkinType, mac.plist(message{"MessageType": 7})) },
		"a command answer without Status": func() *http.Request { return mac.request(commandType, mac.plist(message{})) },
		"a message of nobody": func() *http.Request {
			c := *mac
			c.id = ""
			return c.request(checkinType, c.plist(message{"MessageType": "TokenUpdate"}))
		},
		"a command poll of nobody": func() *http.Request {
			c := *mac
			c.id = ""
			return c.request(commandType, c.plist(message{"Status": "Idle"}))
		},
		"an id that names a user channel": func() *http.Request {
			c := *stranger
			c.id = macID + ":" + userID
			return c.request(checkinType, c.plist(authenticate("26.5", "25F71")))
		},
		"an id that is none": func() *http.Request {
			c := *stranger
			c.id = "../" + strings.Repeat("x", 300)
			return c.request(checkinType, c.plist(authenticate("26.5", "25F71")))
		},
		"GetToken of no kind": func() *http.Request { return mac.request(checkinType, mac.plist(message{"MessageType": "GetToken"})) },
		"GetToken": func() *http.Request {
			return mac.request(checkinType, mac.plist(message{"MessageType": "GetToken", "TokenServiceType": "com.apple.maid"}))
		},
		"Authenticate on a user channel": func() *http.Request {
			c := *mac
			c.user = userID
			return c.request(checkinType, c.plist(authenticate("26.5", "25F71")))
		},
	}
	for endpoint, why := range map[string]string{
		"": "no endpoint", "weather": "an unknown endpoint", "tokens/": "an endpoint with a slash", "declaration": "no kind",
		"declaration/configuration": "no identifier", "declaration/configuration/": "an empty identifier",
		"declaration/poem/plimsoll.status": "an unknown kind", "declaration/configuration/a/b": "too many parts",
	} {
		tests[why] = func() *http.Request {
			return mac.request(checkinType, mac.plist(message{"MessageType": "DeclarativeManagement", "Endpoint": endpoint}))
		}
	}
	for why, report := range map[string]string{
		"no report": "", "a report that is a list": "[1]", "a report that is a text": `"text"`, "a truncated report": `{"StatusItems":{`,
		"a report beyond what JSON is read": strings.Repeat(`{"a":`, 20_000) + "1" + strings.Repeat("}", 20_000),
	} {
		tests[why] = func() *http.Request {
			return mac.request(checkinType, mac.plist(message{"MessageType": "DeclarativeManagement", "Endpoint": "status", "Data": []byte(report)}))
		}
	}
	before := w.device(macID)
	for name, req := range tests {
		t.Run(name, func(t *testing.T) {
			w.pass(10 * time.Second) // not to meet the limit
			refused := w.door.Counters().Refused.Load()
			a := w.do(req())
			want(t, name, a, http.StatusBadRequest)
			if a.body != "bad request\n" || !strings.HasPrefix(a.contentType(), "text/plain") {
				t.Errorf("answered %q as %q", a.body, a.contentType())
			}
			if n := w.door.Counters().Refused.Load() - refused; n != 1 {
				t.Errorf("counted %d times", n)
			}
		})
	}
	after := w.device(macID)
	after.LastSeenAt, after.Reasons, before.Reasons = before.LastSeenAt, nil, nil // contact was made
	if fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("something changed:\n%+v\n%+v", before, after)
	}
	page, err := w.fleet.Devices(context.Background(), fleet.DeviceQuery{})
	check(t, err)
	if len(page.Items) != 1 {
		t.Errorf("there are %d devices, want 1", len(page.Items))
	}
	want(t, "the Mac afterwards", mac.ddm("tokens", nil), http.StatusOK)
	if log := w.logged.String(); !strings.Contains(log, macID) || strings.Contains(log, "panic") {
		t.Errorf("the log does not name the Mac, or tells of a panic:\n%s", log)
	}
}

// circle is a binary property list, an array that contains itself: reading it never ends.
var circle = func() []byte {
	b := []byte("bplist00")
	b = append(b, 0xa1, 0x00) // one item: object 0
	b = append(b, 8)          // object 0 lies at 8
	b = append(b, make([]byte, 6)...)
	b = append(b, 1, 1)
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 1)        // one object
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0)        // which is the root
	return append(b, 0, 0, 0, 0, 0, 0, 0, 8+2+0) // offset table
}()

func TestMethods(t *testing.T) {
	w := newWorld(t)
	for _, method := range []string{"GET", "HEAD", "DELETE", "OPTIONS"} {
		req, err := http.NewRequest(method, w.srv.URL+"/mdm", nil)
		check(t, err)
		a := w.do(req)
		want(t, method, a, http.StatusMethodNotAllowed)
		if a.header.Get("Allow") != "PUT, POST" {
			t.Errorf("%s: Allow is %q", method, a.header.Get("Allow"))
		}
	}
	mac := w.mac(macID)
	req := mac.request(checkinType, mac.plist(authenticate("26.5", "25F71")))
	req.Method = "POST"
	want(t, "POST", w.do(req), http.StatusOK)
}

func TestTooLarge(t *testing.T) {
	w := newWorld(t)
	mac := w.mac(macID)
	mac.enrol()
	const limit = 4 << 20
	most := mac.plist(message{"MessageType": "DeclarativeManagement", "Endpoint": "tokens"})
	most = append(most, bytes.Repeat([]byte(" "), limit-len(most))...)
	for _, path := range []string{"/mdm", "/scep?operation=PKIOperation"} {
		for _, chunked := range []bool{false, true} {
			var body io.Reader = bytes.NewReader(make([]byte, limit+1))
			if chunked {
				body = io.MultiReader(body) // of unknown length
			}
			req, err := http.NewRequest(http.MethodPost, w.srv.URL+path, body)
			check(t, err)
			req.Header.Set("Content-Type", checkinType)
			resp, err := w.srv.Client().Do(req)
			if err != nil { // the server may hang up while the body is still being sent
				t.Logf("%s, chunked %t: %v", path, chunked, err)
				continue
			}
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusRequestEntityTooLarge {
				t.Errorf("%s, chunked %t: answered %d, want 413", path, chunked, resp.StatusCode)
			}
		}
	}
	want(t, "4 MiB", w.do(mac.request(checkinType, most)), http.StatusOK)
}

func TestStoreDown(t *testing.T) {
	w := newWorld(t)
	w.putPolicy(floor)
	mac := w.mac(macID)
	mac.enrol()
	want(t, "status", mac.ddm("status", fullReport("C02XYZ")), http.StatusOK)
	want(t, "declaration-items", mac.ddm("declaration-items", nil), http.StatusOK)
	newcomer := w.mac(otherID)
	w.db.Set(storagetest.Fault{Down: true})
	tests := map[string]func() answer{
		"Authenticate": func() answer { return newcomer.checkin(authenticate("26.5", "25F71")) },
		"TokenUpdate":  func() answer { return mac.checkin(tokenUpdate(macID)) },
		"CheckOut":     func() answer { return mac.checkin(message{"MessageType": "CheckOut"}) },
		"SetBootstrapToken": func() answer {
			return mac.checkin(message{"MessageType": "SetBootstrapToken", "BootstrapToken": []byte("b")})
		},
		"GetBootstrapToken": func() answer { return mac.checkin(message{"MessageType": "GetBootstrapToken"}) },
		"tokens":            func() answer { return mac.ddm("tokens", nil) },
		"declaration-items": func() answer { return mac.ddm("declaration-items", nil) },
		"a declaration":     func() answer { return mac.ddm("declaration/configuration/plimsoll.status", nil) },
		"no declaration":    func() answer { return mac.ddm("declaration/configuration/plimsoll.settings", nil) },
		"status":            func() answer { return mac.ddm("status", fullReport("C02XYZ")) },
		"commands":          func() answer { return mac.command(message{"Status": "Idle"}) },
		"an answer":         func() answer { return mac.command(message{"Status": "Acknowledged", "CommandUUID": "x"}) },
	}
	for name, send := range tests {
		a := send()
		want(t, name, a, http.StatusServiceUnavailable)
		if a.header.Get("Retry-After") == "" || a.body != "service unavailable\n" {
			t.Errorf("%s: Retry-After %q, body %q", name, a.header.Get("Retry-After"), a.body)
		}
	}
	w.db.Set(storagetest.Fault{})
	want(t, "tokens afterwards", mac.ddm("tokens", nil), http.StatusOK)
	newcomer.enrol()
}

// An answer that is lost makes the Mac repeat its message, whatever was done of it.
func TestRepeatedMessages(t *testing.T) {
	w := newWorld(t)
	mac := w.mac(macID)
	send := func(what string, m message) {
		t.Helper()
		for i := 0; ; i++ {
			w.db.Set(storagetest.Fault{LoseAnswer: true, Times: 1})
			a := mac.checkin(m)
			w.db.Set(storagetest.Fault{})
			if a.status == http.StatusOK {
				return
			}
			want(t, what, a, http.StatusServiceUnavailable)
			if i > 0 { // the fault hits the first commit only: from then on it has to work
				want(t, what+" again", mac.checkin(m), http.StatusOK)
				return
			}
		}
	}
	send("Authenticate", authenticate("26.5", "25F71"))
	send("TokenUpdate", tokenUpdate(macID))
	send("SetBootstrapToken", message{"MessageType": "SetBootstrapToken", "BootstrapToken": []byte("boot")})
	if d := w.device(macID); !d.Enrolled || !d.BootstrapToken {
		t.Errorf("afterwards: %+v", d)
	}
	if cmd := mac.next("", nil); cmd == nil {
		t.Error("no command is queued")
	}
}

func TestTooMany(t *testing.T) {
	w := newWorld(t)
	mac, other := w.mac(macID), w.mac(otherID)
	req := mac.plist(message{"MessageType": "Hello"})
	for i := range 100 {
		if a := w.do(mac.request(checkinType, req)); a.status != http.StatusBadRequest {
			t.Fatalf("request %d: answered %d", i, a.status)
		}
	}
	a := w.do(mac.request(checkinType, req))
	want(t, "request 101", a, http.StatusTooManyRequests)
	if a.header.Get("Retry-After") != "1" {
		t.Errorf("Retry-After is %q", a.header.Get("Retry-After"))
	}
	want(t, "another Mac", other.checkin(authenticate("26.5", "25F71")), http.StatusOK)
	w.pass(time.Second)
	for i := range 20 {
		if a := w.do(mac.request(checkinType, req)); a.status != http.StatusBadRequest {
			t.Fatalf("a second later, request %d: answered %d", i, a.status)
		}
	}
	want(t, "a second later, request 21", w.do(mac.request(checkinType, req)), http.StatusTooManyRequests)
}

func TestCertHeader(t *testing.T) {
	w := newWorld(t, func(s *setup) { s.CertHeader = "X-Client-Cert" })
	mac := w.mac(macID)
	rfc9440 := ":" + base64.StdEncoding.EncodeToString(mac.cert.Raw) + ":"
	escaped := url.QueryEscape(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: mac.cert.Raw})))
	body := mac.plist(authenticate("26.5", "25F71"))
	foreign := issue(t, otherCA(), macID, nil)
	for name, tt := range map[string]struct {
		header []string
		want   int
	}{
		"RFC 9440":                 {[]string{rfc9440}, http.StatusOK},
		"escaped PEM":              {[]string{escaped}, http.StatusOK},
		"no header":                {nil, http.StatusBadRequest},
		"an empty header":          {[]string{""}, http.StatusBadRequest},
		"two headers":              {[]string{rfc9440, rfc9440}, http.StatusBadRequest},
		"not base64":               {[]string{":*:"}, http.StatusBadRequest},
		"not a certificate":        {[]string{":aGVsbG8=:"}, http.StatusBadRequest},
		"plain text":               {[]string{"hello"}, http.StatusBadRequest},
		"a certificate not ours":   {[]string{":" + base64.StdEncoding.EncodeToString(foreign.Raw) + ":"}, http.StatusBadRequest},
		"a good certificate twice": {[]string{rfc9440 + rfc9440}, http.StatusBadRequest},
	} {
		req := mac.request(checkinType, body) // its signature is good, and not read
		if tt.want == http.StatusOK {
			req.Header.Del("Mdm-Signature")
		}
		for _, v := range tt.header {
			req.Header.Add("X-Client-Cert", v)
		}
		want(t, name, w.do(req), tt.want)
	}
}

func TestFurtherCAs(t *testing.T) {
	w := newWorld(t, func(s *setup) { s.DeviceCAs = []*x509.Certificate{otherCA().Cert} })
	mac := w.mac(macID)
	mac.cert = issue(t, otherCA(), macID, nil)
	mac.enrol()
	want(t, "tokens", mac.ddm("tokens", nil), http.StatusOK)
}

// A chain that was verified once is not good for longer than its certificates.
func TestIdentityExpires(t *testing.T) {
	w := newWorld(t)
	mac := w.mac(macID)
	mac.cert = issue(t, deviceCA(), macID, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(time.Hour) })
	mac.enrol()
	want(t, "before", mac.ddm("tokens", nil), http.StatusOK)
	w.pass(2 * time.Hour)
	want(t, "after", mac.ddm("tokens", nil), http.StatusBadRequest)
}

// What is found is believed for 60 s, so that another replica's deletion takes effect by then.
func TestAssociationIsRemembered(t *testing.T) {
	w := newWorld(t)
	mac := w.mac(macID)
	mac.enrol()
	user := *mac
	user.user = userID // needs nothing but the association
	want(t, "at first", user.ddm("tokens", nil), http.StatusOK)
	w.db.Set(storagetest.Fault{Down: true})
	want(t, "with the store down", user.ddm("tokens", nil), http.StatusOK)
	w.pass(61 * time.Second)
	want(t, "a minute later", user.ddm("tokens", nil), http.StatusServiceUnavailable)
	w.db.Set(storagetest.Fault{})
	want(t, "with the store back", user.ddm("tokens", nil), http.StatusOK)
	check(t, w.nano.Forget(context.Background(), macID)) // by another replica
	want(t, "forgotten elsewhere", user.ddm("tokens", nil), http.StatusOK)
	w.pass(61 * time.Second)
	want(t, "forgotten elsewhere, a minute later", user.ddm("tokens", nil), http.StatusBadRequest)
}

func TestLogIsDiscreet(t *testing.T) {
	w := newWorld(t)
	mac := w.mac(macID)
	mac.enrol()
	secret := []byte("this is a bootstrap token")
	want(t, "SetBootstrapToken", mac.checkin(message{"MessageType": "SetBootstrapToken", "BootstrapToken": secret}), http.StatusOK)
	body := mac.plist(message{"MessageType": "SetBootstrapToken", "BootstrapToken": secret})
	want(t, "truncated", w.do(mac.request(checkinType, body[:len(body)-20])), http.StatusBadRequest)
	want(t, "status", mac.ddm("status", fullReport("C02XYZ")), http.StatusOK)
	for _, s := range []string{"magic-of-", base64.StdEncoding.EncodeToString(secret), string(secret), "StatusItems"} {
		if strings.Contains(w.logged.String(), s) {
			t.Errorf("the log carries %q", s)
		}
	}
}

func TestQueueIsOneCommandOfAKind(t *testing.T) {
	w := newWorld(t)
	mac := w.mac(macID)
	mac.enrol()
	ctx := context.Background()
	for range 3 {
		check(t, w.db.Update(ctx, "mac/"+macID, w.queueAndAsk))
	}
	queue, err := w.nano.Queued(ctx, macID)
	check(t, err)
	kinds := map[string]int{}
	for _, q := range queue {
		kinds[q.RequestType]++
	}
	if kinds["DeclarativeManagement"] != 1 || kinds["DeviceInformation"] != 2 || len(queue) != 3 {
		t.Errorf("queued: %+v", queue)
	}
}

func (w *world) queueAndAsk(tx storage.Tx) error {
	return errors.Join(
		w.teller.Queue(tx, macID, []byte(`{}`)),
		w.teller.Ask(tx, macID, "OSVersion", "BuildVersion"),
		w.teller.Ask(tx, macID, "BuildVersion", "OSVersion"),
		w.teller.Ask(tx, macID, "SoftwareUpdateDeviceID"),
	)
}
