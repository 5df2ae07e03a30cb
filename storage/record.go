package storage

import (
	"fmt"
	"slices"
	"time"

	"plimsoll/declarations"
	"plimsoll/declarations/plan"
	"plimsoll/status"
	"plimsoll/status/compliance"
	"plimsoll/storage/wire"
)

// Record is the compact record x of one Mac: everything that planning, lists and counts need. It is written in the same commit as
// what it is derived from. In the database it is JSON with short keys of at most 600 bytes; times are whole seconds there.
type Record struct {
	Facts status.Facts
	// Life counts the Authenticates: it tells one life of an enrollment from the next.
	Life    int
	Lanes   plan.LaneStates
	BackAt  time.Time // the last contact that ended a silence of more than 7 days
	Delayed *plan.Delayed
	Wish    *plan.Wish
	// Exemption and UpdateNow are an admin's (rules 12); nil when there is none. Their reasons and makers are not part of the
	// encoded record: State fills them in.
	Exemption *plan.Exemption
	UpdateNow *plan.UpdateNow

	Generation uint64
	// RaisedAt is when the server itself last raised the generation.
	RaisedAt time.Time

	// Advertised, AdvertisedAt and Book are token, timestamp and book revision of the advertisement.
	Advertised   string
	AdvertisedAt time.Time
	Book         uint64

	// Manifest and ServedAt are token and time of the manifest; empty: never synced in this life.
	Manifest string
	ServedAt time.Time

	// Told is the token that the Mac was told and has not fetched yet; empty: nothing is outstanding.
	Told    string
	ToldAt  time.Time
	Tries   int    // how often it was told Told
	Push    string // why the last push failed, CommandRefused, or empty
	Reports int    // reports accepted in all; numbers the kept ones
	Events  int    // events of the Mac in all, by which it shows when one is missing in the fleet's timeline

	Summary compliance.Summary
	// NextAt is the next instant at which the plan can change by the passing of time; zero: never.
	NextAt time.Time
	// LookedAt is when the Mac was last judged and written.
	LookedAt time.Time
	// NotedAt is when the index shards, and so the other replicas, were last told of the Mac.
	NotedAt time.Time
	// Revision grows with every write of the record, so that of two copies the younger is known.
	Revision int64
}

// PlanningMac is the record as planning sees it. asks: the Mac itself asks.
func (r *Record) PlanningMac(asks bool, selfURL string) *plan.Mac {
	return &plan.Mac{
		Facts: r.Facts, Lanes: r.Lanes, Generation: r.Generation, Asks: asks, BackAt: r.BackAt,
		Delayed: r.Delayed, Wish: r.Wish, Exemption: r.Exemption, UpdateNow: r.UpdateNow, SelfURL: selfURL,
	}
}

// Encode writes the record as it stands in the database. Times lose their fractions of a second.
func (r *Record) Encode() ([]byte, error) {
	f := &r.Facts
	c := clock{r.LookedAt.Truncate(time.Second)}
	w := wire.Record{
		ID: f.ID, UDID: f.UDID, Serial: f.Serial, Name: f.Name, Model: f.Model, ModelName: f.ModelName, Board: f.Board,
		BoardFrom: f.BoardFrom, Version: f.Version, Build: f.Build, SupBuild: f.SupplementalBuild, Letter: f.Letter,
		Bits: bit(f.Capabilities.Known, 1) | bit(f.Capabilities.Enforcement, 2) | bit(f.Capabilities.Settings, 4) |
			bit(f.BootstrapToken, 8) | bit(f.Enrolled, 16) | bit(f.UDID == "", 32) |
			truth(f.AppleSilicon, 64, 128) | truth(f.Supervised, 256, 512) |
			bit(f.Contradicted, 1024) | bit(f.TokenUnknown, 65536) |
			bit(f.Conflict, 131072),
		Items: f.Capabilities.Items, Enrolled: c.put(f.EnrolledAt), Contact: c.put(f.LastContactAt), Reported: c.put(f.LastReportAt),
		Life: r.Life, Back: c.put(r.BackAt), Delayed: r.Delayed, Wish: r.Wish, Gen: r.Generation, Raised: c.put(r.RaisedAt),
		Adv: r.Advertised, AdvAt: c.put(r.AdvertisedAt), Book: r.Book, Man: same(r.Manifest, r.Advertised), ManAt: c.put(r.ServedAt),
		Told: same(r.Told, r.Advertised), ToldAt: c.put(r.ToldAt), Tries: r.Tries, Push: r.Push, Reports: r.Reports, Events: r.Events,
		Sum: putSummary(c, &r.Summary), Next: c.put(r.NextAt), Looked: clock{}.put(r.LookedAt), Noted: c.put(r.NotedAt),
		Family: f.Family, IDEnds: c.put(f.IdentityEnds), IDChanged: c.put(f.IdentityChangedAt), RefusedAt: c.put(f.RefusedAt),
		Refused: f.Refused, CA: f.IdentityCA, Topic: f.Topic, Revision: max(0, r.Revision-epoch*1000),
	}
	if w.UDID == w.ID {
		w.UDID = ""
	}
	for l, s := range r.Lanes {
		if s != (plan.LaneState{}) {
			w.Lanes = append(w.Lanes, wire.Lane{
				Lane: plan.Lane(l), Since: c.put(s.Since), Target: s.Target, Promise: putLocal(s.Promise, r.Summary.Deadline),
				Served: putLocal(s.Served, r.Summary.Deadline), Bits: bit(s.Renewed, 1) | bit(s.Returned, 2), Told: toldBeside(s),
			})
		}
	}
	putExceptions(&w, c, r)
	b, err := w.Encode()
	if err != nil {
		return nil, fmt.Errorf("encode record of %s: %w", f.ID, err)
	}
	return b, nil
}

func putSummary(c clock, s *compliance.Summary) wire.Summary {
	return wire.Summary{
		State: slices.Index(wireStates, s.State) + 1, Phase: s.Phase, PhaseAt: c.put(s.PhaseAt), StateAt: c.put(s.StateAt),
		Flags: s.Flags, Policy: s.Policy, Kind: s.Kind, Version: s.Version, Build: s.Build, Due: putLocal(s.Due, s.Deadline),
		Deadline: int64(s.Deadline), Overdue: putOverdue(c, s), Past: c.put(s.PastAt), TargetAt: c.put(s.TargetAt),
		ServedAt: c.put(s.ServedAt), Letter: s.Letter, Fails: s.Fails, Gone: s.Withdrawn, Codes: s.Codes,
	}
}

// DecodeRecord reads what Encode writes.
func DecodeRecord(b []byte) (*Record, error) {
	w, err := wire.Decode(b)
	if err != nil {
		return nil, fmt.Errorf("decode record: %w", err)
	}
	c := clock{clock{}.get(w.Looked)}
	deadline := declarations.Local(w.Sum.Deadline)
	r := &Record{
		Facts: status.Facts{
			ID: w.ID, UDID: w.UDID, Serial: w.Serial, Name: w.Name, Model: w.Model, ModelName: w.ModelName, Board: w.Board,
			BoardFrom: w.BoardFrom, Version: w.Version, Build: w.Build, SupplementalBuild: w.SupBuild, Letter: w.Letter,
			Capabilities: status.Capabilities{
				Known: w.Bits&1 != 0, Enforcement: w.Bits&2 != 0, Settings: w.Bits&4 != 0, Items: w.Items,
			},
			AppleSilicon: truthOf(w.Bits, 64, 128), Supervised: truthOf(w.Bits, 256, 512),
			BootstrapToken: w.Bits&8 != 0, Enrolled: w.Bits&16 != 0,
			EnrolledAt: c.get(w.Enrolled), LastContactAt: c.get(w.Contact), LastReportAt: c.get(w.Reported),
			Family: w.Family, IdentityEnds: c.get(w.IDEnds), IdentityChangedAt: c.get(w.IDChanged),
			RefusedAt: c.get(w.RefusedAt), Refused: w.Refused, Contradicted: w.Bits&1024 != 0,
			TokenUnknown: w.Bits&65536 != 0, Conflict: w.Bits&131072 != 0,
			IdentityCA: w.CA, Topic: w.Topic,
		},
		Life: w.Life, BackAt: c.get(w.Back), Delayed: w.Delayed, Wish: w.Wish, Generation: w.Gen, RaisedAt: c.get(w.Raised),
		Advertised: w.Adv, AdvertisedAt: c.get(w.AdvAt), Book: w.Book, Manifest: unsame(w.Man, w.Adv), ServedAt: c.get(w.ManAt),
		Told: unsame(w.Told, w.Adv), ToldAt: c.get(w.ToldAt), Tries: w.Tries, Push: w.Push, Reports: w.Reports, Events: w.Events,
		Summary: getSummary(c, &w.Sum), NextAt: c.get(w.Next), LookedAt: c.looked, NotedAt: c.get(w.Noted),
		Revision: w.Revision + epoch*1000,
	}
	getExceptions(&w, c, r)
	if w.UDID == "" && w.Bits&32 == 0 {
		r.Facts.UDID = w.ID
	}
	for _, l := range w.Lanes {
		if l.Lane < 0 || int(l.Lane) >= len(r.Lanes) {
			continue
		}
		r.Lanes[l.Lane] = plan.LaneState{
			Since: c.get(l.Since), Target: l.Target, Promise: getLocal(l.Promise, deadline), Served: getLocal(l.Served, deadline),
			Renewed: l.Bits&1 != 0, Returned: l.Bits&2 != 0, Told: toldOf(l),
		}
	}
	return r, nil
}

func getSummary(c clock, w *wire.Summary) compliance.Summary {
	deadline := declarations.Local(w.Deadline)
	s := compliance.Summary{
		Phase: w.Phase, PhaseAt: c.get(w.PhaseAt), StateAt: c.get(w.StateAt), Flags: w.Flags, Policy: w.Policy, Kind: w.Kind,
		Version: w.Version, Build: w.Build, Due: getLocal(w.Due, deadline), Deadline: deadline,
		OverdueAt: getOverdue(c, w.Overdue, deadline), PastAt: c.get(w.Past), TargetAt: c.get(w.TargetAt),
		ServedAt: c.get(w.ServedAt), Letter: w.Letter, Fails: w.Fails, Withdrawn: w.Gone, Codes: w.Codes,
	}
	if w.State > 0 && w.State <= len(wireStates) {
		s.State = wireStates[w.State-1]
	}
	return s
}

// Same tells whether two records say the same, times compared as the database keeps them (whole seconds), LookedAt and Revision
// aside: these say when a record was written, not what of.
func (r *Record) Same(o *Record) bool {
	f, g := r.Facts, o.Facts
	for _, facts := range []*status.Facts{&f, &g} {
		facts.EnrolledAt, facts.LastContactAt, facts.LastReportAt = time.Time{}, time.Time{}, time.Time{}
		facts.IdentityEnds, facts.IdentityChangedAt, facts.RefusedAt = time.Time{}, time.Time{}, time.Time{}
	}
	if f != g || !sameTimes(
		r.Facts.EnrolledAt, o.Facts.EnrolledAt, r.Facts.LastContactAt, o.Facts.LastContactAt,
		r.Facts.LastReportAt, o.Facts.LastReportAt, r.Facts.IdentityEnds, o.Facts.IdentityEnds,
		r.Facts.IdentityChangedAt, o.Facts.IdentityChangedAt, r.Facts.RefusedAt, o.Facts.RefusedAt,
		r.BackAt, o.BackAt, r.RaisedAt, o.RaisedAt, r.AdvertisedAt, o.AdvertisedAt, r.ServedAt, o.ServedAt,
		r.ToldAt, o.ToldAt, r.NextAt, o.NextAt, r.NotedAt, o.NotedAt,
	) {
		return false
	}
	for i := range r.Lanes {
		a, b := r.Lanes[i], o.Lanes[i]
		if !sameTimes(a.Since, b.Since) {
			return false
		}
		a.Since, b.Since = time.Time{}, time.Time{}
		if a != b {
			return false
		}
	}
	return r.Life == o.Life && r.Generation == o.Generation && r.Advertised == o.Advertised && r.Book == o.Book &&
		r.Manifest == o.Manifest && r.Told == o.Told && r.Tries == o.Tries && r.Push == o.Push && r.Reports == o.Reports &&
		r.Events == o.Events && sameDelayed(r.Delayed, o.Delayed) && sameWish(r.Wish, o.Wish) && sameExceptions(r, o) &&
		sameSummary(&r.Summary, &o.Summary)
}

func sameSummary(a, b *compliance.Summary) bool {
	return sameTimes(a.PhaseAt, b.PhaseAt, a.StateAt, b.StateAt, a.OverdueAt, b.OverdueAt, a.PastAt, b.PastAt,
		a.TargetAt, b.TargetAt, a.ServedAt, b.ServedAt) &&
		a.State == b.State && a.Phase == b.Phase && a.Flags == b.Flags && a.Policy == b.Policy && a.Kind == b.Kind &&
		a.Version == b.Version && a.Letter == b.Letter && a.Build == b.Build && a.Due == b.Due && a.Deadline == b.Deadline &&
		a.Fails == b.Fails && a.Withdrawn == b.Withdrawn && slices.Equal(a.Codes, b.Codes)
}

func sameDelayed(a, b *plan.Delayed) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Lane == b.Lane && a.Since.Equal(b.Since) && a.Until == b.Until && a.Hours == b.Hours
}

func sameWish(a, b *plan.Wish) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Major == b.Major && a.At.Equal(b.At)
}

// sameTimes compares times in pairs.
func sameTimes(pairs ...time.Time) bool {
	for i := 0; i < len(pairs); i += 2 {
		if a, b := pairs[i], pairs[i+1]; a.IsZero() != b.IsZero() || a.Unix() != b.Unix() {
			return false
		}
	}
	return true
}
