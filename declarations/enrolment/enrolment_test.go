package enrolment

import (
	"slices"
	"testing"
	"time"

	"plimsoll/declarations/plan"
	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
	"plimsoll/status"
)

// rules 15: of which Macs a version is asked before they enrol, and which.
func TestAtEnrolment(t *testing.T) {
	const (
		newest    = `{"at_enrolment":"newest","updates":{"mode":"automatic","within_days":14}}`
		floor     = `{"at_enrolment":"floor","updates":{"mode":"automatic","within_days":14}}`
		minNewest = `{"at_enrolment":"newest","updates":{"mode":"minimum","version":"26.6.1","deadline":"2026-12-01T12:00:00"}}`
		minFloor  = `{"at_enrolment":"floor","updates":{"mode":"minimum","version":"26.6.1","deadline":"2026-12-01T12:00:00"}}`
		exact     = `{"at_enrolment":"newest","updates":{"mode":"exact","version":"26.6.1","deadline":"2026-12-01T12:00:00"}}`
		latest    = `{"at_enrolment":"newest","os":{"track":"latest","upgrade":"enforce"},"updates":{"mode":"automatic","within_days":14}}`
		current   = `{"at_enrolment":"newest","os":{"track":"current"},"updates":{"mode":"minimum","versions":["14.8.8","26.6.1"],"deadline":"2026-12-01T12:00:00"}}`
		rings     = `{"at_enrolment":"newest","updates":{"mode":"automatic","within_days":14},"rings":[{"name":"pilot","percent":1,"min_age_days":0,"within_days":7},{"name":"all","min_age_days":9,"within_days":14}]}`
	)
	when := func(expr string) string {
		return `{"at_enrolment":"newest","assign":{"when":"` + expr + `"},"updates":{"mode":"automatic","within_days":14}}`
	}
	type change func(*status.MachineInfo)
	is := func(version, build string) change {
		return func(m *status.MachineInfo) { m.Version, m.Build = version, build }
	}
	for _, tt := range []struct {
		name, policy string
		mac          change
		hold, now    string
		asked, why   string
	}{
		{"below: the newest", newest, is("26.5", "25F71"), "", "2026-08-20", "26.6.2", Asked},
		{"at the newest", newest, is("26.6.2", "25G83"), "", "2026-08-20", "", NoTarget},
		{"above everything known", newest, is("26.9", "25J1"), "", "2026-08-20", "", NoTarget},
		{"a hold on the newest leaves the one below", newest, is("26.5", "25F71"), "26.6.2", "2026-08-20", "26.6.1", Asked},
		{"only a hold stands in the way", newest, is("26.6.1", "25G76"), "26.6.2", "2026-08-20", "", plan.CodeHeld},
		{"the upgrade before the patch", latest, is("15.7.8", "24G824"), "", "2026-08-20", "26.6.2", Asked},
		{"nothing is asked at enrolment", automatic14, is("26.5", "25F71"), "", "2026-08-20", "", Nothing},

		{"floor, automatic: nothing is due yet", floor, is("26.6.1", "25G76"), "", "2026-08-30T23:59", "", NotRequired},
		{"floor, automatic: due today", floor, is("26.6.1", "25G76"), "", "2026-08-31T00:00", "26.6.2", Asked},
		{"floor, automatic: one of the missed is due, the newest is asked", floor, is("26.6", "25G72"), "", "2026-08-20", "26.6.2", Asked},
		{"floor, minimum: below it", minFloor, is("26.6", "25G72"), "", "2026-08-20", "26.6.2", Asked},
		{"floor, minimum: at it", minFloor, is("26.6.1", "25G76"), "", "2026-08-20", "", NotRequired},
		{"newest, minimum: at it", minNewest, is("26.6.1", "25G76"), "", "2026-08-20", "26.6.2", Asked},
		{"exact: that version", exact, is("26.5", "25F71"), "", "2026-08-20", "26.6.1", Asked},
		{"exact: at it", exact, is("26.6.1", "25G76"), "", "2026-08-20", "", NoTarget},
		{"above the track", exact, is("27.0", "26A1"), "", "2026-08-20", "", plan.CodeAboveTrack},

		{"closed for the ring", rings, is("26.6.1", "25G76"), "", "2026-08-20", "", plan.CodeRingClosed},
		{"open for the ring", rings, is("26.6.1", "25G76"), "", "2026-08-27", "26.6.2", Asked},

		{"below macOS 15 the newest of its major", current, is("14.7", "23H1"), "", "2026-08-20", "14.8.9", Asked},
		{"below macOS 15 not the newest", current, is("14.7", "23H1"), "14.8.9", "2026-08-20", "", NotNewest},

		{"it cannot update", newest, func(m *status.MachineInfo) { m.CanUpdate = false }, "", "2026-08-20", "", CannotUpdate},
		{"no version", newest, is("", "25F71"), "", "2026-08-20", "", plan.CodeVersionUnknown},
		{"a board that is not known", newest, func(m *status.MachineInfo) { m.Board, m.Model = "", "MacPro7,1" }, "", "2026-08-20", "", plan.CodeBoardUnknown},
		{"a board that the catalogue lacks", newest, func(m *status.MachineInfo) { m.Board = "J999AP" }, "", "2026-08-20", "", plan.CodeNotInCatalogue},

		{"when, by what it tells", when("model startsWith 'Mac14' && serial == 'ZSAMPLE00001'"), nil, "", "2026-08-20", "26.6.2", Asked},
		{"when, another Mac", when("model startsWith 'Mac16'"), nil, "", "2026-08-20", "", plan.CodeNotGoverned},
		{"when needs the name", when("name == 'x'"), nil, "", "2026-08-20", "", plan.CodeAssignmentUnknown},
		{"when needs the bootstrap token", when("bootstrap_token"), nil, "", "2026-08-20", "", plan.CodeAssignmentUnknown},
		{"when does not need the bootstrap token", when("bootstrap_token || major == 26"), nil, "", "2026-08-20", "26.6.2", Asked},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := given(t, tt.policy, "2026-01-01", slices.Concat(august, []string{"14.8.8 23J620 2026-07-27 J1AP"})...)
			if tt.hold != "" {
				w.hold(tt.hold, tt.now)
			}
			m := &status.MachineInfo{
				Serial: "ZSAMPLE00001", UDID: "ID-1", Model: "Mac14,2", Board: "J1AP", Version: "26.5", Build: "25F71", CanUpdate: true,
			}
			if tt.mac != nil {
				tt.mac(m)
			}
			asked, why := Decide(w.book(), m, at(t, tt.now))
			version := release.Version("")
			if asked != nil {
				version = asked.Version
			}
			if string(version) != tt.asked || why != tt.why {
				t.Errorf("asked %q, %s; want %q, %s", version, why, tt.asked, tt.why)
			}
		})
	}
}

// Groups are by serial number and UDID; a pause asks nothing of anybody.
func TestAtEnrolmentByGroup(t *testing.T) {
	w := given(t, `{"at_enrolment":"newest","assign":{"groups":["lab"]},"updates":{"mode":"automatic","within_days":14}}`, "2026-01-01", august...)
	w.in.Groups = []policy.Group{{Name: "lab", Devices: []string{"id-2", "ZSAMPLE00001"}}}
	ask := func(serial, udid string) string {
		_, why := Decide(w.book(), &status.MachineInfo{
			Serial: serial, UDID: udid, Board: "J1AP", Version: "26.5", Build: "25F71", CanUpdate: true,
		}, at(t, "2026-08-20"))
		return why
	}
	for _, got := range []string{ask("ZSAMPLE00001", "ID-1"), ask("ZSAMPLE00009", "ID-2")} {
		if got != Asked {
			t.Errorf("in the group: %s", got)
		}
	}
	if got := ask("ZSAMPLE00009", "ID-9"); got != plan.CodeNotGoverned {
		t.Errorf("outside the group: %s", got)
	}
	w.in.Pause = &release.Pause{Reason: "trouble"}
	if got := ask("ZSAMPLE00001", "ID-1"); got != plan.CodePaused {
		t.Errorf("while paused: %s", got)
	}
}

// 14.0 does not tell its board: the table knows it by the model.
func TestAtEnrolmentBoardByModel(t *testing.T) {
	w := given(t, `{"at_enrolment":"newest","updates":{"mode":"automatic","within_days":14}}`, "2026-01-01", "14.8.9 23J631 2026-08-06 J413AP")
	got, why := Decide(w.book(), &status.MachineInfo{
		Serial: "S", Model: "Mac14,2", Version: "14.0", Build: "23A344", CanUpdate: true,
	}, at(t, "2026-08-20"))
	if got == nil || got.Version != "14.8.9" {
		t.Errorf("asked %+v, %s", got, why)
	}
}

// Two requests 10 minutes apart within 24 hours are enough; a Mac that was updated begins anew.
func TestAsks(t *testing.T) {
	begin := at(t, "2026-08-20T08:00")
	type request struct {
		after time.Duration
		build string
		asked bool
	}
	for name, requests := range map[string][]request{
		"apart":                {{0, "a", true}, {10 * time.Minute, "a", true}, {11 * time.Minute, "a", false}, {time.Hour, "a", false}},
		"close together":       {{0, "a", true}, {time.Minute, "a", true}, {9 * time.Minute, "a", true}, {10 * time.Minute, "a", true}, {20 * time.Minute, "a", false}},
		"over more than a day": {{0, "a", true}, {20 * time.Hour, "a", true}, {25 * time.Hour, "a", true}, {26 * time.Hour, "a", false}},
		"another build":        {{0, "a", true}, {time.Hour, "a", true}, {2 * time.Hour, "b", true}, {3 * time.Hour, "b", true}, {4 * time.Hour, "b", false}},
	} {
		var a Asks
		for i, r := range requests {
			var asked bool
			if a, asked = a.Ask(r.build, begin.Add(r.after)); asked != r.asked {
				t.Errorf("%s: request %d is asked: %t", name, i, asked)
			}
		}
	}
}
