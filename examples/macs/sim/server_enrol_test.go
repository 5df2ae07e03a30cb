package sim

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"io"
	"math/big"
	"net/http"
	"time"

	"github.com/micromdm/plist"
	"github.com/smallstep/pkcs7"
	"github.com/smallstep/scep"
)

func (f *fakeServer) profile() map[string]any {
	return map[string]any{
		"PayloadType": "Configuration", "PayloadVersion": 1, "PayloadIdentifier": "test.enrol", "PayloadUUID": "U0",
		"PayloadContent": []map[string]any{
			{
				"PayloadType": "com.apple.security.scep", "PayloadVersion": 1, "PayloadIdentifier": "test.scep", "PayloadUUID": "U1",
				"PayloadContent": map[string]any{
					"URL": f.srv.URL + "/scep", "Name": "ca", "Challenge": "secret", "Keysize": 2048, "Key Type": "RSA",
					"Subject": [][][]string{{{"O", "Plimsoll"}}, {{"CN", "%SerialNumber%"}}},
				},
			},
			{
				"PayloadType": "com.apple.mdm", "PayloadVersion": 1, "PayloadIdentifier": "test.mdm", "PayloadUUID": "U2",
				"IdentityCertificateUUID": "U1", "Topic": "com.apple.mgmt.External.test", "ServerURL": f.srv.URL + "/mdm",
				"SignMessage": true, "AccessRights": 8191,
				"ServerCapabilities": []string{"com.apple.mdm.per-user-connections", "com.apple.mdm.bootstraptoken"},
			},
		},
	}
}

func (f *fakeServer) enroll(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("code") != f.code {
		http.Error(w, "code", http.StatusForbidden)
		return
	}
	b, err := plist.Marshal(f.profile())
	if err != nil {
		f.t.Error(err)
	}
	if f.signed {
		sd, err := pkcs7.NewSignedData(b)
		if err != nil {
			f.t.Error(err)
			return
		}
		if err := sd.AddSigner(f.ca, testKey(), pkcs7.SignerInfoConfig{}); err != nil {
			f.t.Error(err)
			return
		}
		if b, err = sd.Finish(); err != nil {
			f.t.Error(err)
		}
	}
	w.Header().Set("Content-Type", "application/x-apple-aspen-config")
	_, _ = w.Write(b)
}

func (f *fakeServer) scep(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	switch q.Get("operation") {
	case "GetCACaps":
		_, _ = io.WriteString(w, f.scepCap)
	case "GetCACert":
		w.Header().Set("Content-Type", "application/x-x509-ca-cert")
		_, _ = w.Write(f.ca.Raw)
	case "PKIOperation":
		body, err := io.ReadAll(r.Body)
		if r.Method == http.MethodGet {
			body, err = base64.StdEncoding.DecodeString(q.Get("message"))
		}
		if err != nil {
			f.t.Error(err)
			return
		}
		f.issue(w, body)
	}
}

func (f *fakeServer) issue(w http.ResponseWriter, body []byte) {
	msg, err := scep.ParsePKIMessage(body)
	if err != nil {
		f.t.Error(err)
		return
	}
	if err := msg.DecryptPKIEnvelope(f.ca, testKey()); err != nil {
		f.t.Error(err)
		return
	}
	if msg.CSRReqMessage.ChallengePassword != "secret" {
		rep, err := msg.Fail(f.ca, testKey(), scep.BadRequest)
		if err != nil {
			f.t.Error(err)
			return
		}
		_, _ = w.Write(rep.Raw)
		return
	}
	sn, err := rand.Int(rand.Reader, big.NewInt(1<<60))
	if err != nil {
		f.t.Error(err)
		return
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: sn, RawSubject: msg.CSR.RawSubject, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, f.ca, msg.CSR.PublicKey, testKey())
	if err != nil {
		f.t.Error(err)
		return
	}
	crt, err := x509.ParseCertificate(der)
	if err != nil {
		f.t.Error(err)
		return
	}
	rep, err := msg.Success(f.ca, testKey(), crt)
	if err != nil {
		f.t.Error(err)
		return
	}
	w.Header().Set("Content-Type", "application/x-pki-message")
	_, _ = w.Write(rep.Raw)
}
