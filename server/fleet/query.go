package fleet

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"plimsoll/declarations/policy"
	"plimsoll/status/compliance"
	"plimsoll/storage"
)

// Devices answers a filtered, ordered page of Macs from the in-memory index. Its cursor names the last row by what it is ordered by and its
// id, so pages neither repeat nor skip a Mac that stays as it is while the fleet changes.
func (f *Fleet) Devices(_ context.Context, q DeviceQuery) (Page[Device], error) {
	after, err := decodeDeviceCursor(q)
	if err != nil {
		return Page[Device]{}, err
	}
	book := f.book.cur.Load()
	m := f.matcher(book, q)
	size := pageSize(q.Limit)
	var rows []row
	switch q.Sort {
	case "", "serial":
		f.index.walk(orderKey{after.Text, after.ID}, func(rec *storage.Record) bool {
			if m.matches(rec) {
				rows = append(rows, row{sortKey{Text: rec.Facts.Serial, ID: rec.Facts.ID}, rec})
			}
			return len(rows) <= size
		})
	case "deadline", "last_seen":
		for _, rec := range f.index.all() {
			key := f.sortKey(q.Sort, rec)
			if (q.Cursor == "" || key.compare(after) > 0) && m.matches(rec) {
				rows = append(rows, row{key, rec})
			}
		}
		slices.SortFunc(rows, func(a, b row) int { return a.key.compare(b.key) })
	default:
		return Page[Device]{}, &Error{Kind: ErrInvalid, Code: "bad_parameter", Text: fmt.Sprintf("sort must be serial, deadline or last_seen, not %q", q.Sort)}
	}
	p := Page[Device]{Items: make([]Device, 0, min(size, len(rows)))}
	for i, r := range rows {
		if i == size {
			p.Next = encodeDeviceCursor(q, rows[i-1].key)
			break
		}
		p.Items = append(p.Items, f.listed(book, r.rec, m.now))
	}
	return p, nil
}

// listed is a Mac as lists show it: from its record alone.
func (f *Fleet) listed(book *current, rec *storage.Record, now time.Time) Device {
	facts := rec.Facts
	facts.LastContactAt = f.contacts.lastOf(rec)
	return f.device(book, rec, &rec.Summary, compliance.ReasonsAt(rec.Summary, &facts, now, f.stale(now)), now)
}

type row struct {
	key sortKey
	rec *storage.Record
}

// sortKey is what a row is ordered by; Number first, then Text, then ID.
type sortKey struct {
	Number int64  `json:"n,omitempty"`
	Text   string `json:"t,omitempty"`
	ID     string `json:"i"`
}

func (a sortKey) compare(b sortKey) int {
	return cmp.Or(cmp.Compare(a.Number, b.Number), cmp.Compare(a.Text, b.Text), cmp.Compare(a.ID, b.ID))
}

// sortKey orders by deadline, those without one last, or by last contact, the longest ago first.
func (f *Fleet) sortKey(sort string, rec *storage.Record) sortKey {
	n := f.contacts.lastOf(rec).Unix()
	if sort == "deadline" {
		if n = int64(rec.Summary.Deadline); n == 0 || !rec.Facts.Enrolled {
			n = 1 << 62
		}
	}
	return sortKey{Number: n, ID: rec.Facts.ID}
}

type deviceCursor struct {
	Sort string  `json:"s"`
	Key  sortKey `json:"k"`
}

func encodeDeviceCursor(q DeviceQuery, key sortKey) string {
	b, err := json.Marshal(deviceCursor{cmp.Or(q.Sort, "serial"), key})
	if err != nil {
		return ""
	}
	return encodeCursor(string(b))
}

func decodeDeviceCursor(q DeviceQuery) (sortKey, error) {
	if q.Cursor == "" {
		return sortKey{}, nil
	}
	s, err := decodeCursor(q.Cursor)
	if err != nil {
		return sortKey{}, err
	}
	var c deviceCursor
	if err := json.Unmarshal([]byte(s), &c); err != nil || c.Sort != cmp.Or(q.Sort, "serial") {
		return sortKey{}, badCursor()
	}
	return c.Key, nil
}

// matcher is a DeviceQuery made ready.
type matcher struct {
	f     *Fleet
	book  *current
	q     DeviceQuery
	now   time.Time
	stale bool
	text  string
	group map[string]bool // members, when a group is asked for
}

func (f *Fleet) matcher(book *current, q DeviceQuery) *matcher {
	m := &matcher{f: f, book: book, q: q, now: f.now(), text: strings.ToLower(q.Q)}
	m.stale = f.stale(m.now)
	if q.Group != "" {
		m.group = map[string]bool{}
		if g := book.stored.Group(q.Group); g != nil {
			for _, d := range g.Devices {
				m.group[d] = true
			}
		}
	}
	return m
}

func (m *matcher) matches(rec *storage.Record) bool {
	q, facts, s := &m.q, &rec.Facts, &rec.Summary
	if want := q.Enrolled == nil || *q.Enrolled; facts.Enrolled != want {
		return false
	}
	switch {
	case q.Policy != "" && s.Policy != q.Policy,
		q.Version != "" && string(facts.Version) != q.Version,
		q.Model != "" && facts.Model != q.Model,
		q.Group != "" && !m.group[facts.ID] && !m.group[facts.Serial],
		q.State != "" && (!facts.Enrolled || string(s.StateNow(m.now)) != q.State),
		!q.SeenBefore.IsZero() && !m.f.contacts.lastOf(rec).Before(q.SeenBefore):
		return false
	}
	if m.text != "" && !strings.Contains(strings.ToLower(facts.Serial), m.text) && !strings.Contains(strings.ToLower(facts.Name), m.text) {
		return false
	}
	if q.Flag != "" && !slices.Contains(m.f.flags(rec, m.now, m.stale).Names(), q.Flag) {
		return false
	}
	return q.Reason == "" || m.f.firstReason(rec, m.now, m.stale).Code == q.Reason
}

// firstReason is the most decisive reason of a Mac; the zero value when it has none.
func (f *Fleet) firstReason(rec *storage.Record, now time.Time, stale bool) policy.Reason {
	facts := rec.Facts
	facts.LastContactAt = f.contacts.lastOf(rec)
	if reasons := compliance.ReasonsAt(rec.Summary, &facts, now, stale); len(reasons) > 0 {
		return reasons[0]
	}
	return policy.Reason{}
}

func (f *Fleet) flags(rec *storage.Record, now time.Time, stale bool) compliance.Flags {
	facts := rec.Facts
	facts.LastContactAt = f.contacts.lastOf(rec)
	return rec.Summary.FlagsAt(now, &facts, stale)
}

// tally counts Macs by state and flag.
type tally struct {
	devices  int
	states   map[compliance.State]int
	flags    [16]int
	versions map[string]int
}

func (t *tally) add(state compliance.State, flags compliance.Flags) {
	if t.states == nil {
		t.states = make(map[compliance.State]int, len(compliance.States))
	}
	t.devices++
	t.states[state]++
	for i := range compliance.FlagNames {
		if flags&(1<<i) != 0 {
			t.flags[i]++
		}
	}
}

func (t *tally) stateCounts() map[string]int {
	m := make(map[string]int, len(compliance.States))
	for _, s := range compliance.States {
		m[string(s)] = t.states[s]
	}
	return m
}

func (t *tally) flagCounts() map[string]int {
	m := make(map[string]int, len(compliance.FlagNames))
	for i, name := range compliance.FlagNames {
		m[name] = t.flags[i]
	}
	return m
}

// count counts the enrolled Macs, in all and by policy. Macs that no policy governs are counted under "" only.
func (f *Fleet) count(now time.Time) (all *tally, byPolicy map[string]*tally) {
	all, byPolicy = &tally{versions: map[string]int{}}, map[string]*tally{}
	stale := f.stale(now)
	for _, rec := range f.index.all() {
		if !rec.Facts.Enrolled {
			continue
		}
		state, flags := rec.Summary.StateNow(now), f.flags(rec, now, stale)
		all.add(state, flags)
		all.versions[string(rec.Facts.Version)]++
		p := byPolicy[rec.Summary.Policy]
		if p == nil {
			p = &tally{versions: map[string]int{}}
			byPolicy[rec.Summary.Policy] = p
		}
		p.add(state, flags)
		p.versions[string(rec.Facts.Version)]++
	}
	return all, byPolicy
}

// Compliance is the fleet in numbers, from the in-memory index.
func (f *Fleet) Compliance(context.Context) (Compliance, error) {
	book := f.book.cur.Load()
	now := f.now()
	all, byPolicy := f.count(now)
	c := Compliance{
		AsOf: now, Devices: all.devices, States: all.stateCounts(), Flags: all.flagCounts(), Policies: []PolicyCount{},
		Catalogue: CatalogueState{Revision: book.Catalog.Revision, FetchedAt: book.Catalog.FetchedAt, Stale: f.stale(now)},
	}
	for i := range book.stored.Policies {
		p := &book.stored.Policies[i]
		t := byPolicy[p.Name]
		if t == nil {
			t = &tally{}
		}
		c.Policies = append(c.Policies, PolicyCount{Name: p.Name, Label: p.Label, Devices: t.devices, States: t.stateCounts(), Flags: t.flagCounts()})
	}
	stamped := c
	stamped.AsOf = time.Time{}
	c.ETag = etag(stamped)
	return c, nil
}

// Ready tells whether the server can do its work.
func (f *Fleet) Ready(ctx context.Context) Readiness {
	r := Readiness{Ready: true, Store: "ok"}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := f.store.Ping(ctx); err != nil {
		r.Ready, r.Store = false, err.Error()
	}
	book := f.book.cur.Load()
	state := book.stored.Fetch
	r.Catalogue = ReadinessCatalogue{
		Revision: book.Catalog.Revision, Source: book.Catalog.Source, FetchedAt: book.Catalog.FetchedAt, Stale: f.stale(f.now()),
		Refused: state.Refused, RefusedAt: instant(state.RefusedAt), Error: state.Error,
	}
	return r
}

// Stats are the numbers for /metrics.
func (f *Fleet) Stats() Stats {
	now := f.now()
	c, err := f.Compliance(context.Background())
	if err != nil {
		f.log.Error("the fleet cannot be counted", "error", err)
	}
	s := Stats{Counters: &f.counters, Compliance: c, DueWithin: map[int]int{1: 0, 7: 0, 30: 0}, CatalogueAge: now.Sub(c.Catalogue.FetchedAt)}
	for _, rec := range f.index.all() {
		if !rec.Facts.Enrolled {
			continue
		}
		if rec.Told != "" && rec.Told != rec.Manifest {
			s.Outstanding++
		}
		if rec.Summary.State != compliance.Pending || rec.Summary.OverdueAt.IsZero() || !now.Before(rec.Summary.OverdueAt) {
			continue
		}
		for days := range s.DueWithin {
			if rec.Summary.OverdueAt.Sub(now) <= time.Duration(days)*24*time.Hour {
				s.DueWithin[days]++
			}
		}
	}
	return s
}
