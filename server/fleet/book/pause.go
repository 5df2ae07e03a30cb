package book

import (
	"context"
	"time"

	"plimsoll/declarations/plan"
	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
	"plimsoll/server/fleet/answer"
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
	p := &release.Pause{Reason: reason, Since: k.o.Now(), By: o.By}
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
		if p != nil && book.Pause != nil {
			p.Since = book.Pause.Since
		}
		return change{
			apply: func(in *policy.Input) { in.Pause = p },
			write: func(tx *storage.BookTx) error { return tx.SetPause(p) },
		}, nil
	})
}
