package web

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"plimsoll/declarations"
	"plimsoll/declarations/policy"
)

func TestPolicyWords(t *testing.T) {
	for _, tt := range []struct {
		name, policy string
		want         []string
	}{
		{
			"the example of the issue",
			`{"assign":{"groups":["eng"]},"os":{"track":"26","upgrade":"enforce"},"updates":{"mode":"automatic","within_days":14}}`,
			[]string{"Macs in eng get the newest macOS 26 within 14 days of release, at 12:00 local, with 5 days' notice.", "Upgrades from an older macOS are due within 90 days."},
		},
		{
			"the rules' example",
			`{"assign":{"groups":["eng"],"exclude_groups":["lab"],"when":"model startsWith 'Mac16'"},"os":{"track":"26","upgrade":"enforce","upgrade_within_days":60},
			 "updates":{"mode":"automatic","within_days":14,"exploited_within_days":3,"time":"12:00","min_age_days":0},"background_security":{"mode":"automatic","within_days":2,"time":"12:00"},
			 "notice_days":5,"delay":{"max_hours":24},"settings":{"AutomaticActions":{"Download":"AlwaysOn"}}}`,
			[]string{
				"Macs in eng where model startsWith 'Mac16', except those in lab, get the newest macOS 26 within 14 days of release, at 12:00 local, with 5 days' notice.",
				"Upgrades from an older macOS are due within 60 days.",
				"Releases that fix an actively exploited vulnerability are due within 3 days.",
				"Background Security Improvements are due within 2 days of release, at 12:00 local.",
				"Users may delay by up to 24 hours.",
				"macOS's own settings for updates are set: automatic downloads and installs.",
			},
		},
		{
			"everybody, without os", `{"updates":{"mode":"automatic","within_days":1,"time":"09:30"},"notice_days":0}`,
			[]string{"All Macs get the newest release of the macOS that they run within 1 day of release, at 09:30 local, with no notice."},
		},
		{
			"a longer time for exploited ones is none", `{"updates":{"mode":"automatic","within_days":3,"exploited_within_days":7}}`,
			[]string{"All Macs get the newest release of the macOS that they run within 3 days of release, at 12:00 local, with 5 days' notice."},
		},
		{
			"the latest", `{"os":{"track":"latest","upgrade":"enforce"},"updates":{"mode":"automatic","within_days":30,"min_age_days":7},"notice_days":1}`,
			[]string{
				"All Macs get the newest macOS that Apple offers for them within 30 days of release, at 12:00 local, with 1 day's notice.",
				"Upgrades from an older macOS are due within 90 days.", "Releases younger than 7 days are not asked for yet.",
			},
		},
		{
			"on demand", `{"assign":{"groups":["a","b","c"]},"os":{"track":"26","upgrade":"self_service"},"updates":{"mode":"automatic","within_days":14}}`,
			[]string{
				"Macs in a, b or c get the newest release of the macOS that they run within 14 days of release, at 12:00 local, with 5 days' notice.",
				"Users may ask for the upgrade to macOS 26.",
			},
		},
		{
			"no upgrades", `{"os":{"track":"latest","upgrade":"hold"},"updates":{"mode":"automatic","within_days":14}}`,
			[]string{
				"All Macs get the newest release of the macOS that they run within 14 days of release, at 12:00 local, with 5 days' notice.",
				"They are not upgraded to another macOS.",
			},
		},
		{
			"minimum", `{"updates":{"mode":"minimum","version":"26.6.1","deadline":"2026-12-01T12:00:00"}}`,
			[]string{"All Macs must run macOS 26.6.1 or newer by 1 December 2026 at 12:00 local, with 1 day's notice."},
		},
		{
			"minimum on their own macOS", `{"os":{"track":"current"},"updates":{"mode":"minimum","version":"26.6.1","deadline":"2026-12-01T12:00:00"}}`,
			[]string{"All Macs must run macOS 26.6.1 or newer by 1 December 2026 at 12:00 local, with 1 day's notice.", "They are not upgraded to another macOS."},
		},
		{
			"floors", `{"assign":{"exclude_groups":["lab","kiosk"]},"updates":{"mode":"minimum","versions":["15.7.9","26.6.1"],"deadline":"2026-12-01T08:15:00"},"notice_days":3}`,
			[]string{"All Macs, except those in lab or kiosk, must run at least 26.6.1 (macOS 26) or 15.7.9 (macOS 15) by 1 December 2026 at 08:15 local, with 3 days' notice."},
		},
		{
			"exact", `{"assign":{"when":"major == 26"},"updates":{"mode":"exact","version":"26.6.1","build":"25G76","deadline":"2026-12-01T12:00:00"}}`,
			[]string{"Macs where major == 26 must run exactly macOS 26.6.1 (25G76) by 1 December 2026 at 12:00 local, with 1 day's notice."},
		},
		{"none", `{"assign":{"groups":["lab"]},"updates":{"mode":"none"}}`, []string{"Updates of Macs in lab are not managed."}},
		{"nothing at all", `{}`, []string{"Updates of all Macs are not managed."}},
		{
			"improvements only", `{"background_security":{"mode":"automatic","within_days":1}}`,
			[]string{
				"Updates of all Macs are not managed, only their Background Security Improvements.",
				"Background Security Improvements are due within 1 day of release, at 12:00 local.",
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var p policy.Policy
			if err := json.Unmarshal([]byte(tt.policy), &p); err != nil {
				t.Fatal(err)
			}
			if got := policyWords(&p); strings.Join(got, "\n") != strings.Join(tt.want, "\n") {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

func TestNumbersAndTimes(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	local := "2026-12-04T09:05:00"
	for name, tt := range map[string]struct{ got, want string }{
		"small":            {count(9999), "9999"},
		"large":            {count(1234567), "1\u202f234\u202f567"},
		"one":              {plural(1, "Mac"), "1 Mac"},
		"none":             {plural(0, "Mac"), "0 Macs"},
		"nearly all":       {percent(9999, 10000), "99 %"},
		"hardly any":       {percent(1, 10000), "1 %"},
		"all":              {percent(7, 7), "100 %"},
		"of nothing":       {percent(0, 0), "–"},
		"now":              {ago(10 * time.Second), "just now"},
		"minutes":          {ago(119 * time.Minute), "119 min ago"},
		"hours":            {ago(47 * time.Hour), "47 h ago"},
		"days":             {ago(72 * time.Hour), "3 days ago"},
		"ahead":            {ago(-72 * time.Hour), "in 3 days"},
		"never":            {momentOf(time.Time{}, now, berlin).Words, ""},
		"in a zone":        {momentOf(now, now, berlin).Exact, "2026-11-22 13:00 CET"},
		"wall clock":       {wall(local), "Friday 4 December 2026, 09:05"},
		"no wall clock":    {wall("soon"), "soon"},
		"short wall clock": {shortWall(&local), "2026-12-04 09:05"},
		"a sentence":       {sentence("the Mac is silent"), "The Mac is silent."},
		"macOS begins":     {sentence("macOS 26 is out."), "macOS 26 is out."},
		"a letter":         {osWords("26.3.1", "a"), "26.3.1 (a)"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %q, want %q", name, tt.got, tt.want)
		}
	}
}

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

func TestOwnPath(t *testing.T) {
	for given, want := range map[string]string{
		"/devices?state=overdue&q=a%20b": "/devices?state=overdue&q=a%20b", "/": "/", "": "/", "devices": "/", "//evil.example": "/", "/\\evil.example": "/",
		"https://evil.example/": "/", "javascript:alert(1)": "/", "/a\nb": "/",
	} {
		if got := ownPath(given); got != want {
			t.Errorf("%q leads to %q, want %q", given, got, want)
		}
	}
}

func TestLocalOfFormField(t *testing.T) {
	l, err := localOf("2026-12-01T12:00")
	if want, _ := declarations.ParseLocal("2026-12-01T12:00:00"); err != nil || l != want {
		t.Errorf("what a browser sends: %v, %v", l, err)
	}
}
