package mdm

import (
	"bytes"
	"encoding/base64"

	"github.com/micromdm/nanomdm/mdm"
)

const (
	xmlDeclaration = `<?xml version="1.0" encoding="UTF-8"?>`
	plistDoctype   = `<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">`
)

// readPlainPlist reads a DeclarativeManagement check-in that is written as Macs write it: one flat dictionary of plain ASCII.
// These are nearly all that Macs send, and NanoMDM's decoder takes ten times as long. What readPlainPlist returns is what that
// decoder would; of everything else it returns nil, which says no more than that the decoder has to read it.
func readPlainPlist(body []byte) *mdm.DeclarativeManagement {
	m := &mdm.DeclarativeManagement{Raw: body}
	texts := [...]struct {
		key   string
		value *string
		seen  bool
	}{
		{key: "UDID", value: &m.UDID},
		{key: "UserID", value: &m.UserID},
		{key: "UserShortName", value: &m.UserShortName},
		{key: "UserLongName", value: &m.UserLongName},
		{key: "EnrollmentID", value: &m.EnrollmentID},
		{key: "EnrollmentUserID", value: &m.EnrollmentUserID},
		{key: "MessageType", value: &m.MessageType.MessageType},
		{key: "Endpoint", value: &m.Endpoint},
	}
	in, seenData := scanner{body}, false
	if !in.take(xmlDeclaration) || !in.take(plistDoctype) || !in.take(`<plist version="1.0">`) || !in.take("<dict>") {
		return nil
	}
next:
	for !in.take("</dict>") {
		key, ok := in.text("<key>", "</key>")
		if !ok {
			return nil
		}
		if string(key) == "Data" {
			if m.Data, ok = in.data(); !ok || seenData {
				return nil
			}
			seenData = true
			continue
		}
		for i := range texts {
			if t := &texts[i]; string(key) == t.key {
				text, ok := in.text("<string>", "</string>")
				if !ok || t.seen {
					return nil
				}
				*t.value, t.seen = string(text), true
				continue next
			}
		}
		// NanoMDM reads no other key of this message.
		if in.take("<true/>") || in.take("<false/>") {
			continue
		}
		if _, ok := in.text("<string>", "</string>"); !ok {
			return nil
		}
	}
	if !in.take("</plist>") || !in.take("") || len(in.rest) > 0 || m.MessageType.MessageType != "DeclarativeManagement" {
		return nil
	}
	return m
}

// scanner takes what it is told to expect from the front of rest, or nothing.
type scanner struct{ rest []byte }

// take takes a literal, with the white space before it.
func (s *scanner) take(literal string) bool {
	s.rest = bytes.TrimLeft(s.rest, " \t\n")
	if len(s.rest) < len(literal) || string(s.rest[:len(literal)]) != literal {
		return false
	}
	s.rest = s.rest[len(literal):]
	return true
}

// text takes an element, if all its characters are printable ASCII and stand for themselves.
func (s *scanner) text(start, end string) ([]byte, bool) {
	if !s.take(start) {
		return nil, false
	}
	for i, c := range s.rest {
		switch {
		case c == '<':
			text := s.rest[:i]
			s.rest = s.rest[i:]
			return text, s.take(end)
		case c < ' ' || c > '~' || c == '&' || c == '>':
			return nil, false
		}
	}
	return nil, false
}

// data takes an element of base64, with white space around its lines.
func (s *scanner) data() ([]byte, bool) {
	if !s.take("<data>") {
		return nil, false
	}
	text, _, _ := bytes.Cut(s.rest, []byte("<"))
	s.rest = s.rest[len(text):]
	if !s.take("</data>") {
		return nil, false
	}
	if len(text) == 0 {
		return nil, true
	}
	joined := make([]byte, 0, len(text))
	for line := range bytes.Lines(text) {
		joined = append(joined, bytes.Trim(line, " \t\n")...)
	}
	decoded := make([]byte, base64.StdEncoding.DecodedLen(len(joined)))
	n, err := base64.StdEncoding.Decode(decoded, joined)
	return decoded[:n], err == nil
}
