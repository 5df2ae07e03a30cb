package plan

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
)

// story is an explanation, as short as a test wants it.
func story(x *Explanation) []string {
	var out []string
	for _, p := range x.Policies {
		line := "policy " + p.Name + ": " + p.Why
		if p.Won {
			line = "won: " + line
		}
		out = append(out, line)
	}
	for _, r := range x.Releases {
		line := r.Role + " " + r.Version + " " + r.Build
		if r.DueLocal != nil {
			line += " due " + *r.DueLocal
		}
		out = append(out, line+": "+r.Why)
	}
	return append(out, x.DeadlineWords...)
}

func TestExplain(t *testing.T) {
	w := given(t, `{"name":"all","priority":1,"os":{"track":"latest","upgrade":"enforce"},"updates":{"mode":"automatic","within_days":14,"min_age_days":2}}`, "2026-08-01",
		"14.8.9 23J631 2026-08-06 J1AP", "15.7.7 24G720 2026-05-18 J1AP", "15.7.8 24G824 2026-07-27 J1AP gone", "15.7.9 24G830 2026-08-06 J1AP", "15.8 24H1 2026-08-19 J1AP",
		"26.6 25G72 2026-07-27 J1AP", "26.6.2 25G83 2026-08-17 J1AP", "26.3.1(a) 25D771280a 2026-03-17 J1AP base=25D2128")
	w.in.Policies = append(w.in.Policies,
		stored(t, `{"name":"lab","priority":9,"assign":{"groups":["lab"]}}`, "2026-01-01"),
		stored(t, `{"name":"old","priority":8,"assign":{"when":"major < 15"}}`, "2026-01-01"),
		stored(t, `{"name":"spare","priority":-3}`, "2026-01-01"))
	w.hold("25G83", "2026-08-18")
	m := mac("15.7.7", "24G720")
	w.step(m, "2026-08-10", true)
	_, x := w.book().Explain(m, at(t, "2026-08-20"))
	want := []string{
		"policy lab: the Mac is in none of the policy's groups",
		"policy old: the expression in when is false for the Mac",
		"won: policy all: applies to every Mac; it has the highest priority of those that apply",
		"policy spare: applies to every Mac, but all has a higher priority (1)",
		"ignored 26.6.2 25G83: held: broken",
		"missed 26.6 25G72 due 2026-10-30T12:00:00: the newest upgrade that may be installed; the other kind of update has the earlier deadline and is declared first",
		"ignored 15.8 24H1: younger than min_age_days (2): a target from 2026-08-21 on",
		"target 15.7.9 24G830 due 2026-08-20T12:00:00: the newest update within its macOS that may be installed",
		"missed 15.7.8 24G824 due 2026-08-10T12:00:00: newer than what the Mac runs, and not above the target; it is due first and sets the due date (Apple does not offer it any more)",
		"ignored 15.7.7 24G720: the version that the Mac runs",
		"ignored 14.8.9 23J631: older than what the Mac runs",
		"ignored 26.3.1 25D771280a: for the base build 25D2128, which the Mac does not run",
		"macOS 15.7.8 was posted on 2026-07-27 and is due 14 days after that: 2026-08-10T12:00:00.",
		"It is the missed release that is due first. The target, macOS 15.7.9, does not postpone it.",
		"The Mac was already promised 2026-08-16T12:00:00, and that does not move later (fair from now would be 2026-08-26T12:00:00), so it stays the deadline.",
		"Of the lanes patch and upgrade the one with the earlier deadline is declared, when equal the upgrade: the lane patch (2026-08-16T12:00:00), not the lane upgrade (2026-10-30T12:00:00).",
	}
	if diff := cmp.Diff(want, story(&x)); diff != "" {
		t.Error(diff)
	}
	if len(x.Lanes) != 2 || x.Lanes[0].Lane != "patch" || *x.Lanes[0].PromiseLocal != "2026-08-16T12:00:00" || x.Lanes[1].PromiseLocal != nil || x.Lanes[1].DueSetBy.Build != "25G72" {
		t.Errorf("lanes %+v", x.Lanes)
	}
	if *x.Policy != "all" || *x.DueLocal != "2026-08-10T12:00:00" || *x.DeadlineLocal != "2026-08-16T12:00:00" || x.Target.Build != "24G830" {
		t.Errorf("explanation %+v", x)
	}
}

// The words of the deadline, one case for each way in which it comes about.
func TestDeadlineWords(t *testing.T) {
	at20 := func(change func(*world, *Mac), policy string) []string {
		w := given(t, policy, "2026-08-15T10:00", "15.7.9 24G830 2026-08-06 J1AP", "26.6.1 25G76 2026-08-06 J1AP", "26.6.2 25G83 2026-08-17 J1AP", "26.6.2(a) 25G83a 2026-08-18 J1AP base=25G83")
		m := mac("26.6.1", "25G76")
		m.Asks = true
		if change != nil {
			change(w, m)
		}
		_, x := w.book().Explain(m, at(t, "2026-08-20"))
		return x.DeadlineWords
	}
	promised := func(l Lane, since, promise, served string) func(*world, *Mac) {
		return func(_ *world, m *Mac) {
			m.Lanes[l] = LaneState{Since: at(t, since), Target: "25G83", Promise: local(t, promise), Served: local(t, served)}
		}
	}
	tests := []struct {
		name, policy string
		change       func(*world, *Mac)
		want         []string
	}{
		{"due, with notice enough", automatic14, nil, []string{"posted on 2026-08-17 and is due 14 days after that: 2026-08-31T12:00:00", "the notice of 5 days that it is promised at least (fair: 2026-08-26T12:00:00), so the deadline is the due date"}},
		{"fair", `{"updates":{"mode":"automatic","within_days":3}}`, nil, []string{"is due 3 days", "With a notice of 3 days from now, read where every clock arrives first, the earliest fair deadline is 2026-08-24T12:00:00, and that is the deadline"}},
		{"promised before the due date", automatic14, promised(Patch, "2026-08-18", "2026-08-30T12:00", "2026-08-30T12:00"), []string{"2026-08-31", "was promised 2026-08-30T12:00:00, not later than the due date"}},
		{"never served", `{"updates":{"mode":"automatic","within_days":3}}`, promised(Patch, "2026-08-18", "2026-08-20T12:00", ""), []string{"due", "promised 2026-08-20T12:00:00 but never fetched that, and less than 24 hours are left, so it is told anew", "the earliest fair deadline is 2026-08-24T12:00:00"}},
		{"never served, but something else was", `{"updates":{"mode":"automatic","within_days":2}}`, promised(Patch, "2026-08-18", "2026-08-20T12:00", "2026-08-22T12:00"), []string{"due", "told anew", "The deadline is 2026-08-22T12:00:00: never later than what the Mac was told last"}},
		{"returned", `{"updates":{"mode":"automatic","within_days":2}}`, func(w *world, m *Mac) {
			promised(Patch, "2026-08-01", "2026-08-10T12:00", "2026-08-10T12:00")(w, m)
			m.BackAt = at(t, "2026-08-20")
		}, []string{"due", "which had passed when it came back from more than 7 days of silence, so it is told anew", "2026-08-23T12:00:00"}},
		{"the policy's deadline", `{"updates":{"mode":"minimum","version":"26.6.2","deadline":"2026-12-01T12:00:00"}}`, nil, []string{"The policy's own deadline is 2026-12-01T12:00:00", "the notice of 1 day"}},
		{"an upgrade, since the policy asks for it", `{"os":{"track":"26","upgrade":"enforce","upgrade_within_days":30},"updates":{"mode":"automatic","within_days":14}}`, func(_ *world, m *Mac) { m.Facts.Version, m.Facts.Build = "15.7.9", "24G830" }, []string{"macOS 26.6.1 was posted on 2026-08-06 and is due 30 days after 2026-08-15, when the policy began to ask for macOS 26: 2026-09-14T12:00:00", "does not postpone", "fair"}},
		{"wished", `{"os":{"track":"26","upgrade":"self_service"},"updates":{"mode":"automatic","within_days":14}}`, func(_ *world, m *Mac) {
			m.Facts.Version, m.Facts.Build, m.Wish = "15.7.9", "24G830", &Wish{26, at(t, "2026-08-19T10:00")}
		}, []string{"The user asked for this upgrade at 2026-08-19T10:00:00Z: the deadline is that moment as UTC-12 reads it, 2026-08-18T22:00:00"}},
		{"delayed", automatic14, func(w *world, m *Mac) {
			promised(Patch, "2026-08-18", "2026-08-31T12:00", "2026-08-31T12:00")(w, m)
			m.Delayed = &Delayed{Lane: Patch, Since: at(t, "2026-08-18"), Until: local(t, "2026-08-31T15:00")}
		}, []string{"due", "so the deadline is the due date", "The user delayed it: the deadline is 2026-08-31T15:00:00"}},
		{"a BSI", bsiPolicy, func(_ *world, m *Mac) { m.Facts.Version, m.Facts.Build = "26.6.2", "25G83" }, []string{"macOS 26.6.2 (a) was posted on 2026-08-18 and is due 2 days", "2026-08-23T12:00:00"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := at20(tt.change, tt.policy)
			if len(got) != len(tt.want) {
				t.Fatalf("words %q", got)
			}
			for i, w := range tt.want {
				if !strings.Contains(got[i], w) {
					t.Errorf("%q does not say %q", got[i], w)
				}
			}
		})
	}
}

// Why a release is ignored, in the words of one release for each cause.
func TestWhyReleasesAreIgnored(t *testing.T) {
	bsiBoth := `{"updates":{"mode":"automatic","within_days":14},"background_security":{"mode":"automatic","within_days":10}}`
	tests := []struct {
		name, policy string
		mac          *Mac
		pause        bool
		build, why   string
	}{
		{"not managed", bsiPolicy, mac("26.6.1", "25G76"), false, "25G83", "updates are not managed"},
		{"paused", automatic14, mac("26.6.1", "25G76"), true, "25G83", "updates are not managed"},
		{"satisfied", minimum2661, mac("26.6.1", "25G76"), false, "25G83", "already satisfies"},
		{"above the track", `{"os":{"track":"15","upgrade":"enforce"},"updates":{"mode":"automatic","within_days":14}}`, mac("26.6.1", "25G76"), false, "25G83", "nothing is asked"},
		{"an upgrade on demand", `{"os":{"track":"26","upgrade":"self_service"},"updates":{"mode":"automatic","within_days":14}}`, mac("15.7.8", "24G824"), false, "25G83", "not asked for"},
		{"an upgrade that is not asked for", automatic14, mac("15.7.8", "24G824"), false, "25G83", "does not ask for"},
		{"another major than the track's", `{"os":{"track":"15","upgrade":"enforce"},"updates":{"mode":"automatic","within_days":14}}`, mac("14.8.8", "23J620"), false, "25G83", "not the policy's track"},
		{"not the one named", `{"updates":{"mode":"exact","version":"26.6.1","deadline":"2026-12-01T12:00:00"}}`, mac("26.6", "25G72"), false, "25G83", "not the release that the policy names"},
		{"older than the target", `{"updates":{"mode":"minimum","version":"26.6.1","deadline":"2026-12-01T12:00:00"}}`, mac("26.5", "25F71"), false, "25G72", "older than the target"},
		{"below the floor, while another lane reaches it", minimum2661, mac("15.7.8", "24G824"), false, "24G830", "another kind of update does"},
		{"of two builds", automatic14, mac("26.5", "25F71"), false, "25G70", "newer than what the Mac runs"},
		{"withdrawn", minimum2661, mac("26.5", "25F71"), false, "25F84", "does not offer it any more"},
		{"a BSI while an update is the target", bsiBoth, mac("26.6.1", "25G76"), false, "25G76a", "comes first"},
		{"a BSI that is not enforced", automatic14, mac("26.6.1", "25G76"), false, "25G76a", "are not enforced"},
		{"a BSI that is installed", bsiBoth, func() *Mac { m := mac("26.6.1", "25G76"); m.Facts.Letter = "a"; return m }(), false, "25G76a", "installed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := given(t, tt.policy, "2026-01-01", "14.8.8 23J620 2026-07-06 J1AP", "15.7.8 24G824 2026-07-27 J1AP", "15.7.9 24G830 2026-08-06 J1AP", "26.5.2 25F84 2026-06-29 J1AP gone", "26.6 25G70 2026-07-26 J1AP",
				"26.6 25G72 2026-07-27 J1AP", "26.6.1 25G76 2026-08-06 J1AP", "26.6.2 25G83 2026-08-17 J1AP", "26.6.1(a) 25G76a 2026-08-10 J1AP base=25G76")
			if tt.pause {
				w.in.Pause = &release.Pause{}
			}
			_, x := w.book().Explain(tt.mac, at(t, "2026-08-20"))
			for _, r := range x.Releases {
				if r.Build == tt.build && !strings.Contains(r.Why, tt.why) {
					t.Errorf("%s: %s %q, want %q", r.Build, r.Role, r.Why, tt.why)
				}
			}
		})
	}
}

// The lists of an explanation are never null.
func TestExplanationOfNothing(t *testing.T) {
	b, err := Compile(policy.Input{Catalog: &release.Catalog{}})
	if err != nil {
		t.Fatal(err)
	}
	_, x := b.Explain(&Mac{}, at(t, "2026-08-20"))
	got, err := json.Marshal(x)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{`"policy":null`, `"policies":[]`, `"lanes":[]`, `"releases":[]`, `"target":null`, `"due_local":null`, `"deadline_words":[]`, `"left_out":[]`, `"outcome":"unmanaged"`} {
		if !strings.Contains(string(got), part) {
			t.Errorf("no %s in %s", part, got)
		}
	}
}

func TestOffer(t *testing.T) {
	self := `{"os":{"track":"latest","upgrade":"self_service"},"updates":{"mode":"automatic","within_days":14}}`
	asked := func(major int) *Mac {
		m := mac("15.7.9", "24G830")
		m.Wish = &Wish{Major: major, At: at(t, "2026-08-19")}
		return m
	}
	tests := []struct {
		name, policy string
		mac          *Mac
		hold, want   string
	}{
		{"offered", self, mac("15.7.8", "24G824"), "", "25G83"},
		{"asked already", self, asked(26), "", ""},
		{"asked for something older", self, asked(25), "", "25G83"},
		{"held", self, mac("15.7.9", "24G830"), "26", ""},
		{"there already", self, mac("26.5", "25F71"), "", ""},
		{"enforced", `{"os":{"track":"latest","upgrade":"enforce"},"updates":{"mode":"automatic","within_days":14}}`, mac("15.7.9", "24G830"), "", ""},
		{"not managed", bsiPolicy, mac("15.7.9", "24G830"), "", ""},
		{"by command", self, mac("13.6", "22G1"), "", "25G83"},
		{"by no means", self, mac("12.7", "21G1"), "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := given(t, tt.policy, "2026-01-01", append([]string{"13.7.8 22H730 2026-05-18 J1AP"}, august...)...)
			if tt.hold != "" {
				w.hold(tt.hold, "2026-01-01")
			}
			got := ""
			if r := w.book().Offer(tt.mac, at(t, "2026-08-20")); r != nil {
				got = r.Build
			}
			if got != tt.want {
				t.Errorf("offered %q, want %q", got, tt.want)
			}
		})
	}
}
