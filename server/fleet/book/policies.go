package book

import (
	"context"
	"fmt"
	"slices"

	"plimsoll/declarations/plan"
	"plimsoll/declarations/policy"
	"plimsoll/server/fleet/answer"
	"plimsoll/server/fleet/audit"
	"plimsoll/storage"
)

// PolicyResult answers a write of a policy. Impact is set for a dry run only.
type PolicyResult struct {
	Policy   policy.Policy   `json:"policy"`
	Changed  bool            `json:"changed"`
	Warnings []policy.Reason `json:"warnings"`

	Created bool           `json:"-"`
	ETag    string         `json:"-"`
	Impact  *answer.Impact `json:"-"`
	Macs    []int          `json:"-"` // enrolled Macs that each ring would have
}

// CheckPolicy checks a policy as PutPolicy does, and writes nothing: the result has the warnings and the Macs of each ring, but
// no impact.
func (k *Keeper) CheckPolicy(ctx context.Context, p policy.Policy, o answer.WriteOptions) (PolicyResult, error) {
	if err := k.ReloadBook(ctx); err != nil {
		return PolicyResult{}, err
	}
	cur := k.Current()
	res, _, err := k.policyChange(p, o, cur.Stored, cur.Book)
	return res, err
}

// PutPolicy creates or replaces a policy (rules 5). Its effect is in force on this replica when it returns, and the Macs
// are told behind it.
func (k *Keeper) PutPolicy(ctx context.Context, p policy.Policy, o answer.WriteOptions) (PolicyResult, error) {
	var res PolicyResult
	impact, err := k.guard(ctx, o, func(book *storage.Book, ready *plan.Book) (c change, err error) {
		res, c, err = k.policyChange(p, o, book, ready)
		return c, err
	})
	res.Impact = impact
	return res, err
}

// policyChange checks a policy against the book, and makes what is stored of it.
func (k *Keeper) policyChange(p policy.Policy, o answer.WriteOptions, book *storage.Book,
	ready *plan.Book,
) (PolicyResult, change, error) {
	now := k.o.Now()
	res := PolicyResult{Policy: p, ETag: answer.ETag(p), Changed: true, Warnings: []policy.Reason{}}
	before := book.Policy(p.Name)
	faults, warnings := policy.Validate(&p, before, ready.Book, now)
	warnings = append(warnings, plan.LateWarnings(&p, ready.Freezes, now)...)
	if len(faults) > 0 {
		return res, change{}, answer.Invalid("the policy is not valid", faults...)
	}
	res.Warnings = append(res.Warnings, warnings...)
	if res.Macs = k.ringMacs(&p, ready); p.Gate != nil && res.Macs != nil {
		res.Warnings = append(res.Warnings, policy.SmallRings(&p, res.Macs)...)
	}
	if p.DetailsURL == policy.DetailsSelf && !k.o.Pages() {
		res.Warnings = append(res.Warnings, policy.Reason{
			Code: plan.CodeNoSelfPage, Text: noSelfPage, Advice: "Give the server an https address.", Evidence: map[string]any{},
		})
	}
	stored := policy.Stored{Policy: p, CreatedAt: now, UpdatedAt: now, Asks: policy.Asks(before, &p, now)}
	current := ""
	if before != nil {
		current, stored.CreatedAt = answer.ETag(before.Policy), before.CreatedAt
	}
	_, clash := policy.Clash(&p, book.Policies)
	switch {
	case o.Create && before != nil:
		return res, change{}, answer.Conflict("exists", fmt.Sprintf("a policy named %q exists", p.Name))
	case !answer.Matches(o.IfMatch, current):
		return res, change{}, answer.PreconditionFailed("the policy")
	case clash != nil:
		return res, change{}, answer.Conflict("equal_priority", fmt.Sprintf(
			"policy %q has priority %d too: exactly one policy governs a Mac, so priorities must differ", clash.Name, p.Priority))
	case res.ETag == current:
		res.Changed = false
		return res, change{}, nil
	}
	res.Created = before == nil
	return res, change{
		apply: func(in *policy.Input) { in.Policies = append(withoutPolicy(in.Policies, p.Name), stored) },
		write: func(tx *storage.BookTx) error { return tx.PutPolicy(stored) },
		acts:  []audit.Act{{Action: "policy.put", Object: "policy/" + p.Name, Before: policyState(before), After: p}},
		past:  policy.DeadlinePast(&p, now) && (before == nil || before.Rule().Deadline != p.Rule().Deadline),
	}, nil
}

// ringMacs counts the enrolled Macs that each ring of a policy would have; nil without rings.
func (k *Keeper) ringMacs(p *policy.Policy, ready *plan.Book) []int {
	if len(p.Rings) == 0 {
		return nil
	}
	in := ready.Input
	in.Policies = append(withoutPolicy(in.Policies, p.Name), policy.Stored{Policy: *p})
	after, err := policy.Compile(in)
	if err != nil {
		return nil
	}
	macs := make([]int, len(p.Rings))
	n, record := k.o.Macs.Records()
	for i := range n {
		f := &record(i).Facts
		if rule := after.Govern(f, false).Rule; rule != nil && rule.Name == p.Name {
			macs[after.RingOf(rule, f)]++
		}
	}
	return macs
}

const noSelfPage = `details_url is "self", but Macs have no page of their own, because --url is not https: no address is sent.`

func withoutPolicy(policies []policy.Stored, name string) []policy.Stored {
	return slices.DeleteFunc(slices.Clone(policies), func(q policy.Stored) bool { return q.Name == name })
}

// Policy reads one policy, as it was put.
func (k *Keeper) Policy(_ context.Context, name string) (policy.Policy, string, error) {
	p := k.Current().Stored.Policy(name)
	if p == nil {
		return policy.Policy{}, "", answer.NotFound(fmt.Sprintf("there is no policy named %q", name))
	}
	return p.Policy, answer.ETag(p.Policy), nil
}

// Policies lists the policies by name.
func (k *Keeper) Policies(_ context.Context, limit int, cursor string) (answer.Page[policy.Policy], error) {
	all := k.Current().Stored.Policies
	return answer.List("policies", limit, cursor, len(all), func(i int) string { return all[i].Name },
		func(i int) policy.Policy { return all[i].Policy })
}

// DeletePolicy deletes a policy; what it governed falls to the next that applies.
func (k *Keeper) DeletePolicy(ctx context.Context, name string, o answer.WriteOptions) (*answer.Impact, error) {
	return k.guard(ctx, o, func(book *storage.Book, _ *plan.Book) (change, error) {
		p := book.Policy(name)
		if p == nil {
			return change{}, answer.NotFound(fmt.Sprintf("there is no policy named %q", name))
		}
		if !answer.Matches(o.IfMatch, answer.ETag(p.Policy)) {
			return change{}, answer.PreconditionFailed("the policy")
		}
		return change{
			apply: func(in *policy.Input) { in.Policies = withoutPolicy(in.Policies, name) },
			write: func(tx *storage.BookTx) error { tx.DeletePolicy(name); return nil },
			acts:  []audit.Act{{Action: "policy.delete", Object: "policy/" + name, Before: policyState(p)}},
		}, nil
	})
}

// MovePolicy lets a policy decide before the next one above it (up) or after the next one below it: the two exchange their
// priorities in one write. At the end of the list nothing changes.
func (k *Keeper) MovePolicy(ctx context.Context, name string, up bool, o answer.WriteOptions) (*answer.Impact, error) {
	return k.guard(ctx, o, func(book *storage.Book, _ *plan.Book) (change, error) {
		p := book.Policy(name)
		if p == nil {
			return change{}, answer.NotFound(fmt.Sprintf("there is no policy named %q", name))
		}
		other := neighbour(book.Policies, p, up)
		if other == nil {
			return change{}, nil
		}
		now := k.o.Now()
		a, b := *p, *other
		a.Priority, b.Priority = b.Priority, a.Priority
		a.UpdatedAt, b.UpdatedAt = now, now
		return change{
			apply: func(in *policy.Input) {
				in.Policies = append(withoutPolicy(withoutPolicy(in.Policies, a.Name), b.Name), a, b)
			},
			write: func(tx *storage.BookTx) error {
				if err := tx.PutPolicy(a); err != nil {
					return err
				}
				return tx.PutPolicy(b)
			},
			acts: []audit.Act{
				{Action: "policy.put", Object: "policy/" + a.Name, Before: policyState(p), After: a.Policy},
				{Action: "policy.put", Object: "policy/" + b.Name, Before: policyState(other), After: b.Policy},
			},
		}, nil
	})
}

// neighbour is the policy with the next higher (up) or next lower priority; nil at the end of the list.
func neighbour(all []policy.Stored, p *policy.Stored, up bool) *policy.Stored {
	var best *policy.Stored
	for i := range all {
		o := &all[i]
		if o.Priority == p.Priority || o.Priority > p.Priority != up {
			continue
		}
		if best == nil || o.Priority < best.Priority == up {
			best = o
		}
	}
	return best
}
