package bolt

import (
	"maps"
	"slices"
	"strings"

	"go.etcd.io/bbolt"
)

// layer is what is committed to the log and not yet in the file, by partition.
type layer map[string]*part

// part is what a layer has of one partition. It never changes: the next commit puts another in its place, so that who reads it
// keeps what he has begun with.
type part struct {
	revision uint64
	dropped  bool   // what is below this layer does not count
	pairs    []pair // ascending
}

type pair struct {
	key string // within the partition
	val []byte // packed; nil: deleted
}

func compareKey(p pair, key string) int { return strings.Compare(p.key, key) }

// get returns the packed value, nil when it is deleted, and whether the part knows.
func (p *part) get(key string) (val []byte, known bool) {
	if p == nil {
		return nil, false
	}
	i, found := slices.BinarySearchFunc(p.pairs, key, compareKey)
	if found {
		return p.pairs[i].val, true
	}
	return nil, p.dropped
}

// with is the part after a commit; p may be nil. puts are ascending, and are kept.
func (p *part) with(revision uint64, puts []pair) *part {
	if p == nil {
		return &part{revision: revision, pairs: puts}
	}
	all := make([]pair, 0, len(p.pairs)+len(puts))
	old := p.pairs
	for _, put := range puts {
		i, found := slices.BinarySearchFunc(old, put.key, compareKey)
		all = append(append(all, old[:i]...), put)
		if old = old[i:]; found {
			old = old[1:]
		}
	}
	return &part{revision: revision, dropped: p.dropped, pairs: append(all, old...)}
}

// move writes the layer into the file, about so many bytes with each commit; seq is the number of its last group. Partitions
// that are written before it fails, or the machine does, are written again, and become the same.
func (l layer) move(db updater, seq uint64, moveBytes int) error {
	names := slices.Sorted(maps.Keys(l))
	for {
		err := db.Update(func(t *bbolt.Tx) error {
			b := t.Bucket(bucketName)
			b.FillPercent = fillPercent // of this transaction's bucket only
			for bytes := 0; len(names) > 0 && bytes < moveBytes; names = names[1:] {
				n, err := l[names[0]].apply(b, prefixOf(names[0]))
				if err != nil {
					return err
				}
				bytes += n
			}
			if len(names) > 0 {
				return nil
			}
			return b.SetSequence(seq) // the bucket's own number says up to which group the file has everything
		})
		if err != nil || len(names) == 0 {
			return err
		}
	}
}

// apply writes the part into the file, and returns about how many bytes that are.
func (p *part) apply(b *bbolt.Bucket, prefix []byte) (int, error) {
	if p.dropped {
		if err := drop(b, prefix); err != nil {
			return 0, err
		}
	}
	bytes := 0
	for _, w := range p.pairs {
		key := under(prefix, kindValue, w.key)
		bytes += len(key) + len(w.val)
		var err error
		if w.val == nil {
			err = b.Delete(key)
		} else {
			err = b.Put(key, w.val)
		}
		if err != nil {
			return bytes, err
		}
	}
	return bytes, setRevision(b, prefix, p.revision)
}
