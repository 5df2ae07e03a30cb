package mdm

import (
	"time"

	"github.com/micromdm/nanomdm/mdm"

	"plimsoll/storage/nano"
)

const (
	associationTime = 60 * time.Second // how long a certificate association that was found is believed (house.md)
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

// IsCertHashAssociated tells whether the certificate is the one that r.ID enrolled with.
func (a *associations) IsCertHashAssociated(r *mdm.Request, hash string) (bool, error) {
	now := a.now()
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
func (a *associations) AssociateCertHash(r *mdm.Request, hash string) error {
	defer a.found.delete(r.ID)
	return a.Store.AssociateCertHash(r, hash)
}
