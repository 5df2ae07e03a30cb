package audit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"plimsoll/declarations/policy"
	"plimsoll/server/fleet/answer"
	"plimsoll/storage"
	"plimsoll/storage/bolt"
	"plimsoll/storage/redis"
	"plimsoll/storage/storagetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var testDay = time.Date(2026, 8, 19, 9, 0, 0, 0, time.UTC)

func openBolt(t *testing.T) storage.DB {
	t.Helper()
	db, err := bolt.Open(filepath.Join(t.TempDir(), "p.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func openRedis(t *testing.T) storage.DB {
	t.Helper()
	db, err := redis.Open(t.Context(), storagetest.RedisServer(t).URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// mortal is the database as a replica sees it that is killed after some calls: the last one is done or not, and its answer lost.
type mortal struct {
	storage.DB
	mu    sync.Mutex
	calls int // until it dies; negative: it does not
	done  bool
}

var errKilled = fmt.Errorf("killed: %w", storage.ErrUnavailable)

func (m *mortal) call(do func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.calls < 0:
	case m.calls == 0:
		return errKilled
	default:
		if m.calls--; m.calls == 0 {
			if m.done {
				_ = do()
			}
			return errKilled
		}
	}
	return do()
}

func (m *mortal) View(ctx context.Context, p string, fn func(storage.Reader) error) error {
	return m.call(func() error { return m.DB.View(ctx, p, fn) })
}

func (m *mortal) Update(ctx context.Context, p string, fn func(storage.Tx) error) error {
	return m.call(func() error { return m.DB.Update(ctx, p, fn) })
}

func chainOn(db storage.DB) *Chain {
	return New(Options{Store: storage.New(db), Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return testDay }})
}

var ada = answer.Origin{Actor: "token:ada", Via: answer.ViaAPI, Address: "192.0.2.1", RequestID: "r1"}

// putGroup is a change of the book with its entry, as a use case makes it.
func putGroup(ctx context.Context, c *Chain, name string) error {
	noting := c.Begin(ctx, storage.BookPartition)
	g := policy.Group{Name: name, Devices: []string{"C02" + name}}
	err := c.o.Store.UpdateBook(ctx, func(tx *storage.BookTx) error {
		notes, err := noting.Notes(ada, Act{Action: "group.put", Object: "group/" + name, After: g})
		if err != nil {
			return err
		}
		tx.Note(notes)
		return tx.PutGroup(g)
	})
	if err == nil {
		noting.Chained(ctx)
	}
	return err
}

// hashOf is the hash of an entry by RFC 8785 for what entries hold: sorted keys, no spaces, ASCII.
func hashOf(t fataler, e any) string {
	raw, err := json.Marshal(e)
	if err != nil {
		t.Fatalf("%v", err)
	}
	var members map[string]any
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := dec.Decode(&members); err != nil {
		t.Fatalf("%v", err)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(members); err != nil {
		t.Fatalf("%v", err)
	}
	sum := sha256.Sum256(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
	return hex.EncodeToString(sum[:])
}

type fataler interface{ Fatalf(string, ...any) }

// whole checks the chain from its first entry to its head, and returns its entries, the oldest first.
func whole(t fataler, c *Chain) []Entry {
	ctx := context.Background()
	head, err := c.Head(ctx)
	if err != nil {
		t.Fatalf("%v", err)
	}
	entries, err := c.After(ctx, 0, 100_000)
	if err != nil {
		t.Fatalf("%v", err)
	}
	n, previous := head.First.N, head.First.Previous
	for i := range entries {
		if entries[i].N != n || entries[i].Previous != previous {
			t.Fatalf("entry %d is number %d after %s, want %d after %s", i, entries[i].N, entries[i].Previous, n, previous)
		}
		n, previous = n+1, hashOf(t, entries[i])
	}
	if head.N != n-1 || head.Hash != previous {
		t.Fatalf("the head is %d %s, want %d %s", head.N, head.Hash, n-1, previous)
	}
	return entries
}

// Whatever is done on whichever replica, and whenever one is killed: the chain is whole, every change of the book has one entry and
// every such entry its change, and of acts on single Macs at most one entry per kill has no act.
func TestKilledAtAnyMoment(t *testing.T) {
	for name, open := range map[string]func(*testing.T) storage.DB{"bolt": openBolt, "redis": openRedis} {
		t.Run(name, func(t *testing.T) {
			db := open(t)
			run := 0
			rapid.Check(t, func(t *rapid.T) {
				run++
				ctx := context.Background()
				replicas := make([]*mortal, 3)
				chains := make([]*Chain, 3)
				revive := func(i int) {
					replicas[i] = &mortal{DB: db, calls: -1}
					chains[i] = chainOn(replicas[i])
				}
				for i := range replicas {
					revive(i)
				}
				done := map[string]bool{} // acts on Macs that were done
				kills := 0
				for step := range rapid.IntRange(1, 12).Draw(t, "steps") {
					i := rapid.IntRange(0, 2).Draw(t, "replica")
					if replicas[i].calls = rapid.IntRange(-4, 6).Draw(t, "calls left"); replicas[i].calls < 0 {
						replicas[i].calls = -1
					}
					replicas[i].done = rapid.Bool().Draw(t, "the last is done")
					what := fmt.Sprintf("%d-%d", run, step)
					if rapid.Bool().Draw(t, "on a Mac") {
						_ = chains[i].Do(ctx, ada, func() error { done[what] = true; return nil }, Act{Action: "device.sync", Object: "device/" + what})
					} else {
						_ = putGroup(ctx, chains[i], what)
					}
					if replicas[i].calls >= 0 {
						kills++
						revive(i)
					}
				}
				leader := chainOn(db)
				for range 2 { // the second time finds nothing
					if err := leader.Collect(ctx); err != nil {
						t.Fatalf("%v", err)
					}
				}
				book, err := leader.o.Store.Book(ctx)
				if err != nil {
					t.Fatalf("%v", err)
				}
				groups, idle := map[string]int{}, 0
				for _, e := range whole(t, leader) {
					if name, is := strings.CutPrefix(e.Object, "group/"); is {
						groups[name]++
					} else if name := strings.TrimPrefix(e.Object, "device/"); strings.HasPrefix(name, fmt.Sprint(run, "-")) && !done[name] {
						idle++
					} else {
						delete(done, name)
					}
				}
				if len(done) > 0 || idle > kills {
					t.Fatalf("acts without entry: %v; %d entries without act after %d kills", done, idle, kills)
				}
				for _, g := range book.Groups {
					if groups[g.Name] != 1 {
						t.Fatalf("the group %s has %d entries", g.Name, groups[g.Name])
					}
					delete(groups, g.Name)
				}
				if len(groups) > 0 {
					t.Fatalf("entries without change: %v", groups)
				}
			})
		})
	}
}

// Many at once on several replicas make one chain, and leave the book alone.
func TestManyAtOnce(t *testing.T) {
	for name, open := range map[string]func(*testing.T) storage.DB{"bolt": openBolt, "redis": openRedis} {
		t.Run(name, func(t *testing.T) {
			db := open(t)
			ctx := t.Context()
			chains := []*Chain{chainOn(db), chainOn(db), chainOn(db)}
			before, err := db.Revisions(ctx, storage.BookPartition, storage.AuthPartition)
			if err != nil {
				t.Fatal(err)
			}
			var all sync.WaitGroup
			for i := range 300 {
				all.Go(func() {
					if err := chains[i%3].Enter(ctx, ada, Act{Action: "device.sync", Object: fmt.Sprintf("device/%d", i)}); err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
			objects := map[string]bool{}
			for _, e := range whole(t, chains[0]) {
				objects[e.Object] = true
			}
			after, err := db.Revisions(ctx, storage.BookPartition, storage.AuthPartition)
			if err != nil || len(objects) != 300 || !slices.Equal(before, after) {
				t.Errorf("%d entries, revisions %v then %v, %v", len(objects), before, after, err)
			}
		})
	}
}

// An act that fails has a second entry that names the first; one whose entry cannot be written is not done.
func TestDo(t *testing.T) {
	db := storagetest.Faulty(openBolt(t))
	c := chainOn(db)
	ctx := t.Context()
	away := errors.New("the Mac is away")
	act := Act{Action: "device.delete", Object: "device/MAC-1", Before: map[string]any{"serial": "C02A"}}
	if err := c.Do(ctx, ada, func() error { return away }, act); !errors.Is(err, away) {
		t.Errorf("the error is %v", err)
	}
	entries := whole(t, c)
	if len(entries) != 2 || entries[1].Failed != entries[0].N || entries[0].Failed != 0 || entries[1].Action != act.Action || len(entries[1].Changes) != 0 {
		t.Errorf("the entries are %+v", entries)
	}
	db.Set(storagetest.Fault{Down: true})
	if err := c.Do(ctx, ada, func() error { t.Error("it was done without entry"); return nil }, act); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("while the store is away: %v", err)
	}
}

// A note is deleted with a later change, once it has stood in the chain for long; until then a backup finds it beside its change.
func TestNotesGo(t *testing.T) {
	db := openBolt(t)
	ctx := t.Context()
	c := chainOn(db)
	for _, name := range []string{"a", "b"} {
		if err := putGroup(ctx, c, name); err != nil {
			t.Fatal(err)
		}
	}
	notes := func() int {
		n, err := c.o.Store.Notes(ctx, storage.BookPartition)
		if err != nil {
			t.Fatal(err)
		}
		return len(n)
	}
	if n := notes(); n != 2 {
		t.Fatalf("%d notes", n)
	}
	const old = "00000000-0000-7000-8000-000000000000" // of 1970
	if err := db.Update(ctx, storage.BookPartition, func(tx storage.Tx) error {
		tx.Set("audit/"+old, []byte(`{"at":"2026-08-18T09:00:00Z","action":"group.put","object":"group/old","changes":[]}`))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	other := chainOn(db) // a note that no chain has stays
	if err := putGroup(ctx, other, "c"); err != nil || notes() != 4 {
		t.Fatalf("%d notes, %v", notes(), err)
	}
	if err := c.Collect(ctx); err != nil {
		t.Fatal(err)
	}
	other = chainOn(db)
	if err := putGroup(ctx, other, "d"); err != nil || notes() != 4 {
		t.Fatalf("%d notes, %v", notes(), err)
	}
	if err := c.Trim(ctx, time.Time{}); err != nil {
		t.Fatal(err)
	}
	chained, err := c.o.Store.ChainedNotes(ctx)
	if err != nil || len(chained) != 4 || slices.Contains(chained, old) {
		t.Errorf("chained: %v, %v", chained, err)
	}
	if entries := whole(t, c); len(entries) != 5 || entries[3].Object != "group/old" {
		t.Errorf("the entries are %+v", entries)
	}
}

// What is trimmed moves the beginning of the chain, which stays whole; the last entry stays.
func TestTrim(t *testing.T) {
	c := chainOn(openBolt(t))
	ctx := t.Context()
	now := testDay
	c.o.Now = func() time.Time { return now }
	for i := range 1200 {
		now = testDay.AddDate(0, 0, i)
		if err := c.Enter(ctx, ada, Act{Action: "device.sync", Object: fmt.Sprintf("device/%d", i%2)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Trim(ctx, testDay.AddDate(0, 0, 1100)); err != nil {
		t.Fatal(err)
	}
	entries := whole(t, c)
	if len(entries) != 100 || entries[0].N != 1101 {
		t.Errorf("%d entries from number %d on", len(entries), entries[0].N)
	}
	page, err := c.List(ctx, Query{Object: "device/1", Limit: 1000})
	if err != nil || len(page.Items) != 50 || page.Next != "" {
		t.Errorf("of one object: %d entries, %v", len(page.Items), err)
	}
	if err := c.Trim(ctx, testDay.AddDate(9, 0, 0)); err != nil || len(whole(t, c)) != 1 {
		t.Errorf("the last one went: %v", err)
	}
}
