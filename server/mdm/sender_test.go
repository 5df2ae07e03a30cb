package mdm_test

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"plimsoll/storage/storagetest"
)

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
	w := newWorld(t, func(s *setup) { s.Further = []*x509.Certificate{otherCA().Cert} })
	mac := w.mac(macID)
	mac.cert = issue(t, otherCA(), macID, nil)
	mac.enrol()
	want(t, "tokens", mac.ddm("tokens", nil), http.StatusOK)
}

func TestIdentityExpires(t *testing.T) {
	w := newWorld(t)
	mac := w.mac(macID)
	mac.cert = issue(t, deviceCA(), macID, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(time.Hour) })
	mac.enrol()
	want(t, "before", mac.ddm("tokens", nil), http.StatusOK)
	w.pass(2 * time.Hour)
	want(t, "after", mac.ddm("tokens", nil), http.StatusBadRequest)
}

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
	for _, m := range []message{
		{"MessageType": "SetBootstrapToken", "BootstrapToken": "this is a bootstrap token"}, // text, where data belongs
		{"MessageType": "TokenUpdate", "Topic": pushTopic, "PushMagic": []byte("magic-of-"), "Token": []byte("token of")},
		{"MessageType": "TokenUpdate", "Topic": pushTopic, "PushMagic": "magic-of-", "Token": "this is a push token"},
		{"MessageType": "TokenUpdate", "Topic": pushTopic, "PushMagic": "magic-of-", "Token": []byte{1}, "UnlockToken": "this is an unlock token"},
	} {
		want(t, "of the wrong kind", mac.checkin(m), http.StatusBadRequest)
	}
	before := len(w.logged.String())
	long := *mac
	long.id = strings.Repeat("y", 1<<20)
	want(t, "a long id", long.ddm("tokens", nil), http.StatusBadRequest)
	want(t, "a long message type", mac.checkin(message{"MessageType": strings.Repeat("x", 1<<20)}), http.StatusBadRequest)
	mac.command(message{"Status": strings.Repeat("z", 1<<20), "CommandUUID": "x"})
	if n := len(w.logged.String()) - before; n > 20_000 {
		t.Errorf("three messages with long texts make %d bytes of log", n)
	}
	for _, s := range []string{"this is a push token", base64.StdEncoding.EncodeToString([]byte("magic-of-")), "this is an unlock token", "magic-of-", base64.StdEncoding.EncodeToString(secret), string(secret), "StatusItems"} {
		if strings.Contains(w.logged.String(), s) {
			t.Errorf("the log carries %q", s)
		}
	}
}
