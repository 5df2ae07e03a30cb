package beside_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"plimsoll/storage"
	"plimsoll/storage/beside"
	"plimsoll/storage/bolt"
)

var day = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

func open(t *testing.T) storage.DB {
	t.Helper()
	db, err := bolt.Open(filepath.Join(t.TempDir(), "beside.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func update(t *testing.T, db storage.DB, fn func(storage.Tx) error) {
	t.Helper()
	if err := db.Update(t.Context(), storage.MacPartition("A"), fn); err != nil {
		t.Fatal(err)
	}
}

func commands(t *testing.T, db storage.DB) (uuids []string) {
	t.Helper()
	update(t, db, func(tx storage.Tx) error {
		list, err := beside.Commands(tx)
		uuids = nil
		for _, c := range list {
			uuids = append(uuids, c.UUID)
		}
		return err
	})
	return uuids
}

// Dates keep their fractions: two events of one second are told apart.
func TestLife(t *testing.T) {
	db := open(t)
	want := beside.Life{Began: day.Add(123456789), Ended: day.Add(-time.Hour), Over: true, Told: true, Generation: 7}
	update(t, db, func(tx storage.Tx) error {
		if l, err := beside.ReadLife(tx); err != nil || l != (beside.Life{}) {
			t.Errorf("nothing is kept: %+v, %v", l, err)
		}
		return beside.SetLife(tx, want)
	})
	update(t, db, func(tx storage.Tx) error {
		l, err := beside.ReadLife(tx)
		if !l.Began.Equal(want.Began) || !l.Ended.Equal(want.Ended) || l.Over != want.Over || l.Told != want.Told || l.Generation != want.Generation {
			t.Errorf("read %+v", l)
		}
		return err
	})
}

// A command waits until it is answered, the Mac came, or a day has passed (rules 16).
func TestWaits(t *testing.T) {
	c := beside.Command{UUID: "A", At: day}
	for after, want := range map[time.Duration]bool{0: true, 24*time.Hour - time.Second: true, 24 * time.Hour: false} {
		if got := c.Waits(day.Add(after)); got != want {
			t.Errorf("after %s: %t", after, got)
		}
	}
	if c.Seen = true; c.Waits(day) {
		t.Error("it waits although the Mac came")
	}
}

func TestCommands(t *testing.T) {
	db := open(t)
	for _, uuid := range []string{"A", "B", "C"} {
		update(t, db, func(tx storage.Tx) error { return beside.Add(tx, beside.Command{UUID: uuid, At: day}) })
	}
	vals, err := db.Collect(t.Context(), []string{storage.MacPartition("A"), storage.MacPartition("NONE")}, beside.KeyCommands)
	if err != nil || !slices.Equal(beside.Unsent(vals, []string{"A", "NONE"}), []string{"A"}) {
		t.Errorf("unsent: %v, %v", beside.Unsent(vals, []string{"A", "NONE"}), err)
	}
	update(t, db, func(tx storage.Tx) error {
		return beside.Change(tx, func(c *beside.Command) bool { c.Sent = day; return c.UUID != "B" })
	})
	if got := commands(t, db); !slices.Equal(got, []string{"A", "C"}) {
		t.Errorf("B was answered, left are %v", got)
	}
	if vals, err = db.Collect(t.Context(), []string{storage.MacPartition("A")}, beside.KeyCommands); err != nil || len(beside.Unsent(vals, []string{"A"})) > 0 {
		t.Errorf("all were sent: %v", err)
	}
	for i := range 200 { // the oldest go
		update(t, db, func(tx storage.Tx) error { return beside.Add(tx, beside.Command{UUID: fmt.Sprint(i), At: day}) })
	}
	if got := commands(t, db); len(got) != 100 || got[99] != "199" {
		t.Errorf("%d are kept, the last is %s", len(got), got[len(got)-1])
	}
	update(t, db, func(tx storage.Tx) error { beside.Forget(tx); return nil })
	if got := commands(t, db); len(got) > 0 {
		t.Errorf("forgotten, and there are %v", got)
	}
}
