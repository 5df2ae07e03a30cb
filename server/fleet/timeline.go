package fleet

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"plimsoll/storage"
)

// newEventID is a fresh, time-ordered id for an event.
func newEventID() string { return uuid.Must(uuid.NewV7()).String() }

// The cursor of the fleet's timeline is the position in each of the 64 shards.
type positions [storage.Shards]uint64

func (p positions) encode() string {
	b := []byte{2}
	for _, n := range p {
		b = binary.AppendUvarint(b, n)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

func decodePositions(cursor string) (p positions, err error) {
	if cursor == "" {
		return p, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil || len(b) < 1 || b[0] != 2 {
		return p, badCursor()
	}
	b = b[1:]
	for i := range p {
		n, size := binary.Uvarint(b)
		if size <= 0 {
			return p, badCursor()
		}
		p[i], b = n, b[size:]
	}
	if len(b) > 0 {
		return p, badCursor()
	}
	return p, nil
}

// Events reads the fleet's timeline from a cursor on ("" for the beginning), oldest first. Order holds per Mac; delivery is at least once,
// by event id. Next is always set: it is where to go on.
func (f *Fleet) Events(ctx context.Context, after string, limit int) (Page[Event], error) {
	pos, err := decodePositions(after)
	if err != nil {
		return Page[Event]{}, err
	}
	size := pageSize(limit)
	type placed struct {
		shard int
		storage.NumberedEvent
	}
	partitions := make([]string, storage.Shards)
	for n := range partitions {
		partitions[n] = storage.ShardPartition(n)
	}
	found := make([][]placed, storage.Shards)
	shards := make([]int, storage.Shards)
	for n := range shards {
		shards[n] = n
	}
	// The first failure ends it: a store that is down must not be waited for by each shard in turn.
	reading, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	failed := parallel(reading, 16, shards, func(n int) error {
		events, err := f.store.FleetEvents(reading, n, pos[n], size)
		for _, e := range events {
			found[n] = append(found[n], placed{n, e})
		}
		if err != nil {
			stop(err)
		}
		return err
	})
	if len(failed) > 0 {
		return Page[Event]{}, fmt.Errorf("read the events: %w", context.Cause(reading))
	}
	all := slices.Concat(found...)
	slices.SortStableFunc(all, func(a, b placed) int {
		if a.shard == b.shard {
			return cmp.Compare(a.Number, b.Number)
		}
		return cmp.Or(a.Event.At.Compare(b.Event.At), cmp.Compare(a.Event.ID, b.Event.ID))
	})
	// What is cut off must not stand before what is given in its own shard: give whole prefixes of each shard.
	p := Page[Event]{Items: make([]Event, 0, min(size, len(all)))}
	given := pos
	for _, e := range all {
		if len(p.Items) == size {
			break
		}
		p.Items = append(p.Items, e.Event)
		given[e.shard] = max(given[e.shard], e.Number)
	}
	p.Next = given.encode()
	return p, nil
}

// historyRow is one UTC day as it is kept.
type historyRow struct {
	All      HistoryDay            `json:"all"`
	Policies map[string]HistoryDay `json:"policies"`
}

func historyDay(date string, t *tally, names []string) HistoryDay {
	d := HistoryDay{Date: date, Devices: t.devices, States: t.stateCounts(), Flags: t.flagCounts(), Versions: make(map[string]int, len(t.versions))}
	for v, n := range t.versions {
		d.Versions[names[v]] = n
	}
	return d
}

func (f *Fleet) today(now time.Time) historyRow {
	date := now.Format(time.DateOnly)
	all, byPolicy, names := f.count(now)
	row := historyRow{All: historyDay(date, all, names), Policies: map[string]HistoryDay{}}
	for name, t := range byPolicy {
		if name != "" {
			row.Policies[name] = historyDay(date, t, names)
		}
	}
	return row
}

// History is one row a day, oldest first, today's as it stands now; policyName "" for the whole fleet. Days on which nothing was kept are left out.
func (f *Fleet) History(ctx context.Context, policyName string, days int) ([]HistoryDay, error) {
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
	if !ok && f.book.cur.Load().stored.Policy(policyName) != nil {
		d, ok = historyDay(today, &tally{}, nil), true
	}
	if ok {
		rows = append(rows, d)
	} else if len(rows) == 0 {
		return nil, notFound(fmt.Sprintf("there is no policy named %q, and no history of one", policyName))
	}
	return rows, nil
}
