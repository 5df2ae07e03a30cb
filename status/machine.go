package status

import "plimsoll/declarations/release"

// MachineInfo is what a Mac says of itself in Setup Assistant, before it enrols (rules 15). It can be replayed.
type MachineInfo struct {
	Serial, UDID string
	Model        string // PRODUCT: Mac14,2
	Version      string // OS_VERSION, from macOS 14 on
	Build        string // VERSION
	// SupplementalBuild and Letter are those of a Background Security Improvement.
	SupplementalBuild, Letter string
	Board                     string // SOFTWARE_UPDATE_DEVICE_ID, from macOS 14.4 on
	CanUpdate                 bool   // MDM_CAN_REQUEST_SOFTWARE_UPDATE
}

// Facts are the facts of such a Mac, as far as planning needs them. The enrollment id of a Mac is its UDID.
func (m *MachineInfo) Facts() Facts {
	f := Facts{
		ID: m.UDID, UDID: m.UDID, Serial: m.Serial, Model: m.Model, Board: m.Board, BoardFrom: "report",
		SupplementalBuild: m.SupplementalBuild, Letter: release.NormalLetter(m.Letter),
	}
	if v, err := release.ParseVersion(m.Version); err == nil && m.Build != "" {
		f.Version, f.Build = v, m.Build
	}
	if f.Board == "" {
		f.Board, _ = release.BoardOf(m.Model)
		f.BoardFrom = "table"
	}
	return f
}
