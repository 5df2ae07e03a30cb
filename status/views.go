package status

import (
	"encoding/json"
	"iter"
	"strconv"
	"time"
)

// Has tells whether the Mac has reported a value for the item.
func (m Merged) Has(item string) bool { return len(m[item]) > 0 && !isNull(m[item]) }

// Text is the value of an item that is a string, empty for any other and for none.
func (m Merged) Text(item string) string { return text(m[item]) }

// InstallState is softwareupdate.install-state: "none", "waiting", "downloading", "prepared", "installing", "failed", or
// whatever a later macOS says. Empty when it is not known.
func (m Merged) InstallState() string { return m.Text(itemInstallState) }

// Pending is softwareupdate.pending-version: the update that macOS is about to install, with the BSI letter or build if
// it is one, and when it will be forced (wall time without a zone, as the Mac wrote it). All are empty when there is none.
func (m Merged) Pending() (osVersion, build, target string) {
	for k, v := range members(m[itemPendingVersion]) {
		switch string(k) {
		case "os-version":
			osVersion = text(v)
		case "build-version":
			build = text(v)
		case "target-local-date-time":
			target = text(v)
		}
	}
	return osVersion, build, target
}

// Failure is softwareupdate.failure-reason: how often the update failed (0: not at all), Apple's text for the last time,
// whole, and when that was (UTC; zero when it is not told). ok is false when the Mac has not reported it.
func (m Merged) Failure() (count int, reason string, at time.Time, ok bool) {
	for k, v := range members(m[itemFailureReason]) {
		switch string(k) {
		case "count":
			count, ok = countOf(v)
		case "reason":
			reason = text(v)
		case "timestamp":
			if t, err := time.Parse(time.RFC3339, text(v)); err == nil {
				at = t.UTC()
			}
		}
	}
	if !ok && reason != "" { // it says why, if not how often
		return 1, reason, at, true
	}
	return count, reason, at, ok
}

// countOf reads a number, or a text that is one, as a count: whole, not negative, at most a billion.
func countOf(v []byte) (n int, ok bool) {
	number := string(v)
	if v[0] == '"' {
		number = text(v)
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil || f != f {
		return 0, false
	}
	return int(min(max(f, 0), 1e9)), true
}

// InstallReason is softwareupdate.install-reason: what caused the pending update ("declaration", "system-settings", ...)
// and, for a declaration, its identifier.
func (m Merged) InstallReason() (reasons []string, declaration string) {
	for k, v := range members(m[itemInstallReason]) {
		switch string(k) {
		case "reason":
			for e := range elements(v) {
				if s := text(e); s != "" {
					reasons = append(reasons, s)
				}
			}
		case "declaration-id":
			declaration = text(v)
		}
	}
	return reasons, declaration
}

// DeclarationStatus is what a Mac says of one declaration that it holds.
type DeclarationStatus struct {
	Kind        string   `json:"kind"` // "activation", "asset", "configuration" or "management"
	Identifier  string   `json:"identifier"`
	ServerToken string   `json:"server_token"`
	Active      bool     `json:"active"`
	Valid       string   `json:"valid"` // "valid", "invalid" or "unknown"; an open list
	Reasons     []Reason `json:"reasons,omitempty"`
}

// declarationKinds are the arrays of management.declarations and the kinds of what they hold, in the order of Declarations.
var declarationKinds = [...]struct{ array, kind string }{
	{"activations", "activation"},
	{"assets", "asset"},
	{"configurations", "configuration"},
	{"management", "management"},
}

// entries yields the entries of management.declarations with their kinds: by kind, then in the order reported.
func (m Merged) entries() iter.Seq2[string, []byte] {
	return func(yield func(kind string, entry []byte) bool) {
		var arrays [len(declarationKinds)][]byte
		for k, v := range members(m[itemDeclarations]) {
			for i := range declarationKinds {
				if string(k) == declarationKinds[i].array {
					arrays[i] = v // the last one counts, as in encoding/json
				}
			}
		}
		for i, array := range arrays {
			for e := range elements(array) {
				if !yield(declarationKinds[i].kind, e) {
					return
				}
			}
		}
	}
}

// Declared is an entry of management.declarations; identifier and token are bytes of the status.
type Declared struct {
	Identifier, Token []byte
	Active            bool
	Valid             string
	reasons           []byte
}

// Reasons are the reasons of the entry.
func (d *Declared) Reasons() []Reason { return reasons(d.reasons) }

// Declared yields the entries that Declarations is made of with their kinds, the same one as often as it is reported.
func (m Merged) Declared() iter.Seq2[string, *Declared] {
	return func(yield func(kind string, d *Declared) bool) {
		for kind, e := range m.entries() {
			d := declared(e)
			if len(d.Identifier) > 0 && !yield(kind, &d) {
				return
			}
		}
	}
}

func declared(e []byte) Declared {
	var d Declared
	for k, v := range members(e) {
		switch string(k) {
		case "identifier":
			d.Identifier = unquoted(v)
		case "server-token":
			d.Token = unquoted(v)
		case "active":
			d.Active = string(v) == "true"
		case "valid":
			d.Valid = validity(v)
		case "reasons":
			d.reasons = v
		}
	}
	return d
}

// validity is the text of a value; Apple's own words take no memory.
func validity(v []byte) string {
	switch s := unquoted(v); string(s) {
	case "valid":
		return "valid"
	case "invalid":
		return "invalid"
	case "unknown":
		return "unknown"
	default:
		return string(s)
	}
}

// Declarations is management.declarations: by kind, then in the order reported. Entries are told apart by kind,
// identifier and server-token (while a declaration is being replaced, a Mac reports it under both tokens); of two that
// are alike the later counts. Entries without an identifier are left out.
func (m Merged) Declarations() []DeclarationStatus {
	var all []DeclarationStatus
	type key struct{ kind, identifier, token string }
	at := map[key]int{}
	for kind, e := range m.Declared() {
		d := DeclarationStatus{
			Kind: kind, Identifier: string(e.Identifier), ServerToken: string(e.Token), Active: e.Active, Valid: e.Valid, Reasons: e.Reasons(),
		}
		k := key{d.Kind, d.Identifier, d.ServerToken}
		if i, again := at[k]; again {
			all[i] = d
			continue
		}
		at[k] = len(all)
		all = append(all, d)
	}
	return all
}

// ClientCapabilities is the part of management.client-capabilities that planning needs; not Known when the Mac has not
// reported them, or nothing that can be read.
func (m Merged) ClientCapabilities() Capabilities { return capabilitiesOf(m[itemCapabilities]) }

const (
	typeEnforcement = "com.apple.configuration.softwareupdate.enforcement.specific"
	typeSettings    = "com.apple.configuration.softwareupdate.settings"
)

func capabilitiesOf(raw json.RawMessage) Capabilities {
	var configurations, items []byte
	for k, v := range members(member(raw, "supported-payloads")) {
		switch string(k) {
		case "declarations":
			configurations = member(v, "configurations")
		case "status-items":
			items = v
		}
	}
	if len(configurations) == 0 || configurations[0] != '[' {
		return Capabilities{}
	}
	c := Capabilities{Known: true}
	for e := range elements(configurations) {
		switch string(unquoted(e)) {
		case typeEnforcement:
			c.Enforcement = true
		case typeSettings:
			c.Settings = true
		}
	}
	if len(items) == 0 || items[0] != '[' {
		// Nothing to go by: better subscribe to too much (the Mac answers with errors) than to nothing.
		c.Items = 1<<len(SubscribedItems) - 1
		return c
	}
	for e := range elements(items) {
		if bit, ok := itemBits[string(unquoted(e))]; ok {
			c.Items |= 1 << bit
		}
	}
	return c
}

// itemBits are the positions of the subscribed items.
var itemBits = func() map[string]int {
	bits := make(map[string]int, len(SubscribedItems))
	for i, name := range SubscribedItems {
		bits[name] = i
	}
	return bits
}()
