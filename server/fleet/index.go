package fleet

import (
	"cmp"
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"plimsoll/status"
	"plimsoll/status/compliance"
	"plimsoll/storage"
)

// index is every Mac's record in memory: lists and counts are answered from it. Records are held encoded, as they stand in the database: that
// takes a third of the memory, and the garbage collector has nothing to look through.
type index struct {
	mu       sync.RWMutex
	position map[string]int32 // in rows, by id
	rows     []row
	free     []int32           // rows that are not used
	order    []int32           // the rows by serial number, then id
	shared   map[string]string // strings that many Macs share
	names    []string          // policy names and versions, by the numbers that rows have for them
	numbers  map[string]uint32
	enough   int // how many names there may be before those that no row has are dropped
	// last is the highest number seen of each shard, revisions the revision at which that was.
	last      [storage.Shards]uint64
	revisions [storage.Shards]uint64
}

// row is a Mac in memory: what counting and filtering need side by side, so that 100,000 are looked through in a millisecond.
type row struct {
	moments         compliance.Moments
	contact         int64  // last contact known on this replica; times are seconds since 1970, 0: none
	deadline        int64  // on the wall; 0: none
	next            int64  // when the plan can change by time alone
	looked          int64  // when the Mac was last judged
	raised          int64  // when the server itself last raised the generation
	tell            int64  // when what the Mac was told is not outstanding any more; 0: nothing is
	revision        int64  // of the record
	prefix          uint64 // the beginning of the id, for comparing without looking at it
	policy, version uint32
	life            int32
	enrolled        bool
	pending         bool // a target is declared, and nothing failed
	compliant       bool
	codeStale       bool
	codeUntil       int64  // until when code is the most decisive reason, if the catalogue is as stale as codeStale says
	code            string // empty: none
	id, serial      string
	name, model     string
	data            []byte // the encoded record; nil: the row is not used
}

// record decodes the Mac's record. What is in the index was encoded here, so that it can be decoded.
func (r *row) record() *storage.Record {
	rec, err := storage.DecodeRecord(r.data)
	if err != nil {
		return &storage.Record{Facts: status.Facts{ID: r.id}}
	}
	return rec
}

type orderKey struct{ serial, id string }

func (a orderKey) compare(b orderKey) int {
	return cmp.Or(cmp.Compare(a.serial, b.serial), cmp.Compare(a.id, b.id))
}

func (x *index) init() {
	x.position, x.shared, x.numbers = map[string]int32{}, map[string]string{}, map[string]uint32{}
	x.enough = enoughNames
	x.number("")
}

func (x *index) key(i int32) orderKey {
	return orderKey{x.rows[i].serial, x.rows[i].id}
}

// place is where a Mac stands, or would stand, in the order.
func (x *index) place(key orderKey) (int, bool) {
	return slices.BinarySearchFunc(x.order, key, func(i int32, k orderKey) int { return x.key(i).compare(k) })
}

// get decodes the record of a Mac; nil when it is not known.
func (x *index) get(id string) *storage.Record {
	x.mu.RLock()
	i, ok := x.position[id]
	var r row
	if ok {
		r = x.rows[i]
	}
	x.mu.RUnlock()
	if !ok {
		return nil
	}
	return r.record()
}

// knows tells whether there is such a Mac, and whether it is enrolled.
func (x *index) knows(id string) (known, enrolled bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	i, ok := x.position[id]
	return ok, ok && x.rows[i].enrolled
}

// contact is the last contact of a Mac that is known on this replica; zero when there is none.
func (x *index) contact(id string) time.Time {
	x.mu.RLock()
	defer x.mu.RUnlock()
	i, ok := x.position[id]
	if !ok || x.rows[i].contact == 0 {
		return time.Time{}
	}
	return time.Unix(x.rows[i].contact, 0).UTC()
}

// touch notes a contact, and returns the one before; zero when there was none, or the Mac is not known.
func (x *index) touch(id string, at time.Time) (before time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	i, ok := x.position[id]
	if !ok {
		return time.Time{}
	}
	r := &x.rows[i]
	if r.contact != 0 {
		before = time.Unix(r.contact, 0).UTC()
	}
	r.contact = max(r.contact, at.Unix())
	r.moments.Contact(at)
	r.codeUntil = 0
	return before
}

// behind tells whether the record here is older than the given revision, or missing.
func (x *index) behind(id string, revision int64) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	i, known := x.position[id]
	return !known || x.rows[i].revision < revision
}

// put keeps a record, unless a younger one is there already.
func (x *index) put(rec *storage.Record, data []byte) { x.keep(rec, data, false) }

func (x *index) keep(rec *storage.Record, data []byte, evenOlder bool) {
	fresh := newRow(rec, data)
	x.mu.Lock()
	defer x.mu.Unlock()
	i, known := x.position[fresh.id]
	if known {
		if x.rows[i].revision > fresh.revision && !evenOlder {
			return
		}
		if x.rows[i].serial != fresh.serial {
			x.drop(i)
			known = false
		}
	}
	if known {
		x.set(i, fresh, rec)
		return
	}
	i = x.add(fresh, rec)
	n, _ := x.place(x.key(i))
	x.order = slices.Insert(x.order, n, i)
}

// take is put for a record that was read.
func (x *index) take(rec *storage.Record) error {
	data, err := rec.Encode()
	if err == nil {
		x.put(rec, data)
	}
	return err
}

// replace is take after the database has lost its newest writes: what it has now counts, also when it is older.
func (x *index) replace(rec *storage.Record) error {
	data, err := rec.Encode()
	if err == nil {
		x.keep(rec, data, true)
	}
	return err
}

// newRow is a row for a record and its encoding, but for what depends on the index.
func newRow(rec *storage.Record, data []byte) row {
	f, s := &rec.Facts, &rec.Summary
	r := row{
		moments: s.Moments(f), deadline: int64(s.Deadline), next: seconds(rec.NextAt), looked: seconds(rec.LookedAt), raised: seconds(rec.RaisedAt),
		revision: rec.Revision, life: int32(rec.Life), enrolled: f.Enrolled, pending: s.State == compliance.Pending, compliant: s.State == compliance.Compliant,
		contact: seconds(f.LastContactAt), model: f.Model, data: data,
	}
	// One string holds them all: the fewer there are, the less the garbage collector has to look through.
	texts := f.ID + f.Serial + f.Name
	r.id, r.serial, r.name = texts[:len(f.ID)], texts[len(f.ID):len(f.ID)+len(f.Serial)], texts[len(f.ID)+len(f.Serial):]
	if rec.Told != "" && rec.Told != rec.Manifest {
		r.tell = rec.ToldAt.Add(patience(rec.Tries)).Unix()
	}
	var begin [8]byte
	copy(begin[:], r.id)
	r.prefix = binary.BigEndian.Uint64(begin[:])
	return r
}

func seconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

// add gives a Mac a row of its own.
func (x *index) add(fresh row, rec *storage.Record) int32 {
	i := int32(len(x.rows))
	if n := len(x.free); n > 0 {
		i, x.free = x.free[n-1], x.free[:n-1]
	} else {
		x.rows = append(x.rows, row{})
	}
	x.position[fresh.id] = i
	x.set(i, fresh, rec)
	return i
}

// set fills a row. The time of contact only grows within a life.
func (x *index) set(i int32, fresh row, rec *storage.Record) {
	r := &x.rows[i]
	if r.data != nil {
		fresh.id, fresh.serial = r.id, r.serial // the string that the map has
		if fresh.name == r.name {
			fresh.name = r.name // and this is in it
		}
		if r.life == fresh.life {
			fresh.contact = max(fresh.contact, r.contact)
		}
	}
	x.share(&fresh.model)
	if len(x.names) >= x.enough {
		x.renumber()
	}
	fresh.policy, fresh.version = x.number(rec.Summary.Policy), x.number(string(rec.Facts.Version))
	*r = fresh
	if r.contact != 0 {
		r.moments.Contact(time.Unix(r.contact, 0))
	}
}

// remove forgets a Mac.
func (x *index) remove(id string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if i, ok := x.position[id]; ok {
		x.drop(i)
	}
}

func (x *index) drop(i int32) {
	key := x.key(i)
	if n, found := x.place(key); found {
		x.order = slices.Delete(x.order, n, n+1)
	}
	delete(x.position, key.id)
	x.rows[i] = row{}
	x.free = append(x.free, i)
}

// fill takes many records at once, at the start.
func (x *index) fill(records []*storage.Record) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, rec := range records {
		if rec == nil {
			continue
		}
		if _, known := x.position[rec.Facts.ID]; known {
			continue
		}
		data, err := rec.Encode()
		if err != nil {
			return err
		}
		fresh := newRow(rec, data)
		x.order = append(x.order, x.add(fresh, rec))
	}
	slices.SortFunc(x.order, func(a, b int32) int { return x.key(a).compare(x.key(b)) })
	return nil
}

// enrolled is a snapshot of the enrolled Macs' rows, by id; their records are decoded one at a time, by whoever needs them.
func (x *index) enrolled() []row {
	var rows []row
	x.scan(func(r *row) {
		if r.enrolled {
			rows = append(rows, *r)
		}
	})
	slices.SortFunc(rows, func(a, b row) int { return cmp.Compare(a.id, b.id) })
	return rows
}

// ids are those of all Macs, in no order.
func (x *index) ids() []string {
	var ids []string
	x.scan(func(r *row) { ids = append(ids, r.id) })
	return ids
}

// scan calls fn for every row. fn must be quick and must not keep the row: nothing is written meanwhile.
func (x *index) scan(fn func(*row)) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	for i := range x.rows {
		if x.rows[i].data != nil {
			fn(&x.rows[i])
		}
	}
}

// walk calls fn for the rows by serial number and id, from after the given key on, until fn returns false.
func (x *index) walk(after orderKey, fn func(*row) bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	n, found := x.place(after)
	if found {
		n++
	}
	for ; n < len(x.order); n++ {
		if !fn(&x.rows[x.order[n]]) {
			return
		}
	}
}

// resolve finds the enrollment ids that a device is addressed by: an enrollment id or a serial number.
func (x *index) resolve(idOrSerial string) []string {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if _, ok := x.position[idOrSerial]; ok {
		return []string{idOrSerial}
	}
	if idOrSerial == "" {
		return nil
	}
	var ids []string
	for n, _ := x.place(orderKey{serial: idOrSerial}); n < len(x.order); n++ {
		r := &x.rows[x.order[n]]
		if r.serial != idOrSerial {
			break
		}
		ids = append(ids, r.id)
	}
	return ids
}
