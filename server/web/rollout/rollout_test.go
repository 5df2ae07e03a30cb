package rollout

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
	"plimsoll/server/fleet"
)

func dayOf(t *testing.T, s string) release.Day {
	t.Helper()
	d, err := release.ParseDay(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func policyOf(t *testing.T, text string) policy.Policy {
	t.Helper()
	var p policy.Policy
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		t.Fatal(err)
	}
	return p
}

func freezeOf(t *testing.T, name, from, to string) policy.Freeze {
	return policy.Freeze{Name: name, From: dayOf(t, from), To: dayOf(t, to), Reason: "r"}
}

// 2026-12-19 is a Saturday.
func TestFirstOpenDayAfterAFreeze(t *testing.T) {
	weekdays := policyOf(t, `{"name":"a","updates":{"mode":"automatic","within_days":14,"days":["tue","wed","thu"]}}`)
	every := policyOf(t, `{"name":"b","updates":{"mode":"automatic","within_days":14}}`)
	fixed := policyOf(t, `{"name":"c","updates":{"mode":"minimum","version":"26.6.1","deadline":"2027-03-01T12:00:00"}}`)
	launch := freezeOf(t, "launch", "2026-12-14", "2026-12-18")
	year := freezeOf(t, "year-end", "2026-12-19", "2027-01-03")
	for name, tt := range map[string]struct {
		freezes  []policy.Freeze
		policies []policy.Policy
		want     string
	}{
		"no policy":                   {[]policy.Freeze{launch}, nil, "2026-12-19"},
		"every day is open":           {[]policy.Freeze{launch}, []policy.Policy{every}, "2026-12-19"},
		"a freeze follows":            {[]policy.Freeze{launch, year}, []policy.Policy{every}, "2027-01-04"},
		"weekdays":                    {[]policy.Freeze{launch}, []policy.Policy{weekdays, fixed}, "2026-12-22"},
		"weekdays of some":            {[]policy.Freeze{launch}, []policy.Policy{weekdays, every}, "2026-12-19"},
		"weekdays and another freeze": {[]policy.Freeze{launch, year}, []policy.Policy{weekdays}, "2027-01-05"},
	} {
		if got := (closings{tt.freezes, tt.policies}).openAfter(&launch).String(); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

func TestFreezeRows(t *testing.T) {
	k := closings{freezes: []policy.Freeze{freezeOf(t, "year-end", "2026-12-19", "2027-01-03"), freezeOf(t, "past", "2026-10-01", "2026-10-05")}}
	k.freezes[0].Groups, k.freezes[0].ExcludeGroups, k.freezes[0].Strict = []string{"shops", "office"}, []string{"it"}, true
	rows := freezeRows(k, map[string]int{"2027-01-04": 12, "2026-10-06": 3}, dayOf(t, "2026-11-29"))
	if len(rows) != 2 || rows[0].Name != "past" || !rows[0].Past || rows[0].Open != "" || rows[0].Devices != 0 {
		t.Errorf("one that is over: %+v", rows)
	}
	if r := rows[1]; r.Open != "2027-01-04" || r.Devices != 12 || r.For != "Macs in shops or office, except those in it" || !r.Strict || r.Past {
		t.Errorf("one to come: %+v", r)
	}
}

func TestMonths(t *testing.T) {
	k := closings{freezes: []policy.Freeze{freezeOf(t, "year-end", "2026-12-30", "2027-01-01")}}
	months := monthsOf(dayOf(t, "2026-11-29"), 1, "2026-12-31", map[string]int{"2026-12-31": 4, "2027-01-02": 1}, k)
	if len(months) != 3 || months[0].Name != "December 2026" || months[2].Name != "February 2027" {
		t.Fatalf("%+v", months)
	}
	closed, due := "", 0
	for _, m := range months {
		for _, week := range m.Weeks {
			if len(week) != 7 {
				t.Errorf("%s has a week of %d days", m.Name, len(week))
			}
			for _, d := range week {
				if due += d.Devices; d.Closed != "" {
					closed += d.Date + " "
				}
				if d.Date == "2026-12-31" && (!d.Here || d.Link != "/calendar?day=2026-12-31&months=1") {
					t.Errorf("%+v", d)
				}
			}
		}
	}
	if closed != "2026-12-30 2026-12-31 2027-01-01 " || due != 5 {
		t.Errorf("closed are %s, due %d", closed, due)
	}
	// 1 December 2026 is a Tuesday.
	if w := months[0].Weeks[0]; w[0].Number != 0 || w[1].Number != 1 {
		t.Errorf("the first week is %+v", w)
	}
}

func TestMonthsFrom(t *testing.T) {
	for s, want := range map[string]int{"": 0, "0": 0, "23": 23, "24": -1, "-1": -1, "x": -1} {
		if got, err := monthsFrom(s); err == nil && got != want || (err != nil) != (want < 0) {
			t.Errorf("%q: %d, %v", s, got, err)
		}
	}
}

func TestReadFreeze(t *testing.T) {
	form, f := readFreeze(url.Values{
		"name": {" Year End "}, "from": {"2026-12-19"}, "to": {"2027-01-04"}, "reason": {" closed "}, "groups": {"shops, office"}, "strict": {"yes"},
	})
	if len(form.Faults) > 0 || f.Name != "year-end" || f.Reason != "closed" || len(f.Groups) != 2 || !f.Strict || f.To.String() != "2027-01-04" {
		t.Errorf("%+v, %+v", form, f)
	}
	form, f = readFreeze(url.Values{"original": {"launch"}, "name": {"other"}, "from": {"2026-02-30"}, "to": {""}})
	if f.Name != "launch" || form.Faults["from"] == nil || form.Faults["to"] == nil {
		t.Errorf("%+v, %+v", form, f)
	}
}

func TestGateWords(t *testing.T) {
	p := policyOf(t, `{"name":"x","updates":{"mode":"automatic","within_days":14},"rings":[{"name":"pilot","percent":10},{"name":"early","percent":10,"min_age_days":3},{"name":"rest","min_age_days":5}],"gate":{"min_macs":20,"max_bad_percent":2.5}}`)
	now := time.Date(2026, 8, 24, 9, 0, 0, 0, time.UTC)
	at := now.Add(-3 * time.Hour)
	word := func(s string) *string { return &s }
	rings := func(done, bad, open int) []fleet.RingView {
		out := []fleet.RingView{{Ring: "pilot"}, {Ring: "early"}, {Ring: "rest"}}
		out[0].Asked, out[0].Done, out[0].Bad = 40, done, bad
		for i := range open {
			out[i].OpenSince = &at
		}
		return out
	}
	for name, tt := range map[string]struct {
		r    fleet.RingsRelease
		want string
	}{
		"halted":              {fleet.RingsRelease{HaltedSince: &at, WaitsFor: word("bad"), Rings: rings(12, 5, 1)}, "Halted 3 h ago (2026-08-24 06:00 UTC): it fails on 5 of the 17 Macs that answered, and the gate takes 2.5 %. Closed rings stay closed"},
		"halted, all open":    {fleet.RingsRelease{HaltedSince: &at, Rings: rings(12, 5, 3)}, "Every ring is open, so the halt keeps nothing back."},
		"waits for age":       {fleet.RingsRelease{Posted: dayOf(t, "2026-08-22"), WaitsFor: word("age"), Rings: rings(0, 0, 1)}, "The gate waits for the ring early until the release is 3 days old, on 2026-08-25."},
		"waits for answers":   {fleet.RingsRelease{WaitsFor: word("macs"), Rings: rings(3, 1, 2)}, "of the 40 Macs that were asked 4 answered, and it needs 20 or all of them."},
		"waits for bad":       {fleet.RingsRelease{WaitsFor: word("bad"), Rings: rings(19, 1, 2)}, "The gate waits: it fails on 1 of the 20 Macs that answered, and the gate takes 2.5 %."},
		"opens at its look":   {fleet.RingsRelease{Rings: rings(20, 0, 2)}, "The gate opens the ring rest the next time it looks"},
		"everything is open":  {fleet.RingsRelease{Rings: rings(20, 0, 3)}, "Every ring is open."},
		"everything, by time": {fleet.RingsRelease{WaitsFor: word("macs"), Rings: rings(2, 0, 3)}, "Every ring is open."},
	} {
		rule := p.Rule()
		if got := gateWords(&rule, &tt.r, now, time.UTC); !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
	p.Gate = nil
	rule := p.Rule()
	if got := gateWords(&rule, &fleet.RingsRelease{Rings: rings(0, 0, 1)}, now, time.UTC); got != "There is no gate: each ring opens when its time has come." {
		t.Error(got)
	}
}

func TestProgress(t *testing.T) {
	p := policyOf(t, `{"name":"x","updates":{"mode":"automatic","within_days":14},"rings":[{"name":"pilot","percent":10},{"name":"rest"}]}`)
	now := time.Date(2026, 8, 24, 9, 0, 0, 0, time.UTC)
	at, why := now.Add(-3*time.Hour), "first"
	m := ProgressOf(&p, fleet.Rings{Releases: []fleet.RingsRelease{{Version: "26.6.2", Build: "25G83", Rings: []fleet.RingView{
		{Ring: "pilot", Devices: 3, OpenSince: &at, Why: &why}, {Ring: "rest", Devices: 27},
	}}}}, now, time.UTC)
	r := m.Releases[0]
	if m.Action != "/policies/x/open" || r.Name != "macOS 26.6.2" || len(r.Closed) != 1 || r.Closed[0].Value != "rest" || r.Halted {
		t.Errorf("%+v", m)
	}
	if first := r.Rings[0]; !first.Open || first.Why != "the first ring" || first.Since.Words != "3 h ago" || first.Link != "/devices?policy=x&ring=pilot" {
		t.Errorf("%+v", first)
	}
}

func TestReasonFault(t *testing.T) {
	for reason, bad := range map[string]bool{"": true, "x": false, strings.Repeat("ä", 500): false, strings.Repeat("ä", 501): true} {
		if got := reasonFault(reason); (got != "") != bad {
			t.Errorf("%.10s: %q", reason, got)
		}
	}
}
