package plan

import (
	"testing"

	"plimsoll/declarations"
	"plimsoll/declarations/release"
)

// rules 6.6.
func TestBSI(t *testing.T) {
	base := []string{"26.3 25D125 2026-02-11 J1AP", "26.3.1 25D2128 2026-03-04 J1AP"}
	a := "26.3.1(a) 25D771280a 2026-03-17 J1AP base=25D2128"
	b := "26.3.1(b) 25D771300b 2026-03-25 J1AP base=25D2128"
	both := `{"updates":{"mode":"automatic","within_days":14},"background_security":{"mode":"automatic","within_days":10}}`
	with := func(more ...string) []string { return append(append([]string{}, base...), more...) }
	has := func(letter, supplemental string) *Mac {
		m := mac("26.3.1", "25D2128")
		m.Facts.Letter, m.Facts.SupplementalBuild = letter, supplemental
		return m
	}
	tests := []struct {
		name     string
		policy   string
		releases []string
		mac      *Mac
		hold     string
		now      string
		want     want
		missing  string
	}{
		{"for the base that the Mac runs", both, with(a), has("", ""), "", "2026-03-18", want{outcome: Targeted, target: "25D771280a", due: "2026-03-27T12:00", deadline: "2026-03-27T12:00"}, "25D771280a"},
		{"not for another base", both, []string{"26.3 25D125 2026-02-11 J1AP", a}, mac("26.3", "25D125"), "", "2026-03-18", want{outcome: Satisfied}, ""},
		{"not for another board", both, append(with(), "26.3.1(a) 25D771280a 2026-03-17 J2AP base=25D2128"), has("", ""), "", "2026-03-18", want{outcome: Satisfied}, ""},
		{"only when there is no OS target", both, with(a), mac("26.3", "25D125"), "", "2026-03-18", want{outcome: Targeted, target: "25D2128"}, ""},
		{"an OS target comes first, though the BSI applies", both, with(a, "26.4 25E246 2026-03-24 J1AP"), has("", ""), "", "2026-03-25", want{outcome: Targeted, target: "25E246"}, "25D771280a"},
		{"installed, by letter", both, with(a), has("a", ""), "", "2026-03-18", want{outcome: Satisfied}, ""},
		{"installed, by the letter as a Mac writes it", both, with(a), has("(a)", ""), "", "2026-03-18", want{outcome: Satisfied}, ""},
		{"installed, by the supplemental build alone", both, with(a), has("", "25D771280a"), "", "2026-03-18", want{outcome: Satisfied}, ""},
		{"installed, the build at check-in", both, with(a), mac("26.3.1", "25D771280a"), "", "2026-03-18", want{outcome: Satisfied}, ""},
		{"the base as supplemental build is no BSI", both, with(a), has("", "25D2128"), "", "2026-03-18", want{outcome: Targeted, target: "25D771280a"}, "25D771280a"},
		{"the newest, due with the first that is missed", both, with(a, b), has("", ""), "", "2026-03-25T19:00", want{outcome: Targeted, target: "25D771300b", due: "2026-03-27T12:00", deadline: "2026-03-31T12:00"}, "25D771300b"},
		{"above the letter that the Mac has", both, with(a, b), has("a", "25D771280a"), "", "2026-03-25T19:00", want{outcome: Targeted, target: "25D771300b", due: "2026-04-04T12:00", deadline: "2026-04-04T12:00"}, "25D771300b"},
		{"a held one is no target and does not count", both, with(a, b), has("", ""), "25D771300b", "2026-03-25T19:00", want{outcome: Targeted, target: "25D771280a", due: "2026-03-27T12:00"}, "25D771280a"},
		{"only a hold stands in the way", both, with(a), has("", ""), "25D771280a", "2026-03-18", want{outcome: Held, reason: CodeHeld}, ""},
		{"a withdrawn one is no target", both, with(a + " gone"), has("", ""), "", "2026-03-18", want{outcome: Satisfied}, ""},
		{"not enforced, but missing", automatic14, with(a), has("", ""), "", "2026-03-18", want{outcome: Satisfied}, "25D771280a"},
		{"on a base that is not the newest: declared, but optional", bsiPolicy, with(a, "26.4 25E246 2026-03-24 J1AP"), has("", ""), "", "2026-03-25", want{outcome: Targeted, target: "25D771280a", optional: true}, "25D771280a"},
		{"while the OS is held", both, with(a, "26.4 25E246 2026-03-24 J1AP"), has("", ""), "26.4", "2026-03-25", want{outcome: Held, target: "25D771280a", reason: CodeHeld, optional: true}, "25D771280a"},
		{"above the track", `{"os":{"track":"15","upgrade":"enforce"},"updates":{"mode":"automatic","within_days":14},"background_security":{"mode":"automatic","within_days":10}}`, with(a), has("", ""), "", "2026-03-18", want{outcome: Targeted, target: "25D771280a"}, "25D771280a"},
		{"at the policy's own time", `{"updates":{"mode":"none"},"background_security":{"mode":"automatic","within_days":10,"time":"08:15"}}`, with(a), has("", ""), "", "2026-03-18", want{outcome: Targeted, target: "25D771280a", deadline: "2026-03-27T08:15"}, "25D771280a"},
		{"notice is not longer than the days", `{"updates":{"mode":"none"},"background_security":{"mode":"automatic","within_days":2}}`, with(a), has("", ""), "", "2026-03-20T00:00", want{outcome: Targeted, target: "25D771280a", due: "2026-03-19T12:00", deadline: "2026-03-23T12:00"}, "25D771280a"},
		{"no BSI without releases for the major", bsiPolicy, []string{"15.7.9 24G830 2026-08-06 J1AP"}, mac("26.3.1", "25D2128"), "", "2026-08-20", want{outcome: Unknown, reason: CodeNotInCatalogue}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := given(t, tt.policy, "2026-01-01", tt.releases...)
			if tt.hold != "" {
				w.hold(tt.hold, tt.now)
			}
			p := w.step(tt.mac, tt.now, true)
			tt.want.check(t, p)
			missing := ""
			if p.MissingBSI != nil {
				missing = p.MissingBSI.Build
			}
			if missing != tt.missing {
				t.Errorf("missing %q, want %q", missing, tt.missing)
			}
		})
	}
}

// A user may remove a BSI; then the Mac is told again, with the notice of a new obligation.
func TestARemovedBSIIsTargetedAgain(t *testing.T) {
	w := given(t, bsiPolicy, "2026-01-01", "26.3.1 25D2128 2026-03-04 J1AP", "26.3.1(a) 25D771280a 2026-03-17 J1AP base=25D2128")
	m := mac("26.3.1", "25D2128")
	installed := func(letter, build string) func(*world, *Mac) {
		return func(_ *world, m *Mac) { m.Facts.Letter, m.Facts.SupplementalBuild = letter, build }
	}
	live(t, w, m, []moment{
		{"2026-03-17T19:00", true, nil, "25D771280a", "2026-03-20T12:00"},
		{"2026-03-19T19:00", true, installed("a", "25D771280a"), "", ""},
		{"2026-06-01T19:00", true, installed("", ""), "25D771280a", "2026-06-04T12:00"},
	})
}

// A BSI that nobody enforces is missing again when its hold ends.
func TestAMissingBSIThatIsHeld(t *testing.T) {
	w := given(t, automatic14, "2026-01-01", "26.3.1 25D2128 2026-03-04 J1AP", "26.3.1(a) 25D771280a 2026-03-17 J1AP base=25D2128")
	w.in.Holds = []release.Hold{{Subject: "25D771280a", Until: at(t, "2026-03-25")}}
	m := mac("26.3.1", "25D2128")
	if p := w.step(m, "2026-03-20", true); p.MissingBSI != nil || !p.NextAt.Equal(at(t, "2026-03-25")) {
		t.Errorf("while it is held: missing %v, again at %v", p.MissingBSI, p.NextAt)
	}
	if p := w.step(m, "2026-03-25", true); p.MissingBSI == nil {
		t.Error("when the hold has ended it is not missing")
	}
}

// The BSI of another base is another obligation, with its own notice.
func TestABSIOfAnotherBaseStartsAnew(t *testing.T) {
	w := given(t, bsiPolicy, "2026-01-01", "26.3.1 25D2128 2026-03-04 J1AP", "26.3.1(a) 25D771280a 2026-03-17 J1AP base=25D2128", "26.3.2 25D2140 2026-03-10 J1AP", "26.3.2(a) 25D771400a 2026-03-17 J1AP base=25D2140")
	live(t, w, mac("26.3.1", "25D2128"), []moment{
		{"2026-03-17T19:00", true, nil, "25D771280a", "2026-03-20T12:00"},
		{"2026-03-19T19:00", true, updates("26.3.2", "25D2140"), "25D771400a", "2026-03-22T12:00"},
	})
}

// As Apple documents it: a version string with a letter is rejected, and without the build nothing happens.
func TestBSIIsDeclaredByItsBuild(t *testing.T) {
	w := given(t, bsiPolicy, "2026-01-01", "26.3.1 25D2128 2026-03-04 J1AP", "26.3.1(a) 25D771280a 2026-03-17 J1AP base=25D2128")
	p := w.step(mac("26.3.1", "25D2128"), "2026-03-17T19:00", true)
	want := `{"Identifier":"plimsoll.bsi","Payload":{"TargetBuildVersion":"25D771280a","TargetLocalDateTime":"2026-03-20T12:00:00","TargetOSVersion":"26.3.1"},"ServerToken":"`
	if got := string(body(p, declarations.IDBSI)); len(got) < len(want) || got[:len(want)] != want {
		t.Errorf("declared %s", got)
	}
	if got := TargetOf(p.Target); *got != (Target{release.KindBSI, "26.3.1", "25D771280a"}) {
		t.Errorf("target %+v", got)
	}
}
