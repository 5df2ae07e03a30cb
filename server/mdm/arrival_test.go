package mdm_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"math/big"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/smallstep/pkcs7"

	"plimsoll/server/fleet"
)

// machineCA is a CA with the oddities of Apple's: RSA-1024, and expired for years.
var machineCA = sync.OnceValue(func() *signer { return newSigner(nil) })

// signer is a certificate with its key.
type signer struct {
	cert *x509.Certificate
	key  *rsa.PrivateKey
}

// newSigner makes a machine CA, or one of its Macs: RSA-1024, SHA-1, expired.
func newSigner(ca *signer) *signer {
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		panic(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "machine CA"},
		NotBefore: time.Date(2007, 4, 16, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2014, 4, 16, 0, 0, 0, 0, time.UTC),
		IsCA: ca == nil, BasicConstraintsValid: true,
	}
	parent := &signer{tmpl, key}
	if ca != nil {
		tmpl.Subject.CommonName, tmpl.SignatureAlgorithm, parent = "a Mac", x509.SHA1WithRSA, ca
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent.cert, &key.PublicKey, parent.key)
	if err != nil {
		panic(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return &signer{cert, key}
}

func machineInfo(t *testing.T) []byte {
	t.Helper()
	b, err := os.ReadFile("message/testdata/machineinfo-ade-14.4.plist")
	check(t, err)
	return b
}

// signInfo signs as macOS does: one signer, SHA-1, with its CA beside it.
func signInfo(t *testing.T, info []byte, ca *signer, signers ...*signer) []byte {
	t.Helper()
	sd, err := pkcs7.NewSignedData(info)
	check(t, err)
	sd.SetDigestAlgorithm(pkcs7.OIDDigestAlgorithmSHA1)
	for _, s := range signers {
		check(t, sd.AddSigner(s.cert, s.key, pkcs7.SignerInfoConfig{}))
	}
	sd.AddCertificate(ca.cert)
	b, err := sd.Finish()
	check(t, err)
	return b
}

func (w *world) arrive(code string, body []byte) answer {
	w.t.Helper()
	req, err := http.NewRequest(http.MethodPost, w.srv.URL+"/enroll?code="+code, bytes.NewReader(body))
	check(w.t, err)
	req.Header.Set("Content-Type", "application/pkcs7-signature")
	return w.do(req)
}

// checked are the data of the events of enrolments.
func (w *world) checked() (all []map[string]any) {
	w.t.Helper()
	page, err := w.fleet.Events(context.Background(), "", 1000)
	check(w.t, err)
	for _, e := range page.Items {
		if e.Type == "enrolment_checked" {
			if e.Device != "" || e.Serial != "" || e.Text == "" {
				w.t.Errorf("the event is about a Mac: %+v", e)
			}
			all = append(all, e.Data)
		}
	}
	return all
}

// arrivals is a world whose policy asks for the newest at enrolment.
func arrivals(t *testing.T) *world {
	w := newWorld(t, public, func(s *setup) { s.MachineCAs = []*x509.Certificate{machineCA().cert} })
	w.putPolicy(`{"name":"everyone","at_enrolment":"newest","updates":{"mode":"automatic","within_days":14}}`)
	return w
}

const newest14 = "14.8.9" // that the built-in catalogue has for J413AP

func TestArrivalIsAskedToUpdate(t *testing.T) {
	w := arrivals(t)
	mac := newSigner(machineCA())
	info := machineInfo(t)
	body, code := signInfo(t, info, machineCA(), mac), w.code(1, nil).Code

	want(t, "a wrong code", w.arrive("guess", body), http.StatusForbidden)
	a := w.arrive(code, body)
	want(t, "below the newest", a, http.StatusForbidden)
	var got struct {
		Code, Message string
		Details       map[string]string
	}
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.contentType() != "application/json" {
		t.Fatalf("%v: %s as %q", err, a.body, a.contentType())
	}
	if got.Code != "com.apple.softwareupdate.required" || len(got.Details) != 1 || got.Details["OSVersion"] != newest14 ||
		!strings.HasSuffix(got.Message, ".") {
		t.Errorf("answered %s", a.body)
	}
	// The same request again, whoever sends it: it is no third time for ten minutes, and makes no Mac.
	want(t, "replayed at once", w.arrive(code, body), http.StatusForbidden)
	w.pass(10 * time.Minute)
	want(t, "the second time", w.arrive(code, body), http.StatusForbidden)
	if devices, err := w.fleet.Devices(context.Background(), fleet.DeviceQuery{}); err != nil || len(devices.Items) > 0 {
		t.Errorf("%v: %d Macs", err, len(devices.Items))
	}
	w.pass(10 * time.Minute)
	a = w.arrive(code, body)
	want(t, "the third time", a, http.StatusOK) // the code is still good for one: a 403 does not count
	if a.contentType() != "application/x-apple-aspen-config" {
		t.Errorf("let through with %q", a.contentType())
	}
	want(t, "with the code used up", w.arrive(code, body), http.StatusForbidden)

	updated := bytes.ReplaceAll(bytes.ReplaceAll(info, []byte("14.4.1"), []byte(newest14)), []byte("23E224"), []byte("23J631"))
	want(t, "updated", w.arrive(w.code(0, nil).Code, signInfo(t, updated, machineCA(), mac)), http.StatusOK)

	why := []string{"asked", "asked", "asked", "asked_twice", "no_target"}
	events := w.checked()
	if len(events) != len(why) {
		t.Fatalf("%d events: %v", len(events), events)
	}
	for i, e := range events {
		if e["why"] != why[i] || e["serial"] != "ZSAMPLE00001" || (e["asked"] == newest14) != (why[i] == "asked") {
			t.Errorf("event %d: %v, want %s", i, e, why[i])
		}
	}
	if c := w.mdm.Counters(); c.UpdatesAsked.Load() != 3 || c.Unverified.Load() != 0 {
		t.Errorf("%d asked, %d unverified", c.UpdatesAsked.Load(), c.Unverified.Load())
	}
}

// Who cannot be told for a Mac of Apple's is let through, and counted.
func TestArrivalUnverified(t *testing.T) {
	w := arrivals(t)
	code := w.code(0, nil).Code
	mac, foreignCA := newSigner(machineCA()), newSigner(nil)
	foreign := newSigner(foreignCA)
	signed := signInfo(t, machineInfo(t), machineCA(), mac)
	same := *machineCA().cert
	same.PublicKey = &foreignCA.key.PublicKey
	named := signer{&same, foreignCA.key}
	n := 0
	for name, body := range map[string][]byte{
		"a bare property list":       machineInfo(t),
		"a foreign CA":               signInfo(t, machineInfo(t), foreignCA, foreign),
		"a foreign Mac beside ours":  signInfo(t, machineInfo(t), machineCA(), foreign),
		"signed twice":               signInfo(t, machineInfo(t), machineCA(), mac, mac),
		"signed by nobody":           signInfo(t, machineInfo(t), machineCA()),
		"another version was signed": bytes.Replace(signed, []byte("14.4.1"), []byte("14.4.2"), 1),
		"the CA's name alone":        signInfo(t, machineInfo(t), foreignCA, newSigner(&named)),
	} {
		a := w.arrive(code, body)
		want(t, name, a, http.StatusOK)
		if n++; w.mdm.Counters().Unverified.Load() != int64(n) {
			t.Errorf("%s: %d are counted, not %d", name, w.mdm.Counters().Unverified.Load(), n)
		}
	}
	for _, e := range w.checked() {
		if e["why"] != "unverified" || e["asked"] != nil {
			t.Errorf("%v", e)
		}
	}
}

func TestBadArrivals(t *testing.T) {
	w := arrivals(t)
	code := w.code(0, nil).Code
	mac := newSigner(machineCA())
	signed := signInfo(t, machineInfo(t), machineCA(), mac)
	for name, body := range map[string][]byte{
		"nothing":                   nil,
		"neither":                   []byte("SERIAL=ZSAMPLE00001"),
		"cut short":                 signed[:len(signed)-40],
		"a list that is cut short":  machineInfo(t)[:300],
		"binary":                    []byte("bplist00"),
		"over 64 KiB":               append(machineInfo(t), bytes.Repeat([]byte(" "), 64<<10)...),
		"without SERIAL":            bytes.Replace(machineInfo(t), []byte("SERIAL"), []byte("SERIEL"), 1),
		"signed, without SERIAL":    signInfo(t, bytes.Replace(machineInfo(t), []byte("SERIAL"), []byte("SERIEL"), 1), machineCA(), mac),
		"signed, not of a property": signInfo(t, []byte("hello"), machineCA(), mac),
	} {
		a := w.arrive(code, body)
		want(t, name, a, http.StatusBadRequest)
		if !strings.HasPrefix(a.contentType(), "text/plain") || !strings.Contains(a.body, "MachineInfo") {
			t.Errorf("%s: answered %q as %q", name, a.body, a.contentType())
		}
	}
	if events := w.checked(); len(events) > 0 {
		t.Errorf("events: %v", events)
	}
}
