package archive_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/google/go-cmp/cmp"

	"plimsoll/status"
	"plimsoll/status/compliance"
	"plimsoll/storage"
	"plimsoll/storage/archive"
	"plimsoll/storage/bolt"
	"plimsoll/storage/redis"
	"plimsoll/storage/storagetest"
)

var now = time.Date(2026, 11, 29, 9, 0, 0, 0, time.UTC)

func newBolt(t testing.TB) storage.DB {
	t.Helper()
	db, err := bolt.Open(filepath.Join(t.TempDir(), "plimsoll.db"))
	return opened(t, db, err)
}

func newRedis(t testing.TB) storage.DB {
	t.Helper()
	db, err := redis.Open(t.Context(), storagetest.RedisServer(t).URL())
	return opened(t, db, err)
}

func opened(t testing.TB, db storage.DB, err error) storage.DB {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func set(t testing.TB, db storage.DB, partition string, pairs ...string) {
	t.Helper()
	must(t, db.Update(context.Background(), partition, func(tx storage.Tx) error {
		for i := 0; i < len(pairs); i += 2 {
			tx.Set(pairs[i], []byte(pairs[i+1]))
		}
		return nil
	}))
}

// enrol makes a Mac with its certificate and some events, as a server leaves them.
func enrol(t testing.TB, db storage.DB, id string, events int) {
	t.Helper()
	hash := "hash-of-" + id
	must(t, db.Update(context.Background(), storage.CertPartition(hash), func(tx storage.Tx) error {
		tx.Set(storage.KeyCertOwner, []byte(id))
		tx.Delete(storage.KeyCertRevoked)
		return nil
	}))
	rec := storage.Record{Facts: status.Facts{ID: id, Serial: "S" + id, Enrolled: true, EnrolledAt: now}, Life: 1, Events: events, LookedAt: now}
	x, err := rec.Encode()
	must(t, err)
	pairs := []string{"x", string(x), storage.KeyCertificates, `{"hash":"` + hash + `"}`, "n/b", "\x00\xff bootstrap"}
	for i := range events {
		e, err := json.Marshal(compliance.Event{ID: fmt.Sprintf("%04d-%s", i, id), Device: id, At: now.Add(time.Duration(i) * time.Minute)})
		must(t, err)
		pairs = append(pairs, fmt.Sprintf("e/%04d-%s", i, id), string(e))
	}
	set(t, db, storage.MacPartition(id), pairs...)
}

// fill makes a store of everything that there is.
func fill(t testing.TB, db storage.DB, macs int) {
	t.Helper()
	for i := range macs {
		enrol(t, db, fmt.Sprintf("MAC-%03d", i), i%30)
	}
	for i := range 5 {
		set(t, db, storage.BookPartition, "policy/everyone", fmt.Sprintf(`{"n":%d}`, i))
	}
	set(t, db, storage.AuthPartition, "token/ci", `{"name":"ci"}`)
	set(t, db, storage.SecretsPartition, "device-ca", "PEM", "link", "key")
	set(t, db, storage.HistoryPartition, "day/2026-11-28", "{}")
	set(t, db, "push", "cert/topic", "{}")
	set(t, db, storage.StartsPartition, "n", "7")
	set(t, db, storage.LeasePartition("leader"), "lease", "{}")
	set(t, db, storage.ShardPartition(3), "n", "99")
	must(t, db.Update(t.Context(), "big", func(tx storage.Tx) error {
		for i := range 300 { // several pages, several parts
			tx.Set(fmt.Sprintf("%03d", i), bytes.Repeat([]byte{byte(i)}, 30_000))
		}
		return nil
	}))
	set(t, db, "gone", "key", "value")
	must(t, db.Drop(t.Context(), "gone"))
}

// content is everything in the database that a backup holds, with the revisions.
func content(t testing.TB, db storage.DB) map[string]string {
	t.Helper()
	got := map[string]string{}
	must(t, db.Partitions(context.Background(), func(names []string) error {
		for _, name := range names {
			if strings.HasPrefix(name, "shard/") || strings.HasPrefix(name, "lease/") || name == storage.StartsPartition || name == storage.FormatPartition {
				continue
			}
			must(t, db.View(context.Background(), name, func(r storage.Reader) error {
				rev, err := r.Revision()
				got[name] = fmt.Sprint(rev)
				for after := ""; err == nil; {
					var entries []storage.Entry
					entries, err = r.List("", after, 1000)
					for _, e := range entries {
						got[name+" "+e.Key], after = string(e.Value), e.Key
					}
					if len(entries) < 1000 {
						break
					}
				}
				return err
			}))
		}
		return nil
	}))
	return got
}

func backup(t testing.TB, db storage.DB, o archive.Options) ([]byte, archive.Summary) {
	t.Helper()
	var b bytes.Buffer
	o.Now, o.Version = now, "test"
	s, err := archive.Write(context.Background(), &b, db, o)
	must(t, err)
	return b.Bytes(), s
}

func reopen(b []byte) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }
}

func restore(t testing.TB, b []byte, db storage.DB, o archive.RestoreOptions) error {
	t.Helper()
	o.Now = now
	_, err := archive.Restore(context.Background(), reopen(b), db, o)
	return err
}

// What is restored is what was backed up, with its revisions, in either database.
func TestThereAndBack(t *testing.T) {
	source := newBolt(t)
	fill(t, source, 100)
	want := content(t, source)
	file, s := backup(t, source, archive.Options{})
	if s.Macs != 100 || s.Partitions != 100+100+7 || s.Version != "test" || !s.CreatedAt.Equal(now) {
		t.Errorf("summary %+v", s)
	}
	checked, err := archive.Check(bytes.NewReader(file), nil)
	if diff := cmp.Diff(s, checked); diff != "" || err != nil {
		t.Errorf("%v; checked otherwise than written:\n%s", err, diff)
	}
	middle := newRedis(t)
	must(t, restore(t, file, middle, archive.RestoreOptions{}))
	if diff := cmp.Diff(want, content(t, middle)); diff != "" {
		t.Fatalf("in Redis (-want +got):\n%s", diff)
	}
	again, _ := backup(t, middle, archive.Options{})
	last := newBolt(t)
	must(t, restore(t, again, last, archive.RestoreOptions{}))
	if diff := cmp.Diff(want, content(t, last)); diff != "" {
		t.Fatalf("back in bolt (-want +got):\n%s", diff)
	}
	a, err := storage.New(middle).FormatRecord(t.Context())
	must(t, err)
	b, err := storage.New(last).FormatRecord(t.Context())
	must(t, err)
	if a.ID == "" || a.ID == b.ID || a.Restoring != nil || !a.RestoredAt.Equal(now) {
		t.Errorf("format records %+v and %+v: each store has an id of its own, and no mark", a, b)
	}
}

// announce keeps events that concern no Mac with a change of the book.
func announce(t *testing.T, db storage.DB, ids ...string) {
	t.Helper()
	must(t, storage.New(db).UpdateBook(t.Context(), func(tx *storage.BookTx) error {
		var events []compliance.Event
		for _, id := range ids {
			events = append(events, compliance.Event{ID: id, At: now.Add(time.Hour), Type: compliance.EventRingOpened})
		}
		return tx.AddEvents(events, "")
	}))
}

func publish(t *testing.T, db storage.DB) {
	t.Helper()
	_, _, _, err := storage.New(db).PublishFleetEvents(t.Context())
	must(t, err)
}

// The shards are made anew: every Mac, and every event once, in the order of time within a shard.
func TestIndexIsRebuilt(t *testing.T) {
	source := newBolt(t)
	fill(t, source, 200)
	announce(t, source, "one", "two", "three")
	publish(t, source)
	announce(t, source, "four") // which the timeline lacks yet
	file, _ := backup(t, source, archive.Options{})
	for name, db := range map[string]storage.DB{"bolt": newBolt(t), "redis": newRedis(t)} {
		t.Run(name, func(t *testing.T) {
			must(t, restore(t, file, db, archive.RestoreOptions{}))
			store := storage.New(db)
			if own, err := store.FleetEvents(t.Context(), storage.FleetShard, 0, 100_000); err != nil || !slices.ContainsFunc(own, func(e storage.NumberedEvent) bool { return e.Event.ID == "three" }) {
				t.Errorf("the fleet's own events are not in their shard: %v", err)
			}
			publish(t, db)
			publish(t, db)
			seen, events := map[string]int{}, map[string]int{}
			for n := range storage.Shards {
				sh, err := store.Members(t.Context(), n)
				must(t, err)
				for i, id := range sh.IDs {
					seen[id] = sh.Members[i].Events
				}
				changes, err := store.Changes(t.Context(), n, 0)
				must(t, err)
				if len(changes.IDs) != len(sh.IDs) {
					t.Errorf("shard %d: %d changes of %d Macs", n, len(changes.IDs), len(sh.IDs))
				}
				var last time.Time
				got, err := store.FleetEvents(t.Context(), n, 0, 100_000)
				must(t, err)
				for _, e := range got {
					if e.Event.At.Before(last) {
						t.Errorf("shard %d: %s comes after a later one", n, e.Event.ID)
					}
					last = e.Event.At
					events[e.Event.ID]++
				}
			}
			want := 4
			for i := range 200 {
				id := fmt.Sprintf("MAC-%03d", i)
				if n, ok := seen[id]; !ok || n != i%30 {
					t.Errorf("%s is there: %t, with %d events, want %d", id, ok, n, i%30)
				}
				want += i % 30
			}
			if len(seen) != 200 || len(events) != want {
				t.Errorf("%d Macs and %d events, want 200 and %d", len(seen), len(events), want)
			}
			for id, n := range events {
				if n != 1 {
					t.Errorf("event %s is there %d times", id, n)
				}
			}
		})
	}
}

func TestWithoutTokens(t *testing.T) {
	source := newBolt(t)
	fill(t, source, 2)
	file, _ := backup(t, source, archive.Options{})
	db := newBolt(t)
	must(t, restore(t, file, db, archive.RestoreOptions{WithoutTokens: true}))
	want := content(t, source)
	maps.DeleteFunc(want, func(key, _ string) bool { return strings.HasPrefix(key, storage.AuthPartition) })
	if diff := cmp.Diff(want, content(t, db)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestOnlyIntoAnEmptyStore(t *testing.T) {
	source := newBolt(t)
	fill(t, source, 2)
	file, _ := backup(t, source, archive.Options{})
	for name, open := range map[string]func(testing.TB) storage.DB{"bolt": newBolt, "redis": newRedis} {
		t.Run(name, func(t *testing.T) {
			db := open(t)
			set(t, db, "book", "policy/other", "{}")
			before := content(t, db)
			err := restore(t, file, db, archive.RestoreOptions{})
			if !errors.Is(err, storage.ErrConflict) || !strings.Contains(err.Error(), "the store is not empty") {
				t.Errorf("into a store in use: %v", err)
			}
			if diff := cmp.Diff(before, content(t, db)); diff != "" {
				t.Errorf("something was written:\n%s", diff)
			}
			db = open(t)
			must(t, restore(t, file, db, archive.RestoreOptions{}))
			if err := restore(t, file, db, archive.RestoreOptions{}); !errors.Is(err, storage.ErrConflict) {
				t.Errorf("after a restore: %v", err)
			}
		})
	}
}

// A restore that is killed at any write can be run again; until it is through, the store is marked, and takes no other backup.
func TestKilledAtAnyWrite(t *testing.T) {
	source := newBolt(t)
	for i := range 3 {
		enrol(t, source, fmt.Sprint("MAC-", i), 2)
	}
	set(t, source, storage.BookPartition, "policy/everyone", "{}")
	file, _ := backup(t, source, archive.Options{})
	set(t, source, "push", "more", "{}")
	other, _ := backup(t, source, archive.Options{})
	whole := storagetest.Dying(newBolt(t), 1<<30, false)
	must(t, restore(t, file, whole, archive.RestoreOptions{}))
	want, writes := content(t, whole), whole.Writes()
	if writes < 64 {
		t.Fatalf("only %d writes", writes)
	}
	// One store for several deaths: each goes on where the one before it ended, and the last one is through.
	for n := 1; n <= writes; n += 1 + n/12 {
		for _, does := range []bool{false, true} {
			db := newBolt(t)
			err := restore(t, file, storagetest.Dying(db, n, does), archive.RestoreOptions{})
			if !errors.Is(err, storage.ErrUnavailable) {
				t.Fatalf("killed at write %d: %v", n, err)
			}
			rec, err := storage.New(db).FormatRecord(t.Context())
			must(t, err)
			through := n == writes && does
			switch {
			case n == 1 && !does: // nothing was written
			case through != (rec != nil && rec.Restoring == nil):
				t.Fatalf("killed at write %d: the store is marked as %+v", n, rec)
			case !through:
				if err := restore(t, other, db, archive.RestoreOptions{}); !errors.Is(err, storage.ErrConflict) || !strings.Contains(err.Error(), "broken off") {
					t.Fatalf("another backup: %v", err)
				}
				if _, err := archive.Write(t.Context(), io.Discard, db, archive.Options{}); !errors.Is(err, storage.ErrConflict) {
					t.Fatalf("a backup of half a store: %v", err)
				}
			}
			if !through {
				must(t, restore(t, file, db, archive.RestoreOptions{}))
			}
			if diff := cmp.Diff(want, content(t, db)); diff != "" {
				t.Fatalf("killed at write %d, and run again (-want +got):\n%s", n, diff)
			}
			if n := members(t, db); n != 3 {
				t.Fatalf("%d Macs in the shards, want 3", n)
			}
		}
	}
}

func members(t *testing.T, db storage.DB) (n int) {
	for shard := range storage.Shards {
		sh, err := storage.New(db).Members(t.Context(), shard)
		must(t, err)
		n += len(sh.IDs)
	}
	return n
}

func TestEncrypted(t *testing.T) {
	source := newBolt(t)
	fill(t, source, 3)
	id, err := age.GenerateX25519Identity()
	must(t, err)
	second, err := age.GenerateX25519Identity()
	must(t, err)
	stranger, err := age.GenerateX25519Identity()
	must(t, err)
	file, _ := backup(t, source, archive.Options{Recipients: []age.Recipient{id.Recipient(), second.Recipient()}})
	for name, c := range map[string]struct {
		ids  []age.Identity
		file []byte
		want string
	}{
		"no identity":   {nil, file, "the backup is encrypted"},
		"another's":     {[]age.Identity{stranger}, file, "cannot be decrypted"},
		"changed":       {[]age.Identity{id}, changed(file, len(file)-200), "damaged"},
		"cut off":       {[]age.Identity{id}, file[:len(file)-1000], "damaged"},
		"endless lines": {[]age.Identity{id}, append([]byte("age-encryption.org/v1\n-> X25519 "), bytes.Repeat([]byte("a"), 1<<20)...), "has no end"},
	} {
		t.Run(name, func(t *testing.T) {
			db := newBolt(t)
			err := restore(t, c.file, db, archive.RestoreOptions{Identities: c.ids})
			if !errors.Is(err, storage.ErrInvalid) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if got := content(t, db); len(got) > 0 {
				t.Errorf("%d values were written", len(got))
			}
		})
	}
	for _, ids := range [][]age.Identity{{id}, {stranger, second}} {
		db := newBolt(t)
		must(t, restore(t, file, db, archive.RestoreOptions{Identities: ids}))
		if diff := cmp.Diff(content(t, source), content(t, db)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

func changed(b []byte, at int) []byte {
	b = slices.Clone(b)
	b[at] ^= 1
	return b
}

// While Macs enrol, change and are deleted, each is in the backup whole or not at all, with its certificate, and none was planned with a newer
// book than the backup's.
func TestWhileMacsChange(t *testing.T) {
	for name, open := range map[string]func(testing.TB) storage.DB{"bolt": newBolt, "redis": newRedis} {
		t.Run(name, func(t *testing.T) {
			db := open(t)
			const all = 60
			for i := range all {
				enrol(t, db, fmt.Sprint("OLD-", i), 1)
			}
			set(t, db, storage.BookPartition, "n", "0")
			stop := make(chan struct{})
			var wg sync.WaitGroup
			loop := func(fn func(i int)) {
				wg.Go(func() {
					for i := 0; ; i++ {
						select {
						case <-stop:
							return
						default:
							fn(i)
						}
					}
				})
			}
			loop(func(i int) { // the certificate is revoked first, as when a server deletes a Mac
				id := fmt.Sprint("OLD-", i%all)
				ctx := context.Background()
				if err := db.Update(ctx, storage.CertPartition("hash-of-"+id), func(tx storage.Tx) error {
					tx.Set(storage.KeyCertRevoked, []byte("now"))
					return nil
				}); err != nil {
					t.Error(err)
				}
				if err := db.Update(ctx, storage.MacPartition(id), func(tx storage.Tx) error { tx.Delete(storage.KeyCertificates); return nil }); err != nil {
					t.Error(err)
				}
				if err := db.Drop(ctx, storage.MacPartition(id)); err != nil {
					t.Error(err)
				}
				enrol(t, db, id, 1)
			})
			loop(func(i int) { enrol(t, db, fmt.Sprint("NEW-", i%100), 2) })
			loop(func(i int) {
				set(t, db, storage.BookPartition, "n", fmt.Sprint(i))
				rev, err := db.Revisions(context.Background(), storage.BookPartition)
				if err != nil {
					t.Error(err)
					return
				}
				n := fmt.Sprint(rev[0]) // two keys of a Mac, always written together
				set(t, db, storage.MacPartition(fmt.Sprint("PLAN-", i%20)), "x", n, "m", n)
			})
			for range 2 {
				file, _ := backup(t, db, archive.Options{})
				copied := newBolt(t)
				must(t, restore(t, file, copied, archive.RestoreOptions{}))
				got := content(t, copied)
				for key, val := range got {
					mac, isRecord := strings.CutSuffix(key, " x")
					if !isRecord {
						continue
					}
					if plan, ok := strings.CutPrefix(mac, "mac/PLAN-"); ok {
						var planned, book int
						_, _ = fmt.Sscan(val, &planned)
						_, _ = fmt.Sscan(got[storage.BookPartition], &book)
						if got[mac+" m"] != val || planned > book {
							t.Errorf("%s: planned with %s and %s, the book is %d", plan, val, got[mac+" m"], book)
						}
						continue
					}
					id := mac[len("mac/"):]
					if cert := "cert/hash-of-" + id + " id"; got[cert] != id || got["cert/hash-of-"+id+" revoked"] != "" || got[mac+" "+storage.KeyCertificates] == "" {
						t.Errorf("%s is there without its certificate (%q, %q)", id, got[cert], got[mac+" "+storage.KeyCertificates])
					}
				}
			}
			close(stop)
			wg.Wait()
		})
	}
}
