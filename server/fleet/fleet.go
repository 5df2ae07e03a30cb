// Package fleet holds the use cases: put a policy, advertise to a Mac, ingest a report, sweep, query.
package fleet

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"plimsoll/declarations/plan"
	"plimsoll/server/fleet/access"
	"plimsoll/server/fleet/audit"
	"plimsoll/server/fleet/book"
	"plimsoll/server/fleet/catalogue"
	"plimsoll/server/fleet/evidence"
	"plimsoll/server/fleet/guard"
	"plimsoll/server/fleet/inventory"
	"plimsoll/server/fleet/lead"
	"plimsoll/server/fleet/notify"
	"plimsoll/server/fleet/outbox"
	"plimsoll/server/fleet/reconcile"
	"plimsoll/storage"
)

// Options are what a Fleet is made of.
type Options struct {
	Store    *storage.Store
	Notifier Notifier
	// Catalogue brings Apple's feed; none: the built-in snapshot stays. Exploited brings the feed of exploited vulnerabilities.
	Catalogue, Exploited Source

	Log  *slog.Logger
	Zone *time.Location // in which zone-less deadlines are read for "overdue"
	URL  string         // base URL, for the links to the Macs' own pages
	// AdminToken is an admin token that is valid while the process runs; empty: none.
	AdminToken string

	PushRate    float64       // pushes a second at most
	KeepReports int           // raw reports of a Mac
	KeepEvents  time.Duration // events, command results
	KeepHistory time.Duration // history rows, manifests
	// KeepPatching is how long courses of versions and the closed days of patch reports are kept; 0: for ever.
	KeepPatching time.Duration

	// Identities of Macs; nil: none are issued here.
	Identities *Identities
	// Push knows push certificates and topics; nil: nothing is known of them.
	Push *PushSource

	// SweepResults deletes command results of a Mac older than a time; nil: none are kept.
	SweepResults func(ctx context.Context, id string, before time.Time) error

	// Commands reads what Macs were sent and answered; nil: nothing of it is kept.
	Commands CommandLog

	// Alone: no other process can have the store open, so that leases need no waiting and nothing has to be polled.
	Alone bool

	// Companion: another server is the Macs' MDM (rules 16). Queued is told of each Mac for which a command was queued, once that is
	// kept; nil: nobody needs to know.
	Companion bool
	Queued    func(id string)

	MaxExemption time.Duration // the longest exemption of one Mac; 0: 90 days

	Now func() time.Time // nil: time.Now
}

// Fleet answers for the whole fleet. Safe for concurrent use.
type Fleet struct {
	o     Options
	store *storage.Store
	log   *slog.Logger

	*access.Access
	*book.Keeper
	links       access.Links
	authorities *Authorities // nil: no identities are issued here

	audit      *audit.Chain
	index      *inventory.Index
	contacts   *inventory.Contacts
	outbox     *outbox.Outbox
	pushes     *notify.Queue
	lead       *lead.Leader
	reconciler *reconcile.Reconciler
	bodies     bodies

	catalogue *catalogue.Catalogue
	evidence  *evidence.Reports

	counters Counters

	// A replica that dies takes with it what it had not shared yet. missing: that may have happened, so that every record
	// is read again. starts is the revision of the starts as it was last looked at: most replicas that die start again.
	missing atomic.Bool
	starts  uint64

	guard *guard.Guard
}

// New makes a Fleet; Start must come before anything else.
func New(o Options) (*Fleet, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Zone == nil {
		o.Zone = time.UTC
	}
	if o.KeepReports <= 0 {
		o.KeepReports = 20
	}
	if o.MaxExemption <= 0 {
		o.MaxExemption = 90 * 24 * time.Hour
	}
	if o.PushRate <= 0 {
		o.PushRate = 50
	}
	if o.Store == nil || o.Notifier == nil || o.Log == nil {
		return nil, errors.New("fleet: Store, Notifier and Log are needed")
	}
	f := &Fleet{o: o, store: o.Store, log: o.Log}
	f.index = inventory.New()
	f.contacts = inventory.NewContacts(f.index)
	f.audit = audit.New(audit.Options{Store: o.Store, Tell: f.tellAudit, Log: o.Log, Now: f.now})
	f.Access = access.New(access.Options{Store: o.Store, Audit: f.audit, AdminToken: o.AdminToken, Alone: o.Alone, Now: f.now})
	if i := o.Identities; i != nil {
		f.authorities = f.newAuthorities(i)
	}
	f.outbox = f.newOutbox()
	f.Keeper = book.New(book.Options{
		Store: o.Store, Audit: f.audit, Macs: f.index, Log: o.Log, Zone: o.Zone, Now: f.now, Changed: func() { f.lead.Wake() },
		Publish:   func(ctx context.Context) (string, error) { return f.outbox.PublishFleet(ctx) },
		Companion: o.Companion, Address: f.selfAddress, Pages: func() bool { return f.links.Pages() },
	})
	f.catalogue = f.newCatalogue()
	f.pushes = notify.New(notify.Options{
		Pusher: func() notify.Pusher { return f.o.Notifier }, Rate: o.PushRate, Note: f.notePush, Log: o.Log,
		Count: func(pushed, failed int) {
			f.counters.Pushes.Add(int64(pushed))
			f.counters.PushesFailed.Add(int64(failed))
		},
	})
	f.reconciler = reconcile.New(reconcile.Options{
		Store: o.Store, Commands: func() reconcile.CommandQueue { return f.o.Notifier }, Book: f.desired, BookFrom: f.desiredFrom,
		Memory:  f.memory,
		Unknown: func(id string, events int) { f.outbox.AddUnknown(id, events) }, KeepReports: o.KeepReports,
		Companion: o.Companion, Counters: &f.counters.reconcileCounters, Now: o.Now,
	})
	f.evidence = f.newEvidence()
	f.lead = lead.New(lead.Options{
		Store: o.Store, Owner: rand.Text(), Alone: o.Alone, Index: f.index, Contacts: f.contacts, Book: f.desired, Memory: f.memory,
		Waiting: f.pushes.Waiting, Change: f.change, Publish: func(ctx context.Context, id string,
			n int,
		) error {
			return f.outbox.Publish(ctx, id, n)
		},
		Today: f.todayJSON, Gates: f.TurnGates, Announce: f.PublishEvents, TrimAudit: f.trimAudit,
		Took: func() { f.missing.Store(true) },
		Loops: []func(context.Context){
			f.audit.Run, func(ctx context.Context) { f.catalogue.Run(ctx) }, func(ctx context.Context) { f.evidence.Run(ctx) },
			func(ctx context.Context) { f.guard.Migrate(ctx) },
			func(ctx context.Context) {
				if f.authorities != nil {
					f.authorities.Run(ctx)
				}
			},
		},
		Keep: lead.Retention{
			Reports: o.KeepReports, Events: o.KeepEvents, History: o.KeepHistory, Patching: o.KeepPatching, Results: o.SweepResults,
		},
		Counters: &f.counters.leadCounters, Log: o.Log, Now: f.now,
	})
	f.guard = guard.New(guard.Options{
		Store: o.Store, Alone: o.Alone, Log: o.Log, Lease: lead.Name, Renewals: 2 * lead.Renew, Migrated: f.lead.Reread,
	})
	return f, nil
}

func (f *Fleet) newOutbox() *outbox.Outbox {
	return outbox.New(outbox.Options{Store: f.store, Index: f.index, Reconcile: f.look, Log: f.log})
}

func (f *Fleet) newCatalogue() *catalogue.Catalogue {
	return catalogue.New(catalogue.Options{
		Store: f.store, Apple: f.o.Catalogue, Exploited: f.o.Exploited, Update: f.UpdateBook,
		Counters: &f.counters.catalogueCounters, Log: f.log, Now: f.now,
		Book: func() (*plan.Book, *storage.Book) { c := f.Current(); return c.Book, c.Stored },
	})
}

// now is the time in UTC, in whole seconds: that is what is stored.
func (f *Fleet) now() time.Time { return f.o.Now().UTC().Truncate(time.Second) }

// Start reads secrets, book, tokens and index. With a file or folder as catalogue it is read too, so that the first Mac
// already meets it.
func (f *Fleet) Start(ctx context.Context) error {
	if err := f.guard.Take(ctx); err != nil {
		return err
	}
	key, err := f.Secret(ctx, "link", randomKey)
	if err != nil {
		return fmt.Errorf("read the link key: %w", err)
	}
	f.links = access.Links{URL: f.o.URL, Key: key}
	if f.authorities != nil {
		if err := f.authorities.Load(ctx); err != nil {
			return err
		}
	}
	if err := f.ReloadBook(ctx); err != nil {
		return fmt.Errorf("read policies and catalogue: %w", err)
	}
	if err := f.catalogue.ReadFiles(ctx); err != nil {
		return err
	}
	if err := f.ReloadTokens(ctx); err != nil {
		return fmt.Errorf("read tokens: %w", err)
	}
	if !f.o.Alone {
		if f.starts, err = f.store.CountStart(ctx); err != nil {
			return fmt.Errorf("note the start: %w", err)
		}
	}
	if err := f.loadIndex(ctx); err != nil {
		return fmt.Errorf("read the index: %w", err)
	}
	if f.authorities != nil {
		f.authorities.Warn()
	}
	f.lead.Wake()
	return nil
}

// Run runs the loops until ctx ends; then it writes what is still held in memory.
func (f *Fleet) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, loop := range []func(context.Context){
		f.pollLoop, f.rereadLoop, f.contactsLoop, f.outbox.Run, f.pushes.Run, f.lead.Run,
	} {
		g.Go(func() error { loop(ctx); return nil })
	}
	g.Go(func() error { return f.guard.Watch(ctx) })
	err := g.Wait()
	if errors.Is(err, ErrOtherStore) { // nothing of this one's belongs there
		return err
	}
	// Events first: contact times that are lost cost nothing but an hour. What contacts bring to the shards has a second of
	// its own.
	end := time.Now().Add(storage.Timeout + time.Second)
	last, cancel := context.WithDeadline(context.WithoutCancel(ctx), end)
	defer cancel()
	f.outbox.Flush(last)
	almost, cancel := context.WithDeadline(last, end.Add(-time.Second))
	defer cancel()
	f.flushContacts(almost)
	f.outbox.Flush(last)
	return err
}

// Close tells the other replicas that this one has ended. It comes after Run, when no request is in flight any more.
func (f *Fleet) Close() { f.guard.Close() }

func randomKey() ([]byte, error) {
	key := make([]byte, 32)
	_, err := rand.Read(key)
	return key, err
}

// Secret returns a generated secret, the same on every replica.
func (f *Fleet) Secret(ctx context.Context, name string, generate func() ([]byte, error)) ([]byte, error) {
	return f.guard.Secret(ctx, name, generate)
}

// Sweep looks at every Mac once, at those whose boundary in time has passed and at those for which something follows from
// the book, and finishes what follows: pushes, and what the shards have to learn. Run does the same by itself and at its
// own pace; tests and the command line use this, so that nothing has to be waited for.
func (f *Fleet) Sweep(ctx context.Context) error {
	failed := f.lead.Sweep(ctx, true)
	f.pushes.Once(ctx)
	f.outbox.Flush(ctx)
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	if failed > 0 {
		return fmt.Errorf("sweep: %d Macs could not be looked after", failed)
	}
	return nil
}

// Trim deletes what is older than its retention, and repairs the index. Run does the same by itself.
func (f *Fleet) Trim(ctx context.Context) { f.lead.Trim(ctx) }

// TellAudit brings into the timelines what the audit has and they have not. Run does the same by itself.
func (f *Fleet) TellAudit(ctx context.Context) error { return f.audit.Tell(ctx) }

// Subscribe returns a channel that signals that there may be new events. It is closed when ctx ends.
func (f *Fleet) Subscribe(ctx context.Context) <-chan struct{} { return f.outbox.Feed.Subscribe(ctx) }

// Refresh fetches the catalogue now, and answers once it is in force on this replica.
func (f *Fleet) Refresh(ctx context.Context, by Origin) (RefreshResult, error) {
	var res RefreshResult
	err := f.audit.Do(ctx, by, func() (err error) {
		res, err = f.catalogue.Refresh(ctx)
		return err
	}, Act{Action: "catalogue.refresh", Object: "catalogue"})
	res.LeftOut = append([]string{}, f.Current().Catalog.LeftOut...)
	return res, err
}

// Releases lists the catalogue as it is now, or as it was in force at a time.
func (f *Fleet) Releases(ctx context.Context, asOf time.Time, limit int, cursor string) (Page[Release], error) {
	return f.catalogue.Releases(ctx, asOf, limit, cursor)
}
