package storage

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// CA is a device CA as it is kept, under the SHA-256 of its certificate.
type CA struct {
	Fingerprint string    `json:"-"`
	PEM         []byte    `json:"pem"` // certificate, and key unless the CA is supplied from outside
	CreatedAt   time.Time `json:"created_at,omitzero"`
}

// CAs is the revision of the secrets with the device CAs among them.
type CAs struct {
	Revision uint64
	All      []CA // by fingerprint
	// Legacy is the only CA of a store that is older than CAs with a fingerprint; nil: there is none.
	Legacy []byte
}

// CAs reads the device CAs.
func (s *Store) CAs(ctx context.Context) (CAs, error) {
	var all CAs
	err := s.db.View(ctx, SecretsPartition, func(r Reader) (err error) {
		all, err = readCAs(r)
		return err
	})
	return all, err
}

// UpdateCAs changes the device CAs: fn is given those that there are, and returns those to write and the fingerprints of those to
// delete. A legacy CA is deleted as soon as anything is written. fn may run more than once.
func (s *Store) UpdateCAs(ctx context.Context, fn func(CAs) (put []CA, drop []string, err error)) error {
	return s.db.Update(ctx, SecretsPartition, func(tx Tx) error {
		all, err := readCAs(tx)
		if err != nil {
			return err
		}
		put, drop, err := fn(all)
		if err != nil {
			return err
		}
		for _, fingerprint := range drop {
			tx.Delete(caKey(fingerprint))
		}
		if len(put) > 0 && all.Legacy != nil {
			tx.Delete(keyLegacyCA)
		}
		for _, ca := range put {
			if err := setJSON(tx, caKey(ca.Fingerprint), ca); err != nil {
				return err
			}
		}
		return nil
	})
}

func readCAs(r Reader) (all CAs, err error) {
	if all.Legacy, err = r.Get(keyLegacyCA); err != nil {
		return all, err
	}
	err = each(r, prefixCA, func(e Entry) error {
		ca := CA{Fingerprint: e.Key[len(prefixCA):]}
		if err := json.Unmarshal(e.Value, &ca); err != nil {
			return fmt.Errorf("decode %s: %w", e.Key, err)
		}
		all.All = append(all.All, ca)
		return nil
	})
	if err != nil {
		return all, err
	}
	all.Revision, err = r.Revision()
	return all, err
}
