package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"time"

	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
)

// FetchState is what is remembered of fetching the catalogue, beside the catalogue itself.
type FetchState struct {
	TriedAt   time.Time `json:"tried_at,omitzero"` // last attempt
	Refused   string    `json:"refused,omitempty"` // why the last response was refused; empty after an accepted one
	RefusedAt time.Time `json:"refused_at,omitzero"`
	Error     string    `json:"error,omitempty"` // why the last fetch failed; empty after a success

	// The validators of the last response, and the source that they belong to.
	From         string `json:"from,omitempty"`
	ETag         string `json:"etag,omitempty"`
	LastModified string `json:"last_modified,omitempty"`
	File         string `json:"file,omitempty"`
}

// Book is everything that admins and Apple said, in one partition with one revision.
type Book struct {
	policy.Input
	Managed map[string]bool // objects that an apply of files wrote (API 5.3), as "policy/engineering"
	Fetch   FetchState
}

// Book reads the whole book. A book that was never written has the built-in snapshot as its catalogue.
func (s *Store) Book(ctx context.Context) (*Book, error) {
	var b *Book
	err := s.db.View(ctx, BookPartition, func(r Reader) (err error) {
		b, err = readBook(r)
		return err
	})
	return b, err
}

func readBook(r Reader) (*Book, error) {
	b := &Book{}
	err := errors.Join(
		readAll(r, prefixPolicy, &b.Policies), readAll(r, prefixGroup, &b.Groups), readAll(r, prefixHold, &b.Holds),
		readAll(r, prefixFreeze, &b.Freezes), readAll(r, prefixOpening, &b.Openings), readAll(r, prefixHalt, &b.Halts),
	)
	if err != nil {
		return nil, err
	}
	var pause release.Pause
	if found, err := getJSON(r, keyPause, &pause); err != nil {
		return nil, err
	} else if found {
		b.Pause = &pause
	}
	var cat release.Catalog
	if found, err := getJSON(r, keyCatalog, &cat); err != nil {
		return nil, err
	} else if found {
		b.Catalog = &cat
	} else {
		b.Catalog = release.Snapshot()
	}
	if _, err := getJSON(r, keyFetch, &b.Fetch); err != nil {
		return nil, err
	}
	b.Managed = map[string]bool{}
	if err := each(r, prefixManaged, func(e Entry) error { b.Managed[e.Key[len(prefixManaged):]] = true; return nil }); err != nil {
		return nil, err
	}
	rev, err := r.Revision()
	b.Revision = rev
	return b, err
}

// readAll reads the values under a prefix, in the order of their keys.
func readAll[T any](r Reader, prefix string, into *[]T) error {
	return each(r, prefix, func(e Entry) error {
		var v T
		if err := json.Unmarshal(e.Value, &v); err != nil {
			return fmt.Errorf("decode %s: %w", e.Key, err)
		}
		*into = append(*into, v)
		return nil
	})
}

// BookTx changes the book. Reads see the book as it was when the transaction began.
type BookTx struct {
	*Book
	tx Tx
}

// UpdateBook changes the book in one commit; fn may run more than once.
func (s *Store) UpdateBook(ctx context.Context, fn func(*BookTx) error) error {
	return s.db.Update(ctx, BookPartition, func(tx Tx) error {
		b, err := readBook(tx)
		if err != nil {
			return err
		}
		return fn(&BookTx{Book: b, tx: tx})
	})
}

// RaiseBook commits to the book, without a change, until its revision is at least the given one. It is for a database that lost
// the newest writes, as a failover can that did not wait for replicas: else revisions that Macs and replicas know already would
// be given again, to other content.
func (s *Store) RaiseBook(ctx context.Context, revision uint64) error {
	for {
		var b *Book
		if err := s.UpdateBook(ctx, func(t *BookTx) error {
			if b = t.Book; b.Revision >= revision {
				return nil
			}
			return t.SetFetch(t.Fetch)
		}); err != nil {
			return fmt.Errorf("raise the book to revision %d: %w", revision, err)
		}
		if b.Revision >= revision {
			return nil
		}
	}
}

// PutPolicy keeps a policy.
func (t *BookTx) PutPolicy(p policy.Stored) error { return setJSON(t.tx, policyKey(p.Name), p) }

// DeletePolicy deletes a policy.
func (t *BookTx) DeletePolicy(name string) { t.deleteObject(policyKey(name)) }

// PutGroup keeps a group.
func (t *BookTx) PutGroup(g policy.Group) error { return setJSON(t.tx, groupKey(g.Name), g) }

// DeleteGroup deletes a group.
func (t *BookTx) DeleteGroup(name string) { t.deleteObject(groupKey(name)) }

// PutHold keeps a hold.
func (t *BookTx) PutHold(h release.Hold) error { return setJSON(t.tx, holdKey(h.Subject), h) }

// DeleteHold lets go.
func (t *BookTx) DeleteHold(subject string) { t.deleteObject(holdKey(subject)) }

// PutFreeze keeps a freeze.
func (t *BookTx) PutFreeze(f policy.Freeze) error { return setJSON(t.tx, freezeKey(f.Name), f) }

// DeleteFreeze deletes a freeze.
func (t *BookTx) DeleteFreeze(name string) { t.deleteObject(freezeKey(name)) }

// PutOpening records that a release is open for a ring of a policy. An earlier record of the same opening is replaced.
func (t *BookTx) PutOpening(o policy.Opening) error {
	return setJSON(t.tx, openingKey(o.Policy, o.Build, o.Ring), o)
}

// PutHalt records that the gate of a policy halts a release.
func (t *BookTx) PutHalt(h policy.Halt) error { return setJSON(t.tx, haltKey(h.Policy, h.Build), h) }

// DeleteHalt ends a halt.
func (t *BookTx) DeleteHalt(policy, build string) { t.tx.Delete(haltKey(policy, build)) }

// SetManaged notes that an apply of files wrote an object, given as "policy/engineering". Its deletion forgets that.
func (t *BookTx) SetManaged(object string) error {
	t.tx.Set(managedKey(object), []byte{})
	return nil
}

// deleteObject deletes an object that files may hold.
func (t *BookTx) deleteObject(key string) {
	t.tx.Delete(key)
	t.tx.Delete(managedKey(key))
}

// SetPause pauses enforcement, or resumes it with nil.
func (t *BookTx) SetPause(p *release.Pause) error {
	if p == nil {
		t.tx.Delete(keyPause)
		return nil
	}
	return setJSON(t.tx, keyPause, p)
}

// SetCatalog keeps a catalogue; when its content changed (a new revision), also as what was in force from at on.
func (t *BookTx) SetCatalog(c *release.Catalog, changed bool, at time.Time) error {
	if changed {
		if err := setJSON(t.tx, catalogKey(at), c); err != nil {
			return err
		}
	}
	return setJSON(t.tx, keyCatalog, c)
}

// SetFetch keeps the state of fetching.
func (t *BookTx) SetFetch(f FetchState) error { return setJSON(t.tx, keyFetch, f) }

// CatalogAt is the catalogue that was in force at a time: the built-in snapshot before the first one that was accepted.
func (s *Store) CatalogAt(ctx context.Context, when time.Time) (*release.Catalog, error) {
	cat := release.Snapshot()
	err := s.db.View(ctx, BookPartition, func(r Reader) error {
		entries, err := r.ListDesc(prefixCatalog, catalogKey(when.Add(1)), 1)
		if err != nil || len(entries) == 0 {
			return err
		}
		cat = new(release.Catalog)
		if err := json.Unmarshal(entries[0].Value, cat); err != nil {
			return fmt.Errorf("decode %s: %w", entries[0].Key, err)
		}
		return nil
	})
	return cat, err
}

// Policy finds a policy of the book by name; nil when there is none.
func (b *Book) Policy(name string) *policy.Stored {
	i := sort.Search(len(b.Policies), func(i int) bool { return b.Policies[i].Name >= name })
	if i < len(b.Policies) && b.Policies[i].Name == name {
		return &b.Policies[i]
	}
	return nil
}

// Group finds a group of the book by name; nil when there is none.
func (b *Book) Group(name string) *policy.Group {
	i := sort.Search(len(b.Groups), func(i int) bool { return b.Groups[i].Name >= name })
	if i < len(b.Groups) && b.Groups[i].Name == name {
		return &b.Groups[i]
	}
	return nil
}

// Freeze finds a freeze of the book by name; nil when there is none.
func (b *Book) Freeze(name string) *policy.Freeze {
	for i := range b.Freezes {
		if b.Freezes[i].Name == name {
			return &b.Freezes[i]
		}
	}
	return nil
}

// Hold finds a hold of the book by subject; nil when there is none.
func (b *Book) Hold(subject string) *release.Hold {
	for i := range b.Holds {
		if b.Holds[i].Subject == subject {
			return &b.Holds[i]
		}
	}
	return nil
}
