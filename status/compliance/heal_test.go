package compliance

import (
	"testing"
	"time"
)

func TestNeedsResync(t *testing.T) {
	tests := []struct {
		name  string
		after time.Duration // between manifest and report
		do    func(*life)
		want  bool
	}{
		{"everything is there", time.Hour, func(l *life) { l.report(map[string]any{"management.declarations": l.holds(nil)}) }, false},
		{"nothing is there", time.Hour, func(l *life) { l.report(map[string]any{"softwareupdate.install-state": "none"}) }, true},
		{"nothing is there, after 10 minutes", 10 * time.Minute, nil, true},
		{"nothing is there, but it is early", 10*time.Minute - time.Second, nil, false},
		{"a token is another", time.Hour, func(l *life) {
			l.report(map[string]any{"management.declarations": l.holds(func(id string, e map[string]any) {
				if id == "plimsoll.os-update" {
					e["server-token"] = "another"
				}
			})})
		}, true},
		{"rejected is not lost", time.Hour, func(l *life) {
			l.report(map[string]any{"management.declarations": l.rejects("plimsoll.os-update", "no")})
		}, false},
		{"it never synced", time.Hour, func(l *life) { l.manifest = nil }, false},
		{"it was told nothing", time.Hour, func(l *life) { l.manifest.Items = nil }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := &life{t: t, index: summer, mac: air(), planner: floor, now: at("2026-08-22T09:00")}
			l.fetch()
			l.now = l.now.Add(tt.after)
			if tt.do != nil {
				tt.do(l)
			}
			if got := NeedsResync(l.manifest, l.merged, l.now); got != tt.want {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}

func TestWentStale(t *testing.T) {
	day := 24 * time.Hour
	now := at("2026-09-10T09:00")
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	tests := []struct {
		name                       string
		contact, report, lastRaise time.Time
		want                       bool
	}{
		{"reports daily", ago(time.Hour), ago(day), time.Time{}, false},
		{"sets in", ago(time.Hour), ago(3 * day), time.Time{}, true},
		{"sets in; raised for another cause yesterday", ago(time.Hour), ago(3 * day), ago(day), true},
		{"sets in; raised for another cause today", ago(time.Hour), ago(3 * day), ago(day - time.Second), false},
		{"set in before the last raise", ago(time.Hour), ago(5 * day), ago(day + time.Hour), false},
		{"silent, not stale", ago(7 * day), ago(8 * day), time.Time{}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := air().Facts
			f.LastContactAt, f.LastReportAt = tt.contact, tt.report
			if got := WentStale(&f, tt.lastRaise, now); got != tt.want {
				t.Errorf("%v, want %v", got, tt.want)
			}
			f.Enrolled = false
			if WentStale(&f, tt.lastRaise, now) {
				t.Error("also of a Mac that is not enrolled")
			}
		})
	}
}

func TestMayRaise(t *testing.T) {
	now := at("2026-09-10T09:00")
	for _, tt := range []struct {
		last time.Time
		want bool
	}{{time.Time{}, true}, {now.Add(-24 * time.Hour), true}, {now.Add(-24*time.Hour + time.Second), false}, {now, false}} {
		if got := MayRaise(tt.last, now); got != tt.want {
			t.Errorf("last %v: %v", tt.last, got)
		}
	}
}
