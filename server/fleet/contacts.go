package fleet

import (
	"context"
	"sync"
	"time"

	"plimsoll/storage"
)

// silence is how long a Mac may be out of contact before it counts as silent (rules.md 6.4 and 8).
const silence = 7 * 24 * time.Hour

// contacts remembers which Macs' contact times are held in memory only, in the index: they are written with the next change of the Mac, or
// hourly. A contact that ended a silence is remembered until it is written, because promises depend on it.
type contacts struct {
	mu    sync.Mutex
	dirty map[string]bool
	back  map[string]time.Time
}

func (c *contacts) init() { c.dirty, c.back = map[string]bool{}, map[string]time.Time{} }

// Contact notes that a Mac was in contact now; call it for every message that was authenticated.
func (f *Fleet) Contact(id string) {
	id = storage.DeviceID(id)
	now := f.now()
	before := f.index.touch(id, now)
	f.contacts.mu.Lock()
	defer f.contacts.mu.Unlock()
	if !before.IsZero() && now.Sub(before) > silence {
		f.contacts.back[id] = now
	}
	f.contacts.dirty[id] = true
}

// lastContact is the last contact of a Mac that is known on this replica.
func (f *Fleet) lastContact(rec *storage.Record) time.Time {
	if t := f.index.contact(rec.Facts.ID); t.After(rec.Facts.LastContactAt) {
		return t
	}
	return rec.Facts.LastContactAt
}

// applyContacts brings a record up to date with the contacts in memory.
func (f *Fleet) applyContacts(rec *storage.Record) {
	rec.Facts.LastContactAt = f.lastContact(rec)
	f.contacts.mu.Lock()
	defer f.contacts.mu.Unlock()
	if back := f.contacts.back[rec.Facts.ID]; back.After(rec.BackAt) {
		rec.BackAt = back
	}
}

// cameBack tells whether a silence ended that is not written yet.
func (c *contacts) cameBack(rec *storage.Record) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.back[rec.Facts.ID].After(rec.BackAt)
}

// written forgets what is in the record now.
func (c *contacts) written(rec *storage.Record, last time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.back[rec.Facts.ID].After(rec.BackAt) {
		delete(c.back, rec.Facts.ID)
	}
	if !last.After(rec.Facts.LastContactAt) {
		delete(c.dirty, rec.Facts.ID)
	}
}

// forget drops what is held of a Mac.
func (c *contacts) forget(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.back, id)
	delete(c.dirty, id)
}

// flushContacts writes the contact times that no change has carried yet.
func (f *Fleet) flushContacts(ctx context.Context) {
	f.contacts.mu.Lock()
	ids := make([]string, 0, len(f.contacts.dirty))
	for id := range f.contacts.dirty {
		ids = append(ids, id)
	}
	f.contacts.mu.Unlock()
	f.each(ctx, ids, func(id string) error { return f.look(ctx, id) })
}
