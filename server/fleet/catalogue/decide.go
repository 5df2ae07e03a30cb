package catalogue

import (
	"errors"
	"time"

	"plimsoll/declarations/release"
	"plimsoll/storage"
)

// againAfter is after which time a second fetch confirms a withdrawal (rules 3).
const againAfter = 20 * time.Hour

// response is what a source answered.
type response struct {
	source Source
	next   Validators
	same   bool          // nothing changed since the last time
	feed   *release.Feed // nil when it is the same, or when there is an error
	err    error         // why it could not be fetched; release.ErrRefused: why what was fetched makes no sense
}

// failed tells whether the source could not be reached or read.
func (r *response) failed() bool { return r.err != nil && !errors.Is(r.err, release.ErrRefused) }

// isNews tells whether a response says anything that is not kept already: a file is looked at every few seconds.
func (r *response) isNews(cat *release.Catalog, kept storage.FetchState, now time.Time) bool {
	switch {
	case r.source.URL:
		return true
	case r.err != nil:
		known := kept.Error == r.err.Error() || kept.Error == "" && kept.Refused == r.err.Error()
		return kept.From != r.source.Name || !known
	case !r.same:
		return true
	case kept.From != r.source.Name || kept.File != r.next.File:
		return false // as it was looked at last, which was refused
	}
	// It is the accepted one, which may have been away.
	return kept.Error != "" || kept.Refused != "" || pendingWithdrawal(cat, now)
}

// decision is what is to be kept of a response.
type decision struct {
	state   storage.FetchState
	catalog *release.Catalog // nil: the last good one stays
	changed bool
	refused error
}

// decide merges a response into the catalogue, or says why it is refused. It is pure.
func decide(cat *release.Catalog, kept storage.FetchState, r response, now time.Time) decision {
	if r.failed() {
		return decision{state: tried(kept, r.source.Name, now, r.err.Error())}
	}
	d := decision{state: tried(kept, r.source.Name, now, ""), refused: r.err}
	switch {
	case d.refused != nil:
	case r.same:
		d.catalog, d.changed = release.Repeat(cat, now)
	default:
		d.catalog, d.changed, d.refused = release.Merge(cat, r.feed, now)
	}
	if d.refused != nil {
		d.catalog, d.changed = nil, false
		d.state.Refused, d.state.RefusedAt = d.refused.Error(), now
		return d
	}
	d.catalog.From = r.source.Name
	d.state.Refused, d.state.RefusedAt = "", time.Time{}
	d.state.ETag, d.state.LastModified, d.state.File = r.next.ETag, r.next.LastModified, r.next.File
	return d
}

// tried notes an attempt. When the last one was at another source, neither what was wrong there nor its validators say
// anything about this one.
func tried(state storage.FetchState, from string, at time.Time, failed string) storage.FetchState {
	if state.From != from {
		state = storage.FetchState{From: from}
	}
	state.TriedAt, state.Error = at, failed
	return state
}

func pendingWithdrawal(c *release.Catalog, now time.Time) bool {
	for i := range c.Releases {
		r := &c.Releases[i]
		if r.Available && !r.LackedAt.IsZero() && now.Sub(r.LackedAt) >= againAfter {
			return true
		}
	}
	return false
}
