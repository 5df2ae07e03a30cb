package mdm_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"plimsoll/server/fleet"
	"plimsoll/storage/storagetest"
)

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
			refused := w.mdm.Counters().Refused.Load()
			a := w.do(req())
			want(t, name, a, http.StatusBadRequest)
			if a.body != "bad request\n" || !strings.HasPrefix(a.contentType(), "text/plain") {
				t.Errorf("answered %q as %q", a.body, a.contentType())
			}
			if n := w.mdm.Counters().Refused.Load() - refused; n != 1 {
				t.Errorf("counted %d times", n)
			}
		})
	}
	after := w.device(macID)
	if after.Refused == nil || after.Identity == nil || *after.Identity.ExpiresAt != *before.Identity.ExpiresAt {
		t.Errorf("the refusals left %+v, the identity is %+v", after.Refused, after.Identity)
	}
	after.LastSeenAt, after.Reasons, before.Reasons = before.LastSeenAt, nil, nil // contact was made
	after.Refused, after.Identity, before.Identity = nil, nil, nil
	if !reflect.DeepEqual(after, before) {
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
	most := mac.plist(message{"MessageType": "DeclarativeManagement", "Endpoint": "status", "Data": fullReport("C02XYZ")})
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
			if chunked {
				req.Header.Set("Mdm-Signature", mac.sign(nil)) // else it is not read at all
			}
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
