package fleet

import (
	"context"
	"time"

	"plimsoll/declarations/release"
	"plimsoll/server/fleet/audit"
	"plimsoll/server/fleet/reconcile"
)

// minKeepAudit is the least time for which the audit is kept (docs/api.md 5.2).
const minKeepAudit = 400 * 24 * time.Hour

// Audit lists the entries of the audit, the newest first (docs/api.md 5.2).
func (f *Fleet) Audit(ctx context.Context, q AuditQuery) (Page[AuditEntry], error) {
	return f.audit.List(ctx, q)
}

// AuditHead tells where the chain of the audit ends.
func (f *Fleet) AuditHead(ctx context.Context) (AuditHead, error) { return f.audit.Head(ctx) }

// AuditOfDay is the last entry of a UTC day, or of one before; nil when there is none, or none is kept any more.
func (f *Fleet) AuditOfDay(ctx context.Context, day release.Day) (*AuditMark, error) {
	return f.audit.Last(ctx, (day + 1).Time())
}

// AuditAfter lists entries of the audit after a number, the oldest first.
func (f *Fleet) AuditAfter(ctx context.Context, n uint64, limit int) ([]AuditEntry, error) {
	return f.audit.After(ctx, n, limit)
}

// Enter writes an entry of each act of what do does, before it is done; when that fails, a second entry says so.
func (f *Fleet) Enter(ctx context.Context, by Origin, do func() error, acts ...Act) error {
	return f.audit.Do(ctx, by, do, acts...)
}

// SubscribeAudit returns a channel that signals that there may be new entries of the audit. It is closed when ctx ends.
func (f *Fleet) SubscribeAudit(ctx context.Context) <-chan struct{} { return f.audit.Subscribe(ctx) }

// tellAudit brings entries of the audit into the timelines. When it fails half way it is called again: an event has the same id
// then.
func (f *Fleet) tellAudit(ctx context.Context, entries []audit.Entry) error {
	var fleet []Event
	for i := range entries {
		event := entries[i].Event()
		switch {
		case event == nil:
		case event.Device == "" || f.index.Get(event.Device) == nil:
			fleet = append(fleet, *event)
		default:
			if err := f.change(ctx, event.Device, reconcile.Audited(*event)); err != nil {
				return err
			}
		}
	}
	if err := f.store.AddFleetEvents(ctx, fleet, entries[len(entries)-1].N); err != nil || len(fleet) == 0 {
		return err
	}
	_, err := f.outbox.PublishFleet(ctx)
	return err
}

// trimAudit deletes what is older than its retention from the audit.
func (f *Fleet) trimAudit(ctx context.Context) error {
	var before time.Time
	if f.o.KeepHistory > 0 {
		before = f.now().Add(-max(f.o.KeepHistory, minKeepAudit))
	}
	return f.audit.Trim(ctx, before)
}
