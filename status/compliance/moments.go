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
	if catalogueStale {
		flags |= CatalogueStale
	}
	return flags
}

// Contact moves the instant at which the Mac becomes silent: it was in contact at the given time.
func (m *Moments) Contact(at time.Time) { m.silent = max(m.silent, at.Add(silentAfter).Unix()) }
