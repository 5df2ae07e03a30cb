package compliance

import (
	"time"

	"plimsoll/declarations"
	"plimsoll/status"
)

// The spans of rules 10.
const (
	settleTime = 10 * time.Minute // that a Mac is given between fetching a manifest and reporting what is in it
	raiseEvery = 24 * time.Hour
)

// MayRaise tells whether the server itself may raise a Mac's generation at now: at most once a day (rules 10).
// last is when it did so last; zero: never.
func MayRaise(last, now time.Time) bool {
	return last.IsZero() || now.Sub(last) >= raiseEvery
}

// NeedsResync tells whether a report that came at reportAt, merged into s, shows that the Mac lost its sync: at least 10
// minutes after the manifest it lacks one of the manifest's tokens. Whether the generation may be raised for it is for MayRaise
// to say.
func NeedsResync(m *declarations.Manifest, s status.Merged, reportAt time.Time) bool {
	if m == nil || len(m.Items) == 0 || reportAt.Sub(m.ServedAt) < settleTime {
		return false
	}
	return len(reportedOf(m, s)) < len(m.Items)
}

// WentStale tells whether report_stale has set in for an enrolled Mac since its generation was last raised: then the generation
// is raised, once, and the Mac is asked for its version and build (rules 10). lastRaise is zero when that never happened.
func WentStale(f *status.Facts, lastRaise, now time.Time) bool {
	if !f.Enrolled || !MayRaise(lastRaise, now) {
		return false
	}
	at, ok := reportStaleAt(f)
	return ok && !now.Before(at) && now.Before(silentAt(f)) && lastRaise.Before(at)
}
