package plan

import (
	"cmp"
	"time"

	"plimsoll/declarations/calendar"

	"plimsoll/declarations"
	"plimsoll/declarations/policy"
	"plimsoll/status"
)

// Mechanism is how a lane reaches a Mac (rules 14).
type Mechanism string

// The mechanisms.
const (
	ByDeclaration Mechanism = "declaration"
	ByCommand     Mechanism = "command"
	ByInstaller   Mechanism = "installer"
	ByNone        Mechanism = "none"
)

// MechanismNames are all mechanisms.
var MechanismNames = []Mechanism{ByDeclaration, ByCommand, ByInstaller, ByNone}

// MechanismRow is a line of the table of rules 14.
type MechanismRow struct {
	MacOS   string    `json:"macos"`
	Silicon string    `json:"silicon"` // "any", "apple" or "intel"; a Mac whose silicon is not known counts as Intel
	Patch   Mechanism `json:"patch"`
	Upgrade Mechanism `json:"upgrade"`

	from, to int // majors
}

// Mechanisms is the table of rules 14, newest macOS first.
var Mechanisms = []MechanismRow{
	{"14 and later", "any", ByDeclaration, ByDeclaration, 14, 1 << 30},
	{"13", "any", ByCommand, ByCommand, 13, 13},
	{"12", "apple", ByCommand, ByCommand, 12, 12},
	{"12", "intel", ByCommand, ByInstaller, 12, 12},
	{"11 and older", "any", ByNone, ByNone, 0, 11},
}

// MechanismOf is how a lane reaches a Mac, and why it does not: the code is empty for a declaration and a command.
func MechanismOf(f *status.Facts, l Lane) (by Mechanism, code string) {
	major := f.Version.Major()
	switch {
	case f.Supervised == status.No:
		return ByNone, CodeNotSupervised
	case major >= 14 && f.Capabilities.Known && !f.Capabilities.Enforcement:
		return ByNone, CodeEnforcementNotListed
	case l == BSI && major < 14:
		return ByNone, CodeMacOSTooOld
	}
	for _, row := range Mechanisms {
		if major < row.from || major > row.to ||
			row.Silicon != "any" && (row.Silicon == "apple") != (f.AppleSilicon == status.Yes) {
			continue
		}
		if by = row.Patch; l == Upgrade {
			by = row.Upgrade
		}
		break
	}
	switch by {
	case ByInstaller:
		return by, CodeNeedsInstaller
	case ByNone:
		return by, CodeMacOSTooOld
	}
	return by, ""
}

// zone is that in which the deadlines of the Mac are read that are told by command (rules 14).
func (in *input) zone() *time.Location {
	if in.rule.Zone != nil {
		return in.rule.Zone
	}
	return cmp.Or(in.b.Zone, time.UTC)
}

// pastAt is a moment as a deadline that has passed by then: read at UTC-12 for a declaration, in the Mac's zone for a command.
func (in *input) pastAt(l Lane, at time.Time) declarations.Local {
	if by, _ := MechanismOf(&in.m.Facts, l); by == ByCommand {
		return declarations.LocalIn(at, in.zone())
	}
	return declarations.LocalAt(at, declarations.LastZone)
}

// frozenAt is the strict freeze that covers the Mac and lasts in a zone now; nil if there is none.
func (in *input) frozenAt(zone *time.Location) (by *policy.Freeze) {
	for _, f := range in.freezes {
		if !f.Strict {
			continue
		}
		from, to := calendar.OnDay(0, f.From).In(zone), calendar.OnDay(0, f.To+1).In(zone)
		in.wait(from)
		in.wait(to)
		if by == nil && !in.now.Before(from) && in.now.Before(to) {
			by = f
		}
	}
	return by
}
