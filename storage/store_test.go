package storage_test

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"plimsoll/storage"
	"plimsoll/storage/bolt"
)

func openDB(t *testing.T) storage.DB {
	t.Helper()
	db, err := bolt.Open(filepath.Join(t.TempDir(), "plimsoll.db"))
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

// twice is a database in which somebody always commits while others look: every function of a View runs again.
type twice struct{ storage.DB }

func (db twice) View(ctx context.Context, partition string, fn func(storage.Reader) error) error {
	return db.DB.View(ctx, partition, func(r storage.Reader) error {
		_ = fn(r) // in vain
		return fn(r)
	})
}

func TestDays(t *testing.T) {
	s := storage.New(twice{openDB(t)})
	for _, date := range []string{"2026-11-22", "2026-11-20", "2026-11-21", "2026-11-19"} {
		if err := s.SetDay(t.Context(), date, []byte("row of "+date)); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	if err := s.Days(t.Context(), "2026-11-20", func(date string, row []byte) {
		got = append(got, date+": "+string(row))
	}); err != nil {
		t.Fatal(err)
	}
	want := []string{"2026-11-20: row of 2026-11-20", "2026-11-21: row of 2026-11-21", "2026-11-22: row of 2026-11-22"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("each day once, oldest first (-want +got):\n%s", diff)
	}
}

// A step adds reports up to a number under a limit, or trims to it.
type step struct {
	to   int // 0: trim
	keep int
}

func TestReports(t *testing.T) {
	for _, c := range []struct {
		name        string
		steps       []step
		first, last int // what is kept
		atLeast     bool
	}{
		{"fewer than are kept", []step{{7, 20}}, 1, 7, false},
		{"the newest are kept", []step{{35, 20}}, 16, 35, false},
		{"nothing to trim", []step{{35, 20}, {0, 20}}, 16, 35, false},
		{"lowered", []step{{35, 20}, {0, 10}}, 26, 35, false},
		{"lowered, no divisor", []step{{35, 20}, {0, 15}}, 21, 35, false},
		{"lowered to one", []step{{35, 20}, {0, 1}}, 35, 35, false},
		{"lowered, and more", []step{{35, 20}, {0, 10}, {50, 10}}, 41, 50, false},
		{"lowered, and more before it is trimmed", []step{{35, 20}, {38, 15}}, 24, 38, true},
		{"lowered, more, and trimmed", []step{{35, 20}, {38, 15}, {0, 15}}, 24, 38, false},
		{"raised", []step{{35, 10}, {40, 20}}, 26, 40, false},
		{"raised, and more", []step{{35, 10}, {60, 20}}, 41, 60, false},
		{"lowered and raised", []step{{35, 20}, {0, 10}, {37, 15}, {0, 15}}, 26, 37, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := storage.New(openDB(t))
			number := 0
			for _, step := range c.steps {
				if step.to == 0 {
					if err := s.Trim(t.Context(), "MAC", storage.Limits{Reports: step.keep}); err != nil {
						t.Fatal(err)
					}
				}
				for number < step.to {
					number++
					if err := s.UpdateMac(t.Context(), "MAC", func(m *storage.MacTx) error {
						return m.AddReport(storage.KeptReport{Number: number, Body: fmt.Appendf(nil, `{"n":%d}`, number)}, step.keep)
					}); err != nil {
						t.Fatal(err)
					}
				}
			}
			got := reports(t, s)
			var want []int
			for n := c.last; n >= c.first; n-- {
				want = append(want, n)
			}
			if c.atLeast {
				got = got[:min(len(got), len(want))]
			}
			if !slices.Equal(got, want) {
				t.Errorf("kept: %v, want %v", got, want)
			}
		})
	}
}

// Whatever key a report lies under, it is its number that counts.
func TestReportsUnderOtherKeys(t *testing.T) {
	db := openDB(t)
	s := storage.New(db)
	if err := db.Update(t.Context(), storage.MacPartition("MAC"), func(tx storage.Tx) error {
		for n := 16; n <= 35; n++ {
			tx.Set(fmt.Sprintf("r/%04d", n%20), fmt.Appendf(nil, `{"n":%d,"at":"2026-11-22T12:00:00Z","body":{"n":%d}}`, n, n))
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.UpdateMac(t.Context(), "MAC", func(m *storage.MacTx) error {
		return m.AddReport(storage.KeptReport{Number: 36, Body: []byte(`{"n":36}`)}, 10)
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.Trim(t.Context(), "MAC", storage.Limits{Reports: 10}); err != nil {
		t.Fatal(err)
	}
	if got, want := reports(t, s), []int{36, 35, 34, 33, 32, 31, 30, 29, 28, 27}; !slices.Equal(got, want) {
		t.Errorf("kept: %v, want %v", got, want)
	}
}

// reports are the numbers of the kept reports, each held against its body.
func reports(t *testing.T, s *storage.Store) (numbers []int) {
	t.Helper()
	if err := s.ViewMac(t.Context(), "MAC", func(m *storage.Mac) error {
		numbers = nil
		kept, err := m.Reports()
		for _, r := range kept {
			var body struct {
				N int `json:"n"`
			}
			if err := json.Unmarshal(r.Body, &body); err != nil || body.N != r.Number {
				t.Errorf("report %d has the body %s (%v)", r.Number, r.Body, err)
			}
			numbers = append(numbers, r.Number)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return numbers
}

func TestDropCodes(t *testing.T) {
	limit := time.Date(2026, 10, 23, 12, 0, 0, 0, time.UTC)
	long, before, after := limit.AddDate(-1, 0, 0), limit.Add(-time.Second), limit.Add(time.Second)
	s := storage.New(openDB(t))
	if err := s.UpdateAuth(t.Context(), func(tx *storage.AuthTx) error { return tx.PutToken(storage.Token{Name: "ci", CreatedAt: long}) }); err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, c := range []struct {
		code  storage.Code
		used  []time.Time
		stays bool
	}{
		{storage.Code{Code: "for ever"}, nil, true},
		{storage.Code{Code: "for ever, used"}, []time.Time{long, before}, true},
		{storage.Code{Code: "used in part", Uses: 2}, []time.Time{long}, true},
		{storage.Code{Code: "expired long ago", ExpiresAt: before}, nil, false},
		{storage.Code{Code: "expired", ExpiresAt: limit}, nil, true},
		{storage.Code{Code: "expires", ExpiresAt: after, Uses: 1}, nil, true},
		{storage.Code{Code: "used up long ago", Uses: 2}, []time.Time{long, before}, false},
		{storage.Code{Code: "used up", Uses: 2}, []time.Time{long, limit}, true},
		{storage.Code{Code: "used up long ago, expires", Uses: 1, ExpiresAt: after}, []time.Time{before}, false},
		{storage.Code{Code: "used up, expired long ago", Uses: 1, ExpiresAt: before}, []time.Time{long}, false},
		{storage.Code{Code: "used up at an unknown time", Uses: 1, Used: 1}, nil, false},
	} {
		c.code.CreatedAt = long
		if err := s.UpdateAuth(t.Context(), func(tx *storage.AuthTx) error { return tx.PutCode(c.code) }); err != nil {
			t.Fatal(err)
		}
		for _, at := range c.used {
			if err := s.UseCode(t.Context(), c.code.Code, at); err != nil {
				t.Fatalf("%s: %v", c.code.Code, err)
			}
		}
		if c.stays {
			want = append(want, c.code.Code)
		}
	}
	young := storage.Code{Code: "used up at an unknown time, young", Uses: 1, Used: 1, CreatedAt: after}
	if err := s.UpdateAuth(t.Context(), func(tx *storage.AuthTx) error { return tx.PutCode(young) }); err != nil {
		t.Fatal(err)
	}
	want = append(want, young.Code)
	slices.Sort(want)
	for range 2 { // the second time changes nothing
		if err := s.DropCodes(t.Context(), limit); err != nil {
			t.Fatal(err)
		}
		auth, err := s.Auth(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, c := range auth.Codes {
			got = append(got, c.Code)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("kept codes (-want +got):\n%s", diff)
		}
		if len(auth.Tokens) != 1 {
			t.Errorf("%d tokens, want 1", len(auth.Tokens))
		}
	}
}
