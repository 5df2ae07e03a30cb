package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"plimsoll/server/fleet/answer"
	"plimsoll/storage"
)

// Lists are the newest first, whatever the filter and the size of a page.
func TestList(t *testing.T) {
	c := chainOn(openBolt(t))
	ctx := t.Context()
	now := testDay
	c.o.Now = func() time.Time { return now }
	ben := answer.Origin{Actor: "token:ben", Via: answer.ViaPage}
	for i := range 40 {
		now = testDay.Add(time.Duration(i) * time.Minute)
		by := ada
		if i%4 == 0 {
			by = ben
		}
		act := Act{Action: "device.sync", Object: fmt.Sprintf("device/%d", i%3)}
		if i%5 == 0 {
			act.Action = "exemption.put"
		}
		if err := c.Enter(ctx, by, act); err != nil {
			t.Fatal(err)
		}
	}
	for name, tt := range map[string]struct {
		q     Query
		wants func(i int) bool // by the number less one
	}{
		"all":    {Query{}, func(int) bool { return true }},
		"actor":  {Query{Actor: "token:ben"}, func(i int) bool { return i%4 == 0 }},
		"action": {Query{Action: "exemption.put"}, func(i int) bool { return i%5 == 0 }},
		"object": {Query{Object: "device/2"}, func(i int) bool { return i%3 == 2 }},
		"both":   {Query{Object: "device/2", Actor: "token:ben"}, func(i int) bool { return i%3 == 2 && i%4 == 0 }},
		"time":   {Query{Since: testDay.Add(10 * time.Minute), Until: testDay.Add(20 * time.Minute)}, func(i int) bool { return i >= 10 && i < 20 }},
		"nobody": {Query{Actor: "token:eve"}, func(int) bool { return false }},
	} {
		for _, limit := range []int{1, 3, 40, 0} {
			var got, want []uint64
			for i := 39; i >= 0; i-- {
				if tt.wants(i) {
					want = append(want, uint64(i+1))
				}
			}
			for q := tt.q; ; {
				q.Limit = limit
				page, err := c.List(ctx, q)
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range page.Items {
					got = append(got, e.N)
				}
				if q.Cursor = page.Next; page.Next == "" {
					break
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s in pages of %d: %v, want %v", name, limit, got, want)
			}
		}
	}
	for _, cursor := range []string{"!", answer.EncodeCursor("audit", "x"), answer.EncodeCursor("audit", "0"), answer.EncodeCursor("tokens", "3")} {
		if _, err := c.List(ctx, Query{Cursor: cursor}); !errors.Is(err, answer.ErrInvalid) {
			t.Errorf("the cursor %q: %v", cursor, err)
		}
	}
}

// The timelines are told of every entry once, in its order, and again from where a telling failed.
func TestTell(t *testing.T) {
	c := chainOn(openBolt(t))
	ctx := t.Context()
	var told []uint64
	fail := true
	c.o.Tell = func(ctx context.Context, entries []Entry) error {
		if fail {
			return errors.New("a Mac's partition is away")
		}
		for _, e := range entries {
			told = append(told, e.N)
		}
		return c.o.Store.AddFleetEvents(ctx, nil, entries[len(entries)-1].N)
	}
	for range 3 {
		if err := c.Enter(ctx, ada, Act{Action: "device.sync", Object: "device/1"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Tell(ctx); err == nil {
		t.Error("a failure was not told")
	}
	fail = false
	for range 2 {
		if err := c.Tell(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(told, []uint64{1, 2, 3}) {
		t.Errorf("told %v", told)
	}
}

// The leader collects what a replica left and tells of it, and who listens hears of it.
func TestRun(t *testing.T) {
	db := openBolt(t)
	c := chainOn(db)
	told := make(chan uint64, 10)
	c.o.Tell = func(ctx context.Context, entries []Entry) error {
		for _, e := range entries {
			told <- e.N
		}
		return c.o.Store.AddFleetEvents(ctx, nil, entries[len(entries)-1].N)
	}
	ctx, cancel := context.WithCancel(t.Context())
	noting := c.Begin(ctx, storage.BookPartition)
	if err := c.o.Store.UpdateBook(ctx, func(tx *storage.BookTx) error {
		notes, err := noting.Notes(ada, Act{Action: "group.put", Object: "group/x", After: map[string]any{"name": "x"}})
		tx.Note(notes)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	news := c.Subscribe(ctx)
	done := make(chan struct{})
	go func() { defer close(done); c.Run(ctx) }()
	if n := <-told; n != 1 {
		t.Errorf("told of %d", n)
	}
	<-news
	cancel()
	<-done
	for range news { // until it is closed
	}
}

// The last entry before an instant has the hash that an auditor computes, whether others followed it or not.
func TestLast(t *testing.T) {
	c := chainOn(openBolt(t))
	ctx := t.Context()
	now := testDay
	c.o.Now = func() time.Time { return now }
	if mark, err := c.Last(ctx, testDay); mark != nil || err != nil {
		t.Errorf("an empty chain: %+v, %v", mark, err)
	}
	for day := range 3 {
		now = testDay.AddDate(0, 0, day)
		if err := c.Enter(ctx, ada, Act{Action: "device.sync", Object: "device/1"}); err != nil {
			t.Fatal(err)
		}
	}
	entries := whole(t, c)
	for days, want := range map[int]int{1: 1, 2: 2, 3: 3, 100: 3} {
		mark, err := c.Last(ctx, testDay.AddDate(0, 0, days))
		if err != nil || mark == nil || mark.N != uint64(want) || mark.Hash != hashOf(t, entries[want-1]) {
			t.Errorf("after %d days: %+v, %v", days, mark, err)
		}
	}
	if mark, err := c.Last(ctx, testDay); mark != nil || err != nil {
		t.Errorf("before the first entry: %+v, %v", mark, err)
	}
}
