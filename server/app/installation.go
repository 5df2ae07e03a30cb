package app

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"

	"plimsoll/server/web"
	"plimsoll/storage/nano"
)

// installation describes store, device CAs and push certificates for the page Settings. It reads the store when it is called,
// so a certificate that another replica stored is there.
func (s *Server) installation(store *nano.Store) func(context.Context) (web.Installation, error) {
	if s.beside != nil {
		return func(context.Context) (web.Installation, error) {
			return web.Installation{Store: redact(s.Store), MDM: s.MDMURL}, nil
		}
	}
	return func(ctx context.Context) (web.Installation, error) {
		ca, err := s.deviceCA(ctx)
		if err != nil {
			return web.Installation{}, err
		}
		certs, err := store.PushCerts(ctx)
		if err != nil {
			return web.Installation{}, fmt.Errorf("describe the push certificates: %w", err)
		}
		in := web.Installation{Store: redact(s.Store), CAs: []web.Authority{authority(ca.Cert, true)}}
		for _, cert := range s.deviceCAs {
			in.CAs = append(in.CAs, authority(cert, false))
		}
		for _, c := range certs {
			in.PushCerts = append(in.PushCerts, web.PushCert{Topic: c.Topic, Stored: c.Stored, Until: c.NotAfter})
		}
		return in, nil
	}
}

func authority(cert *x509.Certificate, issues bool) web.Authority {
	sum := sha256.Sum256(cert.Raw)
	return web.Authority{
		Subject: cert.Subject.String(), Fingerprint: hex.EncodeToString(sum[:]), From: cert.NotBefore, Until: cert.NotAfter, Issues: issues,
	}
}
