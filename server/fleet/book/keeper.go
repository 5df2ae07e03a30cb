// Package book keeps what admins want, in one partition with one revision: policies, groups, holds and the pause, and shows
// whom a write hits.
package book

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"plimsoll/declarations/plan"
	"plimsoll/declarations/policy"
	"plimsoll/server/fleet/audit"
	"plimsoll/storage"
)

// Macs are the Macs as this replica knows them.
type Macs interface {
	// Records are the enrolled Macs' records, by number.
	Records() (n int, record func(int) *storage.Record)
	CountEnrolled() int
	// Resolve finds the Macs that an enrollment id or a serial number names.
	Resolve(idOrSerial string) []string
	AnyEnrolled(ids []string) bool
}

// Options are what a Keeper is made of.
type Options struct {
	Store *storage.Store
	Audit *audit.Chain
	Macs  Macs
	Log   *slog.Logger
	Zone  *time.Location   // in which zone-less deadlines are read
	Now   func() time.Time // UTC, whole seconds
	// Address is the address of a Mac's own page; empty: Macs have none.
	Address func(*storage.Record) string
	// Pages tells whether Macs have pages of their own.
	Pages func() bool
	// Publish brings the events that stand in the book to the fleet's timeline, and names the last one that is there.
	Publish func(context.Context) (string, error)
	// Companion: another server is the Macs' MDM (rules 16).
	Companion bool
	// Changed is called when another book came into force on this replica.
	Changed func()
}

// Current is a book that is or was in force on this replica: as stored, and made ready for planning. It is immutable.
type Current struct {
	*plan.Book
	Stored  *storage.Book
	address func(*storage.Record) string // nil: no policy sends the users of Macs to their own page
}

// SelfURL is the address of a Mac's own page as its declarations carry it; empty when no policy uses it, or when there are
// no such pages.
func (c *Current) SelfURL(rec *storage.Record) string {
	if c.address == nil {
		return ""
	}
	return c.address(rec)
}

// Keeper holds the book in force on this replica, and writes it. Safe for concurrent use; ReloadBook must come before
// anything else.
type Keeper struct {
	o       Options
	cur     atomic.Pointer[Current]
	loading sync.Mutex
	raising sync.Mutex // one repair at a time

	ringCounts atomic.Pointer[RingCounts] // the last
	sawLately  atomic.Pointer[seen]
	inTimeline atomic.Pointer[string] // what Publish answered last
}

// New makes a Keeper.
func New(o Options) *Keeper { return &Keeper{o: o} }

// Current is the book in force.
func (k *Keeper) Current() *Current { return k.cur.Load() }

func (k *Keeper) ready(in policy.Input, stored *storage.Book) (*Current, error) {
	in.Companion, in.Zone = k.o.Companion, k.o.Zone
	compiled, err := plan.Compile(in)
	if err != nil {
		return nil, err
	}
	c := &Current{Book: compiled, Stored: stored}
	if slices.ContainsFunc(in.Policies, func(p policy.Stored) bool { return p.DetailsURL == policy.DetailsSelf }) {
		c.address = k.o.Address
	}
	return c, nil
}

// ReloadBook reads the book and puts it in force, unless a newer one already is.
func (k *Keeper) ReloadBook(ctx context.Context) error {
	k.loading.Lock()
	defer k.loading.Unlock()
	stored, err := k.o.Store.Book(ctx)
	if err != nil {
		return err
	}
	if cur := k.Current(); cur != nil && cur.Revision >= stored.Revision {
		return nil
	}
	c, err := k.ready(stored.Input, stored)
	if err != nil {
		return fmt.Errorf("compile the book: %w", err)
	}
	k.cur.Store(c)
	k.o.Changed()
	return nil
}

// RaiseBook repairs a book whose revision is older than one that was seen: the database lost its newest writes. The book
// that the database has is in force then, under a revision above all that were seen.
func (k *Keeper) RaiseBook(ctx context.Context, seen uint64) error {
	k.raising.Lock()
	defer k.raising.Unlock()
	stored, err := k.o.Store.Book(ctx)
	if err != nil || stored.Revision >= seen {
		return err
	}
	k.o.Log.Warn("the database lost its newest writes: policies, groups, holds and catalogue are as they were before",
		"revision", stored.Revision, "seen", seen)
	if err := k.o.Store.RaiseBook(ctx, seen+1); err != nil {
		return err
	}
	return k.ReloadBook(ctx)
}

// BookFrom is the book in force, reloaded when it is older than the given revision.
func (k *Keeper) BookFrom(ctx context.Context, revision uint64) (*Current, error) {
	if cur := k.Current(); cur.Revision >= revision {
		return cur, nil
	}
	if err := k.ReloadBook(ctx); err != nil {
		return nil, err
	}
	if cur := k.Current(); cur.Revision >= revision {
		return cur, nil
	}
	if err := k.RaiseBook(ctx, revision); err != nil {
		return nil, err
	}
	return k.Current(), nil
}

// UpdateBook changes the book and puts the change in force on this replica.
func (k *Keeper) UpdateBook(ctx context.Context, fn func(*storage.BookTx) error) error {
	if err := k.o.Store.UpdateBook(ctx, fn); err != nil {
		return err
	}
	return k.ReloadBook(ctx)
}
