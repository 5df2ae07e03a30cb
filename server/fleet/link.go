package fleet

import (
	"plimsoll/storage"
)

// selfAddress is the address of a Mac's own page; empty when --url is not https.
func (f *Fleet) selfAddress(rec *storage.Record) string {
	if !f.links.Pages() {
		return ""
	}
	return f.links.Address(rec.Facts.ID, rec.Life)
}

// SelfAddress is the address of an enrolled Mac's own page; empty when there is none. It is for admins only, to send to the
// Mac's user: whoever has it may do what the user may.
func (f *Fleet) SelfAddress(id string) string {
	rec := f.index.Get(id)
	if rec == nil || !rec.Facts.Enrolled {
		return ""
	}
	return f.selfAddress(rec)
}

// ByLink finds the enrolled Mac that a link belongs to; nil for a link that was forged, cut, or has died.
func (f *Fleet) ByLink(link string) *storage.Record {
	var rec *storage.Record
	_, ok := f.links.Read(link, func(id string) int {
		if rec = f.index.Get(id); rec == nil {
			return 0
		}
		return rec.Life
	})
	if !ok || rec == nil || !rec.Facts.Enrolled {
		return nil
	}
	return rec
}
