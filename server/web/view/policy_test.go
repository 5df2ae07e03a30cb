package view

import (
	"encoding/json"
	"strings"
	"testing"

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
			"days and rings",
			`{"updates":{"mode":"automatic","within_days":14,"days":["tue","wed"]},"background_security":{"mode":"automatic","within_days":2,"days":["mon"]},"notice_days":2,
			 "rings":[{"name":"canary","groups":["it"],"within_days":2},{"name":"broad"}],"gate":{}}`,
			[]string{
				"All Macs get the newest release of the macOS that they run within 14 days of release, at 12:00 local, with 2 days' notice.",
				"Deadlines fall on Tuesdays and Wednesdays only.",
				"Releases go through the rings canary (within 2 days) and broad, and a gate halts one that fails.",
				"Background Security Improvements are due within 2 days of release, at 12:00 local.",
				"Their deadlines fall on Mondays only.",
			},
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
			if got := PolicyWords(&p); strings.Join(got, "\n") != strings.Join(tt.want, "\n") {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}
