package storage

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"plimsoll/status/compliance"
)

// Shard is what an index shard holds of its Macs at one revision.
type Shard struct {
	Revision uint64
	Last     uint64 // the highest number given so far
	IDs      []string
	Members  []Member // of IDs, from Members
}

// Member is a Mac's entry in its shard. In the database it is the two numbers, the second one left out when it is 0.
type Member struct {
	Number uint64 // of the Mac's last change
	Events int    // how many of the Mac's events are in the fleet's timeline, those included that were trimmed
}

func (m Member) encode() []byte {
	b := strconv.AppendUint(nil, m.Number, 10)
	if m.Events > 0 {
		b = strconv.AppendInt(append(b, ' '), int64(m.Events), 10)
	}
	return b
}

// decodeMember reads an entry; a damaged one is as good as none, and is written anew with the Mac's next change.
func decodeMember(b []byte) (m Member) {
	number, events, _ := strings.Cut(string(b), " ")
	m.Number, _ = strconv.ParseUint(number, 10, 64)
	m.Events, _ = strconv.Atoi(events)
	return m
}

// Changed is a Mac of which the shards have to learn.
type Changed struct {
	ID     string
	Events int // of its record; 0: the shard's stays
}

// NumberedEvent is an event of the fleet with its place in its shard.
type NumberedEvent struct {
	Number uint64
	Event  compliance.Event
}

// number reads a decimal number; 0 when there is none.
func number(r Reader, key string) (uint64, error) {
	b, err := r.Get(key)
	if err != nil || b == nil {
		return 0, err
	}
	n, err := strconv.ParseUint(string(b), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("decode the counter %s: %w", key, err)
	}
	return n, nil
}

// number reads a decimal number of a partition; 0 when there is none.
func (s *Store) number(ctx context.Context, partition, key string) (n uint64, err error) {
	err = s.db.View(ctx, partition, func(r Reader) (err error) {
		n, err = number(r, key)
		return err
	})
	return n, err
}

func setNumber(tx Tx, key string, n uint64) { tx.Set(key, strconv.AppendUint(nil, n, 10)) }

// AddToIndex notes in one commit that the Macs changed (all of this shard), and keeps their events in the fleet's timeline. A
// Mac's older entry is deleted, so that whoever lists the changes sees each Mac once. before and after are the shard's counter
// around it.
func (s *Store) AddToIndex(
	ctx context.Context,
	shard int,
	macs []Changed,
	events []compliance.Event,
) (before, after uint64, err error) {
	err = s.db.Update(ctx, ShardPartition(shard), func(tx Tx) error {
		n, err := number(tx, keyCounter)
		if err != nil {
			return err
		}
		before = n
		keys := make([]string, len(macs))
		for i, mac := range macs {
			keys[i] = memberKey(mac.ID)
		}
		old, err := tx.GetMany(keys...)
		if err != nil {
			return err
		}
		for i, mac := range macs {
			n++
			was := decodeMember(old[i])
			if old[i] != nil {
				tx.Delete(changeKey(was.Number))
			}
			tx.Set(keys[i], Member{Number: n, Events: cmp.Or(mac.Events, was.Events)}.encode())
			tx.Set(changeKey(n), []byte(mac.ID))
		}
		for i := range events {
			n++
			if err := setJSON(tx, fleetEventKey(n), events[i]); err != nil {
				return err
			}
		}
		after = n
		setNumber(tx, keyCounter, n)
		return nil
	})
	return before, after, err
}

// Members lists the Macs of a shard, for the start and for repair.
func (s *Store) Members(ctx context.Context, shard int) (Shard, error) {
	var sh Shard
	err := s.db.View(ctx, ShardPartition(shard), func(r Reader) error {
		sh = Shard{}
		if err := each(r, prefixMember, func(e Entry) error {
			sh.IDs = append(sh.IDs, e.Key[len(prefixMember):])
			sh.Members = append(sh.Members, decodeMember(e.Value))
			return nil
		}); err != nil {
			return err
		}
		var err error
		if sh.Last, err = number(r, keyCounter); err != nil {
			return err
		}
		sh.Revision, err = r.Revision()
		return err
	})
	return sh, err
}

// Changes lists the Macs of a shard that changed after the given number.
func (s *Store) Changes(ctx context.Context, shard int, after uint64) (Shard, error) {
	var sh Shard
	err := s.db.View(ctx, ShardPartition(shard), func(r Reader) error {
		sh = Shard{}
		const page = 500
		for from := changeKey(after); ; {
			entries, err := r.List(prefixChange, from, page)
			if err != nil {
				return err
			}
			for _, e := range entries {
				sh.IDs = append(sh.IDs, string(e.Value))
			}
			if len(entries) < page {
				break
			}
			from = entries[len(entries)-1].Key
		}
		var err error
		if sh.Last, err = number(r, keyCounter); err != nil {
			return err
		}
		sh.Revision, err = r.Revision()
		return err
	})
	return sh, err
}

// FleetEvents reads at most limit events of a shard after the given number, oldest first.
func (s *Store) FleetEvents(ctx context.Context, shard int, after uint64, limit int) ([]NumberedEvent, error) {
	var events []NumberedEvent
	err := s.db.View(ctx, ShardPartition(shard), func(r Reader) error {
		events = nil
		entries, err := r.List(prefixEvents, fleetEventKey(after), limit)
		if err != nil {
			return err
		}
		for _, e := range entries {
			n, err := strconv.ParseUint(e.Key[len(prefixEvents):], 16, 64)
			if err != nil {
				return fmt.Errorf("decode %s: %w", e.Key, err)
			}
			var ev compliance.Event
			if err := json.Unmarshal(e.Value, &ev); err != nil {
				return fmt.Errorf("decode %s: %w", e.Key, err)
			}
			events = append(events, NumberedEvent{n, ev})
		}
		return nil
	})
	return events, err
}

// TrimFleetEvents deletes a shard's events from before the given time.
func (s *Store) TrimFleetEvents(ctx context.Context, shard int, before time.Time) error {
	return s.trimEvents(ctx, ShardPartition(shard), before)
}

func (s *Store) trimEvents(ctx context.Context, partition string, before time.Time) error {
	return s.db.Update(ctx, partition, func(tx Tx) error {
		err := each(tx, prefixEvents, func(e Entry) error {
			var ev struct {
				At time.Time `json:"at"`
			}
			if err := json.Unmarshal(e.Value, &ev); err == nil && !ev.At.Before(before) {
				return errStop // ascending: the rest is younger
			}
			tx.Delete(e.Key)
			return nil
		})
		if errors.Is(err, errStop) {
			return nil
		}
		return err
	})
}

// DropFromIndex forgets Macs of a shard that are known no more, by id with the entries that were seen before: who has another
// one now has enrolled meanwhile.
func (s *Store) DropFromIndex(ctx context.Context, shard int, gone map[string]Member) error {
	return s.db.Update(ctx, ShardPartition(shard), func(tx Tx) error {
		for id, seen := range gone {
			b, err := tx.Get(memberKey(id))
			if err != nil {
				return err
			}
			if b == nil || decodeMember(b) != seen {
				continue
			}
			tx.Delete(changeKey(seen.Number))
			tx.Delete(memberKey(id))
		}
		return nil
	})
}

// errStop ends an iteration early.
var errStop = errors.New("stop")
