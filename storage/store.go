package storage

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
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
	err := s.db.Update(ctx, SecretsPartition, func(tx Tx) error {
		b, err := tx.Get(name)
		if err != nil || b != nil {
			secret = b
			return err
		}
		if secret, err = generate(); err != nil {
			return fmt.Errorf("generate secret %s: %w", name, err)
		}
		tx.Set(name, secret)
		return nil
	})
	return secret, err
}

// lease is the record of a lease.
type lease struct {
	Owner   string `json:"owner"`
	Counter uint64 `json:"counter"`
}

// Lease tries to take or renew the lease of that name for owner. seen is what the candidate saw last ("" at first) and changed tells
// whether the lease has moved since: a candidate may pass steal only after it saw the lease unchanged for the whole lease time by its own monotonic clock.
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
		n, err := counter(tx)
		if err != nil {
			return err
		}
		tx.Set(keyCounter, strconv.AppendUint(nil, n+1, 10))
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
	return s.db.View(ctx, HistoryPartition, func(r Reader) error {
		return each(r, prefixDay, func(e Entry) error {
			if date := e.Key[len(prefixDay):]; date >= from {
				fn(date, e.Value)
			}
			return nil
		})
	})
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

// Token is an API token as it is kept: only the hash of its secret.
type Token struct {
	Name      string    `json:"name"`
	Scope     string    `json:"scope"`
	Hash      string    `json:"hash"` // SHA-256 of the secret, hex
	CreatedAt time.Time `json:"created_at"`
	By        string    `json:"by"`
}

// Code is an enrolment code.
type Code struct {
	Code      string    `json:"code"`
	Label     string    `json:"label"`
	ExpiresAt time.Time `json:"expires_at,omitzero"` // zero: never
	Uses      int       `json:"uses"`                // allowed; 0: any number
	Used      int       `json:"used"`
	CreatedAt time.Time `json:"created_at"`
	By        string    `json:"by"`
}

// Auth is the auth partition: tokens and codes by name, and its revision.
type Auth struct {
	Revision uint64
	Tokens   []Token
	Codes    []Code
}

// Auth reads all tokens and codes.
func (s *Store) Auth(ctx context.Context) (Auth, error) {
	var a Auth
	err := s.db.View(ctx, AuthPartition, func(r Reader) error {
		a = Auth{}
		if err := each(r, prefixToken, func(e Entry) error {
			var t Token
			if err := json.Unmarshal(e.Value, &t); err != nil {
				return fmt.Errorf("decode %s: %w", e.Key, err)
			}
			a.Tokens = append(a.Tokens, t)
			return nil
		}); err != nil {
			return err
		}
		if err := each(r, prefixCode, func(e Entry) error {
			var c Code
			if err := json.Unmarshal(e.Value, &c); err != nil {
				return fmt.Errorf("decode %s: %w", e.Key, err)
			}
			a.Codes = append(a.Codes, c)
			return nil
		}); err != nil {
			return err
		}
		var err error
		a.Revision, err = r.Revision()
		return err
	})
	return a, err
}

// AddToken keeps a token; ErrConflict when the name exists.
func (s *Store) AddToken(ctx context.Context, t Token) error {
	return s.db.Update(ctx, AuthPartition, func(tx Tx) error {
		b, err := tx.Get(tokenKey(t.Name))
		if err != nil {
			return err
		}
		if b != nil {
			return fmt.Errorf("token %q exists: %w", t.Name, ErrConflict)
		}
		return setJSON(tx, tokenKey(t.Name), t)
	})
}

// FirstToken keeps t if there is no token at all; false when there is one.
func (s *Store) FirstToken(ctx context.Context, t Token) (kept bool, err error) {
	err = s.db.Update(ctx, AuthPartition, func(tx Tx) error {
		kept = false
		entries, err := tx.List(prefixToken, "", 1)
		if err != nil || len(entries) > 0 {
			return err
		}
		kept = true
		return setJSON(tx, tokenKey(t.Name), t)
	})
	return kept, err
}

// DeleteToken deletes a token; ErrNotFound when there is none of that name.
func (s *Store) DeleteToken(ctx context.Context, name string) error {
	return s.deleteAuth(ctx, tokenKey(name), "token", name)
}

// DeleteCode deletes an enrolment code; ErrNotFound when there is none.
func (s *Store) DeleteCode(ctx context.Context, code string) error {
	return s.deleteAuth(ctx, codeKey(code), "enrolment code", code)
}

func (s *Store) deleteAuth(ctx context.Context, key, what, name string) error {
	return s.db.Update(ctx, AuthPartition, func(tx Tx) error {
		b, err := tx.Get(key)
		if err != nil {
			return err
		}
		if b == nil {
			return fmt.Errorf("%s %q: %w", what, name, ErrNotFound)
		}
		tx.Delete(key)
		return nil
	})
}

// PutCode keeps an enrolment code.
func (s *Store) PutCode(ctx context.Context, c Code) error {
	return s.db.Update(ctx, AuthPartition, func(tx Tx) error { return setJSON(tx, codeKey(c.Code), c) })
}

// UseCode counts one use of a code; ErrForbidden when it is unknown, expired at now, or used up.
func (s *Store) UseCode(ctx context.Context, code string, now time.Time) error {
	return s.db.Update(ctx, AuthPartition, func(tx Tx) error {
		var c Code
		found, err := getJSON(tx, codeKey(code), &c)
		switch {
		case err != nil:
			return err
		case !found:
			return fmt.Errorf("the enrolment code is not known: %w", ErrForbidden)
		case !c.ExpiresAt.IsZero() && !now.Before(c.ExpiresAt):
			return fmt.Errorf("the enrolment code has expired: %w", ErrForbidden)
		case c.Uses > 0 && c.Used >= c.Uses:
			return fmt.Errorf("the enrolment code is used up: %w", ErrForbidden)
		}
		c.Used++
		return setJSON(tx, codeKey(code), c)
	})
}

// challenge is a SCEP challenge, kept under the hash of its secret.
type challenge struct {
	ExpiresAt time.Time `json:"expires_at"`
	UsedBy    string    `json:"by,omitempty"` // the hash of the first request that used it
	UsedAt    time.Time `json:"at,omitzero"`
}

// AddChallenge keeps a SCEP challenge by its hash.
func (s *Store) AddChallenge(ctx context.Context, hash string, expires time.Time) error {
	return s.db.Update(ctx, ScepPartition, func(tx Tx) error {
		return setJSON(tx, challengeKey(hash), challenge{ExpiresAt: expires})
	})
}

// RedeemChallenge binds a challenge to the first request that uses it, given as a hash, and returns when that was;
// ErrForbidden when it is unknown, expired, or another request's.
func (s *Store) RedeemChallenge(ctx context.Context, hash, by string, now time.Time) (first time.Time, err error) {
	err = s.db.Update(ctx, ScepPartition, func(tx Tx) error {
		var c challenge
		found, err := getJSON(tx, challengeKey(hash), &c)
		switch {
		case err != nil:
			return err
		case !found || !now.Before(c.ExpiresAt):
			return fmt.Errorf("the SCEP challenge is not known or has expired: %w", ErrForbidden)
		case c.UsedBy == by:
			first = c.UsedAt
			return nil
		case c.UsedBy != "":
			return fmt.Errorf("the SCEP challenge was used by another request: %w", ErrForbidden)
		}
		c.UsedBy, c.UsedAt, first = by, now, now
		return setJSON(tx, challengeKey(hash), c)
	})
	return first, err
}

// DropChallenges deletes the challenges that expired before now.
func (s *Store) DropChallenges(ctx context.Context, now time.Time) error {
	return s.db.Update(ctx, ScepPartition, func(tx Tx) error {
		return each(tx, prefixChallenge, func(e Entry) error {
			var c challenge
			if err := json.Unmarshal(e.Value, &c); err != nil || !now.Before(c.ExpiresAt) {
				tx.Delete(e.Key)
			}
			return nil
		})
	})
}
