package nano

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

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

// maxOldHashes bounds association.Old. A certificate that was replaced longer ago is revoked before it leaves the list.
const maxOldHashes = 16

// HasCertHash tells whether the certificate was ever associated with an enrolment. An association of r.ID itself that
// a crash left half done (the hash's entry is written first) does not count, so the Mac's next try completes it.
func (s *Store) HasCertHash(r *mdm.Request, hash string) (bool, error) {
	c, hash, err := certRequest(r, hash)
	if err != nil {
		return false, fmt.Errorf("looking up a certificate: %w", err)
	}
	owner, revoked, err := s.certOwner(r.Context(), hash)
	if err != nil || owner == "" {
		return false, wrap(err, "looking up the certificate of %s", c.id)
	}
	if owner != c.id || revoked {
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
// r.ID but is of no use: neither r.ID nor another enrolment can come with it. The hash's entry is written first, then the Mac's;
// whoever was first with a certificate keeps it, also when two enrolments bring it at the same moment. A revoked one is refused.
func (s *Store) AssociateCertHash(r *mdm.Request, hash string) error {
	c, hash, err := certRequest(r, hash)
	if err != nil {
		return fmt.Errorf("associating a certificate: %w", err)
	}
	err = s.db.Update(r.Context(), storage.CertPartition(hash), func(tx storage.Tx) error {
		vals, err := tx.GetMany(keyCertOwner, keyCertRevoked)
		switch {
		case err != nil:
			return err
		case vals[0] == nil:
			tx.Set(keyCertOwner, []byte(c.id))
		case string(vals[0]) != c.id, vals[1] != nil:
			return fmt.Errorf("%w: %w", storage.ErrConflict, certauth.ErrNoCertReuse)
		}
		return nil
	})
	if err != nil {
		return wrap(err, "associating a certificate with %s", c.id)
	}
	var surplus []string // revoked already
	for {
		var revoke []string
		err = s.db.Update(r.Context(), c.partition(), func(tx storage.Tx) error {
			revoke = nil
			a, err := readAssociation(tx)
			if err != nil || a.Hash == hash {
				return err
			}
			if a.Hash != "" {
				a.Old = slices.Insert(a.Old, 0, a.Hash)
			}
			a.Hash = hash
			if len(a.Old) > maxOldHashes {
				revoke = slices.Clone(a.Old[maxOldHashes:])
				if !slices.Equal(revoke, surplus) {
					return errSurplus
				}
				a.Old = a.Old[:maxOldHashes]
			}
			return set(tx, keyCert, a)
		})
		if !errors.Is(err, errSurplus) {
			return wrap(err, "associating a certificate with %s", c.id)
		}
		if err := s.revoke(r.Context(), c.device, revoke); err != nil {
			return wrap(err, "revoking old certificates of %s", c.id)
		}
		surplus = revoke
	}
}

// errSurplus ends a transaction that would drop certificates from the list before they are revoked.
var errSurplus = errors.New("certificates have to be revoked first")

// EnrollmentFromHash returns the device id that the certificate is the current one of, "" when there is none.
func (s *Store) EnrollmentFromHash(ctx context.Context, hash string) (string, error) {
	hash = strings.ToLower(hash)
	if !plain(hash) {
		return "", nil
	}
	owner, revoked, err := s.certOwner(ctx, hash)
	if err != nil || owner == "" || revoked {
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

// CertOwner tells which device a certificate belongs or belonged to, given as the SHA-256 of its signed part in hexadecimal
// digits, and whether it was revoked; empty when no device ever brought it.
func (s *Store) CertOwner(ctx context.Context, hash string) (device string, revoked bool, err error) {
	if hash = strings.ToLower(hash); !plain(hash) {
		return "", false, nil
	}
	device, revoked, err = s.certOwner(ctx, hash)
	return device, revoked, wrap(err, "looking up the owner of a certificate")
}

// DeviceOf tells whose current certificate one is, given as in CertOwner, "" when nobody's, and whether a device ever brought it.
func (s *Store) DeviceOf(ctx context.Context, hash string) (device string, seen bool, err error) {
	owner, _, err := s.CertOwner(ctx, hash)
	if err != nil || owner == "" {
		return "", false, err
	}
	device, err = s.EnrollmentFromHash(ctx, hash)
	return device, true, err
}

// certOwner is the device that a certificate belongs to, empty when none ever brought it, and whether it was revoked.
func (s *Store) certOwner(ctx context.Context, hash string) (owner string, revoked bool, err error) {
	err = s.db.View(ctx, storage.CertPartition(hash), func(r storage.Reader) error {
		vals, err := r.GetMany(keyCertOwner, keyCertRevoked)
		if err == nil {
			owner, revoked = string(vals[0]), vals[1] != nil
		}
		return err
	})
	return owner, revoked, err
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

// revoke marks the certificates that belong to the device as never to be taken again, from it or from another. The entries stay
// for good: the certificate is valid for years, and its key may be anywhere.
func (s *Store) revoke(ctx context.Context, device string, hashes []string) error {
	at := []byte(s.stamp().Format(time.RFC3339))
	for _, hash := range hashes {
		err := s.db.Update(ctx, storage.CertPartition(hash), func(tx storage.Tx) error {
			vals, err := tx.GetMany(keyCertOwner, keyCertRevoked)
			if err != nil || vals[1] != nil || vals[0] != nil && string(vals[0]) != device {
				return err
			}
			tx.Set(keyCertOwner, []byte(device))
			tx.Set(keyCertRevoked, at)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
