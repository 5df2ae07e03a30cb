package lead

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"plimsoll/declarations/plan"
	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
	"plimsoll/server/fleet/inventory"
	"plimsoll/server/fleet/outbox"
	"plimsoll/server/fleet/reconcile"
	"plimsoll/status"
	"plimsoll/storage"
	"plimsoll/storage/bolt"
	"plimsoll/storage/storagetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var testDay = time.Date(2026, 8, 19, 9, 0, 0, 0, time.UTC)

func bookOf(revision uint64) reconcile.Book {
	compiled, err := plan.Compile(policy.Input{Revision: revision, Catalog: release.Snapshot()})
	if err != nil {
		panic(err)
	}
	return reconcile.Book{Book: compiled}
}

// rig is a Leader on bolt whose clock stands still until it is set.
type rig struct {
	*Leader
	t         *testing.T
	db        *storagetest.FaultyDB
	store     *storage.Store
	index     *inventory.Index
	mu        sync.Mutex
	changed   []string // "kind id"
	published []string
	bad       map[string]bool // Macs that cannot be changed
	now       time.Time
	book      reconcile.Book
	took      chan struct{}
	results   []string
}

func newRig(t *testing.T) *rig {
	t.Helper()
	db, err := bolt.Open(filepath.Join(t.TempDir(), "p.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return rigOn(t, storagetest.Faulty(db), "one", true)
}

func rigOn(t *testing.T, db *storagetest.FaultyDB, owner string, alone bool) *rig {
	t.Helper()
	r := &rig{t: t, db: db, store: storage.New(db), index: inventory.New(), bad: map[string]bool{}, now: testDay, book: bookOf(1), took: make(chan struct{}, 9)}
	r.Leader = New(Options{
		Store: r.store, Owner: owner, Alone: alone, Index: r.index, Contacts: inventory.NewContacts(r.index),
		Book:   func() reconcile.Book { r.mu.Lock(); defer r.mu.Unlock(); return r.book },
		Memory: func(string) reconcile.Memory { return reconcile.Memory{CanPush: true} }, Waiting: func(id string) bool { return id == "WAITING" },
		Change: func(_ context.Context, id string, cause reconcile.Cause) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.changed = append(r.changed, fmt.Sprint(cause.Kind, " ", id))
			if r.bad[id] {
				return errors.New("damaged")
			}
			return nil
		},
		Publish: func(_ context.Context, id string, n int) error {
			r.published = append(r.published, fmt.Sprint(id, " from ", n))
			return nil
		},
		Today: func(now time.Time) ([]byte, error) { return []byte(`{"all":{}}`), nil },
		Gates: func(context.Context) error { return nil }, Announce: func(context.Context) error { return nil },
		Took: func() { r.took <- struct{}{} },
		Keep: Retention{Reports: 2, Events: 48 * time.Hour, History: 48 * time.Hour, Results: func(_ context.Context, id string, before time.Time) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.results = append(r.results, fmt.Sprint(id, " ", before.Format(time.DateOnly)))
			return nil
		}},
		Counters: &Counters{}, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return r.now },
	})
	return r
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// mac is an enrolled Mac as it stands after it was reconciled with the rig's book.
func (r *rig) mac(id string, change ...func(*storage.Record)) *storage.Record {
	r.t.Helper()
	st := reconcile.State{ID: id, Memory: reconcile.Memory{CanPush: false}}
	for _, cause := range []reconcile.Cause{
		reconcile.Authenticate(status.CheckIn{UDID: id, Serial: "S" + id, Model: "Mac14,2", Version: "26.5", Build: "25F71"}), reconcile.TokenUpdate("com.apple.mgmt.External.1"), reconcile.AsksItems(),
	} {
		o, err := reconcile.Step(st, cause, r.book, testDay)
		r.must(err)
		st.State = o.State
	}
	for _, c := range change {
		c(st.Record)
	}
	return st.Record
}

// sweep sweeps, and returns which Macs were looked at.
func (r *rig) sweep(all bool) (failed int, changed []string) {
	r.changed = nil
	failed = r.Sweep(context.Background(), all)
	slices.Sort(r.changed)
	return failed, r.changed
}

func next(at time.Time) func(*storage.Record) { return func(rec *storage.Record) { rec.NextAt = at } }

// A sweep looks at the Macs whose boundary has passed, and with all at those that the book means something else for.
func TestSweep(t *testing.T) {
	r := newRig(t)
	hour := testDay.Add(time.Hour)
	for _, rec := range []*storage.Record{
		r.mac("A"), r.mac("B", next(hour)),
		r.mac("OLD", func(rec *storage.Record) { rec.Advertised = "of another book" }),
		r.mac("GONE", next(hour), func(rec *storage.Record) { rec.Facts.Enrolled = false }),
	} {
		r.must(r.index.Take(rec))
	}
	want := func(what string, all bool, macs ...string) {
		t.Helper()
		if failed, got := r.sweep(all); failed != 0 || !slices.Equal(got, macs) {
			t.Errorf("%s: looked at %q, want %q; %d failed", what, got, macs, failed)
		}
	}
	want("nothing has passed", false)
	want("all", true, "looking B", "looking OLD") // the book knows no such boundary of B
	r.now = hour
	want("an hour later", false, "at a boundary B")
	r.bad["OLD"] = true
	if failed, _ := r.sweep(true); failed != 1 {
		t.Errorf("%d failed, want one", failed)
	}
	r.must(r.index.Take(r.mac("B", func(rec *storage.Record) { rec.LookedAt, rec.Revision = hour, 9 })))
	want("it is requeued, not yet due", false)
	r.now = hour.Add(requeueIn)
	r.bad["OLD"] = false
	want("it is due", false, "looking OLD")
	want("and done", false)
	if n := r.o.Counters.Sweeps.Load(); n != 2 || r.o.Counters.SweptMacs.Load() == 0 {
		t.Errorf("%d sweeps are counted", n)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if r.Sweep(ended, true) != 0 {
		t.Error("a sweep that ended failed")
	}
}

// A Mac that was reconciled with an older book, after the sweep with the newer one, is looked at again, by the replica that leads.
func TestRequeueIfOld(t *testing.T) {
	r := newRig(t)
	rec := r.mac("A")
	r.must(r.index.Take(rec))
	r.book = bookOf(2)
	r.RequeueIfOld(rec)
	if _, got := r.sweep(false); len(got) > 0 {
		t.Errorf("a replica that does not lead looks at %q", got)
	}
	r.leading.Store(true)
	r.RequeueIfOld(rec)
	if _, got := r.sweep(false); !slices.Equal(got, []string{"looking A"}) {
		t.Errorf("looked at %q", got)
	}
	rec.Book = 2
	r.RequeueIfOld(rec)
	if _, got := r.sweep(false); len(got) > 0 {
		t.Errorf("with the book in force, and looked at: %q", got)
	}
}

// Macs that cannot be reconciled are tried ever more rarely; too many of them are the whole fleet's matter.
func TestRequeue(t *testing.T) {
	q := newRequeue()
	now := testDay
	for n, want := range []time.Duration{requeueIn, 2 * requeueIn, 4 * requeueIn} {
		q.tried([]string{"A", "B"}, []string{"A"}, now)
		if got := q.due(now.Add(want - time.Second)); len(got) > 0 {
			t.Errorf("try %d: due too early: %v", n, got)
		}
		now = now.Add(want)
		if got := q.due(now); !slices.Equal(got, []string{"A"}) {
			t.Errorf("try %d: due %v", n, got)
		}
	}
	for range 20 {
		q.tried([]string{"A"}, []string{"A"}, now)
	}
	if got := q.due(now.Add(requeueMax)); len(got) != 1 {
		t.Errorf("it waits for more than %s", requeueMax)
	}
	q.tried([]string{"A"}, nil, now)
	q.tried([]string{"A"}, []string{"A"}, now)
	if got := q.due(now.Add(requeueIn)); len(got) != 1 {
		t.Error("after a success it waits as if it had not been one")
	}
	many := make([]string, maxRequeued+1)
	for i := range many {
		many[i] = fmt.Sprint(i)
	}
	q.tried(many, many, now)
	if got := q.due(now.Add(time.Hour)); len(got) > 0 {
		t.Errorf("%d Macs are requeued one by one", len(got))
	}
}

func (r *rig) keep(rec *storage.Record) {
	r.t.Helper()
	r.must(r.store.UpdateMac(r.t.Context(), rec.Facts.ID, func(m *storage.MacTx) error { _, err := m.SetRecord(rec); return err }))
}

func (r *rig) enter(id string, events int) {
	r.t.Helper()
	_, _, err := r.store.AddToIndex(r.t.Context(), storage.ShardOf(id), []storage.Changed{{ID: id, Events: events}}, nil)
	r.must(err)
}

// The repair brings the index what the store has, publishes what a replica that died had not, and drops what is gone.
func TestRepair(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	minutesAgo := func(rec *storage.Record) { rec.Events, rec.NotedAt = 5, testDay.Add(-2*aWhile) }
	r.keep(r.mac("MISSED", minutesAgo))
	r.enter("MISSED", 3)
	r.keep(r.mac("YOUNG", func(rec *storage.Record) { rec.Events, rec.NotedAt = 5, testDay }))
	r.enter("YOUNG", 3)
	r.keep(r.mac("FINE", func(rec *storage.Record) { rec.Events = 3 }))
	r.enter("FINE", 3)
	r.enter("DELETED", 1)
	r.must(r.index.Take(r.mac("DELETED")))
	r.must(r.index.Take(r.mac("UNKNOWN"))) // no shard has it, nor the store
	r.keep(r.mac("LATE"))                  // no shard has it yet
	r.must(r.index.Take(r.mac("LATE")))
	r.must(r.Reread(ctx))
	ids := r.index.IDs()
	slices.Sort(ids)
	if !slices.Equal(ids, []string{"FINE", "LATE", "MISSED", "YOUNG"}) || len(r.published) > 0 {
		t.Errorf("a replica that does not lead: %v, published %v", ids, r.published)
	}
	members := func() (n int) {
		for shard := range storage.Shards {
			sh, err := r.store.Members(ctx, shard)
			r.must(err)
			n += len(sh.IDs)
		}
		return n
	}
	if n := members(); n != 4 {
		t.Errorf("%d members", n)
	}
	r.leading.Store(true)
	r.must(r.Reread(ctx))
	if !slices.Equal(r.published, []string{"MISSED from 3"}) {
		t.Errorf("published %v", r.published)
	}
	r.Trim(ctx)
	if n := members(); n != 3 {
		t.Errorf("after the clean-up %d members", n)
	}
	slices.Sort(r.results)
	if !slices.Equal(r.results, []string{"FINE 2026-08-17", "LATE 2026-08-17", "MISSED 2026-08-17", "YOUNG 2026-08-17"}) {
		t.Errorf("command results: %v", r.results)
	}
	r.db.Set(storagetest.Fault{Down: true})
	if err := r.Reread(ctx); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("while the store is away: %v", err)
	}
	r.Trim(ctx)
	if len(r.index.IDs()) != 4 {
		t.Error("what could not be read was forgotten")
	}
}

// Retention deletes days and codes by their age, and says nothing of what it may keep.
func TestRetention(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	r.keepToday(ctx)
	r.must(r.store.SetDay(ctx, "2026-08-01", []byte("{}")))
	for name, ago := range map[string]int{"old": keepCodes + 1, "ended": 1} {
		code := storage.Code{Code: name, ExpiresAt: testDay.AddDate(0, 0, -ago)}
		r.must(r.store.UpdateAuth(ctx, func(tx *storage.AuthTx) error { return tx.PutCode(code) }))
	}
	r.Trim(ctx)
	var days []string
	r.must(r.store.Days(ctx, "", func(date string, _ []byte) { days = append(days, date) }))
	auth, err := r.store.Auth(ctx)
	r.must(err)
	if !slices.Equal(days, []string{"2026-08-19"}) || len(auth.Codes) != 1 || auth.Codes[0].Code != "ended" {
		t.Errorf("days %v, codes %+v", days, auth.Codes)
	}
	r.o.Keep = Retention{}
	if l := r.limits(); l.PatchingFrom != 0 || !l.EventsAfter.IsZero() || !l.HistoryAfter.IsZero() || l.MaxEvents != outbox.MaxEvents {
		t.Errorf("without retention: %+v", l)
	}
}

// Alone, a process leads at once, lets the gates look, sweeps when it is woken, and gives the lease back.
func TestRun(t *testing.T) {
	r := newRig(t)
	old := r.mac("OLD", func(rec *storage.Record) { rec.Advertised = "of another book" })
	r.must(r.index.Take(old))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	swept := make(chan string, 100)
	turned := make(chan bool, 100)
	r.o.Gates = func(context.Context) error { turned <- r.Leading(); return errors.New("the store is away") }
	r.o.Change = func(_ context.Context, id string, _ reconcile.Cause) error { swept <- id; return nil }
	go func() { defer close(ended); r.Run(ctx) }()
	<-r.took
	r.Wake()
	if id := <-swept; id != "OLD" || !r.Leading() {
		t.Errorf("swept %s, leading %v", id, r.Leading())
	}
	r.LookAtAll()
	<-swept
	if !<-turned {
		t.Error("the gates look without the lease")
	}
	cancel()
	<-ended
	if r.Leading() {
		t.Error("it leads after its end")
	}
	other := rigOn(t, r.db, "two", false)
	var c candidate
	if other.hold(t.Context(), &c); !c.held {
		t.Error("the lease was not given back")
	}
}

// One holds the lease; the other waits until it saw it unchanged for the whole time. A store that is away ends it shortly before others may take over.
func TestHold(t *testing.T) {
	one := newRig(t)
	one.o.Alone = false
	two := rigOn(t, one.db, "two", false)
	ctx := t.Context()
	var a, b candidate
	a.seenSince, b.seenSince = time.Now(), time.Now()
	if !one.hold(ctx, &a) || two.hold(ctx, &b) {
		t.Fatalf("held by one: %v, by two: %v", a.held, b.held)
	}
	if two.hold(ctx, &b) {
		t.Error("two took over although one lives")
	}
	one.db.Set(storagetest.Fault{Down: true})
	if !one.hold(ctx, &a) {
		t.Error("one failed renewal ended the lease")
	}
	a.renewed = time.Now().Add(-leaseTime)
	if one.hold(ctx, &a) {
		t.Error("the lease is held although it could not be renewed for its whole time")
	}
	one.db.Set(storagetest.Fault{})
	b.seenSince = time.Now().Add(-leaseTime)
	if !two.hold(ctx, &b) {
		t.Error("two saw it unchanged, and did not take over")
	}
}

// What fails under the lease is logged, and ends nothing: the next round tries again.
func TestFailuresEndNothing(t *testing.T) {
	r := newRig(t)
	r.o.Today = func(time.Time) ([]byte, error) { return nil, errors.New("cannot count") }
	r.keepToday(t.Context())
	r.db.Set(storagetest.Fault{Down: true})
	r.o.Today = func(time.Time) ([]byte, error) { return []byte("{}"), nil }
	r.keepToday(t.Context())
	r.db.Set(storagetest.Fault{})
	r.keepToday(t.Context())
	days := 0
	r.must(r.store.Days(t.Context(), "", func(string, []byte) { days++ }))
	if days != 1 {
		t.Errorf("%d days are kept", days)
	}
}
