package authority

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	"plimsoll/storage"
)

const (
	caYears       = 20
	identityYears = 10 // an expired identity is refused for ever, and nothing renews it
	caBits        = 3072
	skew          = time.Hour // a Mac's clock may be behind
)

// CA issues Macs' identities, or did. Its key is RSA, since SCEP encrypts for it.
type CA struct {
	Cert        *x509.Certificate
	Key         *rsa.PrivateKey // nil: identities of this CA are trusted, and no more
	Fingerprint string          // SHA-256 of the certificate, hex
	ID          string          // short for it, in the records of Macs
	CreatedAt   time.Time       // when it came into use here
	Issuing     bool            // identities are issued from it
	Further     bool            // it is trusted for as long as the server is told to
}

const idLength = 8 // hex digits of a fingerprint: a fleet has a handful of CAs

// IDOf is the id of the CA that has the certificate.
func IDOf(cert *x509.Certificate) string { return fingerprintOf(cert)[:idLength] }

func fingerprintOf(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return hex.EncodeToString(sum[:])
}

func of(cert *x509.Certificate, key *rsa.PrivateKey) *CA {
	print := fingerprintOf(cert)
	return &CA{Cert: cert, Key: key, Fingerprint: print, ID: print[:idLength]}
}

// parseKept reads a CA of the store.
func parseKept(k storage.CA) (*CA, error) {
	cert, key, err := decode(k.PEM)
	switch {
	case err != nil:
		return nil, err
	case cert == nil:
		return nil, fmt.Errorf("device CA: what is kept under %s has no certificate", k.Fingerprint)
	}
	ca := of(cert, key)
	if ca.CreatedAt = k.CreatedAt; ca.CreatedAt.IsZero() {
		ca.CreatedAt = cert.NotBefore.Add(skew).UTC()
	}
	return ca, nil
}

func (ca *CA) is(kept storage.CA) bool { return kept.Fingerprint == ca.Fingerprint }
func (ca *CA) same(other *CA) bool     { return other.Fingerprint == ca.Fingerprint }

func (ca *CA) certificatePEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Cert.Raw})
}

// Generate makes a CA, valid for 20 years, as PEM: certificate and key.
func Generate(now time.Time) ([]byte, error) {
	key, err := rsa.GenerateKey(rand.Reader, caBits)
	if err != nil {
		return nil, fmt.Errorf("make the key of the device CA: %w", err)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	tmpl := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{Organization: []string{"Plimsoll"}, CommonName: "Plimsoll device CA"},
		NotBefore:    now.Add(-skew), NotAfter: now.AddDate(caYears, 0, 0),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		// Besides signing identities it signs and opens SCEP messages.
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("make the certificate of the device CA: %w", err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode the key of the device CA: %w", err)
	}
	return append(
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})...,
	), nil
}

// Parse reads a CA from PEM: its certificate (the first one) and its key, PKCS #8 or PKCS #1, in any order; files of both may
// simply be joined.
func Parse(b []byte) (*CA, error) {
	cert, key, err := decode(b)
	switch {
	case err != nil:
		return nil, err
	case cert == nil:
		return nil, errors.New("device CA: there is no certificate (PEM)")
	case key == nil:
		return nil, errors.New("device CA: there is no private key (PEM)")
	case !key.PublicKey.Equal(cert.PublicKey):
		return nil, errors.New("device CA: the key is not that of the certificate")
	case !cert.IsCA, cert.KeyUsage != 0 && cert.KeyUsage&x509.KeyUsageCertSign == 0:
		return nil, errors.New("device CA: the certificate is not that of a CA")
	}
	return of(cert, key), nil
}

func decode(b []byte) (cert *x509.Certificate, key *rsa.PrivateKey, err error) {
	b = bytes.ReplaceAll(b, []byte("----------"), []byte("-----\n-----")) // joined files may lack the newline between them
	for {
		var block *pem.Block
		block, b = pem.Decode(b)
		switch {
		case block == nil:
			return cert, key, nil
		case block.Type == "CERTIFICATE" && cert == nil:
			if cert, err = x509.ParseCertificate(block.Bytes); err != nil {
				return nil, nil, fmt.Errorf("device CA: read its certificate: %w", err)
			}
		case strings.HasSuffix(block.Type, "PRIVATE KEY") && key == nil:
			if key, err = parseRSA(block); err != nil {
				return nil, nil, fmt.Errorf("device CA: %w", err)
			}
		}
	}
}

func parseRSA(block *pem.Block) (*rsa.PrivateKey, error) {
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	any8, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read its key (unencrypted PKCS #8 or PKCS #1): %w", err)
	}
	key, ok := any8.(*rsa.PrivateKey)
	if !ok {
		return nil, errors.New("its key is not RSA, which SCEP needs")
	}
	return key, nil
}

// Issue makes an identity for a Mac's key. Its serial number is made of what is unique about the request, 16 bytes at least. The
// same of everything makes the same certificate, byte by byte: what a Mac that lost the answer gets again is no second identity.
func (ca *CA) Issue(commonName string, key any, unique []byte, now time.Time) (*x509.Certificate, error) {
	spki, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode the Mac's key: %w", err)
	}
	keyID := sha256.Sum256(spki)
	end := now.AddDate(identityYears, 0, 0)
	if ca.Cert.NotAfter.Before(end) {
		end = ca.Cert.NotAfter
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serialOf(unique),
		Subject:      pkix.Name{Organization: []string{"Plimsoll"}, CommonName: commonName},
		NotBefore:    now.Add(-skew), NotAfter: end,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		SubjectKeyId:          keyID[:20],
	}, ca.Cert, key, ca.Key)
	if err != nil {
		return nil, fmt.Errorf("sign an identity: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read the identity: %w", err)
	}
	return cert, nil
}

// newSerial is a random positive number of 128 bits.
func newSerial() (*big.Int, error) {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		return nil, fmt.Errorf("make a serial number: %w", err)
	}
	return serialOf(b[:]), nil
}

// serialOf makes a positive number of 128 bits of the first 16 bytes.
func serialOf(b []byte) *big.Int {
	b = bytes.Clone(b[:16])
	b[0] |= 0x80
	return new(big.Int).SetBytes(b)
}
