package self

import (
	"strings"
	"testing"
	"time"
)

func TestUserNow(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct{ name, local, offset, want string }{
		{"the page's script says it", "2026-11-22T13:00:05", "", "2026-11-22T13:00:05"},
		{"without seconds", "2026-11-22T13:00", "", "2026-11-22T13:00:00"},
		{"the script's word counts before the offset", "2026-11-22T13:00:00", "600", "2026-11-22T13:00:00"},
		{"an offset", "", "-210", "2026-11-22T08:30:00"},
		{"neither: as late as it can be anywhere", "", "", "2026-11-23T02:00:00"},
		{"no time", "yesterday", "", ""},
		{"no offset", "", "east", ""},
		{"an offset that no place has", "", "900", ""},
	} {
		got, err := userNow(tt.local, tt.offset, now)
		if got.String() != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%s: %v, %v, want %q", tt.name, got, err, tt.want)
		}
	}
}

func TestOffsets(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	list := offsets(now, berlin)
	chosen := ""
	for i, o := range list {
		l, err := userNow("", o.Value, now)
		if err != nil {
			t.Errorf("%s is not taken back: %v", o.Value, err)
		}
		if want := l.At(0).Format("15:04"); !strings.Contains(o.Label, want) {
			t.Errorf("%s is labelled %q", o.Value, o.Label)
		}
		if i > 0 {
			if before, _ := userNow("", list[i-1].Value, now); before >= l {
				t.Errorf("%s is not later than %s", o.Label, list[i-1].Label)
			}
		}
		if o.Selected {
			chosen += o.Value
		}
	}
	if chosen != "60" {
		t.Errorf("chosen is %q, want Berlin's 60", chosen)
	}
	if first, last := list[0].Value, list[len(list)-1].Value; first != "-720" || last != "840" {
		t.Errorf("from %s to %s, want from UTC-12 to UTC+14", first, last)
	}
}
