package compliance

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"plimsoll/declarations"
	"plimsoll/declarations/plan"
	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
	"plimsoll/status"
)

// The world of the tests: Apple's releases of 2026-08-22 and, for Background Security Improvements, those of March.
var (
	summer = release.NewIndex(release.Snapshot())
	spring = release.NewIndex(&release.Catalog{Releases: []release.Release{
		{Version: "26.3", Build: "25D125", Kind: release.KindOS, Available: true, Devices: []string{"J413AP"}},
		{Version: "26.3.1", Build: "25D2128", Kind: release.KindOS, Available: true, Devices: []string{"J413AP"}},
		{Version: "26.3.1", Build: "25D771280a", Kind: release.KindBSI, Letter: "a", PrerequisiteBuild: "25D2128", Available: true, Devices: []string{"J413AP"}},
	}})
)

func at(s string) time.Time {
	t, err := time.Parse("2006-01-02T15:04", s)
	if err != nil {
		panic(err)
	}
	return t
}

func local(s string) declarations.Local {
	l, err := declarations.ParseLocal(s)
	if err != nil {
		panic(err)
	}
	return l
}

// air is a MacBook Air (M2) on macOS 26.5, enrolled on the evening of 2026-08-20.
func air() plan.Mac {
	return plan.Mac{Facts: status.Facts{
		ID: "AIR", Serial: "C02AIR", Model: "Mac14,2", Board: "J413AP", Version: "26.5", Build: "25F71", BootstrapToken: true,
		Enrolled: true, EnrolledAt: at("2026-08-20T18:00"), LastContactAt: at("2026-08-20T18:00"), LastReportAt: at("2026-08-20T18:00"),
	}}
}

// asks is a plan by hand: the release is the target until the Mac has it, as rules 6.2 would have it for a floor.
func asks(build, deadline string) func(*life) *plan.Plan {
	return func(l *life) *plan.Plan {
		r := l.index.Build(build)
		p := &plan.Plan{Policy: &policy.Stored{Policy: policy.Policy{Name: "everyone"}}, Outcome: plan.Satisfied}
		f := &l.mac.Facts
		have := f.Version.Compare(r.Version) >= 0
		if r.Kind == release.KindBSI {
			have = f.Version.Compare(r.Version) > 0 || f.SupplementalBuild == r.Build || f.Letter >= r.Letter
			p.Lane = plan.BSI
		}
		if !have {
			p.Outcome, p.Target = plan.Targeted, r
			p.Due, p.Deadline = local(deadline), local(deadline)
			p.Lanes = []plan.LanePlan{{Lane: p.Lane, Target: r, Due: p.Due, Deadline: p.Deadline}}
		}
		declare(p, l.mac.Generation)
		return p
	}
}

// declare gives a plan its declarations and token.
func declare(p *plan.Plan, generation uint64) {
	add := func(d declarations.Declaration) {
		p.Declarations = append(p.Declarations, d, declarations.Activation(d))
	}
	p.Declarations = nil
	add(declarations.Subscriptions(status.SubscribedItems))
	if p.Enforced() {
		build := ""
		if p.Target.Kind == release.KindBSI {
			build = p.Target.Build
		}
		add(declarations.Enforcement(identifierOf(p.Target.Kind), string(p.Target.Version), build, p.Deadline, ""))
	}
	declarations.SortDeclarations(p.Declarations)
	p.Token = declarations.DeclarationsToken(declarations.ItemsOf(p.Declarations), generation)
}

// life is one Mac going through time.
type life struct {
	t        *testing.T
	index    *release.Index
	planner  func(*life) *plan.Plan
	mac      plan.Mac
	merged   status.Merged
	manifest *declarations.Manifest
	push     string
	zone     *time.Location
	now      time.Time

	last    Snapshot
	verdict Verdict
}

func (l *life) contact() {
	f := &l.mac.Facts
	if l.now.Sub(f.LastContactAt) > 7*24*time.Hour && !f.LastContactAt.IsZero() {
		l.mac.BackAt = l.now
	}
	f.LastContactAt = l.now
}

// fetch is a Mac's declaration-items.
func (l *life) fetch() {
	l.contact()
	p := l.planner(l)
	l.manifest = &declarations.Manifest{DeclarationsToken: p.Token, Items: declarations.ItemsOf(p.Declarations), ServedAt: l.now}
}

// report takes a status report with these items.
func (l *life) report(items map[string]any) {
	l.t.Helper()
	l.contact()
	nested := map[string]any{}
	for name, v := range items {
		in := nested
		parts := strings.Split(name, ".")
		for _, p := range parts[:len(parts)-1] {
			if in[p] == nil {
				in[p] = map[string]any{}
			}
			in = in[p].(map[string]any)
		}
		in[parts[len(parts)-1]] = v
	}
	body, err := json.Marshal(map[string]any{"StatusItems": nested, "Errors": []any{}})
	if err != nil {
		l.t.Fatal(err)
	}
	r, err := status.Parse(body)
	if err != nil {
		l.t.Fatal(err)
	}
	l.merged = status.Merge(l.merged, r)
	l.mac.Facts = l.mac.Facts.Apply(r, l.now)
	l.mac.Facts.LastReportAt = l.now
}

// holds is management.declarations of a Mac that holds its manifest; spoil may change the entry of an identifier.
func (l *life) holds(spoil func(id string, entry map[string]any)) map[string]any {
	arrays := map[string][]any{"activations": {}, "configurations": {}, "assets": {}, "management": {}}
	for _, item := range l.manifest.Items {
		e := map[string]any{"identifier": item.Identifier, "server-token": item.ServerToken, "active": true, "valid": "valid"}
		if spoil != nil {
			spoil(item.Identifier, e)
		}
		name := string(item.Kind) + "s"
		arrays[name] = append(arrays[name], e)
	}
	return map[string]any{"activations": arrays["activations"], "configurations": arrays["configurations"], "assets": arrays["assets"], "management": arrays["management"]}
}

// rejects is holds with one declaration rejected in Apple's words.
func (l *life) rejects(id, words string) map[string]any {
	return l.holds(func(got string, e map[string]any) {
		if got == id {
			e["valid"] = "invalid"
			e["reasons"] = []any{map[string]any{"code": "Error.ConfigurationCannotBeApplied", "description": "Configuration cannot be applied", "details": map[string]any{"Error": words}}}
		}
	})
}

// judge judges now, and tells the events since the last time.
func (l *life) judge() []Event {
	plan := l.planner(l)
	mac := l.mac
	l.verdict = Judge(Input{
		Mac: &mac, Plan: plan, Index: l.index, Status: l.merged, Manifest: l.manifest, Now: l.now, Zone: l.zone, Before: l.last.Summary, Push: l.push,
	})
	next := Snapshot{Summary: l.verdict.Summary, Facts: &mac.Facts, Reasons: l.verdict.Reasons, Now: l.now}
	if l.manifest != nil {
		next.Token = l.manifest.DeclarationsToken
	}
	events := Events(l.last, next)
	l.last = next
	return events
}

// step is what happens at one moment and what is expected of it.
type step struct {
	at      string
	do      func(*life)
	state   State
	phase   Phase
	reasons []string // all codes, in their order
	flags   []string
	events  []string
}

// run takes a Mac through its steps.
func run(t *testing.T, l *life, steps []step) {
	t.Helper()
	l.t = t
	if l.index == nil {
		l.index = summer
	}
	for i, s := range steps {
		l.now = at(s.at)
		if s.do != nil {
			s.do(l)
		}
		events := l.judge()
		v := l.verdict
		what := fmt.Sprintf("step %d at %s", i+1, s.at)
		if got := v.StateNow(l.now); got != s.state {
			t.Errorf("%s: state %q, want %q", what, got, s.state)
		}
		if v.Phase != s.phase {
			t.Errorf("%s: phase %q, want %q", what, v.Phase, s.phase)
		}
		if got := codesOf(v.Reasons); !slices.Equal(got, s.reasons) {
			t.Errorf("%s: reasons %q, want %q", what, got, s.reasons)
		}
		if got := v.FlagsAt(l.now, &l.mac.Facts, false).Names(); !slices.Equal(got, s.flags) {
			t.Errorf("%s: flags %q, want %q", what, got, s.flags)
		}
		var types []string
		for _, e := range events {
			types = append(types, e.Type)
			if e.Text == "" || e.Device != "AIR" || e.Serial != "C02AIR" || e.Data == nil || !e.At.Equal(l.now) {
				t.Errorf("%s: incomplete event %+v", what, e)
			}
		}
		if !slices.Equal(types, s.events) {
			t.Errorf("%s: events %q, want %q", what, types, s.events)
		}
		checkReasons(t, what, &v, l.now)
		if again := l.judge(); len(again) != 0 {
			t.Errorf("%s: judging twice brought events %v", what, again)
		}
		if rows := codesOf(ReasonsAt(v.Summary, &l.mac.Facts, l.now, false)); len(s.reasons) > 0 && (len(rows) == 0 || rows[0] != s.reasons[0]) {
			t.Errorf("%s: the list's reasons are %q, want %q first", what, rows, s.reasons[0])
		}
	}
}

func codesOf(reasons []policy.Reason) []string {
	var out []string
	for _, r := range reasons {
		out = append(out, r.Code)
	}
	return out
}

// checkReasons holds what is true of all reasons.
func checkReasons(t *testing.T, what string, v *Verdict, now time.Time) {
	t.Helper()
	if len(v.Reasons) == 0 && v.StateNow(now) != Compliant {
		t.Errorf("%s: no reason for %s", what, v.State)
	}
	if len(v.Codes) > keptCodes {
		t.Errorf("%s: %d codes kept", what, len(v.Codes))
	}
	for _, r := range v.Reasons {
		if r.Text == "" || r.Advice == "" || r.Evidence == nil || strings.ContainsAny(r.Text, "{}?") {
			t.Errorf("%s: reason %+v is not complete", what, r)
		}
		if rankOf(r.Code) == len(Codes) {
			t.Errorf("%s: reason %q is not documented", what, r.Code)
		}
	}
	if !v.NextAt.IsZero() && !v.NextAt.After(now) {
		t.Errorf("%s: the verdict changes at %s, which is not after %s", what, v.NextAt, now)
	}
}
