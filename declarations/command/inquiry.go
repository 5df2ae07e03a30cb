package command

import (
	"time"

	"plimsoll/declarations/release"
)

// The facts are asked at the next contact, at most every askEvery, until they are known; and once a day of a Mac that does not
// report by itself (rules 14).
const (
	askEvery  = 10 * time.Minute
	askDaily  = 24 * time.Hour
	reporting = 13 // from this major on a Mac reports its status by itself
	declared  = 14 // from this major on updates are declared
)

// DeviceQueries are the questions of DeviceInformation that a course needs, SecurityInfo aside.
var DeviceQueries = []string{
	"AwaitingConfiguration", "BuildVersion", "IsAppleSilicon", "IsSupervised", "OSVersion", "SoftwareUpdateDeviceID",
}

// Inquiry is what is remembered of the facts that were asked of a Mac.
type Inquiry struct {
	AskedAt time.Time `json:"a,omitzero"` // UTC; last
	// Answered: DeviceInformation was answered in this life, and not with AwaitingConfiguration; Secured: SecurityInfo was.
	Answered bool `json:"k,omitempty"`
	Secured  bool `json:"s,omitempty"`
	// TokenRequired and TokenAllowed are the answers of SecurityInfo.
	TokenRequired bool   `json:"r,omitempty"`
	TokenAllowed  string `json:"t,omitempty"`
}

// Take takes what an answer told.
func (q Inquiry) Take(in Info) Inquiry {
	switch {
	case in.AwaitingConfiguration != nil && *in.AwaitingConfiguration:
		q.Answered = false
	case in.AwaitingConfiguration != nil, in.AppleSilicon != nil, in.Supervised != nil: // it is not the version alone
		q.Answered = true
	}
	if in.Secured {
		q.Secured, q.TokenAllowed = true, in.TokenAllowed
		q.TokenRequired = in.TokenRequired != nil && *in.TokenRequired
	}
	return q
}

// Ask tells whether the facts are to be asked now, whether the Mac is to be woken for that, and when to look again (zero: at a
// contact). active: there is a course with a command due. A version that is not known is asked for.
func (q Inquiry) Ask(v release.Version, active bool, now time.Time, contact bool) (ask, push bool, next time.Time) {
	if v.Major() >= declared {
		return false, false, time.Time{}
	}
	since := now.Sub(q.AskedAt)
	if !(q.Answered && q.Secured) && contact && (q.AskedAt.IsZero() || since >= askEvery) {
		return true, false, now.Add(askDaily)
	}
	if v.Major() >= reporting && !active {
		return false, false, time.Time{}
	}
	if q.AskedAt.IsZero() || since >= askDaily {
		return true, true, now.Add(askDaily)
	}
	return false, false, q.AskedAt.Add(askDaily)
}
