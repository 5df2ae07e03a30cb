package storage

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"

	"plimsoll/declarations/enrolment"
	"plimsoll/status/compliance"
)

// NewEventID is a fresh, time-ordered id for an event.
func NewEventID() string { return uuid.Must(uuid.NewV7()).String() }

// AddEvents keeps events that follow from the change and concern no Mac, in the same commit: PublishFleetEvents brings them
// to the fleet's timeline. published is what that answered last; those up to there are deleted from the book.
func (t *BookTx) AddEvents(events []compliance.Event, published string) error {
	for i := range events {
		if err := setJSON(t.tx, bookEventKey(t.Revision, i), events[i]); err != nil {
			return err
		}
	}
	return each(t.tx, prefixBookEvents, func(e Entry) error {
		if e.Key <= published {
			t.tx.Delete(e.Key)
		}
		return nil
	})
}

// PublishFleetEvents brings the events that stand in the book to the fleet's partition, and from there to their shard. Each
// step is repeated by whoever comes next when a replica dies in between. published names the last one of the book that is
// there; before and after are the shard's counter around it.
func (s *Store) PublishFleetEvents(ctx context.Context) (published string, before, after uint64, err error) {
	if published, err = s.collectFleetEvents(ctx); err != nil {
		return "", 0, 0, fmt.Errorf("collect the fleet's own events: %w", err)
	}
	in, err := s.number(ctx, ShardPartition(FleetShard), keyFleetEvents) // the last that the shard has
	if err != nil {
		return published, 0, 0, err
	}
	var own []Entry
	if err := s.db.View(ctx, FleetPartition, func(r Reader) (err error) {
		own, err = r.List(prefixEvents, fleetEventKey(in), fleetPage)
		return err
	}); err != nil || len(own) == 0 {
		return published, 0, 0, err
	}
	err = s.db.Update(ctx, ShardPartition(FleetShard), func(tx Tx) error {
		n, err := number(tx, keyCounter)
		if err != nil {
			return err
		}
		in, err := number(tx, keyFleetEvents)
		if err != nil {
			return err
		}
		before = n
		for _, e := range own {
			if e.Key <= fleetEventKey(in) { // another replica was faster
				continue
			}
			n++
			tx.Set(fleetEventKey(n), e.Value)
		}
		last, err := strconv.ParseUint(own[len(own)-1].Key[len(prefixEvents):], 16, 64)
		if after = n; err != nil || n == before {
			return err
		}
		setNumber(tx, keyCounter, n)
		setNumber(tx, keyFleetEvents, last)
		return nil
	})
	return published, before, after, err
}

// Told is up to which entry of the audit the timelines know of it.
func (s *Store) Told(ctx context.Context) (uint64, error) {
	return s.number(ctx, FleetPartition, keyTold)
}

// AddFleetEvents keeps events that concern no Mac, and notes up to which entry of the audit the timelines know of it. Nothing is
// kept when they know of that entry already. PublishFleetEvents brings the events to the fleet's timeline.
func (s *Store) AddFleetEvents(ctx context.Context, events []compliance.Event, told uint64) error {
	in, err := s.number(ctx, ShardPartition(FleetShard), keyFleetEvents)
	if err != nil {
		return err
	}
	return s.db.Update(ctx, FleetPartition, func(tx Tx) error {
		known, err := number(tx, keyTold)
		if err != nil || known >= told {
			return err
		}
		setNumber(tx, keyTold, told)
		return appendFleetEvents(tx, in, events...)
	})
}

// appendFleetEvents keeps events in the fleet's partition, under numbers above in, the last that the shard has.
func appendFleetEvents(tx Tx, in uint64, events ...compliance.Event) error {
	n, err := number(tx, keyCounter)
	if err != nil {
		return err
	}
	n = max(n, in)
	for i := range events {
		n++
		if err := setJSON(tx, fleetEventKey(n), events[i]); err != nil {
			return err
		}
	}
	setNumber(tx, keyCounter, n)
	return nil
}

// fleetPage is how many of the fleet's own events are published at once.
const fleetPage = 500

func (s *Store) collectFleetEvents(ctx context.Context) (published string, err error) {
	var pending []Entry
	collected := func(r Reader) error {
		b, err := r.Get(keyFromBook)
		published = string(b)
		return err
	}
	if err := s.db.View(ctx, FleetPartition, collected); err != nil {
		return "", err
	}
	if err := s.db.View(ctx, BookPartition, func(r Reader) (err error) {
		pending, err = r.List(prefixBookEvents, published, fleetPage)
		return err
	}); err != nil || len(pending) == 0 {
		return published, err
	}
	// A database that lost its newest writes may have given numbers that the shard knows already.
	in, err := s.number(ctx, ShardPartition(FleetShard), keyFleetEvents)
	if err != nil {
		return published, err
	}
	err = s.db.Update(ctx, FleetPartition, func(tx Tx) error {
		if err := collected(tx); err != nil {
			return err
		}
		n, err := number(tx, keyCounter)
		if err != nil {
			return err
		}
		n = max(n, in)
		for _, e := range pending {
			if e.Key <= published {
				continue
			}
			n++
			tx.Set(fleetEventKey(n), e.Value)
			published = e.Key
		}
		setNumber(tx, keyCounter, n)
		tx.Set(keyFromBook, []byte(published))
		return nil
	})
	return published, err
}

// CheckEnrolment keeps one decision about a Mac that wants to enrol: what decide makes of when the Mac with that serial number
// was asked before (rules 15), and the event of it. decide may run more than once. PublishFleetEvents brings the event to the
// fleet's timeline.
func (s *Store) CheckEnrolment(
	ctx context.Context, serial string, decide func(before enrolment.Asks) (after enrolment.Asks, event compliance.Event),
) error {
	in, err := s.number(ctx, ShardPartition(FleetShard), keyFleetEvents)
	if err != nil {
		return err
	}
	return s.db.Update(ctx, FleetPartition, func(tx Tx) error {
		var before enrolment.Asks
		b, err := tx.Get(prefixAsked + serial)
		if err != nil {
			return err
		}
		if b != nil && json.Unmarshal(b, &before) != nil {
			before = enrolment.Asks{} // damaged: the Mac is asked once more, no worse
		}
		after, event := decide(before)
		if len(after.At) > len(before.At) || after.Build != before.Build && after.Build != "" {
			if err := setJSON(tx, prefixAsked+serial, after); err != nil {
				return err
			}
		}
		return appendFleetEvents(tx, in, event)
	})
}

// TrimFleet deletes the fleet's own events from before the given time, and what was asked of Macs before they enrolled.
func (s *Store) TrimFleet(ctx context.Context, before time.Time) error {
	if err := s.trimEvents(ctx, FleetPartition, before); err != nil {
		return err
	}
	return s.db.Update(ctx, FleetPartition, func(tx Tx) error {
		return each(tx, prefixAsked, func(e Entry) error {
			var asked enrolment.Asks
			if json.Unmarshal(e.Value, &asked) != nil || len(asked.At) == 0 || asked.At[len(asked.At)-1].Before(before) {
				tx.Delete(e.Key)
			}
			return nil
		})
	})
}
