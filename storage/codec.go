package storage

// This file is what the databases share: how a value is kept, and the writes of a transaction before its commit.

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/klauspost/compress/s2"
)

// Every value in a database begins with one byte that says how the rest is kept: as it is, which stays readable for an operator
// who looks into the database, or compressed against a dictionary of what Macs say: status reports, and what is merged from
// them, make up most of what is written, and say mostly the same.
const (
	packedPlain = '='
	packedS2    = '^'
)

const packAbove = 600 // bytes; a Mac's record, which is read most, stays as it is (doc.go)

// dictionary must never change: what was encoded against it could not be read any more. Another one needs a header of its own.
//
//go:embed dictionary.txt
var dictionary []byte

var coder = sync.OnceValue(func() *s2.Dict { return s2.MakeDictManual(dictionary, 0) })

// rooms are where values are encoded before it is known how long they become.
var rooms = sync.Pool{New: func() any { return new([]byte) }}

// Pack encodes a value as the databases keep it. It never keeps or changes val.
func Pack(val []byte) []byte {
	if len(val) > packAbove {
		if p := compressed(val); p != nil {
			return p
		}
	}
	p := make([]byte, 1+len(val))
	p[0] = packedPlain
	copy(p[1:], val)
	return p
}

// compressed is a value compressed, nil when that does not make it shorter.
func compressed(val []byte) []byte {
	room := rooms.Get().(*[]byte)
	defer rooms.Put(room)
	*room = slices.Grow((*room)[:0], s2.MaxEncodedLen(len(val)))
	p := coder().Encode(*room, val)
	if len(p) >= len(val) {
		return nil
	}
	packed := make([]byte, 1+len(p))
	packed[0] = packedS2
	copy(packed[1:], p)
	return packed
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
	case packedS2:
		if n, err := s2.DecodedLen(body); err != nil || n > MaxValue { // damage must not become an allocation
			return nil, errors.New("damaged value: impossible length")
		}
		val, err := coder().Decode(nil, body)
		if err != nil {
			return nil, fmt.Errorf("damaged value: %w", err)
		}
		return val, nil
	}
	return nil, fmt.Errorf("damaged value: unknown header 0x%02x", p[0])
}

// Staged holds the writes of a transaction that is not committed yet, and lets its reads see them.
// The databases share it, so that a transaction reads the same on each.
type Staged struct {
	vals map[string][]byte // nil: deleted
	err  error             // the first write that cannot be kept
}

// Set stages a write. It keeps val. One that is longer than MaxValue is not staged, and Err says so.
func (s *Staged) Set(key string, val []byte) {
	if len(val) > MaxValue {
		s.Fail(fmt.Errorf("%w: database value of %d bytes is too long (%q)", ErrInvalid, len(val), key))
		return
	}
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

// Fail says that a write cannot be kept.
func (s *Staged) Fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

// Err returns why the writes must not be committed: the first error that Fail was given, nil when there is none.
func (s *Staged) Err() error { return s.err }

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
