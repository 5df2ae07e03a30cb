package storage

// This file is what the databases share: how a value is kept, and the writes of a transaction before its commit.

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"sync"
)

// Every value in a database begins with one byte that says how the rest is kept: as it is, which stays readable for an
// operator who looks into the database, or compressed behind its length: up to 32 KB against a dictionary (lz.go), above that deflated.
const (
	packedPlain    = '='
	packedLZ       = '^'
	packedDeflated = '~'
)

const (
	packAbove = 600 // bytes; a Mac's record, which is read most, stays as it is (doc.go)
	// Deflate cannot do better than about 1032 to 1; a longer length is damage, and must not become an allocation.
	maxRatio = 1040
)

var (
	deflaters = sync.Pool{New: func() any {
		w, err := flate.NewWriter(io.Discard, flate.BestSpeed)
		if err != nil {
			panic(err) // only for a level that does not exist
		}
		return w
	}}
	inflaters = sync.Pool{New: func() any { return flate.NewReader(bytes.NewReader(nil)) }}
)

// Pack encodes a value as the databases keep it. It never keeps or changes val.
func Pack(val []byte) []byte {
	if len(val) > packAbove {
		if p := compress(val); len(p) <= len(val) {
			return p
		}
	}
	p := make([]byte, 1+len(val))
	p[0] = packedPlain
	copy(p[1:], val)
	return p
}

func compress(val []byte) []byte {
	p := make([]byte, 0, len(val)/2)
	if len(val) <= lzMost {
		p = binary.AppendUvarint(append(p, packedLZ), uint64(len(val)))
		return lzEncode(p, val)
	}
	p = binary.AppendUvarint(append(p, packedDeflated), uint64(len(val)))
	buf := bytes.NewBuffer(p)
	w := deflaters.Get().(*flate.Writer)
	defer deflaters.Put(w)
	w.Reset(buf)
	_, _ = w.Write(val) // a buffer takes everything
	_ = w.Close()
	return buf.Bytes()
}

// Unpack decodes what Pack made, into memory of its own. An error means that the database is damaged.
func Unpack(p []byte) ([]byte, error) {
	if len(p) == 0 {
		return nil, errors.New("damaged value: no header")
	}
	body := p[1:]
	switch p[0] {
	case packedPlain:
		val := make([]byte, len(body))
		copy(val, body)
		return val, nil
	case packedLZ:
		n, skip := binary.Uvarint(body)
		if skip <= 0 || n > lzMost {
			return nil, errors.New("damaged value: impossible length")
		}
		return lzDecode(body[skip:], int(n))
	case packedDeflated:
		n, skip := binary.Uvarint(body)
		if skip <= 0 || n > uint64(len(body))*maxRatio {
			return nil, errors.New("damaged value: impossible length")
		}
		r := inflaters.Get().(io.ReadCloser)
		defer inflaters.Put(r)
		if err := r.(flate.Resetter).Reset(bytes.NewReader(body[skip:]), nil); err != nil {
			return nil, fmt.Errorf("damaged value: %w", err)
		}
		val := make([]byte, n)
		if _, err := io.ReadFull(r, val); err != nil {
			return nil, fmt.Errorf("damaged value: %w", err)
		}
		if n, err := r.Read(make([]byte, 1)); n > 0 || err != io.EOF {
			return nil, errors.New("damaged value: longer than it says")
		}
		return val, nil
	}
	return nil, fmt.Errorf("damaged value: unknown header 0x%02x", p[0])
}

// Staged holds the writes of a transaction that is not committed yet, and lets its reads see them.
// The databases share it, so that a transaction reads the same on each.
type Staged struct {
	vals map[string][]byte // nil: deleted
}

// Set stages a write. It keeps val.
func (s *Staged) Set(key string, val []byte) {
	if val == nil {
		val = []byte{}
	}
	s.put(key, val)
}

// Delete stages a deletion.
func (s *Staged) Delete(key string) { s.put(key, nil) }

func (s *Staged) put(key string, val []byte) {
	if s.vals == nil {
		s.vals = make(map[string][]byte)
	}
	s.vals[key] = val
}

// Len returns the number of keys that would be written or deleted.
func (s *Staged) Len() int { return len(s.vals) }

// Each calls fn for every key in ascending order, with nil for one that is deleted.
func (s *Staged) Each(fn func(key string, val []byte)) {
	for _, key := range s.keys("") {
		fn(key, s.vals[key])
	}
}

func (s *Staged) keys(prefix string) []string {
	keys := make([]string, 0, len(s.vals))
	for key := range s.vals {
		if strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// Get returns a copy of what is staged for key, nil for a deletion, and whether anything is.
func (s *Staged) Get(key string) (val []byte, ok bool) {
	val, ok = s.vals[key]
	return bytes.Clone(val), ok
}

// Lister is the shape of Reader.List and Reader.ListDesc.
type Lister func(prefix, from string, limit int) ([]Entry, error)

// List merges the staged writes into what base lists in ascending order.
func (s *Staged) List(base Lister, prefix, after string, limit int) ([]Entry, error) {
	return s.merge(base, prefix, after, limit, false)
}

// ListDesc merges the staged writes into what base lists in descending order.
func (s *Staged) ListDesc(base Lister, prefix, before string, limit int) ([]Entry, error) {
	return s.merge(base, prefix, before, limit, true)
}

func (s *Staged) merge(base Lister, prefix, from string, limit int, desc bool) ([]Entry, error) {
	if limit <= 0 {
		return nil, fmt.Errorf("%w: limit of a list must be positive, not %d", ErrInvalid, limit)
	}
	limit = min(limit, math.MaxInt32)
	staged := s.keys(prefix)
	// Each staged key can hide one entry of the base: with that many more, limit entries of the base stay visible,
	// and those that were not asked for come after them.
	entries, err := base(prefix, from, limit+len(staged))
	if err != nil || len(staged) == 0 {
		return entries, err
	}
	entries = slices.DeleteFunc(entries, func(e Entry) bool { _, ok := s.vals[e.Key]; return ok })
	for _, key := range staged {
		beyond := from == "" || key > from
		if desc {
			beyond = from == "" || key < from
		}
		if val := s.vals[key]; val != nil && beyond {
			entries = append(entries, Entry{Key: key, Value: bytes.Clone(val)})
		}
	}
	slices.SortFunc(entries, func(a, b Entry) int {
		if desc {
			a, b = b, a
		}
		return strings.Compare(a.Key, b.Key)
	})
	return entries[:min(limit, len(entries))], nil
}

// PrefixEnd returns the first key after all keys with that prefix, and false when there is no such key.
func PrefixEnd(prefix string) (string, bool) {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] != 0xff {
			return prefix[:i] + string([]byte{prefix[i] + 1}), true
		}
	}
	return "", false
}
