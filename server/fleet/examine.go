package fleet

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"plimsoll/declarations/plan"
	"plimsoll/server/fleet/answer"
	"plimsoll/server/fleet/book"
	"plimsoll/server/fleet/reconcile"
	"plimsoll/status/compliance"
	"plimsoll/storage"
)

// resolve finds the one enrollment id that a device is addressed by. A Mac that enrolled on another replica a moment ago is
// found by its id.
func (f *Fleet) resolve(ctx context.Context, idOrSerial string) (string, error) {
	ids := f.index.Resolve(idOrSerial)
	if len(ids) > 1 { // one that checked out claims nothing any more, unless all did
		if enrolled := slices.DeleteFunc(slices.Clone(ids),
			func(id string) bool { return !f.index.AnyEnrolled([]string{id}) }); len(enrolled) > 0 {
			ids = enrolled
		}
	}
	switch len(ids) {
	case 0:
		records, err := f.store.Records(ctx, []string{idOrSerial})
		if err != nil {
			return "", err
		}
		if records[0] != nil && records[0].Facts.ID == idOrSerial {
			return idOrSerial, nil
		}
		return "", answer.NotFound(fmt.Sprintf("there is no device with the enrollment id or serial number %q", idOrSerial))
	case 1:
		return ids[0], nil
	}
	return "", answer.Conflict("several_devices", fmt.Sprintf(
		"several devices claim the serial number %q; address one by its enrollment id: %s", idOrSerial, strings.Join(ids, ", ")))
}

// examined is a Mac as it stands now, planned and judged at request time, with nothing kept.
type examined struct {
	storage.State
	mac  *plan.Mac
	plan *plan.Plan
	why  plan.Explanation
	v    compliance.Verdict
	cur  *book.Current
	now  time.Time
}

// examine reads a Mac, plans and judges it now. explain asks for the explanation too. more reads what else is wanted in the
// same view.
func (f *Fleet) examine(ctx context.Context, idOrSerial string, explain bool,
	more func(*storage.Mac, *examined) error,
) (*examined, error) {
	id, err := f.resolve(ctx, idOrSerial)
	if err != nil {
		return nil, err
	}
	var x *examined
	err = f.store.ViewMac(ctx, id, func(m *storage.Mac) error {
		st, err := m.State()
		if err != nil {
			return err
		}
		if st.Record == nil {
			return answer.NotFound(fmt.Sprintf("there is no device %q", idOrSerial))
		}
		x = &examined{State: st, now: f.now()}
		if more != nil {
			if err := more(m, x); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if x.cur, err = f.BookFrom(ctx, x.Record.Book); err != nil {
		return nil, err
	}
	f.contacts.Apply(x.Record)
	x.mac = x.Record.PlanningMac(false, x.cur.SelfURL(x.Record))
	if explain {
		x.plan, x.why = x.cur.Explain(x.mac, x.now)
	} else {
		x.plan = x.cur.Plan(x.mac, x.now)
	}
	x.v = compliance.Judge(compliance.Input{
		Mac: x.mac, Plan: x.plan, Index: x.cur.Index, Status: x.Status, Manifest: x.Manifest, Now: x.now, Zone: f.o.Zone,
		Before: x.Record.Summary, Push: x.Record.PushError(), Failure: x.Failure,
		ToldAt: x.Record.OutstandingSince(), CatalogueStale: f.catalogue.Stale(x.now),
		Commands: reconcile.CourseOf(&x.State),
	})
	return x, nil
}
