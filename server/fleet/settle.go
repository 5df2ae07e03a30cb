package fleet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"plimsoll/declarations"
	"plimsoll/declarations/plan"
	"plimsoll/server/fleet/book"
	"plimsoll/status/compliance"
	"plimsoll/storage"
)

// oldBook ends a transaction on a Mac that was advertised to from a newer book than this replica's: from that revision.
type oldBook uint64

func (b oldBook) Error() string {
	return fmt.Sprintf("the Mac was advertised to from book %d", uint64(b))
}

// settling is one change of one Mac: what is known, what changed, and what follows.
type settling struct {
	now time.Time
	// asks: the Mac itself asks (tokens, declaration-items). serve: its answer becomes the manifest. telling: a command is wanted whatever is outstanding.
	asks, serve, telling bool
	// noting: that the Mac was told is noted, whether it could be woken or not; it is not told again for that.
	noting bool

	storage.State // the Mac with the cause applied; Record is a copy
	before        storage.State
	life          bool // a new life begins: merged status and manifest are gone

	// begins: Authenticate begins an enrolment; what there is to tell is told when TokenUpdate completes it.
	begins bool
	events []compliance.Event // of the cause itself

	plan    *plan.Plan
	encoded []byte // the record as it was written
	// push: a command was queued, and the Mac is to be woken.
	push bool
	// note: the other replicas are to learn of the change.
	note bool
	// passed: a boundary in time has passed; that the Mac was looked at is written even if nothing else is.
	passed bool
}

// change reads the Mac, lets cause change it, and settles what follows, in one commit. cause returns false when there is nothing to do.
// It returns the settled state; the index and the other replicas learn of it behind the answer.
func (f *Fleet) change(ctx context.Context, id string, init settling, cause func(*storage.MacTx, *settling) (bool, error)) (*settling, error) {
	// What a Mac sent is kept also when it hangs up, or nobody would know whether it is.
	ctx, cancel := toTheEnd(ctx)
	defer cancel()
	var s *settling
	err := f.withBook(ctx, func(cur *book.Current) (err error) {
		s, err = f.tryChange(ctx, id, cur, init, cause)
		return err
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// toTheEnd is a context that does not end when the caller goes away, but with its deadline.
func toTheEnd(ctx context.Context) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !ok {
		end = time.Now().Add(storage.Timeout)
	}
	return context.WithDeadline(context.WithoutCancel(ctx), end)
}

func eventsOf(rec *storage.Record) int {
	if rec == nil {
		return 0
	}
	return rec.Events
}

// withBook runs fn, a transaction on a Mac, with the book in force, and again with a newer one when fn returns an oldBook.
func (f *Fleet) withBook(ctx context.Context, fn func(*book.Current) error) error {
	for cur := f.Current(); ; {
		err := fn(cur)
		var newer oldBook
		if !errors.As(err, &newer) {
			return err
		}
		f.counters.Stale.Add(1)
		if cur, err = f.BookFrom(ctx, uint64(newer)); err != nil {
			return err
		}
	}
}

func (f *Fleet) tryChange(ctx context.Context, id string, cur *book.Current, init settling, cause func(*storage.MacTx, *settling) (bool, error)) (*settling, error) {
	var s *settling
	var all []compliance.Event
	wrote := false
	err := f.store.UpdateMac(ctx, id, func(m *storage.MacTx) error {
		fresh := init
		s, wrote, all = &fresh, false, nil
		st, err := m.State()
		if err != nil {
			return err
		}
		s.before, s.State = st, st
		if st.Record != nil {
			rec := *st.Record
			s.Record = &rec
			if rec.Book > cur.Revision {
				return oldBook(rec.Book)
			}
		}
		goOn, err := cause(m, s)
		if err != nil || !goOn {
			return err
		}
		all, wrote, err = f.settle(m, cur, s)
		return err
	})
	if err != nil {
		if wrote && errors.Is(err, ErrUnavailable) { // it may be committed all the same
			f.outbox.AddUnknown(id, eventsOf(s.before.Record))
		}
		return nil, err
	}
	if before := s.before.Record; !wrote && before != nil && f.index.IsStale(id, before.Revision) {
		if err := f.index.Take(before); err != nil {
			return nil, err
		}
	}
	if wrote {
		f.index.Put(s.Record, s.encoded)
		f.lookIfOld(s.Record)
		f.contacts.Written(s.Record)
		if s.note {
			f.outbox.Add(id, s.Record.Events, all)
		}
		if len(all) > 0 {
			f.outbox.Feed.Signal()
		}
	}
	if s.push {
		f.pushes.Add(id, s.Record.Advertised)
	}
	return s, nil
}

// settle plans, keeps the advertisement if it differs, judges, tells, and writes what changed.
func (f *Fleet) settle(m *storage.MacTx, cur *book.Current, s *settling) (events []compliance.Event, wrote bool, err error) {
	rec := s.Record
	if !s.life {
		f.contacts.Apply(rec)
	}
	s.plan = cur.Plan(rec.PlanningMac(s.asks, cur.SelfURL(rec)), s.now)
	f.keepAdvertisement(cur, s)
	if s.serve {
		if err := f.serve(m, s); err != nil {
			return nil, false, err
		}
	}
	v := compliance.Judge(f.judging(cur, s))
	rec.Summary = v.Summary
	rec.NextAt = s.plan.NextAt
	if v.AskVersion && rec.Facts.Enrolled {
		if err := f.ask(m, rec.Facts.ID, "OSVersion", "BuildVersion"); err != nil {
			return nil, false, err
		}
	}
	if err := f.tell(m, s); err != nil {
		return nil, false, err
	}

	if events = s.events; !s.begins {
		after := snapshot(s.State, s.now)
		after.Reasons = v.Reasons
		events = append(events, compliance.Events(snapshot(s.before, s.lookedBefore()), after)...)
	}
	if changed := s.before.Record == nil || len(events) > 0 || s.life || !rec.Same(s.before.Record); changed || s.passed {
		rec.LookedAt = s.now
		s.note = changed && (s.before.Record == nil || len(events) > 0 || s.life || s.now.Sub(rec.NotedAt) >= noteEvery || !sameButTimes(s.before.Record, rec))
		if s.note {
			rec.NotedAt = s.now
		}
		rec.Events += len(events)
		rec.Book = cur.Revision // what is written was made from this book: none that is older may replace it (rules 7)
		rec.Revision = max(rec.Revision+1, f.o.Now().UnixMilli())
		if s.encoded, err = m.SetRecord(rec); err != nil {
			return nil, false, err
		}
		wrote = true
	}
	for i := range events {
		events[i].ID = newEventID()
		events[i].At = s.now
		events[i].Device, events[i].Serial = rec.Facts.ID, rec.Facts.Serial
	}
	return events, wrote, m.AddEvents(events)
}

// keepAdvertisement keeps what is planned if it differs from what was advertised (rules 7).
func (f *Fleet) keepAdvertisement(cur *book.Current, s *settling) {
	rec := s.Record
	rec.Lanes = s.plan.NextLanes
	if s.plan.Token == rec.Advertised {
		return
	}
	rec.Advertised = s.plan.Token
	rec.Book = cur.Revision
	rec.AdvertisedAt = declarations.NextTimestamp(rec.AdvertisedAt, s.now)
}

// serve makes the advertisement the manifest.
func (f *Fleet) serve(m *storage.MacTx, s *settling) error {
	rec := s.Record
	rec.Told, rec.ToldAt, rec.Tries = "", time.Time{}, 0
	rec.Lanes = rec.Lanes.MarkServed(s.plan)
	if rec.Manifest == rec.Advertised && s.Manifest != nil {
		return nil
	}
	rec.Manifest, rec.ServedAt = rec.Advertised, s.now
	s.Manifest = &declarations.Manifest{
		DeclarationsToken: rec.Advertised, Timestamp: rec.AdvertisedAt, Items: declarations.ItemsOf(s.plan.Declarations), ServedAt: s.now,
	}
	f.counters.ManifestsKept.Add(1)
	return m.SetManifest(s.Manifest, s.plan.Declarations)
}

// tell queues a command when the Mac holds something else than is planned, and is not told so already (rules 10).
func (f *Fleet) tell(m *storage.MacTx, s *settling) error {
	rec := s.Record
	if s.asks || s.noting || !rec.Facts.Enrolled {
		return nil
	}
	token := rec.Advertised
	// A Mac that holds nothing and is to hold nothing, because its macOS is too old for declarations, is told nothing.
	if token == rec.Manifest || rec.Manifest == "" && len(s.plan.Declarations) == 0 {
		rec.Told, rec.ToldAt, rec.Tries = "", time.Time{}, 0
		return nil
	}
	// Nothing is outstanding any more when the push failed.
	if rec.Told == token && rec.Push == "" && s.now.Before(rec.ToldAt.Add(storage.Patience(rec.Tries))) && !s.telling {
		return nil
	}
	if next, inHand := f.pushes.Pending(rec.Facts.ID); (next == token || inHand == token) && !s.telling {
		return nil
	}
	switch err := f.o.Teller.Queue(m.Tx(), rec.Facts.ID, declarations.TokensJSON(token, rec.AdvertisedAt)); {
	case errors.Is(err, ErrNotFound): // NanoMDM has forgotten the Mac: somebody is deleting it
		return nil
	case errors.Is(err, ErrConflict): // the queue is full: the push lets the Mac take what is in it, and later it is told again
	case err != nil:
		return fmt.Errorf("queue a DeclarativeManagement command: %w", err)
	default:
		f.counters.Commands.Add(1)
	}
	if rec.Told != token {
		rec.Tries = 0
	}
	s.push = true
	if !f.pushes.Possible() {
		rec.Told, rec.ToldAt = token, s.now
		rec.Tries++
	} // else it is noted after the push, so that a crash in between tells the Mac again
	return nil
}

func (f *Fleet) judging(cur *book.Current, s *settling) compliance.Input {
	var before compliance.Summary
	if s.before.Record != nil && !s.life {
		before = s.before.Record.Summary
	}
	return compliance.Input{
		Mac: s.Record.PlanningMac(false, ""), Plan: s.plan, Index: cur.Index, Status: s.Status, Manifest: s.Manifest,
		Now: s.now, Zone: f.o.Zone, Before: before, Push: s.Record.Push, ToldAt: s.Record.OutstandingSince(),
	}
}

// lookedBefore is when the Mac was last looked at: what time alone changed since then makes events too.
func (s *settling) lookedBefore() time.Time {
	if s.before.Record == nil || s.before.Record.LookedAt.IsZero() {
		return s.now
	}
	return s.before.Record.LookedAt
}

// noteEvery is how far the times of contact and report that other replicas know may be behind.
const noteEvery = 6 * time.Hour

// sameButTimes compares records but for the times of contact and report, which every report changes.
func sameButTimes(a, b *storage.Record) bool {
	x, y := *a, *b
	for _, r := range []*storage.Record{&x, &y} {
		r.Facts.LastContactAt, r.Facts.LastReportAt, r.NotedAt, r.Reports = time.Time{}, time.Time{}, time.Time{}, 0
	}
	return x.Same(&y)
}

func snapshot(st storage.State, now time.Time) compliance.Snapshot {
	if st.Record == nil {
		return compliance.Snapshot{Now: now}
	}
	return compliance.Snapshot{Summary: st.Record.Summary, Facts: &st.Record.Facts, Life: st.Record.Life, Token: st.Record.Manifest, Now: now}
}
