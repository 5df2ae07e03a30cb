// Package declarations is Apple's wire format: declarations, canonical JSON, tokens, manifests and the payloads we send.
package declarations

import (
	"encoding/json"
	"time"
)

// Kind is the class of a declaration, as it stands in a declaration's path.
type Kind string

// The kinds that Apple knows.
const (
	KindActivation    Kind = "activation"
	KindAsset         Kind = "asset"
	KindConfiguration Kind = "configuration"
	KindManagement    Kind = "management"
)

// The declarations that we send (rules 7), and the suffix of the activation that belongs to each.
const (
	IDStatus   = "plimsoll.status"
	IDOSUpdate = "plimsoll.os-update"
	IDBSI      = "plimsoll.bsi"
	IDSettings = "plimsoll.settings"

	ActivationSuffix = ".activation"
)

// Apple's declaration types that we use.
const (
	TypeActivation    = "com.apple.activation.simple"
	TypeSubscriptions = "com.apple.configuration.management.status-subscriptions"
	TypeEnforcement   = "com.apple.configuration.softwareupdate.enforcement.specific"
	TypeSettings      = "com.apple.configuration.softwareupdate.settings"
)

// Declaration is one declaration with its token. Body is the canonical JSON of the whole, as it is served.
type Declaration struct {
	Kind        Kind
	Type        string
	Identifier  string
	ServerToken string
	Body        []byte
}

// Item is a declaration as a manifest lists it.
type Item struct {
	Kind        Kind   `json:"k"`
	Identifier  string `json:"i"`
	ServerToken string `json:"t"`
}

// Manifest is the advertisement (rules 7) that declaration-items last returned to the Mac, with the time of that.
type Manifest struct {
	DeclarationsToken string    `json:"token"`
	Timestamp         time.Time `json:"timestamp"` // UTC, whole seconds; when the token last changed
	Items             []Item    `json:"items"`     // by kind, then identifier
	ServedAt          time.Time `json:"served_at"`
}

// SyncTokens is Apple's TokensResponse.
type SyncTokens struct {
	SyncTokens struct {
		DeclarationsToken string
		Timestamp         string
	}
}

// RawPayload is a payload as canonical JSON.
type RawPayload = json.RawMessage
