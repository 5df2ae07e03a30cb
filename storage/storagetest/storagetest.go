// Package storagetest is the conformance suite that every database passes, with the servers and the faults to try it under.
package storagetest

import (
	"bytes"
	"context"
	"encoding/base32"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"plimsoll/storage"
)

// patience bounds what must happen, and only says when a test gives up.
const patience = 20 * time.Second

// Run holds a database against every promise of storage.DB. open returns a database that works, and closes it at
// cleanup; what is in it does not matter, because every test uses partitions of its own.
func Run(t *testing.T, open func(t *testing.T) storage.DB) {
	for _, group := range []struct {
		name  string
		tests map[string]func(*suite)
	}{
		{"values", valueTests},
		{"lists", listTests},
		{"commits", commitTests},
		{"views", viewTests},
		{"partitions", partitionTests},
		{"loads", loadTests},
		{"contexts", contextTests},
	} {
		t.Run(group.name, func(t *testing.T) {
			for name, test := range group.tests {
				t.Run(name, func(t *testing.T) {
					test(&suite{T: t, db: open(t), unique: unique()})
				})
			}
		})
	}
}

// suite is one test's database, and what the tests write short.
type suite struct {
	*testing.T
	db     storage.DB
	unique string
}

func unique() string {
	var b [10]byte
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return base32.StdEncoding.EncodeToString(b[:])
}

// part returns a partition that no other test uses.
func (s *suite) part(name string) string { return "test/" + s.unique + "/" + name }

func (s *suite) update(partition string, fn func(tx storage.Tx) error) {
	s.Helper()
	if err := s.db.Update(s.Context(), partition, fn); err != nil {
		s.Fatalf("Update(%q): %v", partition, err)
	}
}

func (s *suite) view(partition string, fn func(r storage.Reader) error) {
	s.Helper()
	if err := s.db.View(s.Context(), partition, fn); err != nil {
		s.Fatalf("View(%q): %v", partition, err)
	}
}

func (s *suite) set(partition, key, val string) {
	s.Helper()
	s.update(partition, func(tx storage.Tx) error {
		tx.Set(key, []byte(val))
		return nil
	})
}

func (s *suite) get(partition, key string) []byte {
	s.Helper()
	var val []byte
	s.view(partition, func(r storage.Reader) (err error) {
		val, err = r.Get(key)
		return err
	})
	return val
}

func (s *suite) wantValue(partition, key, want string) {
	s.Helper()
	if got := s.get(partition, key); got == nil || string(got) != want {
		s.Errorf("%q in %q is %s, want %q", key, partition, show(got), want)
	}
}

func (s *suite) wantNone(partition, key string) {
	s.Helper()
	if got := s.get(partition, key); got != nil {
		s.Errorf("%q in %q is %s, want nothing", key, partition, show(got))
	}
}

func (s *suite) revision(partition string) uint64 {
	s.Helper()
	var rev uint64
	s.view(partition, func(r storage.Reader) (err error) {
		rev, err = r.Revision()
		return err
	})
	revs, err := s.db.Revisions(s.Context(), partition)
	if err != nil || len(revs) != 1 {
		s.Fatalf("Revisions(%q) = %v, %v", partition, revs, err)
	}
	if revs[0] != rev {
		s.Errorf("Revisions says %d of %q, and a View %d", revs[0], partition, rev)
	}
	return rev
}

func (s *suite) wantUnavailable(what string, err error) {
	s.Helper()
	if !errors.Is(err, storage.ErrUnavailable) {
		s.Errorf("%s: %v, want an error that wraps storage.ErrUnavailable", what, err)
	}
}

// patient returns a context that ends with the test's patience.
func (s *suite) patient() context.Context {
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	s.Cleanup(cancel)
	return ctx
}

func show(val []byte) string {
	switch {
	case val == nil:
		return "nothing"
	case len(val) > 40:
		return string(bytes.ToValidUTF8(val[:40], []byte("?"))) + "…"
	}
	return `"` + string(bytes.ToValidUTF8(val, []byte("?"))) + `"`
}

// Methods are the methods of a database that can fail for want of it, as tests call each of them alone.
// Those that write set "key".
var Methods = map[string]func(ctx context.Context, db storage.DB, partition string) error{
	"View": func(ctx context.Context, db storage.DB, partition string) error {
		return db.View(ctx, partition, func(r storage.Reader) error {
			_, err := r.Get("key")
			return err
		})
	},
	"View of a list": func(ctx context.Context, db storage.DB, partition string) error {
		return db.View(ctx, partition, func(r storage.Reader) error {
			_, err := r.List("", "", 10)
			return err
		})
	},
	"Update": func(ctx context.Context, db storage.DB, partition string) error {
		return db.Update(ctx, partition, func(tx storage.Tx) error {
			if _, err := tx.Get("key"); err != nil {
				return err
			}
			tx.Set("key", []byte("written"))
			return nil
		})
	},
	"Update without a read": func(ctx context.Context, db storage.DB, partition string) error {
		return db.Update(ctx, partition, func(tx storage.Tx) error {
			tx.Set("key", []byte("written"))
			return nil
		})
	},
	"Revisions": func(ctx context.Context, db storage.DB, partition string) error {
		_, err := db.Revisions(ctx, partition, partition+"2")
		return err
	},
	"Collect": func(ctx context.Context, db storage.DB, partition string) error {
		_, err := db.Collect(ctx, []string{partition, partition + "2"}, "key")
		return err
	},
	"Partitions": func(ctx context.Context, db storage.DB, _ string) error {
		return db.Partitions(ctx, func([]string) error { return nil })
	},
	"Load": func(ctx context.Context, db storage.DB, partition string) error {
		return db.Load(ctx, partition, 1, []storage.Entry{{Key: "key", Value: []byte("written")}})
	},
	"Drop": func(ctx context.Context, db storage.DB, partition string) error { return db.Drop(ctx, partition) },
	"Ping": func(ctx context.Context, db storage.DB, _ string) error { return db.Ping(ctx) },
}
