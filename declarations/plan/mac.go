package plan

import (
	"time"

	"plimsoll/declarations"
	"plimsoll/declarations/release"
	"plimsoll/status"
)

// Lane numbers the three lanes of rules 6.1.
type Lane int

// The lanes.
const (
	Patch Lane = iota
	Upgrade
	BSI
	lanes
)

// String is the lane's name in the API.
func (l Lane) String() string { return [...]string{"patch", "upgrade", "bsi"}[l] }

// LaneState is what is remembered of one lane of one Mac (rules 6.4). The zero value: no obligation, no promise.
type LaneState struct {
	// Since is when the obligation began: since then the lane has had a target without a break. Zero: it has none.
	Since time.Time `json:"s,omitzero"`
	// Target is the build that was the lane's target last.
	Target string `json:"t,omitempty"`
	// Promise is the deadline that was last advertised in this lane; 0: none.
	Promise declarations.Local `json:"p,omitzero"`
	// Served is the deadline that was last served (by declaration-items) in this obligation; 0: none.
	Served declarations.Local `json:"v,omitzero"`
	// Renewed: the promise was made anew because it had never been served, and has not been served since.
	Renewed bool `json:"r,omitempty"`
	// Returned: the promise was made anew once in this obligation because the Mac came back from silence.
	Returned bool `json:"b,omitempty"`
	// Told is the build that was advertised in this lane last. It is forgotten with the Mac's life, not with the obligation
	// (rules 13).
	Told string `json:"o,omitempty"`
}

// LaneStates are the three lanes of one Mac.
type LaneStates [lanes]LaneState

// Delayed is a delay that the user of a Mac took (rules 9). It holds for one obligation of one lane.
type Delayed struct {
	Lane  Lane               `json:"l"`
	Since time.Time          `json:"s"` // the obligation it belongs to
	Until declarations.Local `json:"u"` // the deadline that replaces the lane's
	Hours int                `json:"h"` // hours taken so far
}

// Wish is an upgrade that the user of a Mac asked for (rules 9).
type Wish struct {
	Major int       `json:"m"` // the track's major at that time
	At    time.Time `json:"a"` // UTC
}

// Exemption keeps OS updates and BSIs from one Mac for a time (rules 12).
type Exemption struct {
	Until  time.Time `json:"until"` // UTC
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
	By     string    `json:"by,omitempty"`
}

// UpdateNow is what an admin has one Mac install at once (rules 12).
type UpdateNow struct {
	Lane    Lane            `json:"lane"`
	Build   string          `json:"build"`
	Version release.Version `json:"version"`
	At      time.Time       `json:"at"` // UTC
	Reason  string          `json:"reason"`
	By      string          `json:"by,omitempty"`
}

// PendingAfterNow is for how long after an admin's update now a Mac is not overdue, updateNowLasts for how long the wish lasts
// (rules 12).
const (
	PendingAfterNow = 24 * time.Hour
	updateNowLasts  = 7 * 24 * time.Hour
)

// EndsAt is when the wish lapses.
func (u *UpdateNow) EndsAt() time.Time { return u.At.Add(updateNowLasts) }

// Mac is what planning needs to know of one Mac: its facts and what it was promised.
type Mac struct {
	Facts status.Facts
	Lanes LaneStates
	// Generation makes the Mac sync again although nothing changed; it enters the DeclarationsToken when above 0 (rules 10).
	Generation uint64
	// Asks: the Mac itself asks now (tokens or declaration-items); a sweep does not.
	Asks bool
	// BackAt is the last contact that ended a silence of more than 7 days, zero if there was none (rules 6.4).
	BackAt  time.Time
	Delayed *Delayed
	Wish    *Wish
	// Exemption and UpdateNow are an admin's; nil when there is none.
	Exemption *Exemption
	UpdateNow *UpdateNow
	// SelfURL is the address of the Mac's own page, empty when there is none (rules 9).
	SelfURL string
}

// MarkServed is what the lanes are once the declarations of p, whose lanes are s, were served to the Mac (rules 6.4).
func (s LaneStates) MarkServed(p *Plan) LaneStates {
	if !p.Enforced() || p.Mechanism != ByDeclaration {
		return s
	}
	return s.serve(p)
}

// MarkCommanded is MarkServed for a lane that is told by command: a NotifyOnly or an install command was acknowledged (rules
// 14).
func (s LaneStates) MarkCommanded(p *Plan) LaneStates {
	if !p.Enforced() || p.Mechanism != ByCommand {
		return s
	}
	return s.serve(p)
}

func (s LaneStates) serve(p *Plan) LaneStates {
	l, planned := &s[p.Lane], &p.NextLanes[p.Lane]
	if l.Since.Equal(planned.Since) && planned.Promise != 0 {
		l.Served = planned.Promise
		l.Renewed = l.Renewed && l.Promise != planned.Promise
	}
	return s
}
