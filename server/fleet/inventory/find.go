package inventory

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"

	"plimsoll/declarations/policy"
	"plimsoll/status/compliance"
	"plimsoll/storage"
)

// The orders of Find.
const (
	BySerial   = "serial"
	ByDeadline = "deadline"
	ByLastSeen = "last_seen"
)

// Query filters and orders Macs. An empty field asks nothing.
type Query struct {
	State, Flag, Policy, Version, Model string
	Text                                string // in the serial number or the name, whatever their case
	Reason                              string // the code of the most decisive reason
	Members                             map[string]bool
	InGroup                             bool // only Members, by id or serial number as policy.Member has them
	SeenBefore                          time.Time
	Enrolled                            bool
	Sort                                string // BySerial, ByDeadline or ByLastSeen
	// Where asks what only the record tells; nil: nothing. It is called while the index is read, and must not ask it.
	Where func(*storage.Record) bool

	Now   time.Time
	Stale bool // the catalogue is older than it should be
}

// Key is what a Mac is ordered by; Number first, then Text, then ID.
type Key struct {
	Number int64  `json:"n,omitempty"`
	Text   string `json:"t,omitempty"`
	ID     string `json:"i"`
}

func (a Key) compare(b Key) int {
	return cmp.Or(cmp.Compare(a.Number, b.Number), cmp.Compare(a.Text, b.Text), cmp.Compare(a.ID, b.ID))
}

// Found is a Mac that a query found, with what it is ordered by.
type Found struct {
	Key Key
	row row
}

// Record decodes the Mac's record.
func (f *Found) Record() *storage.Record { return f.row.record() }

// Find finds the first n Macs after a key, nil for the beginning. The order stays right while the fleet changes.
func (x *Index) Find(q Query, after *Key, n int) []Found {
	if q.Sort == ByLastSeen && after == nil {
		x.freeze(q.Now)
	}
	m := x.matcher(q)
	if q.Sort != BySerial {
		return x.firstBy(m, after, n)
	}
	var from orderKey
	if after != nil {
		from = orderKey{after.Text, after.ID}
	}
	var found []Found
	x.walk(from, func(r *row) bool {
		if m.matches(r) {
			found = append(found, Found{Key{Text: r.serial, ID: r.id}, *r})
		}
		return len(found) < n
	})
	return found
}

// firstBy finds the first n Macs after a key, in the order of a number. It keeps at most twice as many, and none that
// cannot be among them.
func (x *Index) firstBy(m *matcher, after *Key, n int) []Found {
	var first []Found
	byKey := func(a, b Found) int { return a.Key.compare(b.Key) }
	bound, limit := Key{Number: math.MaxInt64}, uint64(math.MaxUint64)
	x.scan(func(r *row) {
		number := m.number(r)
		if number > bound.Number || number == bound.Number && r.prefix > limit || after != nil && number < after.Number ||
			!m.matches(r) {
			return
		}
		key := Key{Number: number, ID: r.id}
		if key.compare(bound) > 0 || after != nil && key.compare(*after) <= 0 {
			return
		}
		if first = append(first, Found{key, *r}); len(first) > 2*n {
			slices.SortFunc(first, byKey)
			first = first[:n]
			bound, limit = first[n-1].Key, first[n-1].row.prefix
		}
	})
	slices.SortFunc(first, byKey)
	return first[:min(n, len(first))]
}

// matcher is a Query made ready.
type matcher struct {
	q       Query
	unix    int64
	text    string
	state   int // index into compliance.States, -1 for any
	flag    compliance.Flags
	policy  uint32
	version uint32
	never   bool // what is asked for cannot be

	snapshot uint32
}

func (x *Index) matcher(q Query) *matcher {
	m := &matcher{q: q, unix: q.Now.Unix(), text: strings.ToLower(q.Text), state: -1}
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
		n, ok := x.numberOf(name)
		m.never = m.never || !ok
		return n
	}
	m.policy, m.version = number(q.Policy), number(q.Version)
	m.snapshot = x.orderedAt()
	return m
}

// number is what a row is ordered by, unless by serial number.
func (m *matcher) number(r *row) int64 {
	switch {
	case m.q.Sort != ByDeadline:
		return r.lastSeen(m.snapshot)
	case r.deadline == 0 || !r.enrolled:
		return 1 << 62 // those without a deadline come last
	}
	return r.deadline
}

// matches looks at what rows have side by side first.
func (m *matcher) matches(r *row) bool {
	q := &m.q
	switch {
	case m.never, r.enrolled != q.Enrolled,
		q.Policy != "" && r.policy != m.policy,
		q.Version != "" && r.version != m.version,
		m.state >= 0 && (!r.enrolled || r.moments.State(m.unix) != m.state),
		m.flag != 0 && r.moments.Flags(m.unix, q.Stale)&m.flag == 0,
		!q.SeenBefore.IsZero() && r.contact >= q.SeenBefore.Unix():
		return false
	}
	switch {
	case q.Model != "" && r.model != q.Model,
		q.InGroup && !q.Members[policy.Member(r.id)] && !q.Members[policy.Member(r.serial)],
		m.text != "" && !strings.Contains(strings.ToLower(r.serial), m.text) && !strings.Contains(strings.ToLower(r.name), m.text):
		return false
	}
	return (q.Where == nil || q.Where(r.record())) && (q.Reason == "" || firstCode(r, q.Now, q.Stale) == q.Reason)
}
