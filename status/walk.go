package status

import (
	"bytes"
	"encoding/json"
	"iter"
	"unicode/utf8"
)

// The functions of this file step through JSON without decoding it. They are meant for bytes that a scanner has
// accepted; on any others they still end and stay within the slice, but what they yield is arbitrary.

// space is the index of the first byte at or after i that is no white space.
func space(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// stringEnd is the index after the string whose opening quote is at i.
func stringEnd(b []byte, i int) int {
	for j := i + 1; j < len(b); j++ {
		k := bytes.IndexByte(b[j:], '"')
		if k < 0 {
			break
		}
		j += k
		n := j
		for n > i+1 && b[n-1] == '\\' {
			n--
		}
		if (j-n)%2 == 0 { // an odd number of backslashes escapes the quote
			return j + 1
		}
	}
	return len(b)
}

// scalarEnd is the index after the number or word that begins at i.
func scalarEnd(b []byte, i int) int {
	for i < len(b) {
		switch b[i] {
		case ',', '}', ']', ':', ' ', '\n', '\t', '\r':
			return i
		}
		i++
	}
	return i
}

// valueEnd is the index after the value that begins at i. It does not recurse, so depth costs nothing.
func valueEnd(b []byte, i int) int {
	if i >= len(b) {
		return len(b)
	}
	switch b[i] {
	case '"':
		return stringEnd(b, i)
	case '{', '[':
	default:
		return max(scalarEnd(b, i), min(i+1, len(b)))
	}
	for depth := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			i = stringEnd(b, i) - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return len(b)
}

// memberAt reads the key that begins at i (still quoted: b[i:keyEnd]) and finds where its value begins.
// ok is false at the end of the object.
func memberAt(b []byte, i int) (keyEnd, val int, ok bool) {
	if i >= len(b) || b[i] != '"' {
		return i, i, false
	}
	keyEnd = stringEnd(b, i)
	val = space(b, keyEnd)
	if val >= len(b) || b[val] != ':' {
		return keyEnd, val, false
	}
	val = space(b, val+1)
	return keyEnd, val, val < len(b)
}

// next steps over the comma that may follow a member or an element ending at i.
func next(b []byte, i int) int {
	i = space(b, i)
	if i < len(b) && b[i] == ',' {
		return space(b, i+1)
	}
	return i
}

// members yields the members of an object, in the order in which they stand; nothing for any other value.
func members(b []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, val []byte) bool) {
		i := space(b, 0)
		if i >= len(b) || b[i] != '{' {
			return
		}
		for i = space(b, i+1); ; {
			keyEnd, val, ok := memberAt(b, i)
			if !ok {
				return
			}
			end := valueEnd(b, val)
			if !yield(unquoted(b[i:keyEnd]), b[val:end:end]) {
				return
			}
			i = next(b, end)
		}
	}
}

// elements yields the elements of an array; nothing for any other value.
func elements(b []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		i := space(b, 0)
		if i >= len(b) || b[i] != '[' {
			return
		}
		for i = space(b, i+1); i < len(b) && b[i] != ']'; {
			end := valueEnd(b, i)
			if !yield(b[i:end:end]) {
				return
			}
			i = next(b, end)
		}
	}
}

// member is the value of a key of an object, nil when there is none.
func member(b []byte, key string) []byte {
	var found []byte
	for k, v := range members(b) {
		if string(k) == key {
			found = v // the last one counts, as in encoding/json
		}
	}
	return found
}

// unquoted is the text of a quoted string; the bytes themselves where nothing is escaped.
func unquoted(b []byte) []byte {
	if len(b) < 2 || b[0] != '"' {
		return nil
	}
	in := b[1 : len(b)-1]
	if plainEnd(in, 0) == len(in) || bytes.IndexByte(in, '\\') < 0 && utf8.Valid(in) {
		return in
	}
	var s string
	if json.Unmarshal(b, &s) != nil {
		return nil
	}
	return []byte(s)
}

// text is the text of a string value, empty for any other value.
func text(b []byte) string { return string(unquoted(b)) }

// isNull tells whether a value is JSON's null.
func isNull(b []byte) bool { return string(b) == "null" }

const hexDigits = "0123456789abcdef"

// appendQuoted appends s as JSON with the fewest escapes (as RFC 8785 has it). s must be valid UTF-8.
func appendQuoted[T string | []byte](dst []byte, s T) []byte {
	dst = append(dst, '"')
	from := 0 // what is before it has been appended
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		case '\b':
			dst = append(dst, '\\', 'b')
		case '\f':
			dst = append(dst, '\\', 'f')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	dst = append(dst, s[from:]...)
	return append(dst, '"')
}
