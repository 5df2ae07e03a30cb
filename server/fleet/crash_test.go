package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"plimsoll/status"
	"plimsoll/storage"
	"plimsoll/storage/redis"
	"plimsoll/storage/storagetest"
)

// faulty opens the fleet again on a database that can fail.
func (w *world) faulty() *storagetest.FaultyDB {
	w.t.Helper()
	db := storagetest.Faulty(w.db)
	var err error
	w.Fleet, err = New(Options{Store: storage.New(db), Notifier: w.notifier, Log: slog.New(slog.DiscardHandler), URL: "https://mdm.example.com", Now: w.now, Alone: true})
	w.must(err)
	w.must(w.Start(context.Background()))
	return db
}

// timelines are the types of the events of the fleet and of one Mac, oldest first.
func (w *world) timelines(id string) (fleet, mac []string) {
	w.t.Helper()
	all, err := w.Events(context.Background(), "", 1000)
	w.must(err)
	for _, e := range all.Items {
		if e.Device == id {
			fleet = append(fleet, e.Type)
		}
	}
	own, err := w.DeviceEvents(context.Background(), id, 1000, "")
	w.must(err)
	for _, e := range slices.Backward(own.Items) {
		mac = append(mac, e.Type)
	}
	return fleet, mac
}

const update266 = `{"StatusItems":{"device":{"operating-system":{"version":"26.6","build-version":"25G72"}}},"Errors":[]}`

// A change that was committed although the store could not say so is no secret: lists, pushes and the timeline know of it, and the Mac's
// repetition of its message finds everything done.
func TestLostAnswers(t *testing.T) {
	ctx := context.Background()
	for name, tt := range map[string]struct {
		before func(*world)
		send   func(*world) error
		check  func(*world, *storage.Record) bool
	}{
		"TokenUpdate": {
			func(w *world) {
				w.must(w.Authenticate(ctx, "MAC-1", status.CheckIn{UDID: "MAC-1", Serial: "S1", Model: "Mac14,2", Version: "26.5", Build: "25F71"}))
			},
			func(w *world) error { return w.TokenUpdate(ctx, "MAC-1", "com.apple.mgmt.External.1") },
			func(w *world, rec *storage.Record) bool { return rec.Facts.Enrolled && w.pushes.Waiting("MAC-1") },
		},
		"status": {
			func(w *world) { w.enrol("MAC-1", "S1", "26.5", "25F71") },
			func(w *world) error { return w.Ingest(ctx, "MAC-1", []byte(update266)) },
			func(_ *world, rec *storage.Record) bool { return rec.Facts.Version == "26.6" },
		},
	} {
		for _, repeated := range []bool{true, false} {
			t.Run(fmt.Sprint(name, ", repeated ", repeated), func(t *testing.T) {
				w := newWorld(t)
				w.notifier.push = func([]string) (map[string]error, error) { return nil, nil }
				db := w.faulty()
				tt.before(w)
				w.outbox.Flush(ctx)
				db.Set(storagetest.Fault{LoseAnswer: true, Times: 1, Partition: storage.MacPartition("MAC-1")})
				w.Contact("MAC-1")
				if err := tt.send(w); !errors.Is(err, ErrUnavailable) {
					t.Fatalf("the answer was not lost: %v", err)
				}
				if repeated {
					w.must(tt.send(w))
				}
				w.outbox.Flush(ctx)
				w.outbox.Flush(ctx) // what looking again brought
				if rec := w.index.Get("MAC-1"); !tt.check(w, rec) {
					t.Errorf("the index has %+v", rec)
				}
				if fleet, mac := w.timelines("MAC-1"); !slices.Equal(fleet, mac) {
					t.Errorf("the fleet's timeline has %q, the Mac's %q", fleet, mac)
				}
			})
		}
	}
}

// A Mac that hangs up has been heard all the same.
func TestHungUp(t *testing.T) {
	w := newWorld(t)
	w.enrol("MAC-1", "S1", "26.5", "25F71")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := w.Ingest(ctx, "MAC-1", []byte(update266)); err != nil || w.index.Get("MAC-1").Facts.Version != "26.6" {
		t.Errorf("the report was not kept: %v", err)
	}
}

// What a process that was killed had not brought into the fleet's timeline yet is there after the next start, or when the leader repairs.
func TestKilledBeforeTheShards(t *testing.T) {
	w := newWorld(t)
	w.enrol("MAC-1", "S1", "26.5", "25F71")
	w.reopen()
	w.outbox.Flush(context.Background())
	fleet, mac := w.timelines("MAC-1")
	if len(mac) == 0 || !slices.Equal(fleet, mac) {
		t.Errorf("after the next start the fleet's timeline has %q, the Mac's %q", fleet, mac)
	}
	w.reopen()
	w.Trim(context.Background())
	w.outbox.Flush(context.Background())
	if again, _ := w.timelines("MAC-1"); !slices.Equal(again, fleet) {
		t.Errorf("nothing was missing, and the timeline became %q", again)
	}
	w.must(w.Ingest(context.Background(), "MAC-1", []byte(update266)))
	w.outbox = w.newOutbox() // a replica dies with what the old one held
	w.pass(2 * time.Minute)
	w.Trim(context.Background())
	w.outbox.Flush(context.Background())
	if fleet, mac := w.timelines("MAC-1"); !slices.Equal(fleet, mac) {
		t.Errorf("after the repair the fleet's timeline has %q, the Mac's %q", fleet, mac)
	}
}

// Nothing that is known is lost by a stop, however many times of contact are to be written.
func TestStopWritesEventsFirst(t *testing.T) {
	w := newWorld(t)
	w.enrol("MAC-1", "S1", "26.5", "25F71")
	db := w.faulty()
	w.must(w.Ingest(context.Background(), "MAC-1", []byte(update266)))
	w.Contact("MAC-1")
	db.Set(storagetest.Fault{Down: true, Partition: storage.MacPartition("MAC-1")}) // so that the contact cannot be written
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = w.Run(ctx)
	db.Set(storagetest.Fault{})
	if fleet, mac := w.timelines("MAC-1"); !slices.Equal(fleet, mac) {
		t.Errorf("the fleet's timeline has %q, the Mac's %q", fleet, mac)
	}
}

// poison cannot tell one Mac.
type poison struct {
	Notifier
	id string
	n  int
}

func (p *poison) Queue(tx storage.Tx, id string, tokens []byte) error {
	if id == p.id {
		p.n++
		return errors.New("damaged")
	}
	return p.Notifier.Queue(tx, id, tokens)
}

// A Mac that cannot be settled is tried again, ever more rarely, and no other one is looked at for it.
func TestOneMacThatCannotBeSettled(t *testing.T) {
	w := newWorld(t)
	w.notifier.push = func([]string) (map[string]error, error) { return nil, nil }
	w.enrol("MAC-1", "S1", "26.5", "25F71")
	w.enrol("MAC-2", "S2", "26.5", "25F71")
	w.pushWaiting()
	bad := &poison{Notifier: w.notifier, id: "MAC-1"}
	w.o.Notifier = bad
	if _, err := w.putPolicy(floor, WriteOptions{Confirm: true}); err != nil {
		t.Fatal(err)
	}
	if failed := w.lead.Sweep(context.Background(), true); failed != 1 {
		t.Fatalf("%d Macs could not be settled", failed)
	}
	for range 600 { // ten minutes of sweeps over boundaries
		w.pass(time.Second)
		w.lead.Sweep(context.Background(), false)
	}
	if bad.n < 5 || bad.n > 12 {
		t.Errorf("in ten minutes the Mac was tried %d times", bad.n)
	}
	w.o.Notifier = w.notifier
	w.pass(5 * time.Minute)
	commands := w.notifier.commands("MAC-1")
	if failed := w.lead.Sweep(context.Background(), false); failed > 0 || w.notifier.commands("MAC-1") != commands+1 {
		t.Errorf("when it can be told again, %d commands", w.notifier.commands("MAC-1")-commands)
	}
}

// While a push waits its Mac is left alone, and one that could not be noted is made again.
func TestPushesThatWait(t *testing.T) {
	w := newWorld(t)
	var down error
	w.notifier.push = func([]string) (map[string]error, error) { return nil, down }
	db := w.faulty()
	w.enrol("MAC-1", "S1", "26.5", "25F71")
	w.pushWaiting()
	w.sync("MAC-1")
	if _, err := w.putPolicy(floor, WriteOptions{Confirm: true}); err != nil {
		t.Fatal(err)
	}
	w.reconcileAll()
	w.pushWaiting()
	w.pass(5 * time.Hour)
	down = errors.New("APNs cannot be reached")
	w.lead.Sweep(context.Background(), false) // tells it again
	w.pushWaiting()
	before := w.index.Get("MAC-1").Revision
	for range 5 {
		w.pass(2 * time.Second)
		w.lead.Sweep(context.Background(), false)
		w.pushWaiting()
	}
	if now := w.index.Get("MAC-1").Revision; now != before {
		t.Error("while its push waits the Mac is written again and again")
	}
	down = nil
	db.Set(storagetest.Fault{Down: true})
	w.pushWaiting()
	db.Set(storagetest.Fault{})
	pushed := len(w.notifier.pushed)
	w.pushWaiting()
	if rec := w.index.Get("MAC-1"); len(w.notifier.pushed) != pushed+1 || rec.Tries != 2 {
		t.Errorf("a push that could not be noted: pushed %d more, told %d times", len(w.notifier.pushed)-pushed, rec.Tries)
	}
}

// quiet is a replica on Redis whose loops do not run.
func quiet(t *testing.T, url string) *world {
	t.Helper()
	db, err := redis.Open(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	w := &world{t: t, notifier: &fakeNotifier{queued: map[string][]string{}, asked: map[string][]string{}}, clock: testDay, db: db}
	w.Fleet, err = New(Options{Store: storage.New(db), Notifier: w.notifier, Log: slog.New(slog.DiscardHandler), URL: "https://mdm.example.com", Now: w.now})
	w.must(err)
	w.must(w.Start(context.Background()))
	return w
}

func (w *world) devices() int {
	w.t.Helper()
	c, err := w.Compliance(context.Background())
	w.must(err)
	return c.Devices
}

// A Mac that was deleted and cleaned up while a replica did not look is not there when it looks again; one that enrolled again meanwhile is.
func TestForgottenMacs(t *testing.T) {
	ctx, url := context.Background(), storagetest.RedisServer(t).URL()
	a, b := quiet(t, url), quiet(t, url)
	a.enrol("MAC-1", "S1", "26.5", "25F71")
	a.enrol("MAC-2", "S2", "26.5", "25F71")
	a.outbox.Flush(ctx)
	b.must(b.poll(ctx))
	for _, id := range []string{"MAC-1", "MAC-2"} {
		a.must(a.Forget(ctx, id, Origin{Actor: "admin"}))
	}
	a.outbox.Flush(ctx)
	shard := storage.ShardOf("MAC-2")
	seen, err := a.store.Members(ctx, shard)
	a.must(err)
	b.enrol("MAC-2", "S2", "26.5", "25F71")
	b.outbox.Flush(ctx)
	gone := map[string]storage.Member{}
	for i, id := range seen.IDs {
		gone[id] = seen.Members[i]
	}
	a.must(a.store.DropFromIndex(ctx, shard, gone)) // by a clean-up that began before
	a.Trim(ctx)
	b.must(b.lead.Reread(ctx))
	if n := b.devices(); n != 1 {
		t.Errorf("the other replica counts %d Macs", n)
	}
	if n := quiet(t, url).devices(); n != 1 {
		t.Errorf("one that starts counts %d Macs", n)
	}
}

// After a failover that lost the newest writes the index has what the database has, although that is older.
func TestLostWrites(t *testing.T) {
	ctx, url := context.Background(), storagetest.RedisServer(t).URL()
	a, b := quiet(t, url), quiet(t, url)
	a.enrol("MAC-1", "S1", "26.5", "25F71")
	a.outbox.Flush(ctx)
	b.must(b.poll(ctx))
	restore := saved(t, a.db, storage.MacPartition("MAC-1"), storage.ShardPartition(storage.ShardOf("MAC-1")), storage.ShardPartition(storage.ShardOf("MAC-2")))
	a.must(a.Ingest(ctx, "MAC-1", []byte(update266)))
	a.enrol("MAC-2", "S2", "26.5", "25F71")
	a.outbox.Flush(ctx)
	b.must(b.poll(ctx))
	if b.devices() != 2 || b.index.Get("MAC-1").Facts.Version != "26.6" {
		t.Fatalf("before: %d Macs", b.devices())
	}
	restore()
	a.must(a.db.Drop(ctx, storage.MacPartition("MAC-2")))
	b.must(b.poll(ctx))
	b.must(b.lead.Reread(ctx))
	if v := b.index.Get("MAC-1").Facts.Version; b.devices() != 1 || v != "26.5" {
		t.Errorf("%d Macs, the first with %s", b.devices(), v)
	}
}

// saved returns what makes partitions what they are now, without their revisions.
func saved(t *testing.T, db storage.DB, partitions ...string) (restore func()) {
	t.Helper()
	ctx := context.Background()
	before := map[string][]storage.Entry{}
	for _, p := range partitions {
		if err := db.View(ctx, p, func(r storage.Reader) (err error) {
			before[p], err = r.List("", "", 1000)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		for p, entries := range before {
			if err := db.Update(ctx, p, func(tx storage.Tx) error {
				all, err := tx.List("", "", 1000)
				for _, e := range all {
					tx.Delete(e.Key)
				}
				for _, e := range entries {
					tx.Set(e.Key, e.Value)
				}
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}
	}
}
