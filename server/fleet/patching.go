package fleet

import (
	"context"
	"slices"

	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
	"plimsoll/server/fleet/evidence"
	"plimsoll/status"
	"plimsoll/status/compliance"
	"plimsoll/status/patching"
	"plimsoll/storage"
)

func (f *Fleet) newEvidence() *evidence.Reports {
	return evidence.New(evidence.Options{
		Store: f.store, IDs: f.index.IDs, Now: f.now, Log: f.log, KeepEvents: f.o.KeepEvents,
		Groups:   func(facts *status.Facts) []string { return f.Current().GroupsOf(facts) },
		Releases: func() []*release.Release { return f.Current().Index.All() },
		KnowsPolicy: func(name string) bool {
			return slices.ContainsFunc(f.Current().Policies, func(p policy.Stored) bool { return p.Name == name })
		},
		Reasons: func(rec *storage.Record) []policy.Reason {
			now := f.now()
			return compliance.ReasonsAt(rec.Summary, &rec.Facts, now, f.catalogue.Stale(now))
		},
		KnowsGroup: func(name string) bool {
			return slices.ContainsFunc(f.Current().Groups, func(g policy.Group) bool { return g.Name == name })
		},
	})
}

// Patching answers a question about patching from closed days (API 5.6).
func (f *Fleet) Patching(ctx context.Context, q PatchingQuestion) (*patching.Patching, error) {
	return f.evidence.Patching(ctx, q)
}

// CloseDays closes the days of the patch reports that are over.
func (f *Fleet) CloseDays(ctx context.Context) error { return f.evidence.CloseDays(ctx) }

// PatchingByScope answers the question for each policy and each group.
func (f *Fleet) PatchingByScope(ctx context.Context, q PatchingQuestion) ([]PatchingScope, error) {
	return f.evidence.ByScope(ctx, q)
}

// LateMacs lists the Macs that are not patched in time, from what is known now.
func (f *Fleet) LateMacs(ctx context.Context, q PatchingQuestion) ([]LateMac, error) {
	return f.evidence.Late(ctx, q)
}
