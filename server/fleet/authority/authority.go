// Package authority knows the CAs that the Macs' identities come from: which one issues, which are trusted, and how one takes the
// place of another.
package authority

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"plimsoll/server/fleet/answer"
	"plimsoll/server/fleet/each"
	"plimsoll/storage"
)

// Options are what Authorities are made of.
type Options struct {
	Store *storage.Store
	// Supplied issues in place of a generated CA (--data); nil: one is generated.
	Supplied *CA
	// Further CAs are trusted and never retired (--device-ca).
	Further []*x509.Certificate
	Macs    Macs
	Alone   bool // no other process can have the store open
	Log     *slog.Logger
	Now     func() time.Time // UTC, whole seconds
}

// Set is the CAs as they stood at one revision of the store. It does not change.
type Set struct {
	Issuing  *CA
	Trusted  []*CA // the issuing one first, then the newest first; those of Further last
	Roots    *x509.CertPool
	kept     []storage.CA
	revision uint64
}

// ByID finds a trusted CA; nil when there is none of that id.
func (s *Set) ByID(id string) *CA {
	for _, ca := range s.Trusted {
		if ca.ID == id {
			return ca
		}
	}
	return nil
}

// Authorities are the CAs of a fleet, the same on every replica. Safe for concurrent use; Load must come first.
type Authorities struct {
	o       Options
	current atomic.Pointer[Set]

	reading sync.Mutex // one reads at a time, so that no older set takes the place of a newer one
	look    each.Look
}

// New makes Authorities.
func New(o Options) *Authorities {
	if o.Supplied != nil {
		o.Supplied = of(o.Supplied.Cert, o.Supplied.Key)
	}
	return &Authorities{o: o}
}

// Current is the set in force on this replica.
func (a *Authorities) Current() *Set { return a.current.Load() }

// External tells whether the identities come from a CA that is supplied from outside, which nobody can replace here.
func (a *Authorities) External() bool { return a.o.Supplied != nil }

// Load reads the CAs. The first replica of all makes one; a supplied one is written down, so that it is still trusted when
// another has taken its place.
func (a *Authorities) Load(ctx context.Context) error {
	var generated *storage.CA
	err := a.o.Store.UpdateCAs(ctx, func(kept storage.CAs) (put []storage.CA, _ []string, err error) {
		if kept.Legacy != nil {
			ca, err := parseKept(storage.CA{PEM: kept.Legacy})
			if err != nil {
				return nil, nil, err
			}
			if !slices.ContainsFunc(kept.All, ca.is) {
				put = append(put, storage.CA{Fingerprint: ca.Fingerprint, PEM: kept.Legacy, CreatedAt: ca.CreatedAt})
			}
		}
		if s := a.o.Supplied; s != nil {
			if !slices.ContainsFunc(kept.All, s.is) {
				put = append(put, storage.CA{Fingerprint: s.Fingerprint, PEM: s.certificatePEM(), CreatedAt: a.o.Now()})
			}
			return put, nil, nil
		}
		set, err := a.set(storage.CAs{All: append(slices.Clone(kept.All), put...)})
		if err != nil || set.Issuing != nil {
			return put, nil, err
		}
		if generated == nil { // making the key takes a second, and this function may run again
			if generated, err = a.generate(); err != nil {
				return nil, nil, err
			}
		}
		return append(put, *generated), nil, nil
	})
	if err != nil {
		return fmt.Errorf("read the device CA: %w", err)
	}
	return a.Reload(ctx)
}

func (a *Authorities) generate() (*storage.CA, error) {
	now := a.o.Now()
	b, err := Generate(now)
	if err != nil {
		return nil, err
	}
	ca, err := Parse(b)
	if err != nil {
		return nil, err
	}
	return &storage.CA{Fingerprint: ca.Fingerprint, PEM: b, CreatedAt: now}, nil
}

// errNoCA says that the store has lost the CA that issues.
var errNoCA = errors.New("the store holds no device CA that issues identities")

// Reload reads the CAs and puts them in force. A store that has lost all of them, because it was emptied, is given back those in
// memory: with another CA every Mac would be refused.
func (a *Authorities) Reload(ctx context.Context) error {
	a.reading.Lock()
	defer a.reading.Unlock()
	kept, err := a.o.Store.CAs(ctx)
	if err != nil {
		return err
	}
	before := a.current.Load()
	if before != nil && len(kept.All) == 0 && kept.Legacy == nil {
		if kept, err = a.giveBack(ctx, before.kept); err != nil {
			return err
		}
	}
	set, err := a.set(kept)
	switch {
	case err != nil:
		return err
	case set.Issuing == nil:
		return errNoCA
	}
	a.current.Store(set)
	return nil
}

// giveBack writes CAs into a store that has none.
func (a *Authorities) giveBack(ctx context.Context, lost []storage.CA) (storage.CAs, error) {
	err := a.o.Store.UpdateCAs(ctx, func(kept storage.CAs) ([]storage.CA, []string, error) {
		if len(kept.All) > 0 || kept.Legacy != nil { // another replica was first
			return nil, nil, nil
		}
		return lost, nil, nil
	})
	if err != nil {
		return storage.CAs{}, fmt.Errorf("give the store its device CAs back: %w", err)
	}
	return a.o.Store.CAs(ctx)
}

// Revision is that of the secrets as they were read last.
func (a *Authorities) Revision() uint64 { return a.Current().revision }

// set puts the kept CAs in order.
func (a *Authorities) set(kept storage.CAs) (*Set, error) {
	s := &Set{Roots: x509.NewCertPool(), kept: kept.All, revision: kept.Revision}
	for _, k := range kept.All {
		ca, err := parseKept(k)
		if err != nil {
			return nil, err
		}
		s.Trusted = append(s.Trusted, ca)
	}
	slices.SortFunc(s.Trusted, func(a, b *CA) int {
		if c := b.CreatedAt.Compare(a.CreatedAt); c != 0 {
			return c
		}
		return bytes.Compare(a.Cert.Raw, b.Cert.Raw)
	})
	isIssuing := func(ca *CA) bool { return ca.Key != nil } // the newest
	if supplied := a.o.Supplied; supplied != nil {
		isIssuing = func(ca *CA) bool { return ca.Fingerprint == supplied.Fingerprint }
	}
	if i := slices.IndexFunc(s.Trusted, isIssuing); i >= 0 {
		issuing := *s.Trusted[i]
		issuing.Issuing = true
		if a.o.Supplied != nil {
			issuing.Key = a.o.Supplied.Key
		}
		s.Issuing = &issuing
		s.Trusted = slices.Insert(slices.Delete(s.Trusted, i, i+1), 0, s.Issuing)
	}
	for _, cert := range a.o.Further {
		if ca := of(cert, nil); !slices.ContainsFunc(s.Trusted, ca.same) {
			ca.CreatedAt, ca.Further = cert.NotBefore.UTC(), true
			s.Trusted = append(s.Trusted, ca)
		}
	}
	for _, ca := range s.Trusted {
		s.Roots.AddCert(ca.Cert)
	}
	return s, nil
}

// Look is Refresh for those who show a certificate that is not trusted here: another replica may have made its CA just now. All
// who wait share one look.
func (a *Authorities) Look(ctx context.Context) error {
	if a.o.Alone {
		return nil
	}
	return a.look.Take(ctx, a.Refresh)
}

// Refresh reads the CAs again if they changed, at once.
func (a *Authorities) Refresh(ctx context.Context) error {
	if a.o.Alone {
		return nil
	}
	revs, err := a.o.Store.Revisions(ctx, storage.SecretsPartition)
	if err != nil || revs[0] == a.Revision() {
		return err
	}
	return a.Reload(ctx)
}

func errExternal() error {
	return answer.Conflict("external_ca", "the device CA is supplied from outside: give the server another one there")
}

// Rotate makes a new CA, from which identities are issued from now on. Those that there are stay trusted.
func (a *Authorities) Rotate(ctx context.Context) error {
	if a.External() {
		return errExternal()
	}
	made, err := a.generate()
	if err != nil {
		return err
	}
	err = a.o.Store.UpdateCAs(ctx, func(kept storage.CAs) ([]storage.CA, []string, error) {
		next := *made
		for _, ca := range kept.All { // the newest issues, also after a rotation within the same second or a clock that went back
			if !ca.CreatedAt.Before(next.CreatedAt) {
				next.CreatedAt = ca.CreatedAt.Add(time.Second)
			}
		}
		return []storage.CA{next}, nil, nil
	})
	if err != nil {
		return err
	}
	return a.Reload(ctx)
}

// Old are the trusted CAs that issue no more identities and can be retired. The newest that has a key is not among them, whatever
// is supplied in its place: it issues again when that is taken away, perhaps on another replica already.
func (a *Authorities) Old() []*CA {
	var old []*CA
	reserve := false
	for _, ca := range a.Current().Trusted {
		switch {
		case ca.Issuing, ca.Further:
		case ca.Key != nil && a.External() && !reserve:
			reserve = true
		default:
			old = append(old, ca)
		}
	}
	return old
}

// Retire stops trusting CAs that are old, and deletes their keys.
func (a *Authorities) Retire(ctx context.Context, unused []*CA) error {
	if len(unused) == 0 {
		return nil
	}
	err := a.o.Store.UpdateCAs(ctx, func(storage.CAs) ([]storage.CA, []string, error) {
		var drop []string
		for _, ca := range unused {
			drop = append(drop, ca.Fingerprint)
		}
		return nil, drop, nil
	})
	if err != nil {
		return fmt.Errorf("retire a device CA: %w", err)
	}
	return a.Reload(ctx)
}
