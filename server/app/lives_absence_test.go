package app_test

import (
	"net/http"
	"strings"
	"testing"

	"plimsoll/examples/macs/sim"
	"plimsoll/server/fleet"
)

// A Mac that is off across its deadline gets fair notice anew when it comes back after more than 7 days, once (rules 6.4).
func TestLifeOffAcrossItsDeadline(t *testing.T) {
	t.Parallel()
	l := newLives(t, begins, summerFeed(t))
	l.call("POST", "/v1/policies", fortnight, http.StatusCreated, nil)
	m := l.air("C02HOLIDAY", "26.6.1", "25G76")
	synced(l, m)
	// It comes back on September 5 at 09:00, 23:00 at UTC+14: 5 days end on the 10th at 23:00, and the next noon is the 11th's.
	const renewed = "2026-09-11T12:00:00"
	m.live(
		moment{ // no report for 3 days: its generation is raised, so that it syncs when it can
			at: "2026-08-25T20:01", state: "pending", phase: "active", deadline: due,
			reasons: []string{"not_synced", "report_stale", "deadline_ahead"}, flags: []string{"report_stale", "not_synced"},
		},
		moment{
			at: "2026-08-29T20:01", state: "pending", phase: "active", deadline: due,
			reasons: []string{"silent", "not_synced", "deadline_ahead"}, flags: []string{"silent", "not_synced"}, events: []string{"silent"},
		},
		moment{ // nobody said a word, and it is overdue
			at: "2026-08-31T12:00", state: "overdue", phase: "active", deadline: due,
			reasons: []string{"deadline_passed_offline", "silent", "not_synced"}, flags: []string{"silent", "not_synced", "past_deadline"}, events: []string{"overdue"},
		},
		moment{
			at: "2026-09-05T09:00", do: m.poll, state: "pending", phase: "active", deadline: renewed,
			reasons: []string{"returned", "deadline_ahead"}, events: []string{"back", "deadline_changed", "manifest_served", "phase", "declaration_active"},
		},
		moment{at: "2026-09-07T09:00", do: m.poll, state: "pending", phase: "active", deadline: renewed, reasons: []string{"returned", "deadline_ahead"}},
		moment{at: "2026-09-09T09:00", do: m.poll, state: "pending", phase: "active", deadline: renewed, reasons: []string{"returned", "deadline_ahead"}},
		moment{at: "2026-09-11T11:00", do: m.poll, state: "pending", phase: "active", deadline: renewed, reasons: []string{"returned", "deadline_ahead"}},
		moment{
			at: "2026-09-11T12:00", state: "overdue", phase: "active", deadline: renewed,
			reasons: []string{"deadline_passed", "returned"}, flags: []string{"past_deadline"}, events: []string{"overdue"},
		},
		moment{
			at: "2026-09-11T13:59", do: m.poll, state: "overdue", phase: "active", deadline: renewed,
			reasons: []string{"deadline_passed", "returned"}, flags: []string{"past_deadline"},
		},
		moment{ // away again, for two weeks
			at: "2026-09-14T14:00", state: "overdue", phase: "active", deadline: renewed,
			reasons: []string{"not_synced", "report_stale", "deadline_passed"}, flags: []string{"report_stale", "not_synced", "past_deadline"},
		},
		moment{
			at: "2026-09-18T14:00", state: "overdue", phase: "active", deadline: renewed,
			reasons: []string{"silent", "not_synced", "deadline_passed"}, flags: []string{"silent", "not_synced", "past_deadline"}, events: []string{"silent"},
		},
		moment{ // once per obligation: this time the deadline stays
			at: "2026-09-25T09:00", do: m.poll, state: "overdue", phase: "active", deadline: renewed,
			reasons: []string{"deadline_passed", "returned"}, flags: []string{"past_deadline"}, events: []string{"back", "manifest_served"},
		},
		moment{
			at: "2026-09-25T10:00", do: func() { m.reach(m.StartDownload, m.FinishDownload, m.StartInstall, m.FinishInstall) }, state: "compliant",
			flags: []string{"not_synced"}, events: []string{"phase", "phase", "phase", "updated", "compliant"},
		},
	)
}

func TestLifeNeverFetches(t *testing.T) {
	t.Parallel()
	l := newLives(t, begins, summerFeed(t))
	l.call("POST", "/v1/policies", fortnight, http.StatusCreated, nil)
	m := l.air("C02NEVER", "26.6.1", "25G76")
	m.Faults.NeverFetches = true
	commands := func(want int64) {
		t.Helper()
		if got := m.opt.Stats.Commands.Swap(0); got != want {
			t.Errorf("%s: %d commands, want %d", l.now(), got, want)
		}
	}
	pending := func(at string, commandsWant int64, reasons ...string) moment {
		w := moment{
			at: at, do: func() { m.poll(); commands(commandsWant) }, state: "pending", phase: "planned", deadline: due,
			reasons: append(append([]string{"never_synced"}, reasons...), "deadline_ahead"), flags: []string{"not_synced"},
		}
		if len(reasons) > 0 {
			w.flags = []string{"report_stale", "not_synced"}
		}
		return w
	}
	first := pending("2026-08-22T20:00", 1)
	first.do = func() { m.enrol(); m.poll(); commands(1) }
	first.events = []string{"enrolled", "policy_changed", "target_set"}
	m.live(
		first,
		pending("2026-08-22T23:59", 0), // it was told, and has 4 hours
		pending("2026-08-23T00:01", 1), // told again, now it has 8
		pending("2026-08-23T07:59", 0),
		pending("2026-08-23T08:02", 1),
		pending("2026-08-25T20:01", 2, "report_stale"), // told, and asked for its version
		pending("2026-08-30T20:01", 1, "report_stale"),
		moment{
			at: "2026-08-30T20:02", state: "pending", phase: "planned", deadline: due,
			reasons: []string{"never_synced", "report_stale", "deadline_ahead"}, flags: []string{"report_stale", "not_synced"},
			more: func(d fleet.Device, _ []fleet.Event) {
				if e := d.Reasons[0].Evidence; e["told_at"] != "2026-08-30T20:01:00Z" || e["last_seen_at"] != "2026-08-30T20:01:00Z" {
					t.Errorf("evidence %v", e)
				}
			},
		},
		moment{
			at: "2026-08-31T12:00", state: "overdue", phase: "planned", deadline: due,
			reasons: []string{"never_synced", "report_stale", "deadline_passed"}, flags: []string{"report_stale", "not_synced", "past_deadline"}, events: []string{"overdue"},
		},
	)
}

func TestLifeReEnrols(t *testing.T) {
	t.Parallel()
	l := newLives(t, begins, summerFeed(t))
	l.call("POST", "/v1/policies", fortnight, http.StatusCreated, nil)
	m := l.air("C02AGAIN", "26.6.1", "25G76")
	synced(l, m)
	m.live(
		moment{ // repaired and erased: a new life, and a new obligation (August 27 at 10:00 at UTC+14, 5 days, noon)
			at: "2026-08-26T20:00", do: func() { m.Erase(); m.enrol() }, state: "pending", phase: "planned", deadline: "2026-09-01T12:00:00",
			reasons: []string{"never_synced", "deadline_ahead"}, flags: []string{"not_synced"}, events: []string{"identity_changed", "re_enrolled", "policy_changed", "target_set"},
		},
		moment{
			at: "2026-08-26T20:01", do: m.poll, state: "pending", phase: "active", deadline: "2026-09-01T12:00:00",
			reasons: []string{"deadline_ahead"}, events: []string{"manifest_served", "declaration_active"},
		},
		moment{at: "2026-08-27T09:00", do: func() { m.ok(m.CheckOut(t.Context())) }, events: []string{"removed"}, more: func(d fleet.Device, _ []fleet.Event) {
			if d.Enrolled || len(d.Reasons) > 0 {
				t.Errorf("enrolled %v, reasons %v", d.Enrolled, d.Reasons)
			}
			var c fleet.Compliance
			if l.call("GET", "/v1/compliance", "", http.StatusOK, &c); c.Devices != 0 {
				t.Errorf("%d devices are counted", c.Devices)
			}
			if err := m.Poll(t.Context()); err != nil {
				t.Errorf("a Mac that checked out has nothing to ask: %v", err)
			}
		}},
		moment{
			at: "2026-08-28T20:00", do: func() { m.enrol(); m.poll() }, state: "pending", phase: "active", deadline: "2026-09-03T12:00:00",
			reasons: []string{"deadline_ahead"}, events: []string{"identity_changed", "re_enrolled", "policy_changed", "target_set", "manifest_served", "declaration_active"},
		},
	)
}

func TestLifeDuplicateSerial(t *testing.T) {
	t.Parallel()
	l := newLives(t, begins, summerFeed(t))
	l.call("POST", "/v1/policies", fortnight, http.StatusCreated, nil)
	m := l.air("C02TWICE", "26.6.1", "25G76")
	synced(l, m)
	spec := m.Spec()
	spec.UDID, spec.OS, spec.Name = "00008112-000000000000711A", sim.OS{Version: "26.6.2", Build: "25G83"}, "Board swapped"
	twin := &simMac{l: l, opt: m.opt, Mac: sim.New(spec, sim.Faults{}, m.opt)}
	twin.live(moment{
		at: "2026-08-23T09:00", do: func() { twin.enrol(); twin.poll() }, state: "compliant",
		events: []string{"enrolled", "policy_changed", "compliant", "manifest_served"}, // Authenticate says what it runs
	})
	m.live(moment{at: "2026-08-23T09:01", do: m.poll, state: "pending", phase: "active", deadline: due, reasons: []string{"deadline_ahead"}})
	for _, route := range []string{"", "/plan", "/events", "/status"} {
		status, _, body := l.request(adminToken, "GET", "/v1/devices/C02TWICE"+route, "")
		if status != http.StatusConflict || !strings.Contains(string(body), m.id()) || !strings.Contains(string(body), twin.id()) {
			t.Errorf("%q by a serial number of two Macs: %d %s", route, status, body)
		}
	}
	var page struct{ Devices []fleet.Device }
	l.call("GET", "/v1/devices?q=C02TWICE", "", http.StatusOK, &page)
	if len(page.Devices) != 2 {
		t.Errorf("%d devices have the serial number", len(page.Devices))
	}
	l.call("DELETE", "/v1/devices/"+twin.id(), "", http.StatusNoContent, nil)
	if err := twin.Poll(t.Context()); statusOf(err) != http.StatusBadRequest {
		t.Errorf("a Mac that was deleted polls: %v", err)
	}
	var d fleet.Device
	l.call("GET", "/v1/devices/C02TWICE", "", http.StatusOK, &d)
	if d.ID != m.id() {
		t.Errorf("the serial number finds %s", d.ID)
	}
}

// A Mac that stopped reporting is told to sync once when that sets in, is asked what it runs, and its answer counts.
func TestLifeStaleReports(t *testing.T) {
	t.Parallel()
	l := newLives(t, begins, summerFeed(t))
	l.call("POST", "/v1/policies", fortnight, http.StatusCreated, nil)
	m := l.air("C02STALE", "26.6.1", "25G76")
	m.Faults.StopsReporting = true
	stale := func(at string, events ...string) moment {
		return moment{
			at: at, do: m.poll, state: "pending", phase: "served", deadline: due,
			reasons: []string{"report_stale", "not_fetched", "deadline_ahead"}, flags: []string{"report_stale"}, events: events,
		}
	}
	m.live(
		moment{
			at: begins, do: func() { m.enrol(); m.poll() }, state: "pending", phase: "served", deadline: due, reasons: []string{"not_fetched", "deadline_ahead"},
			events: []string{"enrolled", "policy_changed", "target_set", "manifest_served"},
		},
		moment{at: "2026-08-24T20:00", do: m.poll, state: "pending", phase: "served", deadline: due, reasons: []string{"not_fetched", "deadline_ahead"}},
		stale("2026-08-25T20:01", "manifest_served"),
		stale("2026-08-26T20:02"),
		stale("2026-08-27T20:03"),
		moment{ // it reports again, and falls silent about itself once more: the generation is raised again
			at: "2026-08-28T09:00", do: func() {
				m.Faults.StopsReporting = false
				m.ok(m.Report(t.Context(), true))
				m.Faults.StopsReporting = true
			},
			state: "pending", phase: "active", deadline: due, reasons: []string{"deadline_ahead"}, events: []string{"declaration_active"},
		},
		moment{at: "2026-08-30T09:00", do: m.poll, state: "pending", phase: "active", deadline: due, reasons: []string{"deadline_ahead"}},
		moment{ // meanwhile its user updated it: the answer to the question says so
			at: "2026-08-31T09:01", do: func() { m.SetOS(sim.OS{Version: "26.6.2", Build: "25G83"}); m.poll() }, state: "compliant",
			reasons: []string{"report_stale"}, flags: []string{"report_stale"}, events: []string{"updated", "compliant", "manifest_served"},
		},
	)
}

// A Mac that was restored from a backup forgot its last sync, which its report shows: it is told to sync again, at most once a day.
func TestLifeLostSync(t *testing.T) {
	t.Parallel()
	l := newLives(t, begins, summerFeed(t))
	l.call("POST", "/v1/policies", fortnight, http.StatusCreated, nil)
	m := l.air("C02LOST", "26.6.1", "25G76")
	synced(l, m)
	backup, err := m.Save()
	m.ok(err)
	restore := func() {
		m.Mac, err = sim.Restore(backup, m.opt)
		m.ok(err)
		m.ok(m.Report(t.Context(), true))
	}
	const later = "2026-09-06T12:00:00"
	m.live(
		moment{
			at: "2026-08-23T09:00", do: func() {
				l.call("PUT", "/v1/policies/everyone", strings.Replace(fortnight, "14", "20", 1), http.StatusOK, nil)
				l.sweep()
				m.poll()
			}, state: "pending", phase: "active", deadline: later, reasons: []string{"deadline_ahead"},
			events: []string{"deadline_changed", "phase", "manifest_served", "declaration_active"},
		},
		moment{ // within 10 minutes of the manifest a report may be older than it
			at: "2026-08-23T09:09", do: restore, state: "pending", phase: "served", deadline: later, reasons: []string{"not_fetched", "deadline_ahead"}, events: []string{"phase"},
		},
		moment{
			at: "2026-08-23T09:10", do: restore, state: "pending", phase: "served", deadline: later,
			reasons: []string{"not_synced", "not_fetched", "deadline_ahead"}, flags: []string{"not_synced"},
		},
		moment{
			at: "2026-08-23T09:11", do: m.poll, state: "pending", phase: "active", deadline: later,
			reasons: []string{"deadline_ahead"}, events: []string{"manifest_served", "declaration_active"},
		},
		moment{ // the same again on the same day: once is enough
			at: "2026-08-23T10:00", do: restore, state: "pending", phase: "served", deadline: later, reasons: []string{"not_fetched", "deadline_ahead"}, events: []string{"phase"},
		},
		moment{
			at: "2026-08-24T09:10", do: restore, state: "pending", phase: "served", deadline: later,
			reasons: []string{"not_synced", "not_fetched", "deadline_ahead"}, flags: []string{"not_synced"},
		},
		moment{
			at: "2026-08-24T09:11", do: m.poll, state: "pending", phase: "active", deadline: later,
			reasons: []string{"deadline_ahead"}, events: []string{"manifest_served", "declaration_active"},
		},
	)
}
