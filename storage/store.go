package storage

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// Store is the typed view of a database: every key and every value of ours goes through it.
type Store struct{ db DB }

// New wraps a database.
func New(db DB) *Store { return &Store{db: db} }

// DB is the database underneath, for NanoMDM's own records.
func (s *Store) DB() DB { return s.db }

// Ping tells whether the database answers and takes writes.
func (s *Store) Ping(ctx context.Context) error { return s.db.Ping(ctx) }

// Revisions returns the revision of each partition.
func (s *Store) Revisions(ctx context.Context, partitions ...string) ([]uint64, error) {
	return s.db.Revisions(ctx, partitions...)
}

// getJSON decodes the value of key into v; false when there is none.
func getJSON(r Reader, key string, v any) (bool, error) {
	b, err := r.Get(key)
	if err != nil || b == nil {
		return false, err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return false, fmt.Errorf("decode %s: %w", key, err)
	}
	return true, nil
}

func setJSON(tx Tx, key string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s: %w", key, err)
	}
	tx.Set(key, b)
	return nil
}

// each calls fn for every entry whose key begins with prefix, in ascending order, in pages.
func each(r Reader, prefix string, fn func(Entry) error) error {
	const page = 500
	for after := ""; ; {
		entries, err := r.List(prefix, after, page)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := fn(e); err != nil {
				return err
			}
		}
		if len(entries) < page {
			return nil
		}
		after = entries[len(entries)-1].Key
	}
}

// Secret returns the secret of that name; the first caller's generate makes it, and every replica has the same from then on.
func (s *Store) Secret(ctx context.Context, name string, generate func() ([]byte, error)) ([]byte, error) {
	var secret []byte
	err := s.db.View(ctx, SecretsPartition, func(r Reader) (err error) {
		secret, err = r.Get(name)
		return err
	})
	if err != nil || secret != nil {
		return secret, err
	}
	// A key may take seconds to make on a busy machine, which no transaction waits for.
	made, err := generate()
	if err != nil {
		return nil, fmt.Errorf("generate secret %s: %w", name, err)
	}
	err = s.db.Update(ctx, SecretsPartition, func(tx Tx) error {
		b, err := tx.Get(name)
		if err != nil {
			return err
		}
		if secret = b; secret == nil {
			secret = made
			tx.Set(name, secret)
		}
		return nil
	})
	return secret, err
}

// CompareSecrets tells which of the secrets, by name, the store has not, and one that is another there ("" when none is).
func (s *Store) CompareSecrets(ctx context.Context, held map[string][]byte) (missing []string, other string, err error) {
	err = s.db.View(ctx, SecretsPartition, func(r Reader) (err error) {
		missing, other, err = compareSecrets(r, held)
		return err
	})
	return missing, other, err
}

func compareSecrets(r Reader, held map[string][]byte) (missing []string, other string, err error) {
	names := slices.Sorted(maps.Keys(held))
	vals, err := r.GetMany(names...)
	for i, v := range vals {
		switch {
		case v == nil:
			missing = append(missing, names[i])
		case other == "" && !bytes.Equal(v, held[names[i]]):
			other = names[i]
		}
	}
	return missing, other, err
}

// PutSecrets writes the secrets that the store has not, all or, when one is another there, none; that is then named.
func (s *Store) PutSecrets(ctx context.Context, held map[string][]byte) (other string, err error) {
	err = s.db.Update(ctx, SecretsPartition, func(tx Tx) error {
		var missing []string
		var err error
		if missing, other, err = compareSecrets(tx, held); err != nil || other != "" {
			return err
		}
		for _, name := range missing {
			tx.Set(name, held[name])
		}
		return nil
	})
	return other, err
}

// lease is the record of a lease.
type lease struct {
	Owner   string `json:"owner"`
	Counter uint64 `json:"counter"`
}

// Lease tries to take or renew the lease of that name for owner. seen is what the candidate saw last ("" at first) and changed
// tells whether the lease has moved since: a candidate may pass steal only after it saw the lease unchanged for the whole lease
// time by its own monotonic clock.
func (s *Store) Lease(ctx context.Context, name, owner, seen string, steal bool) (held bool, now string, err error) {
	err = s.db.Update(ctx, LeasePartition(name), func(tx Tx) error {
		var l lease
		found, err := getJSON(tx, "lease", &l)
		if err != nil {
			return err
		}
		now = fmt.Sprintf("%s/%d", l.Owner, l.Counter)
		held = !found || l.Owner == owner || l.Owner == "" || (steal && now == seen)
		if !held {
			return nil
		}
		l.Owner = owner
		l.Counter++
		now = fmt.Sprintf("%s/%d", l.Owner, l.Counter)
		return setJSON(tx, "lease", l)
	})
	return held, now, err
}

// LeaseNow tells whether anybody holds the lease of that name, and its state, which changes with every renewal.
func (s *Store) LeaseNow(ctx context.Context, name string) (held bool, now string, err error) {
	err = s.db.View(ctx, LeasePartition(name), func(r Reader) error {
		var l lease
		_, err := getJSON(r, "lease", &l)
		held, now = l.Owner != "", fmt.Sprintf("%s/%d", l.Owner, l.Counter)
		return err
	})
	return held, now, err
}

// Release gives the lease back if owner has it.
func (s *Store) Release(ctx context.Context, name, owner string) error {
	return s.db.Update(ctx, LeasePartition(name), func(tx Tx) error {
		var l lease
		if found, err := getJSON(tx, "lease", &l); err != nil || !found || l.Owner != owner {
			return err
		}
		l.Owner = ""
		l.Counter++
		return setJSON(tx, "lease", l)
	})
}

// CountStart notes that a replica starts, which raises the revision of StartsPartition, and returns that.
func (s *Store) CountStart(ctx context.Context) (uint64, error) {
	err := s.db.Update(ctx, StartsPartition, func(tx Tx) error {
		n, err := number(tx, keyCounter)
		if err != nil {
			return err
		}
		setNumber(tx, keyCounter, n+1)
		return nil
	})
	if err != nil {
		return 0, err
	}
	revs, err := s.db.Revisions(ctx, StartsPartition)
	if err != nil {
		return 0, err
	}
	return revs[0], nil
}

// SetDay keeps the history row of one UTC day ("2006-01-02"); a later one of the same day replaces it.
func (s *Store) SetDay(ctx context.Context, date string, row []byte) error {
	return s.db.Update(ctx, HistoryPartition, func(tx Tx) error {
		tx.Set(dayKey(date), row)
		return nil
	})
}

// Days calls fn with the history rows from the given date on, oldest first.
func (s *Store) Days(ctx context.Context, from string, fn func(date string, row []byte)) error {
	var days []Entry
	if err := s.db.View(ctx, HistoryPartition, func(r Reader) error {
		days = nil
		return each(r, prefixDay, func(e Entry) error {
			if e.Key >= dayKey(from) {
				days = append(days, e)
			}
			return nil
		})
	}); err != nil {
		return err
	}
	for _, e := range days {
		fn(e.Key[len(prefixDay):], e.Value)
	}
	return nil
}

// DropDays deletes the history rows before the given date.
func (s *Store) DropDays(ctx context.Context, before string) error {
	return s.db.Update(ctx, HistoryPartition, func(tx Tx) error {
		return each(tx, prefixDay, func(e Entry) error {
			if e.Key[len(prefixDay):] < before {
				tx.Delete(e.Key)
			}
			return nil
		})
	})
}
