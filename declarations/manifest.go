package declarations

import "time"

// Find looks an item up in sorted or unsorted items.
func Find(items []Item, kind Kind, identifier string) (Item, bool) {
	for i := range items {
		if items[i].Kind == kind && items[i].Identifier == identifier {
			return items[i], true
		}
	}
	return Item{}, false
}

// Find looks an item of the manifest up. What is not found is the only thing that is answered with 404 (rules 7).
func (m *Manifest) Find(kind Kind, identifier string) (Item, bool) {
	if m == nil {
		return Item{}, false
	}
	return Find(m.Items, kind, identifier)
}

// NextTimestamp is the Timestamp of an advertisement whose token changed (rules 7): now, in whole seconds, but at least a
// second after the one before, whatever the clock says; last is zero when there was none.
func NextTimestamp(last, now time.Time) time.Time {
	next := now.UTC().Truncate(time.Second)
	if earliest := last.Add(time.Second); next.Before(earliest) {
		return earliest
	}
	return next
}
