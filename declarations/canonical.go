package declarations

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"
)

// maxDepth bounds the nesting of what is canonicalised; no payload of Apple's comes near it.
const maxDepth = 128

// maxInteger is the largest integer that every JSON implementation reads exactly (RFC 8785, 3.2.2.3).
const maxInteger = 1<<53 - 1

// Canonical is the canonical JSON (RFC 8785) of v: of a json.RawMessage or []byte as JSON text, of anything else as
// encoding/json sees it. Numbers must be integers of at most 53 bits, which is all that Apple's payloads need.
func Canonical(v any) ([]byte, error) {
	switch raw := v.(type) {
	case json.RawMessage:
		return CanonicalJSON(raw)
	case []byte:
		return CanonicalJSON(raw)
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("canonical JSON of a %T: %w", v, err)
	}
	return CanonicalJSON(raw)
}

// CanonicalJSON brings JSON text into its canonical form (RFC 8785). Text that is not valid UTF-8, repeats a key of an
// object, has a number that is not an integer of at most 53 bits or nests deeper than 128 levels is refused.
func CanonicalJSON(raw []byte) ([]byte, error) {
	if !utf8.Valid(raw) {
		return nil, errors.New("canonical JSON: the text is not valid UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	out, err := appendValue(make([]byte, 0, len(raw)), dec, 0)
	if err != nil {
		return nil, fmt.Errorf("canonical JSON: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("canonical JSON: there is more than one value")
	}
	return out, nil
}

func appendValue(dst []byte, dec *json.Decoder, depth int) ([]byte, error) {
	tok, err := dec.Token()
	if errors.Is(err, io.EOF) {
		return nil, io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, err
	}
	return appendToken(dst, tok, dec, depth)
}

func appendToken(dst []byte, tok json.Token, dec *json.Decoder, depth int) ([]byte, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("nested deeper than %d levels", maxDepth)
	}
	switch tok := tok.(type) {
	case nil:
		return append(dst, "null"...), nil
	case bool:
		return strconv.AppendBool(dst, tok), nil
	case string:
		return appendString(dst, tok), nil
	case json.Number:
		return appendInteger(dst, tok)
	case json.Delim:
		if tok == '[' {
			return appendArray(dst, dec, depth)
		}
		return appendObject(dst, dec, depth)
	}
	return nil, fmt.Errorf("unexpected %v", tok)
}

func appendInteger(dst []byte, n json.Number) ([]byte, error) {
	if i, err := n.Int64(); err == nil && i >= -maxInteger && i <= maxInteger {
		return strconv.AppendInt(dst, i, 10), nil
	}
	// 1.0 and 1e3 are integers too.
	f, err := n.Float64()
	if err != nil || f != math.Trunc(f) || math.Abs(f) > maxInteger {
		return nil, fmt.Errorf("the number %s is not an integer of at most 53 bits", n)
	}
	return strconv.AppendInt(dst, int64(f), 10), nil
}

func appendArray(dst []byte, dec *json.Decoder, depth int) ([]byte, error) {
	dst = append(dst, '[')
	for first := true; ; first = false {
		tok, err := dec.Token()
		if err != nil {
			return nil, err
		}
		if tok == json.Delim(']') {
			return append(dst, ']'), nil
		}
		if !first {
			dst = append(dst, ',')
		}
		if dst, err = appendToken(dst, tok, dec, depth+1); err != nil {
			return nil, err
		}
	}
}

func appendObject(dst []byte, dec *json.Decoder, depth int) ([]byte, error) {
	type member struct {
		key   string
		value []byte
	}
	var members []member
	for {
		tok, err := dec.Token()
		if err != nil {
			return nil, err
		}
		key, ok := tok.(string)
		if !ok {
			break // the closing brace: the decoder lets nothing else stand in a key's place
		}
		value, err := appendValue(nil, dec, depth+1)
		if err != nil {
			return nil, err
		}
		members = append(members, member{key, value})
	}
	slices.SortFunc(members, func(a, b member) int { return compareUTF16(a.key, b.key) })
	dst = append(dst, '{')
	for i, m := range members {
		if i > 0 {
			if members[i-1].key == m.key {
				return nil, fmt.Errorf("the key %q is repeated", m.key)
			}
			dst = append(dst, ',')
		}
		dst = append(appendString(dst, m.key), ':')
		dst = append(dst, m.value...)
	}
	return append(dst, '}'), nil
}

// compareUTF16 orders strings by their UTF-16 code units, as RFC 8785 wants it. That is the order of the runes, except
// that those beyond the basic plane are written with surrogates, which lie below U+E000.
func compareUTF16(a, b string) int {
	for a != "" && b != "" {
		x, n := utf8.DecodeRuneInString(a)
		y, m := utf8.DecodeRuneInString(b)
		if x != y {
			if high := x > 0xFFFF; high != (y > 0xFFFF) && min(x, y) >= 0xE000 {
				if high {
					return -1
				}
				return 1
			}
			return int(x - y)
		}
		a, b = a[n:], b[m:]
	}
	return len(a) - len(b)
}

const hexDigits = "0123456789abcdef"

// appendString writes a JSON string as RFC 8785 wants it: only what must be escaped is. Invalid UTF-8 becomes U+FFFD,
// as in encoding/json.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				dst = append(append(dst, s[start:i]...), "\uFFFD"...)
				start = i + 1
			}
			i += n
			continue
		}
		if c >= 0x20 && c != '"' && c != '\\' {
			i++
			continue
		}
		dst = append(dst, s[start:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\b':
			dst = append(dst, '\\', 'b')
		case '\t':
			dst = append(dst, '\\', 't')
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\f':
			dst = append(dst, '\\', 'f')
		case '\r':
			dst = append(dst, '\\', 'r')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		start = i
	}
	return append(append(dst, s[start:]...), '"')
}
