package fleet

import (
	"context"
	"fmt"
	"slices"
	"time"

	"plimsoll/declarations/plan"
	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
	"plimsoll/server/fleet/answer"
	"plimsoll/storage"
)

func (f *Fleet) hold(h release.Hold) Hold {
	cur := f.book.cur.Load()
	out := Hold{Subject: h.Subject, Reason: h.Reason, Successors: h.Successors, Since: h.Since, By: h.By, Releases: []string{}}
	if !h.Until.IsZero() {
		out.Until = &h.Until
	}
	if !h.Active(f.now()) {
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
func (f *Fleet) PutHold(ctx context.Context, subject, reason string, successors bool, until *time.Time, o WriteOptions) (Hold, bool, *Impact, error) {
	now := f.now()
	h := release.Hold{Subject: subject, Reason: reason, Successors: successors, Since: now, By: o.By}
	var faults []policy.FieldError
	if err := release.CheckHoldSubject(f.book.cur.Load().Index, subject); err != nil {
		faults = append(faults, policy.FieldError{Field: "subject", Reason: err.Error()})
	}
	if reason == "" || len(reason) > 1000 {
		faults = append(faults, policy.FieldError{Field: "reason", Reason: "must be given, in at most 1000 characters"})
	}
	if until != nil {
		h.Until = until.UTC().Truncate(time.Second)
		if !now.Before(h.Until) {
			faults = append(faults, policy.FieldError{Field: "until", Reason: "must lie in the future"})
		}
	}
	if len(faults) > 0 {
		return Hold{}, false, nil, answer.Invalid("the hold is not valid", faults...)
	}
	created := false
	var impact *Impact
	err := f.guard(ctx, o, &impact, func(book *storage.Book, _ *plan.Book) (func(*storage.BookTx) error, bool, error) {
		before := book.Hold(subject)
		created = before == nil
		current := ""
		if before != nil {
			current = answer.ETag(*before)
			h.Since = before.Since
		}
		if !answer.Matches(o.IfMatch, current) {
			return nil, false, answer.PreconditionFailed("the hold")
		}
		return func(tx *storage.BookTx) error { return tx.PutHold(h) }, false, nil
	}, func(in *policy.Input) { in.Holds = append(withoutHold(in.Holds, subject), h) })
	if err != nil {
		return Hold{}, false, impact, err
	}
	return f.hold(h), created, impact, nil
}

// Holds lists the holds by subject.
func (f *Fleet) Holds(_ context.Context, limit int, cursor string) (Page[Hold], error) {
	all := f.book.cur.Load().stored.Holds
	return answer.List("holds", limit, cursor, len(all), func(i int) string { return all[i].Subject }, func(i int) Hold { return f.hold(all[i]) })
}

// DeleteHold lets go.
func (f *Fleet) DeleteHold(ctx context.Context, subject string, o WriteOptions) (*Impact, error) {
	var impact *Impact
	err := f.guard(ctx, o, &impact, func(book *storage.Book, _ *plan.Book) (func(*storage.BookTx) error, bool, error) {
		h := book.Hold(subject)
		if h == nil {
			return nil, false, answer.NotFound(fmt.Sprintf("there is no hold on %q", subject))
		}
		if !answer.Matches(o.IfMatch, answer.ETag(*h)) {
			return nil, false, answer.PreconditionFailed("the hold")
		}
		return func(tx *storage.BookTx) error { tx.DeleteHold(subject); return nil }, false, nil
	}, func(in *policy.Input) { in.Holds = withoutHold(in.Holds, subject) })
	return impact, err
}

func pauseOf(p *release.Pause) Pause {
	if p == nil {
		return Pause{}
	}
	return Pause{Paused: true, Reason: p.Reason, Since: p.Since, By: p.By}
}

// Pause tells whether enforcement is paused.
func (f *Fleet) Pause(context.Context) (Pause, error) {
	return pauseOf(f.book.cur.Load().stored.Pause), nil
}

// SetPause withdraws all enforcement from everybody, at once.
func (f *Fleet) SetPause(ctx context.Context, reason string, o WriteOptions) (Pause, *Impact, error) {
	if reason == "" || len(reason) > 1000 {
		return Pause{}, nil, answer.Invalid("the pause is not valid", policy.FieldError{Field: "reason", Reason: "must be given, in at most 1000 characters"})
	}
	p := &release.Pause{Reason: reason, Since: f.now(), By: o.By}
	impact, err := f.setPause(ctx, p, o)
	return pauseOf(p), impact, err
}

// ClearPause resumes enforcement.
func (f *Fleet) ClearPause(ctx context.Context, o WriteOptions) (Pause, *Impact, error) {
	impact, err := f.setPause(ctx, nil, o)
	return Pause{}, impact, err
}

func (f *Fleet) setPause(ctx context.Context, p *release.Pause, o WriteOptions) (*Impact, error) {
	var impact *Impact
	err := f.guard(ctx, o, &impact, func(book *storage.Book, _ *plan.Book) (func(*storage.BookTx) error, bool, error) {
		if p != nil && book.Pause != nil {
			p.Since = book.Pause.Since
		}
		return func(tx *storage.BookTx) error { return tx.SetPause(p) }, false, nil
	}, func(in *policy.Input) { in.Pause = p })
	return impact, err
}
