package cms

import (
	"bytes"
	"errors"

	"github.com/smallstep/pkcs7"
)

// maxNesting is how deep elements may lie in one another; a Mac's signatures and SCEP messages go 11 deep.
const maxNesting = 32

var ErrNesting = errors.New("its elements do not lie wholly in one another, or too deep")

// parseCMS reads CMS with pkcs7, which believes every length: it reads elements that overlap again and again, in time and
// memory that double with every level (84 bytes take a second), and takes time that grows with the square of the depth. Anybody
// may ask it to.
func Parse(b []byte) (*pkcs7.PKCS7, error) {
	if !WellNested(b) {
		return nil, ErrNesting
	}
	return pkcs7.Parse(b)
}

// wellNested tells whether the first element of b has all that is in it wholly in it, at most maxNesting deep.
func WellNested(b []byte) bool {
	_, ok := skipBER(b, maxNesting)
	return ok
}

// skipBER returns what follows the first element (X.690, 8.1), in the time that its bytes take to be looked at once.
func skipBER(b []byte, depth int) (rest []byte, ok bool) {
	if len(b) < 2 {
		return nil, false
	}
	constructed, i := b[0]&0x20 != 0, 1
	if b[0]&0x1f == 0x1f { // the tag's number follows
		for i < len(b) && b[i] >= 0x80 {
			i++
		}
		i++
	}
	if i >= len(b) {
		return nil, false
	}
	length, b := int(b[i]), b[i+1:]
	if constructed && depth == 0 {
		return nil, false
	}
	if length == 0x80 { // left open: two zero bytes end it, after one element at least, as pkcs7 has it
		for ok = constructed; ok; {
			if b, ok = skipBER(b, depth-1); ok && bytes.HasPrefix(b, []byte{0, 0}) {
				return b[2:], true
			}
		}
		return nil, false
	}
	if n := length & 0x7f; length > 0x80 {
		if n > 4 || n > len(b) {
			return nil, false
		}
		length = 0
		for _, digit := range b[:n] {
			length = length<<8 | int(digit)
		}
		b = b[n:]
	}
	if length < 0 || length > len(b) {
		return nil, false
	}
	content, rest := b[:length], b[length:]
	for constructed && len(content) > 0 {
		if content, ok = skipBER(content, depth-1); !ok {
			return nil, false
		}
	}
	return rest, true
}
