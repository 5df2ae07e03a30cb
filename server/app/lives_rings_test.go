package app_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"plimsoll/server/fleet"
)

// inRings has the pilots of the group "it" first. 26.7, posted on 2026-11-02, is due on the 16th at noon for the last ring, and
// opens for it by time N + 1 = 3 days before, on the 13th at noon UTC (rules 13).
const inRings = `{"name":"ringed","priority":10,"updates":{"mode":"automatic","within_days":14},"notice_days":2,"rings":[` +
	`{"name":"canary","groups":["it"],"within_days":2},{"name":"broad","min_age_days":5}],"gate":{"min_macs":20,"max_bad_percent":5}}`

const (
	ringsBegin = "2026-11-02T20:00"
	broadDue   = "2026-11-16T12:00:00"
	canaryDue  = "2026-11-05T12:00:00" // at UTC+14 it is 10:00 on the 3rd
)

// ringed is a server with 26.7, the policy inRings, and the pilots given.
func ringed(t *testing.T, pilots ...string) *lives {
	t.Helper()
	feed := withRelease(t, summerFeed(t), "26.7", "25H10", "2026-11-02")
	l := newLives(t, ringsBegin, feed)
	if err := l.world.AddFeed(feed); err != nil {
		t.Fatal(err)
	}
	l.call("PUT", "/v1/groups/it", `{"devices":["`+strings.Join(pilots, `","`)+`"]}`, http.StatusCreated, nil)
	l.call("POST", "/v1/policies", inRings, http.StatusCreated, nil)
	return l
}

// gates lets the gates look, as the leader does every 15 minutes.
func (l *lives) gates() {
	l.t.Helper()
	if err := l.fleet.TurnGates(l.t.Context()); err != nil {
		l.t.Fatal(err)
	}
	l.sweep()
}

// release is what the API says of 26.7 in the policy's rings.
func (l *lives) release() fleet.Rings {
	l.t.Helper()
	var r fleet.Rings
	l.call("GET", "/v1/policies/ringed/rings", "", http.StatusOK, &r)
	r.Releases = slices.DeleteFunc(r.Releases, func(x fleet.RingsRelease) bool { return x.Build != "25H10" })
	if len(r.Releases) != 1 {
		l.t.Fatalf("%d releases 26.7", len(r.Releases))
	}
	return r
}

// ownEvents are the types of the events that concern no Mac.
func (l *lives) ownEvents() (types []string) {
	l.t.Helper()
	var page struct{ Events []fleet.Event }
	l.call("GET", "/v1/events?limit=1000", "", http.StatusOK, &page)
	for _, e := range page.Events {
		if e.Device == "" {
			types = append(types, e.Type)
			if e.Serial != "" || e.Data["policy"] != "ringed" || e.Data["build"] != "25H10" || e.Data["version"] != "26.7" {
				l.t.Errorf("event %+v", e)
			}
		}
	}
	return types
}

// A canary ring of one Mac that never reports, and an empty one: the gate sees nothing, and the last ring has the release by
// time, with the deadline that it would have without rings (rules 13).
func TestRingsOfNobody(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, pilot string
	}{{"one Mac that never reports", "C02PILOT"}, {"empty", "C02NOBODY"}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := ringed(t, c.pilot)
			if c.pilot == "C02PILOT" {
				l.air(c.pilot, "26.6.2", "25G83").enrol()
				l.sweep()
			}
			m := l.joined("C02BROAD")
			m.stands("closed", "compliant", "")
			m.says("no other ring takes the Mac", "closed for this ring. Whatever the gate sees, it opens at 2026-11-13T12:00:00Z", "0 were done and 0 were bad")
			for _, day := range []string{"2026-11-05T12:00", "2026-11-08T12:00", "2026-11-13T11:59"} {
				l.at(day)
				l.gates()
				m.poll()
			}
			if w := l.release().Releases[0].WaitsFor; w == nil || *w != "macs" {
				t.Errorf("it waits for %v", w)
			}
			m.stands("a minute before", "compliant", "")
			l.at("2026-11-13T12:00")
			m.poll()
			m.stands("by time", "pending", broadDue)
			m.holds("by time", broadDue)
			if why := l.release().Releases[0].Rings[1].Why; why == nil || *why != "time" {
				t.Errorf("open because of %v", why)
			}
			if types := l.ownEvents(); len(types) > 0 {
				t.Errorf("events %q", types)
			}
		})
	}
}

// failingPilots are four Macs of the first ring on which 26.7 fails, and one Mac of the last.
func failingPilots(t *testing.T) (l *lives, pilots []*simMac, broad *simMac) {
	t.Helper()
	serials := []string{"C02PILOT1", "C02PILOT2", "C02PILOT3", "C02PILOT4"}
	l = ringed(t, serials...)
	for _, s := range serials {
		pilots = append(pilots, l.joined(s))
	}
	broad = l.joined("C02BROAD")
	for _, m := range pilots {
		m.stands("a pilot", "pending", canaryDue)
		m.reach(m.StartDownload, m.FinishDownload, m.StartInstall)
		m.ok(m.FailInstall("The volume is too small"))
		m.report()
	}
	l.at("2026-11-04T12:00")
	l.gates()
	return l, pilots, broad
}

// A halt keeps a release from the closed rings beyond the moment at which it would open by time, and ends by itself when it
// goes well after all.
func TestRingsHaltThatEndsByItself(t *testing.T) {
	t.Parallel()
	l, pilots, broad := failingPilots(t)
	if r := l.release().Releases[0]; r.HaltedSince == nil || r.Rings[0].Asked != 4 || r.Rings[0].Bad != 4 {
		t.Errorf("halted: %+v", r)
	}
	if _, _, b := l.request(adminToken, "GET", "/metrics", ""); !strings.Contains(string(b), "\nplimsoll_gate_halted{policy=\"ringed\"} 1\n") {
		t.Error("the metric does not say that it is halted")
	}
	l.at("2026-11-08T12:00")
	broad.poll()
	l.at("2026-11-14T12:00")
	broad.poll()
	broad.stands("halted", "compliant", "")
	broad.says("the gate has halted it since 2026-11-04T12:00:00Z, when of the 4 Macs that were asked, 0 were done and 4 were bad")
	for _, m := range pilots {
		m.reach(m.StartDownload, m.FinishDownload, m.StartInstall, m.FinishInstall)
	}
	l.gates()
	l.gates()
	broad.poll()
	// The due date leaves less than the notice now: 26 November is promised fairly.
	broad.stands("the halt ended", "pending", "2026-11-17T12:00:00")
	broad.holds("the halt ended", "2026-11-17T12:00:00")
	if types := l.ownEvents(); !slices.Equal(types, []string{"gate_halted", "gate_resumed", "ring_opened"}) {
		t.Errorf("events %q", types)
	}
}

// An opening by hand goes before a halt, which goes on.
func TestRingsHaltOpenedByHand(t *testing.T) {
	t.Parallel()
	l, _, broad := failingPilots(t)
	broad.stands("halted", "compliant", "")
	var res fleet.RingResult
	l.call("POST", "/v1/policies/ringed/rings/25H10/open", `{"ring":"broad","reason":"it is the pilots' own fault","confirm":true}`, http.StatusOK, &res)
	if !res.Changed {
		t.Error("nothing changed")
	}
	l.sweep()
	broad.poll()
	broad.stands("opened", "pending", broadDue)
	broad.holds("opened", broadDue)
	broad.says("opened the ring broad: it is the pilots' own fault")
	l.gates()
	if l.release().Releases[0].HaltedSince == nil {
		t.Error("the halt ended")
	}
	if types := l.ownEvents(); !slices.Equal(types, []string{"gate_halted", "ring_opened"}) {
		t.Errorf("events %q", types)
	}
}

// Rings are added to a running policy and taken away again: what a Mac was told stays, and others wait only as long as there
// are rings.
func TestRingsAddedAndTakenAway(t *testing.T) {
	t.Parallel()
	l := newLives(t, ringsBegin, withRelease(t, summerFeed(t), "26.7", "25H10", "2026-11-02"))
	plain := strings.Split(inRings, `,"rings"`)[0] + "}"
	l.call("POST", "/v1/policies", plain, http.StatusCreated, nil)
	before := l.joined("C02BEFORE")
	before.holds("without rings", broadDue)
	l.call("PUT", "/v1/policies/ringed", inRings, http.StatusOK, nil)
	l.sweep()
	later := l.joined("C02LATER")
	before.poll()
	before.stands("told before there were rings", "pending", broadDue)
	before.holds("told before there were rings", broadDue)
	before.says("it was told to install it before")
	later.stands("in the last ring", "compliant", "")
	l.call("PUT", "/v1/policies/ringed", plain, http.StatusOK, nil)
	l.sweep()
	for _, m := range []*simMac{before, later} {
		m.poll()
		m.stands("without rings again", "pending", broadDue)
		m.holds("without rings again", broadDue)
	}
}

// A policy gets another name: openings are of the old one, so other rings are closed again, but what a Mac was told stays.
func TestRingsOfARenamedPolicy(t *testing.T) {
	t.Parallel()
	l := ringed(t, "C02PILOT")
	told := l.joined("C02TOLD")
	l.call("POST", "/v1/policies/ringed/rings/25H10/open", `{"ring":"broad","reason":"tested"}`, http.StatusOK, nil)
	l.sweep()
	told.poll()
	told.holds("opened", broadDue)
	renamed := strings.NewReplacer(`"ringed"`, `"renamed"`, `"priority":10`, `"priority":11`).Replace(inRings)
	l.call("POST", "/v1/policies", renamed, http.StatusCreated, nil)
	l.call("DELETE", "/v1/policies/ringed", "", http.StatusNoContent, nil)
	l.sweep()
	told.poll()
	told.stands("told", "pending", broadDue)
	told.holds("told", broadDue)
	if d := told.device(); text(d.Policy) != "renamed" || text(d.Ring) != "broad" {
		t.Errorf("governed by %q, ring %q", text(d.Policy), text(d.Ring))
	}
	l.joined("C02FRESH").stands("not told yet", "compliant", "")
}
