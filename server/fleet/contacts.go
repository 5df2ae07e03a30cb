package fleet

import (
	"context"

	"plimsoll/server/fleet/each"
)

// Contact notes that a Mac was in contact now; call it for every message that was authenticated.
func (f *Fleet) Contact(id string) { f.contacts.Contact(id, f.now()) }

// flushContacts writes the contact times that no change has carried yet.
func (f *Fleet) flushContacts(ctx context.Context) {
	bad := each.Do(ctx, 64, f.contacts.Unwritten(), func(id string) error { return f.look(ctx, id) })
	if len(bad) > 0 && ctx.Err() == nil {
		f.log.Warn("some contact times could not be written; they are written later", "macs", len(bad), "first", bad[0].Item,
			"error", bad[0].Err)
	}
}
