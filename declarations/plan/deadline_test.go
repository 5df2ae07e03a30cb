package plan

import (
	"strings"
	"testing"
	"time"

	"plimsoll/declarations/calendar"

	"plimsoll/declarations"
	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
)

func TestFair(t *testing.T) {
	tests := []struct {
		name string
		now  string
		days int
		time string
		want string
	}{
		{"five days, from the morning", "2026-08-19T00:00:00Z", 5, "12:00", "2026-08-25T12:00"},
		{"just before noon where clocks arrive first", "2026-08-19T21:59:59Z", 5, "12:00", "2026-08-25T12:00"},
		{"at noon there", "2026-08-19T22:00:00Z", 5, "12:00", "2026-08-25T12:00"},
		{"half a second later", "2026-08-19T22:00:00.5Z", 5, "12:00", "2026-08-26T12:00"},
		{"one day", "2026-08-19T12:00:00Z", 1, "23:59", "2026-08-21T23:59"},
		{"no notice: today's, though it has passed", "2026-08-19T23:00:00Z", 0, "12:00", "2026-08-20T12:00"},
		{"no notice: today's, still ahead", "2026-08-19T20:00:00Z", 0, "12:00", "2026-08-20T12:00"},
		{"midnight", "2026-08-19T10:00:00Z", 2, "00:00", "2026-08-22T00:00"},
	}
	for _, tt := range tests {
		clock := (&policy.Policy{Updates: &policy.Updates{Mode: "automatic", WithinDays: new(int), Time: tt.time}}).Rule().Time
		if got := (calendar.Calendar{}).Fair(at(t, tt.now), tt.days, clock, false); got != local(t, tt.want) {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// rules 6.3: the due date of automatic.
func TestDueDates(t *testing.T) {
	tests := []struct {
		name     string
		policy   string
		releases []string
		mac      *Mac
		hold     string
		due      string
		setBy    string
		target   string
	}{
		{"the first missed release sets it", automatic14, august, mac("26.6", "25G72"), "", "2026-08-20T12:00", "25G76", "25G83"},
		{"a release that Apple withdrew counts as missed", automatic14, []string{"26.6.1 25G76 2026-08-06 J1AP gone", "26.6.2 25G83 2026-08-17 J1AP"}, mac("26.6", "25G72"), "", "2026-08-20T12:00", "25G76", "25G83"},
		{"a held one does not", automatic14, august, mac("26.6", "25G72"), "25G76", "2026-08-31T12:00", "25G83", "25G83"},
		{"one above the target does not", automatic14, august, mac("26.6", "25G72"), "25G83", "2026-08-20T12:00", "25G76", "25G76"},
		{"one of another major does not", automatic14, august, mac("15.7.8", "24G824"), "", "2026-08-20T12:00", "24G830", "24G830"},
		{"one of another board does not", automatic14, []string{"26.6.1 25G76 2026-08-06 J2AP", "26.6.2 25G83 2026-08-17 J1AP"}, mac("26.6", "25G72"), "", "2026-08-31T12:00", "25G83", "25G83"},
		{"at the time of the policy", `{"updates":{"mode":"automatic","within_days":14,"time":"18:30"}}`, august, mac("26.6.1", "25G76"), "", "2026-08-31T18:30", "25G83", "25G83"},
		{"exploited, when shorter", `{"updates":{"mode":"automatic","within_days":14,"exploited_within_days":3}}`, []string{"26.6.1 25G76 2026-08-06 J1AP", "26.6.2 25G83 2026-08-10 J1AP exploited"}, mac("26.6", "25G72"), "", "2026-08-13T12:00", "25G83", "25G83"},
		{"exploited, when longer", `{"updates":{"mode":"automatic","within_days":14,"exploited_within_days":30}}`, []string{"26.6.2 25G83 2026-08-10 J1AP exploited"}, mac("26.6", "25G72"), "", "2026-08-24T12:00", "25G83", "25G83"},
		{"exploited, without exploited_within_days", automatic14, []string{"26.6.2 25G83 2026-08-10 J1AP exploited"}, mac("26.6", "25G72"), "", "2026-08-24T12:00", "25G83", "25G83"},
		{"the older of two builds of a version was missed too", automatic14, []string{"26.0.1 25A362 2025-09-29 J1AP", "26.0.1 25A8364 2025-10-16 J1AP"}, mac("26.0", "25A354"), "", "2025-10-13T12:00", "25A362", "25A8364"},
		{"an upgrade: 90 days after its posting", `{"os":{"track":"26","upgrade":"enforce"},"updates":{"mode":"automatic","within_days":14}}`, []string{"15.7.9 24G830 2026-08-06 J1AP", "26.0 25A354 2026-02-15 J1AP", "26.0.1 25A362 2026-03-29 J1AP"}, mac("15.7.9", "24G830"), "", "2026-05-16T12:00", "25A354", "25A362"},
		{"an upgrade: after the policy began to ask for it", `{"os":{"track":"26","upgrade":"enforce","upgrade_within_days":60},"updates":{"mode":"automatic","within_days":14}}`, []string{"15.7.9 24G830 2025-08-06 J1AP", "26.0 25A354 2025-09-15 J1AP", "26.0.1 25A362 2025-09-29 J1AP"}, mac("15.7.9", "24G830"), "", "2026-03-02T12:00", "25A354", "25A362"},
		{"an upgrade: exploited does not apply", `{"os":{"track":"26","upgrade":"enforce"},"updates":{"mode":"automatic","within_days":14,"exploited_within_days":3}}`, []string{"15.7.9 24G830 2026-02-06 J1AP", "26.4 25E1 2026-03-20 J1AP exploited"}, mac("15.7.9", "24G830"), "", "2026-06-18T12:00", "25E1", "25E1"},
		{"an upgrade: majors in between count, up to the target", `{"os":{"track":"27","upgrade":"enforce"},"updates":{"mode":"automatic","within_days":14}}`, []string{"15.7.9 24G830 2026-02-06 J1AP", "26.0 25A354 2026-01-15 J1AP gone", "27.0 26A1 2026-09-14 J1AP", "27.1 26B1 2026-10-20 J1AP", "28.0 27A1 2026-01-02 J1AP"}, mac("15.7.9", "24G830"), "", "2026-04-15T12:00", "25A354", "26B1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := given(t, tt.policy, "2026-01-01T15:00", tt.releases...)
			if tt.hold != "" {
				w.hold(tt.hold, "2026-01-01")
			}
			p := w.step(tt.mac, "2026-11-20", true)
			if p.Target == nil || p.Target.Build != tt.target || p.Due != local(t, tt.due) {
				t.Fatalf("target %v due %s, want %s due %s", p.Target, p.Due, tt.target, tt.due)
			}
			for _, l := range p.Lanes {
				if l.Lane == p.Lane && l.DueSetBy.Build != tt.setBy {
					t.Errorf("set by %s, want %s", l.DueSetBy.Build, tt.setBy)
				}
			}
		})
	}
}

// What asks is one step of a Mac's life: at a time something may change, then it is planned, by the Mac or by a sweep.
type moment struct {
	now      string
	asks     bool
	change   func(*world, *Mac)
	target   string
	deadline string
}

func live(t *testing.T, w *world, m *Mac, moments []moment) {
	t.Helper()
	for _, s := range moments {
		if s.change != nil {
			s.change(w, m)
		}
		p := w.step(m, s.now, s.asks)
		build := ""
		if p.Target != nil {
			build = p.Target.Build
		}
		if build != s.target || p.Deadline != local(t, s.deadline) {
			t.Errorf("at %s: target %q by %s, want %q by %s", s.now, build, p.Deadline, s.target, s.deadline)
		}
	}
}

func policyIs(t *testing.T, src string) func(*world, *Mac) {
	return func(w *world, _ *Mac) {
		p := pol(t, src)
		before := &w.in.Policies[0]
		w.in.Policies = []policy.Stored{{Policy: p, CreatedAt: before.CreatedAt, Asks: policy.Asks(before, &p, at(t, "2026-08-18"))}}
	}
}

func releases(specs ...string) func(*world, *Mac) {
	return func(w *world, _ *Mac) { w.in.Catalog = catalog(w.t, specs...) }
}

func holds(list ...string) func(*world, *Mac) {
	return func(w *world, _ *Mac) {
		w.in.Holds = nil
		for _, h := range list {
			w.hold(h, "2026-08-01")
		}
	}
}

func returns(when string) func(*world, *Mac) {
	return func(w *world, m *Mac) { m.BackAt = at(w.t, when) }
}

func updates(version, build string) func(*world, *Mac) {
	return func(_ *world, m *Mac) { m.Facts.Version, m.Facts.Build = release.Version(version), build }
}

// rules 6.4: promises. 26.6.1 was posted on the 6th, 26.6.2 on the 17th of August.
func TestPromises(t *testing.T) {
	last := august[len(august)-2:]
	exploited := []string{last[0], last[1] + " exploited"}
	within := func(days string) string {
		return `{"updates":{"mode":"automatic","within_days":` + days + `,"exploited_within_days":3}}`
	}
	tests := []struct {
		name    string
		policy  string
		mac     *Mac
		moments []moment
	}{
		{"a policy that comes late gives five days' notice, and keeps to them", within("7"), mac("26.6", "25G72"), []moment{
			{"2026-08-20T00:00", false, nil, "25G83", "2026-08-26T12:00"},
			{"2026-08-21T00:00", true, nil, "25G83", "2026-08-26T12:00"},
			{"2026-08-25T00:00", true, nil, "25G83", "2026-08-26T12:00"},
			{"2026-09-25T00:00", true, nil, "25G83", "2026-08-26T12:00"},
		}},
		{"a due date far enough ahead is the deadline", within("30"), mac("26.6.1", "25G76"), []moment{
			{"2026-08-20T00:00", true, nil, "25G83", "2026-09-16T12:00"},
			{"2026-09-15T00:00", true, nil, "25G83", "2026-09-16T12:00"},
		}},
		{"a new release changes the target and not the deadline", within("14"), mac("26.6", "25G72"), []moment{
			{"2026-08-07T00:00", true, releases(last[0]), "25G76", "2026-08-20T12:00"},
			{"2026-08-17T19:00", true, releases(last...), "25G83", "2026-08-20T12:00"},
		}},
		{"a release marked as exploited late gives three days' notice", within("30"), mac("26.6.1", "25G76"), []moment{
			{"2026-08-18T00:00", true, releases(last...), "25G83", "2026-09-16T12:00"},
			{"2026-08-25T00:00", false, releases(exploited...), "25G83", "2026-08-29T12:00"},
			{"2026-08-26T00:00", true, nil, "25G83", "2026-08-29T12:00"},
			{"2026-08-28T23:00", true, nil, "25G83", "2026-08-29T12:00"},
		}},
		{"a later due date moves the deadline", within("7"), mac("26.6.1", "25G76"), []moment{
			{"2026-08-18T00:00", true, nil, "25G83", "2026-08-24T12:00"},
			{"2026-08-19T00:00", true, policyIs(t, within("21")), "25G83", "2026-09-07T12:00"},
		}},
		{"an earlier due date never comes without notice", within("30"), mac("26.6.1", "25G76"), []moment{
			{"2026-08-18T00:00", true, nil, "25G83", "2026-09-16T12:00"},
			{"2026-08-27T00:00", true, policyIs(t, within("7")), "25G83", "2026-09-02T12:00"},
		}},
		{"edits to and fro postpone nothing", within("7"), mac("26.6", "25G72"), []moment{
			{"2026-08-20T00:00", true, nil, "25G83", "2026-08-26T12:00"},
			{"2026-08-22T00:00", true, policyIs(t, within("8")), "25G83", "2026-08-26T12:00"},
			{"2026-08-24T00:00", true, policyIs(t, within("7")), "25G83", "2026-08-26T12:00"},
			{"2026-08-26T00:00", true, policyIs(t, within("8")), "25G83", "2026-08-26T12:00"},
		}},
		{"a hold let go starts anew", within("7"), mac("26.6.1", "25G76"), []moment{
			{"2026-08-20T00:00", true, nil, "25G83", "2026-08-26T12:00"},
			{"2026-08-22T00:00", true, holds("26.6.2"), "", ""},
			{"2026-08-25T00:00", true, holds(), "25G83", "2026-08-31T12:00"},
		}},
		{"a pause starts anew", within("7"), mac("26.6.1", "25G76"), []moment{
			{"2026-08-20T00:00", true, nil, "25G83", "2026-08-26T12:00"},
			{"2026-08-22T00:00", true, func(w *world, _ *Mac) { w.in.Pause = &release.Pause{} }, "", ""},
			{"2026-08-25T00:00", true, func(w *world, _ *Mac) { w.in.Pause = nil }, "25G83", "2026-08-31T12:00"},
		}},
		{"minimum gives a day's notice, at the time of its deadline", `{"updates":{"mode":"minimum","version":"26.6.1","deadline":"2026-08-15T09:30:00"}}`, mac("26.6", "25G72"), []moment{
			{"2026-08-20T00:00", true, nil, "25G83", "2026-08-22T09:30"},
			{"2026-08-24T00:00", true, nil, "25G83", "2026-08-22T09:30"},
		}},
		{"no notice: today's, then that", `{"notice_days":0,"updates":{"mode":"minimum","version":"26.6.1","deadline":"2026-08-15T09:30:00"}}`, mac("26.6", "25G72"), []moment{
			{"2026-08-20T00:00", true, nil, "25G83", "2026-08-20T09:30"},
			{"2026-08-21T00:00", true, nil, "25G83", "2026-08-20T09:30"},
		}},
		{"a promise that was never served is made anew when the Mac asks, once", within("7"), mac("26.6", "25G72"), []moment{
			{"2026-08-20T00:00", false, nil, "25G83", "2026-08-26T12:00"},
			{"2026-08-24T00:00", false, nil, "25G83", "2026-08-26T12:00"},
			{"2026-08-28T00:00", false, nil, "25G83", "2026-08-26T12:00"}, // a sweep renews nothing
			{"2026-08-28T01:00", true, nil, "25G83", "2026-09-03T12:00"},
			{"2026-09-05T01:00", true, nil, "25G83", "2026-09-03T12:00"},
		}},
		{"not while more than 24 hours are left where clocks arrive first", within("7"), mac("26.6", "25G72"), []moment{
			{"2026-08-20T00:00", false, nil, "25G83", "2026-08-26T12:00"},
			{"2026-08-24T22:00", true, nil, "25G83", "2026-08-26T12:00"},
		}},
		{"a promise equal to the due date is made anew as well", within("30"), mac("26.6.1", "25G76"), []moment{
			{"2026-08-20T00:00", false, nil, "25G83", "2026-09-16T12:00"},
			{"2026-09-18T00:00", true, nil, "25G83", "2026-09-24T12:00"},
		}},
		{"what was served in this obligation is not postponed further by what was not", within("30"), mac("26.6.1", "25G76"), []moment{
			{"2026-08-20T00:00", true, releases(last...), "25G83", "2026-09-16T12:00"},
			{"2026-09-08T00:00", false, releases(exploited...), "25G83", "2026-09-12T12:00"},
			{"2026-09-14T00:00", true, nil, "25G83", "2026-09-16T12:00"},
		}},
		{"back from a holiday to a passed promise: anew, once", within("7"), mac("26.6", "25G72"), []moment{
			{"2026-08-20T00:00", true, nil, "25G83", "2026-08-26T12:00"},
			{"2026-09-10T00:00", false, nil, "25G83", "2026-08-26T12:00"},
			{"2026-09-10T08:00", true, returns("2026-09-10T08:00"), "25G83", "2026-09-16T12:00"},
			{"2026-09-10T08:00", true, nil, "25G83", "2026-09-16T12:00"},
			{"2026-10-10T08:00", true, returns("2026-10-10T08:00"), "25G83", "2026-09-16T12:00"},
		}},
		{"back from a holiday before the promise has passed", within("7"), mac("26.6", "25G72"), []moment{
			{"2026-08-20T00:00", true, nil, "25G83", "2026-08-26T12:00"},
			{"2026-08-25T00:00", true, returns("2026-08-25T00:00"), "25G83", "2026-08-26T12:00"},
			{"2026-08-27T00:00", true, nil, "25G83", "2026-08-26T12:00"},
		}},
		{"a new obligation after the target was reached", within("14"), mac("26.6", "25G72"), []moment{
			{"2026-08-18T00:00", true, nil, "25G83", "2026-08-24T12:00"},
			{"2026-08-20T00:00", true, updates("26.6.2", "25G83"), "", ""},
			{"2026-09-10T00:00", true, releases("26.6.3 25G99 2026-09-09 J1AP"), "25G99", "2026-09-23T12:00"},
		}},
		{"patches of another major are another lane", within("14"), mac("15.7.8", "24G824"), []moment{
			{"2026-08-18T00:00", true, releases(august...), "24G830", "2026-08-24T12:00"},
			{"2026-08-30T00:00", true, updates("26.6", "25G72"), "25G83", "2026-09-05T12:00"},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			live(t, given(t, tt.policy, "2026-01-01", last...), tt.mac, tt.moments)
		})
	}
}

// A Mac may ask for tokens and never fetch the items: its promise is made anew once until it does.
func TestANeverServedPromiseIsRenewedOnce(t *testing.T) {
	w := given(t, automatic14, "2026-01-01", "26.6.1 25G76 2026-08-06 J1AP")
	m := mac("26.6", "25G72")
	tokens := func(now, want string) {
		t.Helper()
		m.Asks = true
		p := w.book().Plan(m, at(t, now))
		checkPlan(t, w.book(), m, at(t, now), p)
		if p.Deadline != local(t, want) {
			t.Errorf("at %s: %s, want %s", now, p.Deadline, want)
		}
		m.Lanes = p.NextLanes
	}
	tokens("2026-08-07T00:00", "2026-08-20T12:00")
	tokens("2026-08-20T00:00", "2026-08-26T12:00")
	tokens("2026-08-26T00:00", "2026-08-26T12:00")
	tokens("2026-09-26T00:00", "2026-08-26T12:00")
	w.step(m, "2026-09-26T00:01", true) // now it is served
	if s := m.Lanes[Patch]; s.Renewed || s.Served != local(t, "2026-08-26T12:00") {
		t.Errorf("served: %+v", s)
	}
	tokens("2026-09-27T00:00", "2026-08-26T12:00")
}

// A promise that was made after the return is not one that the Mac returned to.
func TestAReturnRenewsOnlyOlderPromises(t *testing.T) {
	w := given(t, `{"notice_days":0,"updates":{"mode":"automatic","within_days":14}}`, "2026-01-01", "26.6.1 25G76 2026-08-06 J1AP")
	m := mac("26.6", "25G72")
	m.BackAt = at(t, "2026-09-01T23:00")
	m.Lanes[Patch] = LaneState{Since: at(t, "2026-09-01T23:30"), Target: "25G76", Promise: local(t, "2026-09-02T12:00"), Served: local(t, "2026-09-02T12:00")}
	m.Asks = true
	p := w.book().Plan(m, at(t, "2026-09-05"))
	if p.Deadline != local(t, "2026-09-02T12:00") || p.NextLanes[Patch].Returned {
		t.Errorf("deadline %s, %+v", p.Deadline, p.NextLanes[Patch])
	}
	m.Lanes[Patch].Since = at(t, "2026-08-20")
	p = w.book().Plan(m, at(t, "2026-09-05"))
	if p.Deadline != local(t, "2026-09-05T12:00") || !p.NextLanes[Patch].Returned {
		t.Errorf("deadline %s, %+v", p.Deadline, p.NextLanes[Patch])
	}
}

// What a lane was served once stays the limit, also while another lane is declared.
func TestARenewalBesideAnotherLane(t *testing.T) {
	src := `{"os":{"track":"26","upgrade":"enforce"},"updates":{"mode":"automatic","within_days":14}}`
	w := given(t, src, "2026-01-01", "15.7.9 24G830 2026-08-06 J1AP", "26.6.2 25G83 2026-04-17 J1AP")
	m := mac("15.7.8", "24G824")
	began := at(t, "2026-08-07")
	m.Lanes[Patch] = LaneState{Since: began, Target: "24G830", Promise: local(t, "2026-08-24T12:00"), Served: local(t, "2026-08-28T12:00")}
	m.Lanes[Upgrade] = LaneState{Since: began, Target: "25G83", Promise: local(t, "2026-08-27T12:00"), Served: local(t, "2026-08-27T12:00")}
	p := w.step(m, "2026-08-26", true)
	if p.Lane != Upgrade || p.Deadline != local(t, "2026-08-27T12:00") {
		t.Fatalf("lane %s by %s", p.Lane, p.Deadline)
	}
	if s := p.NextLanes[Patch]; s.Promise != local(t, "2026-08-28T12:00") || !s.Renewed {
		t.Errorf("patch %+v", s)
	}
}

// rules 6.4: a lane that is not declared keeps its older promise and makes none.
func TestPromisesOfTwoLanes(t *testing.T) {
	src := `{"os":{"track":"26","upgrade":"enforce","upgrade_within_days":30},"updates":{"mode":"automatic","within_days":14}}`
	w := given(t, src, "2026-08-01", "15.7.9 24G830 2026-08-06 J1AP", "26.6.2 25G83 2026-08-17 J1AP")
	m := mac("15.7.8", "24G824")
	p := w.step(m, "2026-08-18", true)
	if p.Lane != Patch || p.Deadline != local(t, "2026-08-24T12:00") {
		t.Fatalf("lane %s by %s", p.Lane, p.Deadline)
	}
	if up := p.NextLanes[Upgrade]; up.Promise != 0 || up.Since.IsZero() || up.Target != "25G83" {
		t.Errorf("the lane that is not declared: %+v", up)
	}
	if len(p.Lanes) != 2 || p.Lanes[1].Deadline != local(t, "2026-09-16T12:00") {
		t.Errorf("lanes %+v", p.Lanes)
	}
	// The upgrade becomes due earlier than the patch: it is declared, and the patch keeps its promise.
	w.in.Policies = []policy.Stored{stored(t, `{"notice_days":1,"os":{"track":"26","upgrade":"enforce","upgrade_within_days":1},"updates":{"mode":"automatic","within_days":14}}`, "2026-08-01")}
	p = w.step(m, "2026-08-19", true)
	if p.Lane != Upgrade || p.Deadline != local(t, "2026-08-21T12:00") {
		t.Errorf("lane %s by %s", p.Lane, p.Deadline)
	}
	if patch := p.NextLanes[Patch]; patch.Promise != local(t, "2026-08-24T12:00") {
		t.Errorf("patch %+v", patch)
	}
}

// Were the passed promise of a lane that is not declared kept, each sweep would declare it and each sync the other.
func TestSweepsAndSyncsDeclareTheSameLane(t *testing.T) {
	src := `{"os":{"track":"26","upgrade":"enforce","upgrade_within_days":30},"updates":{"mode":"automatic","within_days":14}}`
	w := given(t, src, "2026-08-01", "15.7.9 24G830 2026-08-06 J1AP", "26.6.2 25G83 2026-08-17 J1AP")
	m := mac("15.7.8", "24G824")
	w.step(m, "2026-08-08", false) // promises the patch for the 20th; the Mac never hears of it
	p := w.step(m, "2026-09-12", true)
	if p.Lane != Upgrade || p.Deadline != local(t, "2026-09-18T12:00") {
		t.Fatalf("lane %s by %s", p.Lane, p.Deadline)
	}
	for _, asks := range []bool{false, true, false, true} {
		if q := w.step(m, "2026-09-13", asks); q.Token != p.Token {
			t.Errorf("asks %v: lane %s by %s", asks, q.Lane, q.Deadline)
		}
	}
}

// rules 6.5.
func TestEqualDeadlinesUpgrade(t *testing.T) {
	w := given(t, `{"os":{"track":"26","upgrade":"enforce","upgrade_within_days":10},"updates":{"mode":"automatic","within_days":10}}`, "2026-01-01", "15.7.9 24G830 2026-08-06 J1AP", "26.6.1 25G76 2026-08-06 J1AP")
	p := w.step(mac("15.7.8", "24G824"), "2026-08-07", true)
	want{outcome: Targeted, target: "25G76", due: "2026-08-16T12:00", deadline: "2026-08-16T12:00"}.check(t, p)
	if len(p.Lanes) != 2 {
		t.Errorf("lanes %+v", p.Lanes)
	}
}

// rules 6.2: no late swap. The deadline is 2026-08-20T12:00, which begins at 2026-08-19T22:00Z and ends at 2026-08-21T00:00Z;
// so the window is from 2026-08-18T22:00Z to 2026-08-24T00:00Z.
func TestNoLateSwap(t *testing.T) {
	first := "26.6.1 25G76 2026-08-06 J1AP"
	second := func(seen string) []string { return []string{first, "26.6.2 25G83 2026-08-17 J1AP seen=" + seen} }
	served := moment{"2026-08-07T00:00", true, nil, "25G76", "2026-08-20T12:00"}
	tests := []struct {
		name    string
		moments []moment
	}{
		{"before the window", []moment{served, {"2026-08-18T22:30", true, releases(second("2026-08-18T21:59:59Z")...), "25G83", "2026-08-20T12:00"}}},
		{"within 24 hours before", []moment{
			served,
			{"2026-08-18T22:00", true, releases(second("2026-08-18T22:00:00Z")...), "25G76", "2026-08-20T12:00"},
			{"2026-08-20T22:00", true, nil, "25G76", "2026-08-20T12:00"},
			{"2026-08-24T00:00", true, nil, "25G76", "2026-08-20T12:00"},
			{"2026-08-24T00:00:01Z", true, nil, "25G83", "2026-08-20T12:00"},
		}},
		{"within 72 hours after", []moment{served, {"2026-08-23T00:00", true, releases(second("2026-08-22T22:00:00Z")...), "25G76", "2026-08-20T12:00"}}},
		{"later", []moment{served, {"2026-08-24T00:01", true, releases(second("2026-08-24T00:00:30Z")...), "25G83", "2026-08-20T12:00"}}},
		{"unless the older one is held", []moment{
			served,
			{"2026-08-19T00:00", true, releases(second("2026-08-18T23:00:00Z")...), "25G76", "2026-08-20T12:00"},
			{"2026-08-19T01:00", true, holds("25G76"), "25G83", "2026-08-31T12:00"},
		}},
		{"unless the older one is withdrawn", []moment{
			served,
			{"2026-08-19T00:00", true, releases(first+" gone", "26.6.2 25G83 2026-08-17 J1AP seen=2026-08-18T23:00:00Z"), "25G83", "2026-08-20T12:00"},
		}},
		{"nor one that became the target in the window", []moment{
			served,
			{"2026-08-19T00:00", true, releases(first+" gone", "26.6.2 25G83 2026-08-17 J1AP seen=2026-08-18T23:00:00Z"), "25G83", "2026-08-20T12:00"},
			{"2026-08-20T00:00", true, releases(first+" gone", "26.6.2 25G83 2026-08-17 J1AP seen=2026-08-18T23:00:00Z", "26.6.3 25G99 2026-08-19 J1AP seen=2026-08-19T23:00:00Z"), "25G83", "2026-08-20T12:00"},
		}},
		{"a target that was taken stays", []moment{
			served,
			{"2026-08-18T21:00", true, releases(second("2026-08-18T20:00:00Z")...), "25G83", "2026-08-20T12:00"},
			{"2026-08-19T21:00", true, nil, "25G83", "2026-08-20T12:00"},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			live(t, given(t, automatic14, "2026-01-01", first), mac("26.6", "25G72"), tt.moments)
		})
	}
}

func TestNoLateSwapByAge(t *testing.T) {
	// 26.6.2 reaches its seven days on the 20th, in the window around the deadline of 26.6.1.
	src := `{"updates":{"mode":"automatic","within_days":14,"min_age_days":7}}`
	w := given(t, src, "2026-01-01", "26.6.1 25G76 2026-08-06 J1AP", "26.6.2 25G83 2026-08-13 J1AP")
	m := mac("26.6", "25G72")
	live(t, w, m, []moment{
		{"2026-08-14T00:00", true, nil, "25G76", "2026-08-20T12:00"},
		{"2026-08-20T00:00", true, nil, "25G76", "2026-08-20T12:00"},
		{"2026-08-24T01:00", true, nil, "25G83", "2026-08-20T12:00"},
	})
	p := w.book().Plan(&Mac{Facts: m.Facts, Lanes: LaneStates{{Since: at(t, "2026-08-14"), Target: "25G76", Promise: local(t, "2026-08-20T12:00"), Served: local(t, "2026-08-20T12:00")}}}, at(t, "2026-08-20"))
	if len(p.LeftOut) != 1 || p.LeftOut[0].Code != CodeSwapRefused || p.Lanes[0].HeldBack.Build != "25G83" || !p.NextAt.Equal(at(t, "2026-08-24T00:00:01Z")) {
		t.Errorf("left out %+v, again at %v", p.LeftOut, p.NextAt)
	}
}

func TestNextAt(t *testing.T) {
	soak := `{"updates":{"mode":"automatic","within_days":30,"min_age_days":7}}`
	tests := []struct {
		name     string
		policy   string
		releases []string
		mac      *Mac
		until    string
		want     string
	}{
		{"nothing to wait for", automatic14, august, mac("26.6", "25G72"), "", ""},
		{"a release that grows old enough", soak, august, mac("26.6.1", "25G76"), "", "2026-08-24"},
		{"a newer release that grows old enough", soak, august, mac("26.6", "25G72"), "", "2026-08-24"},
		{"a hold that ends", automatic14, august, mac("26.6", "25G72"), "2026-08-23T09:00", "2026-08-23T09:00"},
		{"a hold that ends on what the Mac already has", automatic14, august, mac("26.6.2", "25G83"), "2026-08-23T09:00", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := given(t, tt.policy, "2026-01-01", tt.releases...)
			if tt.until != "" {
				w.in.Holds = []release.Hold{{Subject: "25G83", Until: at(t, tt.until)}}
			}
			p := w.step(tt.mac, "2026-08-20", false)
			if tt.want == "" && !p.NextAt.IsZero() || tt.want != "" && !p.NextAt.Equal(at(t, tt.want)) {
				t.Errorf("NextAt %v, want %s", p.NextAt, tt.want)
			}
			if tt.want == "" {
				return
			}
			m := *tt.mac
			m.Lanes = p.NextLanes
			before := w.book().Plan(&m, p.NextAt.Add(-time.Second))
			after := w.book().Plan(&m, p.NextAt)
			if before.Token != p.Token || after.Token == p.Token {
				t.Error("the plan must change at NextAt, and not before")
			}
		})
	}
}

// An older release never takes the place of the target, whatever window its own dates would make.
func TestNoLateSwapToSomethingOlder(t *testing.T) {
	src := `{"updates":{"mode":"automatic","within_days":14,"exploited_within_days":3}}`
	first := []string{"15.2 15X2 2026-01-12 J1AP", "15.3 15X3 2026-01-13 J1AP exploited"}
	live(t, given(t, src, "2026-01-01", first...), mac("15.1", "15X1"), []moment{
		{"2026-01-13T09:00", true, nil, "15X3", "2026-01-17T12:00"},
		{"2026-01-24T23:00", true, releases(append(first, "15.4 15X4 2026-01-24 J1AP seen=2026-01-24T22:30:00Z")...), "15X4", "2026-01-17T12:00"},
	})
}

// A new major that is too young to be a target does not take the upgrade away that the Mac has a deadline for.
func TestLatestWaitsForANewMajorToGrowOldEnough(t *testing.T) {
	src := `{"os":{"track":"latest","upgrade":"enforce","upgrade_within_days":30},"updates":{"mode":"automatic","within_days":14,"min_age_days":10}}`
	old := []string{"15.7.9 24G830 2026-08-06 J1AP", "26.6.2 25G83 2026-08-17 J1AP"}
	live(t, given(t, src, "2026-08-01", old...), mac("15.7.9", "24G830"), []moment{
		{"2026-08-28T00:00", true, nil, "25G83", "2026-09-16T12:00"},
		{"2026-09-14T19:00", true, releases(append(old, "27.0 26A1 2026-09-14 J1AP")...), "25G83", "2026-09-16T12:00"},
		{"2026-09-24T00:00", true, nil, "26A1", "2026-09-16T12:00"},
	})
}

// Nor does the first release of a new major take the place of the upgrade that the Mac has a deadline for: with the track latest the
// target is kept from 2026-09-14T22:00Z until 2026-09-20T00:00Z, as with a track that is named.
func TestNoLateSwapToANewMajor(t *testing.T) {
	old := []string{"15.7.9 24G830 2026-08-06 J1AP", "26.6.2 25G83 2026-08-17 J1AP"}
	with := func(seen string) func(*world, *Mac) {
		return releases(append(old, "27.0 26A1 2026-09-14 J1AP seen="+seen)...)
	}
	const enforce, due = `{"os":{"track":"latest","upgrade":"enforce","upgrade_within_days":30},"updates":{"mode":"automatic","within_days":14}}`, "2026-09-16T12:00"
	served := moment{"2026-08-28T00:00", true, nil, "25G83", due}
	for _, tt := range []struct {
		name, policy string
		moments      []moment
	}{
		{"within 24 hours before", enforce, []moment{
			served,
			{"2026-09-15T19:00", true, with("2026-09-15T18:30:00Z"), "25G83", due},
			{"2026-09-20T00:00", true, nil, "25G83", due},
			{"2026-09-20T00:00:01Z", true, nil, "26A1", due},
		}},
		{"before that", enforce, []moment{served, {"2026-09-14T22:30", true, with("2026-09-14T21:59:59Z"), "26A1", due}}},
		{"unless the older one is held", enforce, []moment{
			served,
			{"2026-09-15T19:00", true, with("2026-09-15T18:30:00Z"), "25G83", due},
			{"2026-09-15T20:00", true, holds("25G83"), "26A1", "2026-10-14T12:00"},
		}},
		{"one that is old enough only then", strings.Replace(enforce, `"within_days":14`, `"within_days":14,"min_age_days":1`, 1), []moment{
			served,
			{"2026-09-15T00:30", true, with("2026-09-14T00:00:00Z"), "25G83", due},
		}},
		{"an upgrade that the user asked for", `{"os":{"track":"latest","upgrade":"self_service"},"updates":{"mode":"automatic","within_days":14}}`, []moment{
			{"2026-09-15T15:00", true, func(_ *world, m *Mac) { m.Wish = &Wish{26, at(t, "2026-09-15T15:00")} }, "25G83", "2026-09-15T03:00"},
			{"2026-09-15T19:00", true, with("2026-09-15T18:30:00Z"), "25G83", "2026-09-15T03:00"},
			{"2026-09-18T15:00", true, nil, "25G83", "2026-09-15T03:00"},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			live(t, given(t, tt.policy, "2026-08-01", old...), mac("15.7.9", "24G830"), tt.moments)
		})
	}
}

func TestNewMajorThatCameTooLateIsExplained(t *testing.T) {
	w := given(t, `{"os":{"track":"latest","upgrade":"enforce","upgrade_within_days":30},"updates":{"mode":"automatic","within_days":14}}`,
		"2026-08-01", "15.7.9 24G830 2026-08-06 J1AP", "26.6.2 25G83 2026-08-17 J1AP")
	m := mac("15.7.9", "24G830")
	w.step(m, "2026-08-28", true)
	releases("15.7.9 24G830 2026-08-06 J1AP", "26.6.2 25G83 2026-08-17 J1AP", "27.0 26A1 2026-09-15 J1AP seen=2026-09-15T18:30:00Z")(w, m)
	p := w.step(m, "2026-09-15T19:00", true)
	if len(p.LeftOut) != 1 || p.LeftOut[0].Code != CodeSwapRefused || !p.NextAt.Equal(at(t, "2026-09-20T00:00:01Z")) {
		t.Errorf("left out %+v, again at %v", p.LeftOut, p.NextAt)
	}
}

// Around the deadline to which the user delayed it the target does not change either (rules 6.5: a delay replaces the deadline).
// The deadline is 2026-08-20T12:00; the one of the delay is over at 2026-08-29T08:00Z, with its 72 hours.
func TestNoLateSwapAfterADelay(t *testing.T) {
	first := "26.6.1 25G76 2026-08-06 J1AP"
	delayed := func(_ *world, m *Mac) {
		m.Delayed = &Delayed{Lane: Patch, Since: m.Lanes[Patch].Since, Until: local(t, "2026-08-25T20:00"), Hours: 1}
	}
	live(t, given(t, `{"delay":{"max_hours":24},"updates":{"mode":"automatic","within_days":14}}`, "2026-01-01", first), mac("26.6", "25G72"), []moment{
		{"2026-08-07T00:00", true, nil, "25G76", "2026-08-20T12:00"},
		{"2026-08-25T17:00", true, delayed, "25G76", "2026-08-25T20:00"},
		{"2026-08-25T19:00", true, releases(first, "26.6.2 25G83 2026-08-25 J1AP seen=2026-08-25T18:30:00Z"), "25G76", "2026-08-25T20:00"},
		{"2026-08-29T08:00", true, nil, "25G76", "2026-08-25T20:00"},
		{"2026-08-29T08:00:01Z", true, nil, "25G83", "2026-08-25T20:00"},
	})
}

// A Mac on which nothing can be enforced is promised nothing: what is due stays due, and does not move on with every day.
func TestGatedDeadlineStays(t *testing.T) {
	w := given(t, automatic14, "2026-01-01", "11.7.11 20G1443 2025-08-20 J1AP")
	m := mac("11.7.10", "20G1427")
	for _, now := range []string{"2026-08-07", "2026-08-08", "2026-09-20"} {
		if p := w.step(m, now, true); p.Gated != CodeMacOSTooOld || p.Due != local(t, "2025-09-03T12:00") || p.Deadline != p.Due {
			t.Errorf("at %s: %s, due %s, deadline %s", now, p.Gated, p.Due, p.Deadline)
		}
	}
}

// rules 9: the user's delay.
func TestDelay(t *testing.T) {
	w := given(t, `{"delay":{"max_hours":24},"updates":{"mode":"automatic","within_days":14}}`, "2026-01-01", "26.6.1 25G76 2026-08-06 J1AP")
	m := mac("26.6", "25G72")
	p := w.step(m, "2026-08-07", true)
	since := m.Lanes[Patch].Since
	m.Delayed = &Delayed{Lane: Patch, Since: since, Until: local(t, "2026-08-20T15:00"), Hours: 3}
	q := w.step(m, "2026-08-20", true)
	if q.Deadline != local(t, "2026-08-20T15:00") || !q.Lanes[0].Delayed || q.Lanes[0].Own != p.Deadline || q.Due != p.Due {
		t.Errorf("delayed to %s, %+v", q.Deadline, q.Lanes)
	}
	if q.NextLanes[Patch].Promise != p.Deadline {
		t.Errorf("the promise became %s", q.NextLanes[Patch].Promise)
	}
	for name, d := range map[string]*Delayed{
		"of another obligation": {Lane: Patch, Since: since.Add(time.Hour), Until: local(t, "2026-08-20T15:00")},
		"of another lane":       {Lane: Upgrade, Since: since, Until: local(t, "2026-08-20T15:00")},
		"to an earlier time":    {Lane: Patch, Since: since, Until: local(t, "2026-08-20T11:00")},
	} {
		m.Delayed = d
		if q := w.step(m, "2026-08-20", true); q.Deadline != p.Deadline || q.Lanes[0].Delayed {
			t.Errorf("a delay %s holds: %s", name, q.Deadline)
		}
	}
	// It lapses with the obligation.
	m.Delayed = &Delayed{Lane: Patch, Since: since, Until: local(t, "2026-08-20T15:00")}
	w.step(m, "2026-08-20T01:00", true)
	w.in.Pause = &release.Pause{}
	w.step(m, "2026-08-20T02:00", true)
	w.in.Pause = nil
	if q := w.step(m, "2026-08-20T03:00", true); q.Lanes[0].Delayed {
		t.Errorf("the delay outlives the obligation: %s", q.Deadline)
	}
}

// rules 9: an upgrade that the user asked for.
func TestWish(t *testing.T) {
	self := `{"os":{"track":"26","upgrade":"self_service"},"updates":{"mode":"automatic","within_days":14}}`
	minimum := `{"os":{"track":"26","upgrade":"self_service"},"updates":{"mode":"minimum","version":"15.7.8","deadline":"2026-12-01T12:00:00"}}`
	asked := at(t, "2026-08-20T10:00")
	tests := []struct {
		name   string
		policy string
		wish   *Wish
		hold   string
		want   want
	}{
		{"without a wish only patches", self, nil, "", want{outcome: Targeted, target: "24G830", deadline: "2026-08-26T12:00"}},
		{"now, read where clocks arrive last", self, &Wish{26, asked}, "", want{outcome: Targeted, target: "25G83", deadline: "2026-08-19T22:00"}},
		{"a wish for another major", self, &Wish{27, asked}, "", want{outcome: Targeted, target: "24G830", deadline: "2026-08-26T12:00"}},
		{"a wish that the policy does not offer", `{"os":{"track":"26","upgrade":"hold"},"updates":{"mode":"automatic","within_days":14}}`, &Wish{26, asked}, "", want{outcome: Targeted, target: "24G830", deadline: "2026-08-26T12:00"}},
		{"a wish while the floor is reached", minimum, &Wish{26, asked}, "", want{outcome: Targeted, target: "25G83", deadline: "2026-08-19T22:00"}},
		{"a wish for what is held, while the floor is reached", minimum, &Wish{26, asked}, "26", want{outcome: Satisfied}},
		{"no wish, the floor is reached", minimum, nil, "", want{outcome: Satisfied}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := given(t, tt.policy, "2026-01-01", august...)
			if tt.hold != "" {
				w.hold(tt.hold, "2026-01-01")
			}
			m := mac("15.7.8", "24G824")
			m.Wish = tt.wish
			tt.want.check(t, w.step(m, "2026-08-20T11:00", true))
			p := w.step(m, "2026-08-25T11:00", true) // it stays
			tt.want.check(t, p)
		})
	}
	// It stays what it is when a newer release comes in the middle of the installation.
	w := given(t, self, "2026-01-01", august...)
	m := mac("15.7.8", "24G824")
	m.Wish = &Wish{26, asked}
	live(t, w, m, []moment{
		{"2026-08-20T11:00", true, nil, "25G83", "2026-08-19T22:00"},
		{"2026-08-20T20:00", true, releases(append([]string{"26.6.3 25G99 2026-08-20 J1AP"}, august...)...), "25G83", "2026-08-19T22:00"},
		{"2026-08-23T10:00:01Z", true, nil, "25G99", "2026-08-19T22:00"},
		{"2026-08-23T11:00", true, updates("26.6.3", "25G99"), "", ""},
	})
}

func TestMarkServed(t *testing.T) {
	w := given(t, automatic14, "2026-01-01", august...)
	m := mac("26.6", "25G72")
	p := w.step(m, "2026-08-20", false)
	m.Lanes[Patch].Renewed = true
	served := m.Lanes.MarkServed(p)
	if s := served[Patch]; s.Served != s.Promise || s.Served != p.Deadline || s.Renewed {
		t.Errorf("served %+v", s)
	}
	other := m.Lanes
	other[Patch].Since = at(t, "2026-08-21")
	if got := other.MarkServed(p); got[Patch].Served != 0 {
		t.Errorf("another obligation is served: %+v", got[Patch])
	}
	if got := m.Lanes.MarkServed(&Plan{}); got != m.Lanes {
		t.Errorf("nothing was declared, and %+v", got)
	}
	if declarations.FirstZone != 14*time.Hour {
		t.Error("zones moved")
	}
}
