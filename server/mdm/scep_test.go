package mdm_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/smallstep/scep"
	"github.com/smallstep/scep/x509util"

	"plimsoll/server/fleet"
	"plimsoll/storage/storagetest"
)

// pkcsReq is a request for an identity; the zero value of a field is what a Mac does.
type pkcsReq struct {
	name      string // common name
	challenge string
	key       crypto.Signer // asks for an identity
	signer    *rsa.PrivateKey
	ca        *fleet.CA // encrypted for
	typ       scep.MessageType
	spoil     func(csr []byte)
}

func (p pkcsReq) message(t *testing.T) (*scep.PKIMessage, *x509.Certificate) {
	t.Helper()
	if p.key == nil {
		p.key = macKey()
	}
	if p.signer == nil {
		p.signer = macKey()
	}
	if p.ca == nil {
		p.ca = deviceCA()
	}
	if p.typ == "" {
		p.typ = scep.PKCSReq
	}
	subject := pkix.Name{CommonName: p.name}
	der, err := x509util.CreateCertificateRequest(rand.Reader, &x509util.CertificateRequest{
		CertificateRequest: x509.CertificateRequest{Subject: subject}, ChallengePassword: p.challenge,
	}, p.key)
	check(t, err)
	if p.spoil != nil {
		p.spoil(der)
	}
	csr, err := x509.ParseCertificateRequest(der)
	check(t, err)
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: subject, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
	}
	der, err = x509.CreateCertificate(rand.Reader, tmpl, tmpl, &p.signer.PublicKey, p.signer)
	check(t, err)
	self, err := x509.ParseCertificate(der)
	check(t, err)
	msg, err := scep.NewCSRRequest(csr, &scep.PKIMessage{
		MessageType: p.typ, Recipients: []*x509.Certificate{p.ca.Cert}, SignerKey: p.signer, SignerCert: self,
	})
	check(t, err)
	return msg, self
}

func (w *world) postSCEP(message []byte) answer {
	w.t.Helper()
	req, err := http.NewRequest(http.MethodPost, w.srv.URL+"/scep?operation=PKIOperation", bytes.NewReader(message))
	check(w.t, err)
	req.Header.Set("Content-Type", "application/x-pki-message")
	return w.do(req)
}

// identity asks for an identity; nil, and why, when it is refused.
func (w *world) identity(p pkcsReq) (*x509.Certificate, scep.FailInfo) {
	w.t.Helper()
	msg, self := p.message(w.t)
	return w.readCertRep(w.postSCEP(msg.Raw), msg, self, p)
}

func (w *world) readCertRep(a answer, msg *scep.PKIMessage, self *x509.Certificate, p pkcsReq) (*x509.Certificate, scep.FailInfo) {
	w.t.Helper()
	want(w.t, "PKIOperation", a, http.StatusOK)
	if a.contentType() != "application/x-pki-message" {
		w.t.Errorf("the answer came as %q", a.contentType())
	}
	rep, err := scep.ParsePKIMessage([]byte(a.body), scep.WithCACerts([]*x509.Certificate{deviceCA().Cert}))
	check(w.t, err)
	if rep.TransactionID != msg.TransactionID || !bytes.Equal(rep.RecipientNonce, msg.SenderNonce) {
		w.t.Error("the answer belongs to another request")
	}
	if rep.PKIStatus != scep.SUCCESS {
		return nil, rep.FailInfo
	}
	key := p.signer
	if key == nil {
		key = macKey()
	}
	check(w.t, rep.DecryptPKIEnvelope(self, key))
	return rep.Certificate, ""
}

func (w *world) challenge() string {
	w.t.Helper()
	c, err := w.fleet.Challenge(context.Background())
	check(w.t, err)
	return c
}

func TestSCEP(t *testing.T) {
	w := newWorld(t)
	a := w.get("/scep?operation=GetCACaps")
	want(t, "GetCACaps", a, http.StatusOK)
	for _, capability := range []string{"AES", "POSTPKIOperation", "SHA-256"} {
		if !strings.Contains("\n"+a.body, "\n"+capability+"\n") {
			t.Errorf("GetCACaps lacks %s: %q", capability, a.body)
		}
	}
	a = w.get("/scep?operation=GetCACert&message=Plimsoll")
	want(t, "GetCACert", a, http.StatusOK)
	if a.body != string(deviceCA().Cert.Raw) || a.contentType() != "application/x-x509-ca-cert" {
		t.Errorf("GetCACert answered %d bytes as %q", len(a.body), a.contentType())
	}

	challenge := w.challenge()
	p := pkcsReq{name: macID, challenge: challenge}
	cert, why := w.identity(p)
	if cert == nil {
		t.Fatalf("no identity: failInfo %s", string(why))
	}
	roots := x509.NewCertPool()
	roots.AddCert(deviceCA().Cert)
	if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		t.Errorf("the identity: %v", err)
	}
	pub, _ := cert.PublicKey.(*rsa.PublicKey)
	if cert.Subject.CommonName != macID || cert.IsCA || pub == nil || !pub.Equal(&macKey().PublicKey) || cert.SerialNumber.BitLen() != 128 ||
		cert.NotAfter.Year() != w.now().Year()+10 || len(cert.ExtKeyUsage) != 1 {
		t.Errorf("the identity: %+v", cert)
	}
	mac := &client{w: w, id: macID, cert: cert, key: macKey()}
	mac.enrol()

	t.Run("the same key repeats a lost request", func(t *testing.T) {
		again, why := w.identity(p)
		if again == nil {
			t.Fatalf("no identity: failInfo %s", string(why))
		}
		if !again.Equal(cert) {
			t.Error("one challenge gives two identities")
		}
		w.pass(59 * time.Minute)
		if again, _ = w.identity(p); again == nil || !again.Equal(cert) {
			t.Errorf("an hour later it is %+v", again)
		}
		w.pass(-59 * time.Minute)
	})
	t.Run("by GET", func(t *testing.T) {
		msg, self := p.message(t)
		encoded := base64.StdEncoding.EncodeToString(msg.Raw)
		for _, message := range []string{url.QueryEscape(encoded), encoded} { // some clients do not escape
			a := w.get("/scep?operation=PKIOperation&message=" + message)
			if got, why := w.readCertRep(a, msg, self, p); got == nil {
				t.Errorf("no identity: failInfo %s", string(why))
			}
		}
	})
	t.Run("the same key asks for another name", func(t *testing.T) {
		if got, why := w.identity(pkcsReq{name: otherID, challenge: challenge}); got != nil || why != scep.BadRequest {
			t.Errorf("identity %v, failInfo %q", got != nil, string(why))
		}
	})
	t.Run("a name that is cleaned", func(t *testing.T) {
		got, _ := w.identity(pkcsReq{name: "Kim\x00\n" + strings.Repeat("é", 100), challenge: w.challenge()})
		if got == nil || got.Subject.CommonName != "Kim"+strings.Repeat("é", 61) {
			t.Errorf("the identity: %+v", got)
		}
		if got, _ = w.identity(pkcsReq{challenge: w.challenge()}); got == nil || got.Subject.CommonName != "Mac" {
			t.Errorf("the identity without a name: %+v", got)
		}
	})
	t.Run("every challenge gives another", func(t *testing.T) {
		if got, why := w.identity(pkcsReq{name: macID, challenge: w.challenge()}); got == nil || got.SerialNumber.Cmp(cert.SerialNumber) == 0 {
			t.Errorf("identity %+v, failInfo %q", got, string(why))
		}
	})
	t.Run("P-256", func(t *testing.T) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		check(t, err)
		if got, why := w.identity(pkcsReq{key: key, challenge: w.challenge()}); got == nil {
			t.Errorf("no identity: failInfo %s", string(why))
		}
	})
}

func TestSCEPRefuses(t *testing.T) {
	w := newWorld(t)
	used, old := w.challenge(), w.challenge()
	if cert, _ := w.identity(pkcsReq{challenge: used}); cert == nil {
		t.Fatal("no identity")
	}
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	check(t, err)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	check(t, err)
	w.pass(61 * time.Minute)
	good := w.challenge()
	for name, tt := range map[string]struct {
		pkcsReq
		want scep.FailInfo
	}{
		"no challenge":                       {pkcsReq{}, scep.BadRequest},
		"an unknown challenge":               {pkcsReq{challenge: "guess"}, scep.BadRequest},
		"an expired challenge":               {pkcsReq{challenge: old}, scep.BadRequest},
		"a weak key":                         {pkcsReq{challenge: good, key: weak}, scep.BadAlg},
		"another curve":                      {pkcsReq{challenge: good, key: p384}, scep.BadAlg},
		"encrypted for another CA":           {pkcsReq{challenge: good, ca: otherCA()}, scep.BadMessageCheck},
		"a renewal":                          {pkcsReq{challenge: good, typ: scep.RenewalReq}, scep.BadRequest},
		"a request with a spoiled signature": {pkcsReq{challenge: good, spoil: func(b []byte) { b[len(b)-1] ^= 1 }}, scep.BadMessageCheck},
	} {
		t.Run(name, func(t *testing.T) {
			if cert, why := w.identity(tt.pkcsReq); cert != nil || why != tt.want {
				t.Errorf("identity %v, failInfo %q, want %q", cert != nil, string(why), string(tt.want))
			}
		})
	}
	t.Run("the challenge of another key", func(t *testing.T) {
		if cert, why := w.identity(pkcsReq{challenge: good}); cert == nil {
			t.Fatalf("what was refused has used the challenge up: failInfo %q", string(why))
		}
		cert, why := w.identity(pkcsReq{challenge: good, key: otherKey(), signer: otherKey()})
		if cert != nil || why != scep.BadRequest {
			t.Errorf("identity %v, failInfo %q", cert != nil, string(why))
		}
	})
	msg, _ := pkcsReq{challenge: w.challenge()}.message(t)
	for name, tt := range map[string]struct {
		send func() answer
		want int
	}{
		"no operation":         {func() answer { return w.get("/scep") }, http.StatusBadRequest},
		"an unknown operation": {func() answer { return w.get("/scep?operation=GetNextCACert") }, http.StatusBadRequest},
		"an empty message":     {func() answer { return w.postSCEP(nil) }, http.StatusBadRequest},
		"no CMS":               {func() answer { return w.postSCEP([]byte("hello")) }, http.StatusBadRequest},
		"a truncated message":  {func() answer { return w.postSCEP(msg.Raw[:len(msg.Raw)/2]) }, http.StatusBadRequest},
		"nothing but depth":    {func() answer { return w.postSCEP(bytes.Repeat([]byte{0x30, 0x80}, 16_000)) }, http.StatusBadRequest},
		"too long":             {func() answer { return w.postSCEP(make([]byte, 64<<10)) }, http.StatusRequestEntityTooLarge},
		"not base64":           {func() answer { return w.get("/scep?operation=PKIOperation&message=%2A") }, http.StatusBadRequest},
		"too long by GET":      {func() answer { return w.get("/scep?operation=PKIOperation&message=" + strings.Repeat("A", 64<<10)) }, http.StatusRequestEntityTooLarge},
		"with the store down": {func() answer {
			w.db.Set(storagetest.Fault{Down: true})
			defer w.db.Set(storagetest.Fault{})
			return w.postSCEP(msg.Raw)
		}, http.StatusServiceUnavailable},
		"another method": {func() answer {
			req, err := http.NewRequest(http.MethodPut, w.srv.URL+"/scep", nil)
			check(t, err)
			return w.do(req)
		}, http.StatusMethodNotAllowed},
	} {
		t.Run(name, func(t *testing.T) { want(t, name, tt.send(), tt.want) })
	}
	if a := w.postSCEP(msg.Raw); a.status != http.StatusOK {
		t.Errorf("with the store back: answered %d", a.status)
	}
	if strings.Contains(w.logged.String(), "panic") {
		t.Errorf("there was a panic:\n%s", w.logged.String())
	}
}

func pemOf(typ string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: der})
}

func rsaPEM(key *rsa.PrivateKey) []byte {
	return pemOf("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key))
}
