package book

import (
	"context"
	"fmt"

	"plimsoll/declarations/plan"
	"plimsoll/declarations/policy"
	"plimsoll/server/fleet/answer"
	"plimsoll/server/fleet/audit"
	"plimsoll/storage"
)

// The bounds of a write that needs to be confirmed (docs/api.md 3).
const (
	manyMacs    = 10
	manyPercent = 5
)

// change is a write of the book that was checked against it. The zero value changes nothing.
type change struct {
	apply func(*policy.Input)         // to a copy of the book, for its impact
	write func(*storage.BookTx) error // nil: nothing changes
	acts  []audit.Act                 // what it is for the audit
	past  bool                        // a new deadline lies in the past
}

// guard makes a write of the book: checked, its impact computed, confirmed where it would hit many people at once, written,
// in force. check runs against the book in force, and again against the book that is written to. With DryRun guard only
// answers the impact.
func (k *Keeper) guard(ctx context.Context, o answer.WriteOptions,
	check func(*storage.Book, *plan.Book) (change, error),
) (*answer.Impact, error) {
	if err := k.ReloadBook(ctx); err != nil {
		return nil, err
	}
	cur := k.Current()
	c, err := check(cur.Stored, cur.Book)
	if err != nil {
		return nil, err
	}
	if c.write == nil && !o.DryRun {
		return nil, nil
	}
	if o.DryRun || !o.Confirm {
		impact, err := k.impact(cur, c.apply)
		if err != nil {
			return nil, err
		}
		if k.confirm(impact, c.past); o.DryRun {
			return impact, nil
		}
		if impact.Guard != nil {
			text := "the write needs to be confirmed: " + *impact.Guard
			return nil, &answer.Error{Kind: answer.ErrConflict, Code: "confirm_required", Text: text, Impact: impact}
		}
	}
	return nil, k.audited(ctx, o.By, func(tx *storage.BookTx) ([]audit.Act, error) {
		c, err := check(tx.Book, cur.Book)
		if err != nil || c.write == nil {
			return nil, err
		}
		return c.acts, c.write(tx)
	})
}

// audited changes the book, with the entries of the audit in the same commit, and puts the change in force on this replica.
func (k *Keeper) audited(ctx context.Context, by answer.Origin, fn func(*storage.BookTx) ([]audit.Act, error)) error {
	noting := k.o.Audit.Begin(ctx, storage.BookPartition)
	err := k.UpdateBook(ctx, func(tx *storage.BookTx) error {
		acts, err := fn(tx)
		if err != nil {
			return err
		}
		notes, err := noting.Notes(by, acts...)
		if err == nil {
			tx.Note(notes)
		}
		return err
	})
	if err == nil {
		noting.Chained(ctx)
	}
	return err
}

// confirm says in an impact why the write hits many people at once, or why nobody has time for it; else Guard stays null.
func (k *Keeper) confirm(i *answer.Impact, past bool) {
	fleet := k.o.Macs.CountEnrolled()
	var why string
	switch {
	case past:
		why = "its deadline has already passed everywhere"
	case i.NewlyDueWithin7d > manyMacs && i.NewlyDueWithin7d*100 > fleet*manyPercent:
		why = fmt.Sprintf("%d of %d Macs would newly be due within 7 days", i.NewlyDueWithin7d, fleet)
	default:
		return
	}
	i.Guard = &why
}
