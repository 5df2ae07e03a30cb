package view

import (
	"testing"
	"time"

	"plimsoll/declarations"
)

func TestNumbersAndTimes(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	local := "2026-12-04T09:05:00"
	for name, tt := range map[string]struct{ got, want string }{
		"small":            {Count(9999), "9999"},
		"large":            {Count(1234567), "1\u202f234\u202f567"},
		"one":              {Plural(1, "Mac"), "1 Mac"},
		"one that acts":    {Verb(1, "Mac", "restarts", "restart"), "1 Mac restarts"},
		"two that act":     {Verb(2, "Mac", "restarts", "restart"), "2 Macs restart"},
		"two that are":     {Verb(2, "", "is", "are"), "2 are"},
		"none":             {Plural(0, "Mac"), "0 Macs"},
		"nearly all":       {Percent(9999, 10000), "99 %"},
		"hardly any":       {Percent(1, 10000), "1 %"},
		"all":              {Percent(7, 7), "100 %"},
		"of nothing":       {Percent(0, 0), "–"},
		"now":              {Ago(10 * time.Second), "just now"},
		"minutes":          {Ago(119 * time.Minute), "119 min ago"},
		"hours":            {Ago(47 * time.Hour), "47 h ago"},
		"days":             {Ago(72 * time.Hour), "3 days ago"},
		"years":            {Ago(3 * 365 * 24 * time.Hour), "3 years ago"},
		"prose":            {Prose("due 2026-12-04T09:05:00, at build 25G83"), "due 2026-12-04 09:05, at build 25G83"},
		"ahead":            {Ago(-72 * time.Hour), "in 3 days"},
		"never":            {MomentOf(time.Time{}, now, berlin).Words, ""},
		"in a zone":        {MomentOf(now, now, berlin).Exact, "2026-11-22 13:00 CET"},
		"wall clock":       {Wall(local), "Friday 4 December 2026, 09:05"},
		"no wall clock":    {Wall("soon"), "soon"},
		"short wall clock": {ShortWall(&local), "2026-12-04 09:05"},
		"a sentence":       {Sentence("the Mac is silent"), "The Mac is silent."},
		"macOS begins":     {Sentence("macOS 26 is out."), "macOS 26 is out."},
		"a letter":         {OSWords("26.3.1", "a"), "26.3.1 (a)"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %q, want %q", name, tt.got, tt.want)
		}
	}
}

func TestLocalOfFormField(t *testing.T) {
	l, err := LocalOf("2026-12-01T12:00")
	if want, _ := declarations.ParseLocal("2026-12-01T12:00:00"); err != nil || l != want {
		t.Errorf("what a browser sends: %v, %v", l, err)
	}
}
