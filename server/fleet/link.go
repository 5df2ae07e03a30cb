package fleet

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"regexp"
	"strconv"
	"strings"

	"plimsoll/storage"
)

// linkSum is the signature of one life of one Mac (rules.md 9): the link dies with the enrolment, and does not expire before.
func (f *Fleet) linkSum(id string, life int) []byte {
	mac := hmac.New(sha256.New, f.linkKey)
	mac.Write([]byte(id + "\x00" + strconv.Itoa(life)))
	return mac.Sum(nil)[:18]
}

// link is the last part of the address of a Mac's own page.
func (f *Fleet) link(rec *storage.Record) string {
	enc := base64.RawURLEncoding
	return enc.EncodeToString([]byte(rec.Facts.ID)) + "." + enc.EncodeToString(f.linkSum(rec.Facts.ID, rec.Life))
}

// selfURL is the address of a Mac's own page; empty when no policy uses it, or when --url is not https.
func (f *Fleet) selfURL(book *current, rec *storage.Record) string {
	if !f.hasSelfPages() || !book.selfUsed {
		return ""
	}
	return f.selfAddress(rec)
}

func (f *Fleet) selfAddress(rec *storage.Record) string {
	return strings.TrimSuffix(f.o.URL, "/") + "/self/" + f.link(rec)
}

// SelfAddress is the address of an enrolled Mac's own page; empty when there is none. It is for admins only, to send to the Mac's user:
// whoever has it may do what the user may.
func (f *Fleet) SelfAddress(id string) string {
	rec := f.index.get(id)
	if rec == nil || !rec.Facts.Enrolled || !f.hasSelfPages() {
		return ""
	}
	return f.selfAddress(rec)
}

// hasSelfPages tells whether Macs have pages of their own: only when --url is https (rules.md 9).
func (f *Fleet) hasSelfPages() bool { return strings.HasPrefix(f.o.URL, "https://") }

// linkPattern is what link makes, also where JSON escapes slashes: a sum of 18 bytes is 24 characters.
var linkPattern = regexp.MustCompile(`self(\\?/)[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{24}`)

// HideLinks takes the links of Macs' own pages out of a text, for those who may only read: whoever has a link may do what the Mac's user may.
func HideLinks(text []byte) []byte { return linkPattern.ReplaceAll(text, []byte("self${1}(hidden)")) }

// ByLink finds the enrolled Mac that a link belongs to; nil for a link that was forged, cut, or has died.
func (f *Fleet) ByLink(link string) *storage.Record {
	name, sum, ok := strings.Cut(link, ".")
	if !ok {
		return nil
	}
	id, err := base64.RawURLEncoding.DecodeString(name)
	if err != nil {
		return nil
	}
	given, err := base64.RawURLEncoding.DecodeString(sum)
	if err != nil {
		return nil
	}
	rec := f.index.get(string(id))
	life := 0
	if rec != nil {
		life = rec.Life
	}
	if !hmac.Equal(given, f.linkSum(string(id), life)) || rec == nil || !rec.Facts.Enrolled {
		return nil
	}
	return rec
}
