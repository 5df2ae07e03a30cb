// Package inventory holds every Mac's record in memory, and answers lists, counts and what is due from there.
package inventory

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"plimsoll/storage"
)

// Index is every Mac's record in memory: lists and counts are answered from it. Records are held encoded, as they stand in
// the database: that takes a third of the memory, and the garbage collector has nothing to look through.
type Index struct {
	Shards

	mu       sync.RWMutex
	position map[string]int32 // in rows, by id
	rows     []row
	free     []int32           // rows that are not used
	order    []int32           // the rows by serial number, then id
	shared   map[string]string // strings that many Macs share
	names    []string          // policy names and versions, by the numbers that rows have for them
	numbers  map[string]uint32
	enough   int // how many names there may be before those that no row has are dropped

	snapshot   uint32 // counts the moments at which the order by last contact was frozen
	snapshotAt time.Time
}

type orderKey struct{ serial, id string }

func (a orderKey) compare(b orderKey) int {
	return cmp.Or(cmp.Compare(a.serial, b.serial), cmp.Compare(a.id, b.id))
}

// New makes an empty Index.
func New() *Index {
	x := &Index{position: map[string]int32{}, shared: map[string]string{}, numbers: map[string]uint32{}, enough: enoughNames}
	x.number("")
	return x
}

func (x *Index) key(i int32) orderKey {
	return orderKey{x.rows[i].serial, x.rows[i].id}
}

// place is where a Mac stands, or would stand, in the order.
func (x *Index) place(key orderKey) (int, bool) {
	return slices.BinarySearchFunc(x.order, key, func(i int32, k orderKey) int { return x.key(i).compare(k) })
}

// Get decodes the record of a Mac; nil when it is not known.
func (x *Index) Get(id string) *storage.Record {
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

// Knows tells whether there is such a Mac, and whether it is enrolled.
func (x *Index) Knows(id string) (known, enrolled bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	i, ok := x.position[id]
	return ok, ok && x.rows[i].enrolled
}

// Contact is the last contact of a Mac that is known on this replica; zero when there is none.
func (x *Index) Contact(id string) time.Time {
	x.mu.RLock()
	defer x.mu.RUnlock()
	i, ok := x.position[id]
	if !ok || x.rows[i].contact == 0 {
		return time.Time{}
	}
	return time.Unix(x.rows[i].contact, 0).UTC()
}

// touch notes a contact, and returns the one before; zero when there was none, or the Mac is not known.
func (x *Index) touch(id string, at time.Time) (before time.Time) {
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
	x.contacted(r, at.Unix())
	r.moments.Contact(at)
	r.codeUntil = 0
	return before
}

// contacted moves a Mac's last contact, and keeps the one before the snapshot.
func (x *Index) contacted(r *row, at int64) {
	if r.snapshot != x.snapshot {
		r.snapshot, r.seen = x.snapshot, r.contact
	}
	r.contact = max(r.contact, at)
}

// lastSnapshot is how long an order by last contact is shared by the listings that begin.
const lastSnapshot = time.Minute

// freeze makes the order by last contact stand still for a listing that begins: Macs go on checking in while it is read page by
// page.
func (x *Index) freeze(now time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if age := now.Sub(x.snapshotAt); x.snapshot == 0 || age >= lastSnapshot || age < 0 {
		x.snapshot++
		x.snapshotAt = now
	}
}

// orderedAt is the number of the present snapshot.
func (x *Index) orderedAt() uint32 {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.snapshot
}

// lastSeen is what a Mac is ordered by: its last contact as of the snapshot. Macs that are new since then come last.
func (r *row) lastSeen(snapshot uint32) int64 {
	switch {
	case r.snapshot != snapshot:
		return r.contact
	case r.seen == 0:
		return 1 << 62
	}
	return r.seen
}

// IsStale tells whether the record here is older than the given revision, or missing.
func (x *Index) IsStale(id string, revision int64) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	i, known := x.position[id]
	return !known || x.rows[i].revision < revision
}

// Put keeps a record, unless a younger one is there already.
func (x *Index) Put(rec *storage.Record, data []byte) { x.keep(rec, data, false) }

func (x *Index) keep(rec *storage.Record, data []byte, evenOlder bool) {
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

// Take is Put for a record that was read.
func (x *Index) Take(rec *storage.Record) error {
	data, err := rec.Encode()
	if err == nil {
		x.Put(rec, data)
	}
	return err
}

// Replace is Take after the database has lost its newest writes: what it has now counts, also when it is older.
func (x *Index) Replace(rec *storage.Record) error {
	data, err := rec.Encode()
	if err == nil {
		x.keep(rec, data, true)
	}
	return err
}

// add gives a Mac a row of its own.
func (x *Index) add(fresh row, rec *storage.Record) int32 {
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
func (x *Index) set(i int32, fresh row, rec *storage.Record) {
	r := &x.rows[i]
	if r.data != nil {
		fresh.id, fresh.serial = r.id, r.serial // the string that the map has
		if fresh.name == r.name {
			fresh.name = r.name // and this is in it
		}
		if r.life == fresh.life {
			fresh.contact = max(fresh.contact, r.contact)
		}
		fresh.seen, fresh.snapshot = r.seen, r.snapshot
		if fresh.contact != r.contact && r.snapshot != x.snapshot {
			fresh.seen, fresh.snapshot = r.contact, x.snapshot
		}
	} else {
		fresh.snapshot = x.snapshot
	}
	x.share(&fresh.model)
	if len(x.names) >= x.enough {
		x.renumber()
	}
	fresh.policy, fresh.version = x.number(rec.Summary.Policy), x.number(string(rec.Facts.Version))
	fresh.ca, fresh.topic = x.number(rec.Facts.IdentityCA), x.number(rec.Facts.Topic)
	*r = fresh
	if r.contact != 0 {
		r.moments.Contact(time.Unix(r.contact, 0))
	}
}

// Remove forgets a Mac.
func (x *Index) Remove(id string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if i, ok := x.position[id]; ok {
		x.drop(i)
	}
}

func (x *Index) drop(i int32) {
	key := x.key(i)
	if n, found := x.place(key); found {
		x.order = slices.Delete(x.order, n, n+1)
	}
	delete(x.position, key.id)
	x.rows[i] = row{}
	x.free = append(x.free, i)
}

// Fill takes many records at once, at the start.
func (x *Index) Fill(records []*storage.Record) error {
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

// IDs are those of all Macs, in no order.
func (x *Index) IDs() []string {
	var ids []string
	x.scan(func(r *row) { ids = append(ids, r.id) })
	return ids
}

// scan calls fn for every row, and returns the names that rows have numbers for. fn must be quick and must not keep the
// row: nothing is written meanwhile.
func (x *Index) scan(fn func(*row)) (names []string) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	for i := range x.rows {
		if x.rows[i].data != nil {
			fn(&x.rows[i])
		}
	}
	return x.names
}

// walk calls fn for the rows by serial number and id, from after the given key on, until fn returns false.
func (x *Index) walk(after orderKey, fn func(*row) bool) {
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

// Resolve finds the enrollment ids that a device is addressed by: an enrollment id or a serial number.
func (x *Index) Resolve(idOrSerial string) []string {
	x.mu.RLock()
	defer x.mu.RUnlock()
	idOrSerial = strings.TrimSpace(idOrSerial)
	// As it is written, and as Apple writes them: a serial number may have been typed, or come from a spreadsheet.
	for _, text := range []string{idOrSerial, strings.ToUpper(idOrSerial), strings.ToLower(idOrSerial)} {
		if ids := x.addressed(text); len(ids) > 0 {
			return ids
		}
	}
	return nil
}

func (x *Index) addressed(idOrSerial string) (ids []string) {
	if idOrSerial == "" {
		return nil
	}
	if _, ok := x.position[idOrSerial]; ok {
		ids = append(ids, idOrSerial) // another's serial number may be the same: then neither is meant
	}
	for n, _ := x.place(orderKey{serial: idOrSerial}); n < len(x.order); n++ {
		r := &x.rows[x.order[n]]
		if r.serial != idOrSerial {
			break
		}
		if r.id != idOrSerial {
			ids = append(ids, r.id)
		}
	}
	return ids
}

// AnyEnrolled tells whether one of the Macs with these ids is enrolled.
func (x *Index) AnyEnrolled(ids []string) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return slices.ContainsFunc(ids, func(id string) bool {
		i, ok := x.position[id]
		return ok && x.rows[i].enrolled
	})
}

// numberOf is the number of a policy's name or a version in rows; false when no row ever had it.
func (x *Index) numberOf(name string) (uint32, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	n, ok := x.numbers[name]
	return n, ok
}

// keepCode keeps the code of the most decisive reason in a Mac's row, unless the row has changed since it was worked out.
func (x *Index) keepCode(r *row, code string, stale bool, until int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if i, ok := x.position[r.id]; ok && x.rows[i].revision == r.revision && x.rows[i].contact == r.contact {
		kept := &x.rows[i]
		kept.code, kept.codeStale, kept.codeUntil = code, stale, until
	}
}
