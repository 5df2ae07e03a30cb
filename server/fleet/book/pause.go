package book

import (
	"context"
	"time"

	"plimsoll/declarations/plan"
	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
	"plimsoll/server/fleet/answer"
	"plimsoll/server/fleet/audit"
	"plimsoll/storage"
)

// Pause is the state of the red button.
type Pause struct {
	Paused bool      `json:"paused"`
	Reason string    `json:"reason,omitempty"`
	Since  time.Time `json:"since_at,omitzero"`
	By     string    `json:"by,omitempty"`
}

func pauseOf(p *release.Pause) Pause {
	if p == nil {
		return Pause{}
	}
	return Pause{Paused: true, Reason: p.Reason, Since: p.Since, By: p.By}
}

// Pause tells whether enforcement is paused.
func (k *Keeper) Pause(context.Context) (Pause, error) {
	return pauseOf(k.Current().Stored.Pause), nil
}

// SetPause withdraws all enforcement from everybody, at once.
func (k *Keeper) SetPause(ctx context.Context, reason string, o answer.WriteOptions) (Pause, *answer.Impact, error) {
	if reason == "" || len(reason) > 1000 {
		return Pause{}, nil, answer.Invalid("the pause is not valid",
			policy.FieldError{Field: "reason", Reason: "must be given, in at most 1000 characters"})
	}
	p := &release.Pause{Reason: reason, Since: k.o.Now(), By: o.By.Actor}
	impact, err := k.setPause(ctx, p, o)
	return pauseOf(p), impact, err
}

// ClearPause resumes enforcement.
func (k *Keeper) ClearPause(ctx context.Context, o answer.WriteOptions) (Pause, *answer.Impact, error) {
	impact, err := k.setPause(ctx, nil, o)
	return Pause{}, impact, err
}

func (k *Keeper) setPause(ctx context.Context, p *release.Pause, o answer.WriteOptions) (*answer.Impact, error) {
	return k.guard(ctx, o, func(book *storage.Book, _ *plan.Book) (change, error) {
		before := book.Pause
		switch {
		case p == nil && before == nil:
			return change{}, nil
		case p != nil && before != nil:
			p.Since = before.Since
			if p.Reason == before.Reason {
				p.By = before.By
				return change{}, nil
			}
		}
		act := audit.Act{Action: "pause.put", Object: "pause", Before: pauseState(before), After: pauseState(p)}
		if p == nil {
			act.Action = "pause.delete"
		} else {
			act.Reason = p.Reason
		}
		return change{
			apply: func(in *policy.Input) { in.Pause = p },
			write: func(tx *storage.BookTx) error { return tx.SetPause(p) },
			acts:  []audit.Act{act},
		}, nil
	})
}
