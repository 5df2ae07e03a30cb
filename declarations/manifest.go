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

// Find looks an item of the manifest up. What is not found is the only thing that is answered with 404 (rules.md 7).
func (m *Manifest) Find(kind Kind, identifier string) (Item, bool) {
	if m == nil {
		return Item{}, false
	}
	return Find(m.Items, kind, identifier)
}

// Manifest is the advertisement as declaration-items returned it at the given time.
func (a *Advertisement) Manifest(servedAt time.Time) Manifest {
	return Manifest{DeclarationsToken: a.DeclarationsToken, Timestamp: a.Timestamp, Items: a.Items, ServedAt: servedAt}
}

// Next is the advertisement after a plan came to the given token and items from the given revision of the book, and
// whether it differs from a (rules.md 7): its timestamp moves only with the token, by at least a second, and what comes
// from an older revision never replaces what came from a newer one.
func (a Advertisement) Next(token string, items []Item, book uint64, now time.Time) (Advertisement, bool) {
	if book < a.Book || token == a.DeclarationsToken {
		return a, false
	}
	ts := now.UTC().Truncate(time.Second)
	if earliest := a.Timestamp.Add(time.Second); a.DeclarationsToken != "" && ts.Before(earliest) {
		ts = earliest
	}
	return Advertisement{DeclarationsToken: token, Timestamp: ts, Items: items, Book: book}, true
}

// SyncTokens are the advertisement's tokens as Apple's TokensResponse.
func (a *Advertisement) SyncTokens() []byte { return TokensJSON(a.DeclarationsToken, a.Timestamp) }

// ItemsJSON is the advertisement as the answer to declaration-items.
func (a *Advertisement) ItemsJSON() []byte { return ItemsJSON(a.Items, a.DeclarationsToken) }
