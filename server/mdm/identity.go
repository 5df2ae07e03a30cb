package mdm

import (
	"crypto/x509"
	"encoding/hex"

	"plimsoll/server/fleet"
)

// identityOf is the certificate of a Mac as the fleet keeps it.
func identityOf(cert *x509.Certificate) fleet.Identity {
	print := fingerprintOf(cert)
	return fleet.Identity{
		Fingerprint: hex.EncodeToString(print[:]),
		IssuedAt:    cert.NotBefore.UTC(),
		ExpiresAt:   cert.NotAfter.UTC(),
	}
}
