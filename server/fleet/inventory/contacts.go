package inventory

import (
	"sync"
	"time"

	"plimsoll/storage"
)

// Silence is how long a Mac may be out of contact before it counts as silent (rules 6.4 and 8).
const Silence = 7 * 24 * time.Hour

// Contacts remembers which Macs' contact times are held in memory only, in the index: they are written with the next change
// of the Mac, or hourly. A contact that ended a silence is remembered until it is written, because promises depend on it.
// Safe for concurrent use.
type Contacts struct {
	index *Index
	mu    sync.Mutex
	dirty map[string]bool
	back  map[string]time.Time
}

// NewContacts makes a Contacts for the Macs of an index.
func NewContacts(index *Index) *Contacts {
	return &Contacts{index: index, dirty: map[string]bool{}, back: map[string]time.Time{}}
}

// Contact notes that a Mac was in contact now.
func (c *Contacts) Contact(id string, now time.Time) {
	id = storage.DeviceID(id)
	before := c.index.touch(id, now)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !before.IsZero() && now.Sub(before) > Silence {
		c.back[id] = now
	}
	c.dirty[id] = true
}

// Last is the last contact of a Mac that is known on this replica.
func (c *Contacts) Last(rec *storage.Record) time.Time {
	if t := c.index.Contact(rec.Facts.ID); t.After(rec.Facts.LastContactAt) {
		return t
	}
	return rec.Facts.LastContactAt
}

// Back is when the last silence of a Mac ended that is not written yet; zero: none did.
func (c *Contacts) Back(id string) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.back[id]
}

// Apply brings a record up to date with the contacts in memory.
func (c *Contacts) Apply(rec *storage.Record) {
	rec.Facts.LastContactAt = c.Last(rec)
	if back := c.Back(rec.Facts.ID); back.After(rec.BackAt) {
		rec.BackAt = back
	}
}

// Written forgets what is in the record now.
func (c *Contacts) Written(rec *storage.Record) {
	last := c.index.Contact(rec.Facts.ID)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.back[rec.Facts.ID].After(rec.BackAt) {
		delete(c.back, rec.Facts.ID)
	}
	if !last.After(rec.Facts.LastContactAt) {
		delete(c.dirty, rec.Facts.ID)
	}
}

// Forget drops what is held of a Mac.
func (c *Contacts) Forget(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.back, id)
	delete(c.dirty, id)
}

// Unwritten are the Macs whose contact times are held in memory only.
func (c *Contacts) Unwritten() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	ids := make([]string, 0, len(c.dirty))
	for id := range c.dirty {
		ids = append(ids, id)
	}
	return ids
}
