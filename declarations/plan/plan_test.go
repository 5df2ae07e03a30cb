package plan

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"plimsoll/declarations"
	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
	"plimsoll/status"
)

// What Apple offered in August 2026 to most boards, in short.
var august = []string{
	"14.8.9 23J631 2026-08-06 J1AP", "15.7.8 24G824 2026-07-27 J1AP,J2AP", "15.7.9 24G830 2026-08-06 J1AP,J2AP",
	"26.5 25F71 2026-05-18 J1AP", "26.5.2 25F84 2026-06-29 J1AP", "26.6 25G72 2026-07-27 J1AP", "26.6.1 25G76 2026-08-06 J1AP", "26.6.2 25G83 2026-08-17 J1AP",
}

const (
	automatic14 = `{"updates":{"mode":"automatic","within_days":14}}`
	minimum2661 = `{"updates":{"mode":"minimum","version":"26.6.1","deadline":"2026-12-01T12:00:00"}}`
)

// rules 6.2: which release is the target, and what it comes to when there is none.
func TestTargets(t *testing.T) {
	tests := []struct {
		name     string
		policy   string
		releases []string
		mac      *Mac
		hold     string
		now      string
		want     want
	}{
		{"automatic: the newest of the own major", automatic14, august, mac("15.7.7", "24G720"), "", "2026-08-20", want{outcome: Targeted, target: "24G830"}},
		{"automatic: at the newest", automatic14, august, mac("26.6.2", "25G83"), "", "2026-08-20", want{outcome: Satisfied}},
		{"automatic: newer than everything known", automatic14, august, mac("26.7", "25H1"), "", "2026-08-20", want{outcome: Satisfied}},
		{"numbers, not strings", automatic14, []string{"26.9 25J1 2026-07-01 J1AP", "26.10 25K1 2026-08-01 J1AP"}, mac("26.9", "25J1"), "", "2026-08-20", want{outcome: Targeted, target: "25K1"}},
		{"26.4 and 26.4.0 are one version", automatic14, []string{"26.4 25E1 2026-07-01 J1AP"}, mac("26.4.0", "25E1"), "", "2026-08-20", want{outcome: Satisfied}},
		{"a release for another board only", automatic14, []string{"26.3.1 25D2128 2026-03-04 J1AP,J700AP", "26.3.2 25D2140 2026-03-10 J700AP"}, mac("26.3.1", "25D2128"), "", "2026-03-12", want{outcome: Satisfied}},
		{"a withdrawn release is no target", automatic14, []string{"26.6.1 25G76 2026-08-06 J1AP", "26.6.2 25G83 2026-08-17 J1AP gone"}, mac("26.6", "25G72"), "", "2026-08-20", want{outcome: Targeted, target: "25G76"}},
		{"a held release is no target", automatic14, august, mac("26.6", "25G72"), "25G83", "2026-08-20", want{outcome: Targeted, target: "25G76"}},
		{"only a hold stands in the way", automatic14, august, mac("26.6.1", "25G76"), "26.6.2", "2026-08-20", want{outcome: Held, reason: CodeHeld}},
		{"a young release is no target yet", `{"updates":{"mode":"automatic","within_days":30,"min_age_days":7}}`, august, mac("26.6.1", "25G76"), "", "2026-08-23T23:59", want{outcome: Satisfied, reason: CodeSoaking}},
		{"old enough at midnight UTC", `{"updates":{"mode":"automatic","within_days":30,"min_age_days":7}}`, august, mac("26.6.1", "25G76"), "", "2026-08-24", want{outcome: Targeted, target: "25G83"}},
		{"young and held is not only held", `{"updates":{"mode":"automatic","within_days":30,"min_age_days":7}}`, august, mac("26.6.1", "25G76"), "26.6.2", "2026-08-20", want{outcome: Satisfied, reason: CodeSoaking}},
		{"of two builds the newest posted counts", automatic14, []string{"26.0 25A354 2025-09-15 J1AP", "26.0.1 25A362 2025-09-29 J1AP", "26.0.1 25A8364 2025-10-16 J1AP"}, mac("26.0", "25A354"), "", "2025-10-17", want{outcome: Targeted, target: "25A8364"}},
		{"a withdrawn build does not count", automatic14, []string{"26.0 25A354 2025-09-15 J1AP", "26.0.1 25A362 2025-09-29 J1AP", "26.0.1 25A8364 2025-10-16 J1AP gone"}, mac("26.0", "25A354"), "", "2025-10-17", want{outcome: Targeted, target: "25A362"}},
		{"a hold on the build that counts holds the version", automatic14, []string{"26.0 25A354 2025-09-15 J1AP", "26.0.1 25A362 2025-09-29 J1AP", "26.0.1 25A8364 2025-10-16 J1AP"}, mac("26.0", "25A354"), "25A8364", "2025-10-17", want{outcome: Held, reason: CodeHeld}},

		{"without a posting date the first appearance counts", automatic14, []string{"26.6.2 25G83 1970-01-01 J1AP seen=2026-08-17T18:00:00Z"}, mac("26.6.1", "25G76"), "", "2026-08-18", want{outcome: Targeted, target: "25G83", due: "2026-08-31T12:00"}},
		{"latest, when nothing is offered any more", `{"os":{"track":"latest","upgrade":"enforce"},"updates":{"mode":"automatic","within_days":14}}`, []string{"26.6.2 25G83 2026-08-17 J1AP gone"}, mac("26.6.1", "25G76"), "", "2026-08-20", want{outcome: Satisfied}},
		{"latest, without a release for the board", `{"os":{"track":"latest","upgrade":"enforce"},"updates":{"mode":"automatic","within_days":14}}`, []string{"26.6.2 25G83 2026-08-17 J2AP"}, mac("26.6.1", "25G76"), "", "2026-08-20", want{outcome: Unknown, reason: CodeNotInCatalogue}},
		{"a floor for each major: one that is not the track's, on a board without the track's", `{"updates":{"mode":"minimum","versions":["15.7.9","26.6.1"],"deadline":"2026-12-01T12:00:00"}}`, []string{"14.8.9 23J631 2026-08-06 J1AP", "15.7.9 24G830 2026-08-06 J1AP", "26.6.2 25G83 2026-08-17 J2AP"}, mac("14.8.8", "23J620"), "", "2026-08-20", want{outcome: Unsupported, reason: CodeUnsupported}},
		{"minimum with a higher track: both lanes reach it, equal deadlines, the upgrade", `{"os":{"track":"26","upgrade":"enforce"},"updates":{"mode":"minimum","version":"15.7.9","deadline":"2026-12-01T12:00:00"}}`, august, mac("15.7.8", "24G824"), "", "2026-08-20", want{outcome: Targeted, target: "25G83", deadline: "2026-12-01T12:00"}},
		{"(a) above the track", `{"os":{"track":"15","upgrade":"enforce"},"updates":{"mode":"automatic","within_days":14}}`, august, mac("26.5", "25F71"), "", "2026-08-20", want{outcome: Satisfied, reason: CodeAboveTrack}},
		{"(a) above the track of a minimum", `{"updates":{"mode":"minimum","version":"15.7.9","deadline":"2026-12-01T12:00:00"}}`, august, mac("26.5", "25F71"), "", "2026-08-20", want{outcome: Satisfied, reason: CodeAboveTrack}},
		{"(a) before the catalogue is asked", minimum2661, august, mac("27.0", "26A1"), "", "2026-08-20", want{outcome: Satisfied, reason: CodeAboveTrack}},
		{"(b) at the floor", minimum2661, august, mac("26.6.1", "25G76"), "", "2026-08-20", want{outcome: Satisfied}},
		{"(b) above the floor, on a version that nobody knows", minimum2661, august, mac("26.6.9", "25G99"), "", "2026-08-20", want{outcome: Satisfied}},
		{"below the floor: the newest", minimum2661, august, mac("26.6", "25G72"), "", "2026-08-20", want{outcome: Targeted, target: "25G83", due: "2026-12-01T12:00", deadline: "2026-12-01T12:00"}},
		{"a minimum enforces the upgrade to its major", minimum2661, august, mac("15.7.8", "24G824"), "", "2026-08-20", want{outcome: Targeted, target: "25G83", deadline: "2026-12-01T12:00"}},
		{"(c) an upgrade that is held back", `{"os":{"track":"26","upgrade":"hold"},"updates":{"mode":"minimum","version":"26.6.1","deadline":"2026-12-01T12:00:00"}}`, august, mac("15.7.8", "24G824"), "", "2026-08-20", want{outcome: Satisfied, reason: CodeUpgradeNotEnforced}},
		{"(c) an upgrade on demand that nobody asked for", `{"os":{"track":"26","upgrade":"self_service"},"updates":{"mode":"minimum","version":"26.6.1","deadline":"2026-12-01T12:00:00"}}`, august, mac("15.7.8", "24G824"), "", "2026-08-20", want{outcome: Satisfied, reason: CodeUpgradeNotEnforced}},
		{"(c) current", `{"os":{"track":"current"},"updates":{"mode":"minimum","version":"26.6.1","deadline":"2026-12-01T12:00:00"}}`, august, mac("15.7.8", "24G824"), "", "2026-08-20", want{outcome: Satisfied, reason: CodeUpgradeNotEnforced}},
		{"(c) exact of a major that is not the lane's", `{"os":{"track":"current"},"updates":{"mode":"exact","version":"26.6.1","deadline":"2026-12-01T12:00:00"}}`, august, mac("15.7.8", "24G824"), "", "2026-08-20", want{outcome: Satisfied, reason: CodeUpgradeNotEnforced}},
		{"(d) a board that cannot run the floor", minimum2661, []string{"15.7.8 24G824 2026-07-27 J1AP", "15.7.9 24G830 2026-08-06 J1AP", "26.6.2 25G83 2026-08-17 J2AP"}, mac("15.7.8", "24G824"), "", "2026-08-20", want{outcome: Unsupported, reason: CodeUnsupported}},
		{"(d) the floor was withdrawn", minimum2661, []string{"26.6 25G72 2026-07-27 J1AP", "26.6.1 25G76 2026-08-06 J1AP gone"}, mac("26.5", "25F71"), "", "2026-08-20", want{outcome: Unsupported, reason: CodeUnsupported}},
		{"(d) held ones count", minimum2661, []string{"26.6.1 25G76 2026-08-06 J1AP"}, mac("26.6", "25G72"), "26", "2026-08-20", want{outcome: Held, reason: CodeHeld}},
		{"below the floor when nothing else can be reached", minimum2661, august, mac("26.5", "25F71"), "26.6.1+26.6.2", "2026-08-20", want{outcome: Targeted, target: "25G72"}},
		{"exact: that release", `{"updates":{"mode":"exact","version":"26.6.1","deadline":"2026-12-01T12:00:00"}}`, august, mac("26.5", "25F71"), "", "2026-08-20", want{outcome: Targeted, target: "25G76", deadline: "2026-12-01T12:00"}},
		{"exact: above it", `{"updates":{"mode":"exact","version":"26.6.1","deadline":"2026-12-01T12:00:00"}}`, august, mac("26.6.2", "25G83"), "", "2026-08-20", want{outcome: Satisfied}},
		{"exact: from an older major, by the upgrade lane", `{"updates":{"mode":"exact","version":"26.6.1","deadline":"2026-12-01T12:00:00"}}`, august, mac("15.7.8", "24G824"), "", "2026-08-20", want{outcome: Targeted, target: "25G76"}},
		{"exact: not for this board", `{"updates":{"mode":"exact","version":"26.6.1","deadline":"2026-12-01T12:00:00"}}`, []string{"26.6 25G72 2026-07-27 J1AP", "26.6.1 25G76 2026-08-06 J2AP"}, mac("26.5", "25F71"), "", "2026-08-20", want{outcome: Unsupported, reason: CodeUnsupported}},
		{"exact: withdrawn", `{"updates":{"mode":"exact","version":"26.6.1","deadline":"2026-12-01T12:00:00"}}`, []string{"26.6 25G72 2026-07-27 J1AP", "26.6.1 25G76 2026-08-06 J1AP gone"}, mac("26.5", "25F71"), "", "2026-08-20", want{outcome: Unsupported, reason: CodeUnsupported}},
		{"exact: held", `{"updates":{"mode":"exact","version":"26.6.1","deadline":"2026-12-01T12:00:00"}}`, august, mac("26.5", "25F71"), "26.6.1", "2026-08-20", want{outcome: Held, reason: CodeHeld}},
		{"exact: the build that is named, though a newer one exists", `{"updates":{"mode":"exact","version":"26.0.1","build":"25A362","deadline":"2026-12-01T12:00:00"}}`, []string{"26.0.1 25A362 2025-09-29 J1AP", "26.0.1 25A8364 2025-10-16 J1AP"}, mac("26.0", "25A354"), "", "2026-08-20", want{outcome: Targeted, target: "25A362"}},
		{"exact: a build for one other board", `{"updates":{"mode":"exact","version":"26.0.1","build":"25A8364","deadline":"2026-12-01T12:00:00"}}`, []string{"26.0.1 25A362 2025-09-29 J1AP", "26.0.1 25A8364 2025-10-16 J704AP"}, mac("26.0", "25A354"), "", "2026-08-20", want{outcome: Unsupported, reason: CodeUnsupported}},
		{"exact: at the version with another build", `{"updates":{"mode":"exact","version":"26.6.1","build":"25G76","deadline":"2026-12-01T12:00:00"}}`, august, mac("26.6.1", "25G70"), "", "2026-08-20", want{outcome: Satisfied, reason: CodeOtherBuild}},

		{"a floor for each major: the highest that can be reached", `{"updates":{"mode":"minimum","versions":["15.7.9","26.6.1"],"deadline":"2026-12-01T12:00:00"}}`, august, mac("15.7.9", "24G830"), "", "2026-08-20", want{outcome: Targeted, target: "25G83"}},
		{"a floor for each major: on a board that stays behind", `{"updates":{"mode":"minimum","versions":["15.7.9","26.6.1"],"deadline":"2026-12-01T12:00:00"}}`, []string{"15.7.8 24G824 2026-07-27 J1AP", "15.7.9 24G830 2026-08-06 J1AP", "26.6.2 25G83 2026-08-17 J2AP"}, mac("15.7.8", "24G824"), "", "2026-08-20", want{outcome: Targeted, target: "24G830"}},
		{"a floor for each major: reached on a board that stays behind", `{"updates":{"mode":"minimum","versions":["15.7.9","26.6.1"],"deadline":"2026-12-01T12:00:00"}}`, []string{"15.7.9 24G830 2026-08-06 J1AP", "26.6.2 25G83 2026-08-17 J2AP"}, mac("15.7.9", "24G830"), "", "2026-08-20", want{outcome: Satisfied}},
		{"a floor for each major: current", `{"os":{"track":"current"},"updates":{"mode":"minimum","versions":["15.7.9","26.6.1"],"deadline":"2026-12-01T12:00:00"}}`, august, mac("15.7.8", "24G824"), "", "2026-08-20", want{outcome: Targeted, target: "24G830"}},

		{"holding a major leaves the one below it", `{"os":{"track":"latest","upgrade":"enforce"},"updates":{"mode":"automatic","within_days":14}}`, append([]string{"27.0 26A1 2026-09-14 J1AP"}, august...), mac("26.6.2", "25G83"), "27", "2026-10-20", want{outcome: Satisfied}},
		{"latest is what the board can run", `{"os":{"track":"latest","upgrade":"enforce"},"updates":{"mode":"automatic","within_days":14}}`, []string{"15.7.9 24G830 2026-08-06 J1AP", "26.6.2 25G83 2026-08-17 J2AP"}, mac("15.7.9", "24G830"), "", "2026-08-20", want{outcome: Satisfied}},
		{"a track that the board cannot run leaves the patches", `{"os":{"track":"26","upgrade":"enforce"},"updates":{"mode":"automatic","within_days":14}}`, []string{"15.7.9 24G830 2026-08-06 J1AP", "26.6.2 25G83 2026-08-17 J2AP"}, mac("15.7.8", "24G824"), "", "2026-08-20", want{outcome: Targeted, target: "24G830"}},

		{"no release for the board", automatic14, []string{"26.6.2 25G83 2026-08-17 J2AP"}, mac("26.6", "25G72"), "", "2026-08-20", want{outcome: Unknown, reason: CodeNotInCatalogue}},
		{"no release for the major", automatic14, august, mac("27.0", "26A1"), "", "2026-08-20", want{outcome: Unknown, reason: CodeNotInCatalogue}},
		{"(b) without a release for the board", minimum2661, []string{"26.6.2 25G83 2026-08-17 J2AP"}, mac("26.6.1", "25G76"), "", "2026-08-20", want{outcome: Satisfied}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := given(t, tt.policy, "2026-01-01", tt.releases...)
			for _, h := range strings.Split(tt.hold, "+") {
				if h != "" {
					w.hold(h, tt.now)
				}
			}
			tt.want.check(t, w.step(tt.mac, tt.now, true))
		})
	}
}

// rules 8: what is not known, and what is not managed.
func TestOutcomesWithoutPlan(t *testing.T) {
	settingsOnly := `{"settings":{"Notifications":false}}`
	without := func(change func(*Mac)) *Mac {
		m := mac("26.5", "25F71")
		change(m)
		return m
	}
	tests := []struct {
		name   string
		policy string
		mac    *Mac
		pause  bool
		want   want
		items  string
	}{
		{"nothing is managed", `{"updates":{"mode":"none"}}`, mac("26.5", "25F71"), false, want{outcome: Unmanaged, reason: CodeNothingManaged}, "status"},
		{"no part at all", `{}`, mac("26.5", "25F71"), false, want{outcome: Unmanaged, reason: CodeNothingManaged}, "status"},
		{"settings only do manage something", settingsOnly, mac("26.5", "25F71"), false, want{outcome: Satisfied}, "settings status"},
		{"no version", automatic14, without(func(m *Mac) { m.Facts.Version = "" }), false, want{outcome: Unknown, reason: CodeVersionUnknown}, "status"},
		{"no board", automatic14, without(func(m *Mac) { m.Facts.Board = "" }), false, want{outcome: Unknown, reason: CodeBoardUnknown}, "status"},
		{"no board keeps the settings", settingsOnly, without(func(m *Mac) { m.Facts.Board = "" }), false, want{outcome: Unknown, reason: CodeBoardUnknown}, "settings status"},
		{"nothing known of its board", settingsOnly, without(func(m *Mac) { m.Facts.Board = "J999AP" }), false, want{outcome: Unknown, reason: CodeNotInCatalogue}, "settings status"},
		{"nothing known of its major", settingsOnly, without(func(m *Mac) { m.Facts.Version, m.Facts.Build = "99.1", "50A1" }), false, want{outcome: Unknown, reason: CodeNotInCatalogue}, "settings status"},
		{"no policy applies", `{"assign":{"groups":["lab"]},"updates":{"mode":"automatic","within_days":14}}`, mac("26.5", "25F71"), false, want{outcome: Unmanaged, reason: CodeNotGoverned}, "status"},
		{"the assignment is not known", `{"assign":{"when":"model startsWith 'Mac14'"},"settings":{"Notifications":false},"updates":{"mode":"automatic","within_days":14}}`, without(func(m *Mac) { m.Facts.Model = "" }), false, want{outcome: Unknown, reason: CodeAssignmentUnknown}, "status"},
		{"paused", `{"settings":{"Notifications":false},"updates":{"mode":"automatic","within_days":14}}`, mac("26.5", "25F71"), true, want{outcome: Unmanaged, reason: CodePaused}, "settings status"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := given(t, tt.policy, "2026-01-01", august...)
			if tt.pause {
				w.in.Pause = &release.Pause{Reason: "storm", Since: at(t, "2026-08-19")}
			}
			tt.mac.Lanes[Patch] = LaneState{Since: at(t, "2026-08-01"), Promise: local(t, "2026-08-25T12:00")}
			p := w.step(tt.mac, "2026-08-20", true)
			tt.want.check(t, p)
			if p.NextLanes != (LaneStates{}) {
				t.Errorf("promises are kept: %+v", p.NextLanes)
			}
			var items []string
			for _, d := range p.Declarations {
				if d.Kind == declarations.KindConfiguration {
					items = append(items, strings.TrimPrefix(d.Identifier, "plimsoll."))
				}
			}
			if got := strings.Join(items, " "); got != tt.items {
				t.Errorf("declared: %s, want %s", got, tt.items)
			}
		})
	}
}

// rules 5: exactly one policy governs.
func TestGoverning(t *testing.T) {
	pols := []string{
		`{"name":"all","priority":1,"updates":{"mode":"none"}}`,
		`{"name":"eng","priority":50,"assign":{"groups":["eng"],"exclude_groups":["lab"]},"updates":{"mode":"none"}}`,
		`{"name":"new-models","priority":90,"assign":{"when":"model startsWith 'Mac16'"},"updates":{"mode":"none"}}`,
		`{"name":"ghost","priority":99,"assign":{"groups":["nobody-made-it"]},"updates":{"mode":"none"}}`,
	}
	m16 := func(m *Mac) { m.Facts.Model = "Mac16,1" }
	tests := []struct {
		name   string
		groups []policy.Group
		change func(*Mac)
		want   string
	}{
		{"the only one that applies", nil, nil, "all"},
		{"by serial", []policy.Group{{Name: "eng", Devices: []string{"C02AAAA"}}}, nil, "eng"},
		{"by enrollment id", []policy.Group{{Name: "eng", Devices: []string{"ID-1"}}}, nil, "eng"},
		{"excluded", []policy.Group{{Name: "eng", Devices: []string{"C02AAAA"}}, {Name: "lab", Devices: []string{"ID-1"}}}, nil, "all"},
		{"by expression, with the higher priority", []policy.Group{{Name: "eng", Devices: []string{"C02AAAA"}}}, m16, "new-models"},
		{"what is not known matters when it has the higher priority", []policy.Group{{Name: "eng", Devices: []string{"C02AAAA"}}}, func(m *Mac) { m.Facts.Model = "" }, ""},
		{"a Mac without serial number is in no group by it", []policy.Group{{Name: "eng", Devices: []string{""}}}, func(m *Mac) { m.Facts.Serial = "" }, "all"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, reverse := range []bool{false, true} {
				w := given(t, pols[0], "2026-01-01", august...)
				w.in.Policies = nil
				for i := range pols {
					j := i
					if reverse {
						j = len(pols) - 1 - i
					}
					w.in.Policies = append(w.in.Policies, stored(t, pols[j], "2026-01-01"))
				}
				w.in.Groups = tt.groups
				m := mac("26.6.2", "25G83")
				if tt.change != nil {
					tt.change(m)
				}
				p := w.step(m, "2026-08-20", true)
				got := ""
				if p.Policy != nil {
					got = p.Policy.Name
				}
				if got != tt.want {
					t.Errorf("governed by %q, want %q", got, tt.want)
				}
				_, x := w.book().Explain(m, at(t, "2026-08-20"))
				if len(x.Policies) != 4 || x.Policies[0].Name != "ghost" || x.Policies[0].Applies {
					t.Errorf("policies %+v", x.Policies)
				}
			}
		})
	}
}

// rules 6.7.
func TestGate(t *testing.T) {
	old := []string{"11.7.11 20G1443 2026-05-18 J1AP", "12.7.6 21H1320 2026-05-18 J1AP", "13.7.8 22H730 2026-05-18 J1AP", "14.8.9 23J631 2026-08-06 J1AP", "26.6.2 25G83 2026-08-17 J1AP"}
	tests := []struct {
		name      string
		version   string
		caps      status.Capabilities
		gated     string
		mechanism string
		items     string
	}{
		{"macOS 11 needs the installer", "11.6", status.Capabilities{}, CodeMacOSTooOld, "installer", ""},
		{"macOS 12 is told by command", "12.6", status.Capabilities{}, "", "", ""},
		{"macOS 13 is told by command, and can report", "13.6", status.Capabilities{}, "", "", "status"},
		{"macOS 14", "14.6", status.Capabilities{}, "", "", "os-update status"},
		{"macOS 14 that lists the type", "14.6", status.Capabilities{Known: true, Enforcement: true, Settings: true, Items: 1}, "", "", "os-update status"},
		{"macOS 14 that does not list the type", "14.6", status.Capabilities{Known: true, Items: 1}, CodeEnforcementNotListed, "", "status"},
		{"macOS 26", "26.5", status.Capabilities{}, "", "", "os-update settings status"},
		{"macOS 26 that does not list the settings", "26.5", status.Capabilities{Known: true, Enforcement: true, Items: 1}, "", "", "os-update status"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := given(t, `{"os":{"track":"latest","upgrade":"enforce"},"updates":{"mode":"automatic","within_days":14},"settings":{"Notifications":false}}`, "2026-01-01", old...)
			m := mac(tt.version, "X1")
			m.Facts.Capabilities = tt.caps
			p := w.step(m, "2026-08-20", true)
			if p.Outcome != Targeted || p.Gated != tt.gated {
				t.Errorf("outcome %s, gated %q, want %q", p.Outcome, p.Gated, tt.gated)
			}
			var items []string
			for _, d := range p.Declarations {
				if d.Kind == declarations.KindConfiguration {
					items = append(items, strings.TrimPrefix(d.Identifier, "plimsoll."))
				}
			}
			if got := strings.Join(items, " "); got != tt.items {
				t.Errorf("declared: %s, want %s", got, tt.items)
			}
			if tt.gated == "" {
				return
			}
			if p.LeftOut[0].Code != tt.gated || tt.mechanism != "" && p.LeftOut[0].Evidence["needs"] != tt.mechanism {
				t.Errorf("left out: %+v", p.LeftOut)
			}
			for _, l := range p.NextLanes {
				if l.Promise != 0 {
					t.Errorf("a lane that is not declared makes a promise: %+v", p.NextLanes)
				}
			}
		})
	}
}

func TestSubscriptionsAreReducedToWhatIsSupported(t *testing.T) {
	names := func(m *Mac) []string {
		p := given(t, automatic14, "2026-01-01", august...).step(m, "2026-08-20", true)
		for _, d := range p.Declarations {
			if d.Identifier == declarations.IDStatus {
				var body struct {
					Payload struct{ StatusItems []struct{ Name string } }
				}
				if err := json.Unmarshal(d.Body, &body); err != nil {
					t.Fatal(err)
				}
				var out []string
				for _, i := range body.Payload.StatusItems {
					out = append(out, i.Name)
				}
				return out
			}
		}
		return nil
	}
	m := mac("26.6.2", "25G83")
	m.Facts.Capabilities.Items = 1<<0 | 1<<2
	if got := strings.Join(names(m), " "); got != "device.identifier.serial-number device.model.identifier" {
		t.Errorf("subscribed to %s", got)
	}
	m.Facts.Capabilities.Items = 0 // a list that makes no sense tells nothing
	if got := names(m); len(got) != len(status.SubscribedItems) {
		t.Errorf("subscribed to %v", got)
	}
	m.Facts.Capabilities = status.Capabilities{}
	if got := names(m); len(got) != len(status.SubscribedItems) {
		t.Errorf("subscribed to %v", got)
	}
	m.Facts.Version = "" // it speaks the protocol, so it is at least on macOS 13
	if got := names(m); len(got) != len(status.SubscribedItems) {
		t.Errorf("subscribed to %v", got)
	}
}

func TestSettingsBetaGate(t *testing.T) {
	both := `{"settings":{"Notifications":false,"Beta":{"ProgramEnrollment":"AlwaysOff"}}}`
	betaOnly := `{"settings":{"Beta":{"ProgramEnrollment":"AlwaysOff"}}}`
	for _, tt := range []struct {
		policy, version, payload, leftOut string
	}{
		{both, "15.3.2", `"Payload":{"Notifications":false}`, CodeBetaNotSupported},
		{both, "15.4", `"Payload":{"Beta":{"ProgramEnrollment":"AlwaysOff"},"Notifications":false}`, ""},
		{betaOnly, "15.3.2", "", CodeBetaNotSupported},
		{betaOnly, "14.6", "", CodeSettingsNotSupported},
	} {
		w := given(t, tt.policy, "2026-01-01", august...)
		p := w.step(mac(tt.version, "X"), "2026-08-20", true)
		got := ""
		for _, d := range p.Declarations {
			if d.Identifier == declarations.IDSettings {
				got = string(d.Body)
			}
		}
		if tt.payload == "" && got != "" || !strings.Contains(got, tt.payload) {
			t.Errorf("%s: settings %s, want %s", tt.version, got, tt.payload)
		}
		code := ""
		if len(p.LeftOut) > 0 {
			code = p.LeftOut[0].Code
		}
		if code != tt.leftOut {
			t.Errorf("%s: left out %q, want %q", tt.version, code, tt.leftOut)
		}
	}
}

// rules 7: the bytes that a Mac is given.
func TestEnforcementBytes(t *testing.T) {
	exact := `{"updates":{"mode":"exact","version":"26.6.1","build":"25G76","deadline":"2026-12-01T12:00:00"},"details_url":"https://it.example.com/u"}`
	m := mac("26.5", "25F71")
	m.SelfURL = "https://plimsoll.example.com/self/abc"
	for _, tt := range []struct{ name, policy, want string }{
		{"automatic has no build", automatic14, `{"Identifier":"plimsoll.os-update","Payload":{"TargetLocalDateTime":"2026-08-25T12:00:00","TargetOSVersion":"26.6.2"},`},
		{"exact with a build", exact, `{"Identifier":"plimsoll.os-update","Payload":{"DetailsURL":"https://it.example.com/u","TargetBuildVersion":"25G76","TargetLocalDateTime":"2026-12-01T12:00:00","TargetOSVersion":"26.6.1"},`},
		{"exact without a build", `{"updates":{"mode":"exact","version":"26.6.1","deadline":"2026-12-01T12:00:00"}}`, `{"Identifier":"plimsoll.os-update","Payload":{"TargetLocalDateTime":"2026-12-01T12:00:00","TargetOSVersion":"26.6.1"},`},
		{"the feed's own string", `{"updates":{"mode":"exact","version":"26.6.1.0","deadline":"2026-12-01T12:00:00"}}`, `{"Identifier":"plimsoll.os-update","Payload":{"TargetLocalDateTime":"2026-12-01T12:00:00","TargetOSVersion":"26.6.1"},`},
		{"the Mac's own page", `{"updates":{"mode":"exact","version":"26.6.1","deadline":"2026-12-01T12:00:00"},"details_url":"self"}`, `{"Identifier":"plimsoll.os-update","Payload":{"DetailsURL":"https://plimsoll.example.com/self/abc","TargetLocalDateTime":"2026-12-01T12:00:00","TargetOSVersion":"26.6.1"},`},
	} {
		p := given(t, tt.policy, "2026-01-01", august...).step(&Mac{Facts: m.Facts, SelfURL: m.SelfURL}, "2026-08-19", true)
		found := ""
		for _, d := range p.Declarations {
			if d.Identifier == declarations.IDOSUpdate {
				found = string(d.Body)
			}
		}
		if !strings.HasPrefix(found, tt.want) {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, found, tt.want)
		}
	}
	m.SelfURL = ""
	p := given(t, `{"updates":{"mode":"automatic","within_days":14},"details_url":"self"}`, "2026-01-01", august...).step(m, "2026-08-19", true)
	if len(p.LeftOut) != 1 || p.LeftOut[0].Code != CodeNoSelfPage || !p.Enforced() {
		t.Errorf("without a page of its own: %+v", p.LeftOut)
	}
}

func TestBrokenPartsAreLeftOut(t *testing.T) {
	days := 14
	odd := policy.Stored{Policy: policy.Policy{
		Name: "odd", Updates: &policy.Updates{Mode: "someday", WithinDays: &days}, BackgroundSecurity: &policy.BackgroundSecurity{Mode: "automatic"},
		Settings: &declarations.Settings{Notifications: new(bool)},
	}}
	w := given(t, automatic14, "2026-01-01", august...)
	w.in.Policies = []policy.Stored{odd}
	p := w.step(mac("26.5", "25F71"), "2026-08-20", true)
	if p.Outcome != Satisfied || len(p.LeftOut) != 2 || len(p.Declarations) != 4 {
		t.Errorf("outcome %s, left out %+v, %d declarations", p.Outcome, p.LeftOut, len(p.Declarations))
	}
	// An expression that does not resolve any more: nobody knows whether the policy applies.
	w.in.Policies = []policy.Stored{{Policy: policy.Policy{Name: "odd", Priority: 9, Assign: policy.Assign{When: "modell == 'x'"}}}, stored(t, automatic14, "2026-01-01")}
	p = w.step(mac("26.5", "25F71"), "2026-08-20", true)
	want{outcome: Unknown, reason: CodeAssignmentUnknown}.check(t, p)
	if _, err := Compile(policy.Input{}); err == nil {
		t.Error("compiled without a catalogue")
	}
}

func TestGenerationChangesTheToken(t *testing.T) {
	w := given(t, automatic14, "2026-01-01", august...)
	m := mac("26.5", "25F71")
	a := w.step(m, "2026-08-20", true)
	m.Generation = 1
	b := w.step(m, "2026-08-20", true)
	if a.Token == b.Token || a.Declarations[0].ServerToken != b.Declarations[0].ServerToken {
		t.Error("the generation must change the DeclarationsToken and nothing else")
	}
}

func TestOddFactsNeverPanic(t *testing.T) {
	b := given(t, minimum2661, "2026-01-01", august...).book()
	for _, version := range []string{"", ".", "x", "26..1", "99999999999999999999", "-1", "26.6.1 (a)", strings.Repeat("9", 1000)} {
		for _, board := range []string{"", "J1AP", "nothing", "\x00"} {
			m := mac(version, board)
			m.Facts.Board, m.Facts.Letter = board, "(zz)"
			m.Lanes[Upgrade] = LaneState{Promise: -1 << 62, Served: 1 << 62, Target: "no such build"}
			m.Delayed = &Delayed{Lane: BSI, Until: 1 << 62}
			m.Wish = &Wish{Major: -5}
			b.Plan(m, time.Time{})
			b.Explain(m, time.Unix(1<<40, 0))
		}
	}
}
