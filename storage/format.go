package storage

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Format is the number of the format in which this program writes the store. Each field that a stored value gains raises it,
// because an older replica would drop the field when it writes the value again. It is raised once for each version of the program
// that is released, and storage/migrate has the steps:
//
//	0   the stores of November 2026, which have no number
//	1   the store has a number and an id
//	2   records know what is no Mac, the end and the change of the identity, refusals, exceptions and what was advertised last
//	    in a lane; a Mac's partition has identity, refused command, reasons of exceptions and the course of versions; tokens have
//	    scopes and an end, catalogues what was left out and since when a mark stands, policies rings, gate and zone; certificates
//	    can be revoked; there are closed days of patch reports and events of the fleet; replicas say which format they write
const Format = 2

// keyFormat is the key of the format record.
const keyFormat = "format"

// FormatRecord says what a store is.
type FormatRecord struct {
	Format int `json:"format"`
	// Oldest is the format from which on values may still be; equal to Format when all were rewritten.
	Oldest int `json:"oldest,omitempty"`
	// ID is made with the store, or by a restore; cursors carry it.
	ID string `json:"id"`
	// Restoring is the restore that is being written, or was broken off; no server runs on such a store.
	Restoring *Restoring `json:"restoring,omitempty"`
	// RestoredAt is when the last restore had been written; zero: the store was made otherwise.
	RestoredAt time.Time `json:"restored_at,omitzero"`
}

// Restoring names a restore.
type Restoring struct {
	Backup string    `json:"backup"` // the checksum at the end of the file
	Since  time.Time `json:"since"`
}

// NewStoreID makes the id of a store.
func NewStoreID() string { return rand.Text() }

// FormatRecord reads the format record; nil: the store has none.
func (s *Store) FormatRecord(ctx context.Context) (*FormatRecord, error) {
	var rec *FormatRecord
	err := s.db.View(ctx, FormatPartition, func(r Reader) (err error) {
		rec, err = readFormat(r)
		return err
	})
	return rec, err
}

func readFormat(r Reader) (*FormatRecord, error) {
	b, err := r.Get(keyFormat)
	if err != nil || b == nil {
		return nil, err
	}
	rec := new(FormatRecord)
	if err := json.Unmarshal(b, rec); err != nil {
		return nil, fmt.Errorf("decode %s: %w", keyFormat, err)
	}
	return rec, nil
}

// Empty tells whether nothing was ever written to the store.
func (s *Store) Empty(ctx context.Context) (bool, error) {
	empty := true
	err := s.db.Partitions(ctx, func(names []string) error {
		if empty = empty && len(names) == 0; !empty {
			return errStop
		}
		return nil
	})
	if errors.Is(err, errStop) {
		err = nil
	}
	return empty, err
}

// UpdateFormat changes the format record; fn is given nil when there is none, may run more than once, and returns nil to leave
// all as it is.
func (s *Store) UpdateFormat(ctx context.Context, fn func(*FormatRecord) (*FormatRecord, error)) error {
	return s.db.Update(ctx, FormatPartition, func(tx Tx) error {
		rec, err := readFormat(tx)
		if err != nil {
			return err
		}
		if rec, err = fn(rec); err != nil || rec == nil {
			return err
		}
		return setJSON(tx, keyFormat, rec)
	})
}
