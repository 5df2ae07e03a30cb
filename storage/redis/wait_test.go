package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"plimsoll/storage"
	"plimsoll/storage/storagetest"
)

// waiting opens a database that waits for the one replica.
func waiting(t *testing.T) (primary, replica *storagetest.Redis, db *DB) {
	t.Helper()
	primary = storagetest.RedisServer(t, "--repl-diskless-sync-delay", "0")
	host, port, _ := strings.Cut(primary.Addr(), ":")
	replica = storagetest.RedisServer(t, "--replicaof", host+" "+port)
	storagetest.Await(t, "a replica", func() error {
		db, err := Open(short(t), primary.URL()+"?wait=1")
		if err != nil {
			return err
		}
		return db.Close()
	})
	return primary, replica, open(t, primary.URL()+"?wait=1")
}

func TestConformanceOfWaiting(t *testing.T) {
	t.Parallel()
	primary, _, _ := waiting(t)
	storagetest.Run(t, func(t *testing.T) storage.DB { return open(t, primary.URL()+"?wait=1") })
}

var errFound = errors.New("it is there already")

// Whoever is told what an Update has found may rely on it, as on what it has written.
func TestNothingIsFoundThatReplicasLack(t *testing.T) {
	t.Parallel()
	_, replica, db := waiting(t)
	if err := set(t.Context(), db, "p", "key", "one"); err != nil {
		t.Fatal(err)
	}
	replica.Freeze()
	if err := set(short(t), db, "p", "key", "two"); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("a write that no replica has: %v", err)
	}
	cases := []struct {
		name string
		read func(storage.Reader) error
		ends error
	}{
		{"Get", func(r storage.Reader) error { _, err := r.Get("key"); return err }, nil},
		{"List", func(r storage.Reader) error { _, err := r.List("", "", 1); return err }, nil},
		{"Revision", func(r storage.Reader) error { _, err := r.Revision(); return err }, nil},
		{"Get, and an error", func(r storage.Reader) error { _, err := r.Get("key"); return err }, errFound},
	}
	update := func(ctx context.Context, i int) error {
		return db.Update(ctx, "p", func(tx storage.Tx) error { return errors.Join(cases[i].read(tx), cases[i].ends) })
	}
	for i, c := range cases {
		if err := update(short(t), i); !errors.Is(err, storage.ErrUnavailable) || errors.Is(err, errFound) {
			t.Errorf("%s: Update = %v, but what it found is on no replica", c.name, err)
		}
	}
	replica.Thaw()
	for i, c := range cases {
		if err := update(t.Context(), i); !errors.Is(err, c.ends) || errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("%s: Update = %v, want %v", c.name, err, c.ends)
		}
		if val, err := replica.Ask("HGET", keysOf("p").hash, ":key"); err != nil || val != "=two" {
			t.Errorf("%s: the replica has %q (%v), and the Update found =two", c.name, val, err)
		}
	}
	if revs, err := db.Revisions(t.Context(), "p"); err != nil || revs[0] != 2 {
		t.Errorf("revision %d, want 2: only two commits wrote (%v)", revs[0], err)
	}
}

// An Update that finds a partition that was never written leaves none behind.
func TestNothingIsMadeOfNothing(t *testing.T) {
	t.Parallel()
	primary, _, db := waiting(t)
	if err := db.Update(t.Context(), "p", func(tx storage.Tx) error { _, err := tx.Get("key"); return err }); err != nil {
		t.Error(err)
	}
	if there, err := primary.Ask("EXISTS", keysOf("p").hash, keysOf("p").list); err != nil || there != "0" {
		t.Errorf("%s keys of it are there (%v)", there, err)
	}
}

// A failover can lose the newest commits; then the same revision comes again, with other content.
func TestRevisionsThatComeAgain(t *testing.T) {
	t.Parallel()
	_, _, db := waiting(t)
	for _, c := range []struct {
		name  string
		write bool
		ends  error
	}{
		{"it writes", true, nil},
		{"it writes nothing", false, nil},
		{"it fails", false, errFound},
	} {
		for regrown := 1; regrown <= 2; regrown++ {
			t.Run(fmt.Sprint(c.name, ", ", regrown), func(t *testing.T) {
				p := t.Name()
				failover := lossy(t, db, p)
				runs := 0
				var found []byte
				err := db.Update(t.Context(), p, func(tx storage.Tx) (err error) {
					if found, err = tx.Get("key"); err != nil {
						return err
					}
					if runs++; runs == 1 {
						failover(regrown)
					}
					if c.write {
						tx.Set("found", found)
					}
					return c.ends
				})
				if err != c.ends { // not even wrapped
					t.Errorf("Update = %v, want %v", err, c.ends)
				}
				if want := fmt.Sprint("kept ", regrown); string(found) != want {
					t.Errorf("found %q, want %q: the other is lost", found, want)
				}
				if got := get(t, db, p, "found"); c.write && got != string(found) {
					t.Errorf("wrote %q, want %q", got, found)
				}
			})
		}
	}
	t.Run("View", func(t *testing.T) {
		for name, read := range map[string]func(storage.Reader) ([]byte, error){
			"Get": func(r storage.Reader) ([]byte, error) { return r.Get("other") },
			"List": func(r storage.Reader) ([]byte, error) {
				entries, err := r.List("other", "", 1)
				if err != nil {
					return nil, err
				}
				return entries[0].Value, nil
			},
		} {
			p := t.Name() + name
			failover := lossy(t, db, p)
			runs := 0
			var one, other []byte
			if err := db.View(t.Context(), p, func(r storage.Reader) (err error) {
				if one, err = r.Get("key"); err != nil {
					return err
				}
				if runs++; runs == 1 {
					failover(1)
				}
				other, err = read(r)
				return err
			}); err != nil {
				t.Error(err)
			}
			if string(one) != "kept 1" || string(other) != "kept 1" {
				t.Errorf("%s: the view saw %q and %q, want one revision", name, one, other)
			}
		}
	})
}

// lossy commits twice to a partition, and returns how a failover loses the second one and others commit in its place.
func lossy(t *testing.T, db *DB, p string) func(others int) {
	t.Helper()
	commit := func(val string) {
		t.Helper()
		if err := db.Update(t.Context(), p, func(tx storage.Tx) error {
			tx.Set("key", []byte(val))
			tx.Set("other", []byte(val))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	commit("first")
	redis := db.client
	for _, key := range []string{keysOf(p).hash, keysOf(p).list} {
		if err := redis.Copy(t.Context(), key, "before "+key, 0, false).Err(); err != nil {
			t.Fatal(err)
		}
	}
	commit("lost")
	return func(others int) {
		t.Helper()
		for _, key := range []string{keysOf(p).hash, keysOf(p).list} {
			if err := redis.Copy(t.Context(), "before "+key, key, 0, true).Err(); err != nil {
				t.Fatal(err)
			}
		}
		for i := range others {
			commit(fmt.Sprint("kept ", i+1))
		}
	}
}
