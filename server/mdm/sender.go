package mdm

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	httpmdm "github.com/micromdm/nanomdm/http/mdm"

	"plimsoll/server/fleet"
	"plimsoll/server/mdm/cms"
)

const maxSignature = 32 << 10 // characters of the Mdm-Signature header; a Mac's has about 2,000

// fingerprint tells certificates apart by the hash of what the CA signed, in which nobody can change anything. The rest can be
// written in many ways, and all of them are verified.
type fingerprint [sha256.Size]byte

func fingerprintOf(cert *x509.Certificate) fingerprint { return sha256.Sum256(cert.RawTBSCertificate) }

// sender finds out which certificate vouches for a request.
type sender struct {
	header string // in which a proxy hands the certificate over; empty: the request is signed
	cas    *fleet.Authorities
	now    func() time.Time
	// verified holds the certificates whose chain was found good.
	verified recent[fingerprint, verdict]
}

// verdict is that the chain of a certificate is good.
type verdict struct {
	until time.Time
	ca    string              // short for the CA that issued it
	set   *fleet.AuthoritySet // good as long as these are the CAs
}

func newSender(header string, cas *fleet.Authorities, now func() time.Time) *sender {
	return &sender{header: header, cas: cas, now: now, verified: recent[fingerprint, verdict]{max: maxKnown}}
}

// certificate returns who vouches for a request, of which no more than the header was read: the certificate is a client's,
// valid now, and issued by a CA that is trusted. Only verify tells whether its holder sent the body.
func (s *sender) certificate(ctx context.Context, h http.Header) (*cms.Signer, error) {
	var by *cms.Signer
	var err error
	if s.header != "" {
		by = &cms.Signer{Verify: func([]byte) error { return nil }} // the proxy did
		by.Cert, err = s.fromHeader(h)
	} else {
		by, err = fromSignature(h)
	}
	if err != nil {
		return nil, &refusal{cause: causeUnsigned, err: err}
	}
	// The chain comes first: a stranger's key may be made to take long.
	switch err := s.chain(ctx, by.Cert); {
	case errors.Is(err, fleet.ErrUnavailable):
		return nil, err
	case err != nil:
		return nil, &refusal{cause: s.chainCause(by.Cert), cert: by.Cert, err: err}
	}
	return by, nil
}

// chainCause tells why a certificate is not trusted.
func (s *sender) chainCause(cert *x509.Certificate) string {
	now := s.now()
	if !now.Before(cert.NotBefore) && !now.After(cert.NotAfter) || fitForMDM(cert) != nil {
		return causeUntrusted
	}
	opts := x509.VerifyOptions{
		Roots:       s.cas.Current().Roots,
		CurrentTime: cert.NotBefore,
		KeyUsages:   []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if _, err := cert.Verify(opts); err != nil {
		return causeUntrusted
	}
	if now.Before(cert.NotBefore) {
		return causeEarly
	}
	return causeExpired
}

func fromSignature(h http.Header) (*cms.Signer, error) {
	sig := h.Get("Mdm-Signature")
	switch {
	case sig == "":
		return nil, errors.New("the request is not signed: there is no Mdm-Signature")
	case len(sig) > maxSignature:
		return nil, fmt.Errorf("the Mdm-Signature has more than %d characters", maxSignature)
	}
	der, err := base64.StdEncoding.DecodeString(sig)
	if err != nil {
		return nil, fmt.Errorf("decode the Mdm-Signature: %w", err)
	}
	return cms.Read(der)
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

// fitForMDM refuses what x509 lets pass: weak keys, and certificates that do not say that they are a client's that signs. With
// --device-ca
// they may be another department's.
func fitForMDM(cert *x509.Certificate) error {
	if err := signingKey(cert.PublicKey); err != nil {
		return err
	}
	if cert.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return errors.New("its key usage does not include digitalSignature")
	}
	if !slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageClientAuth) {
		return errors.New("its extended key usage does not include clientAuth")
	}
	return nil
}

// signingKey is usableKey, and the curves that other CAs than ours certify.
func signingKey(key any) error {
	if key, ok := key.(*ecdsa.PublicKey); ok && (key.Curve == elliptic.P384() || key.Curve == elliptic.P521()) {
		return nil
	}
	return usableKey(key)
}

// chain verifies that the certificate is a client's, valid now, and issued by a CA that is trusted. An error that wraps
// fleet.ErrUnavailable says that this could not be found out.
func (s *sender) chain(ctx context.Context, cert *x509.Certificate) error {
	of, now, set := fingerprintOf(cert), s.now(), s.cas.Current()
	if v, _, ok := s.verified.get(of, now); ok && v.set == set && !now.After(v.until) {
		return nil
	}
	if err := fitForMDM(cert); err != nil {
		return fmt.Errorf("the certificate is not trusted: %w", err)
	}
	v, err := judge(cert, set, now)
	if errors.As(err, new(x509.UnknownAuthorityError)) { // another replica may have made the CA just now
		if err := s.cas.Look(ctx); err != nil {
			return fmt.Errorf("look for the CA of a certificate: %w", err)
		}
		if now := s.cas.Current(); now != set {
			v, err = judge(cert, now, s.now())
		}
	}
	if err != nil {
		return fmt.Errorf("the certificate is not trusted: %w", err)
	}
	s.verified.change(of, now, func(verdict, bool) verdict { return v })
	return nil
}

func judge(cert *x509.Certificate, set *fleet.AuthoritySet, now time.Time) (verdict, error) {
	chains, err := cert.Verify(x509.VerifyOptions{
		Roots: set.Roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return verdict{}, err
	}
	v := verdict{until: cert.NotAfter, set: set}
	for _, link := range chains[0] {
		if link.NotAfter.Before(v.until) {
			v.until = link.NotAfter
		}
		v.ca = fleet.IDOf(link) // of the last one: a root
	}
	return v, nil
}

// identity is a certificate as the fleet keeps it, once its chain was found good.
func (s *sender) identity(cert *x509.Certificate) fleet.Identity {
	of := fingerprintOf(cert)
	v, _, _ := s.verified.get(of, s.now())
	return fleet.Identity{
		Fingerprint: hex.EncodeToString(of[:]), IssuedAt: cert.NotBefore.UTC(), ExpiresAt: cert.NotAfter.UTC(), CA: v.ca,
	}
}
