package web

import (
	"testing"

	"plimsoll/server/web/view"
)

func TestEqualEventsAreFolded(t *testing.T) {
	at := func(s string) view.Moment { return view.Moment{ISO: s} }
	got := folded([]eventModel{
		{At: at("9"), Type: "failed", Text: "No space."},
		{At: at("8"), Type: "failed", Text: "No space."},
		{At: at("7"), Type: "failed", Text: "No space."},
		{At: at("6"), Type: "failed", Text: "No battery."},
		{At: at("5"), Type: "failed", Text: "No space."},
	})
	if len(got) != 3 || got[0].Times != 3 || got[0].At.ISO != "9" || got[0].First.ISO != "7" || got[1].Times != 0 || got[2].Times != 0 {
		t.Errorf("folded: %+v", got)
	}
	if folded(nil) != nil {
		t.Error("no events make a row")
	}
}

func TestSlug(t *testing.T) {
	for label, want := range map[string]string{
		"Engineering Macs": "engineering-macs", "  Büro & Lab! ": "buero-lab", "macOS 26.6": "macos-26.6", "": "", "!!!": "", "日本": "", "--a--": "a", "Ångström": "angstroem",
	} {
		if got := view.Slug(label); got != want {
			t.Errorf("%q gives %q, want %q", label, got, want)
		}
	}
}
