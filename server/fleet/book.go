package fleet

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"plimsoll/declarations/plan"
	"plimsoll/declarations/policy"
	"plimsoll/storage"
)

// current is the book in force on this replica: as stored, and made ready for planning.
type current struct {
	*plan.Book
	stored   *storage.Book
	selfUsed bool // a policy sends the users of Macs to their own page
}

type bookHolder struct {
	cur     atomic.Pointer[current]
	loading sync.Mutex
	raising sync.Mutex // one repair at a time
}

// reloadBook reads the book and puts it in force, unless a newer one already is.
func (f *Fleet) reloadBook(ctx context.Context) error {
	f.book.loading.Lock()
	defer f.book.loading.Unlock()
	stored, err := f.store.Book(ctx)
	if err != nil {
		return err
	}
	if cur := f.book.cur.Load(); cur != nil && cur.Revision >= stored.Revision {
		return nil
	}
	book, err := plan.Compile(stored.Input)
	if err != nil {
		return fmt.Errorf("compile the book: %w", err)
	}
	f.book.cur.Store(&current{Book: book, stored: stored, selfUsed: usesSelf(stored.Policies)})
	f.wake()
	return nil
}

// raiseBook repairs a book whose revision is older than one that was seen: the database lost its newest writes. What it has is in force then,
// under a revision above all that were seen.
func (f *Fleet) raiseBook(ctx context.Context, seen uint64) error {
	f.book.raising.Lock()
	defer f.book.raising.Unlock()
	stored, err := f.store.Book(ctx)
	if err != nil || stored.Revision >= seen {
		return err
	}
	f.log.Warn("the database lost its newest writes: policies, groups, holds and catalogue are what they were before", "revision", stored.Revision, "seen", seen)
	if err := f.store.RaiseBook(ctx, seen+1); err != nil {
		return err
	}
	return f.reloadBook(ctx)
}

// bookFrom is the book in force, reloaded when it is older than the given revision.
func (f *Fleet) bookFrom(ctx context.Context, revision uint64) (*current, error) {
	if cur := f.book.cur.Load(); cur.Revision >= revision {
		return cur, nil
	}
	if err := f.reloadBook(ctx); err != nil {
		return nil, err
	}
	cur := f.book.cur.Load()
	if cur.Revision >= revision {
		return cur, nil
	}
	if err := f.raiseBook(ctx, revision); err != nil {
		return nil, err
	}
	return f.book.cur.Load(), nil
}

// updateBook changes the book and puts the change in force on this replica.
func (f *Fleet) updateBook(ctx context.Context, fn func(*storage.BookTx) error) error {
	if err := f.store.UpdateBook(ctx, fn); err != nil {
		return err
	}
	return f.reloadBook(ctx)
}

func usesSelf(policies []policy.Stored) bool {
	return slices.ContainsFunc(policies, func(p policy.Stored) bool { return p.DetailsURL == "self" })
}
