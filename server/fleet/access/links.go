package access

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"regexp"
	"strconv"
	"strings"
)

// Links makes and reads the addresses of Macs' own pages (rules 9). The zero value makes none.
type Links struct {
	URL string // of the server; Macs have pages of their own only when it is https
	Key []byte // signs the links; the same on every replica
}

// sum is the signature of one life of one Mac: the link dies with the enrolment, and does not expire before.
func (l *Links) sum(id string, life int) []byte {
	mac := hmac.New(sha256.New, l.Key)
	mac.Write([]byte(id + "\x00" + strconv.Itoa(life)))
	return mac.Sum(nil)[:18]
}

// Of is the last part of the address of the page of a Mac, in one of its lives.
func (l *Links) Of(id string, life int) string {
	enc := base64.RawURLEncoding
	return enc.EncodeToString([]byte(id)) + "." + enc.EncodeToString(l.sum(id, life))
}

// Address is the address of a Mac's own page.
func (l *Links) Address(id string, life int) string {
	return strings.TrimSuffix(l.URL, "/") + "/self/" + l.Of(id, life)
}

// Pages tells whether Macs have pages of their own: only when the server's URL is https.
func (l *Links) Pages() bool { return strings.HasPrefix(l.URL, "https://") }

// Read finds the Mac that a link names, and whether the link is signed for the life that life gives for it. It takes as
// long for a Mac that is not known, for which life gives 0.
func (l *Links) Read(link string, life func(id string) int) (id string, ok bool) {
	name, sum, ok := strings.Cut(link, ".")
	if !ok {
		return "", false
	}
	decoded, err := base64.RawURLEncoding.DecodeString(name)
	if err != nil {
		return "", false
	}
	given, err := base64.RawURLEncoding.DecodeString(sum)
	if err != nil {
		return "", false
	}
	id = string(decoded)
	return id, hmac.Equal(given, l.sum(id, life(id)))
}

// linkPattern is what Of makes, also where JSON escapes slashes: a sum of 18 bytes is 24 characters.
var linkPattern = regexp.MustCompile(`self(\\?/)[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{24}`)

// HideLinks takes the links of Macs' own pages out of a text, for those who may only read: whoever has a link may do what
// the Mac's user may.
func HideLinks(text []byte) []byte { return linkPattern.ReplaceAll(text, []byte("self${1}(hidden)")) }
