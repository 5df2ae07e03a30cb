package storage

import (
	_ "embed"
	"encoding/binary"
	"errors"
	"sync"
)

// Status reports, and what is merged from them, make up most of what is written, and say mostly the same. They are encoded against a
// dictionary of what Macs say, without an entropy coder: a sixth of deflate's time, and less than its size.
//
// The encoding is much like an LZ4 block whose history begins with the dictionary. A sequence is: a byte with the number of literals (high
// half) and the length of a match less 4 (low half); when the former is 15, further bytes, which are added, up to one below 255; the
// literals; the rest of the latter in the same way; the distance back to the match, two bytes, little endian. The last one ends with its literals.

// dictionary must never change: what was encoded against it could not be read any more. Another one needs a header of its own.
//
//go:embed dictionary.txt
var dictionary string

const (
	lzMost     = 32 << 10 // the longest value; with the dictionary a distance must fit two bytes
	lzMinMatch = 4
	lzHashBits = 13
)

var errDamagedLZ = errors.New("damaged value: not what was encoded")

// lzTable has the last position of each four bytes, by their hash; 0: none.
type lzTable [1 << lzHashBits]uint16

func (t *lzTable) at(b []byte, i int) *uint16 {
	return &t[binary.LittleEndian.Uint32(b[i:])*2654435761>>(32-lzHashBits)]
}

// lzDictionary is the table of the dictionary alone.
var lzDictionary = sync.OnceValue(func() *lzTable {
	t, b := new(lzTable), []byte(dictionary)
	for i := 1; i+lzMinMatch <= len(b); i++ {
		*t.at(b, i) = uint16(i)
	}
	return t
})

// lzEncoder is the memory that one encoding needs.
type lzEncoder struct {
	table lzTable
	in    []byte // the dictionary, and after it the value
}

var lzEncoders = sync.Pool{New: func() any { return &lzEncoder{in: []byte(dictionary)} }}

// lzEncode appends the encoding of val, of at most lzMost bytes, to dst.
func lzEncode(dst, val []byte) []byte {
	e := lzEncoders.Get().(*lzEncoder)
	defer lzEncoders.Put(e)
	e.table = *lzDictionary()
	e.in = append(e.in[:len(dictionary)], val...)
	in, done := e.in, len(dictionary)
	for i := done; i+lzMinMatch <= len(in); {
		slot := e.table.at(in, i)
		at := int(*slot)
		*slot = uint16(i)
		if at == 0 || binary.LittleEndian.Uint32(in[at:]) != binary.LittleEndian.Uint32(in[i:]) {
			i++
			continue
		}
		end := i + lzMinMatch
		for from := at + lzMinMatch; end < len(in) && in[from] == in[end]; from++ {
			end++
		}
		for i > done && at > 0 && in[at-1] == in[i-1] {
			at--
			i--
		}
		dst = lzSequence(dst, in[done:i], end-i)
		dst = binary.LittleEndian.AppendUint16(dst, uint16(i-at))
		for j := i + 1; j < end && j+lzMinMatch <= len(in); j += 2 {
			*e.table.at(in, j) = uint16(j)
		}
		i, done = end, end
	}
	return lzSequence(dst, in[done:], 0)
}

// lzSequence appends the beginning of a sequence; match 0 ends the encoding.
func lzSequence(dst, literals []byte, match int) []byte {
	length := max(match-lzMinMatch, 0)
	dst = append(dst, byte(min(len(literals), 15)<<4|min(length, 15)))
	dst = lzLength(dst, len(literals))
	dst = append(dst, literals...)
	if match == 0 {
		return dst
	}
	return lzLength(dst, length)
}

func lzLength(dst []byte, n int) []byte {
	if n < 15 {
		return dst
	}
	for n -= 15; n >= 255; n -= 255 {
		dst = append(dst, 255)
	}
	return append(dst, byte(n))
}

// lzDecode decodes a value of n bytes.
func lzDecode(p []byte, n int) ([]byte, error) {
	val := make([]byte, 0, n)
	length := func(n int) (int, bool) {
		if n < 15 {
			return n, true
		}
		for len(p) > 0 && n <= lzMost {
			b := p[0]
			p = p[1:]
			if n += int(b); b < 255 {
				return n, true
			}
		}
		return 0, false
	}
	for len(p) > 0 {
		token := int(p[0])
		p = p[1:]
		literals, ok := length(token >> 4)
		if !ok || literals > len(p) || len(val)+literals > n {
			return nil, errDamagedLZ
		}
		val, p = append(val, p[:literals]...), p[literals:]
		if len(p) == 0 {
			break
		}
		match, ok := length(token & 15)
		if match += lzMinMatch; !ok || len(p) < 2 || len(val)+match > n {
			return nil, errDamagedLZ
		}
		back := int(binary.LittleEndian.Uint16(p))
		p = p[2:]
		if back == 0 || back > len(val)+len(dictionary) {
			return nil, errDamagedLZ
		}
		if before := back - len(val); before > 0 { // it begins in the dictionary, and may run on into the value
			from := dictionary[len(dictionary)-before:]
			from = from[:min(match, len(from))]
			val = append(val, from...)
			match -= len(from)
		}
		for ; match > 0; match-- {
			val = append(val, val[len(val)-back])
		}
	}
	if len(val) != n {
		return nil, errDamagedLZ
	}
	return val, nil
}
