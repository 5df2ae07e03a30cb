package book

import (
	"context"
	"fmt"
	"slices"
	"time"

	"plimsoll/declarations/plan"
	"plimsoll/declarations/policy"
	"plimsoll/server/fleet/answer"
	"plimsoll/server/fleet/audit"
	"plimsoll/storage"
)

// FreezeResult answers a write of a freeze. Impact is set for a dry run only.
type FreezeResult struct {
	Freeze   policy.Freeze   `json:"freeze"`
	Changed  bool            `json:"changed"`
	Warnings []policy.Reason `json:"warnings"`

	Created bool           `json:"-"`
	ETag    string         `json:"-"`
	Impact  *answer.Impact `json:"-"`
}

// freezeETag changes with what an admin wrote, and not with who wrote it when.
func freezeETag(f policy.Freeze) string {
	f.CreatedAt, f.UpdatedAt, f.By = time.Time{}, time.Time{}, ""
	return answer.ETag(f)
}

// PutFreeze creates or replaces a freeze (rules 11): no deadline of the Macs that it covers falls on its days.
func (k *Keeper) PutFreeze(ctx context.Context, f policy.Freeze, o answer.WriteOptions) (FreezeResult, error) {
	var res FreezeResult
	impact, err := k.guard(ctx, o, func(book *storage.Book, ready *plan.Book) (c change, err error) {
		res, c, err = k.freezeChange(f, o, book, ready)
		return c, err
	})
	res.Impact = impact
	return res, err
}

func (k *Keeper) freezeChange(f policy.Freeze, o answer.WriteOptions, book *storage.Book,
	ready *plan.Book,
) (FreezeResult, change, error) {
	now := k.o.Now()
	f.CreatedAt, f.UpdatedAt, f.By = now, now, o.By.Actor
	res := FreezeResult{Freeze: f, ETag: freezeETag(f), Changed: true, Warnings: []policy.Reason{}}
	before := book.Freeze(f.Name)
	faults, warnings := policy.ValidateFreeze(&f, before, ready.Book, now)
	if len(faults) > 0 {
		return res, change{}, answer.Invalid("the freeze is not valid", faults...)
	}
	res.Warnings = append(append(res.Warnings, warnings...), lateWith(f, ready, now)...)
	current := ""
	if before != nil {
		current, f.CreatedAt = freezeETag(*before), before.CreatedAt
	}
	switch {
	case o.Create && before != nil:
		return res, change{}, answer.Conflict("exists", fmt.Sprintf("a freeze named %q exists", f.Name))
	case !answer.Matches(o.IfMatch, current):
		return res, change{}, answer.PreconditionFailed("the freeze")
	case res.ETag == current:
		res.Freeze, res.Changed = *before, false
		return res, change{}, nil
	}
	res.Freeze, res.Created = f, before == nil
	return res, change{
		apply: func(in *policy.Input) { in.Freezes = append(withoutFreeze(in.Freezes, f.Name), f) },
		write: func(tx *storage.BookTx) error { return tx.PutFreeze(f) },
		acts: []audit.Act{{
			Action: "freeze.put", Object: "freeze/" + f.Name, Reason: f.Reason, Before: freezeState(before), After: freezeState(&f),
		}},
	}, nil
}

// lateWith tells of the policies whose new releases would have deadlines after their due dates because of the freeze, each
// with its name.
func lateWith(f policy.Freeze, ready *plan.Book, now time.Time) []policy.Reason {
	var out []policy.Reason
	others := withoutFreeze(ready.Freezes, f.Name)
	for i := range ready.Policies {
		p := &ready.Policies[i].Policy
		before := plan.LateWarnings(p, others, now)
		for _, w := range plan.LateWarnings(p, append(slices.Clone(others), f), now) {
			if !slices.ContainsFunc(before, func(b policy.Reason) bool { return b.Text == w.Text }) {
				w.Evidence["policy"] = p.Name
				out = append(out, w)
			}
		}
	}
	return out
}

func withoutFreeze(freezes []policy.Freeze, name string) []policy.Freeze {
	return slices.DeleteFunc(slices.Clone(freezes), func(f policy.Freeze) bool { return f.Name == name })
}

// Freeze reads one freeze, with its ETag.
func (k *Keeper) Freeze(_ context.Context, name string) (policy.Freeze, string, error) {
	f := k.Current().Stored.Freeze(name)
	if f == nil {
		return policy.Freeze{}, "", answer.NotFound(fmt.Sprintf("there is no freeze named %q", name))
	}
	return *f, freezeETag(*f), nil
}

// Freezes lists the freezes by name; those that are over are among them.
func (k *Keeper) Freezes(_ context.Context, limit int, cursor string) (answer.Page[policy.Freeze], error) {
	all := k.Current().Stored.Freezes
	return answer.List("freezes", limit, cursor, len(all), func(i int) string { return all[i].Name },
		func(i int) policy.Freeze { return all[i] })
}

// DeleteFreeze deletes a freeze: its days are open again, with fair notice for every Mac (rules 11).
func (k *Keeper) DeleteFreeze(ctx context.Context, name string, o answer.WriteOptions) (*answer.Impact, error) {
	return k.guard(ctx, o, func(book *storage.Book, _ *plan.Book) (change, error) {
		f := book.Freeze(name)
		if f == nil {
			return change{}, answer.NotFound(fmt.Sprintf("there is no freeze named %q", name))
		}
		if !answer.Matches(o.IfMatch, freezeETag(*f)) {
			return change{}, answer.PreconditionFailed("the freeze")
		}
		return change{
			apply: func(in *policy.Input) { in.Freezes = withoutFreeze(in.Freezes, name) },
			write: func(tx *storage.BookTx) error { tx.DeleteFreeze(name); return nil },
			acts:  []audit.Act{{Action: "freeze.delete", Object: "freeze/" + name, Before: freezeState(f)}},
		}, nil
	})
}
