package fleet

import "context"

// Contact notes that a Mac was in contact now; call it for every message that was authenticated.
func (f *Fleet) Contact(id string) { f.contacts.Contact(id, f.now()) }

// flushContacts writes the contact times that no change has carried yet.
func (f *Fleet) flushContacts(ctx context.Context) {
	f.each(ctx, f.contacts.Unwritten(), func(id string) error { return f.look(ctx, id) })
}
