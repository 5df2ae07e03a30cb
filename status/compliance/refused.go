package compliance

import (
	"strings"
	"time"

	"plimsoll/status"
)

// refusals are the causes for which a Mac's message is refused, as parts of a sentence. passing: another message that is taken
// ends it.
var refusals = map[string]struct {
	text, advice string
	passing      bool
}{
	"untrusted": {
		"no CA that is trusted issued its certificate",
		"Trust the CA that issued it (--device-ca), or enrol the Mac again.",
		true,
	},
	"expired": {"its certificate has expired", "Enrol the Mac again.", true},
	"not_yet_valid": {
		"its certificate is not valid yet", "Compare the clocks of this server and of the CA that issued it.", true,
	},
	"wrong_signature": {
		"the signature does not fit the message", "Look for a proxy that changes what the Mac sends.", true,
	},
	"replaced": {
		"it came under a certificate that the Mac has replaced",
		"If the Mac was erased or enrolled again on purpose, another copy of it still runs; otherwise somebody enrolled in its place: delete the device and enrol the Mac again.", false,
	},
	"revoked": {"it came under a certificate that was revoked", "Enrol the Mac again.", false},
	"other_certificate": {
		"it came under another certificate than the Mac enrolled with",
		"Enrol the Mac again if its certificate was renewed outside of enrolment; otherwise somebody tries to speak in its name.",
		false,
	},
	"copied_identity": {
		"another device sent it under this Mac's certificate",
		"Find the copy of this Mac (Migration Assistant, a restored image), remove its enrolment profile there, and enrol it by itself.",
		false,
	},
	"not_enrolled": {"the Mac is not enrolled", "Enrol the Mac again.", true},
	"malformed":    {"it cannot be read", "See the log of the server.", true},
}

// RefusalText is a cause of a refusal as a part of a sentence.
func RefusalText(cause string) string {
	if r, ok := refusals[cause]; ok {
		return r.text
	}
	return strings.ReplaceAll(cause, "_", " ")
}

// refusedLately tells whether the last refusal still says something: until the Mac is heard again, or while the other sender
// goes on.
func refusedLately(f *status.Facts, now time.Time) bool {
	switch {
	case f.RefusedAt.IsZero():
		return false
	case refusals[f.Refused].passing:
		return !f.LastContactAt.After(f.RefusedAt)
	}
	return now.Before(f.RefusedAt.Add(knocking))
}
