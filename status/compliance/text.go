package compliance

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"plimsoll/declarations"
	"plimsoll/declarations/release"
)

// shortText bounds what a sentence repeats of Apple's words, in bytes; the evidence has them whole.
const shortText = 240

// fill puts evidence into a pattern (see Code). A piece that is missing outside of brackets is shown as "?".
func fill(pattern string, evidence map[string]any) string {
	if !strings.ContainsAny(pattern, "[{") {
		return pattern
	}
	var room [256]byte
	return strings.ReplaceAll(string(appendFilled(room[:0], pattern, evidence)), "….", "…")
}

func appendFilled(b []byte, pattern string, evidence map[string]any) []byte {
	for {
		i := strings.IndexAny(pattern, "[{")
		if i < 0 {
			return append(b, pattern...)
		}
		b = append(b, pattern[:i]...)
		closing := byte('}')
		if pattern[i] == '[' {
			closing = ']'
		}
		n := strings.IndexByte(pattern[i:], closing)
		if n < 0 {
			return append(b, pattern[i:]...)
		}
		part := pattern[i+1 : i+n]
		pattern = pattern[i+n+1:]
		if closing == ']' {
			if complete(part, evidence) {
				b = appendFilled(b, part, evidence)
			}
			continue
		}
		b = appendShown(b, evidence[part])
		if part == "version" && present(evidence["letter"]) {
			b = append(b, " ("...)
			b = appendShown(b, evidence["letter"])
			b = append(b, ')')
		}
	}
}

// complete tells whether every {key} of a pattern without brackets has a value.
func complete(pattern string, evidence map[string]any) bool {
	for {
		i := strings.IndexByte(pattern, '{')
		if i < 0 {
			return true
		}
		n := strings.IndexByte(pattern[i:], '}')
		if n < 0 {
			return true
		}
		if _, ok := evidence[pattern[i+1:i+n]]; !ok {
			return false
		}
		pattern = pattern[i+n+1:]
	}
}

// show writes a piece of evidence for a person. Instants are shown in UTC.
func show(v any) string { return string(appendShown(nil, v)) }

func appendShown(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, '?')
	case string:
		return append(b, shorten(v)...)
	case release.Version:
		return append(b, v...)
	case int:
		return strconv.AppendInt(b, int64(v), 10)
	case time.Time:
		return v.UTC().AppendFormat(b, "2006-01-02 15:04 UTC")
	case declarations.Local:
		from := len(b)
		b = v.Append(b)
		if t := bytes.IndexByte(b[from:], 'T'); t >= 0 {
			b[from+t] = ' '
		}
		return b[:from+len(bytes.TrimSuffix(b[from:], []byte(":00")))] // seconds only where there are any
	default:
		return append(b, shorten(fmt.Sprint(v))...)
	}
}

// shorten cuts a text to shortText bytes, between characters, and takes the full stop at its end away.
func shorten(s string) string {
	s = strings.TrimRight(strings.TrimSpace(s), ".")
	if len(s) <= shortText {
		return s
	}
	n := shortText
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}
