package book

import (
	"context"
	"fmt"
	"slices"
	"time"

	"plimsoll/declarations/plan"
	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
	"plimsoll/server/fleet/answer"
	"plimsoll/status"
	"plimsoll/status/compliance"
	"plimsoll/storage"
)

// Rings tell how far the releases of a policy with rings have come, newest first (rules 13).
type Rings struct {
	Releases []RingsRelease `json:"releases"`
}

// RingsRelease tells how far a release has come in a policy.
type RingsRelease struct {
	Version release.Version `json:"version"`
	Build   string          `json:"build"`
	Posted  release.Day     `json:"posted"`
	// HaltedSince is since when the gate keeps it from the rings that are closed for it; null when it does not.
	HaltedSince *time.Time `json:"halted_since_at"`
	// WaitsFor is what the gate waits for before it opens the next ring: "age", "macs" or "bad"; null when it waits for nothing.
	WaitsFor *string    `json:"waits_for"`
	Rings    []RingView `json:"rings"`
}

// RingView is a ring of a policy with what its Macs show of a release.
type RingView struct {
	Ring    string `json:"ring"`
	Devices int    `json:"devices"`
	// OpenSince is the earliest moment from which it is open for one of the ring's Macs, null when it is open for none; Why
	// is the cause.
	OpenSince *time.Time `json:"open_since_at"`
	Why       *string    `json:"why"`
	policy.Evidence
}

// RingResult answers an opening by hand.
type RingResult struct {
	Policy  string `json:"policy"`
	Build   string `json:"build"`
	Ring    string `json:"ring"`
	Changed bool   `json:"changed"`

	Impact *answer.Impact `json:"-"` // of a dry run
}

// Rings tell how far each release has come that a Mac of the policy was told, that is the newest of a Mac's macOS, or of
// which the book records an opening or a halt. Of a policy without rings there is none.
func (k *Keeper) Rings(_ context.Context, name string) (Rings, error) {
	cur, out := k.Current(), Rings{Releases: []RingsRelease{}}
	if cur.Stored.Policy(name) == nil {
		return out, answer.NotFound(fmt.Sprintf("there is no policy named %q", name))
	}
	rule := ruleNamed(cur.Book, name)
	if rule == nil || len(rule.Rings) == 0 {
		return out, nil
	}
	told, sizes := k.tallies(cur)
	builds := k.rolledOut(cur, name, told)
	opened := k.opened(cur, name, builds)
	for _, build := range builds {
		r := cur.Index.Build(build)
		t := told[rollout{name, build}]
		if t == nil {
			t = &tally{rings: make([]policy.Evidence, len(rule.Rings))}
		}
		view := RingsRelease{Version: r.Version, Build: build, Posted: r.Posted, Rings: []RingView{}}
		if d := plan.Decide(&rule.Rule, r, cur.OpenRing(rule, build), t.all, k.o.Now()); d.For != "" {
			view.WaitsFor = &d.For
		}
		for _, h := range cur.Halts {
			if h.Policy == name && h.Build == build && rule.Gate != nil {
				view.HaltedSince = &h.Since
			}
		}
		for i := range rule.Rings {
			ring := RingView{Ring: rule.Rings[i].Name, Evidence: t.rings[i]}
			if s := sizes[name]; s != nil {
				ring.Devices = s[i]
			}
			if o := opened[build][i]; !o.Since.IsZero() {
				ring.OpenSince, ring.Why = &o.Since, &o.Why
			}
			view.Rings = append(view.Rings, ring)
		}
		out.Releases = append(out.Releases, view)
	}
	return out, nil
}

func ruleNamed(book *plan.Book, name string) *policy.Compiled {
	for _, r := range book.Rules {
		if r.Name == name {
			return r
		}
	}
	return nil
}

// rolledOut are the builds of the releases of which Rings tells, newest first.
func (k *Keeper) rolledOut(cur *Current, name string, told map[rollout]*tally) []string {
	found := map[string]bool{}
	for at := range told {
		found[at.build] = found[at.build] || at.policy == name
	}
	for _, o := range cur.Openings {
		found[o.Build] = found[o.Build] || o.Policy == name
	}
	for _, h := range cur.Halts {
		found[h.Build] = found[h.Build] || h.Policy == name
	}
	n, record := k.o.Macs.Records()
	for i := range n {
		f := &record(i).Facts
		board := cur.Index.Board(f.Board)
		if rule := cur.Govern(f, false).Rule; rule == nil || rule.Name != name || board == nil {
			continue
		}
		newest := slices.IndexFunc(board.OS, func(r *release.Release) bool {
			return r.Available && r.Version.Major() == f.Version.Major()
		})
		if newest >= 0 {
			found[board.OS[newest].Build] = true
		}
	}
	var builds []string
	for build, wanted := range found {
		if r := cur.Index.Build(build); wanted && r != nil && r.Kind == release.KindOS {
			builds = append(builds, build)
		}
	}
	slices.SortFunc(builds, func(a, b string) int { return newestFirst(cur.Index.Build(a), cur.Index.Build(b)) })
	return builds
}

func newestFirst(a, b *release.Release) int {
	if c := b.Version.Compare(a.Version); c != 0 {
		return c
	}
	return slices.Compare([]byte(b.Build), []byte(a.Build))
}

// opened tells by build and ring since when a release is open for the first of the ring's Macs. The first ring is always open.
func (k *Keeper) opened(cur *Current, name string, builds []string) map[string]map[int]plan.RingOpening {
	now, out := k.o.Now(), map[string]map[int]plan.RingOpening{}
	for _, build := range builds {
		out[build] = map[int]plan.RingOpening{0: {Since: cur.Index.Build(build).FirstSeen, Why: plan.OpenFirst}}
	}
	n, record := k.o.Macs.Records()
	for i := range n {
		rule, ring, open := cur.RingOpenings(record(i).PlanningMac(false, ""), builds, now)
		if rule == nil || rule.Name != name {
			continue
		}
		for build, o := range open {
			if known := out[build][ring]; !o.Since.IsZero() && (known.Since.IsZero() || o.Since.Before(known.Since)) {
				out[build][ring] = o
			}
		}
	}
	// A ring without Macs has what is recorded of it.
	for _, o := range cur.Openings {
		rule := ruleNamed(cur.Book, name)
		if o.Policy != name || out[o.Build] == nil {
			continue
		}
		for ring := 1; ring <= rule.RingNamed(o.Ring); ring++ {
			if known := out[o.Build][ring]; known.Since.IsZero() {
				out[o.Build][ring] = plan.RingOpening{Since: o.At, Why: o.Why}
			}
		}
	}
	return out
}

// RingNameOf is the name of a Mac's ring; empty when the policy that governs it has none.
func (c *Current) RingNameOf(f *status.Facts) string {
	rule := c.Govern(f, false).Rule
	if rule == nil || len(rule.Rings) == 0 {
		return ""
	}
	return rule.Rings[c.RingOf(rule, f)].Name
}

// OpenRing opens a release for a ring of a policy, and for those before it, by hand (rules 13). It goes before a halt.
func (k *Keeper) OpenRing(ctx context.Context, name, build, ring, reason string, o answer.WriteOptions) (RingResult, error) {
	res := RingResult{Policy: name, Build: build, Ring: ring}
	var events []compliance.Event
	impact, err := k.guard(ctx, o, func(book *storage.Book, ready *plan.Book) (change, error) {
		res.Changed = false
		if book.Policy(name) == nil {
			return change{}, answer.NotFound(fmt.Sprintf("there is no policy named %q", name))
		}
		if r := ready.Index.Build(build); r == nil || r.Kind != release.KindOS {
			return change{}, answer.NotFound(fmt.Sprintf("there is no macOS release with the build %q in the catalogue", build))
		}
		rule := ruleNamed(ready, name)
		at := -1
		if rule != nil {
			at = rule.RingNamed(ring)
		}
		if at < 0 {
			return change{}, answer.Invalid("the ring cannot be opened",
				policy.FieldError{Field: "ring", Reason: fmt.Sprintf("must be the name of a ring of the policy %q", name)})
		}
		if at <= ready.OpenRing(rule, build) {
			return change{}, nil
		}
		opening := policy.Opening{
			Policy: name, Build: build, Ring: ring, At: k.o.Now(), Why: policy.OpenedByHand,
			Reason: reason, By: o.By.Actor,
		}
		res.Changed = true
		events = []compliance.Event{compliance.RingOpened(opening, ready.Index.Build(build).Version)}
		events[0].ID = storage.NewEventID()
		return change{
			apply: func(in *policy.Input) { in.Openings = append(slices.Clone(in.Openings), opening) },
			write: func(tx *storage.BookTx) error {
				if err := tx.PutOpening(opening); err != nil {
					return err
				}
				return tx.AddEvents(events, k.published())
			},
			acts: ringAct("ring.open", name, reason, nil, ringOpened{Build: build, Ring: ring}),
		}, nil
	})
	if res.Impact = impact; err == nil && res.Changed && !o.DryRun {
		k.publish(ctx, events)
	}
	return res, err
}
