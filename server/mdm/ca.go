package mdm

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"
	"unicode"
)

const (
	caYears       = 20
	identityYears = 10 // an expired identity is refused for ever, and nothing renews it
	caBits        = 3072
	skew          = time.Hour // a Mac's clock may be behind
)

// CA issues the Macs' identities. Its key is RSA, since SCEP encrypts for it.
type CA struct {
	Cert *x509.Certificate
	Key  *rsa.PrivateKey
}

// GenerateCA makes a CA, valid for 20 years, as PEM: certificate and key.
func GenerateCA(now time.Time) ([]byte, error) {
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

// ParseCA reads a CA from PEM: its certificate (the first one) and its key, PKCS #8 or PKCS #1, in any order; files of both
// may simply be joined.
func ParseCA(b []byte) (*CA, error) {
	b = bytes.ReplaceAll(b, []byte("----------"), []byte("-----\n-----")) // joined files may lack the newline between them
	ca := &CA{}
	for {
		var block *pem.Block
		block, b = pem.Decode(b)
		if block == nil {
			break
		}
		switch {
		case block.Type == "CERTIFICATE" && ca.Cert == nil:
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("device CA: read its certificate: %w", err)
			}
			ca.Cert = cert
		case strings.HasSuffix(block.Type, "PRIVATE KEY") && ca.Key == nil:
			key, err := parseRSA(block)
			if err != nil {
				return nil, fmt.Errorf("device CA: %w", err)
			}
			ca.Key = key
		}
	}
	switch {
	case ca.Cert == nil:
		return nil, errors.New("device CA: there is no certificate (PEM)")
	case ca.Key == nil:
		return nil, errors.New("device CA: there is no private key (PEM)")
	case !ca.Key.PublicKey.Equal(ca.Cert.PublicKey):
		return nil, errors.New("device CA: the key is not that of the certificate")
	case !ca.Cert.IsCA, ca.Cert.KeyUsage != 0 && ca.Cert.KeyUsage&x509.KeyUsageCertSign == 0:
		return nil, errors.New("device CA: the certificate is not that of a CA")
	}
	return ca, nil
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

// issue makes an identity for a Mac's key. The same of everything makes the same certificate, byte by byte: what a Mac that lost
// the answer gets again is no second identity.
func (ca *CA) issue(commonName string, key any, serial *big.Int, now time.Time) (*x509.Certificate, error) {
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
		SerialNumber: serial,
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

// cleanName keeps at most 64 printable characters, X.520's limit, of what a Mac calls itself.
func cleanName(name string) string {
	var kept []rune
	for _, r := range name {
		if r != unicode.ReplacementChar && unicode.IsPrint(r) && len(kept) < 64 {
			kept = append(kept, r)
		}
	}
	if name = strings.TrimSpace(string(kept)); name == "" {
		return "Mac"
	}
	return name
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
