package storage_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"plimsoll/declarations/plan"
	"plimsoll/status"
	"plimsoll/storage"
	"plimsoll/storage/bolt"
)

// Reasons and makers stand beside the record, which stays small; they come back with it, change alone, and end with what they belong to.
func TestExceptions(t *testing.T) {
	db, err := bolt.Open(filepath.Join(t.TempDir(), "p.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	s := storage.New(db)
	day := time.Date(2026, 8, 19, 9, 0, 0, 0, time.UTC)
	long := strings.Repeat("ä", 500)
	rec := &storage.Record{
		Facts:     status.Facts{ID: "MAC-1", Enrolled: true},
		Exemption: &plan.Exemption{Until: day.Add(time.Hour), Since: day, Reason: long, By: "ada"},
		UpdateNow: &plan.UpdateNow{Lane: plan.Upgrade, Build: "25G90", Version: "26.6.2", At: day, Reason: "zero-day", By: "ben"},
	}
	var encoded []byte
	put := func(before, r *storage.Record) {
		t.Helper()
		if err := s.UpdateMac(t.Context(), "MAC-1", func(m *storage.MacTx) (err error) {
			if encoded, err = m.SetRecord(r); err != nil {
				return err
			}
			return m.SetExceptions(before, r)
		}); err != nil {
			t.Fatal(err)
		}
	}
	get := func() *storage.Record {
		t.Helper()
		var st storage.State
		if err := s.ViewMac(t.Context(), "MAC-1", func(m *storage.Mac) (err error) { st, err = m.State(); return err }); err != nil {
			t.Fatal(err)
		}
		return st.Record
	}
	put(nil, rec)
	if len(encoded) > 600 || strings.Contains(string(encoded), "zero-day") || strings.Contains(string(encoded), "ada") {
		t.Errorf("the record has %d bytes: %s", len(encoded), encoded)
	}
	got := get()
	if *got.Exemption != *rec.Exemption || *got.UpdateNow != *rec.UpdateNow || !got.Same(rec) {
		t.Errorf("read %+v and %+v", got.Exemption, got.UpdateNow)
	}
	bare, err := storage.DecodeRecord(encoded)
	if err != nil || bare.Exemption.Reason != "" {
		t.Fatalf("from the record alone: %+v, %v", bare, err)
	}
	if err := s.TellExceptions(t.Context(), []*storage.Record{{}, bare}); err != nil || *bare.Exemption != *rec.Exemption {
		t.Errorf("told: %+v, %v", bare.Exemption, err)
	}
	other := *rec
	other.Exemption = &plan.Exemption{Until: day.Add(time.Hour), Since: day, Reason: "another", By: "ada"}
	put(rec, &other)
	if got := get(); got.Exemption.Reason != "another" || got.UpdateNow.Reason != "zero-day" {
		t.Errorf("another reason: %+v, %+v", got.Exemption, got.UpdateNow)
	}
	none := *rec
	none.Exemption, none.UpdateNow = nil, nil
	put(&other, &none)
	put(&none, &storage.Record{Facts: rec.Facts, Exemption: &plan.Exemption{Until: day, Since: day}})
	if got := get(); got.Exemption.Reason != "" || got.Same(rec) || got.Same(&other) {
		t.Errorf("an old reason came back: %+v", got.Exemption)
	}
}
