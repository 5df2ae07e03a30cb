package compliance

import (
	"time"

	"plimsoll/declarations/plan"
	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
	"plimsoll/status"
)

// The spans of rules 8.
const (
	silentAfter   = 7 * 24 * time.Hour // without contact
	staleAfter    = 3 * 24 * time.Hour // in contact, without a report
	downloadLimit = 24 * time.Hour
	// identityWarning is how long before its identity ends a Mac is shown as expiring.
	identityWarning = 30 * 24 * time.Hour
	// A sender that is refused for who it is goes on knocking, once a day at least.
	knocking = 48 * time.Hour
	// A Mac that is on enforces within about an hour of the deadline and reports daily: without contact since the deadline it
	// counts as offline when it had the time for the one, or had already missed the other.
	enforceTime = 2 * time.Hour
	heartbeat   = 25 * time.Hour
)

// Lane is the lane whose target is declared; without a target the patch lane.
func (s *Summary) Lane(f *status.Facts) plan.Lane {
	switch {
	case s.Kind == release.KindBSI:
		return plan.BSI
	case s.Kind == release.KindOS && s.Version.Major() > f.Version.Major():
		return plan.Upgrade
	}
	return plan.Patch
}

// StateNow is the state at now: a pending Mac is overdue once its deadline has passed.
// (Summary.StateAt is when the state began.)
func (s Summary) StateNow(now time.Time) State {
	if s.State == Pending && !s.OverdueAt.IsZero() && !now.Before(s.OverdueAt) {
		return Overdue
	}
	return s.State
}

// past tells whether the deadline has passed, in the server's zone, while the target is missing.
func (s *Summary) past(now time.Time) bool {
	at := s.deadlineAt()
	return !at.IsZero() && !now.Before(at)
}

func (s *Summary) deadlineAt() time.Time {
	if s.OverdueAt.IsZero() {
		return s.PastAt
	}
	return s.OverdueAt
}

// FlagsAt are the flags at now, those that depend on time included. f has the times of contact.
func (s Summary) FlagsAt(now time.Time, f *status.Facts, catalogueStale bool) Flags {
	m := s.Moments(f)
	return m.Flags(now.Unix(), catalogueStale)
}

// silentAt is when the Mac becomes silent if it says nothing more. Enrolling was a contact too; without either it is silent
// already.
func silentAt(f *status.Facts) time.Time {
	return later(f.LastContactAt, f.EnrolledAt).Add(silentAfter)
}

// reportStaleAt is when the Mac's report becomes stale if no other comes; false when it is not expected to report at all.
func reportStaleAt(f *status.Facts) (time.Time, bool) {
	if !declares(f) {
		return time.Time{}, false
	}
	return later(f.LastReportAt, f.EnrolledAt).Add(staleAfter), true
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// timed are the reasons that come with the passing of time.
func (t notifier) timed(now time.Time, catalogueStale bool) []policy.Reason {
	var out []policy.Reason
	add := func(code string) { out = append(out, t.reason(code, nil)) }
	s := t.s
	flags := s.FlagsAt(now, t.f, catalogueStale)
	if t.f.LastContactAt.IsZero() {
		add(NeverContacted)
	} else if flags&Silent != 0 {
		add(SilentMac)
	}
	if flags&ReportStale != 0 {
		add(StaleReport)
	}
	if refusedLately(t.f, now) {
		add(RefusedMac)
	}
	if flags&IdentityExpiring != 0 {
		add(IdentityEnding)
	}
	if catalogueStale && s.State != Compliant { // the flag tells of it; nothing is asked of such a Mac that could be explained
		add(StaleCatalogue)
	}
	if s.State != Pending && s.State != Failing || s.Deadline == 0 {
		return out
	}
	switch {
	case !s.past(now):
		if s.State == Pending {
			add(DeadlineAhead)
		}
	case t.f.LastContactAt.Before(s.deadlineAt()) && (!now.Before(s.deadlineAt().Add(enforceTime)) || now.Sub(t.f.LastContactAt) >= heartbeat):
		add(DeadlinePassedOffline)
	default:
		add(DeadlinePassed)
	}
	if s.Phase == Downloading && !s.PhaseAt.IsZero() && now.Sub(s.PhaseAt) > downloadLimit {
		add(DownloadingLong)
	}
	return out
}

// next is the first instant after now at which time alone changes flags, state or reasons; zero: never.
func (s *Summary) next(now time.Time, f *status.Facts) time.Time {
	var first time.Time
	consider := func(at time.Time) {
		if at.After(now) && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	if at := s.deadlineAt(); !at.IsZero() {
		consider(at)
		consider(at.Add(enforceTime))
	}
	consider(silentAt(f))
	if !f.RefusedAt.IsZero() {
		consider(f.RefusedAt.Add(knocking))
	}
	if !f.IdentityEnds.IsZero() {
		consider(f.IdentityEnds.Add(-identityWarning))
	}
	if at, ok := reportStaleAt(f); ok {
		consider(at)
	}
	if s.Phase == Downloading && !s.PhaseAt.IsZero() {
		consider(s.PhaseAt.Add(downloadLimit + time.Second))
	}
	return first
}
