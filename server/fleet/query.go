package fleet

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"plimsoll/declarations/plan"
	"plimsoll/declarations/policy"
	"plimsoll/server/fleet/answer"
	"plimsoll/server/fleet/book"
	"plimsoll/server/fleet/inventory"
	"plimsoll/status/compliance"
	"plimsoll/storage"
)

// Devices answers a filtered, ordered page of Macs from the in-memory index. Its cursor names the last row by what it is
// ordered by and its id, so pages neither repeat nor skip a Mac that stays as it is while the fleet changes.
func (f *Fleet) Devices(ctx context.Context, q DeviceQuery) (Page[Device], error) {
	after, err := decodeDeviceCursor(q)
	if err != nil {
		return Page[Device]{}, err
	}
	sort := cmp.Or(q.Sort, inventory.BySerial)
	if !slices.Contains([]string{inventory.BySerial, inventory.ByDeadline, inventory.ByLastSeen}, sort) {
		return Page[Device]{}, &Error{
			Kind: ErrInvalid, Code: "bad_parameter",
			Text: fmt.Sprintf("sort must be serial, deadline or last_seen, not %q", sort),
		}
	}
	cur := f.Current()
	now := f.now()
	query := inventory.Query{
		State: q.State, Flag: q.Flag, Policy: q.Policy, Version: q.Version, Model: q.Model, Text: q.Q, Reason: q.Reason,
		SeenBefore: q.SeenBefore,
		Enrolled:   q.Enrolled == nil || *q.Enrolled, InGroup: q.Group != "", Members: membersOf(cur, q.Group), Sort: sort,
		Now: now, Stale: f.catalogue.Stale(now), Where: whereOf(cur, &q, now),
	}
	size := answer.PageSize(q.Limit)
	found := f.index.Find(query, after, size+1)
	p := Page[Device]{Items: make([]Device, 0, min(size, len(found)))}
	if len(found) > size {
		p.Next = encodeDeviceCursor(sort, found[size-1].Key)
		found = found[:size]
	}
	records := make([]*storage.Record, len(found))
	for i := range found {
		records[i] = found[i].Record()
	}
	if err := f.store.TellExceptions(ctx, records); err != nil {
		return Page[Device]{}, fmt.Errorf("read the reasons of exceptions: %w", err)
	}
	for _, rec := range records {
		p.Items = append(p.Items, f.listed(cur, rec, now))
	}
	return p, nil
}

// identityChangedWithin is for how long a certificate counts as changed.
const identityChangedWithin = 30 * 24 * time.Hour

// whereOf asks what only a Mac's record and the book tell; nil when the query asks nothing of the kind.
func whereOf(cur *book.Current, q *DeviceQuery, now time.Time) func(*storage.Record) bool {
	if q.Ring == "" && q.Mechanism == "" && !q.IdentityChanged {
		return nil
	}
	return func(rec *storage.Record) bool {
		facts := &rec.Facts
		by, _ := plan.MechanismOf(facts, rec.Summary.Lane(facts))
		return (q.Ring == "" || facts.Enrolled && cur.RingNameOf(facts) == q.Ring) &&
			(q.Mechanism == "" || facts.Enrolled && string(by) == q.Mechanism) &&
			(!q.IdentityChanged || !facts.IdentityChangedAt.IsZero() && now.Sub(facts.IdentityChangedAt) <= identityChangedWithin)
	}
}

// membersOf are the members of a group, by id or serial number.
func membersOf(cur *book.Current, group string) map[string]bool {
	g := cur.Stored.Group(group)
	if g == nil {
		return nil
	}
	members := make(map[string]bool, len(g.Devices))
	for _, d := range g.Devices {
		members[policy.Member(d)] = true
	}
	return members
}

// listed is a Mac as lists show it: from its record alone.
func (f *Fleet) listed(cur *book.Current, rec *storage.Record, now time.Time) Device {
	facts := rec.Facts
	facts.LastContactAt = f.contacts.Last(rec)
	return f.device(cur, rec, &rec.Summary, compliance.ReasonsAt(rec.Summary, &facts, now, f.catalogue.Stale(now)), now)
}

type deviceCursor struct {
	Sort string        `json:"s"`
	Key  inventory.Key `json:"k"`
}

func encodeDeviceCursor(sort string, key inventory.Key) string {
	b, err := json.Marshal(deviceCursor{sort, key})
	if err != nil {
		return ""
	}
	return answer.EncodeCursor("devices", string(b))
}

// decodeDeviceCursor reads the key of the last row that was given; nil for the beginning.
func decodeDeviceCursor(q DeviceQuery) (*inventory.Key, error) {
	if q.Cursor == "" {
		return nil, nil
	}
	s, err := answer.DecodeCursor("devices", q.Cursor)
	if err != nil {
		return nil, err
	}
	var c deviceCursor
	if err := json.Unmarshal([]byte(s), &c); err != nil || c.Sort != cmp.Or(q.Sort, inventory.BySerial) {
		return nil, answer.BadCursor()
	}
	return &c.Key, nil
}

// Compliance is the fleet in numbers, from the in-memory index.
func (f *Fleet) Compliance(context.Context) (Compliance, error) {
	cur := f.Current()
	now := f.now()
	stale := f.catalogue.Stale(now)
	all, byPolicy := f.index.Count(now, stale)
	c := Compliance{
		AsOf: now, Devices: all.Devices, States: all.States(), Flags: all.Flags(), Policies: []PolicyCount{},
		Catalogue: CatalogueState{Revision: cur.Catalog.Revision, FetchedAt: cur.Catalog.FetchedAt, Stale: f.catalogue.Stale(now)},
	}
	for i := range cur.Stored.Policies {
		p := &cur.Stored.Policies[i]
		t := byPolicy[p.Name]
		if t == nil {
			t = &inventory.Tally{}
		}
		c.Policies = append(c.Policies, PolicyCount{
			Name: p.Name, Label: p.Label, Devices: t.Devices, States: t.States(),
			Flags: t.Flags(),
		})
	}
	stamped := c
	stamped.AsOf = time.Time{}
	c.ETag = answer.ETag(stamped)
	return c, nil
}

// StoreFormat is the number of the store's format.
func (f *Fleet) StoreFormat() int { return f.guard.Record().Format }

// StoreID is made with the store, or by a restore.
func (f *Fleet) StoreID() string { return f.guard.Record().ID }

// Ready tells whether the server can do its work. It pings the store, which is a durable write.
func (f *Fleet) Ready(ctx context.Context) Readiness {
	r := Readiness{Ready: true, Store: "ok", Format: f.StoreFormat()}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	switch err := f.store.Ping(ctx); {
	case errors.Is(err, storage.ErrNoWrites): // reads go on, and taking every replica out would end them too
		r.Store = "takes no writes"
		f.log.Error("the store takes no writes", "error", err)
	case err != nil:
		r.Ready, r.Store = false, err.Error()
	}
	switch lost, other := f.guard.State(); {
	case other != nil:
		r.Ready, r.Store = false, other.Error()
	case !lost.IsZero() && r.Store == "ok":
		r.Store = "was found without what it held at " + lost.Format(time.RFC3339) + "; restore a backup"
	}
	r.Catalogue = f.CatalogueReadiness()
	return r
}

// CatalogueReadiness is the catalogue's part of Ready. It does not ask the store.
func (f *Fleet) CatalogueReadiness() ReadinessCatalogue {
	cur := f.Current()
	state := cur.Stored.Fetch
	return ReadinessCatalogue{
		Revision: cur.Catalog.Revision, Source: cur.Catalog.Source, FetchedAt: cur.Catalog.FetchedAt,
		Stale:   f.catalogue.Stale(f.now()),
		Refused: state.Refused, RefusedAt: instant(state.RefusedAt), Error: state.Error, LeftOut: cur.Catalog.LeftOut,
	}
}

// Stats are the numbers for /metrics.
func (f *Fleet) Stats() Stats {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second) // of the store, which may be slow
	defer cancel()
	now := f.now()
	c, err := f.Compliance(ctx)
	if err != nil {
		f.log.Error("the fleet cannot be counted", "error", err)
	}
	s := Stats{
		Counters: &f.counters, CatalogueSource: f.o.Catalogue.Fetch != nil, Compliance: c, Rings: f.RingCounts(),
		LeftOut:      len(f.Current().Catalog.LeftOut),
		CatalogueAge: now.Sub(c.Catalogue.FetchedAt), Leading: f.lead.Leading(),
	}
	s.Outstanding, s.DueWithin = f.index.Deadlines(now, 1, 7, 30)
	s.Exempt = len(f.index.Exempt(now))
	if s.Pace, err = f.evidence.Pace(ctx); err != nil {
		f.log.Warn("the patch reports cannot be read", "error", err)
	}
	return s
}
