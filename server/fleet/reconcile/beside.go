package reconcile

import (
	"time"

	"plimsoll/status"
	"plimsoll/storage/beside"
)

// SightingKind says what a Sighting is.
type SightingKind int

// The kinds of Sighting.
const (
	Contacted     SightingKind = iota // an event that says no more than that the Mac was in contact
	Authenticated                     // Authenticate
	FirstTokens                       // the TokenUpdate that completes an enrolment: with tally 1
	LaterTokens                       // any other TokenUpdate
	CheckedOut                        // CheckOut
	Came                              // the Mac came to the endpoints of declarative management
	Imported                          // an admin names the Mac
)

// Sighting is what another MDM server says of a Mac (rules 16).
type Sighting struct {
	Kind SightingKind
	// At is when the other server made the event; zero for what is no event.
	At time.Time
	// CheckIn is what Authenticate carries.
	CheckIn status.CheckIn
	// Escrowed is whether the bootstrap token is escrowed; nil: the event does not tell.
	Escrowed *bool
}

// apart is how far apart the events of one beginning may be dated, and how soon after it no CheckOut is believed (rules 16).
const apart = time.Minute

// besideQueries are what Authenticate would have told, and the board.
var besideQueries = Query{deviceInformation, []string{
	"UDID", "SerialNumber", "DeviceName", "ProductName", "ModelName", "OSVersion", "BuildVersion", "SoftwareUpdateDeviceID",
}}

// Sighted is a sighting of a Mac whose MDM is another server. That server's events come late, out of order or never, so a
// life begins with whatever is seen of it first (rules 16).
func Sighted(s Sighting) Cause {
	return Cause{Ordinary, func(o *Outcome, now time.Time) (bool, error) {
		switch s.Kind {
		case Authenticated, FirstTokens:
			return o.beginning(s, now), nil
		case CheckedOut:
			return o.end(s.At, now), nil
		}
		return o.sighting(s, now), nil
	}}
}

// older tells whether an event is from before the last beginning or end.
func older(l *beside.Life, at time.Time) bool { return at.Before(l.Began) || at.Before(l.Ended) }

// hasBegun tells whether Authenticate began the Mac's life, and TokenUpdate is still to come.
func (o *Outcome) hasBegun() bool {
	return o.Record != nil && !o.Record.Facts.Enrolled && o.Beside.Told && !o.Beside.Over
}

func (o *Outcome) isEnrolled() bool { return o.Record != nil && o.Record.Facts.Enrolled }

// beginning is an Authenticate or a first TokenUpdate: it begins a life, or belongs to the beginning of the present one.
func (o *Outcome) beginning(s Sighting, now time.Time) bool {
	l := &o.Beside
	if o.Record != nil && !l.Over && !l.Began.IsZero() && s.At.Sub(l.Began).Abs() < apart {
		if s.Kind == FirstTokens {
			return o.arrive(s, now)
		}
		return o.fill(s.CheckIn)
	}
	if older(l, s.At) {
		o.Dropped = true
		return false
	}
	o.begin(s.At, now)
	if s.Kind == FirstTokens {
		return o.arrive(s, now)
	}
	o.begins, l.Told = true, true
	facts := o.Record.Facts.CheckIn(s.CheckIn)
	facts.ID, facts.TokenUnknown, facts.LastContactAt = o.ID, true, now
	o.Record.Facts = facts
	return true
}

// fill takes what a late Authenticate of the present beginning tells and what is not known yet.
func (o *Outcome) fill(c status.CheckIn) bool {
	if o.Beside.Told {
		return false
	}
	o.Beside.Told = true
	o.Record.Facts = o.Record.Facts.Fill(c)
	return true
}

// begin begins a life, by an event of that date or by something without one.
func (o *Outcome) begin(at, now time.Time) {
	o.newLife()
	o.ClearLife = true
	o.Record.Facts.TokenUnknown = true
	o.Record.Facts.LastContactAt = now
	// A Mac that did not really enrol again holds the old token, and would stop at the same one.
	o.Record.Generation = max(o.Record.Generation, o.Beside.Generation) + 1
	o.Beside = beside.Life{Began: at, Ended: o.Beside.Ended}
}

// end is a CheckOut. One that comes first is kept as a life that is over, so that an older event does not begin one.
func (o *Outcome) end(at, now time.Time) bool {
	l := &o.Beside
	if older(l, at) || l.Over && !at.After(l.Ended) || !l.Began.IsZero() && at.Sub(l.Began) < apart {
		o.Dropped = true
		return false
	}
	o.newLife()
	o.ClearLife = true
	o.Record.Facts.LastContactAt = now
	*l = beside.Life{Began: l.Began, Ended: at, Over: true}
	return true
}

// sighting is anything else: it completes a beginning, or begins a life if there is none.
func (o *Outcome) sighting(s Sighting, now time.Time) bool {
	l := &o.Beside
	isEvent := s.Kind == Contacted || s.Kind == LaterTokens
	if isEvent && older(l, s.At) || l.Over && s.Kind == Contacted || s.Kind == Imported && o.isEnrolled() {
		o.Dropped = true
		return false
	}
	if !o.isEnrolled() && !o.hasBegun() {
		o.begin(time.Time{}, now)
		if s.Kind == Imported {
			o.Record.Facts.LastContactAt = time.Time{}
		}
	}
	return o.arrive(s, now)
}

// arrive completes an enrolment, and takes what else a sighting tells.
func (o *Outcome) arrive(s Sighting, now time.Time) bool {
	rec, changed := o.Record, false
	if s.Escrowed != nil && (rec.Facts.TokenUnknown || rec.Facts.BootstrapToken != *s.Escrowed) {
		rec.Facts.BootstrapToken, rec.Facts.TokenUnknown = *s.Escrowed, false
		changed = true
	}
	tokens := s.Kind == FirstTokens || s.Kind == LaterTokens
	if rec.Facts.Enrolled && !tokens {
		return changed
	}
	if !rec.Facts.Enrolled && !o.Beside.Told {
		o.Queries = append(o.Queries, besideQueries)
	}
	return o.tokensUpdated(now) || changed
}
