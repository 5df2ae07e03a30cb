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
	"plimsoll/server/fleet/audit"
	"plimsoll/storage"
)

// Hold is a hold with what it covers now.
type Hold struct {
	Subject    string     `json:"subject"`
	Reason     string     `json:"reason"`
	Successors bool       `json:"successors"`
	Until      *time.Time `json:"until"`
	Since      time.Time  `json:"since_at"`
	By         string     `json:"by"`
	Releases   []string   `json:"releases"` // versions (and letters) covered now
}

func (k *Keeper) hold(h release.Hold) Hold {
	cur := k.Current()
	out := Hold{Subject: h.Subject, Reason: h.Reason, Successors: h.Successors, Since: h.Since, By: h.By, Releases: []string{}}
	if !h.Until.IsZero() {
		out.Until = &h.Until
	}
	if !h.Active(k.o.Now()) {
		return out
	}
	for _, r := range cur.Index.All() {
		if h.Covers(cur.Index, r) {
			name := string(r.Version)
			if r.Letter != "" {
				name += " (" + r.Letter + ")"
			}
			if !slices.Contains(out.Releases, name) {
				out.Releases = append(out.Releases, name)
			}
		}
	}
	return out
}

func withoutHold(holds []release.Hold, subject string) []release.Hold {
	return slices.DeleteFunc(slices.Clone(holds), func(h release.Hold) bool { return h.Subject == subject })
}

// PutHold keeps a build, a version or a major version from being a target (rules 3). until nil: until let go.
func (k *Keeper) PutHold(ctx context.Context, subject, reason string, successors bool, until *time.Time,
	o answer.WriteOptions,
) (Hold, bool, *answer.Impact, error) {
	now := k.o.Now()
	h := release.Hold{Subject: subject, Reason: reason, Successors: successors, Since: now, By: o.By.Actor}
	if until != nil {
		h.Until = until.UTC().Truncate(time.Second)
	}
	if faults := k.holdFaults(&h); len(faults) > 0 {
		return Hold{}, false, nil, answer.Invalid("the hold is not valid", faults...)
	}
	created := false
	impact, err := k.guard(ctx, o, func(book *storage.Book, _ *plan.Book) (change, error) {
		before := book.Hold(subject)
		created = before == nil
		current := ""
		if before != nil {
			current = answer.ETag(*before)
			h.Since = before.Since
		}
		if !answer.Matches(o.IfMatch, current) {
			return change{}, answer.PreconditionFailed("the hold")
		}
		if before != nil && before.Reason == reason && before.Successors == successors && before.Until.Equal(h.Until) {
			h.By = before.By
			return change{}, nil
		}
		return change{
			apply: func(in *policy.Input) { in.Holds = append(withoutHold(in.Holds, subject), h) },
			write: func(tx *storage.BookTx) error { return tx.PutHold(h) },
			acts: []audit.Act{{
				Action: "hold.put", Object: "hold/" + subject, Reason: reason, Before: holdState(before), After: holdState(&h),
			}},
		}, nil
	})
	if err != nil {
		return Hold{}, false, nil, err
	}
	return k.hold(h), created, impact, nil
}

func (k *Keeper) holdFaults(h *release.Hold) (faults []policy.FieldError) {
	if err := release.CheckHoldSubject(k.Current().Index, h.Subject); err != nil {
		faults = append(faults, policy.FieldError{Field: "subject", Reason: err.Error()})
	}
	if h.Reason == "" || len(h.Reason) > 1000 {
		faults = append(faults, policy.FieldError{Field: "reason", Reason: "must be given, in at most 1000 characters"})
	}
	if !h.Active(k.o.Now()) {
		faults = append(faults, policy.FieldError{Field: "until", Reason: "must lie in the future"})
	}
	return faults
}

// Holds lists the holds by subject.
func (k *Keeper) Holds(_ context.Context, limit int, cursor string) (answer.Page[Hold], error) {
	all := k.Current().Stored.Holds
	return answer.List("holds", limit, cursor, len(all), func(i int) string { return all[i].Subject },
		func(i int) Hold { return k.hold(all[i]) })
}

// DeleteHold lets go.
func (k *Keeper) DeleteHold(ctx context.Context, subject string, o answer.WriteOptions) (*answer.Impact, error) {
	return k.guard(ctx, o, func(book *storage.Book, _ *plan.Book) (change, error) {
		h := book.Hold(subject)
		if h == nil {
			return change{}, answer.NotFound(fmt.Sprintf("there is no hold on %q", subject))
		}
		if !answer.Matches(o.IfMatch, answer.ETag(*h)) {
			return change{}, answer.PreconditionFailed("the hold")
		}
		return change{
			apply: func(in *policy.Input) { in.Holds = withoutHold(in.Holds, subject) },
			write: func(tx *storage.BookTx) error { tx.DeleteHold(subject); return nil },
			acts:  []audit.Act{{Action: "hold.delete", Object: "hold/" + subject, Before: holdState(h)}},
		}, nil
	})
}
