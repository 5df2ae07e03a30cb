package fleet

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"plimsoll/server/fleet/catalogue"
	"plimsoll/server/fleet/lead"
	"plimsoll/server/fleet/reconcile"
)

// Counters count what happened since the process started. Safe for concurrent use.
type Counters struct {
	catalogueCounters
	reconcileCounters
	leadCounters
	ReportsAccepted, ReportsOdd, ReportsRefused              atomic.Int64
	IngestNanos                                              atomic.Int64 // summed over accepted reports
	Pushes, PushesFailed                                     atomic.Int64
	TokensServed, ItemsServed, DeclarationsServed, MacErrors atomic.Int64
}

// The rooms count for themselves.
type (
	catalogueCounters = catalogue.Counters
	reconcileCounters = reconcile.Counters
	leadCounters      = lead.Counters
)

// countFault counts a request of a Mac that ended with a fault on our side; a refusal is none, nor is a Mac that went away.
func (f *Fleet) countFault(err error) {
	for _, kind := range []error{ErrNotFound, ErrInvalid, ErrForbidden, ErrConflict, context.Canceled} {
		if errors.Is(err, kind) {
			return
		}
	}
	f.counters.MacErrors.Add(1)
}

// Stats is a snapshot for /metrics.
type Stats struct {
	Counters *Counters
	// Compliance holds the counts by state, flag and policy.
	Compliance Compliance
	// Rings counts the halts of the gates, and the Macs of each ring.
	Rings *RingCounts
	// DueWithin counts the Macs whose deadline lies within 1, 7 and 30 days from now.
	DueWithin map[int]int
	// CatalogueSource tells whether there is a source to fetch releases from (--catalog).
	CatalogueSource bool
	// LeftOut counts the sentences about entries of the feed that made no sense and were left out.
	LeftOut int
	// CatalogueAge is the time since the last accepted response.
	CatalogueAge time.Duration
	// Outstanding counts the Macs that were told and have not synced yet.
	Outstanding int
	// Exempt counts the Macs with an exemption that lasts.
	Exempt int
	// Pace is how fast the newest releases reached the fleet, as of the last closed day; nil before the first.
	Pace *Pace
	// Leading tells whether this replica does the work that must happen once.
	Leading bool
}
