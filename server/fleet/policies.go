package fleet

import (
	"context"
	"fmt"
	"slices"

	"plimsoll/declarations/plan"
	"plimsoll/declarations/policy"
	"plimsoll/server/fleet/answer"
	"plimsoll/storage"
)

// PutPolicy creates or replaces a policy (rules 5). Its effect is in force on this replica when it returns, and the Macs are told behind it.
func (f *Fleet) PutPolicy(ctx context.Context, p policy.Policy, o WriteOptions) (PolicyResult, error) {
	var res PolicyResult
	err := f.guard(ctx, o, &res.Impact, func(book *storage.Book, ready *plan.Book) (func(*storage.BookTx) error, bool, error) {
		now := f.now()
		before := book.Policy(p.Name)
		faults, warnings := policy.Validate(&p, before, ready.Book, now)
		if len(faults) > 0 {
			return nil, false, answer.Invalid("the policy is not valid", faults...)
		}
		if p.DetailsURL == policy.DetailsSelf && !f.links.Pages() {
			warnings = append(warnings, policy.Reason{
				Code: plan.CodeNoSelfPage, Text: `details_url is "self", but Macs have no page of their own, because --url is not https: no address is sent.`,
				Advice: "Give the server an https address (--url).", Evidence: map[string]any{},
			})
		}
		if o.Create && before != nil {
			return nil, false, answer.Conflict("exists", fmt.Sprintf("a policy named %q exists", p.Name))
		}
		current := ""
		if before != nil {
			current = answer.ETag(before.Policy)
		}
		if !answer.Matches(o.IfMatch, current) {
			return nil, false, answer.PreconditionFailed("the policy")
		}
		if _, q := policy.Clash(&p, book.Policies); q != nil {
			return nil, false, answer.Conflict("equal_priority", fmt.Sprintf("policy %q has priority %d too: exactly one policy governs a Mac, so priorities must differ", q.Name, p.Priority))
		}
		stored := policy.Stored{Policy: p, CreatedAt: now, UpdatedAt: now, Asks: policy.Asks(before, &p, now)}
		res.Policy, res.Warnings, res.ETag = p, warnings, answer.ETag(p)
		res.Created, res.Changed = before == nil, true
		if before != nil {
			stored.CreatedAt = before.CreatedAt
			res.Changed = res.ETag != current
			if !res.Changed {
				return nil, false, nil
			}
		}
		past := policy.DeadlinePast(&p, now) && (before == nil || before.Updates == nil || before.Updates.Deadline != p.Updates.Deadline)
		return func(tx *storage.BookTx) error { return tx.PutPolicy(stored) }, past, nil
	}, func(in *policy.Input) {
		now := f.now()
		before := find(in.Policies, p.Name)
		stored := policy.Stored{Policy: p, CreatedAt: now, UpdatedAt: now, Asks: policy.Asks(before, &p, now)}
		in.Policies = slices.DeleteFunc(slices.Clone(in.Policies), func(q policy.Stored) bool { return q.Name == p.Name })
		in.Policies = append(in.Policies, stored)
	})
	if res.Warnings == nil {
		res.Warnings = []policy.Reason{}
	}
	return res, err
}

func find(policies []policy.Stored, name string) *policy.Stored {
	for i := range policies {
		if policies[i].Name == name {
			return &policies[i]
		}
	}
	return nil
}

// Policy reads one policy, as it was put.
func (f *Fleet) Policy(_ context.Context, name string) (policy.Policy, string, error) {
	p := f.book.cur.Load().stored.Policy(name)
	if p == nil {
		return policy.Policy{}, "", answer.NotFound(fmt.Sprintf("there is no policy named %q", name))
	}
	return p.Policy, answer.ETag(p.Policy), nil
}

// Policies lists the policies by name.
func (f *Fleet) Policies(_ context.Context, limit int, cursor string) (Page[policy.Policy], error) {
	all := f.book.cur.Load().stored.Policies
	return answer.List("policies", limit, cursor, len(all), func(i int) string { return all[i].Name }, func(i int) policy.Policy { return all[i].Policy })
}

// DeletePolicy deletes a policy; what it governed falls to the next that applies.
func (f *Fleet) DeletePolicy(ctx context.Context, name string, o WriteOptions) (*Impact, error) {
	var impact *Impact
	err := f.guard(ctx, o, &impact, func(book *storage.Book, _ *plan.Book) (func(*storage.BookTx) error, bool, error) {
		p := book.Policy(name)
		if p == nil {
			return nil, false, answer.NotFound(fmt.Sprintf("there is no policy named %q", name))
		}
		if !answer.Matches(o.IfMatch, answer.ETag(p.Policy)) {
			return nil, false, answer.PreconditionFailed("the policy")
		}
		return func(tx *storage.BookTx) error { tx.DeletePolicy(name); return nil }, false, nil
	}, func(in *policy.Input) {
		in.Policies = slices.DeleteFunc(slices.Clone(in.Policies), func(q policy.Stored) bool { return q.Name == name })
	})
	return impact, err
}
