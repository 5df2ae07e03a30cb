package nano_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"plimsoll/storage"
	"plimsoll/storage/nano"
)

// answered lists the answered commands of an enrolment, at most limit.
func answered(ctx context.Context, s *nano.Store, id string, limit int) (list []nano.Result, err error) {
	for after := ""; ; {
		page, next, err := s.Commands(ctx, id, after, limit)
		for _, one := range page {
			if !one.At.IsZero() && len(list) < limit {
				list = append(list, one.Result)
			}
		}
		if after = next; after == "" || err != nil {
			return list, err
		}
	}
}

// The log has what waits and what was answered, the last queued first, on pages of any size; what a user channel was sent stands
// in its own.
func TestCommands(t *testing.T) {
	onEach(t, func(t *testing.T, db storage.DB) {
		ctx := context.Background()
		c := newClock()
		s := nano.New(db, nano.WithClock(c.now))
		enrol(t, s, mac, user)
		for i := range 150 { // more than the database is asked for at once
			c.add(time.Minute)
			id, uuid := mac, fmt.Sprintf("u%03d", i)
			if i%10 == 9 {
				id = user
			}
			ok(t, s.Enqueue(ctx, id, command(uuid, "DeviceInformation")))
			c.add(time.Second)
			switch {
			case i == 140 || i == 147: // wait on
			case i == 143:
				ok(t, s.StoreCommandReport(request(id), answer(uuid, "NotNow")))
			default:
				ok(t, s.StoreCommandReport(request(id), answer(uuid, "Acknowledged")))
			}
		}
		for _, limit := range []int{1, 7, 64, 1000} {
			var got []string
			for after := ""; ; {
				list, next, err := s.Commands(ctx, mac, after, limit)
				ok(t, err)
				if len(list) > limit || len(list) == 0 {
					t.Fatalf("%d commands on a page of %d", len(list), limit)
				}
				for _, l := range list {
					if waits := l.At.IsZero(); waits != slices.Contains([]string{"u140", "u143", "u147"}, l.UUID) ||
						waits && (l.Status != "" || l.NotNow.IsZero() != (l.UUID != "u143")) {
						t.Errorf("%s: %+v", l.UUID, l)
					}
					got = append(got, l.UUID)
				}
				if after = next; after == "" {
					break
				}
			}
			want := slices.SortedFunc(slices.Values(got), func(a, b string) int { return strings.Compare(b, a) })
			if len(got) != 135 || !slices.Equal(got, want) {
				t.Errorf("in pages of %d: %d commands, %v", limit, len(got), got)
			}
		}
		for uuid, of := range map[string]string{"u000": mac, "u009": user, "u143": mac, "u148": mac} {
			for _, id := range []string{mac, user} {
				l, err := s.Command(ctx, id, uuid)
				if id == of {
					ok(t, err)
					if l.UUID != uuid || string(l.Raw) == "" != l.At.IsZero() {
						t.Errorf("%s of %s: %+v", uuid, id, l)
					}
				} else {
					wantErr(t, err, storage.ErrNotFound)
				}
			}
		}
		for _, wrong := range []string{"1", "x n/r/", "1 x", "-1 ", "1 e/"} {
			wantErr(t, third(s.Commands(ctx, mac, wrong, 1)), storage.ErrInvalid)
		}
	})
}

// A UUID that was answered and is queued again is the one that waits; one whose end is another's is not that one.
func TestCommandOfAUUID(t *testing.T) {
	onEach(t, func(t *testing.T, db storage.DB) {
		ctx := context.Background()
		c := newClock()
		s := nano.New(db, nano.WithClock(c.now))
		enrol(t, s, mac)
		for _, uuid := range []string{"u", "x/u", "v"} {
			c.add(time.Second)
			ok(t, s.Enqueue(ctx, mac, command(uuid, "DeviceInformation")))
			ok(t, s.StoreCommandReport(request(mac), answer(uuid, "Acknowledged")))
		}
		l, err := s.Command(ctx, mac, "u")
		ok(t, err)
		if l.UUID != "u" {
			t.Errorf("the command u is %s", l.UUID)
		}
		ok(t, s.Enqueue(ctx, mac, command("v", "DeviceInformation")))
		l, err = s.Command(ctx, mac, "v")
		ok(t, err)
		if !l.At.IsZero() {
			t.Errorf("the command v waits, and its log says it was answered at %v", l.At)
		}
	})
}
