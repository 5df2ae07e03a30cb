package compliance

import (
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
	return strings.ReplaceAll(filled(pattern, evidence), "….", "…")
}

func filled(pattern string, evidence map[string]any) string {
	var b strings.Builder
	b.Grow(len(pattern) + 64)
	for pattern != "" {
		i := strings.IndexAny(pattern, "[{")
		if i < 0 {
			b.WriteString(pattern)
			break
		}
		b.WriteString(pattern[:i])
		closing := byte('}')
		if pattern[i] == '[' {
			closing = ']'
		}
		n := strings.IndexByte(pattern[i:], closing)
		if n < 0 {
			b.WriteString(pattern[i:])
			break
		}
		part := pattern[i+1 : i+n]
		pattern = pattern[i+n+1:]
		if closing == ']' {
			if complete(part, evidence) {
				b.WriteString(filled(part, evidence))
			}
			continue
		}
		b.WriteString(show(evidence[part]))
		if part == "version" && present(evidence["letter"]) {
			b.WriteString(" (" + show(evidence["letter"]) + ")")
		}
	}
	return b.String()
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
func show(v any) string {
	switch v := v.(type) {
	case nil:
		return "?"
	case string:
		return shorten(v)
	case release.Version:
		return string(v)
	case int:
		return strconv.Itoa(v)
	case time.Time:
		return v.UTC().Format("2006-01-02 15:04 UTC")
	case declarations.Local:
		return strings.TrimSuffix(strings.Replace(v.String(), "T", " ", 1), ":00") // seconds only where there are any
	default:
		return shorten(fmt.Sprint(v))
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
