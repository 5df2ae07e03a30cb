package compliance

import (
	"strings"

	"plimsoll/declarations"
	"plimsoll/status"
)

// ForeignCause is the declaration that the Mac names as the cause of its update when it is not one of ours: neither one that this
// server makes nor one of the manifest that the Mac was served (rules 17). Empty: there is none. What types a Mac's declarations
// have is not reported, so nothing else can be known of another server's.
func ForeignCause(m status.Merged, served *declarations.Manifest) string {
	_, cause := m.InstallReason()
	if cause == "" || strings.HasPrefix(cause, "plimsoll.") {
		return ""
	}
	if _, ours := served.Find(declarations.KindConfiguration, cause); ours {
		return ""
	}
	return cause
}
