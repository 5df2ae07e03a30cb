package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"plimsoll/declarations"
	"plimsoll/declarations/plan"
	"plimsoll/declarations/policy"
	"plimsoll/server/fleet/answer"
	"plimsoll/server/fleet/book"
	"plimsoll/server/fleet/reconcile"
	"plimsoll/status"
	"plimsoll/status/compliance"
	"plimsoll/storage"
)

// Device reads one Mac by enrollment id or serial number, planned and judged at request time.
func (f *Fleet) Device(ctx context.Context, idOrSerial string) (Device, error) {
	x, err := f.examine(ctx, idOrSerial, false, nil)
	if err != nil {
		return Device{}, err
	}
	d := f.device(x.cur, x.Record, &x.v.Summary, x.v.Reasons, x.now)
	if i := x.Identity; i != nil && d.Identity != nil {
		d.Identity.Fingerprint, d.Identity.IssuedAt = i.Fingerprint, instant(i.IssuedAt)
	}
	return d, nil
}

// device is a Mac as the API shows it.
func (f *Fleet) device(cur *book.Current, rec *storage.Record, s *compliance.Summary, reasons []policy.Reason,
	now time.Time,
) Device {
	facts := &rec.Facts
	d := Device{
		ID: facts.ID, UDID: facts.UDID, Serial: facts.Serial, Name: facts.Name, Model: facts.Model,
		ModelName: facts.ModelName, Board: facts.Board,
		OS: OS{
			Version: string(facts.Version), Build: facts.Build, SupplementalBuild: facts.SupplementalBuild,
			Letter: facts.Letter,
		},
		Groups: cur.GroupsOf(facts), BootstrapToken: facts.BootstrapToken, Enrolled: facts.Enrolled,
		Phase: string(s.Phase), Reasons: reasons, DueLocal: plan.LocalText(s.Due), DeadlineLocal: plan.LocalText(s.Deadline),
		EnrolledAt: instant(
			facts.EnrolledAt,
		), LastSeenAt: instant(f.contacts.Last(rec)), LastReportAt: instant(facts.LastReportAt),
		Flags: []string{},
	}
	if !facts.IdentityEnds.IsZero() {
		d.Identity = &DeviceIdentity{ExpiresAt: instant(facts.IdentityEnds), ChangedAt: instant(facts.IdentityChangedAt)}
	}
	if !facts.RefusedAt.IsZero() {
		d.Refused = &Refusal{At: facts.RefusedAt.UTC(), Cause: facts.Refused}
	}
	if d.Groups == nil {
		d.Groups = []string{}
	}
	if d.Reasons == nil {
		d.Reasons = []policy.Reason{}
	}
	if !facts.Enrolled {
		d.Reasons, d.Phase, d.DueLocal, d.DeadlineLocal = []policy.Reason{}, "", nil, nil
		return d
	}
	d.State = string(s.StateNow(now))
	d.Exemption, d.UpdateNow = exemptionOf(rec, now), updateOf(rec, now)
	d.OverdueAt = instant(s.OverdueAt)
	seen := *facts
	seen.LastContactAt = f.contacts.Last(rec)
	d.Flags = s.FlagsAt(now, &seen, f.catalogue.Stale(now)).Names()
	if s.Policy != "" {
		name := s.Policy
		d.Policy = &name
	}
	if ring := cur.RingNameOf(facts); ring != "" {
		d.Ring = &ring
	}
	by, _ := plan.MechanismOf(facts, s.Lane(facts))
	d.Mechanism = &by
	if s.Kind != "" {
		d.Target = &plan.Target{Kind: s.Kind, Version: s.Version, Build: s.Build}
	}
	return d
}

// instant is an observed time as the API shows it; nil for none.
func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// Plan explains what a Mac is told, and why.
func (f *Fleet) Plan(ctx context.Context, idOrSerial string) (plan.Explanation, error) {
	x, err := f.examine(ctx, idOrSerial, true, nil)
	if err != nil {
		return plan.Explanation{}, err
	}
	if ring := x.why.Ring; ring != nil {
		for _, build := range ring.Closed {
			ring.Words = append(ring.Words, f.GateWords(x.plan.Policy.Name, build))
		}
	}
	return x.why, nil
}

// Declarations shows the manifest that was served last, or that a Mac held at a time, beside what the Mac reports of each
// declaration.
func (f *Fleet) Declarations(ctx context.Context, idOrSerial string, at time.Time) (ServedManifest, error) {
	id, err := f.resolve(ctx, idOrSerial)
	if err != nil {
		return ServedManifest{}, err
	}
	var out ServedManifest
	err = f.store.ViewMac(ctx, id, func(m *storage.Mac) error {
		out = ServedManifest{Declarations: []ServedDeclaration{}}
		st, err := m.State()
		if err != nil {
			return err
		}
		man := st.Manifest
		if !at.IsZero() {
			if man, err = m.ManifestAt(at); err != nil {
				return err
			}
		}
		if man == nil {
			return nil
		}
		out.DeclarationsToken, out.Timestamp, out.ServedAt = man.DeclarationsToken, instant(man.Timestamp), instant(man.ServedAt)
		tokens := make([]string, len(man.Items))
		for i := range man.Items {
			tokens[i] = man.Items[i].ServerToken
		}
		bodies, err := m.Bodies(tokens)
		if err != nil {
			return err
		}
		reported := st.Status.Declarations()
		for i, item := range man.Items {
			d := ServedDeclaration{
				Kind:        string(item.Kind),
				Identifier:  item.Identifier,
				ServerToken: item.ServerToken,
				Body:        bodies[i],
			}
			if d.Body == nil {
				d.Body = json.RawMessage("null")
			}
			d.Reported = reportedOf(reported, item)
			out.Declarations = append(out.Declarations, d)
		}
		return nil
	})
	return out, err
}

func reportedOf(all []status.DeclarationStatus, item declarations.Item) *Reported {
	for i := range all {
		d := &all[i]
		if d.Identifier != item.Identifier || d.ServerToken != item.ServerToken {
			continue
		}
		reasons, err := json.Marshal(d.Reasons)
		if err != nil || d.Reasons == nil {
			reasons = []byte("[]")
		}
		return &Reported{Active: d.Active, Valid: d.Valid, Reasons: reasons}
	}
	return nil
}

// Status shows the merged status items of a Mac.
func (f *Fleet) Status(ctx context.Context, idOrSerial string) (StatusItems, error) {
	id, err := f.resolve(ctx, idOrSerial)
	if err != nil {
		return StatusItems{}, err
	}
	var out StatusItems
	err = f.store.ViewMac(ctx, id, func(m *storage.Mac) error {
		st, err := m.State()
		if err != nil {
			return err
		}
		out = StatusItems{Items: map[string]json.RawMessage{}}
		for name, v := range st.Status {
			out.Items[name] = v
		}
		if st.Record != nil {
			out.LastReportAt = instant(st.Record.Facts.LastReportAt)
		}
		return nil
	})
	return out, err
}

// DeviceEvents lists the timeline of a Mac, newest first.
func (f *Fleet) DeviceEvents(ctx context.Context, idOrSerial string, limit int, cursor string) (Page[Event], error) {
	id, err := f.resolve(ctx, idOrSerial)
	if err != nil {
		return Page[Event]{}, err
	}
	before, err := answer.DecodeCursor("events of "+id, cursor)
	if err != nil {
		return Page[Event]{}, err
	}
	size := answer.PageSize(limit)
	p := Page[Event]{Items: []Event{}}
	err = f.store.ViewMac(ctx, id, func(m *storage.Mac) error {
		events, err := m.Events(before, size+1)
		if err != nil {
			return err
		}
		p = Page[Event]{Items: events}
		if len(events) > size {
			p.Items = events[:size]
			p.Next = answer.EncodeCursor("events of "+id, events[size-1].ID)
		}
		return nil
	})
	return p, err
}

// Sync raises a Mac's generation, so that it syncs although nothing changed, and tells it now.
func (f *Fleet) Sync(ctx context.Context, idOrSerial string, by Origin) error {
	id, err := f.resolve(ctx, idOrSerial)
	if err != nil {
		return err
	}
	if !f.index.AnyEnrolled([]string{id}) {
		return notEnrolled()
	}
	return f.audit.Do(ctx, by, func() error {
		err := f.change(ctx, id, reconcile.Sync(by.Actor))
		if errors.As(err, new(reconcile.NotEnrolled)) {
			return notEnrolled()
		}
		return err
	}, Act{Action: "device.sync", Object: "device/" + id})
}

// Forget deletes everything that is kept of a Mac, NanoMDM's records too: it is refused until it enrols again.
func (f *Fleet) Forget(ctx context.Context, idOrSerial string, by Origin) error {
	id, err := f.resolve(ctx, idOrSerial)
	if err != nil {
		return err
	}
	act := Act{Action: "device.delete", Object: "device/" + id}
	var serial string
	if rec := f.index.Get(id); rec != nil {
		serial = rec.Facts.Serial
		act.Before = map[string]any{"serial": serial, "name": rec.Facts.Name, "model": rec.Facts.Model}
	}
	if err := f.audit.Do(ctx, by, func() error { return f.forget(ctx, id) }, act); err != nil {
		return err
	}
	f.outbox.Add(id, 0, []Event{{
		ID: storage.NewEventID(), At: f.now(), Type: compliance.EventRemoved, Device: id, Serial: serial,
		Text: by.Actor + " deleted the device", Data: map[string]any{"by": by.Actor},
	}})
	return nil
}

func (f *Fleet) forget(ctx context.Context, id string) error {
	if err := f.o.Notifier.Forget(ctx, id); err != nil {
		return fmt.Errorf("forget NanoMDM's records of %s: %w", id, err)
	}
	if err := f.evidence.Leave(ctx, id); err != nil {
		return fmt.Errorf("keep what %s adds to the patch reports: %w", id, err)
	}
	if err := f.drop(ctx, id); err != nil {
		return fmt.Errorf("forget %s: %w", id, err)
	}
	f.contacts.Forget(id)
	f.pushes.Forget(id)
	f.index.Remove(id)
	return nil
}
