package fleet

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"plimsoll/server/fleet/answer"
	"plimsoll/server/fleet/inventory"
	"plimsoll/storage"
)

// The cursor of the fleet's timeline is the position in each of the 64 shards.
type positions [storage.Shards]uint64

// eventsList is the list of the events as cursors know it: that of one store. After a restore the numbers are given anew.
func (f *Fleet) eventsList() string { return "events " + f.guard.Record().ID }

// decodePositions reads a cursor. One from before stores had ids is as good as ever until a backup is restored.
func (f *Fleet) decodePositions(cursor string) (positions, error) {
	p, err := decodePositions(f.eventsList(), cursor)
	if err != nil && f.guard.Record().RestoredAt.IsZero() {
		if old, oldErr := decodePositions("events", cursor); oldErr == nil {
			return old, nil
		}
	}
	return p, err
}

func (p *positions) encode(list string) string {
	var b []byte
	for _, n := range p {
		b = binary.AppendUvarint(b, n)
	}
	return answer.EncodeCursor(list, string(b))
}

func decodePositions(list, cursor string) (p positions, err error) {
	if cursor == "" {
		return p, nil
	}
	key, err := answer.DecodeCursor(list, cursor)
	if err != nil {
		return p, err
	}
	b := []byte(key)
	for i := range p {
		n, size := binary.Uvarint(b)
		if size <= 0 {
			return p, answer.BadCursor()
		}
		p[i], b = n, b[size:]
	}
	if len(b) > 0 {
		return p, answer.BadCursor()
	}
	return p, nil
}

// FleetEvent is an event of the fleet's timeline, with the cursor with which to go on after exactly it.
type FleetEvent struct {
	Event
	Cursor string `json:"-"`
}

// Events reads the fleet's timeline from a cursor on ("" for the beginning), oldest first. Order holds per Mac; delivery is
// at least once, by event id. A page is the beginning of any longer one. Next is always set: it is where to go on.
func (f *Fleet) Events(ctx context.Context, after string, limit int) (Page[FleetEvent], error) {
	pos, err := f.decodePositions(after)
	if err != nil {
		return Page[FleetEvent]{}, err
	}
	size := answer.PageSize(limit)
	var found [storage.Shards][]storage.NumberedEvent
	// The first failure ends it: a store that is down must not be waited for by each shard in turn.
	work, reading := errgroup.WithContext(ctx)
	work.SetLimit(16)
	for n := range found {
		work.Go(func() (err error) {
			if err = reading.Err(); err == nil {
				found[n], err = f.store.FleetEvents(reading, n, pos[n], size)
			}
			return err
		})
	}
	if err := work.Wait(); err != nil {
		return Page[FleetEvent]{}, fmt.Errorf("read the events: %w", err)
	}
	p := Page[FleetEvent]{Items: []FleetEvent{}}
	for len(p.Items) < size {
		n, ok := oldest(&found)
		if !ok {
			break
		}
		e := found[n][0]
		found[n], pos[n] = found[n][1:], e.Number
		p.Items = append(p.Items, FleetEvent{Event: e.Event, Cursor: pos.encode(f.eventsList())})
	}
	p.Next = pos.encode(f.eventsList())
	return p, nil
}

// oldest is the shard whose next event comes first. Within a shard the numbers order, whatever the times say: a cursor is a
// number for each, and what it has passed is never given again.
func oldest(next *[storage.Shards][]storage.NumberedEvent) (shard int, ok bool) {
	for n := range next {
		if len(next[n]) == 0 {
			continue
		}
		if !ok {
			shard, ok = n, true
			continue
		}
		a, b := &next[n][0].Event, &next[shard][0].Event
		if cmp.Or(a.At.Compare(b.At), cmp.Compare(a.ID, b.ID)) < 0 {
			shard = n
		}
	}
	return shard, ok
}

// historyRow is one UTC day as it is kept.
type historyRow struct {
	All      HistoryDay            `json:"all"`
	Policies map[string]HistoryDay `json:"policies"`
}

func historyDay(date string, t *inventory.Tally) HistoryDay {
	return HistoryDay{Date: date, Devices: t.Devices, States: t.States(), Flags: t.Flags(), Versions: t.Versions()}
}

func (f *Fleet) today(now time.Time) historyRow {
	date := now.Format(time.DateOnly)
	all, byPolicy := f.index.Count(now, f.catalogue.Stale(now))
	row := historyRow{All: historyDay(date, all), Policies: map[string]HistoryDay{}}
	for name, t := range byPolicy {
		if name != "" {
			row.Policies[name] = historyDay(date, t)
		}
	}
	return row
}

// History is one row a day, oldest first, today's as it stands now; policyName "" for the whole fleet. Days on which
// nothing was kept are left out.
func (f *Fleet) History(ctx context.Context, policyName string, days, limit int, cursor string) (Page[HistoryDay], error) {
	rows, err := f.history(ctx, policyName, days)
	if err != nil {
		return Page[HistoryDay]{}, err
	}
	return answer.List("history of "+policyName, limit, cursor, len(rows), func(i int) string { return rows[i].Date },
		func(i int) HistoryDay { return rows[i] })
}

func (f *Fleet) history(ctx context.Context, policyName string, days int) ([]HistoryDay, error) {
	now := f.now()
	if days <= 0 {
		days = 30
	}
	pick := func(row historyRow) (HistoryDay, bool) {
		if policyName == "" {
			return row.All, true
		}
		d, ok := row.Policies[policyName]
		return d, ok
	}
	rows := []HistoryDay{}
	today := now.Format(time.DateOnly)
	var odd error
	err := f.store.Days(ctx, now.AddDate(0, 0, 1-days).Format(time.DateOnly), func(date string, b []byte) {
		var row historyRow
		if err := json.Unmarshal(b, &row); err != nil {
			odd = fmt.Errorf("decode the history of %s: %w", date, err)
			return
		}
		if d, ok := pick(row); ok && date < today {
			rows = append(rows, d)
		}
	})
	if err == nil {
		err = odd
	}
	if err != nil {
		return nil, err
	}
	d, ok := pick(f.today(now))
	if !ok && f.Current().Stored.Policy(policyName) != nil {
		d, ok = historyDay(today, &inventory.Tally{}), true
	}
	if ok {
		rows = append(rows, d)
	} else if len(rows) == 0 {
		return nil, answer.NotFound(fmt.Sprintf("there is no policy named %q, and no history of one", policyName))
	}
	return rows, nil
}

func (f *Fleet) todayJSON(now time.Time) ([]byte, error) { return json.Marshal(f.today(now)) }
