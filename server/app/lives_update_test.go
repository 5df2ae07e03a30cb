package app_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"plimsoll/declarations/release"
	"plimsoll/examples/macs/sim"
	"plimsoll/server/fleet"
)

// fortnight is the policy of most scenarios. By it 26.6.2, posted on 2026-08-17, is due on August 31 at noon (rules 6.3); fair notice of 5 days
// for a Mac that meets it on August 22 at 20:00 (August 23 at 10:00 where clocks arrive first) is August 28 at noon, which is earlier.
const fortnight = `{"name":"everyone","priority":10,"updates":{"mode":"automatic","within_days":14,"time":"12:00"}}`

const (
	begins = "2026-08-22T20:00"
	due    = "2026-08-31T12:00:00"
)

// synced begins a life: a Mac on 26.6.1 enrols and syncs under the policy fortnight.
func synced(l *lives, m *simMac) {
	l.t.Helper()
	m.live(
		moment{
			at: begins, do: m.enrol, state: "pending", phase: "planned", deadline: due,
			reasons: []string{"never_synced", "deadline_ahead"}, flags: []string{"not_synced"}, events: []string{"enrolled", "policy_changed", "target_set"},
		},
		moment{
			at: "2026-08-22T20:01", do: m.poll, state: "pending", phase: "active", deadline: due,
			reasons: []string{"deadline_ahead"}, events: []string{"manifest_served", "declaration_active"},
		},
	)
}

func TestLifeNormalUpdate(t *testing.T) {
	t.Parallel()
	l := newLives(t, begins, summerFeed(t))
	l.call("POST", "/v1/policies", fortnight, http.StatusCreated, nil)
	m := l.air("C02NORMAL", "26.6.1", "25G76")
	synced(l, m)
	m.live(
		moment{
			at: "2026-08-22T21:00", do: func() { m.reach(m.Wait) }, state: "pending", phase: "waiting", deadline: due,
			reasons: []string{"waiting", "deadline_ahead"}, events: []string{"phase"},
		},
		moment{
			at: "2026-08-22T22:00", do: func() { m.reach(m.StartDownload) }, state: "pending", phase: "downloading", deadline: due,
			reasons: []string{"downloading", "deadline_ahead"}, events: []string{"phase"},
		},
		moment{ // nothing arrives, and time says why
			at: "2026-08-23T22:01", state: "pending", phase: "downloading", deadline: due,
			reasons: []string{"downloading_long", "deadline_ahead"},
		},
		moment{
			at: "2026-08-24T08:00", do: func() { m.reach(m.FinishDownload) }, state: "pending", phase: "prepared", deadline: due,
			reasons: []string{"prepared", "deadline_ahead"}, events: []string{"phase"},
		},
		moment{
			at: "2026-08-24T12:00", do: func() { m.reach(m.StartInstall) }, state: "pending", phase: "installing", deadline: due,
			reasons: []string{"installing", "deadline_ahead"}, events: []string{"phase"},
		},
		moment{
			at: "2026-08-24T12:30", do: func() { m.reach(m.FinishInstall) }, state: "compliant", flags: []string{"not_synced"},
			events: []string{"updated", "compliant"},
			more: func(d fleet.Device, events []fleet.Event) {
				u := events[0].Data
				if u["from"] != "26.6.1" || u["to"] != "26.6.2" || u["to_build"] != "25G83" || u["reached_target"] != true ||
					u["seconds_since_target"] != float64(40*3600+1800) || u["seconds_since_served"] != float64(40*3600+1800-60) {
					t.Errorf("updated: %v", u)
				}
				if d.OS.Version != "26.6.2" || d.Target != nil {
					t.Errorf("runs %+v, target %+v", d.OS, d.Target)
				}
			},
		},
		moment{at: "2026-08-24T12:31", do: m.poll, state: "compliant", events: []string{"manifest_served"}},
	)
	if held := strings.Join(m.Held(), " "); strings.Contains(held, "os-update") {
		t.Errorf("the Mac still holds %s", held)
	}
}

func TestLifeFailedInstallRecovers(t *testing.T) {
	t.Parallel()
	l := newLives(t, begins, summerFeed(t))
	l.call("POST", "/v1/policies", fortnight, http.StatusCreated, nil)
	m := l.air("C02FAILS", "26.6.1", "25G76")
	synced(l, m)
	fails := func() error { return m.FailInstall(sim.BatteryText) }
	m.live(
		moment{
			at: "2026-08-23T10:00", do: func() { m.reach(m.StartDownload, m.FinishDownload, m.StartInstall) }, state: "pending", phase: "installing", deadline: due,
			reasons: []string{"installing", "deadline_ahead"}, events: []string{"phase", "phase", "phase"},
		},
		moment{
			at: "2026-08-23T10:20", do: func() { m.reach(fails) }, state: "failing", phase: "failed", deadline: due,
			reasons: []string{"failure_battery", "install_failed"}, events: []string{"failed"},
			more: func(d fleet.Device, events []fleet.Event) {
				e := d.Reasons[1].Evidence
				if e["reason"] != sim.BatteryText || e["count"] != 1.0 || e["failed_at"] != "2026-08-23T10:20:00Z" || e["build"] != "25G83" {
					t.Errorf("evidence %v", e)
				}
				if events[0].Data["reason"] != sim.BatteryText {
					t.Errorf("the event's data %v", events[0].Data)
				}
			},
		},
		moment{ // macOS tries again: until it succeeds, the last attempt is what counts
			at: "2026-08-24T10:00", do: func() { m.reach(m.StartDownload, m.FinishDownload, m.StartInstall) }, state: "failing", phase: "failed", deadline: due,
			reasons: []string{"failure_battery", "install_failed"},
		},
		moment{
			at: "2026-08-24T10:20", do: func() { m.reach(fails) }, state: "failing", phase: "failed", deadline: due,
			reasons: []string{"failure_battery", "install_failed"}, events: []string{"failed"},
			more: func(d fleet.Device, _ []fleet.Event) {
				if e := d.Reasons[0].Evidence; e["count"] != 2.0 {
					t.Errorf("evidence %v", e)
				}
			},
		},
		moment{
			at: "2026-08-25T09:00", do: func() { m.reach(m.StartDownload, m.FinishDownload, m.StartInstall, m.FinishInstall) }, state: "compliant",
			flags: []string{"not_synced"}, events: []string{"updated", "compliant"},
		},
	)
}

func TestLifeRejectedDeclaration(t *testing.T) {
	t.Parallel()
	l := newLives(t, begins, summerFeed(t))
	l.call("POST", "/v1/policies", fortnight, http.StatusCreated, nil)
	m := l.air("C02REJECTS", "26.6.1", "25G76")
	m.Faults.Reject = sim.RejectText
	m.live(
		moment{
			at: begins, do: func() { m.enrol(); m.poll() }, state: "failing", phase: "rejected", deadline: due, reasons: []string{"rejected"},
			events: []string{"enrolled", "policy_changed", "target_set", "manifest_served", "declaration_rejected"},
			more: func(d fleet.Device, _ []fleet.Event) {
				r := d.Reasons[0]
				if r.Evidence["identifier"] != "plimsoll.os-update" || r.Evidence["code"] != "Error.ConfigurationCannotBeApplied" || !strings.Contains(r.Text, sim.RejectText) {
					t.Errorf("%s; %v", r.Text, r.Evidence)
				}
			},
		},
		moment{ // an edit that gives the Mac another declaration: due in 20 days, which is later than what was promised (rules 6.4)
			at: "2026-08-23T09:00", do: func() {
				m.Faults.Reject = ""
				l.call("PUT", "/v1/policies/everyone", strings.Replace(fortnight, "14", "20", 1), http.StatusOK, nil)
			},
			state: "pending", phase: "planned", deadline: "2026-09-06T12:00:00",
			reasons: []string{"not_synced", "deadline_ahead"}, flags: []string{"not_synced"}, events: []string{"deadline_changed", "phase"},
		},
		moment{
			at: "2026-08-23T09:01", do: m.poll, state: "pending", phase: "active", deadline: "2026-09-06T12:00:00",
			reasons: []string{"deadline_ahead"}, events: []string{"manifest_served", "declaration_active"},
		},
	)
}

// A Mac that its user updates to something that the server does not know of yet: what is asked is satisfied all the same.
func TestLifeUpdatesItselfToSomethingNewer(t *testing.T) {
	t.Parallel()
	l := newLives(t, "2026-08-15T09:00", without(t, summerFeed(t), "26.6.2"))
	l.call("POST", "/v1/policies", fortnight, http.StatusCreated, nil)
	m := l.air("C02NEWER", "26.6", "25G72")
	// 26.6.1 was posted on August 6; 5 days' notice from August 15 at 23:00 (UTC+14) end on August 20, and the next noon is the 21st's.
	const deadline = "2026-08-21T12:00:00"
	m.live(
		moment{
			at: "2026-08-15T09:00", do: func() { m.enrol(); m.poll() }, state: "pending", phase: "active", deadline: deadline, reasons: []string{"deadline_ahead"},
			events: []string{"enrolled", "policy_changed", "target_set", "manifest_served", "declaration_active"},
			more: func(d fleet.Device, _ []fleet.Event) {
				if d.Target == nil || d.Target.Build != "25G76" {
					t.Errorf("target %+v", d.Target)
				}
			},
		},
		moment{
			at: "2026-08-16T10:00", do: func() { m.SetOS(sim.OS{Version: "26.7", Build: "25H1"}); m.report() }, state: "compliant",
			flags: []string{"not_synced", "prerelease"}, events: []string{"updated", "compliant"},
			more: func(_ fleet.Device, events []fleet.Event) {
				if events[0].Data["to"] != "26.7" || events[0].Data["reached_target"] != true {
					t.Errorf("updated: %v", events[0].Data)
				}
			},
		},
		moment{at: "2026-08-16T10:01", do: m.poll, state: "compliant", flags: []string{"prerelease"}, events: []string{"manifest_served"}},
		moment{ // Apple posts it, and the server learns of it
			at: "2026-08-16T19:15", do: func() {
				l.publish([]byte(strings.ReplaceAll(strings.ReplaceAll(string(summerFeed(t)), `"26.6.2"`, `"26.7"`), `"25G83"`, `"25H1"`)))
				l.call("POST", "/v1/catalog/refresh", "", http.StatusOK, nil)
			}, state: "compliant",
		},
	)
}

// A Mac that removes a Background Security Improvement is asked for it again, with fair notice, and takes it again.
func TestLifeRemovesBSI(t *testing.T) {
	t.Parallel()
	l := newLives(t, "2026-03-18T08:00", springFeed(t))
	l.call("POST", "/v1/policies", `{"name":"bsi","priority":10,"updates":{"mode":"none"},"background_security":{"mode":"automatic","within_days":2,"time":"12:00"}}`, http.StatusCreated, nil)
	m := l.air("C02BSI", "26.3.1", "25D2128")
	// Posted on March 17, due on the 19th; 2 days' notice from March 18 at 22:00 (UTC+14) end on the 20th at 22:00, and the next noon is the 21st's.
	const deadline = "2026-03-21T12:00:00"
	install := func() { m.reach(m.StartDownload, m.FinishDownload, m.StartInstall, m.FinishInstall) }
	m.live(
		moment{
			at: "2026-03-18T08:00", do: func() { m.enrol(); m.poll() }, state: "pending", phase: "active", deadline: deadline,
			reasons: []string{"deadline_ahead"}, flags: []string{"bsi_pending"},
			events: []string{"enrolled", "policy_changed", "target_set", "manifest_served", "declaration_active"},
			more: func(d fleet.Device, _ []fleet.Event) {
				if d.Target == nil || d.Target.Kind != release.KindBSI || d.Target.Version != "26.3.1" || d.Target.Build != "25D771280a" || text(d.DueLocal) != "2026-03-19T12:00:00" {
					t.Errorf("target %+v, due %s", d.Target, text(d.DueLocal))
				}
			},
		},
		moment{
			at: "2026-03-18T12:00", do: install, state: "compliant", flags: []string{"not_synced"},
			events: []string{"phase", "phase", "phase", "updated", "compliant"},
			more: func(d fleet.Device, _ []fleet.Event) {
				if d.OS.Letter != "a" || d.OS.SupplementalBuild != "25D771280a" || d.OS.Build != "25D2128" {
					t.Errorf("runs %+v", d.OS)
				}
			},
		},
		moment{at: "2026-03-18T12:01", do: m.poll, state: "compliant", events: []string{"manifest_served"}},
		moment{ // the lane had no target in between: the obligation is a new one (March 25 at 22:00 at UTC+14, 2 days, noon)
			at: "2026-03-25T08:00", do: func() { m.ok(m.RemoveBSI()); m.report() }, state: "pending", phase: "planned", deadline: "2026-03-28T12:00:00",
			reasons: []string{"not_synced", "deadline_ahead"}, flags: []string{"not_synced", "bsi_pending"}, events: []string{"reverted", "target_set"},
		},
		moment{
			at: "2026-03-25T08:01", do: m.poll, state: "pending", phase: "active", deadline: "2026-03-28T12:00:00",
			reasons: []string{"deadline_ahead"}, flags: []string{"bsi_pending"}, events: []string{"manifest_served", "declaration_active"},
		},
		moment{
			at: "2026-03-25T09:00", do: install, state: "compliant", flags: []string{"not_synced"},
			events: []string{"phase", "phase", "phase", "updated", "compliant"},
		},
	)
}

// The Mac's clock is wrong: the server's own times do not suffer, and the deadline is the one that the Mac reads on its own clock.
func TestLifeClockSkew(t *testing.T) {
	t.Parallel()
	l := newLives(t, begins, summerFeed(t))
	l.call("POST", "/v1/policies", fortnight, http.StatusCreated, nil)
	m := l.air("C02SKEW", "26.6.1", "25G76")
	m.Faults.ClockSkew = 37 * time.Hour // ahead
	synced(l, m)
	m.live(
		moment{
			at: "2026-08-23T09:00", do: func() {
				m.reach(m.StartDownload, m.FinishDownload, m.StartInstall, func() error { return m.FailInstall(sim.DiskText) })
			}, state: "failing", phase: "failed", deadline: due, reasons: []string{"failure_disk", "install_failed"}, events: []string{"phase", "phase", "phase", "failed"},
			more: func(d fleet.Device, events []fleet.Event) {
				if at := d.Reasons[1].Evidence["failed_at"]; at != "2026-08-24T22:00:00Z" || d.LastReportAt == nil || !d.LastReportAt.Equal(l.now()) {
					t.Errorf("failed at %v by the Mac's clock, reported at %v", at, d.LastReportAt)
				}
			},
		},
		moment{ // now it is 37 hours behind
			at: "2026-08-25T12:00", do: func() { m.Faults.ClockSkew = -37 * time.Hour; m.poll() }, state: "failing", phase: "failed", deadline: due,
			reasons: []string{"failure_disk", "install_failed"},
		},
		moment{at: "2026-08-28T11:00", do: m.poll, state: "failing", phase: "failed", deadline: due, reasons: []string{"failure_disk", "install_failed"}},
		moment{at: "2026-08-30T11:00", do: m.poll, state: "failing", phase: "failed", deadline: due, reasons: []string{"failure_disk", "install_failed"}},
		moment{ // the deadline has passed here; for the Mac it lies ahead
			at: "2026-08-31T12:00", do: m.poll, state: "failing", phase: "failed", deadline: due,
			reasons: []string{"failure_disk", "install_failed", "deadline_passed"}, flags: []string{"past_deadline"},
		},
		moment{
			at: "2026-09-02T01:10", do: func() { m.reach(m.StartDownload, m.FinishDownload, m.StartInstall, m.FinishInstall) }, state: "compliant",
			flags: []string{"not_synced"}, events: []string{"updated", "compliant"},
		},
	)
}
