package nano

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"plimsoll/storage"
)

// Result is an answered command.
type Result struct {
	UUID        string    `json:"uuid"`
	RequestType string    `json:"type"`
	Status      string    `json:"status"` // Acknowledged, Error, CommandFormatError, or whatever the Mac says
	Queued      time.Time `json:"queued"`
	At          time.Time `json:"at"` // when the answer came
	Raw         []byte    `json:"-"`  // the answer's plist
}

// encode is a line of JSON, then the plist: a plist in JSON would be longer and unreadable.
func (res Result) encode() ([]byte, error) {
	head, err := json.Marshal(res)
	if err != nil {
		return nil, fmt.Errorf("encoding an answer: %w", err)
	}
	return bytes.Join([][]byte{head, res.Raw}, []byte("\n")), nil
}

func decodeResult(e storage.Entry) (Result, error) {
	head, raw, _ := bytes.Cut(e.Value, []byte("\n"))
	res := Result{Raw: raw}
	return res, decode(e.Key, head, &res)
}

// SweepResults deletes the answers that a device and its user channels gave before olderThan, and counts them.
func (s *Store) SweepResults(ctx context.Context, id string, olderThan time.Time) (n int, err error) {
	c, err := parseID(id)
	if err != nil {
		return 0, fmt.Errorf("deleting old answers: %w", err)
	}
	end := resultsAt(olderThan)
	err = s.db.Update(ctx, c.partition(), func(tx storage.Tx) error {
		n = 0
		return each(tx, keyResults, func(e storage.Entry) (bool, error) {
			if e.Key >= end {
				return false, nil
			}
			tx.Delete(e.Key)
			n++
			return true, nil
		})
	})
	if err != nil {
		return 0, wrap(err, "deleting old answers of %s", c.id)
	}
	return n, nil
}

var errChanged = errors.New("the association changed meanwhile")

// Forget deletes everything kept here of the device of id, and revokes its certificates: the Mac is refused until it enrols
// again with a new identity. The certificates are revoked first, so that a failed Forget can be repeated.
// It is no error when there is nothing.
func (s *Store) Forget(ctx context.Context, id string) error {
	c, err := parseID(id)
	if err != nil {
		return fmt.Errorf("forgetting an enrolment: %w", err)
	}
	for {
		a, err := s.association(ctx, c.device)
		if err != nil {
			return wrap(err, "forgetting %s", c.device)
		}
		if a.Hash != "" {
			if err := s.revoke(ctx, c.device, append(a.Old, a.Hash)); err != nil {
				return wrap(err, "revoking the certificates of %s", c.device)
			}
		}
		err = s.db.Update(ctx, c.partition(), func(tx storage.Tx) error {
			return each(tx, keyPrefix, func(e storage.Entry) (bool, error) {
				if e.Key == keyCert {
					var now association
					if err := decode(e.Key, e.Value, &now); err != nil {
						return false, err
					}
					if now.Hash != a.Hash {
						return false, errChanged
					}
				}
				tx.Delete(e.Key)
				return true, nil
			})
		})
		if !errors.Is(err, errChanged) {
			return wrap(err, "forgetting %s", c.device)
		}
	}
}
