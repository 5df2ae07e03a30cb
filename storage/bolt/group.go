package bolt

import (
	"encoding/binary"
	"errors"
)

// A group of the log is for each commit: kind, name of the partition, its revision after it, number of values, and each: key,
// length + 1 and value; 0: deleted. Zeros, where nothing is committed.
const (
	kindNothing = 0
	kindCommit  = 1
	kindDrop    = 2
)

// appendCommit adds a commit to a group.
func appendCommit(to []byte, partition string, revision uint64, puts []pair) []byte {
	to = appendPartition(append(to, kindCommit), partition, revision)
	to = binary.AppendUvarint(to, uint64(len(puts)))
	for _, p := range puts {
		to = appendText(to, p.key)
		if p.val == nil {
			to = append(to, 0)
			continue
		}
		to = append(binary.AppendUvarint(to, uint64(len(p.val))+1), p.val...)
	}
	return to
}

func appendDrop(to []byte, partition string, revision uint64) []byte {
	return appendPartition(append(to, kindDrop), partition, revision)
}

func appendPartition(to []byte, partition string, revision uint64) []byte {
	return binary.AppendUvarint(appendText(to, partition), revision)
}

func appendText(to []byte, s string) []byte {
	return append(binary.AppendUvarint(to, uint64(len(s))), s...)
}

// replay adds the commits of a group to the layer.
func (l layer) replay(group []byte) error {
	r := reader{b: group}
	for len(r.b) > 0 && r.err == nil {
		kind := r.bytes(1)
		if kind[0] == kindNothing {
			continue
		}
		partition, revision := string(r.text()), r.number()
		switch {
		case r.err != nil:
		case kind[0] == kindDrop:
			l[partition] = &part{revision: revision, dropped: true}
		case kind[0] == kindCommit:
			var puts []pair
			for n := r.number(); n > 0 && r.err == nil; n-- {
				p := pair{key: string(r.text())}
				if size := r.number(); size > 0 {
					p.val = r.bytes(size - 1)
				}
				puts = append(puts, p)
			}
			l[partition] = l[partition].with(revision, puts)
		default:
			r.err = errShort
		}
	}
	return r.err
}

var errShort = errors.New("a group of the log is damaged")

// reader reads a group; after an error it reads nothing more.
type reader struct {
	b   []byte
	err error
}

func (r *reader) number() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.b, r.err = nil, errShort
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) bytes(n uint64) []byte {
	if r.err != nil || n > uint64(len(r.b)) {
		r.b, r.err = nil, errShort
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) text() []byte { return r.bytes(r.number()) }
