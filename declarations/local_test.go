package declarations

import (
	"testing"
	"time"
	_ "time/tzdata"
)

// The instants are those of the zones' published changes (IANA), not of time.Date, which does not say which it takes.
func TestLocalInAroundChangesOfTheClock(t *testing.T) {
	for _, c := range []struct{ name, zone, wall, want string }{
		{"winter", "Europe/Berlin", "2026-12-01T12:00:00", "2026-12-01T11:00:00Z"},
		{"summer", "Europe/Berlin", "2026-07-01T12:00:00", "2026-07-01T10:00:00Z"},
		{"before the skip", "Europe/Berlin", "2026-03-29T01:59:59", "2026-03-29T00:59:59Z"},
		{"skipped, moved an hour forward", "Europe/Berlin", "2026-03-29T02:30:00", "2026-03-29T01:30:00Z"},
		{"first after the skip", "Europe/Berlin", "2026-03-29T03:00:00", "2026-03-29T01:00:00Z"},
		{"shown twice, the first", "Europe/Berlin", "2026-10-25T02:30:00", "2026-10-25T00:30:00Z"},
		{"after the repeat", "Europe/Berlin", "2026-10-25T03:00:00", "2026-10-25T02:00:00Z"},
		{"skipped in the west", "America/New_York", "2026-03-08T02:30:00", "2026-03-08T07:30:00Z"},
		{"shown twice in the west, the first", "America/New_York", "2026-11-01T01:30:00", "2026-11-01T05:30:00Z"},
		{"half an hour skipped", "Australia/Lord_Howe", "2026-10-04T02:15:00", "2026-10-03T15:45:00Z"},
		{"a whole day skipped", "Pacific/Apia", "2011-12-30T12:00:00", "2011-12-30T22:00:00Z"},
		{"midnight skipped", "America/Santiago", "2026-09-06T00:30:00", "2026-09-06T04:30:00Z"},
		{"no changes", "UTC", "2026-03-29T02:30:00", "2026-03-29T02:30:00Z"},
	} {
		loc, err := time.LoadLocation(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		l, err := ParseLocal(c.wall)
		if err != nil {
			t.Fatal(err)
		}
		if got := l.In(loc).UTC().Format(time.RFC3339); got != c.want {
			t.Errorf("%s: %s in %s is %s, want %s", c.name, c.wall, c.zone, got, c.want)
		}
	}
}
