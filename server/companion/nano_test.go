package companion_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"plimsoll/declarations/policy"
	"plimsoll/examples/macs/sim"
	"plimsoll/server/fleet"
)

// required asks every Mac for 26.6.2, which the built-in snapshot has for all boards of these tests.
func (r *rig) required() {
	r.t.Helper()
	days := 14
	_, err := r.fleet.PutPolicy(r.t.Context(), policy.Policy{
		Name: "everyone", Priority: 1, Updates: &policy.Updates{Mode: "automatic", WithinDays: &days},
	}, fleet.WriteOptions{By: fleet.Origin{Actor: "test"}, Confirm: true})
	if err != nil {
		r.t.Fatal(err)
	}
}

// faults are what the Macs found wrong. NanoMDM answers JSON as text/plain, which is not ours to mend.
func (r *rig) faults() {
	r.t.Helper()
	for _, v := range r.stats.Violations() {
		if v.Rule != "content-type" {
			r.t.Errorf("%s: %s: %s", v.Serial, v.Rule, v.Text)
		}
	}
}

func types(t *testing.T, r *rig, id string) (names []string) {
	t.Helper()
	page, err := r.fleet.DeviceEvents(t.Context(), id, 100, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range page.Items {
		names = append(names, e.Type)
	}
	slices.Reverse(names)
	return names
}

// A Mac enrols with NanoMDM, syncs with us through it, reports, updates, checks out and enrols again; with both of NanoMDM's
// storages that need no database.
func TestLifeBesideNanoMDM(t *testing.T) {
	for name, flags := range map[string][]string{"inmem": nil, "filekv": {"-storage", "filekv", "-storage-dsn", t.TempDir()}} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, flags...)
			r.required()
			m := r.mac(1, "26.5", "25F71")
			id := m.Spec().UDID
			if err := m.Enrol(t.Context()); err != nil {
				t.Fatal(err)
			}
			await(t, "the enrolment", func() bool { return r.count("mdm.SetBootstrapToken", id) == 1 && r.device(id).BootstrapToken })
			r.settledHolding(m, "plimsoll.os-update")
			d := r.device(id)
			if d.Serial != "BESIDE0001" || d.OS.Version != "26.5" || d.Board != "J413AP" || d.LastReportAt == nil || d.Target == nil || d.Target.Version != "26.6.2" {
				t.Errorf("after the first sync: %+v", d)
			}
			if body, ok := m.Declaration("plimsoll.os-update"); !ok || !strings.Contains(string(body), `"TargetOSVersion":"26.6.2"`) {
				t.Errorf("the declaration is %s", body)
			}

			m.SetOS(sim.OS{Version: "26.6.2", Build: "25G83"})
			if err := m.Report(t.Context(), false); err != nil {
				t.Fatal(err)
			}
			if d = r.device(id); d.State != "compliant" || d.OS.Version != "26.6.2" {
				t.Errorf("after the update: %s, %+v", d.State, d.OS)
			}
			r.settled(m)

			r.later(time.Hour)
			token := m.Token()
			if err := m.CheckOut(t.Context()); err != nil {
				t.Fatal(err)
			}
			await(t, "the CheckOut", func() bool { return !r.device(id).Enrolled })
			r.later(time.Hour)
			if err := m.Enrol(t.Context()); err != nil {
				t.Fatal(err)
			}
			await(t, "the second enrolment", func() bool { return r.device(id).Enrolled && r.count("mdm.TokenUpdate", id) == 2 })
			r.settled(m)
			if m.Token() == token || m.Token() == "" {
				t.Errorf("the second life has the token %q, the first had %q", m.Token(), token)
			}
			got := types(t, r, id)
			for _, want := range []string{"enrolled", "updated", "removed", "re_enrolled"} {
				if n := len(slices.DeleteFunc(slices.Clone(got), func(e string) bool { return e != want })); n != 1 {
					t.Errorf("%d events %s among %v", n, want, got)
				}
			}
			r.faults()
		})
	}
}

// settledHolding lets a Mac come until it holds a declaration.
func (r *rig) settledHolding(m *sim.Mac, identifier string) {
	r.t.Helper()
	await(r.t, "the Mac to hold "+identifier, func() bool {
		r.notify()
		if err := m.Poll(r.t.Context()); err != nil {
			r.t.Log(err)
		}
		return slices.Contains(m.Held(), identifier)
	})
}

// 40 Macs enrol at once, ten times: their events overtake each other, and after each time every Mac is in one life and has synced.
func TestManyEnrolAtOnce(t *testing.T) {
	r := newRig(t)
	macs := make([]*sim.Mac, 40)
	for i := range macs {
		macs[i] = r.mac(i+1, "26.6.2", "25G83")
	}
	for round := range 10 {
		r.later(2 * time.Minute)
		var all sync.WaitGroup
		for _, m := range macs {
			all.Go(func() {
				if err := m.Enrol(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		want := (round + 1) * len(macs)
		await(t, "all events", func() bool {
			return r.count("mdm.TokenUpdate", "") == want && r.count("mdm.Authenticate", "") == want && r.count("mdm.SetBootstrapToken", "") == want
		})
		r.settled(macs...)
		for _, m := range macs {
			if d := r.device(m.Spec().UDID); !d.Enrolled || d.Serial != m.Spec().Serial || d.OS.Version != "26.6.2" {
				t.Fatalf("round %d: %+v", round, d)
			}
		}
	}
	r.faults()
}

// What the webhook missed for an hour costs nothing but what only events tell; what comes twice, or backwards, changes nothing.
func TestWebhookDown(t *testing.T) {
	r := newRig(t)
	r.mu.Lock()
	r.down = true
	r.mu.Unlock()
	m := r.mac(1, "26.6.2", "25G83")
	id := m.Spec().UDID
	if err := m.Enrol(t.Context()); err != nil {
		t.Fatal(err)
	}
	await(t, "the lost events", func() bool { return r.count("mdm.SetBootstrapToken", id) == 1 })
	if d := r.device(id); d.ID != "" {
		t.Fatalf("it is known: %+v", d)
	}
	r.later(time.Hour)
	r.mu.Lock()
	r.down, r.events = false, nil
	r.mu.Unlock()
	if err := m.Poll(t.Context()); err != nil { // its next contact begins a life
		t.Fatal(err)
	}
	await(t, "the Mac to be known", func() bool { return r.device(id).Enrolled })
	r.settled(m)
	d := r.device(id)
	if d.Serial != m.Spec().Serial || d.OS.Version != "26.6.2" {
		t.Errorf("what Authenticate would have told was not asked: %+v", d)
	}
	if slices.Contains(d.Flags, "bootstrap_token_missing") {
		t.Error("nobody told of the bootstrap token, and it is said to be missing")
	}

	other := r.mac(2, "26.6.2", "25G83")
	oid := other.Spec().UDID
	if err := other.Enrol(t.Context()); err != nil {
		t.Fatal(err)
	}
	await(t, "the enrolment", func() bool { return r.count("mdm.SetBootstrapToken", oid) == 1 })
	r.settled(other)
	before, lives := r.device(oid), len(types(t, r, oid))
	token := other.Token()
	r.mu.Lock()
	all := slices.Clone(r.events)
	r.mu.Unlock()
	slices.Reverse(all)
	for _, e := range append(all, all...) {
		if status := r.post(e.body); status != http.StatusOK {
			t.Errorf("%s was answered %d", e.Topic, status)
		}
	}
	r.settled(other)
	if after := r.device(oid); !after.EnrolledAt.Equal(*before.EnrolledAt) || other.Token() != token || len(types(t, r, oid)) != lives {
		t.Errorf("events that came again changed %+v to %+v", before, after)
	}
	r.faults()
}

// NanoMDM is restarted in the middle. Its file storage keeps the enrolment; what could not be given meanwhile is given later.
func TestNanoMDMRestarts(t *testing.T) {
	r := newRig(t, "-storage", "filekv", "-storage-dsn", t.TempDir())
	m := r.mac(1, "26.5", "25F71")
	if err := m.Enrol(t.Context()); err != nil {
		t.Fatal(err)
	}
	await(t, "the enrolment", func() bool { return r.device(m.Spec().UDID).Enrolled })
	r.settled(m)
	r.nano.kill()
	r.required()
	r.notify()
	if n := r.notifier.GiveAll(t.Context()); n != 1 {
		t.Errorf("%d Macs wait for their commands", n)
	}
	r.nano.run(t)
	r.settledHolding(m, "plimsoll.os-update")
	r.faults()
}

// A push that fails after the command was queued: the command is not queued twice, and the Mac is told again.
func TestPushFails(t *testing.T) {
	r := newRig(t)
	m := r.mac(1, "26.5", "25F71")
	id := m.Spec().UDID
	if err := m.Enrol(t.Context()); err != nil {
		t.Fatal(err)
	}
	await(t, "the enrolment", func() bool { return r.device(id).Enrolled && r.count("mdm.SetBootstrapToken", id) == 1 })
	r.settled(m)
	r.mu.Lock()
	r.fail = func() error { return errors.New("Unregistered") }
	r.mu.Unlock()
	r.required()
	r.notify()
	failed := r.device(id)
	if !slices.ContainsFunc(failed.Reasons, func(p policy.Reason) bool { return p.Code == "push_failed" }) {
		t.Errorf("a failed push is not told: %+v", failed.Reasons)
	}
	polls := r.stats.Commands.Load()
	r.later(5 * time.Hour)
	r.notify()
	r.mu.Lock()
	r.fail = nil
	r.mu.Unlock()
	r.settledHolding(m, "plimsoll.os-update")
	if n := r.stats.Commands.Load() - polls; n != 1 {
		t.Errorf("the Mac got %d commands for one change", n)
	}
	r.faults()
}

// A Mac that is away for a month, in which something changes every day, gets at most a command a day, and syncs when it comes back.
func TestAMonthAway(t *testing.T) {
	r := newRig(t)
	m := r.mac(1, "26.5", "25F71")
	id := m.Spec().UDID
	if err := m.Enrol(t.Context()); err != nil {
		t.Fatal(err)
	}
	await(t, "the enrolment", func() bool { return r.device(id).Enrolled && r.count("mdm.SetBootstrapToken", id) == 1 })
	r.settled(m)
	before := r.stats.Commands.Load()
	for day := range 30 {
		r.later(25 * time.Hour)
		days := 14 + day
		_, err := r.fleet.PutPolicy(t.Context(), policy.Policy{
			Name: "everyone", Priority: 1, NoticeDays: new(int), Updates: &policy.Updates{Mode: "automatic", WithinDays: &days, Time: fmt.Sprintf("%02d:00", day%24)},
		}, fleet.WriteOptions{By: fleet.Origin{Actor: "test"}, Confirm: true})
		if err != nil {
			t.Fatal(err)
		}
		r.notify()
	}
	r.settledHolding(m, "plimsoll.os-update")
	if n := r.stats.Commands.Load() - before; n < 2 || n > 40 {
		t.Errorf("the Mac got %d commands", n)
	}
	await(t, "all answers to be taken", func() bool { // one may have been queued by the last look
		list, _, err := companionCommands(t, r, id)
		return err == nil && len(list) <= 1
	})
	r.faults()
}

func companionCommands(t *testing.T, r *rig, id string) ([]fleet.Command, string, error) {
	t.Helper()
	page, err := r.fleet.Commands(t.Context(), id, 100, "")
	return page.Items, page.Next, err
}

// An iPad and a user channel get an empty manifest, and count nowhere.
func TestOthersBesideNanoMDM(t *testing.T) {
	r := newRig(t)
	r.required()
	pad := sim.New(sim.Spec{
		Serial: "PAD1", UDID: "00008030-001A2B3C4D5E6F70", Name: "iPad", Hardware: sim.Hardware{Model: "iPad13,1", Name: "iPad"}, OS: sim.OS{Version: "26.5", Build: "25F71"},
	}, sim.Faults{}, sim.Options{URL: r.nano.url, Issuer: r.issuer, Keys: r.keys, Stats: &r.stats, Now: r.now})
	if err := pad.Enrol(t.Context()); err != nil {
		t.Fatal(err)
	}
	await(t, "the enrolment", func() bool { return r.device(pad.Spec().UDID).Enrolled })
	r.notify()
	if c, err := r.fleet.Compliance(t.Context()); err != nil || c.Devices != 0 {
		t.Errorf("%d Macs are counted", c.Devices)
	}
	for endpoint, want := range map[string]int{"tokens": 200, "declaration-items": 200, "declaration/configuration/plimsoll.status": 404} {
		if got := r.send("GET", "/dm/"+endpoint, dmSecret, nil, "X-Enrollment-ID", pad.Spec().UDID, "X-Enrollment-Type", "Device", "X-Hmac-Signature", signatureOf(dmKey, nil)); got != want {
			t.Errorf("%s of an iPad: %d", endpoint, got)
		}
		user := "564D4F2B-0000-4000-8000-000000000001:ADA"
		if got := r.send("GET", "/dm/"+endpoint, dmSecret, nil, "X-Enrollment-ID", user, "X-Enrollment-Type", "User", "X-Hmac-Signature", signatureOf(dmKey, nil)); got != want {
			t.Errorf("%s of a user channel: %d", endpoint, got)
		}
	}
	if d := r.device("564D4F2B-0000-4000-8000-000000000001"); d.ID != "" {
		t.Errorf("a user channel made a Mac: %+v", d)
	}
}
