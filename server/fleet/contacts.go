package fleet

import (
	"context"
	"sync"
	"time"

	"plimsoll/storage"
)

// silence is how long a Mac may be out of contact before it counts as silent (rules.md 6.4 and 8).
const silence = 7 * 24 * time.Hour

// contact is what is held in memory of a Mac's contacts and not written yet.
type contact struct {
	last time.Time
	back time.Time // the contact that ended a silence; zero: none that is not written yet
}

// contacts keeps contact times in memory; they are written with the next change of the Mac, or hourly.
type contacts struct {
	mu    sync.Mutex
	macs  map[string]contact
	dirty map[string]bool // not written yet
}

func (c *contacts) init() { c.macs, c.dirty = map[string]contact{}, map[string]bool{} }

// Contact notes that a Mac was in contact now; call it for every message that was authenticated.
func (f *Fleet) Contact(id string) {
	id = storage.DeviceID(id)
	now := f.now()
	f.contacts.mu.Lock()
	defer f.contacts.mu.Unlock()
	c, known := f.contacts.macs[id]
	if !known {
		if rec := f.index.get(id); rec != nil {
			c.last = rec.Facts.LastContactAt
		}
	}
	if !c.last.IsZero() && now.Sub(c.last) > silence {
		c.back = now
	}
	c.last = now
	f.contacts.macs[id] = c
	f.contacts.dirty[id] = true
}

// apply brings a record up to date with the contacts in memory.
func (c *contacts) apply(rec *storage.Record) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m, ok := c.macs[rec.Facts.ID]
	if !ok {
		return
	}
	if m.last.After(rec.Facts.LastContactAt) {
		rec.Facts.LastContactAt = m.last
	}
	if m.back.After(rec.BackAt) {
		rec.BackAt = m.back
	}
}

// last is the last contact known on this replica.
func (c *contacts) lastOf(rec *storage.Record) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m, ok := c.macs[rec.Facts.ID]; ok && m.last.After(rec.Facts.LastContactAt) {
		return m.last
	}
	return rec.Facts.LastContactAt
}

// cameBack tells whether a silence ended that is not written yet.
func (c *contacts) cameBack(rec *storage.Record) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.macs[rec.Facts.ID].back.After(rec.BackAt)
}

// written forgets what is in the record now.
func (c *contacts) written(rec *storage.Record) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m, ok := c.macs[rec.Facts.ID]; ok && !m.last.After(rec.Facts.LastContactAt) {
		delete(c.macs, rec.Facts.ID)
		delete(c.dirty, rec.Facts.ID)
	}
}

// forget drops what is held of a Mac.
func (c *contacts) forget(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.macs, id)
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
