package reconcile

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"plimsoll/declarations/command"
	"plimsoll/status"
	"plimsoll/storage"
	"plimsoll/storage/bolt"
	"plimsoll/storage/storagetest"
)

// queue is the Macs' command queue as a test wants it.
type queue struct {
	err  error
	sent []string
}

func (q *queue) Queue(_ storage.Tx, id string, _ []byte) error {
	if q.err == nil {
		q.sent = append(q.sent, "sync "+id)
	}
	return q.err
}

func (q *queue) Query(_ storage.Tx, id, _ string, queries ...string) error {
	if q.err == nil {
		q.sent = append(q.sent, fmt.Sprint("query ", id, len(queries)))
	}
	return q.err
}

func (q *queue) Update(_ storage.Tx, _ string, c command.Queue) error {
	if q.err == nil {
		q.sent = append(q.sent, "update "+string(c.Action)+" "+c.UUID)
	}
	return q.err
}

func (q *queue) Withdraw(_ storage.Tx, _, uuid string) error {
	q.sent = append(q.sent, "withdraw "+uuid)
	return nil
}

type world struct {
	*Reconciler
	t       *testing.T
	db      *storagetest.FaultyDB
	store   *storage.Store
	queue   *queue
	book    Book
	newest  Book // after a reload
	unknown map[string]int
	count   Counters
	now     time.Time
}

func newWorld(t *testing.T) *world {
	t.Helper()
	db, err := bolt.Open(filepath.Join(t.TempDir(), "p.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	w := &world{t: t, db: storagetest.Faulty(db), queue: &queue{}, book: books[0], newest: books[1], unknown: map[string]int{}, now: testDay}
	w.store = storage.New(w.db)
	w.Reconciler = New(Options{
		Store: w.store, Commands: func() CommandQueue { return w.queue }, Book: func() Book { return w.book },
		BookFrom: func(_ context.Context, revision uint64) (Book, error) {
			if w.newest.Revision < revision {
				return Book{}, errors.New("there is no such book")
			}
			w.book = w.newest
			return w.book, nil
		},
		Memory:  func(string) Memory { return Memory{CanPush: true} },
		Unknown: func(id string, events int) { w.unknown[id] = events }, KeepReports: 3,
		Counters: &w.count, Now: func() time.Time { return w.now },
	})
	return w
}

func (w *world) change(cause Cause) *Result {
	w.t.Helper()
	res, err := w.Change(w.t.Context(), macID, cause)
	if err != nil {
		w.t.Fatal(err)
	}
	return res
}

func (w *world) enrol() {
	w.t.Helper()
	w.change(Authenticate(status.CheckIn{UDID: macID, Serial: "S1", Model: "Mac14,2", Version: "26.5", Build: "25F71"}))
	w.change(TokenUpdate("com.apple.mgmt.External.1"))
	w.change(Report(reportOf(w.t, full("26.5", "25F71"))))
}

func (w *world) state() (st storage.State) {
	w.t.Helper()
	if err := w.store.ViewMac(w.t.Context(), macID, func(m *storage.Mac) (err error) { st, err = m.State(); return err }); err != nil {
		w.t.Fatal(err)
	}
	return st
}

// The outcome is written in one commit: the record, the report, the manifest with its bodies, and the events with ids of their own.
func TestChange(t *testing.T) {
	w := newWorld(t)
	w.enrol()
	a, res, err := w.Ask(t.Context(), macID, AsksItems())
	if err != nil || res == nil || !res.Served || a.Token != res.Record.Advertised {
		t.Fatalf("the first items: %+v, %+v, %v", a, res, err)
	}
	st := w.state()
	if st.Record.Manifest != a.Token || st.Manifest == nil || len(st.Status) == 0 || !slices.Equal(w.queue.sent, []string{"sync " + macID, "sync " + macID}) {
		t.Errorf("kept %+v with %d items of status, queued %q", st.Record, len(st.Status), w.queue.sent)
	}
	err = w.store.ViewMac(t.Context(), macID, func(m *storage.Mac) error {
		reports, err := m.Reports()
		if err != nil || len(reports) != 1 {
			t.Errorf("%d reports, %v", len(reports), err)
		}
		events, err := m.Events("", 100)
		if err != nil || len(events) != st.Record.Events || len(events) == 0 {
			t.Errorf("%d events, the record counts %d, %v", len(events), st.Record.Events, err)
		}
		body, err := m.Body(a.Items[0].ServerToken)
		if err != nil || body == nil {
			t.Errorf("the body of %s is not kept: %v", a.Items[0].Identifier, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if w.count.Commands.Load() != 2 || w.count.ManifestsKept.Load() != 1 {
		t.Errorf("counted %d commands, %d manifests", w.count.Commands.Load(), w.count.ManifestsKept.Load())
	}
	revision := st.Record.Revision
	for range 3 {
		if again, res, err := w.Ask(t.Context(), macID, AsksItems()); err != nil || res != nil || again.Token != a.Token {
			t.Errorf("asked again: %+v, %v", res, err)
		}
	}
	if res := w.change(BootstrapToken(false)); !res.Nothing || res.Encoded != nil {
		t.Errorf("nothing changed, and %+v", res)
	}
	if now := w.state().Record.Revision; now != revision {
		t.Errorf("the record was written again: %d, %d", revision, now)
	}
	var notEnrolled NotEnrolled
	if _, err := w.Change(t.Context(), "NOBODY", Report(reportOf(t, full("26.5", "25F71")))); !errors.As(err, &notEnrolled) || !errors.Is(err, storage.ErrForbidden) {
		t.Errorf("a Mac that is not enrolled: %v", err)
	}
}

// Whatever the Mac's queue says, its message is taken.
func TestQueues(t *testing.T) {
	for name, c := range map[string]struct {
		err    error
		fails  bool
		notify bool
	}{
		"it takes the command": {nil, false, true},
		"it is full":           {fmt.Errorf("too many: %w", storage.ErrConflict), false, true},
		"it is gone":           {fmt.Errorf("no records: %w", storage.ErrNotFound), false, false},
		"it is damaged":        {errors.New("damaged"), true, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.change(Authenticate(status.CheckIn{UDID: macID, Serial: "S1", Model: "Mac14,2", Version: "14.6", Build: "23G80"}))
			before := w.state().Record
			w.queue.err = c.err
			res, err := w.Change(t.Context(), macID, TokenUpdate("com.apple.mgmt.External.1"))
			if (err != nil) != c.fails {
				t.Fatal(err)
			}
			after := w.state().Record
			if c.fails {
				if after.Facts.Enrolled || after.Revision != before.Revision {
					t.Error("half of a change was kept")
				}
				return
			}
			if !after.Facts.Enrolled || res.Notify != c.notify {
				t.Errorf("enrolled %v, notified %v", after.Facts.Enrolled, res.Notify)
			}
			if got := w.count.Commands.Load() == 1; got != (c.err == nil) {
				t.Errorf("counted %d commands", w.count.Commands.Load())
			}
			if len(res.Queries) != 1 || c.err == nil && !slices.Equal(w.queue.sent, []string{"query MAC-13", "sync MAC-1"}) {
				t.Errorf("queries %v; queued %q", res.Queries, w.queue.sent)
			}
		})
	}
}

// A commit whose answer was lost is reported as one with unknown outcome; one that certainly failed is not.
func TestUnknownOutcome(t *testing.T) {
	w := newWorld(t)
	w.enrol()
	had := w.state().Record.Events
	w.db.Set(storagetest.Fault{LoseAnswer: true, Times: 1, Partition: storage.MacPartition(macID)})
	if _, err := w.Change(t.Context(), macID, Report(reportOf(t, full("26.6", "25G72")))); !errors.Is(err, storage.ErrUnavailable) {
		t.Fatalf("the answer was not lost: %v", err)
	}
	if n, known := w.unknown[macID]; !known || n != had {
		t.Errorf("unknown: %v, want %d events before", w.unknown, had)
	}
	clear(w.unknown)
	w.db.Set(storagetest.Fault{Down: true})
	if _, err := w.Change(t.Context(), macID, BootstrapToken(true)); !errors.Is(err, storage.ErrUnavailable) || len(w.unknown) > 0 {
		t.Errorf("the store is away: %v, unknown %v", err, w.unknown)
	}
	w.db.Set(storagetest.Fault{})
	w.queue.err = errors.New("damaged")
	if _, err := w.Change(t.Context(), macID, Sync("ada")); err == nil || len(w.unknown) > 0 {
		t.Errorf("a change that was given up: %v, unknown %v", err, w.unknown)
	}
}

// A replica with an older book than the Mac was advertised to from takes the newer one before it plans (rules 7).
func TestNewerBook(t *testing.T) {
	w := newWorld(t)
	w.book = books[1]
	w.enrol()
	w.book = books[0]
	if _, res, err := w.Ask(t.Context(), macID, AsksTokens()); err != nil || res != nil && res.Record.Book < books[1].Revision {
		t.Errorf("asked with an older book: %+v, %v", res, err)
	}
	if w.book.Revision != books[1].Revision || w.count.Stale.Load() != 1 {
		t.Errorf("planned with book %d, %d reloads", w.book.Revision, w.count.Stale.Load())
	}
	w.book, w.newest = books[0], books[0]
	if _, err := w.Change(t.Context(), macID, Look()); err == nil {
		t.Error("an older book replaced a newer one")
	}
}

// A Mac that hangs up has been heard all the same, and a deadline is kept.
func TestHungUp(t *testing.T) {
	w := newWorld(t)
	w.enrol()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.Change(ctx, macID, Report(reportOf(t, full("26.6", "25G72")))); err != nil || w.state().Record.Facts.Version != "26.6" {
		t.Errorf("the report was not kept: %v", err)
	}
	late, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	if _, err := w.Change(late, macID, BootstrapToken(true)); err == nil {
		t.Error("after its deadline a change was made")
	}
}
