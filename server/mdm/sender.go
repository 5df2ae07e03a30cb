package mdm

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	httpmdm "github.com/micromdm/nanomdm/http/mdm"
)

// maxSignature bounds the Mdm-Signature header, in characters; a Mac's has about 2,000. Reading CMS takes time that
// grows with the square of its depth.
const maxSignature = 32 << 10

// sender finds out which certificate vouches for a request.
type sender struct {
	header string // in which a proxy hands the certificate over; empty: the request is signed
	roots  *x509.CertPool
	now    func() time.Time
	// verified holds until when the chain of a certificate is good, by the hash of the certificate.
	verified recent[[32]byte, time.Time]
}

func newSender(header string, cas []*x509.Certificate, now func() time.Time) *sender {
	s := &sender{header: header, roots: x509.NewCertPool(), now: now, verified: recent[[32]byte, time.Time]{max: maxKnown}}
	for _, ca := range cas {
		s.roots.AddCert(ca)
	}
	return s
}

// certificate returns the verified certificate of whoever sent body, with its hash.
func (s *sender) certificate(h http.Header, body []byte) (*x509.Certificate, [32]byte, error) {
	if s.header != "" {
		cert, err := s.fromHeader(h)
		if err != nil {
			return nil, [32]byte{}, err
		}
		hash, err := s.chain(cert)
		return cert, hash, err
	}
	sig := h.Get("Mdm-Signature")
	switch {
	case sig == "":
		return nil, [32]byte{}, errors.New("the request is not signed: there is no Mdm-Signature")
	case len(sig) > maxSignature:
		return nil, [32]byte{}, fmt.Errorf("the Mdm-Signature has more than %d characters", maxSignature)
	}
	der, err := base64.StdEncoding.DecodeString(sig)
	if err != nil {
		return nil, [32]byte{}, fmt.Errorf("decode the Mdm-Signature: %w", err)
	}
	cert, verify, err := readCMS(der)
	if err != nil {
		return nil, [32]byte{}, err
	}
	// The chain comes first: a stranger's key may be made to take long.
	hash, err := s.chain(cert)
	if err != nil {
		return nil, hash, err
	}
	if err := verify(body); err != nil {
		return nil, hash, fmt.Errorf("verify the Mdm-Signature: %w", err)
	}
	return cert, hash, nil
}

// fromHeader reads the header of the proxy, as NanoMDM: RFC 9440, or PEM as nginx escapes it. It must be there exactly once:
// of two, one may be the client's.
func (s *sender) fromHeader(h http.Header) (*x509.Certificate, error) {
	values := h.Values(s.header)
	if len(values) != 1 || values[0] == "" {
		return nil, fmt.Errorf("the header %s with the client certificate is there %d times", s.header, len(values))
	}
	extract := httpmdm.ExtractQueryEscapedPEM
	if strings.HasPrefix(values[0], ":") {
		extract = httpmdm.ExtractRFC9440
	}
	cert, err := extract(values[0])
	if err != nil {
		return nil, fmt.Errorf("read the certificate in the header %s: %w", s.header, err)
	}
	return cert, nil
}

// chain verifies that the certificate is a client's, valid now, and issued by a CA that is trusted.
func (s *sender) chain(cert *x509.Certificate) ([32]byte, error) {
	hash, now := sha256.Sum256(cert.Raw), s.now()
	if until, _, ok := s.verified.get(hash, now); ok && !now.After(until) {
		return hash, nil
	}
	chains, err := cert.Verify(x509.VerifyOptions{
		Roots: s.roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return hash, fmt.Errorf("the certificate is not trusted: %w", err)
	}
	until := cert.NotAfter
	for _, link := range chains[0] {
		if link.NotAfter.Before(until) {
			until = link.NotAfter
		}
	}
	s.verified.change(hash, now, func(time.Time, bool) time.Time { return until })
	return hash, nil
}
