package plan

import "plimsoll/status"

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
