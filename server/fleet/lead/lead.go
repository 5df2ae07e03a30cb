// Package lead does what one replica does for all, under a lease in the database: the sweep, housekeeping, the gates, and
// the repair of the index.
package lead

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"plimsoll/server/fleet/each"
	"plimsoll/server/fleet/inventory"
	"plimsoll/server/fleet/reconcile"
	"plimsoll/storage"
)

// The lease of the work that must happen once: a candidate takes over after it saw the lease unchanged for leaseTime by its
// own clock.
const (
	Name      = "leader" // of the lease
	leaseTime = 10 * time.Second
	Renew     = 2 * time.Second
)

// Counters count what happened since the process started. Safe for concurrent use.
type Counters struct{ Sweeps, SweptMacs atomic.Int64 }

// Retention says what is deleted, and when.
type Retention struct {
	Reports int           // raw reports of a Mac that are kept
	Events  time.Duration // age of events and command results; 0: for ever
	History time.Duration // age of history rows and manifests; 0: for ever
	// Patching is the age of courses of versions and of the closed days of patch reports; 0: for ever.
	Patching time.Duration
	// Results deletes command results of a Mac older than a time; nil: none are kept.
	Results func(ctx context.Context, id string, before time.Time) error
}

// Options are what a Leader is made of.
type Options struct {
	Store *storage.Store
	Owner string // names this replica in leases
	Alone bool   // no other process can have the store open, so that leases need no waiting

	Index    *inventory.Index
	Contacts *inventory.Contacts
	Book     func() reconcile.Book
	Memory   func(id string) reconcile.Memory
	// Waiting tells whether a push of a Mac is waiting. It is called while the index is read, and must not ask the index.
	Waiting func(id string) bool
	// Change changes a Mac and tells the others.
	Change func(ctx context.Context, id string, cause reconcile.Cause) error
	// Publish brings what the fleet's timeline lacks of a Mac there, but for the first events.
	Publish func(ctx context.Context, id string, published int) error
	// Today is today's row of the history.
	Today func(now time.Time) ([]byte, error)
	// Gates lets the gates of all policies look, and writes what they find (rules 13).
	Gates func(ctx context.Context) error
	// Announce brings the events that concern no Mac to the fleet's timeline: another replica may have died before it did.
	Announce func(ctx context.Context) error
	// TrimAudit deletes what is older than its retention from the audit.
	TrimAudit func(ctx context.Context) error
	// Took is called when the lease was taken. Loops run while it is held.
	Took  func()
	Loops []func(context.Context)

	Keep     Retention
	Counters *Counters
	Log      *slog.Logger
	Now      func() time.Time // UTC, whole seconds
}

// Leader is one replica's part in the work that must happen once. Safe for concurrent use.
type Leader struct {
	o       Options
	requeue requeue
	woken   chan struct{} // the sweep
	leading atomic.Bool
	again   atomic.Bool // the sweep looks at every Mac, whatever was swept
}

// New makes a Leader.
func New(o Options) *Leader {
	return &Leader{o: o, requeue: newRequeue(), woken: make(chan struct{}, 1)}
}

// Leading tells whether this replica holds the lease.
func (l *Leader) Leading() bool { return l.leading.Load() }

// Wake lets the sweep look whether a change of the book changes anything for the Macs.
func (l *Leader) Wake() {
	select {
	case l.woken <- struct{}{}:
	default:
	}
}

// LookAtAll lets the sweep look at every Mac again, whatever was swept.
func (l *Leader) LookAtAll() {
	l.again.Store(true)
	l.Wake()
}

// Run takes and keeps the lease, and works while it has it, until ctx ends.
func (l *Leader) Run(ctx context.Context) {
	var (
		c    candidate
		stop context.CancelFunc
		work errgroup.Group
		tick = time.NewTicker(Renew)
	)
	defer tick.Stop()
	c.seenSince = time.Now()
	for {
		switch held := l.hold(ctx, &c); {
		case held && stop == nil:
			var leading context.Context
			leading, stop = context.WithCancel(ctx)
			l.leading.Store(true)
			l.o.Took()
			loops := []func(context.Context){l.sweepLoop, l.housekeepingLoop, l.gateLoop, l.announceLoop}
			for _, loop := range append(loops, l.o.Loops...) {
				work.Go(func() error { loop(leading); return nil })
			}
		case !held && stop != nil:
			l.resign(stop, &work)
			stop = nil
		}
		select {
		case <-ctx.Done():
			if stop != nil {
				l.resign(stop, &work)
			}
			l.release(ctx)
			return
		case <-tick.C:
		}
	}
}

// resign ends the work and waits for it.
func (l *Leader) resign(stop context.CancelFunc, work *errgroup.Group) {
	l.leading.Store(false)
	stop()
	_ = work.Wait()
}

func (l *Leader) release(ctx context.Context) {
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), storage.Timeout)
	defer cancel()
	if err := l.o.Store.Release(last, Name, l.o.Owner); err != nil {
		l.o.Log.Warn("the lease could not be given back; another replica takes it over when it has expired", "error", err)
	}
}

// candidate is what a replica knows of the lease.
type candidate struct {
	seen      string    // the lease as it was seen last
	seenSince time.Time // by this replica's own clock
	renewed   time.Time // when it was last held
	held      bool
}

// hold takes or renews the lease, and tells whether it is held. One that cannot be renewed is held until shortly before
// others may take it.
func (l *Leader) hold(ctx context.Context, c *candidate) bool {
	steal := l.o.Alone || time.Since(c.seenSince) >= leaseTime
	began := time.Now()
	held, now, err := l.o.Store.Lease(ctx, Name, l.o.Owner, c.seen, steal)
	if l.o.Alone && err == nil && !held {
		held, now, err = l.o.Store.Lease(ctx, Name, l.o.Owner, now, true)
	}
	if now != c.seen && err == nil {
		c.seen, c.seenSince = now, time.Now()
	}
	switch {
	case err == nil && held:
		c.renewed, c.held = began, true
	case err == nil || time.Since(c.renewed) > leaseTime-Renew:
		c.held = false
	}
	return c.held
}

// each looks after many Macs at once, and returns and logs those that failed.
func (l *Leader) each(ctx context.Context, ids []string, fn func(id string) error) (failed []string) {
	bad := each.Do(ctx, 64, ids, fn)
	if len(bad) > 0 && ctx.Err() == nil {
		l.o.Log.Warn("some Macs could not be looked after; they are looked at again", "macs", len(bad), "first", bad[0].Item,
			"error", bad[0].Err)
	}
	for _, b := range bad {
		failed = append(failed, b.Item)
	}
	return failed
}
