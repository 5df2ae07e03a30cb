package evidence

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"plimsoll/declarations/release"
	"plimsoll/status/patching"
)

// Pace is how fast the newest releases reached the fleet, as of the last closed day: what is exported for monitoring.
type Pace struct {
	asOf release.Day
	// Releases are the newest of the catalogue's that a Mac missed, at most five.
	Releases []patching.Release
	// Open counts, for each profile, the Macs that miss a release for longer than the profile allows, once for each release.
	Open map[string]int
}

const paced = 5 // releases

// Pace is the one of the last closed day; nil before the first. It reads the counts once for each day that is closed.
func (r *Reports) Pace(ctx context.Context) (*Pace, error) {
	st, err := r.o.Store.PatchingState(ctx)
	if err != nil || st.Closed == 0 {
		return nil, err
	}
	if p := r.pace.Load(); p != nil && p.asOf == st.Closed {
		return p, nil
	}
	counts, err := r.closed(ctx, st.Closed, patching.Scope{})
	if err != nil {
		return nil, err
	}
	p := &Pace{asOf: st.Closed, Open: map[string]int{}}
	for _, sla := range patching.Profiles {
		for _, c := range counts {
			p.Open[sla.Profile] += c.Overdue(st.Closed, sla)
		}
	}
	p.Releases = patching.Report(counts, patching.Question{AsOf: st.Closed, Closed: true, To: st.Closed}).Releases
	p.Releases = p.Releases[:min(paced, len(p.Releases))]
	r.pace.Store(p)
	return p, nil
}

// Scope is a part of the fleet with its report.
type Scope struct {
	patching.Scope
	Report *patching.Patching
}

// ByScope answers a question for each policy and each group that had Macs on the closed day, policies first, by name.
func (r *Reports) ByScope(ctx context.Context, q Question) ([]Scope, error) {
	ask, err := r.read(ctx, &q)
	if err != nil {
		return nil, err
	}
	scopes, err := r.o.Store.ClosedScopes(ctx, ask.AsOf)
	if err != nil {
		return nil, err
	}
	var all []Scope
	for _, name := range slices.Sorted(maps.Keys(scopes)) {
		scope, named := scopeOf(name)
		if !named {
			continue
		}
		counts, err := decode(scopes[name])
		if err != nil {
			return nil, err
		}
		p := patching.Report(counts, ask)
		all = append(all, Scope{scope, &p})
	}
	slices.SortStableFunc(all, func(a, b Scope) int {
		return cmp.Or(cmp.Compare(min(1, len(b.Policy)), min(1, len(a.Policy))), cmp.Compare(a.Policy+a.Group, b.Policy+b.Group))
	})
	return all, nil
}
