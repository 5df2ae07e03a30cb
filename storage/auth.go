package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Token is an API token as it is kept: only the hash of its secret.
type Token struct {
	Name      string    `json:"name"`
	Scope     string    `json:"scope"`               // the only one; empty when there are several
	Scopes    []string  `json:"scopes,omitempty"`    // all of them, when there are several
	ExpiresAt time.Time `json:"expires_at,omitzero"` // zero: never
	Hash      string    `json:"hash"`                // SHA-256 of the secret, hex
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
	UsedAt    time.Time `json:"used_at,omitzero"` // last; zero: never, or not known
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
		if err := errors.Join(readAll(r, prefixToken, &a.Tokens), readAll(r, prefixCode, &a.Codes)); err != nil {
			return err
		}
		var err error
		a.Revision, err = r.Revision()
		return err
	})
	return a, err
}

// AuthTx changes tokens and codes.
type AuthTx struct{ tx Tx }

// UpdateAuth changes tokens and codes in one commit; fn may run more than once.
func (s *Store) UpdateAuth(ctx context.Context, fn func(*AuthTx) error) error {
	return s.db.Update(ctx, AuthPartition, func(tx Tx) error { return fn(&AuthTx{tx}) })
}

// AnyToken tells whether there is a token.
func (t *AuthTx) AnyToken() (bool, error) {
	entries, err := t.tx.List(prefixToken, "", 1)
	return len(entries) > 0, err
}

// Token reads a token by name; nil when there is none.
func (t *AuthTx) Token(name string) (*Token, error) {
	var k Token
	if found, err := getJSON(t.tx, tokenKey(name), &k); err != nil || !found {
		return nil, err
	}
	return &k, nil
}

// PutToken keeps a token.
func (t *AuthTx) PutToken(k Token) error { return setJSON(t.tx, tokenKey(k.Name), k) }

// DeleteToken deletes a token.
func (t *AuthTx) DeleteToken(name string) { t.tx.Delete(tokenKey(name)) }

// Codes reads all enrolment codes.
func (t *AuthTx) Codes() (codes []Code, err error) {
	err = readAll(t.tx, prefixCode, &codes)
	return codes, err
}

// PutCode keeps an enrolment code.
func (t *AuthTx) PutCode(c Code) error { return setJSON(t.tx, codeKey(c.Code), c) }

// DeleteCode deletes an enrolment code.
func (t *AuthTx) DeleteCode(code string) { t.tx.Delete(codeKey(code)) }

// Note keeps entries of the audit with the change.
func (t *AuthTx) Note(n Notes) { n.write(t.tx) }

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
		c.UsedAt = now
		return setJSON(tx, codeKey(code), c)
	})
}

// DropCodes deletes the codes that expired or were used up before the given time.
func (s *Store) DropCodes(ctx context.Context, before time.Time) error {
	return s.db.Update(ctx, AuthPartition, func(tx Tx) error {
		return each(tx, prefixCode, func(e Entry) error {
			var c Code
			if err := json.Unmarshal(e.Value, &c); err != nil {
				return fmt.Errorf("decode %s: %w", e.Key, err)
			}
			if c.endedBefore(before) {
				tx.Delete(e.Key)
			}
			return nil
		})
	})
}

func (c *Code) endedBefore(when time.Time) bool {
	if !c.ExpiresAt.IsZero() && c.ExpiresAt.Before(when) {
		return true
	}
	last := c.UsedAt
	if last.IsZero() { // the time of the last use is not kept of every code
		last = c.CreatedAt
	}
	return c.Uses > 0 && c.Used >= c.Uses && last.Before(when)
}

// challenge is a SCEP challenge, kept under the hash of its secret.
type challenge struct {
	ExpiresAt time.Time `json:"expires_at"`
	UsedBy    string    `json:"by,omitempty"` // the hash of the first request that used it
	UsedAt    time.Time `json:"at,omitzero"`
	CA        string    `json:"ca,omitempty"`   // short for the CA that issued the identity
	Identity  string    `json:"cert,omitempty"` // fingerprint of the identity; empty: it is not known whether one was issued
}

// Issued is an identity that was given out for a challenge.
type Issued struct {
	At       time.Time // when the challenge was redeemed
	CA       string    // short for the CA that issues it
	Identity string    // SHA-256 of what the CA signed, hex; empty: it is not known whether one was issued
}

// AddChallenge keeps a SCEP challenge by its hash.
func (s *Store) AddChallenge(ctx context.Context, hash string, expires time.Time) error {
	return s.db.Update(ctx, ScepPartition, func(tx Tx) error {
		return setJSON(tx, challengeKey(hash), challenge{ExpiresAt: expires})
	})
}

// RedeemChallenge binds a challenge to the first request that uses it, given as a hash, and to the CA that issues then; both are
// returned. ErrForbidden when it is unknown, expired, or another request's.
func (s *Store) RedeemChallenge(ctx context.Context, hash, by, ca string, now time.Time) (first Issued, err error) {
	err = s.db.Update(ctx, ScepPartition, func(tx Tx) error {
		var c challenge
		found, err := getJSON(tx, challengeKey(hash), &c)
		switch {
		case err != nil:
			return err
		case !found || !now.Before(c.ExpiresAt):
			return fmt.Errorf("the SCEP challenge is not known or has expired: %w", ErrForbidden)
		case c.UsedBy == by:
			first = Issued{c.UsedAt, c.CA, c.Identity}
			return nil
		case c.UsedBy != "":
			return fmt.Errorf("the SCEP challenge was used by another request: %w", ErrForbidden)
		}
		c.UsedBy, c.UsedAt, c.CA, first = by, now, ca, Issued{At: now, CA: ca}
		return setJSON(tx, challengeKey(hash), c)
	})
	return first, err
}

// NoteIssued notes the identity that was issued for a challenge.
func (s *Store) NoteIssued(ctx context.Context, hash, identity string) error {
	return s.db.Update(ctx, ScepPartition, func(tx Tx) error {
		var c challenge
		found, err := getJSON(tx, challengeKey(hash), &c)
		if err != nil || !found || c.Identity == identity {
			return err
		}
		c.Identity = identity
		return setJSON(tx, challengeKey(hash), c)
	})
}

// IssuedLately are the identities that were given out for challenges which have not expired yet.
func (s *Store) IssuedLately(ctx context.Context, now time.Time) (all []Issued, err error) {
	err = s.db.View(ctx, ScepPartition, func(r Reader) error {
		all = nil
		return each(r, prefixChallenge, func(e Entry) error {
			var c challenge
			if err := json.Unmarshal(e.Value, &c); err == nil && c.UsedBy != "" && now.Before(c.ExpiresAt) {
				all = append(all, Issued{c.UsedAt, c.CA, c.Identity})
			}
			return nil
		})
	})
	return all, err
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
