package declarations

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
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
	if err := canonicalisable(raw); err != nil {
		return nil, fmt.Errorf("canonical JSON: %w", err)
	}
	out := jsontext.Value(bytes.Clone(raw))
	if err := out.Canonicalize(); err != nil {
		return nil, fmt.Errorf("canonical JSON: %w", err)
	}
	return out, nil
}

// canonicalisable refuses the numbers and the nesting that RFC 8785 allows and Apple's payloads never have: a number that is no
// integer of 53 bits would be rounded in silence.
func canonicalisable(raw []byte) error {
	dec := jsontext.NewDecoder(bytes.NewReader(raw))
	for {
		tok, err := dec.ReadToken()
		switch {
		case errors.Is(err, io.EOF):
			return nil // an empty text is refused by Canonicalize
		case err != nil:
			return err
		case dec.StackDepth() > maxDepth+1:
			return fmt.Errorf("nested deeper than %d levels", maxDepth)
		case tok.Kind() == '0' && !isInteger(tok.String()):
			return fmt.Errorf("the number %s is not an integer of at most 53 bits", tok)
		}
	}
}

// isInteger tells whether a JSON number is an integer of at most 53 bits; 1.0 and 1e3 are integers too.
func isInteger(number string) bool {
	f, err := strconv.ParseFloat(number, 64)
	return err == nil && f == math.Trunc(f) && math.Abs(f) <= maxInteger
}

// appendString writes a JSON string as RFC 8785 wants it: only what must be escaped is. Invalid UTF-8 becomes U+FFFD, as in
// encoding/json.
func appendString(dst []byte, s string) []byte {
	dst, _ = jsontext.AppendQuote(dst, s) // the error tells of invalid UTF-8 and leaves the string written
	return dst
}
