package bolt

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"go.etcd.io/bbolt"

	"plimsoll/storage"
)

// tx is a storage.Tx over a bolt transaction. It never writes there itself: its writes are staged for the writer.
type tx struct {
	bucket   *bbolt.Bucket
	prefix   []byte
	revision uint64
	staged   storage.Staged
	err      error // the first write that cannot be kept
}

func newTx(t *bbolt.Tx, partition string) (*tx, error) {
	if len(partition) > maxKey/2 {
		return nil, tooLong(partition)
	}
	b, prefix := t.Bucket(bucketName), prefixOf(partition)
	return &tx{bucket: b, prefix: prefix, revision: revision(b, prefix)}, nil
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

func revision(b *bbolt.Bucket, prefix []byte) uint64 {
	v := b.Get(under(prefix, kindRevision, ""))
	if len(v) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(v)
}

// raise adds one to the partition's revision.
func raise(b *bbolt.Bucket, prefix []byte) error {
	return b.Put(under(prefix, kindRevision, ""), binary.BigEndian.AppendUint64(nil, revision(b, prefix)+1))
}

func get(b *bbolt.Bucket, prefix []byte, key string) ([]byte, error) {
	v := b.Get(under(prefix, kindValue, key))
	if v == nil {
		return nil, nil
	}
	val, err := storage.Unpack(v)
	if err != nil {
		return nil, fmt.Errorf("key %q: %w", key, err)
	}
	return val, nil
}

func (t *tx) Revision() (uint64, error) { return t.revision, nil }

func (t *tx) Get(key string) ([]byte, error) {
	if val, ok := t.staged.Get(key); ok {
		return val, nil
	}
	return get(t.bucket, t.prefix, key)
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
	if len(val) > maxValue {
		t.fail(fmt.Errorf("%w: database value of %d bytes is too long (%q)", storage.ErrInvalid, len(val), key))
		return
	}
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
		t.fail(tooLong(key))
		return false
	}
	return true
}

func (t *tx) fail(err error) {
	if t.err == nil {
		t.err = err
	}
}

func (t *tx) List(prefix, after string, limit int) ([]storage.Entry, error) {
	return t.staged.List(t.ascend, prefix, after, limit)
}

func (t *tx) ListDesc(prefix, before string, limit int) ([]storage.Entry, error) {
	return t.staged.ListDesc(t.descend, prefix, before, limit)
}

func (t *tx) ascend(prefix, after string, limit int) ([]storage.Entry, error) {
	c, in := t.bucket.Cursor(), under(t.prefix, kindValue, prefix)
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
	c, in := t.bucket.Cursor(), under(t.prefix, kindValue, prefix)
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
