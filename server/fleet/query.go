package fleet

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strings"
	"time"

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
	var found []found
	switch q.Sort {
	case "", "serial":
		f.index.walk(orderKey{after.Text, after.ID}, func(r *row) bool {
			if m.matches(r) {
				found = append(found, hit(sortKey{Text: r.serial, ID: r.id}, r))
			}
			return len(found) <= size
		})
	case "deadline", "last_seen":
		found = f.firstBy(q, after, m, size+1)
	default:
		return Page[Device]{}, &Error{Kind: ErrInvalid, Code: "bad_parameter", Text: fmt.Sprintf("sort must be serial, deadline or last_seen, not %q", q.Sort)}
	}
	p := Page[Device]{Items: make([]Device, 0, min(size, len(found)))}
	for i, r := range found {
		if i == size {
			p.Next = encodeDeviceCursor(q, found[i-1].key)
			break
		}
		p.Items = append(p.Items, f.listed(book, r.row.record(), m.now))
	}
	return p, nil
}

// found is a Mac that a query found, with what it is ordered by.
type found struct {
	key sortKey
	row row
}

func hit(key sortKey, r *row) found { return found{key, *r} }

// firstBy finds the first n Macs after a key, in the order of a number. It keeps at most twice as many, and none that cannot be among them.
func (f *Fleet) firstBy(q DeviceQuery, after sortKey, m *matcher, n int) []found {
	var first []found
	byKey := func(a, b found) int { return a.key.compare(b.key) }
	bound, limit := sortKey{Number: math.MaxInt64}, uint64(math.MaxUint64)
	f.index.scan(func(r *row) {
		number := r.contact
		if q.Sort == "deadline" {
			if number = r.deadline; number == 0 || !r.enrolled {
				number = 1 << 62 // those without a deadline come last
			}
		}
		if number > bound.Number || number == bound.Number && r.prefix > limit || q.Cursor != "" && number < after.Number || !m.matches(r) {
			return
		}
		key := sortKey{Number: number, ID: r.id}
		if key.compare(bound) > 0 || q.Cursor != "" && key.compare(after) <= 0 {
			return
		}
		if first = append(first, hit(key, r)); len(first) > 2*n {
			slices.SortFunc(first, byKey)
			first = first[:n]
			bound, limit = first[n-1].key, first[n-1].row.prefix
		}
	})
	slices.SortFunc(first, byKey)
	return first[:min(n, len(first))]
}

// listed is a Mac as lists show it: from its record alone.
func (f *Fleet) listed(book *current, rec *storage.Record, now time.Time) Device {
	facts := rec.Facts
	facts.LastContactAt = f.lastContact(rec)
	return f.device(book, rec, &rec.Summary, compliance.ReasonsAt(rec.Summary, &facts, now, f.stale(now)), now)
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

type deviceCursor struct {
	Sort string  `json:"s"`
	Key  sortKey `json:"k"`
}

func encodeDeviceCursor(q DeviceQuery, key sortKey) string {
	b, err := json.Marshal(deviceCursor{cmp.Or(q.Sort, "serial"), key})
	if err != nil {
		return ""
	}
	return encodeCursor("devices", string(b))
}

func decodeDeviceCursor(q DeviceQuery) (sortKey, error) {
	if q.Cursor == "" {
		return sortKey{}, nil
	}
	s, err := decodeCursor("devices", q.Cursor)
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
	q        DeviceQuery
	now      time.Time
	unix     int64
	stale    bool
	enrolled bool
	text     string
	group    map[string]bool // members, when a group is asked for
	state    int             // index into compliance.States, -1 for any
	flag     compliance.Flags
	policy   uint32
	version  uint32
	never    bool // what is asked for cannot be
}

func (f *Fleet) matcher(book *current, q DeviceQuery) *matcher {
	now := f.now()
	m := &matcher{q: q, now: now, unix: now.Unix(), stale: f.stale(now), text: strings.ToLower(q.Q), state: -1, enrolled: q.Enrolled == nil || *q.Enrolled}
	if q.Group != "" {
		m.group = map[string]bool{}
		if g := book.stored.Group(q.Group); g != nil {
			for _, d := range g.Devices {
				m.group[d] = true
			}
		}
	}
	if q.State != "" {
		m.state = slices.Index(compliance.States, compliance.State(q.State))
		m.never = m.never || m.state < 0
	}
	if q.Flag != "" {
		i := slices.Index(compliance.FlagNames, q.Flag)
		m.never = m.never || i < 0
		m.flag = 1 << max(0, i)
	}
	number := func(name string) uint32 {
		n, ok := f.index.numberOf(name)
		m.never = m.never || !ok
		return n
	}
	m.policy, m.version = number(q.Policy), number(q.Version)
	return m
}

// matches looks at what rows have side by side first.
func (m *matcher) matches(r *row) bool {
	q := &m.q
	switch {
	case m.never, r.enrolled != m.enrolled,
		q.Policy != "" && r.policy != m.policy,
		q.Version != "" && r.version != m.version,
		m.state >= 0 && (!r.enrolled || r.moments.State(m.unix) != m.state),
		m.flag != 0 && r.moments.Flags(m.unix, m.stale)&m.flag == 0,
		!q.SeenBefore.IsZero() && r.contact >= q.SeenBefore.Unix():
		return false
	}
	switch {
	case q.Model != "" && r.model != q.Model,
		q.Group != "" && !m.group[r.id] && !m.group[r.serial],
		m.text != "" && !strings.Contains(strings.ToLower(r.serial), m.text) && !strings.Contains(strings.ToLower(r.name), m.text):
		return false
	}
	return q.Reason == "" || firstCode(r, m.now, m.stale) == q.Reason
}

// tally counts Macs by state, flag and version.
type tally struct {
	devices  int
	states   [16]int // by the index into compliance.States
	flags    [16]int // by bit
	versions map[uint32]int
}

func (t *tally) add(state int, flags compliance.Flags, version uint32) {
	t.devices++
	t.states[state]++
	for flags != 0 {
		t.flags[bits.TrailingZeros16(uint16(flags))]++
		flags &= flags - 1
	}
	if t.versions == nil {
		t.versions = map[uint32]int{}
	}
	t.versions[version]++
}

func (t *tally) stateCounts() map[string]int {
	m := make(map[string]int, len(compliance.States))
	for i, s := range compliance.States {
		m[string(s)] = t.states[i]
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

// count counts the enrolled Macs, in all and by policy ("" for those that none governs). names are the versions that the tallies' numbers stand for.
func (f *Fleet) count(now time.Time) (all *tally, byPolicy map[string]*tally, names []string) {
	stale, unix := f.stale(now), now.Unix()
	policies := map[uint32]*tally{}
	f.index.scan(func(r *row) {
		if !r.enrolled {
			return
		}
		t := policies[r.policy]
		if t == nil {
			t = &tally{}
			policies[r.policy] = t
		}
		t.add(r.moments.State(unix), r.moments.Flags(unix, stale), r.version)
	})
	f.index.mu.RLock()
	names = f.index.names
	f.index.mu.RUnlock()
	all, byPolicy = &tally{versions: map[uint32]int{}}, make(map[string]*tally, len(policies))
	for n, t := range policies {
		byPolicy[names[n]] = t
		all.devices += t.devices
		for i := range t.states {
			all.states[i] += t.states[i]
			all.flags[i] += t.flags[i]
		}
		for v, k := range t.versions {
			all.versions[v] += k
		}
	}
	return all, byPolicy, names
}

// Compliance is the fleet in numbers, from the in-memory index.
func (f *Fleet) Compliance(context.Context) (Compliance, error) {
	book := f.book.cur.Load()
	now := f.now()
	all, byPolicy, _ := f.count(now)
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

// Ready tells whether the server can do its work. It pings the store, which is a durable write.
func (f *Fleet) Ready(ctx context.Context) Readiness {
	r := Readiness{Ready: true, Store: "ok"}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := f.store.Ping(ctx); err != nil {
		r.Ready, r.Store = false, err.Error()
	}
	r.Catalogue = f.CatalogueReadiness()
	return r
}

// CatalogueReadiness is the catalogue's part of Ready. It does not ask the store.
func (f *Fleet) CatalogueReadiness() ReadinessCatalogue {
	book := f.book.cur.Load()
	state := book.stored.Fetch
	return ReadinessCatalogue{
		Revision: book.Catalog.Revision, Source: book.Catalog.Source, FetchedAt: book.Catalog.FetchedAt, Stale: f.stale(f.now()),
		Refused: state.Refused, RefusedAt: instant(state.RefusedAt), Error: state.Error,
	}
}

// Stats are the numbers for /metrics.
func (f *Fleet) Stats() Stats {
	now := f.now()
	c, err := f.Compliance(context.Background())
	if err != nil {
		f.log.Error("the fleet cannot be counted", "error", err)
	}
	s := Stats{Counters: &f.counters, Compliance: c, DueWithin: map[int]int{1: 0, 7: 0, 30: 0}, CatalogueAge: now.Sub(c.Catalogue.FetchedAt), Leading: f.leading.Load()}
	f.index.scan(func(r *row) {
		if !r.enrolled {
			return
		}
		if r.tell != 0 {
			s.Outstanding++
		}
		overdue := r.moments.OverdueAt()
		if overdue == 0 || now.Unix() >= overdue {
			return
		}
		for days := range s.DueWithin {
			if overdue-now.Unix() <= int64(days)*24*60*60 {
				s.DueWithin[days]++
			}
		}
	})
	return s
}
