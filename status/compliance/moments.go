package compliance

import (
	"slices"
	"time"

	"plimsoll/status"
)

// Moments is the part of a summary that tells state and flags at any time, small enough to count 100,000 Macs in a millisecond.
// Its instants are seconds since 1970, 0 for never.
type Moments struct {
	state                        uint8 // index into States
	flags                        Flags
	overdue, past, silent, stale int64
	identity                     int64 // when its end is near
}

var (
	statePending = uint8(slices.Index(States, Pending))
	stateOverdue = uint8(slices.Index(States, Overdue))
)

// Moments are those of a Mac with these facts (its times of contact).
func (s *Summary) Moments(f *status.Facts) Moments {
	m := Moments{flags: s.Flags, state: uint8(max(0, slices.Index(States, s.State))), silent: silentAt(f).Unix()}
	if !s.OverdueAt.IsZero() {
		m.overdue = s.OverdueAt.Unix()
	}
	if at := s.deadlineAt(); !at.IsZero() {
		m.past = at.Unix()
	}
	if !f.IdentityEnds.IsZero() {
		m.identity = f.IdentityEnds.Add(-identityWarning).Unix()
	}
	if at, ok := reportStaleAt(f); ok {
		m.stale = at.Unix()
	}
	return m
}

// State is the index into States of the state at now.
func (m *Moments) State(now int64) int {
	if m.state == statePending && m.overdue != 0 && now >= m.overdue {
		return int(stateOverdue)
	}
	return int(m.state)
}

// Flags are the flags at now.
func (m *Moments) Flags(now int64, catalogueStale bool) Flags {
	flags := m.flags
	if now >= m.silent {
		flags |= Silent
	} else if m.stale != 0 && now >= m.stale {
		flags |= ReportStale
	}
	if m.past != 0 && now >= m.past {
		flags |= PastDeadline
	}
	if m.identity != 0 && now >= m.identity {
		flags |= IdentityExpiring
	}
	if catalogueStale {
		flags |= CatalogueStale
	}
	return flags
}

// Contact moves the instant at which the Mac becomes silent: it was in contact at the given time.
func (m *Moments) Contact(at time.Time) { m.silent = max(m.silent, at.Add(silentAfter).Unix()) }

// Passed tells whether state or flags changed by time alone after the instant since and up to now.
func (m *Moments) Passed(since, now int64) bool {
	for _, at := range [...]int64{m.overdue, m.past, m.silent} {
		if at != 0 && at > since && at <= now {
			return true
		}
	}
	return false
}

// OverdueAt is when a pending Mac becomes overdue, in seconds since 1970; 0 when it is not pending, or never will be.
func (m *Moments) OverdueAt() int64 {
	if m.state != statePending {
		return 0
	}
	return m.overdue
}

// WentStale is what the function WentStale tells of an enrolled Mac. lastRaise is in seconds since 1970; 0: never.
func (m *Moments) WentStale(lastRaise, now int64) bool {
	return m.stale != 0 && now >= m.stale && now < m.silent && lastRaise < m.stale &&
		(lastRaise == 0 || now-lastRaise >= int64(raiseEvery/time.Second))
}

// NextChange is the first instant after now at which time alone changes flags, state or reasons; zero: never.
func (s *Summary) NextChange(now time.Time, f *status.Facts) time.Time { return s.next(now, f) }
