package mdm_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/micromdm/plist"
	"github.com/smallstep/pkcs7"

	"plimsoll/server/fleet"
	"plimsoll/storage"
	"plimsoll/storage/storagetest"
)

const placeholder = "com.apple.mgmt.External.00000000-0000-0000-0000-000000000000"

// public makes the server one that others can reach.
func public(s *setup) { s.URL, s.ListenLoopback = "https://mdm.example.com/", false }

func (w *world) code(uses int, expires *time.Time) fleet.CodeInfo {
	w.t.Helper()
	c, err := w.fleet.CreateCode(context.Background(), fleet.Origin{Actor: "admin"}, "test", expires, uses)
	check(w.t, err)
	return c
}

// dict walks into a decoded property list.
func dict(t *testing.T, v any) map[string]any {
	t.Helper()
	d, ok := v.(map[string]any)
	if !ok {
		t.Fatalf("%T is not a dict", v)
	}
	return d
}

func TestProfile(t *testing.T) {
	w := newWorld(t, public)
	a := w.get("/enroll?code=" + w.code(0, nil).Code)
	want(t, "enroll", a, http.StatusOK)
	if a.contentType() != "application/x-apple-aspen-config" || !strings.Contains(a.header.Get("Content-Disposition"), ".mobileconfig") || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("headers: %v", a.header)
	}
	var got map[string]any
	check(t, plist.Unmarshal([]byte(a.body), &got))
	payloads, _ := got["PayloadContent"].([]any)
	if len(payloads) != 2 {
		t.Fatalf("%d payloads", len(payloads))
	}
	scep, mdm := dict(t, payloads[0]), dict(t, payloads[1])
	challenge, _ := dict(t, scep["PayloadContent"])["Challenge"].(string)
	if len(challenge) < 32 {
		t.Errorf("the challenge is %q", challenge)
	}
	uuids := map[string]bool{}
	for _, d := range []map[string]any{got, scep, mdm} {
		id, _ := d["PayloadUUID"].(string)
		if len(id) != 36 || uuids[id] {
			t.Errorf("PayloadUUID %q", id)
		}
		uuids[id] = true
	}
	if mdm["IdentityCertificateUUID"] != scep["PayloadUUID"] {
		t.Errorf("IdentityCertificateUUID %v, the SCEP payload is %v", mdm["IdentityCertificateUUID"], scep["PayloadUUID"])
	}
	for _, d := range []map[string]any{got, scep, mdm} {
		delete(d, "PayloadUUID")
	}
	delete(mdm, "IdentityCertificateUUID")
	delete(dict(t, scep["PayloadContent"]), "Challenge")
	wanted := map[string]any{
		"PayloadType": "Configuration", "PayloadVersion": uint64(1), "PayloadIdentifier": "plimsoll.enrollment",
		"PayloadDisplayName": "Plimsoll", "PayloadDescription": "Enrols this Mac, so that its updates are managed.",
		"PayloadOrganization": "Plimsoll", "PayloadScope": "System",
		"PayloadContent": []any{
			map[string]any{
				"PayloadType": "com.apple.security.scep", "PayloadVersion": uint64(1), "PayloadIdentifier": "plimsoll.enrollment.scep",
				"PayloadDisplayName": "Device identity",
				"PayloadContent": map[string]any{
					"URL": "https://mdm.example.com/scep", "Name": "Plimsoll", "Keysize": uint64(2048), "Key Type": "RSA", "Key Usage": uint64(5),
					"KeyIsExtractable": false, "AllowAllAppsAccess": false, "Retries": uint64(3), "RetryDelay": uint64(10),
					"Subject": []any{[]any{[]any{"O", "Plimsoll"}}, []any{[]any{"CN", "%HardwareUUID%"}}},
				},
			},
			map[string]any{
				"PayloadType": "com.apple.mdm", "PayloadVersion": uint64(1), "PayloadIdentifier": "plimsoll.enrollment.mdm",
				"PayloadDisplayName": "Device management",
				"ServerURL":          "https://mdm.example.com/mdm", "CheckInURL": "https://mdm.example.com/mdm",
				"Topic": placeholder, "SignMessage": true, "AccessRights": uint64(8191), "CheckOutWhenRemoved": true,
				"ServerCapabilities": []any{"com.apple.mdm.per-user-connections", "com.apple.mdm.bootstraptoken"},
			},
		},
	}
	if diff := cmp.Diff(wanted, got); diff != "" {
		t.Errorf("the profile (-want +got):\n%s", diff)
	}
	if cert, _ := w.identity(pkcsReq{name: macID, challenge: challenge}); cert == nil {
		t.Error("the profile's challenge gives no identity")
	}
}

func TestProfileNamesThePushTopic(t *testing.T) {
	w := newWorld(t)
	certPEM, keyPEM := pushPair(t, pushTopic)
	check(t, w.nano.StorePushCert(context.Background(), certPEM, keyPEM))
	if a := w.get("/enroll"); !strings.Contains(a.body, "<string>"+pushTopic+"</string>") || strings.Contains(a.body, placeholder) {
		t.Errorf("the profile lacks the push topic:\n%s", a.body)
	}
	w.pass(time.Minute)
	const newer = "com.apple.mgmt.External.ffffffff-1f17-4c8e-8a63-dd17d3dd35d9"
	certPEM, keyPEM = pushPair(t, newer)
	check(t, w.nano.StorePushCert(context.Background(), certPEM, keyPEM))
	if a := w.get("/enroll"); !strings.Contains(a.body, newer) {
		t.Errorf("the profile lacks the newest push topic:\n%s", a.body)
	}
}

func TestSignedProfile(t *testing.T) {
	signer := issue(t, otherCA(), "profiles", nil)
	w := newWorld(t, func(s *setup) {
		s.ProfileIdentity = &tls.Certificate{Certificate: [][]byte{signer.Raw, otherCA().Cert.Raw}, PrivateKey: macKey()}
	})
	a := w.get("/enroll")
	want(t, "enroll", a, http.StatusOK)
	cms, err := pkcs7.Parse([]byte(a.body))
	check(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(otherCA().Cert)
	check(t, cms.VerifyWithChain(roots))
	if got := cms.GetOnlySigner(); !got.Equal(signer) || len(cms.Certificates) != 2 {
		t.Errorf("signed by %v with %d certificates", got.Subject, len(cms.Certificates))
	}
	if !strings.Contains(string(cms.Content), "com.apple.mdm") {
		t.Error("the signed content is not the profile")
	}
}

func TestEnrolmentCodes(t *testing.T) {
	w := newWorld(t, public)
	soon := w.now().Add(time.Hour)
	once, short, gone := w.code(1, nil), w.code(0, &soon), w.code(0, nil)
	check(t, w.fleet.DeleteCode(context.Background(), gone.ID, fleet.Origin{}))
	refused := func(what, path string, hint string) {
		t.Helper()
		a := w.get(path)
		want(t, what, a, http.StatusForbidden)
		if !strings.HasPrefix(a.contentType(), "text/plain") || !strings.Contains(a.body, hint) || strings.Contains(a.body, "Challenge") {
			t.Errorf("%s: answered %q as %q", what, a.body, a.contentType())
		}
	}
	refused("no code", "/enroll", "/enroll?code=")
	refused("an empty code", "/enroll?code=", "/enroll?code=")
	refused("a guess", "/enroll?code=guess", "not known")
	refused("a deleted code", "/enroll?code="+gone.Code, "not known")

	// Only a profile that was delivered counts.
	w.db.Set(storagetest.Fault{Down: true})
	a := w.get("/enroll?code=" + once.Code)
	want(t, "with the store down", a, http.StatusServiceUnavailable)
	w.db.Set(storagetest.Fault{Down: true, Partition: storage.ScepPartition})
	a = w.get("/enroll?code=" + once.Code)
	want(t, "when no challenge can be kept", a, http.StatusServiceUnavailable)
	w.db.Set(storagetest.Fault{})
	for _, method := range []string{http.MethodHead, http.MethodPut} {
		req, err := http.NewRequest(method, w.srv.URL+"/enroll?code="+once.Code, nil)
		check(t, err)
		want(t, method, w.do(req), http.StatusMethodNotAllowed)
	}
	want(t, "the first use", w.get("/enroll?code="+once.Code), http.StatusOK)
	refused("the second use", "/enroll?code="+once.Code, "used up")

	want(t, "in time", w.get("/enroll?code="+short.Code), http.StatusOK)
	w.pass(2 * time.Hour)
	refused("an expired code", "/enroll?code="+short.Code, "expired")
	if n := w.mdm.Counters().ProfilesRefused.Load(); n != 8 {
		t.Errorf("%d refusals counted, want 8", n)
	}
}

// Without a code nobody but the machine itself gets a profile.
func TestLoopbackNeedsNoCode(t *testing.T) {
	for name, tt := range map[string]struct {
		listen bool
		url    string // empty: where the test listens, 127.0.0.1
		header []string
		host   string
		want   int
	}{
		"all loopback":                   {listen: true, want: http.StatusOK},
		"the URL says localhost":         {listen: true, url: "http://localhost:8080", want: http.StatusOK},
		"the URL says [::1]":             {listen: true, url: "http://[::1]:8080", want: http.StatusOK},
		"asked as localhost":             {listen: true, host: "localhost:8080", want: http.StatusOK},
		"asked as [::1]":                 {listen: true, host: "[::1]", want: http.StatusOK},
		"listening for others":           {want: http.StatusForbidden},
		"the URL is public":              {listen: true, url: "https://mdm.example.com", want: http.StatusForbidden},
		"the URL only sounds local":      {listen: true, url: "http://localhost.example.com", want: http.StatusForbidden},
		"X-Forwarded-For":                {listen: true, header: []string{"X-Forwarded-For", "192.0.2.1"}, want: http.StatusForbidden},
		"X-Forwarded-Host, empty":        {listen: true, header: []string{"X-Forwarded-Host", ""}, want: http.StatusForbidden},
		"Forwarded":                      {listen: true, header: []string{"forwarded", "for=127.0.0.1"}, want: http.StatusForbidden},
		"led here under a public name":   {listen: true, host: "evil.example.com:8080", want: http.StatusForbidden},
		"led here under a similar name":  {listen: true, host: "127.0.0.1.example.com", want: http.StatusForbidden},
		"another header does not matter": {listen: true, header: []string{"X-Request-Id", "1"}, want: http.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(s *setup) {
				s.ListenLoopback = tt.listen
				if tt.url != "" {
					s.URL = tt.url
				}
			})
			req, err := http.NewRequest(http.MethodGet, w.srv.URL+"/enroll", nil)
			check(t, err)
			for pair := range slices.Chunk(tt.header, 2) {
				req.Header.Set(pair[0], pair[1])
			}
			if tt.host != "" {
				req.Host = tt.host
			}
			want(t, name, w.do(req), tt.want)
			if tt.want == http.StatusForbidden && tt.listen {
				req, err = http.NewRequest(http.MethodGet, w.srv.URL+"/enroll?code="+w.code(0, nil).Code, nil)
				check(t, err)
				want(t, name+", with a code", w.do(req), http.StatusOK)
			}
		})
	}
}
