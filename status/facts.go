// Package status is what a Mac said: its reports, their merging, and the facts that follow from them.
package status

import (
	"time"

	"plimsoll/declarations/release"
)

// Facts is what is known about a Mac (rules 4). Groups are not among them: they are looked up when planning.
type Facts struct {
	ID        string `json:"id"` // enrollment id
	UDID      string `json:"udid,omitempty"`
	Serial    string `json:"serial,omitempty"`
	Name      string `json:"name,omitempty"`
	Model     string `json:"model,omitempty"`      // model identifier: Mac14,2
	ModelName string `json:"model_name,omitempty"` // marketing name
	// Family is what the device is if it is no Mac ("iPad", "Apple TV"); empty for Macs, and as long as nothing tells.
	Family string `json:"family,omitempty"`
	// Board is softwareupdate.device-id, or what stands in for it; BoardFrom says which: "report", "query" or "table".
	Board     string `json:"board,omitempty"`
	BoardFrom string `json:"board_from,omitempty"`

	Version           release.Version `json:"version,omitempty"`
	Build             string          `json:"build,omitempty"`
	SupplementalBuild string          `json:"supplemental_build,omitempty"`
	Letter            string          `json:"letter,omitempty"` // normalised: "a"

	Capabilities   Capabilities `json:"capabilities,omitzero"`
	BootstrapToken bool         `json:"bootstrap_token,omitempty"` // escrowed
	// TokenUnknown: whether the bootstrap token is escrowed is not known, because another server keeps it (rules 16).
	TokenUnknown bool `json:"token_unknown,omitempty"`
	// AppleSilicon and Supervised are the answers of DeviceInformation (rules 14).
	AppleSilicon Truth `json:"apple_silicon,omitempty"`
	Supervised   Truth `json:"supervised,omitempty"`

	Enrolled      bool      `json:"enrolled,omitempty"`
	EnrolledAt    time.Time `json:"enrolled_at,omitzero"` // UTC
	LastContactAt time.Time `json:"last_contact_at,omitzero"`
	LastReportAt  time.Time `json:"last_report_at,omitzero"`

	// IdentityEnds is when the certificate that the Mac enrolled with expires; IdentityChangedAt when it last took the place of
	// another one.
	IdentityEnds      time.Time `json:"identity_ends,omitzero"`
	IdentityChangedAt time.Time `json:"identity_changed_at,omitzero"`
	// IdentityCA is short for the CA that issued it; empty: not known.
	IdentityCA string `json:"identity_ca,omitempty"`
	// Topic is short for the push topic that the Mac enrolled with (TopicID); empty: not known.
	Topic string `json:"topic,omitempty"`
	// RefusedAt and Refused are time and cause of the last message under this Mac's name that was refused in this life.
	RefusedAt time.Time `json:"refused_at,omitzero"`
	Refused   string    `json:"refused,omitempty"`
	// Contradicted: the last report that named a serial number or UDID named others than the Mac enrolled with.
	Contradicted bool `json:"contradicted,omitempty"`
	// Conflict: the Mac names a declaration of another server as the cause of its update (rules 17).
	Conflict bool `json:"conflict,omitempty"`
}

// Capabilities is the part of management.client-capabilities that planning needs.
type Capabilities struct {
	Known       bool `json:"known,omitempty"` // the Mac has reported them
	Enforcement bool `json:"enforcement,omitempty"`
	Settings    bool `json:"settings,omitempty"`
	// Items has bit i set when the Mac supports the status item SubscribedItems[i].
	Items uint32 `json:"items,omitempty"`
}

// SubscribedItems are the status items that a Mac is asked to report (rules 7), sorted. The order is part of
// what is stored (Capabilities.Items): items are only ever appended.
var SubscribedItems = []string{
	"device.identifier.serial-number",
	"device.identifier.udid",
	"device.model.identifier",
	"device.model.marketing-name",
	"device.operating-system.build-version",
	"device.operating-system.family",
	"device.operating-system.marketing-name",
	"device.operating-system.supplemental.build-version",
	"device.operating-system.supplemental.extra-version",
	"device.operating-system.version",
	"management.declarations",
	"softwareupdate.beta-enrollment",
	"softwareupdate.device-id",
	"softwareupdate.failure-reason",
	"softwareupdate.install-reason",
	"softwareupdate.install-state",
	"softwareupdate.pending-version",
}

// Truth is a yes or no that may not be known yet.
type Truth uint8

// The values of a Truth.
const (
	NotKnown Truth = iota
	No
	Yes
)

// TruthOf is the Truth of an answer that may be missing.
func TruthOf(b *bool) Truth {
	switch {
	case b == nil:
		return NotKnown
	case *b:
		return Yes
	}
	return No
}
