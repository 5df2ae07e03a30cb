// Package release knows Apple's releases: versions, builds, boards and the catalogue they form, as data.
package release

import (
	"fmt"
	"strconv"
	"strings"
)

// Version is a macOS version exactly as Apple's feed writes it ("26.4", "15.7.9").
// It is compared number by number, missing parts being zero, and sent unchanged (rules 2).
// The zero value means "not known".
type Version string

// ParseVersion accepts digits separated by dots, at most four parts of at most six digits.
func ParseVersion(s string) (Version, error) {
	if s == "" {
		return "", fmt.Errorf("version is empty")
	}
	parts := strings.Split(s, ".")
	if len(parts) > 4 {
		return "", fmt.Errorf("version %q has more than four parts", s)
	}
	for _, p := range parts {
		if p == "" || len(p) > 6 {
			return "", fmt.Errorf("version %q is not numbers separated by dots", s)
		}
		for _, c := range []byte(p) {
			if c < '0' || c > '9' {
				return "", fmt.Errorf("version %q is not numbers separated by dots", s)
			}
		}
	}
	return Version(s), nil
}

// next splits the first number off s; anything that is not a digit ends it.
func next(s string) (n int, rest string) {
	i := 0
	for ; i < len(s) && s[i] >= '0' && s[i] <= '9'; i++ {
		if n < 1<<40 {
			n = n*10 + int(s[i]-'0')
		}
	}
	if i < len(s) && s[i] == '.' {
		return n, s[i+1:]
	}
	return n, ""
}

// Compare is negative when v is older than w, zero when they are equal (26.4 and 26.4.0), positive when newer.
func (v Version) Compare(w Version) int {
	a, b := string(v), string(w)
	for a != "" || b != "" {
		var x, y int
		x, a = next(a)
		y, b = next(b)
		if x != y {
			return x - y
		}
	}
	return 0
}

// key is the same for versions that compare as equal: no leading zeros, no trailing zero parts.
func (v Version) key() Version {
	var b []byte
	zeros := 0
	for rest := string(v); rest != ""; {
		var n int
		n, rest = next(rest)
		if n == 0 {
			zeros++
			continue
		}
		for ; zeros > 0; zeros-- {
			b = append(b, "0."...)
		}
		b = append(strconv.AppendInt(b, int64(n), 10), '.')
	}
	return Version(b)
}

// Major is the first number, 0 when the version is not known.
func (v Version) Major() int {
	n, _ := next(string(v))
	return n
}

// NormalLetter brings "(a)", "a" and "(A)" to "a", and everything that is no letter to "".
func NormalLetter(s string) string {
	s = strings.ToLower(strings.Trim(strings.TrimSpace(s), "()"))
	if len(s) != 1 || s[0] < 'a' || s[0] > 'z' {
		return ""
	}
	return s
}

// SplitLetter reads a version as macOS shows one with a Background Security Improvement on it, "26.3.1 (a)": the base version
// and the letter, empty when there is none (rules 2).
func SplitLetter(s string) (Version, string, error) {
	base, extra, found := strings.Cut(strings.TrimSpace(s), " (")
	letter := ""
	if found {
		if letter = NormalLetter("(" + extra); letter == "" {
			return "", "", fmt.Errorf("version %q has something in brackets that is not a letter", s)
		}
	}
	v, err := ParseVersion(strings.TrimSpace(base))
	return v, letter, err
}
