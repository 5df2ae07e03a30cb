package fleet

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"sync/atomic"

	"plimsoll/declarations/policy"
	"plimsoll/server/fleet/answer"
	"plimsoll/server/fleet/each"
	"plimsoll/server/fleet/reconcile"
	"plimsoll/storage"
	"plimsoll/storage/beside"
)

// Sighting is what another MDM server says of a Mac (rules 16).
type Sighting = reconcile.Sighting

// The kinds of Sighting.
const (
	Contacted     = reconcile.Contacted
	Authenticated = reconcile.Authenticated
	FirstTokens   = reconcile.FirstTokens
	LaterTokens   = reconcile.LaterTokens
	CheckedOut    = reconcile.CheckedOut
	Came          = reconcile.Came
)

// appleID matches the ids of Apple devices: a UUID, 40 hexadecimal digits, or two numbers of 8 and 16 of them
// (00008030-001A2B3C4D5E6F70). Nothing else may name an enrolment: a serial number would shadow the Mac that has it.
var appleID = regexp.MustCompile(
	`^(?i:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{40}|[0-9a-f]{8}-[0-9a-f]{16})$`,
)

// IsDeviceID tells whether id can be the enrollment id of the device channel of an Apple device.
func IsDeviceID(id string) bool { return appleID.MatchString(id) }

// Sighted takes what another MDM server says of a Mac (rules 16). taken is false for what is older than what is known.
func (f *Fleet) Sighted(ctx context.Context, id string, s Sighting) (taken bool, err error) {
	if err := f.enter(ctx, id); err != nil {
		return false, err
	}
	res, err := f.changed(ctx, id, reconcile.Sighted(s))
	if err != nil {
		return false, fmt.Errorf("take what the MDM server says of %s: %w", id, err)
	}
	if res.Dropped {
		return false, nil
	}
	if s.Kind != reconcile.CheckedOut && s.Kind != reconcile.Imported {
		f.Contact(id)
	}
	return true, nil
}

// Came notes that a Mac whose MDM is another server asks for its declarations, or reports. One that is not known begins a life
// with it, also after a CheckOut (rules 16).
func (f *Fleet) Came(ctx context.Context, id string) error {
	if rec := f.index.Get(id); rec != nil && rec.Facts.Enrolled {
		f.Contact(id)
		return nil
	}
	_, err := f.Sighted(ctx, id, Sighting{Kind: reconcile.Came})
	return err
}

// Imports is the answer of an import.
type Imports struct {
	Added int `json:"added"`
	Known int `json:"known"` // enrolled already
}

// Import begins a life of each of the Macs, by enrollment id, that is not enrolled (rules 16).
func (f *Fleet) Import(ctx context.Context, ids []string, by Origin) (Imports, error) {
	var done Imports
	if !f.o.Companion {
		return done, answer.Conflict("not_companion", "this server is the Macs' MDM: they enrol with it")
	}
	var faults []policy.FieldError
	for i, id := range ids {
		if !IsDeviceID(id) {
			faults = append(faults, policy.FieldError{
				Field:  fmt.Sprintf("ids[%d]", i),
				Reason: "must be the enrollment id of a device, such as 564D4F2B-1C5A-4E0A-9B3A-5F2C8D7E6A10",
			})
		}
	}
	if len(faults) > 0 {
		return done, answer.Invalid("some of the ids cannot be those of Macs", faults...)
	}
	unlike := slices.Compact(slices.Sorted(slices.Values(ids)))
	var acts []Act
	var fresh []string
	for _, id := range unlike {
		if !f.index.AnyEnrolled([]string{id}) {
			fresh, acts = append(fresh, id), append(acts, Act{Action: "device.import", Object: "device/" + id})
		}
	}
	var added atomic.Int64
	if len(fresh) > 0 {
		if err := f.audit.Do(ctx, by, func() error { return f.importAll(ctx, fresh, &added) }, acts...); err != nil {
			return done, err
		}
	}
	done.Added = int(added.Load())
	done.Known = len(unlike) - done.Added
	return done, nil
}

func (f *Fleet) importAll(ctx context.Context, ids []string, added *atomic.Int64) error {
	bad := each.Do(ctx, 64, ids, func(id string) error {
		began, err := f.Sighted(ctx, id, Sighting{Kind: reconcile.Imported})
		if began {
			added.Add(1)
		}
		return err
	})
	if len(bad) > 0 {
		return bad[0].Err
	}
	return nil
}

// drop deletes what is kept of a Mac. Of one whose MDM is another server the generation stays: it comes back with its next event,
// and may hold the token that it had.
func (f *Fleet) drop(ctx context.Context, id string) error {
	var generation uint64
	if f.o.Companion {
		if err := f.store.ViewMac(ctx, id, func(m *storage.Mac) error {
			rec, err := m.Record()
			if err == nil && rec != nil {
				generation = rec.Generation
			}
			return err
		}); err != nil {
			return err
		}
	}
	if err := f.store.DropMac(ctx, id); err != nil || generation == 0 {
		return err
	}
	return f.store.UpdateMac(ctx, id, func(m *storage.MacTx) error {
		return beside.SetLife(m.Tx(), beside.Life{Generation: generation})
	})
}

// IsCompanion tells whether another server is the Macs' MDM (rules 16).
func (f *Fleet) IsCompanion() bool { return f.o.Companion }

// MacIDs are the enrollment ids of all Macs that are known on this replica.
func (f *Fleet) MacIDs() []string { return f.index.IDs() }
