package fleet

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"

	"plimsoll/storage"
)

// index is every Mac's record in memory: lists and counts are answered from it. Records in it are never changed, only replaced.
type index struct {
	mu       sync.RWMutex
	macs     map[string]*storage.Record
	bySerial map[string][]string // ids, sorted
	// order has all Macs by serial number, then id.
	order   []orderKey
	version uint64 // counts the changes
	shared  map[string]string
	// last is the highest number seen of each shard, revisions the revision at which that was.
	last      [storage.Shards]uint64
	revisions [storage.Shards]uint64
}

type orderKey struct{ serial, id string }

func (a orderKey) compare(b orderKey) int {
	return cmp.Or(cmp.Compare(a.serial, b.serial), cmp.Compare(a.id, b.id))
}

func (x *index) init() {
	x.macs, x.bySerial, x.shared = map[string]*storage.Record{}, map[string][]string{}, map[string]string{}
}

func (x *index) get(id string) *storage.Record {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.macs[id]
}

// put keeps a record, unless a younger one is there already.
func (x *index) put(rec *storage.Record) {
	kept := *rec
	kept.Summary.Codes = slices.Clone(kept.Summary.Codes)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.intern(&kept)
	id := kept.Facts.ID
	old := x.macs[id]
	if old != nil && old.Revision > kept.Revision {
		return
	}
	x.version++
	x.macs[id] = &kept
	if old != nil && old.Facts.Serial == kept.Facts.Serial {
		return
	}
	if old != nil {
		x.dropSerial(old)
	}
	key := orderKey{kept.Facts.Serial, id}
	i, _ := slices.BinarySearchFunc(x.order, key, orderKey.compare)
	x.order = slices.Insert(x.order, i, key)
	if key.serial != "" {
		ids := append(slices.Clone(x.bySerial[key.serial]), id)
		slices.Sort(ids)
		x.bySerial[key.serial] = ids
	}
}

// remove forgets a Mac.
func (x *index) remove(id string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	old := x.macs[id]
	if old == nil {
		return
	}
	x.version++
	delete(x.macs, id)
	x.dropSerial(old)
}

func (x *index) dropSerial(rec *storage.Record) {
	key := orderKey{rec.Facts.Serial, rec.Facts.ID}
	if i, found := slices.BinarySearchFunc(x.order, key, orderKey.compare); found {
		x.order = slices.Delete(x.order, i, i+1)
	}
	ids := slices.DeleteFunc(slices.Clone(x.bySerial[key.serial]), func(id string) bool { return id == key.id })
	if len(ids) == 0 {
		delete(x.bySerial, key.serial)
	} else {
		x.bySerial[key.serial] = ids
	}
}

// fill takes many records at once, at the start.
func (x *index) fill(records []*storage.Record) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, rec := range records {
		if rec == nil {
			continue
		}
		id := rec.Facts.ID
		if old := x.macs[id]; old != nil {
			continue
		}
		x.intern(rec)
		x.macs[id] = rec
		x.order = append(x.order, orderKey{rec.Facts.Serial, id})
		if s := rec.Facts.Serial; s != "" {
			x.bySerial[s] = append(x.bySerial[s], id)
		}
	}
	slices.SortFunc(x.order, orderKey.compare)
	for _, ids := range x.bySerial {
		slices.Sort(ids)
	}
	x.version++
}

// all is a snapshot of all records, in no order.
func (x *index) all() []*storage.Record {
	x.mu.RLock()
	defer x.mu.RUnlock()
	records := make([]*storage.Record, 0, len(x.macs))
	for _, rec := range x.macs {
		records = append(records, rec)
	}
	return records
}

// sorted is a snapshot of the records by serial number and id, from after the given key on, as far as fn wants them.
func (x *index) walk(after orderKey, fn func(*storage.Record) bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	i, found := slices.BinarySearchFunc(x.order, after, orderKey.compare)
	if found {
		i++
	}
	for ; i < len(x.order); i++ {
		if !fn(x.macs[x.order[i].id]) {
			return
		}
	}
}

// resolve finds the enrollment ids that a device is addressed by: an enrollment id or a serial number.
func (x *index) resolve(idOrSerial string) []string {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if _, ok := x.macs[idOrSerial]; ok {
		return []string{idOrSerial}
	}
	return slices.Clone(x.bySerial[idOrSerial])
}

func (x *index) size() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.macs)
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
	f.index.last[shard], f.index.revisions[shard] = max(f.index.last[shard], sh.Last), sh.Revision
	f.index.mu.Unlock()
	f.feed.signal()
	return nil
}
