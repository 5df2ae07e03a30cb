package app_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"plimsoll/server/fleet"
)

// The scenarios of rules 11 to 13: when a Mac may restart, and which Macs come first. Every Mac's wall clock is UTC.

// withRelease adds a release for the MacBook Air (M2) to a feed.
func withRelease(t *testing.T, body []byte, version, build, posted string) []byte {
	t.Helper()
	var sets map[string]map[string][]map[string]any
	if err := json.Unmarshal(body, &sets); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"PublicAssetSets", "AssetSets"} {
		sets[name]["macOS"] = append(sets[name]["macOS"], map[string]any{
			"ProductVersion": version, "Build": build, "PostingDate": posted, "ExpirationDate": "2027-12-31", "SupportedDevices": []string{"J413AP"},
		})
	}
	out, err := json.Marshal(sets)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// at moves the clock, and does what the server does by itself.
func (l *lives) at(when string) {
	l.t.Helper()
	l.setClock(when)
	l.sweep()
}

// joined is a Mac on 26.6.2 that enrols and syncs now.
func (l *lives) joined(serial string) *simMac {
	l.t.Helper()
	m := l.air(serial, "26.6.2", "25G83")
	m.enrol()
	m.poll()
	l.sweep()
	return m
}

func (m *simMac) device() (d fleet.Device) {
	m.l.t.Helper()
	m.l.call("GET", "/v1/devices/"+m.id(), "", http.StatusOK, &d)
	return d
}

// stands checks a Mac's state and deadline, and that the Mac itself holds that deadline unless it is away.
func (m *simMac) stands(what, state, deadline string) {
	m.l.t.Helper()
	d := m.device()
	if d.State != state || text(d.DeadlineLocal) != deadline {
		m.l.t.Errorf("%s: %s is %s with the deadline %q, want %s and %q (%q)", what, d.Serial, d.State, text(d.DeadlineLocal), state, deadline, codes(d.Reasons))
	}
}

// holds checks the deadline in the enforcement that the Mac has; empty: it has none.
func (m *simMac) holds(what, deadline string) {
	m.l.t.Helper()
	var got struct{ TargetLocalDateTime string }
	if b, ok := m.Declaration("plimsoll.os-update"); ok {
		var d struct{ Payload json.RawMessage }
		m.ok(json.Unmarshal(b, &d))
		m.ok(json.Unmarshal(d.Payload, &got))
	}
	if got.TargetLocalDateTime != deadline {
		m.l.t.Errorf("%s: the Mac %s holds the deadline %q, want %q", what, m.Spec().Serial, got.TargetLocalDateTime, deadline)
	}
}

// says checks the words in which a plan tells its deadline or its ring.
func (m *simMac) says(words ...string) {
	m.l.t.Helper()
	var p struct {
		DeadlineWords []string `json:"deadline_words"`
		Ring          *struct {
			Why   string
			Words []string
		}
	}
	m.l.call("GET", "/v1/devices/"+m.id()+"/plan", "", http.StatusOK, &p)
	told := strings.Join(p.DeadlineWords, " ")
	if p.Ring != nil {
		told += " " + p.Ring.Why + " " + strings.Join(p.Ring.Words, " ")
	}
	for _, w := range words {
		if !strings.Contains(told, w) {
			m.l.t.Errorf("the plan of %s does not say %q: %s", m.Spec().Serial, w, told)
		}
	}
}

const (
	twoWeeks = `{"name":"everyone","priority":10,"updates":{"mode":"automatic","within_days":14},"notice_days":2}`
	yearEnd  = `{"from":"2026-12-19","to":"2027-01-04","reason":"nobody is here"%s}`
)

// A year-end freeze, and a release before, in and after it (rules 11).
func TestWhenYearEndFreeze(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, posted, deadline, words string }{
		{"due before it", "2026-12-01", "2026-12-15T12:00:00", "due 14 days after that"},
		// Half of 14 days have passed on 17 December; the 18th is the newest open day before the 24th.
		{"due in it, and there is room before", "2026-12-10", "2026-12-18T12:00:00", "freeze year-end (2026-12-19 to 2027-01-04), so the deadline falls on the newest open day before it"},
		// Half of its days have passed on 22 December, in the freeze: no room before.
		{"due in it, and there is none", "2026-12-15", "2027-01-05T12:00:00", "the deadline falls on the first open day after it"},
		{"posted in it", "2026-12-22", "2027-01-05T12:00:00", "due 14 days after that: 2027-01-05"},
		{"after it", "2027-01-05", "2027-01-19T12:00:00", "due 14 days after that"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := newLives(t, "2026-12-01T09:00", summerFeed(t))
			l.call("POST", "/v1/policies", twoWeeks, http.StatusCreated, nil)
			l.call("PUT", "/v1/freezes/year-end", fmt.Sprintf(yearEnd, ""), http.StatusCreated, nil)
			l.at(c.posted + "T18:00")
			l.publish(withRelease(t, summerFeed(t), "26.7", "25H10", c.posted))
			l.call("POST", "/v1/catalog/refresh", "", http.StatusOK, nil)
			m := l.joined("C02FROZEN")
			m.stands(c.name, "pending", c.deadline)
			m.holds(c.name, c.deadline)
			m.says(c.words)
		})
	}
	t.Run("a Mac that missed the last day before it", func(t *testing.T) {
		t.Parallel()
		l := newLives(t, "2026-12-10T18:00", withRelease(t, summerFeed(t), "26.7", "25H10", "2026-12-10"))
		l.call("POST", "/v1/policies", twoWeeks, http.StatusCreated, nil)
		l.call("PUT", "/v1/freezes/year-end", fmt.Sprintf(yearEnd, ""), http.StatusCreated, nil)
		m := l.joined("C02MISSED")
		l.at("2026-12-15T09:00")
		m.poll()
		l.at("2026-12-18T23:59") // the wall clock at UTC-12 says 11:59: there the deadline lies ahead
		m.poll()
		m.holds("before it passed everywhere", "2026-12-18T12:00:00")
		l.at("2026-12-19T00:00")
		m.poll()
		m.stands("in the freeze", "pending", "2027-01-05T12:00:00")
		m.holds("in the freeze", "2027-01-05T12:00:00")
	})
}

// A retailer whose shops freeze and whose office does not (rules 11).
func TestWhenShopsFreeze(t *testing.T) {
	t.Parallel()
	l := newLives(t, "2026-11-10T18:00", withRelease(t, summerFeed(t), "26.7", "25H10", "2026-11-10"))
	l.call("PUT", "/v1/groups/shops", `{"devices":["C02SHOP"]}`, http.StatusCreated, nil)
	l.call("POST", "/v1/policies", twoWeeks, http.StatusCreated, nil)
	l.call("PUT", "/v1/freezes/black-friday", `{"from":"2026-11-20","to":"2026-12-31","reason":"sales","groups":["shops"]}`, http.StatusCreated, nil)
	shop, office := l.joined("C02SHOP"), l.joined("C02OFFICE")
	office.stands("the office", "pending", "2026-11-24T12:00:00")
	shop.stands("the shop", "pending", "2026-11-19T12:00:00")
	// The freeze is removed: the shop keeps what it was told, which is earlier than the due date with fair notice.
	l.call("DELETE", "/v1/freezes/black-friday", "", http.StatusNoContent, nil)
	l.at("2026-11-11T09:00")
	shop.poll()
	shop.holds("without the freeze", "2026-11-24T12:00:00")
}

// An exploited release in a freeze: an ordinary one does not shield it, a strict one does (rules 11).
func TestWhenExploitedInAFreeze(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, strict, deadline string }{
		{"ordinary", "", "2026-12-24T12:00:00"},
		{"strict", `,"strict":true`, "2027-01-05T12:00:00"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			sofa := filepath.Join(t.TempDir(), "sofa.json")
			if err := os.WriteFile(sofa, []byte(`{"OSVersions":[{"OSVersion":"Tahoe 26","SecurityReleases":[{"ProductVersion":"26.7","AllBuilds":["25H10"],"ActivelyExploitedCVEs":["CVE-2026-1"]}]}]}`), 0o600); err != nil {
				t.Fatal(err)
			}
			l := newLives(t, "2026-12-21T20:00", withRelease(t, summerFeed(t), "26.7", "25H10", "2026-12-21"), func(l *lives) { l.exploited = sofa })
			l.call("PUT", "/v1/freezes/year-end", fmt.Sprintf(yearEnd, c.strict), http.StatusCreated, nil)
			l.call("POST", "/v1/policies", strings.Replace(twoWeeks, `"within_days":14`, `"within_days":14,"exploited_within_days":3`, 1), http.StatusCreated, nil)
			m := l.joined("C02EXPLOIT")
			m.stands(c.name, "pending", c.deadline)
			m.holds(c.name, c.deadline)
		})
	}
}

// An exemption that lapses while the Mac is off: fair notice from its end, and anew when the Mac comes back to a deadline that
// has passed (rules 12 and 6.4).
func TestWhenAnExemptionLapses(t *testing.T) {
	t.Parallel()
	l := newLives(t, begins, summerFeed(t))
	l.call("POST", "/v1/policies", fortnight, http.StatusCreated, nil)
	m := l.air("C02EXEMPT", "26.6.1", "25G76")
	m.enrol()
	m.poll()
	m.stands("before it", "pending", due)
	l.at("2026-08-23T09:00")
	l.call("PUT", "/v1/exemptions/C02EXEMPT", `{"until":"2026-09-10T09:00:00Z","reason":"a trade fair"}`, http.StatusCreated, nil)
	m.poll()
	m.stands("exempt", "exempt", "")
	m.holds("exempt", "")
	l.events(m.id())
	l.at("2026-09-10T09:00") // it is off; at UTC+14 it is 23:00, and five days later the next noon is the 16th's
	m.stands("lapsed", "pending", "2026-09-16T12:00:00")
	if types := typesOf(l.events(m.id())); !slices.Contains(types, "exemption_ended") {
		t.Errorf("events %q", types)
	}
	l.at("2026-09-20T09:00")
	m.poll()
	m.stands("back", "pending", "2026-09-26T12:00:00")
	m.holds("back", "2026-09-26T12:00:00")
}

func typesOf(events []fleet.Event) (types []string) {
	for _, e := range events {
		types = append(types, e.Type)
	}
	return types
}

// Everybody is away from 17 December to 5 January: nobody is restarted on the first morning, with a freeze or without.
func TestWhenEverybodyIsAway(t *testing.T) {
	t.Parallel()
	for _, freeze := range []bool{false, true} {
		t.Run(fmt.Sprint("freeze ", freeze), func(t *testing.T) {
			t.Parallel()
			l := newLives(t, "2026-12-10T18:00", withRelease(t, summerFeed(t), "26.7", "25H10", "2026-12-10"))
			l.call("POST", "/v1/policies", strings.Replace(twoWeeks, `"notice_days":2`, `"notice_days":5`, 1), http.StatusCreated, nil)
			told := "2026-12-24T12:00:00"
			if freeze {
				told = "2026-12-18T12:00:00"
				l.call("PUT", "/v1/freezes/year-end", fmt.Sprintf(yearEnd, ""), http.StatusCreated, nil)
			}
			macs := []*simMac{l.joined("C02AWAY1"), l.joined("C02AWAY2"), l.joined("C02AWAY3")}
			l.at("2026-12-16T17:00")
			for _, m := range macs {
				m.poll()
				m.holds("before they left", told)
			}
			for _, day := range []string{"2026-12-19T00:00", "2026-12-22T18:00", "2026-12-25T12:00", "2027-01-02T12:00"} {
				l.at(day)
			}
			l.at("2027-01-05T09:00")
			for _, m := range macs { // 23:00 at UTC+14: five days later the next noon is the 11th's
				m.poll()
				m.stands("back", "pending", "2027-01-11T12:00:00")
				m.holds("back", "2027-01-11T12:00:00")
			}
		})
	}
}
