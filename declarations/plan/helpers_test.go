package plan

import (
	"encoding/json"
	"strings"
	"time"

	"pgregory.net/rapid"

	"plimsoll/declarations"
	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
	"plimsoll/status"
)

func at(t rapid.TB, s string) time.Time {
	t.Helper()
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04", time.DateOnly} {
		if v, err := time.Parse(layout, s); err == nil {
			return v.UTC()
		}
	}
	t.Fatalf("%q is not a time", s)
	return time.Time{}
}

func local(t rapid.TB, s string) declarations.Local {
	t.Helper()
	if s == "" {
		return 0
	}
	if len(s) == len("2006-01-02T15:04") {
		s += ":00"
	}
	l, err := declarations.ParseLocal(s)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// rel reads "26.6.1 25G76 2026-08-06 J1AP,J2AP" and, for a BSI, "26.3.1(a) 25D771280a 2026-03-17 J1AP base=25D2128"; the
// words gone, exploited and seen=TIME may follow. It first appears on the evening of its posting.
func rel(t rapid.TB, spec string) release.Release {
	t.Helper()
	f := strings.Fields(spec)
	posted, err := release.ParseDay(f[2])
	if err != nil {
		t.Fatal(err)
	}
	r := release.Release{Kind: release.KindOS, Build: f[1], Posted: posted, FirstSeen: posted.Time().Add(18 * time.Hour), Available: true, Devices: strings.Split(f[3], ",")}
	version, letter, bsi := strings.Cut(f[0], "(")
	r.Version = release.Version(version)
	if bsi {
		r.Kind, r.Letter = release.KindBSI, strings.TrimSuffix(letter, ")")
	}
	for _, w := range f[4:] {
		key, value, _ := strings.Cut(w, "=")
		switch key {
		case "gone":
			r.Available = false
		case "exploited":
			r.Exploited = true
		case "seen":
			r.FirstSeen = at(t, value)
		case "base":
			r.PrerequisiteBuild = value
		default:
			t.Fatalf("unknown word %q", w)
		}
	}
	return r
}

func catalog(t rapid.TB, specs ...string) *release.Catalog {
	t.Helper()
	c := &release.Catalog{Revision: 1, Source: "feed"}
	for _, s := range specs {
		c.Releases = append(c.Releases, rel(t, s))
	}
	return c
}

func pol(t rapid.TB, src string) policy.Policy {
	t.Helper()
	var p policy.Policy
	dec := json.NewDecoder(strings.NewReader(src))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&p); err != nil {
		t.Fatalf("%s: %v", src, err)
	}
	if p.Name == "" {
		p.Name = "p"
	}
	return p
}

func stored(t rapid.TB, src, since string) policy.Stored {
	t.Helper()
	p := pol(t, src)
	return policy.Stored{Policy: p, CreatedAt: at(t, since), UpdatedAt: at(t, since), Asks: policy.Asks(nil, &p, at(t, since))}
}

// world is an Input that tests change step by step.
type world struct {
	t  rapid.TB
	in policy.Input
}

// given makes a world with one policy, asking since the given time, and releases.
func given(t rapid.TB, src, since string, releases ...string) *world {
	t.Helper()
	return &world{t, policy.Input{Revision: 1, Policies: []policy.Stored{stored(t, src, since)}, Catalog: catalog(t, releases...)}}
}

func (w *world) book() *Book {
	w.t.Helper()
	b, err := Compile(w.in)
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

func (w *world) hold(subject, since string) {
	w.in.Holds = append(w.in.Holds, release.Hold{Subject: subject, Reason: "broken", Successors: false, Since: at(w.t, since)})
}

// mac is an enrolled Mac on board J1AP that has reported everything.
func mac(version, build string) *Mac {
	return &Mac{Facts: status.Facts{
		ID: "ID-1", Serial: "C02AAAA", Model: "Mac14,2", Board: "J1AP", Version: release.Version(version), Build: build, Enrolled: true,
		Capabilities: status.Capabilities{Known: true, Enforcement: true, Settings: true, Items: 1<<len(status.SubscribedItems) - 1},
	}}
}

// step plans at a time, checks what must hold of every plan, keeps the promises, and serves the declarations when the Mac asks.
func (w *world) step(m *Mac, now string, asks bool) *Plan {
	w.t.Helper()
	m.Asks = asks
	n := at(w.t, now)
	p := w.book().Plan(m, n)
	checkPlan(w.t, w.book(), m, n, p)
	m.Lanes = p.NextLanes
	if asks {
		m.Lanes = m.Lanes.MarkServed(p)
	}
	return p
}

// checkPlan states what holds of every plan.
func checkPlan(t rapid.TB, b *Book, m *Mac, now time.Time, p *Plan) {
	t.Helper()
	again := *m
	again.Lanes = p.NextLanes
	q := b.Plan(&again, now)
	if q.Token != p.Token || q.Deadline != p.Deadline || q.NextLanes != p.NextLanes {
		t.Errorf("planning twice at %v differs:\n%v -> %v\n%+v\n%+v\nfrom %+v", now, p.Deadline, q.Deadline, p.NextLanes, q.NextLanes, m.Lanes)
	}
	if r := p.Target; r != nil {
		if r.Version.Compare(m.Facts.Version) < 0 || r.Kind == release.KindOS && r.Version.Compare(m.Facts.Version) == 0 {
			t.Errorf("target %s for a Mac on %s", name(r), m.Facts.Version)
		}
		if !r.Available || !contains(r.Devices, m.Facts.Board) {
			t.Errorf("target %s (%s) is not for %s", name(r), r.Build, m.Facts.Board)
		}
		for _, l := range p.Lanes {
			if l.Lane == p.Lane && p.Gated == "" && !l.Now && p.Deadline < l.Slot {
				t.Errorf("deadline %s before the slot %s of the due date %s", p.Deadline, l.Slot, p.Due)
			}
		}
	}
	if p.Outcome != Satisfied && p.Outcome != Targeted && len(p.Reasons) == 0 {
		t.Errorf("outcome %s without a reason", p.Outcome)
	}
	for _, r := range append(append([]policy.Reason{}, p.Reasons...), p.LeftOut...) {
		if r.Text == "" || strings.ContainsAny(r.Text, "{}[]") || r.Advice == "" || r.Evidence == nil {
			t.Errorf("reason %+v is not complete", r)
		}
	}
	items := declarations.ItemsOf(p.Declarations)
	for i := range p.Declarations {
		if p.Declarations[i].Item() != items[i] {
			t.Errorf("declarations are not in the order of items: %v", items)
		}
	}
	if got := declarations.DeclarationsToken(items, m.Generation); got != p.Token {
		t.Errorf("token %q, want %q", p.Token, got)
	}
	for _, it := range items { // an activation without its configuration is rejected whole
		if id, ok := strings.CutSuffix(it.Identifier, declarations.ActivationSuffix); ok {
			if _, found := declarations.Find(items, declarations.KindConfiguration, id); !found {
				t.Errorf("activation %s without its configuration", it.Identifier)
			}
		} else if _, found := declarations.Find(items, declarations.KindActivation, it.Identifier+declarations.ActivationSuffix); !found {
			t.Errorf("configuration %s without its activation", it.Identifier)
		}
	}
	_, os := declarations.Find(items, declarations.KindConfiguration, declarations.IDOSUpdate)
	_, bsi := declarations.Find(items, declarations.KindConfiguration, declarations.IDBSI)
	if os && bsi || (os || bsi) != (p.Enforced() && p.Mechanism == ByDeclaration) {
		t.Errorf("enforced %v, but os %v and bsi %v are declared", p.Enforced(), os, bsi)
	}
	if !p.NextAt.IsZero() && !p.NextAt.After(now) {
		t.Errorf("NextAt %v is not after %v", p.NextAt, now)
	}
	x, e := b.Explain(m, now)
	if x.Token != p.Token || x.NextLanes != p.NextLanes || (e.Target == nil) != (p.Target == nil) {
		t.Error("Explain decides otherwise than Plan")
	}
	targets := 0
	for _, r := range e.Releases {
		if r.Why == "" {
			t.Errorf("release %s is not explained", r.Build)
		}
		if r.Role == roleTarget {
			if targets++; p.Target == nil || r.Build != p.Target.Build {
				t.Errorf("%s is explained as the target", r.Build)
			}
		}
	}
	if p.Target != nil && (targets != 1 || len(e.DeadlineWords) == 0) {
		t.Errorf("the target %s is explained %d times, in %d words", p.Target.Build, targets, len(e.DeadlineWords))
	}
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// want is what a test expects of a plan; empty fields are not looked at, except that no target means none.
type want struct {
	outcome       Outcome
	target        string // build
	due, deadline string
	reason        string // the first
	gated         string
	optional      bool
}

func (w want) check(t rapid.TB, p *Plan) {
	t.Helper()
	if p.Outcome != w.outcome {
		t.Errorf("outcome %s, want %s (%v)", p.Outcome, w.outcome, p.Reasons)
	}
	build := ""
	if p.Target != nil {
		build = p.Target.Build
	}
	if build != w.target {
		t.Errorf("target %q, want %q", build, w.target)
	}
	if w.due != "" && p.Due != local(t, w.due) {
		t.Errorf("due %s, want %s", p.Due, w.due)
	}
	if w.deadline != "" && p.Deadline != local(t, w.deadline) {
		t.Errorf("deadline %s, want %s", p.Deadline, w.deadline)
	}
	first := ""
	if len(p.Reasons) > 0 {
		first = p.Reasons[0].Code
	}
	if first != w.reason {
		t.Errorf("first reason %q, want %q", first, w.reason)
	}
	if p.Gated != w.gated || p.Optional != w.optional {
		t.Errorf("gated %q, optional %v, want %q, %v", p.Gated, p.Optional, w.gated, w.optional)
	}
}
