package fleet

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"plimsoll/status/compliance"
	"plimsoll/storage"
)

// index is every Mac's record in memory: lists and counts are answered from it. Records in it are never changed, only replaced.
type index struct {
	mu       sync.RWMutex
	position map[string]int32 // in rows, by id
	rows     []row
	free     []int32             // rows that are not used
	order    []int32             // the rows by serial number, then id
	bySerial map[string][]string // ids, sorted
	shared   map[string]string   // strings that many Macs share
	names    []string            // policy names and versions, by the numbers that rows have for them
	numbers  map[string]uint32
	// last is the highest number seen of each shard, revisions the revision at which that was.
	last      [storage.Shards]uint64
	revisions [storage.Shards]uint64
}

// row is a Mac in memory: what counting and filtering need side by side, so that 100,000 are looked through in a millisecond.
type row struct {
	moments         compliance.Moments
	contact         int64 // last contact known on this replica, seconds since 1970; 0: none
	deadline        int64 // on the wall; 0: none
	policy, version uint32
	enrolled        bool
	rec             *storage.Record // nil: the row is not used
}

type orderKey struct{ serial, id string }

func (a orderKey) compare(b orderKey) int {
	return cmp.Or(cmp.Compare(a.serial, b.serial), cmp.Compare(a.id, b.id))
}

func (x *index) init() {
	x.position, x.bySerial = map[string]int32{}, map[string][]string{}
	x.shared, x.numbers = map[string]string{}, map[string]uint32{}
	x.number("")
}

// number is the number that stands for a policy's name or a version in rows. There are as many as policies and versions were ever seen.
func (x *index) number(name string) uint32 {
	n, ok := x.numbers[name]
	if !ok {
		n = uint32(len(x.names))
		x.names = append(x.names, name)
		x.numbers[name] = n
	}
	return n
}

func (x *index) key(i int32) orderKey {
	f := &x.rows[i].rec.Facts
	return orderKey{f.Serial, f.ID}
}

// place is where a Mac stands, or would stand, in the order.
func (x *index) place(key orderKey) (int, bool) {
	return slices.BinarySearchFunc(x.order, key, func(i int32, k orderKey) int { return x.key(i).compare(k) })
}

func (x *index) get(id string) *storage.Record {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if i, ok := x.position[id]; ok {
		return x.rows[i].rec
	}
	return nil
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
	return before
}

// put keeps a record, unless a younger one is there already.
func (x *index) put(rec *storage.Record) {
	kept := *rec
	kept.Summary.Codes = slices.Clone(kept.Summary.Codes)
	x.mu.Lock()
	defer x.mu.Unlock()
	id := kept.Facts.ID
	i, known := x.position[id]
	if known {
		old := x.rows[i].rec
		if old.Revision > kept.Revision {
			return
		}
		if old.Facts.Serial != kept.Facts.Serial {
			x.drop(i)
			known = false
		}
	}
	x.intern(&kept)
	if known {
		x.set(i, &kept)
		return
	}
	i = x.add(&kept)
	n, _ := x.place(x.key(i))
	x.order = slices.Insert(x.order, n, i)
	if s := kept.Facts.Serial; s != "" {
		ids := append(slices.Clone(x.bySerial[s]), kept.Facts.ID)
		slices.Sort(ids)
		x.bySerial[s] = ids
	}
}

// add gives a record a row of its own.
func (x *index) add(rec *storage.Record) int32 {
	i := int32(len(x.rows))
	if n := len(x.free); n > 0 {
		i, x.free = x.free[n-1], x.free[:n-1]
	} else {
		x.rows = append(x.rows, row{})
	}
	x.position[rec.Facts.ID] = i
	x.set(i, rec)
	return i
}

// set fills a row. The time of contact only grows within a life.
func (x *index) set(i int32, rec *storage.Record) {
	r := &x.rows[i]
	contact := int64(0)
	if r.rec != nil && r.rec.Life == rec.Life {
		contact = r.contact
	}
	if t := rec.Facts.LastContactAt; !t.IsZero() {
		contact = max(contact, t.Unix())
	}
	*r = row{
		moments: rec.Summary.Moments(&rec.Facts), contact: contact, deadline: int64(rec.Summary.Deadline),
		policy: x.number(rec.Summary.Policy), version: x.number(string(rec.Facts.Version)), enrolled: rec.Facts.Enrolled, rec: rec,
	}
	if contact != 0 {
		r.moments.Contact(time.Unix(contact, 0))
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
	ids := slices.DeleteFunc(slices.Clone(x.bySerial[key.serial]), func(id string) bool { return id == key.id })
	if len(ids) == 0 {
		delete(x.bySerial, key.serial)
	} else {
		x.bySerial[key.serial] = ids
	}
	delete(x.position, key.id)
	x.rows[i] = row{}
	x.free = append(x.free, i)
}

// fill takes many records at once, at the start.
func (x *index) fill(records []*storage.Record) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, rec := range records {
		if rec == nil {
			continue
		}
		if _, known := x.position[rec.Facts.ID]; known {
			continue
		}
		x.intern(rec)
		x.order = append(x.order, x.add(rec))
		if s := rec.Facts.Serial; s != "" {
			x.bySerial[s] = append(x.bySerial[s], rec.Facts.ID)
		}
	}
	slices.SortFunc(x.order, func(a, b int32) int { return x.key(a).compare(x.key(b)) })
	for _, ids := range x.bySerial {
		slices.Sort(ids)
	}
}

// all is a snapshot of all records, in no order.
func (x *index) all() []*storage.Record {
	x.mu.RLock()
	defer x.mu.RUnlock()
	records := make([]*storage.Record, 0, len(x.position))
	for i := range x.rows {
		if rec := x.rows[i].rec; rec != nil {
			records = append(records, rec)
		}
	}
	return records
}

// scan calls fn for every row. fn must be quick and must not keep the row: nothing is written meanwhile.
func (x *index) scan(fn func(*row)) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	for i := range x.rows {
		if x.rows[i].rec != nil {
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

// numberOf is the number of a policy's name or a version in rows; false when no row ever had it.
func (x *index) numberOf(name string) (uint32, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	n, ok := x.numbers[name]
	return n, ok
}

// resolve finds the enrollment ids that a device is addressed by: an enrollment id or a serial number.
func (x *index) resolve(idOrSerial string) []string {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if _, ok := x.position[idOrSerial]; ok {
		return []string{idOrSerial}
	}
	return slices.Clone(x.bySerial[idOrSerial])
}

// shareLimit bounds how many strings are shared: what Macs say is not trusted.
const shareLimit = 10000

// share replaces a string by the copy that many Macs share.
func (x *index) share(s *string) {
	if *s == "" {
		return
	}
	kept, ok := x.shared[*s]
	if !ok && len(x.shared) < shareLimit {
		kept = strings.Clone(*s)
		x.shared[kept] = kept
		ok = true
	}
	if ok {
		*s = kept
	}
}

// intern lets 100,000 records keep one copy of each model, version and the like.
func (x *index) intern(r *storage.Record) {
	f := &r.Facts
	for _, s := range []*string{
		&f.Model, &f.ModelName, &f.Board, &f.BoardFrom, (*string)(&f.Version), &f.Build, &r.Summary.Policy, (*string)(&r.Summary.Version),
		&r.Summary.Build, (*string)(&r.Summary.Phase), (*string)(&r.Summary.State), (*string)(&r.Summary.Kind),
	} {
		x.share(s)
	}
	for i := range r.Summary.Codes {
		x.share(&r.Summary.Codes[i])
	}
	for i := range r.Lanes {
		x.share(&r.Lanes[i].Target)
	}
	if r.Manifest == r.Advertised {
		r.Manifest = r.Advertised
	}
	if f.UDID == f.ID {
		f.UDID = f.ID
	}
}

// loadIndex reads every Mac's record, at the start.
func (f *Fleet) loadIndex(ctx context.Context) error {
	for n := range storage.Shards {
		sh, err := f.store.Members(ctx, n)
		if err != nil {
			return err
		}
		records, err := f.store.Records(ctx, sh.IDs)
		if records == nil && err != nil {
			return err
		}
		if err != nil {
			f.log.Error("some Macs' records cannot be read; they are left out", "error", err)
		}
		f.index.fill(records)
		f.index.mu.Lock()
		f.index.last[n], f.index.revisions[n] = sh.Last, sh.Revision
		f.index.mu.Unlock()
	}
	return nil
}

// wrote notes that this replica itself wrote the numbers above before, up to after: it need not read them back.
func (x *index) wrote(shard int, before, after uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.last[shard] == before {
		x.last[shard] = after
	}
}

// pollIndex reads what other replicas wrote to a shard since it was looked at last.
func (f *Fleet) pollIndex(ctx context.Context, shard int) error {
	f.index.mu.RLock()
	after := f.index.last[shard]
	f.index.mu.RUnlock()
	sh, err := f.store.Changes(ctx, shard, after)
	lost := err == nil && sh.Last < after // the database lost its newest writes: the numbers are given again
	if lost {
		sh, err = f.store.Members(ctx, shard)
	}
	if err != nil {
		return err
	}
	records, err := f.store.Records(ctx, sh.IDs)
	if err != nil && records == nil {
		return err
	}
	for i, rec := range records {
		if rec == nil {
			f.index.remove(sh.IDs[i])
			continue
		}
		f.index.put(rec)
	}
	f.index.mu.Lock()
	if lost {
		f.index.last[shard] = sh.Last
	}
	f.index.last[shard], f.index.revisions[shard] = max(f.index.last[shard], sh.Last), sh.Revision
	f.index.mu.Unlock()
	f.feed.signal()
	return nil
}
