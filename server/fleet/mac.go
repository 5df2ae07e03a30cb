package fleet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"plimsoll/declarations"
	"plimsoll/server/fleet/book"
	"plimsoll/status"
	"plimsoll/storage"
)

// Authenticate begins a new life of a Mac (rules 4): everything but identity is cleared, then what Authenticate carries is taken.
func (f *Fleet) Authenticate(ctx context.Context, id string, c status.CheckIn) error {
	f.contacts.Forget(id)
	f.pushes.Forget(id)
	now := f.now()
	if known, _ := f.index.Knows(id); !known {
		// The entry that the start finds a Mac by is written first: one without a Mac does no harm, a Mac without one would be lost sight of.
		before, after, err := f.store.AddToIndex(ctx, storage.ShardOf(id), []storage.Changed{{ID: id}}, nil)
		if err != nil {
			return fmt.Errorf("enter %s into the index: %w", id, err)
		}
		f.index.Wrote(storage.ShardOf(id), before, after)
	}
	_, err := f.change(ctx, id, settling{now: now, begins: true}, func(m *storage.MacTx, s *settling) (bool, error) {
		s.newLife(id)
		s.Record.Facts = s.Record.Facts.CheckIn(c)
		s.Record.Facts.ID = id
		s.Record.Facts.LastContactAt = now
		return true, m.ClearLife(now)
	})
	if err != nil {
		return fmt.Errorf("begin a new life of %s: %w", id, err)
	}
	return nil
}

// newLife clears what a new life clears. The advertisement's timestamp and the generation only ever grow.
func (s *settling) newLife(id string) {
	var old storage.Record
	if s.Record != nil {
		old = *s.Record
	}
	s.life = true
	s.Record = &storage.Record{
		Facts: old.Facts.NewLife(), Life: old.Life + 1, Generation: old.Generation, RaisedAt: old.RaisedAt,
		AdvertisedAt: old.AdvertisedAt, Book: old.Book, Reports: old.Reports, Events: old.Events, Revision: old.Revision,
	}
	s.Record.Facts.ID = id
	s.Status, s.Manifest = nil, nil
}

// TokenUpdate completes an enrolment: from now on the Mac is told. Later ones, which only bring new push tokens, change nothing.
func (f *Fleet) TokenUpdate(ctx context.Context, id string) error {
	now := f.now()
	_, err := f.change(ctx, id, settling{now: now}, func(m *storage.MacTx, s *settling) (bool, error) {
		if s.Record == nil {
			s.newLife(id)
		}
		if s.Record.Facts.Enrolled {
			if s.Record.Push == "" {
				return false, nil
			}
			// A new push token may work again: what the Mac was told with the old one never reached it.
			s.Record.Push, s.Record.Told = "", ""
			return true, nil
		}
		s.Record.Facts.Enrolled, s.Record.Facts.EnrolledAt = true, now
		if v := s.Record.Facts.Version; v != "" && v.Major() >= 15 {
			return true, nil
		}
		return true, f.ask(m, id, "SoftwareUpdateDeviceID", "OSVersion", "BuildVersion")
	})
	if err != nil {
		return fmt.Errorf("complete the enrolment of %s: %w", id, err)
	}
	return nil
}

func (f *Fleet) ask(m *storage.MacTx, id string, queries ...string) error {
	if err := f.o.Teller.Ask(m.Tx(), id, queries...); err != nil && !errors.Is(err, ErrConflict) && !errors.Is(err, ErrNotFound) { // a full queue is no reason to refuse a Mac's message
		return fmt.Errorf("queue a DeviceInformation command: %w", err)
	}
	return nil
}

// CheckOut ends a Mac's enrolment: it leaves all counts and lists.
func (f *Fleet) CheckOut(ctx context.Context, id string) error {
	now := f.now()
	f.contacts.Forget(id)
	f.pushes.Forget(id)
	_, err := f.change(ctx, id, settling{now: now}, func(m *storage.MacTx, s *settling) (bool, error) {
		if s.Record == nil {
			return false, nil
		}
		s.newLife(id)
		s.Record.Facts.LastContactAt = now
		return true, m.ClearLife(now)
	})
	if err != nil {
		return fmt.Errorf("check out %s: %w", id, err)
	}
	return nil
}

// BootstrapToken notes whether the Mac's bootstrap token is escrowed.
func (f *Fleet) BootstrapToken(ctx context.Context, id string, escrowed bool) error {
	_, err := f.change(ctx, id, settling{now: f.now()}, func(_ *storage.MacTx, s *settling) (bool, error) {
		if s.Record == nil || s.Record.Facts.BootstrapToken == escrowed {
			return false, nil
		}
		s.Record.Facts.BootstrapToken = escrowed
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("note the bootstrap token of %s: %w", id, err)
	}
	return nil
}

// DeviceAnswer takes the answer to a DeviceInformation command: its QueryResponses by name.
func (f *Fleet) DeviceAnswer(ctx context.Context, id string, answers map[string]string) error {
	c := status.CheckIn{
		UDID: answers["UDID"], Serial: answers["SerialNumber"], Name: answers["DeviceName"], Model: answers["ProductName"],
		ModelName: answers["ModelName"], Version: answers["OSVersion"], Build: answers["BuildVersion"],
	}
	_, err := f.change(ctx, id, settling{now: f.now()}, func(_ *storage.MacTx, s *settling) (bool, error) {
		if s.Record == nil {
			return false, nil
		}
		facts := s.Record.Facts.Answer(c)
		facts = facts.BoardAnswer(answers["SoftwareUpdateDeviceID"])
		changed := facts != s.Record.Facts
		s.Record.Facts = facts
		return changed, nil
	})
	if err != nil {
		return fmt.Errorf("take the answer of %s: %w", id, err)
	}
	return nil
}

// advertised is what a Mac would be told now.
type advertised struct {
	token string
	at    time.Time
	items []declarations.Item
}

// advertise plans for a Mac that asks, compares with what was advertised, and keeps the new advertisement if it differs (rules 7).
// With serve it becomes the manifest. Nothing is written, and one read is made, when nothing changes.
func (f *Fleet) advertise(ctx context.Context, id string, serve bool) (advertised, error) {
	var a advertised
	quiet := false
	now := f.now()
	err := f.withBook(ctx, func(cur *book.Current) error {
		return f.store.ViewMac(ctx, id, func(m *storage.Mac) error {
			quiet = false
			rec, err := m.Record()
			switch {
			case err != nil:
				return err
			case rec == nil || !rec.Facts.Enrolled:
				return notEnrolled(id)
			case rec.Book > cur.Revision:
				return oldBook(rec.Book)
			case f.contacts.Back(rec.Facts.ID).After(rec.BackAt):
				return nil
			}
			plan := cur.Plan(rec.PlanningMac(true, cur.SelfURL(rec)), now)
			if plan.Token != rec.Advertised || plan.NextLanes != rec.Lanes {
				return nil
			}
			if serve && (rec.Manifest != rec.Advertised || rec.Told != "" || rec.Lanes.MarkServed(plan) != rec.Lanes) {
				return nil
			}
			quiet = true
			a = advertised{plan.Token, rec.AdvertisedAt, declarations.ItemsOf(plan.Declarations)}
			return nil
		})
	})
	if err != nil || quiet {
		return a, err
	}
	s, err := f.change(ctx, id, settling{now: now, asks: true, serve: serve}, func(_ *storage.MacTx, s *settling) (bool, error) {
		if s.Record == nil || !s.Record.Facts.Enrolled {
			return false, notEnrolled(id)
		}
		return true, nil
	})
	if err != nil {
		return a, err
	}
	return advertised{s.Record.Advertised, s.Record.AdvertisedAt, declarations.ItemsOf(s.plan.Declarations)}, nil
}

func notEnrolled(id string) error { return fmt.Errorf("%s is not enrolled: %w", id, ErrForbidden) }

// Tokens answers the tokens endpoint: Apple's TokensResponse as JSON.
func (f *Fleet) Tokens(ctx context.Context, id string) ([]byte, error) {
	a, err := f.advertise(ctx, id, false)
	if err != nil {
		f.counters.MacErrors.Add(1)
		return nil, fmt.Errorf("tokens of %s: %w", id, err)
	}
	f.counters.TokensServed.Add(1)
	return declarations.TokensJSON(a.token, a.at), nil
}

// Items answers the declaration-items endpoint, and keeps what it answers as the Mac's manifest.
func (f *Fleet) Items(ctx context.Context, id string) ([]byte, error) {
	a, err := f.advertise(ctx, id, true)
	if err != nil {
		f.counters.MacErrors.Add(1)
		return nil, fmt.Errorf("declaration items of %s: %w", id, err)
	}
	f.counters.ItemsServed.Add(1)
	return declarations.ItemsJSON(a.items, a.token), nil
}

// Declaration answers for one declaration, from the Mac's manifest and the body kept under its token, never from a fresh plan.
// ErrNotFound is returned only for what is not in the manifest: it makes the Mac drop the declaration.
func (f *Fleet) Declaration(ctx context.Context, id string, kind declarations.Kind, identifier string) ([]byte, error) {
	var body []byte
	err := f.store.ViewMac(ctx, id, func(m *storage.Mac) error {
		man, err := m.Manifest()
		if err != nil {
			return err
		}
		if man == nil {
			switch rec, err := m.Record(); {
			case err != nil:
				return err
			case rec == nil || !rec.Facts.Enrolled:
				return notEnrolled(id)
			}
			// Nothing was served in this life: the Mac syncs from the start; it must not drop anything because of us.
			return fmt.Errorf("%w: no manifest was served yet", ErrUnavailable)
		}
		item, ok := man.Find(kind, identifier)
		if !ok {
			return fmt.Errorf("declaration %s/%s is not in the manifest of %s: %w", kind, identifier, id, ErrNotFound)
		}
		if body = f.bodies.get(item.ServerToken); body != nil {
			return nil
		}
		if body, err = m.Body(item.ServerToken); err != nil {
			return err
		}
		if body == nil {
			return fmt.Errorf("%w: the body of declaration %s/%s of %s is not kept", ErrUnavailable, kind, identifier, id)
		}
		f.bodies.put(item.ServerToken, body)
		return nil
	})
	if err != nil {
		f.counters.MacErrors.Add(1)
		return nil, err
	}
	f.counters.DeclarationsServed.Add(1)
	return body, nil
}
