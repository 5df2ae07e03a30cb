package nano

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/micromdm/nanomdm/mdm"
	"github.com/micromdm/nanomdm/service/certauth"

	"plimsoll/storage"
)

// association is what a Mac's partition knows about its certificates. It decides; the entry under the certificate's
// hash only says whose it is.
type association struct {
	Hash string   `json:"hash"`
	Old  []string `json:"old,omitempty"` // replaced by re-enrolment, newest first
}

// maxOldHashes bounds association.Old. Certificates replaced longer ago are forgotten, as if never seen.
const maxOldHashes = 16

// HasCertHash tells whether the certificate was ever associated with an enrolment. An association of r.ID itself that
// a crash left half done (the hash's entry is written first) does not count, so the Mac's next try completes it.
func (s *Store) HasCertHash(r *mdm.Request, hash string) (bool, error) {
	c, hash, err := certRequest(r, hash)
	if err != nil {
		return false, fmt.Errorf("looking up a certificate: %w", err)
	}
	owner, err := s.certOwner(r.Context(), hash)
	if err != nil || owner == "" {
		return false, wrap(err, "looking up the certificate of %s", c.id)
	}
	if owner != c.id {
		return true, nil
	}
	a, err := s.association(r.Context(), c.device)
	return a.Hash == hash || slices.Contains(a.Old, hash), wrap(err, "looking up the certificate of %s", c.id)
}

// EnrollmentHasCertHash tells whether r.ID is associated with any certificate.
func (s *Store) EnrollmentHasCertHash(r *mdm.Request, _ string) (bool, error) {
	c, err := deviceChannel(r)
	if err != nil {
		return false, fmt.Errorf("looking up a certificate: %w", err)
	}
	a, err := s.association(r.Context(), c.device)
	return a.Hash != "", wrap(err, "looking up the certificate of %s", c.id)
}

// IsCertHashAssociated tells whether the certificate is the one that r.ID enrolled with.
func (s *Store) IsCertHashAssociated(r *mdm.Request, hash string) (bool, error) {
	c, hash, err := certRequest(r, hash)
	if err != nil {
		return false, fmt.Errorf("looking up a certificate: %w", err)
	}
	a, err := s.association(r.Context(), c.device)
	return a.Hash == hash, wrap(err, "looking up the certificate of %s", c.id)
}

// AssociateCertHash makes the certificate the one of r.ID, in place of the one it had. The replaced one still belongs to
// r.ID but is of no use: neither r.ID nor another enrolment can come with it. Two commits, the hash's entry first;
// whoever was first with a certificate keeps it, also when two enrolments bring it at the same moment.
func (s *Store) AssociateCertHash(r *mdm.Request, hash string) error {
	c, hash, err := certRequest(r, hash)
	if err != nil {
		return fmt.Errorf("associating a certificate: %w", err)
	}
	err = s.db.Update(r.Context(), certPartition(hash), func(tx storage.Tx) error {
		owner, err := tx.Get(keyCertOwner)
		switch {
		case err != nil:
			return err
		case owner == nil:
			tx.Set(keyCertOwner, []byte(c.id))
		case string(owner) != c.id:
			return fmt.Errorf("%w: %w", storage.ErrConflict, certauth.ErrNoCertReuse)
		}
		return nil
	})
	if err != nil {
		return wrap(err, "associating a certificate with %s", c.id)
	}
	var dropped []string
	err = s.db.Update(r.Context(), c.partition(), func(tx storage.Tx) error {
		dropped = nil
		a, err := readAssociation(tx)
		if err != nil || a.Hash == hash {
			return err
		}
		if a.Hash != "" {
			a.Old = slices.Insert(a.Old, 0, a.Hash)
		}
		a.Hash = hash
		if len(a.Old) > maxOldHashes {
			a.Old, dropped = a.Old[:maxOldHashes], a.Old[maxOldHashes:]
		}
		return set(tx, keyCert, a)
	})
	if err != nil {
		return wrap(err, "associating a certificate with %s", c.id)
	}
	return wrap(s.disown(r.Context(), c.device, dropped), "forgetting old certificates of %s", c.id)
}

// EnrollmentFromHash returns the device id that the certificate is the current one of, "" when there is none.
func (s *Store) EnrollmentFromHash(ctx context.Context, hash string) (string, error) {
	hash = strings.ToLower(hash)
	if !plain(hash) {
		return "", nil
	}
	owner, err := s.certOwner(ctx, hash)
	if err != nil || owner == "" {
		return "", wrap(err, "looking up the enrolment of a certificate")
	}
	a, err := s.association(ctx, owner)
	if err != nil || a.Hash != hash {
		return "", wrap(err, "looking up the enrolment of a certificate")
	}
	return owner, nil
}

func certRequest(r *mdm.Request, hash string) (channel, string, error) {
	c, err := deviceChannel(r)
	if err == nil && !plain(hash) {
		err = fmt.Errorf("%w: %q is not a certificate's hash", storage.ErrInvalid, clip(hash))
	}
	return c, strings.ToLower(hash), err
}

func (s *Store) certOwner(ctx context.Context, hash string) (owner string, err error) {
	err = s.view(ctx, certPartition(hash), keyCertOwner, func(val []byte) error {
		owner = string(val)
		return nil
	})
	return owner, err
}

func (s *Store) association(ctx context.Context, device string) (a association, err error) {
	err = s.db.View(ctx, storage.MacPartition(device), func(r storage.Reader) (err error) {
		a, err = readAssociation(r)
		return err
	})
	return a, err
}

func readAssociation(r storage.Reader) (association, error) {
	var a association
	val, err := r.Get(keyCert)
	if err != nil {
		return a, err
	}
	return a, decode(keyCert, val, &a)
}

// disown deletes the entries of certificates that belong to the device.
func (s *Store) disown(ctx context.Context, device string, hashes []string) error {
	for _, hash := range hashes {
		err := s.db.Update(ctx, certPartition(hash), func(tx storage.Tx) error {
			owner, err := tx.Get(keyCertOwner)
			if err == nil && string(owner) == device {
				tx.Delete(keyCertOwner)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
