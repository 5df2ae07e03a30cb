package mdm

import (
	"encoding/hex"
	"time"

	"github.com/micromdm/nanomdm/mdm"

	"plimsoll/storage/nano"
)

const (
	associationTime = 60 * time.Second // how long a certificate association that was found is believed
	maxKnown        = 1 << 17          // Macs that one generation of a cache holds
)

// associations remembers which certificate a Mac was found to be associated with. What was not found is never
// remembered, and what this replica changes it forgets at once.
type associations struct {
	*nano.Store
	now   func() time.Time
	found recent[string, association]
}

type association struct {
	hash  string
	until time.Time
}

func newAssociations(store *nano.Store, now func() time.Time) *associations {
	return &associations{Store: store, now: now, found: recent[string, association]{max: maxKnown, every: associationTime}}
}

// What NanoMDM takes for a certificate's hash is of the whole certificate, which can be written in many ways: ours takes its
// place.

// HasCertHash tells whether the certificate was ever associated with an enrolment.
func (a *associations) HasCertHash(r *mdm.Request, _ string) (bool, error) {
	return a.Store.HasCertHash(r, hashOf(r))
}

// IsCertHashAssociated tells whether the certificate is the one that r.ID enrolled with.
func (a *associations) IsCertHashAssociated(r *mdm.Request, _ string) (bool, error) {
	hash, now := hashOf(r), a.now()
	known, epoch, found := a.found.get(r.ID, now)
	if found && known.hash == hash && now.Before(known.until) {
		return true, nil
	}
	ok, err := a.Store.IsCertHashAssociated(r, hash)
	if err == nil && ok {
		a.found.putSince(epoch, r.ID, association{hash, now.Add(associationTime)}, now)
	}
	return ok, err
}

// AssociateCertHash makes the certificate the one of r.ID, in place of the one it had.
func (a *associations) AssociateCertHash(r *mdm.Request, _ string) error {
	defer a.found.delete(r.ID)
	return a.Store.AssociateCertHash(r, hashOf(r))
}

// hashOf is the fingerprint of the request's certificate, which certauth has made sure of.
func hashOf(r *mdm.Request) string {
	of := fingerprintOf(r.Certificate)
	return hex.EncodeToString(of[:])
}
