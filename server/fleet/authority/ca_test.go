package authority

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"
)

var today = time.Date(2026, 11, 29, 9, 0, 0, 0, time.UTC)

// A key takes long to make: these tests share two CAs.
var (
	one = sync.OnceValue(func() []byte { return generated(today) })
	two = sync.OnceValue(func() []byte { return generated(today.AddDate(1, 0, 0)) })
)

func generated(at time.Time) []byte {
	b, err := Generate(at)
	if err != nil {
		panic(err)
	}
	return b
}

func parsed(t testing.TB, b []byte) *CA {
	t.Helper()
	ca, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func pemOf(typ string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: der})
}

func ecKey(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pemOf("PRIVATE KEY", der)
}

func parts(b []byte) (cert, key []byte) {
	cut := bytes.Index(b, []byte("-----BEGIN PRIVATE KEY"))
	return bytes.Clone(b[:cut]), bytes.Clone(b[cut:])
}

func TestParse(t *testing.T) {
	cert, key := parts(one())
	_, others := parts(two())
	ca := parsed(t, one())
	leaf, err := ca.Issue("leaf", &ca.Key.PublicKey, make([]byte, 16), today)
	if err != nil {
		t.Fatal(err)
	}
	rsaPEM := pemOf("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(ca.Key))
	for name, tt := range map[string]struct {
		pem  []byte
		want string // part of the error
	}{
		"certificate and key":  {one(), ""},
		"key first":            {append(bytes.Clone(key), cert...), ""},
		"joined without lines": {append(bytes.TrimSpace(bytes.Clone(cert)), key...), ""},
		"PKCS #1":              {append(bytes.Clone(cert), rsaPEM...), ""},
		"nothing":              {nil, "no certificate"},
		"no certificate":       {key, "no certificate"},
		"no key":               {cert, "no private key"},
		"another's key":        {append(bytes.Clone(cert), others...), "not that of the certificate"},
		"an elliptic key":      {append(bytes.Clone(cert), ecKey(t)...), "not RSA"},
		"not a CA":             {append(pemOf("CERTIFICATE", leaf.Raw), rsaPEM...), "not that of a CA"},
		"a broken certificate": {append(pemOf("CERTIFICATE", []byte("x")), key...), "read its certificate"},
		"a broken key":         {append(bytes.Clone(cert), pemOf("PRIVATE KEY", []byte("x"))...), "read its key"},
	} {
		_, err := Parse(tt.pem)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: error %v, want %q", name, err, tt.want)
		}
	}
}

func TestGenerate(t *testing.T) {
	ca := parsed(t, one())
	if years := ca.Cert.NotAfter.Year() - today.Year(); years != 20 || ca.Key.N.BitLen() != 3072 {
		t.Errorf("the CA lasts %d years, its key has %d bits", years, ca.Key.N.BitLen())
	}
	if err := ca.Cert.CheckSignatureFrom(ca.Cert); err != nil {
		t.Errorf("the CA's own signature: %v", err)
	}
	if ca.Fingerprint == parsed(t, two()).Fingerprint || len(ca.Fingerprint) != 64 || !strings.HasPrefix(ca.Fingerprint, ca.ID) {
		t.Errorf("its fingerprint is %s, its id %s", ca.Fingerprint, ca.ID)
	}
}

// An identity verifies against its CA alone, though another CA has the same name; it never outlives the CA, and the same request
// gets the same one.
func TestIssue(t *testing.T) {
	ca, other := parsed(t, one()), parsed(t, two())
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	unique := []byte("\x01a request of 16 bytes and more")
	for name, tt := range map[string]struct{ at, end time.Time }{
		"early": {today, today.AddDate(10, 0, 0)},
		"late":  {today.AddDate(15, 0, 0), ca.Cert.NotAfter},
	} {
		cert, err := ca.Issue("MAC-1", &key.PublicKey, unique, tt.at)
		if err != nil {
			t.Fatal(err)
		}
		if !cert.NotAfter.Equal(tt.end) || cert.SerialNumber.Cmp(new(big.Int)) <= 0 || cert.SerialNumber.BitLen() != 128 {
			t.Errorf("%s: ends %v, want %v; serial %v", name, cert.NotAfter, tt.end, cert.SerialNumber)
		}
		again, err := ca.Issue("MAC-1", &key.PublicKey, unique, tt.at)
		if err != nil || !again.Equal(cert) {
			t.Errorf("%s: the same request got another identity, %v", name, err)
		}
		for issuer, want := range map[*CA]bool{ca: true, other: false} {
			roots := x509.NewCertPool()
			roots.AddCert(issuer.Cert)
			_, err := cert.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: tt.at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
			if (err == nil) != want {
				t.Errorf("%s: verified %v by %s, %v", name, err == nil, issuer.ID, err)
			}
		}
	}
}
