package reconcile

import (
	"testing"
	"time"

	"plimsoll/declarations/plan"
	"plimsoll/status/patching"
)

// The course keeps when a Mac was exempt: with its last end, ended early, and one that an older version of the server made.
func TestKeepExemption(t *testing.T) {
	day := func(n int) time.Time { return time.Date(2026, 8, n, 12, 0, 0, 0, time.UTC) }
	exempt := func(since, until int) *plan.Exemption { return &plan.Exemption{Since: day(since), Until: day(until)} }
	for _, c := range []struct {
		name    string
		was, is *plan.Exemption
		now     int
		same    bool
		want    []patching.Span
	}{
		{"none", nil, nil, 5, true, nil},
		{"new", nil, exempt(5, 20), 5, false, []patching.Span{{From: day(5), To: day(20)}}},
		{"the same", exempt(5, 20), exempt(5, 20), 6, true, []patching.Span{{From: day(5), To: day(20)}}},
		{"another end", exempt(5, 20), exempt(5, 10), 6, false, []patching.Span{{From: day(5), To: day(10)}}},
		{"ended early", exempt(5, 20), nil, 8, false, []patching.Span{{From: day(5), To: day(8)}}},
		{"ended by itself, and was looked at later", exempt(5, 20), nil, 25, false, []patching.Span{{From: day(5), To: day(20)}}},
		{"another one", exempt(5, 7), exempt(9, 12), 9, false, []patching.Span{{From: day(5), To: day(7)}, {From: day(9), To: day(12)}}},
	} {
		if got := sameExemption(c.was, c.is); got != c.same {
			t.Errorf("%s: the same is %v", c.name, got)
		}
		h := &patching.History{}
		keepExemption(h, c.was, c.is, day(c.now))
		if len(h.Exempt) != len(c.want) {
			t.Errorf("%s: %+v, want %+v", c.name, h.Exempt, c.want)
			continue
		}
		for i, s := range h.Exempt {
			if !s.From.Equal(c.want[i].From) || !s.To.Equal(c.want[i].To) {
				t.Errorf("%s: %+v, want %+v", c.name, h.Exempt, c.want)
			}
		}
	}
}
