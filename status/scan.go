package status

import (
	"encoding/binary"
	"math/bits"
)

// deepest is the nesting at which encoding/json gives up.
const deepest = 10000

// invalid is where a value ends that is not JSON.
const invalid = -1

// scanner goes through bytes that nobody has looked at yet, once: it tells whether they are JSON, exactly as json.Valid does, and
// finds the secrets in them.
type scanner struct {
	in      []byte
	secrets bool   // whether secrets are looked for
	cuts    []span // what is a secret's: ascending, and not overlapping
}

type span struct{ from, to int }

// document tells whether the bytes are one JSON value with nothing but white space around it.
func (s *scanner) document() bool {
	end := s.value(space(s.in, 0), 0)
	return end != invalid && space(s.in, end) == len(s.in)
}

// value reads the value at i and returns the index after it, or invalid. depth is the nesting around it.
func (s *scanner) value(i, depth int) (end int) {
	if i >= len(s.in) {
		return invalid
	}
	switch s.in[i] {
	case '"':
		end, _ = strictString(s.in, i)
		return end
	case '{':
		return s.object(i, depth+1, nil)
	case '[':
		return s.array(i, depth+1)
	case 't':
		return word(s.in, i, "true")
	case 'f':
		return word(s.in, i, "false")
	case 'n':
		return word(s.in, i, "null")
	}
	return strictNumber(s.in, i)
}

func (s *scanner) array(i, depth int) (end int) {
	if depth > deepest {
		return invalid
	}
	i = space(s.in, i+1)
	if i < len(s.in) && s.in[i] == ']' {
		return i + 1
	}
	for {
		if i = s.value(i, depth); i == invalid {
			return invalid
		}
		i = space(s.in, i)
		switch {
		case i == len(s.in):
			return invalid
		case s.in[i] == ']':
			return i + 1
		case s.in[i] != ',':
			return invalid
		}
		i = space(s.in, i+1)
	}
}

// object reads the object at i and calls each, unless it is nil, for its members.
func (s *scanner) object(i, depth int, each func(key, val []byte)) (end int) {
	if depth > deepest {
		return invalid
	}
	kept := i + 1 // the end of the last member that stays
	i = space(s.in, i+1)
	if i < len(s.in) && s.in[i] == '}' {
		return i + 1
	}
	for {
		if i == len(s.in) || s.in[i] != '"' {
			return invalid
		}
		keyEnd, plain := strictString(s.in, i)
		if keyEnd == invalid {
			return invalid
		}
		val := space(s.in, keyEnd)
		if val == len(s.in) || s.in[val] != ':' {
			return invalid
		}
		val = space(s.in, val+1)
		found := len(s.cuts)
		if end = s.value(val, depth); end == invalid {
			return invalid
		}
		after := space(s.in, end)
		if after == len(s.in) || s.in[after] != ',' && s.in[after] != '}' {
			return invalid
		}
		last := s.in[after] == '}'
		after++
		if !last {
			after = space(s.in, after)
		}
		if s.secrets || each != nil {
			key := s.in[i+1 : keyEnd-1]
			if !plain {
				key = unquoted(s.in[i:keyEnd])
			}
			if each != nil {
				each(key, s.in[val:end:end])
			}
			if s.secrets && isSecret(key) {
				s.cuts = s.cuts[:found] // what is in it goes with it
				s.cut(i, end, after, kept, last)
			} else {
				kept = end
			}
		}
		if last {
			return after
		}
		i = after
	}
}

// cut takes the member out that begins at i and ends at end. The next one begins at after.
func (s *scanner) cut(i, end, after, kept int, last bool) {
	if !last {
		s.cuts = append(s.cuts, span{i, after})
		return
	}
	// The last member takes the comma before it along, and with it the secrets between.
	for len(s.cuts) > 0 && s.cuts[len(s.cuts)-1].from >= kept {
		s.cuts = s.cuts[:len(s.cuts)-1]
	}
	s.cuts = append(s.cuts, span{kept, end})
}

// word is the index after the word w, if that is what begins at i.
func word(b []byte, i int, w string) (end int) {
	if len(b)-i < len(w) || string(b[i:i+len(w)]) != w {
		return invalid
	}
	return i + len(w)
}

// strictNumber is the index after the number at i.
func strictNumber(b []byte, i int) (end int) {
	if i < len(b) && b[i] == '-' {
		i++
	}
	whole := i
	if i = digits(b, i); i == whole || b[whole] == '0' && i > whole+1 {
		return invalid
	}
	if i < len(b) && b[i] == '.' {
		fraction := i + 1
		if i = digits(b, fraction); i == fraction {
			return invalid
		}
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		exponent := i
		if i = digits(b, exponent); i == exponent {
			return invalid
		}
	}
	return i
}

// digits is the index after the digits at i.
func digits(b []byte, i int) int {
	for i < len(b) && b[i] >= '0' && b[i] <= '9' {
		i++
	}
	return i
}

// strictString is the index after the string whose opening quote is at i; bytes that are no UTF-8 may stand in it, as in
// encoding/json. plain: what is between the quotes is the text itself.
func strictString(b []byte, i int) (end int, plain bool) {
	plain = true
	for i++; ; {
		i = plainEnd(b, i)
		switch {
		case i == len(b):
			return invalid, false
		case b[i] == '"':
			return i + 1, plain
		case b[i] < ' ':
			return invalid, false
		}
		plain = false
		if b[i] != '\\' {
			for i < len(b) && b[i] >= 0x80 {
				i++
			}
			continue
		}
		if i+1 == len(b) {
			return invalid, false
		}
		switch b[i+1] {
		case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			i += 2
		case 'u':
			if len(b)-i < 6 || !isHex(b[i+2]) || !isHex(b[i+3]) || !isHex(b[i+4]) || !isHex(b[i+5]) {
				return invalid, false
			}
			i += 6
		default:
			return invalid, false
		}
	}
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// plainEnd is the index of the first byte at or after i that is not simply itself in a JSON string: a quote, a backslash, a
// control character, or a part of what is not ASCII. It looks at eight bytes at a time.
func plainEnd(b []byte, i int) int {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	for ; i+8 <= len(b); i += 8 {
		x := binary.LittleEndian.Uint64(b[i:])
		// The high bit of a byte tells, in x, that it is not ASCII; in each of the differences, that it is below a space, a quote, a
		// backslash. A difference borrows from the bytes after it only where it has found one already: the first found is right.
		quote, backslash := x^ones*'"', x^ones*'\\'
		if found := (x | (x - ones*' ') | (quote - ones) | (backslash - ones)) & high; found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	for i < len(b) && b[i] >= ' ' && b[i] != '"' && b[i] != '\\' && b[i] < 0x80 {
		i++
	}
	return i
}
