package fleet

import (
	"time"

	"plimsoll/declarations/plan"
	"plimsoll/declarations/release"
)

// Overview is what the dashboard shows of the fleet beside Compliance.
type Overview struct {
	// Due has the number of Macs whose deadline falls on each of the next 30 days, in the server's zone, today first.
	Due []DueDay `json:"due"`
	// DueByDay has the number of Macs whose deadline falls on a day (2026-12-04), for all days that have one.
	DueByDay map[string]int `json:"due_by_day"`
	// Adoption has, for each release that Apple offers now as the newest of its major, the Macs that run it or something
	// newer of that major, by day since it was posted (days on which nothing was kept are left out).
	Adoption []Adoption `json:"adoption"`
	// Attention groups the Macs that are not compliant by their most decisive reason, the largest group first.
	Attention []Attention `json:"attention"`
}

// DueDay is one day with the Macs whose deadline falls on it.
type DueDay struct {
	Date    string `json:"date"`
	Devices int    `json:"devices"`
}

// Adoption is how a release spread.
type Adoption struct {
	Version string        `json:"version"`
	Posted  string        `json:"posted"`
	Days    []AdoptionDay `json:"days"`
	Target  *plan.Target  `json:"target"`
}

// AdoptionDay is one day of an Adoption: Devices of all Macs on that major.
type AdoptionDay struct {
	Date    string `json:"date"`
	Devices int    `json:"devices"`
	Of      int    `json:"of"`
}

// Attention is a group of Macs that need attention for the same reason.
type Attention struct {
	Code    string `json:"code"`
	Text    string `json:"text"` // what the code means, in general
	Advice  string `json:"advice"`
	Devices int    `json:"devices"`
}

// Self is the page of one Mac as data (rules 9). It gives away nothing about any other Mac.
type Self struct {
	State          string       `json:"state"` // the Mac's state
	Fine           bool         `json:"fine"`  // nothing is required of the user
	Name           string       `json:"name"`
	ModelName      string       `json:"model_name"`
	CurrentVersion string       `json:"current_version"`
	CurrentLetter  string       `json:"current_letter"`
	Policy         string       `json:"policy"`   // label, or name, of the governing policy; empty when none governs
	Required       *plan.Target `json:"required"` // version and build that will be installed; null: nothing
	Letter         string       `json:"letter"`   // of a required Background Security Improvement
	Exploited      bool         `json:"exploited"`
	DeadlineLocal  *string      `json:"deadline_local"`
	Overdue        bool         `json:"overdue"`
	Phase          string       `json:"phase"`
	Reasons        []SelfReason `json:"reasons"`
	// Offered is the upgrade that the user may ask for; null: none. Asked: it was asked for.
	Offered *plan.Target `json:"offered"`
	Asked   bool         `json:"asked"`
	// DelaysLeft is how many hours the user may still take in this obligation; CanDelay: an hour may be taken now.
	// DelayFromLocal is when delaying becomes possible (24 h before the deadline); null when it is, or never will be.
	DelaysLeft     int     `json:"delays_left"`
	MaxHours       int     `json:"delay_max_hours"`
	CanDelay       bool    `json:"can_delay"`
	DelayFromLocal *string `json:"delay_from_local"`
	// ExemptUntil is when the exemption of the Mac ends, null when none lasts; UpdateNow tells that an admin has the Mac install at
	// once what is required (rules 12).
	ExemptUntil *time.Time `json:"exempt_until"`
	UpdateNow   bool       `json:"update_now"`
	// Freeze is the freeze that lasts and keeps what is, or will be, required from the Mac; null: none (rules 11).
	Freeze *SelfFreeze `json:"freeze"`
}

// SelfFreeze is a freeze for the user: days of the Mac's own calendar, both included.
type SelfFreeze struct {
	From release.Day `json:"from"`
	To   release.Day `json:"to"`
}

// SelfReason is a reason in words for the user.
type SelfReason struct {
	Code string `json:"code"`
	Text string `json:"text"`
}
