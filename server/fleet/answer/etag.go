package answer

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
)

// ETag is the ETag of anything that has a stable JSON, with its quotes.
func ETag(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return `""`
	}
	sum := sha256.Sum256(b)
	return `"` + hex.EncodeToString(sum[:12]) + `"`
}

// Matches tells whether an If-Match header is satisfied by a stored object's ETag; current is empty when there is no such
// object.
func Matches(ifMatch, current string) bool {
	if ifMatch == "" {
		return true
	}
	if current == "" {
		return false
	}
	for want := range strings.SplitSeq(ifMatch, ",") {
		if want = strings.TrimPrefix(strings.TrimSpace(want), "W/"); want == "*" || want == current {
			return true
		}
	}
	return false
}
