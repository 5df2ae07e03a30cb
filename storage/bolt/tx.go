package bolt

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"go.etcd.io/bbolt"

	"plimsoll/storage"
)

// tx is a storage.Tx over a snapshot. It never writes there itself: its writes are staged for the writer.
type tx struct {
	file     *bbolt.Cursor // in the bucket; one for all reads, since each has memory of its own
	prefix   []byte
	over     []*part // what lies over the file, the uppermost first
	revision uint64
	staged   storage.Staged
	unsynced bool // the uppermost of over belongs to a group that is not durable yet
}

// newTx makes a tx over the file and what lies over it, the uppermost first; nil: nothing.
func newTx(file *bbolt.Tx, partition string, over ...*part) *tx {
	t := &tx{file: file.Bucket(bucketName).Cursor(), prefix: prefixOf(partition), over: over}
	for _, p := range over {
		if p != nil {
			t.revision = p.revision
			return t
		}
	}
	if v := t.find(kindRevision, ""); len(v) == 8 {
		t.revision = binary.BigEndian.Uint64(v)
	}
	return t
}

// find returns what the file has, nil when it has nothing.
func (t *tx) find(kind byte, key string) []byte {
	want := under(t.prefix, kind, key)
	if k, v := t.file.Seek(want); bytes.Equal(k, want) {
		return v
	}
	return nil
}

func prefixOf(partition string) []byte {
	p := make([]byte, 0, binary.MaxVarintLen64+len(partition)+64)
	p = binary.AppendUvarint(p, uint64(len(partition)))
	return append(p, partition...)
}

// under returns prefix, kind and key in memory of their own.
func under(prefix []byte, kind byte, key string) []byte {
	k := make([]byte, 0, len(prefix)+1+len(key))
	k = append(k, prefix...)
	k = append(k, kind)
	return append(k, key...)
}

func setRevision(b *bbolt.Bucket, prefix []byte, revision uint64) error {
	return b.Put(under(prefix, kindRevision, ""), binary.BigEndian.AppendUint64(nil, revision))
}

func (t *tx) Revision() (uint64, error) { return t.revision, nil }

func (t *tx) Get(key string) ([]byte, error) {
	if val, ok := t.staged.Get(key); ok {
		return val, nil
	}
	var packed []byte
	known := false
	for i := 0; i < len(t.over) && !known; i++ {
		packed, known = t.over[i].get(key)
	}
	if !known {
		packed = t.find(kindValue, key)
	}
	if packed == nil {
		return nil, nil
	}
	val, err := storage.Unpack(packed)
	if err != nil {
		return nil, fmt.Errorf("key %q: %w", key, err)
	}
	return val, nil
}

func (t *tx) GetMany(keys ...string) ([][]byte, error) {
	vals := make([][]byte, len(keys))
	for i, key := range keys {
		v, err := t.Get(key)
		if err != nil {
			return nil, err
		}
		vals[i] = v
	}
	return vals, nil
}

func (t *tx) Set(key string, val []byte) {
	if t.check(key) {
		t.staged.Set(key, val)
	}
}

func (t *tx) Delete(key string) {
	if t.check(key) {
		t.staged.Delete(key)
	}
}

func (t *tx) check(key string) bool {
	if len(t.prefix)+1+len(key) > maxKey {
		t.staged.Fail(tooLong(key))
		return false
	}
	return true
}

func (t *tx) List(prefix, after string, limit int) ([]storage.Entry, error) {
	all, file, err := t.unmoved(prefix, t.ascend)
	if err != nil {
		return nil, err
	}
	return all.List(file, prefix, after, limit)
}

func (t *tx) ListDesc(prefix, before string, limit int) ([]storage.Entry, error) {
	all, file, err := t.unmoved(prefix, t.descend)
	if err != nil {
		return nil, err
	}
	return all.ListDesc(file, prefix, before, limit)
}

// unmoved returns what is not in the file of the keys with that prefix, the writes of this transaction included, and what of
// the file lies below.
func (t *tx) unmoved(prefix string, file storage.Lister) (*storage.Staged, storage.Lister, error) {
	all := new(storage.Staged)
	for _, p := range slices.Backward(t.over) {
		if p == nil {
			continue
		}
		if p.dropped {
			all, file = new(storage.Staged), nothing
		}
		for _, w := range p.pairs {
			if !strings.HasPrefix(w.key, prefix) {
				continue
			}
			if w.val == nil {
				all.Delete(w.key)
				continue
			}
			val, err := storage.Unpack(w.val)
			if err != nil {
				return nil, nil, fmt.Errorf("key %q: %w", w.key, err)
			}
			all.Set(w.key, val)
		}
	}
	t.staged.Each(func(key string, val []byte) {
		if val == nil {
			all.Delete(key)
		} else {
			all.Set(key, val)
		}
	})
	return all, file, nil
}

// nothing lists a partition that was dropped.
func nothing(string, string, int) ([]storage.Entry, error) { return nil, nil }

func (t *tx) ascend(prefix, after string, limit int) ([]storage.Entry, error) {
	c, in := t.file, under(t.prefix, kindValue, prefix)
	start := in
	skip := false // the key "after" itself
	if from := under(t.prefix, kindValue, after); after != "" && bytes.Compare(from, start) >= 0 {
		start, skip = from, true
	}
	k, v := c.Seek(start)
	if skip && bytes.Equal(k, start) {
		k, v = c.Next()
	}
	return t.collect(k, v, c.Next, in, limit)
}

func (t *tx) descend(prefix, before string, limit int) ([]storage.Entry, error) {
	c, in := t.file, under(t.prefix, kindValue, prefix)
	end := under(t.prefix, kindEnd, "")
	if next, ok := storage.PrefixEnd(prefix); ok {
		end = under(t.prefix, kindValue, next)
	}
	if to := under(t.prefix, kindValue, before); before != "" && bytes.Compare(to, end) < 0 {
		end = to
	}
	var k, v []byte
	if k, _ = c.Seek(end); k == nil {
		k, v = c.Last()
	} else {
		k, v = c.Prev()
	}
	return t.collect(k, v, c.Prev, in, limit)
}

// collect takes entries from k, v on, as long as their keys begin with in.
func (t *tx) collect(k, v []byte, next func() ([]byte, []byte), in []byte, limit int) ([]storage.Entry, error) {
	var entries []storage.Entry
	for ; k != nil && len(entries) < limit && bytes.HasPrefix(k, in); k, v = next() {
		key := string(k[len(t.prefix)+1:])
		val, err := storage.Unpack(v)
		if err != nil {
			return nil, fmt.Errorf("key %q: %w", key, err)
		}
		entries = append(entries, storage.Entry{Key: key, Value: val})
	}
	return entries, nil
}

// drop deletes every value of the partition.
func drop(b *bbolt.Bucket, prefix []byte) error {
	in := under(prefix, kindValue, "")
	var keys [][]byte // a cursor must not be moved while its bucket changes
	c := b.Cursor()
	for k, _ := c.Seek(in); k != nil && bytes.HasPrefix(k, in); k, _ = c.Next() {
		keys = append(keys, bytes.Clone(k))
	}
	for _, k := range keys {
		if err := b.Delete(k); err != nil {
			return err
		}
	}
	return nil
}
