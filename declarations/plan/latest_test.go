package plan

import (
	"testing"

	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
	"plimsoll/status"
)

// A target that was advertised is never swapped for an older one, across majors too: a user's delay moves the window, not the target.
func TestADelayDoesNotSwapBack(t *testing.T) {
	w := given(t, `{"os":{"track":"latest","upgrade":"enforce","upgrade_within_days":20},"updates":{"mode":"automatic","within_days":14},"delay":{"max_hours":24}}`,
		"2026-07-01", "15.7.9 24G830 2026-07-01 J1AP", "26.6 25G72 2026-08-01 J1AP")
	m := mac("15.7.9", "24G830")
	want{outcome: Targeted, target: "25G72", deadline: "2026-08-21T12:00"}.check(t, w.step(m, "2026-08-01T19:00", true))
	w.in.Catalog = catalog(t, "15.7.9 24G830 2026-07-01 J1AP", "26.6 25G72 2026-08-01 J1AP", "27.0 26A1 2026-08-25 J1AP")
	want{outcome: Targeted, target: "26A1", deadline: "2026-08-21T12:00"}.check(t, w.step(m, "2026-08-26T12:00", true))
	m.Delayed = &Delayed{Lane: Upgrade, Since: m.Lanes[Upgrade].Since, Until: local(t, "2026-08-26T14:00"), Hours: 1}
	want{outcome: Targeted, target: "26A1", deadline: "2026-08-26T14:00"}.check(t, w.step(m, "2026-08-26T12:01", false))
	want{outcome: Targeted, target: "26A1"}.check(t, w.step(m, "2026-08-28T12:00", true))
}

func TestLatest(t *testing.T) {
	const latest = `{"os":{"track":"latest","upgrade":"enforce","upgrade_within_days":20},"updates":{"mode":"automatic","within_days":14}}`
	const soaks = `{"os":{"track":"latest","upgrade":"enforce"},"updates":{"mode":"automatic","within_days":14,"min_age_days":9}}`
	for _, tt := range []struct {
		name, policy string
		releases     []string
		hold         string
		mac          *Mac
		now          string
		want         want
	}{
		{
			"a hold on the newest major leaves the upgrade to the one below", latest,
			[]string{"15.7.9 24G830 2026-07-01 J1AP", "26.6 25G72 2026-08-01 J1AP", "27.0 26A1 2026-08-10 J1AP"},
			"27", mac("15.7.9", "24G830"), "2026-08-20",
			want{outcome: Targeted, target: "25G72", due: "2026-08-21T12:00"},
		},
		{
			"only its age stands in the way", soaks,
			[]string{"26.6 25G72 2026-08-01 J1AP", "27.0 26A1 2026-08-12 J1AP", "27.1 26B1 2026-08-18 J1AP"},
			"", mac("27.0", "26A1"), "2026-08-20",
			want{outcome: Satisfied, reason: CodeSoaking},
		},
		{"above the track", soaks, []string{"26.6 25G72 2026-08-01 J1AP"}, "", mac("27.0", "26A1"), "2026-08-20", want{outcome: Satisfied, reason: CodeAboveTrack}},
		{"the own major is not in the catalogue: the upgrade all the same", latest, []string{"26.6 25G72 2026-08-01 J1AP"}, "", mac("15.7.9", "24G830"), "2026-08-20", want{outcome: Targeted, target: "25G72"}},
		{"nor is there an upgrade", latest, []string{"14.8 23J1 2026-08-01 J1AP", "26.6 25G72 2026-08-01 J1AP gone"}, "", mac("15.7.9", "24G830"), "2026-08-20", want{outcome: Satisfied, reason: CodeAboveTrack}},
		{"of two builds the newest posted", latest, []string{"26.6 25G72 2026-08-01 J1AP", "26.6 25G8072 2026-08-10 J1AP"}, "", mac("26.5", "25F71"), "2026-08-20", want{outcome: Targeted, target: "25G8072", due: "2026-08-15T12:00"}},
		{"of two builds the newest that is old enough", soaks, []string{"26.6 25G72 2026-08-01 J1AP", "26.6 25G8072 2026-08-15 J1AP"}, "", mac("26.5", "25F71"), "2026-08-20", want{outcome: Targeted, target: "25G72", due: "2026-08-15T12:00"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := given(t, tt.policy, "2026-07-01", tt.releases...)
			if tt.hold != "" {
				w.hold(tt.hold, "2026-08-01")
			}
			tt.want.check(t, w.step(tt.mac, tt.now, true))
		})
	}
}

// The table of rules 14, by the driver of commands and without.
func TestMechanisms(t *testing.T) {
	for _, tt := range []struct {
		macos          release.Version
		silicon, super status.Truth
		listed         bool
		patch, upgrade Mechanism
		why            string // of the upgrade
	}{
		{"26.6", status.NotKnown, status.NotKnown, true, ByDeclaration, ByDeclaration, ""},
		{"14.0", status.No, status.Yes, true, ByDeclaration, ByDeclaration, ""},
		{"14.0", status.No, status.Yes, false, ByNone, ByNone, CodeEnforcementNotListed},
		{"26.6", status.Yes, status.No, true, ByNone, ByNone, CodeNotSupervised},
		{"13.7.8", status.No, status.NotKnown, false, ByCommand, ByCommand, ""},
		{"12.7.6", status.Yes, status.Yes, false, ByCommand, ByCommand, ""},
		{"12.7.6", status.No, status.Yes, false, ByCommand, ByInstaller, CodeNeedsInstaller},
		{"12.7.6", status.NotKnown, status.Yes, false, ByCommand, ByInstaller, CodeNeedsInstaller},
		{"12.7.6", status.Yes, status.No, false, ByNone, ByNone, CodeNotSupervised},
		{"11.7.11", status.No, status.Yes, false, ByNone, ByNone, CodeMacOSTooOld},
	} {
		f := mac(string(tt.macos), "1A1").Facts
		f.AppleSilicon, f.Supervised, f.Capabilities.Enforcement = tt.silicon, tt.super, tt.listed
		patch, _ := MechanismOf(&f, Patch)
		upgrade, why := MechanismOf(&f, Upgrade)
		if patch != tt.patch || upgrade != tt.upgrade || why != tt.why {
			t.Errorf("macOS %s: %s, %s (%s); want %+v", tt.macos, patch, upgrade, why, tt)
		}
	}
	releases := []string{"12.7.6 21H1320 2026-07-01 J1AP", "12.7.7 21H1400 2026-08-01 J1AP", "26.6 25G72 2026-08-01 J1AP"}
	const latest = `{"os":{"track":"latest","upgrade":"enforce","upgrade_within_days":10},"updates":{"mode":"automatic","within_days":14}}`
	for _, tt := range []struct {
		name  string
		macos string
		want  want
		by    Mechanism
	}{
		{"an Intel Mac on 12 gets the last 12", "12.7.6", want{outcome: Targeted, target: "21H1400", deadline: "2026-08-15T12:00"}, ByCommand},
		{"and then needs the installer", "12.7.7", want{outcome: Targeted, target: "25G72", gated: CodeNeedsInstaller}, ByInstaller},
	} {
		w := given(t, latest, "2026-07-01", releases...)
		m := mac(tt.macos, "21H1320")
		p := w.step(m, "2026-08-01T19:00", true)
		tt.want.check(t, p)
		if p.Mechanism != tt.by || (m.Lanes[Patch].Promise != 0) != (p.Gated == "") || m.Lanes[Patch].Served != 0 {
			t.Errorf("%s: by %s, %+v", tt.name, p.Mechanism, m.Lanes[Patch])
		}
		if p.Gated == "" {
			if got := m.Lanes.MarkCommanded(p)[Patch].Served; got != p.Deadline {
				t.Errorf("%s: served %s", tt.name, got)
			}
			if len(p.LeftOut) == 0 || p.LeftOut[0].Code != CodeNeedsInstaller {
				t.Errorf("%s: left out %v", tt.name, p.LeftOut)
			}
		}
	}
}

// A rollout of ten policies, four rings and ten freezes.
func BenchmarkPlanWithRings(b *testing.B) {
	in := tenPolicies(b).Input
	last := &in.Policies[len(in.Policies)-1]
	ringed := pol(b, `{"name":"all","priority":1,"os":{"track":"latest","upgrade":"enforce"},"updates":{"mode":"automatic","within_days":14,"exploited_within_days":3,"days":["tue","wed","thu"]},
		"background_security":{"mode":"automatic","within_days":2},"rings":[{"name":"a","percent":1},{"name":"b","percent":9},{"name":"c","percent":20},{"name":"d","min_age_days":3}],"gate":{}}`)
	*last = policy.Stored{Policy: ringed, Asks: last.Asks}
	for i := range 10 {
		in.Freezes = append(in.Freezes, freeze(b, "f", "2026-0"+string(rune('1'+i%9))+"-20", "2026-0"+string(rune('1'+i%9))+"-27", i%2 == 0))
	}
	book, err := Compile(in)
	if err != nil {
		b.Fatal(err)
	}
	m := mac("26.6", "25G72")
	m.Facts.Board, m.Asks = "J413AP", true
	now := at(b, "2026-08-22T10:00")
	b.ReportAllocs()
	for b.Loop() {
		book.Plan(m, now)
	}
}
