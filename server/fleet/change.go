package fleet

import (
	"context"
	"time"

	"plimsoll/server/fleet/book"
	"plimsoll/server/fleet/reconcile"
)

// change changes a Mac for a cause, and tells the others.
func (f *Fleet) change(ctx context.Context, id string, cause reconcile.Cause) error {
	_, err := f.changed(ctx, id, cause)
	return err
}

// changed is change with what it did.
func (f *Fleet) changed(ctx context.Context, id string, cause reconcile.Cause) (*reconcile.Result, error) {
	res, err := f.reconciler.Change(ctx, id, cause)
	if err == nil {
		err = f.learned(id, res)
	}
	return res, err
}

// look reconciles a Mac without any cause but the passing of time, or a change of the book.
func (f *Fleet) look(ctx context.Context, id string) error {
	return f.change(ctx, id, reconcile.Look())
}

// learned tells the others of a change of a Mac that was made, in this order: this replica's index, the sweep, the
// contacts, the other replicas, the streams, and the Mac.
func (f *Fleet) learned(id string, res *reconcile.Result) error {
	before := res.Before.Record
	if res.Encoded == nil {
		switch {
		case before == nil && (res.Kind == reconcile.Looking || res.Kind == reconcile.AtBoundary): // the index told of this Mac
			f.index.Remove(id)
			f.contacts.Forget(id)
		case before != nil && f.index.IsStale(id, before.Revision):
			if err := f.index.Take(before); err != nil {
				return err
			}
		}
	} else {
		f.index.Put(res.Record, res.Encoded)
		f.lead.RequeueIfOld(res.Record)
		f.contacts.Written(res.Record)
		if res.Share {
			f.outbox.Add(id, res.Record.Events, res.Events)
		}
		if len(res.Events) > 0 {
			f.outbox.Feed.Signal()
		}
	}
	if f.o.Queued != nil && (res.Notify || len(res.Queries) > 0 || res.Orders.Queue != nil) {
		f.o.Queued(id)
	}
	// Another server gets its commands after the Mac's own call is over: the Mac is to call again.
	if res.Notify || res.Orders.Push || f.o.Companion && res.Orders.Queue != nil {
		f.pushes.Add(id, res.Record.Advertised)
	}
	return nil
}

// memory is what this replica knows of a Mac beside the database.
func (f *Fleet) memory(id string) reconcile.Memory {
	m := reconcile.Memory{Contact: f.index.Contact(id), Back: f.contacts.Back(id), CanPush: f.pushes.Possible()}
	m.Next, m.InHand = f.pushes.Pending(id)
	return m
}

// desired is the book in force, as a change of a Mac needs it.
func (f *Fleet) desired() reconcile.Book { return f.desiredOf(f.Current()) }

func (f *Fleet) desiredOf(cur *book.Current) reconcile.Book {
	return reconcile.Book{Book: cur.Book, SelfURL: cur.SelfURL, Zone: f.o.Zone, NotBefore: f.notBefore()}
}

func (f *Fleet) desiredFrom(ctx context.Context, revision uint64) (reconcile.Book, error) {
	cur, err := f.BookFrom(ctx, revision)
	if err != nil {
		return reconcile.Book{}, err
	}
	return f.desiredOf(cur), nil
}

// notBefore is the earliest timestamp that is advertised on a store that was restored. Many changes within a second lead to
// timestamps ahead of the clock (rules 7), so it is a minute after the restore.
func (f *Fleet) notBefore() time.Time {
	if f.guard.Record().RestoredAt.IsZero() {
		return time.Time{}
	}
	return f.guard.Record().RestoredAt.Add(time.Minute).Truncate(time.Second)
}
