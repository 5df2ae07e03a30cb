package reconcile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"plimsoll/declarations"
	"plimsoll/declarations/command"
	"plimsoll/storage"
	"plimsoll/storage/beside"
)

// CommandQueue queues commands for Macs, within a transaction on the Mac's partition. storage.ErrNotFound: NanoMDM has
// forgotten the Mac. storage.ErrConflict: the Mac's queue is full.
type CommandQueue interface {
	// Queue queues a DeclarativeManagement command that carries tokens (a TokensResponse as JSON); it replaces a queued one
	// of its kind.
	Queue(tx storage.Tx, id string, tokens []byte) error
	// Query queues a command that asks something: its RequestType, and the queries of DeviceInformation. One that waits already
	// is not queued again.
	Query(tx storage.Tx, id, requestType string, queries ...string) error
	// Update queues an update command under its own UUID; queueing the same one again does nothing.
	Update(tx storage.Tx, id string, c command.Queue) error
	// Withdraw takes a command out of the queue, if it waits there.
	Withdraw(tx storage.Tx, id, uuid string) error
}

// Counters count what happened since the process started. Safe for concurrent use.
type Counters struct {
	Commands                            atomic.Int64 // DeclarativeManagement commands queued
	UpdateCommands, OddAnswers          atomic.Int64 // update commands queued; answers to update commands that do not wait
	ManifestsKept, ResyncsRaised, Stale atomic.Int64
}

// Options are what a Reconciler is made of.
type Options struct {
	Store    *storage.Store
	Commands func() CommandQueue
	// Book is the book in force; BookFrom the same, reloaded when it is older than a revision.
	Book     func() Book
	BookFrom func(ctx context.Context, revision uint64) (Book, error)
	Memory   func(id string) Memory
	// Unknown is told of a commit with unknown outcome, with how many events the Mac had before it.
	Unknown     func(id string, events int)
	KeepReports int // raw reports of a Mac
	// Companion: another server is the Macs' MDM, so that the dates of their lives are kept (rules 16).
	Companion bool
	Counters  *Counters
	Now       func() time.Time
}

// Reconciler changes Macs. Safe for concurrent use.
type Reconciler struct{ o Options }

// New makes a Reconciler.
func New(o Options) *Reconciler { return &Reconciler{o} }

// Result is a change that was made.
type Result struct {
	Outcome
	Kind    Kind
	Before  storage.State
	Encoded []byte // the record as it was written; nil: nothing was
}

// oldBook ends a transaction on a Mac that was advertised to from a newer book than this replica's: from that revision.
type oldBook uint64

func (b oldBook) Error() string {
	return fmt.Sprintf("the Mac was advertised to from book %d", uint64(b))
}

// withBook runs fn, a transaction on a Mac, with the book in force, and again with a newer one when fn returns an oldBook.
func (r *Reconciler) withBook(ctx context.Context, fn func(Book) error) error {
	for book := r.o.Book(); ; {
		err := fn(book)
		var newer oldBook
		if !errors.As(err, &newer) {
			return err
		}
		r.o.Counters.Stale.Add(1)
		if book, err = r.o.BookFrom(ctx, uint64(newer)); err != nil {
			return err
		}
	}
}

// toTheEnd is a context that does not end when the caller goes away, but with its deadline.
func toTheEnd(ctx context.Context) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !ok {
		end = time.Now().Add(storage.Timeout)
	}
	return context.WithDeadline(context.WithoutCancel(ctx), end)
}

func (r *Reconciler) now() time.Time { return r.o.Now().UTC().Truncate(time.Second) }

// Change reads the Mac, steps, and writes what follows, in one commit. The caller tells the index and the other replicas.
func (r *Reconciler) Change(ctx context.Context, id string, cause Cause) (*Result, error) {
	// What a Mac sent is kept also when it hangs up: otherwise the database might have it or not.
	ctx, cancel := toTheEnd(ctx)
	defer cancel()
	now := r.now()
	var res *Result
	err := r.withBook(ctx, func(book Book) (err error) {
		res, err = r.try(ctx, id, book, cause, now)
		return err
	})
	if err != nil {
		return nil, err
	}
	r.count(&res.Outcome)
	return res, nil
}

func (r *Reconciler) try(ctx context.Context, id string, book Book, cause Cause, now time.Time) (*Result, error) {
	var res *Result
	err := r.o.Store.UpdateMac(ctx, id, func(m *storage.MacTx) error {
		res = &Result{Kind: cause.Kind}
		stored, err := m.State()
		if err != nil {
			return err
		}
		if stored.Record != nil && stored.Record.Book > book.Revision {
			return oldBook(stored.Record.Book)
		}
		res.Before = stored
		st := State{ID: id, State: stored, Memory: r.o.Memory(storage.DeviceID(id))}
		if r.o.Companion {
			if st.Beside, err = beside.ReadLife(m.Tx()); err != nil {
				return err
			}
		}
		if res.Outcome, err = Step(st, cause, book, now); err != nil || res.Nothing {
			return err
		}
		if err := r.keepBeside(m, st.Beside, &res.Outcome); err != nil {
			return err
		}
		if res.Outcome, err = r.order(m, st, cause, book, res.Outcome, now); err != nil {
			return err
		}
		if err := r.query(m, &res.Outcome); err != nil {
			return err
		}
		if res.Notify {
			switch err := r.queue(m, &res.Outcome); {
			case errors.Is(err, storage.ErrNotFound):
				st.NoQueue = true
				if res.Outcome, err = Step(st, cause, book, now); err != nil {
					return err
				}
			case err != nil:
				return err
			}
		}
		return r.write(m, book, res)
	})
	if err != nil {
		if res != nil && res.Encoded != nil && errors.Is(err, storage.ErrUnavailable) { // it may be committed all the same
			r.o.Unknown(id, eventsOf(res.Before.Record))
		}
		return nil, err
	}
	return res, nil
}

// keepBeside keeps the dates of the Mac's life; a new life has no commands that wait, since its MDM clears its queue.
func (r *Reconciler) keepBeside(m *storage.MacTx, before beside.Life, o *Outcome) error {
	if !r.o.Companion {
		return nil
	}
	if o.ClearLife {
		beside.Forget(m.Tx())
	}
	if o.Beside == before {
		return nil
	}
	return beside.SetLife(m.Tx(), o.Beside)
}

func eventsOf(rec *storage.Record) int {
	if rec == nil {
		return 0
	}
	return rec.Events
}

// order withdraws and queues update commands. When the queue does not take one, the Mac is stepped again without commands: its
// course stays where it is, and is tried again later.
func (r *Reconciler) order(m *storage.MacTx, st State, cause Cause, book Book, o Outcome, now time.Time) (Outcome, error) {
	id := o.Record.Facts.ID
	if uuid := o.Orders.Withdraw; uuid != "" {
		if err := r.o.Commands().Withdraw(m.Tx(), id, uuid); err != nil {
			return o, fmt.Errorf("withdraw an update command: %w", err)
		}
	}
	if o.Orders.Queue == nil {
		return o, nil
	}
	switch err := r.o.Commands().Update(m.Tx(), id, *o.Orders.Queue); {
	case errors.Is(err, storage.ErrConflict), errors.Is(err, storage.ErrNotFound):
		st.NoQueue, st.NoRoom = errors.Is(err, storage.ErrNotFound), true
		return Step(st, cause, book, now)
	case err != nil:
		return o, fmt.Errorf("queue an update command: %w", err)
	}
	return o, nil
}

// query queues the commands that ask something. A full queue is no reason to refuse a Mac's message.
func (r *Reconciler) query(m *storage.MacTx, o *Outcome) error {
	for _, q := range o.Queries {
		err := r.o.Commands().Query(m.Tx(), o.Record.Facts.ID, q.RequestType, q.Queries...)
		if err != nil && !errors.Is(err, storage.ErrConflict) && !errors.Is(err, storage.ErrNotFound) {
			return fmt.Errorf("queue a %s command: %w", q.RequestType, err)
		}
	}
	return nil
}

// queue queues the command to sync. A full queue is no error: the push lets the Mac take what is in it, and later it is
// notified again.
func (r *Reconciler) queue(m *storage.MacTx, o *Outcome) error {
	err := r.o.Commands().Queue(m.Tx(), o.Record.Facts.ID, declarations.TokensJSON(o.Record.Advertised, o.Record.AdvertisedAt))
	switch {
	case errors.Is(err, storage.ErrConflict):
		o.full = true
		return nil
	case err != nil:
		return fmt.Errorf("queue a DeclarativeManagement command: %w", err)
	}
	return nil
}

// write writes what follows from an outcome.
func (r *Reconciler) write(m *storage.MacTx, book Book, res *Result) error {
	o := &res.Outcome
	if o.ClearLife {
		if err := m.ClearLife(r.now()); err != nil {
			return err
		}
	}
	if o.Report != nil {
		m.SetStatus(o.Status)
		if err := m.AddReport(*o.Report, r.o.KeepReports); err != nil {
			return err
		}
	}
	if o.Served {
		if err := m.SetManifest(o.Manifest, o.Plan.Declarations); err != nil {
			return err
		}
	}
	if o.Identity != res.Before.Identity {
		if err := m.SetIdentity(o.Identity); err != nil {
			return err
		}
	}
	if o.Failure != res.Before.Failure {
		if err := m.SetFailure(o.Failure); err != nil {
			return err
		}
	}
	if o.Commands != res.Before.Commands {
		if err := m.SetCommands(o.Commands); err != nil {
			return err
		}
	}
	if !o.Write {
		return nil
	}
	o.Record.Revision = max(o.Record.Revision+1, r.o.Now().UnixMilli())
	if err := keepVersions(m, book, res.Before.Record, o, r.now()); err != nil {
		return err
	}
	var err error
	if res.Encoded, err = m.SetRecord(o.Record); err != nil {
		return err
	}
	if err := m.SetExceptions(res.Before.Record, o.Record); err != nil {
		return err
	}
	for i := range o.Events {
		o.Events[i].ID = cmp.Or(o.Events[i].ID, storage.NewEventID())
	}
	return m.AddEvents(o.Events)
}

func (r *Reconciler) count(o *Outcome) {
	if o.Notify && !o.full {
		r.o.Counters.Commands.Add(1)
	}
	if o.Orders.Queue != nil {
		r.o.Counters.UpdateCommands.Add(1)
	}
	if o.Orders.Odd {
		r.o.Counters.OddAnswers.Add(1)
	}
	if o.Served {
		r.o.Counters.ManifestsKept.Add(1)
	}
	if o.Raised {
		r.o.Counters.ResyncsRaised.Add(1)
	}
}

// Ask answers a Mac that asks for its tokens or items (rules 7). Nothing is written, and one read is made, when nothing
// changes; else changed has what is to be told to the others.
func (r *Reconciler) Ask(ctx context.Context, id string, cause Cause) (a Advertised, changed *Result, err error) {
	now := r.now()
	quiet := false
	err = r.withBook(ctx, func(book Book) error {
		return r.o.Store.ViewMac(ctx, id, func(m *storage.Mac) error {
			rec, err := m.Record()
			switch {
			case err != nil:
				return err
			case rec == nil || !rec.Facts.Enrolled:
				return NotEnrolled(id)
			case rec.Book > book.Revision:
				return oldBook(rec.Book)
			}
			a, quiet = Answered(rec, r.o.Memory(storage.DeviceID(id)), cause, book, now)
			return nil
		})
	})
	if err != nil || quiet {
		return a, nil, err
	}
	if changed, err = r.Change(ctx, id, cause); err != nil {
		return a, nil, err
	}
	return changed.Advertised(), changed, nil
}
