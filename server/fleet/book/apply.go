package book

import (
	"context"
	"strings"
	"time"

	"plimsoll/declarations/plan"
	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
	"plimsoll/server/fleet/answer"
	"plimsoll/server/fleet/audit"
	"plimsoll/storage"
)

// The kinds of objects that are kept as files (docs/api.md 3).
const (
	KindPolicy = "policy"
	KindGroup  = "group"
	KindHold   = "hold"
	KindFreeze = "freeze"
)

// Object is one object of a file: its kind's field is set.
type Object struct {
	Policy *policy.Policy
	Group  *policy.Group
	Hold   *release.Hold
	Freeze *policy.Freeze
}

func (o *Object) key() string {
	switch {
	case o.Policy != nil:
		return KindPolicy + "/" + o.Policy.Name
	case o.Group != nil:
		return KindGroup + "/" + o.Group.Name
	case o.Hold != nil:
		return KindHold + "/" + o.Hold.Subject
	}
	return KindFreeze + "/" + o.Freeze.Name
}

// The actions of an apply.
const (
	ActionCreate = "create"
	ActionUpdate = "update"
	ActionDelete = "delete"
	ActionKeep   = "keep" // it is on the server and not in the files
	ActionNone   = "none"
)

// Applied is what an apply does, or would do, to one object.
type Applied struct {
	Kind    string         `json:"kind"`
	Name    string         `json:"name"`
	Action  string         `json:"action"`
	Managed bool           `json:"managed"` // an apply wrote it last, or will have
	Fields  []audit.Change `json:"fields"`
	// ChangedBy and ChangedAt tell who changed it last, of what differs; empty when the audit does not know any more.
	ChangedBy string     `json:"changed_by"`
	ChangedAt *time.Time `json:"changed_at"`
}

// ApplyResult answers an apply. Impact is set for a dry run only.
type ApplyResult struct {
	// Revision is a digest of all objects of these kinds on the server, before the apply of a dry run and after any other.
	Revision string          `json:"revision"`
	Objects  []Applied       `json:"objects"`
	Warnings []policy.Reason `json:"warnings"`
	Impact   *answer.Impact  `json:"impact"`
}

// Apply makes the server's objects those of files, in one commit. With prune it deletes what an earlier apply wrote and is in the
// files no more. o.IfMatch is the revision that was planned with.
func (k *Keeper) Apply(ctx context.Context, objects []Object, prune bool, o answer.WriteOptions) (ApplyResult, error) {
	var a *applying
	impact, err := k.guard(ctx, o, func(book *storage.Book, ready *plan.Book) (c change, err error) {
		a = &applying{keeper: k, o: o, now: k.o.Now(), before: statesOf(book), after: map[string]any{}, managed: book.Managed}
		if !answer.Matches(o.IfMatch, `"`+a.before.revision()+`"`) {
			return c, answer.PreconditionFailed("the state of the server")
		}
		return a.combine(objects, prune, book, ready)
	})
	if err != nil {
		return ApplyResult{}, err
	}
	res := ApplyResult{Revision: a.before.revision(), Objects: a.results, Warnings: a.warnings, Impact: impact}
	if !o.DryRun {
		res.Revision = statesOf(k.Current().Stored).revision()
	}
	return res, k.tellChangers(ctx, res.Objects)
}

// maxChangers bounds the objects of which the audit is asked who changed them.
const maxChangers = 200

func (k *Keeper) tellChangers(ctx context.Context, objects []Applied) error {
	asked := 0
	for i := range objects {
		a := &objects[i]
		if a.Action != ActionUpdate && a.Action != ActionDelete && a.Action != ActionKeep || asked == maxChangers {
			continue
		}
		asked++
		page, err := k.o.Audit.List(ctx, audit.Query{Object: a.Kind + "/" + a.Name, Limit: 1})
		if err != nil {
			return err
		}
		if len(page.Items) > 0 {
			a.ChangedBy, a.ChangedAt = page.Items[0].Actor, &page.Items[0].At
		}
	}
	return nil
}

// states are all objects of a book as files hold them, by kind and name.
type states map[string]any

func statesOf(book *storage.Book) states {
	all := states{}
	for i := range book.Policies {
		all[KindPolicy+"/"+book.Policies[i].Name] = policyState(&book.Policies[i])
	}
	for i := range book.Groups {
		all[KindGroup+"/"+book.Groups[i].Name] = groupState(&book.Groups[i])
	}
	for i := range book.Holds {
		all[KindHold+"/"+book.Holds[i].Subject] = holdState(&book.Holds[i])
	}
	for i := range book.Freezes {
		all[KindFreeze+"/"+book.Freezes[i].Name] = freezeState(&book.Freezes[i])
	}
	return all
}

func (s states) revision() string { return strings.Trim(answer.ETag(map[string]any(s)), `"`) }
