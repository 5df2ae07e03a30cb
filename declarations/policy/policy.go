// Package policy holds what admins write, how it is checked, and to which Macs it applies, as pure functions.
package policy

import (
	"time"

	"plimsoll/declarations"
	"plimsoll/declarations/release"
)

// Policy is what an admin posts (rules 5). Pointers and empty strings mean "left out"; what was left out stays left out, so
// that
// what GET gives can be PUT back unchanged. The effective values come from Rule.
type Policy struct {
	Name               string                 `json:"name"`
	Label              string                 `json:"label,omitempty"`
	Priority           int                    `json:"priority"`
	Assign             Assign                 `json:"assign,omitzero"`
	OS                 *OS                    `json:"os,omitempty"`
	Updates            *Updates               `json:"updates,omitempty"`
	BackgroundSecurity *BackgroundSecurity    `json:"background_security,omitempty"`
	NoticeDays         *int                   `json:"notice_days,omitempty"` // 0 to 90
	Delay              *Delay                 `json:"delay,omitempty"`
	DetailsURL         string                 `json:"details_url,omitempty"` // a URL, or "self"
	Settings           *declarations.Settings `json:"settings,omitempty"`
	Rings              []Ring                 `json:"rings,omitempty"`
	Gate               *Gate                  `json:"gate,omitempty"`
	TimeZone           string                 `json:"time_zone,omitempty"`    // IANA, for deadlines told by command (rules 14)
	AtEnrolment        string                 `json:"at_enrolment,omitempty"` // AtEnrolmentNewest or AtEnrolmentFloor (rules 15)
}

// Assign tells which Macs a policy applies to; empty means every Mac.
type Assign struct {
	Groups        []string `json:"groups,omitempty"`
	ExcludeGroups []string `json:"exclude_groups,omitempty"`
	When          string   `json:"when,omitempty"`
}

// OS tells which major version is asked for.
type OS struct {
	Track             string `json:"track"`             // "current", "latest" or a major version
	Upgrade           string `json:"upgrade,omitempty"` // "enforce", "self_service" or "hold"
	UpgradeWithinDays *int   `json:"upgrade_within_days,omitempty"`
}

// Updates tells which releases are asked for, and by when.
type Updates struct {
	Mode                string              `json:"mode"` // "automatic", "minimum", "exact" or "none"
	WithinDays          *int                `json:"within_days,omitempty"`
	ExploitedWithinDays *int                `json:"exploited_within_days,omitempty"`
	Time                string              `json:"time,omitempty"` // "12:00"
	MinAgeDays          *int                `json:"min_age_days,omitempty"`
	Days                []string            `json:"days,omitempty"` // "mon" … "sun"; nil: all
	Version             release.Version     `json:"version,omitempty"`
	Versions            []release.Version   `json:"versions,omitempty"`
	Build               string              `json:"build,omitempty"`
	Deadline            *declarations.Local `json:"deadline,omitempty"`
}

// BackgroundSecurity tells how Background Security Improvements are enforced.
type BackgroundSecurity struct {
	Mode       string   `json:"mode"` // "automatic" or "none"
	WithinDays *int     `json:"within_days,omitempty"`
	Time       string   `json:"time,omitempty"`
	Days       []string `json:"days,omitempty"` // "mon" … "sun"; nil: all
}

// Delay tells how long a user may delay a deadline.
type Delay struct {
	MaxHours int `json:"max_hours"` // 0 to 24
}

// Stored is a policy with what the server remembers about it.
type Stored struct {
	Policy
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
	// Asks tells since when this policy's os goes on asking for which majors (rules 5, upgrade_within_days).
	Asks []Ask `json:"asks,omitempty"`
}

// Ask says that every major up to UpTo has been asked for since Since. The list is ordered by UpTo, and later steps are
// younger.
type Ask struct {
	UpTo  int       `json:"up_to"` // a major version, AnyMajor for the track "latest"
	Since time.Time `json:"since"`
}

// AnyMajor stands for the track "latest" in an Ask.
const AnyMajor = 1 << 30

// Reason is one answer to "why": a code with a sentence, what to do about it, and the evidence (rules 6 and 8).
type Reason struct {
	Code     string         `json:"code"`
	Text     string         `json:"text"`
	Advice   string         `json:"advice"`
	Evidence map[string]any `json:"evidence"`
}

// FieldError is one fault of a policy, by the JSON path of the field.
type FieldError struct {
	Field  string `json:"field"`
	Reason string `json:"reason"`
}
