package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"plimsoll/storage"
)

// errMoved ends a function that must run again; nobody but the function sees it.
var errMoved = errors.New("the partition has changed since it was read first")

// stamp tells one state of a partition from every other: its revision, and the nonce of the commit that made it. After a
// failover that lost commits the same revision comes again, by another commit.
type stamp struct {
	revision uint64
	nonce    string
}

// tx is a storage.Tx. Every read is one round trip that brings the stamp with it.
type tx struct {
	ctx       context.Context // of the View or Update that it lives in
	db        *DB
	partition string
	keys      keys

	known    bool // whether at is
	at       stamp
	moved    bool
	whole    bool      // whether to read the partition whole
	snapshot *snapshot // then
	staged   storage.Staged
}

// saw holds a read's stamp against the first read's. Both fields are empty when the partition was never written.
func (t *tx) saw(revision, nonces string) error {
	at := stamp{nonce: nonces[:min(nonceLen, len(nonces))]}
	if revision != "" {
		var err error
		if at.revision, err = strconv.ParseUint(revision, 10, 64); err != nil {
			return fmt.Errorf("partition %q: damaged revision: %w", t.partition, err)
		}
	}
	if t.known && at != t.at {
		t.moved = true
		return errMoved
	}
	t.known, t.at = true, at
	return nil
}

func (t *tx) Revision() (uint64, error) {
	if !t.known {
		if _, err := t.fetch(nil); err != nil {
			return 0, err
		}
	}
	return t.at.revision, nil
}

func (t *tx) Get(key string) ([]byte, error) {
	vals, err := t.GetMany(key)
	if err != nil {
		return nil, err
	}
	return vals[0], nil
}

func (t *tx) GetMany(keys ...string) ([][]byte, error) {
	vals := make([][]byte, len(keys))
	missing := make([]string, 0, len(keys))
	at := make([]int, 0, len(keys))
	for i, key := range keys {
		val, ok := t.staged.Get(key)
		if !ok {
			missing, at = append(missing, key), append(at, i)
		}
		vals[i] = val
	}
	if len(missing) == 0 {
		return vals, nil
	}
	found, err := t.fetch(missing)
	if err != nil {
		return nil, err
	}
	for i, val := range found {
		vals[at[i]] = val
	}
	return vals, nil
}

// ready tells why the function should not read on, and loads the snapshot when it is time for one.
func (t *tx) ready() error {
	if t.moved {
		return errMoved
	}
	if t.whole && t.snapshot == nil {
		return t.load()
	}
	return nil
}

// fetch reads keys and the stamp from Redis.
func (t *tx) fetch(keys []string) ([][]byte, error) {
	if err := t.ready(); err != nil {
		return nil, err
	}
	if t.snapshot != nil {
		return t.getLoaded(keys)
	}
	const head = 2
	fields := append(make([]string, 0, len(keys)+head), fieldRevision, fieldNonces)
	for _, key := range keys {
		fields = append(fields, fieldValue+key)
	}
	var got []any
	err := t.db.retry(t.ctx, "read "+t.partition, func(ctx context.Context) (err error) {
		got, err = t.db.client.HMGet(ctx, t.keys.hash, fields...).Result()
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(got) != len(fields) {
		return nil, fmt.Errorf("read %s: Redis answered %d fields of %d", t.partition, len(got), len(fields))
	}
	revision, _ := got[0].(string) // nil: never written
	nonces, _ := got[1].(string)
	if err := t.saw(revision, nonces); err != nil {
		return nil, err
	}
	vals := make([][]byte, len(keys))
	for i, v := range got[head:] {
		if v == nil {
			continue
		}
		if vals[i], err = t.unpack(keys[i], v); err != nil {
			return nil, err
		}
	}
	return vals, nil
}

func (t *tx) unpack(key string, v any) ([]byte, error) {
	s, ok := v.(string)
	if !ok {
		return nil, fmt.Errorf("partition %q: key %q: it is listed and has no value", t.partition, key)
	}
	val, err := storage.Unpack([]byte(s))
	if err != nil {
		return nil, fmt.Errorf("partition %q: key %q: %w", t.partition, key, err)
	}
	return val, nil
}

func (t *tx) Set(key string, val []byte) { t.staged.Set(key, val) }
func (t *tx) Delete(key string)          { t.staged.Delete(key) }

func (t *tx) List(prefix, after string, limit int) ([]storage.Entry, error) {
	return t.staged.List(t.ascend, prefix, after, limit)
}

func (t *tx) ListDesc(prefix, before string, limit int) ([]storage.Entry, error) {
	return t.staged.ListDesc(t.descend, prefix, before, limit)
}

func (t *tx) ascend(prefix, after string, limit int) ([]storage.Entry, error) {
	if err := t.ready(); err != nil {
		return nil, err
	}
	if t.snapshot != nil {
		return t.ascendLoaded(prefix, after, limit)
	}
	start, end := lexRange(prefix)
	if after != "" && after >= prefix {
		start = "(" + after
	}
	return t.list("ZRANGEBYLEX", start, end, limit)
}

func (t *tx) descend(prefix, before string, limit int) ([]storage.Entry, error) {
	if err := t.ready(); err != nil {
		return nil, err
	}
	if t.snapshot != nil {
		return t.descendLoaded(prefix, before, limit)
	}
	end, start := lexRange(prefix)
	next, bounded := storage.PrefixEnd(prefix)
	if before != "" && (!bounded || before < next) {
		start = "(" + before
	}
	return t.list("ZREVRANGEBYLEX", start, end, limit)
}

// lexRange returns the least and the greatest bound of all keys with prefix, as ZRANGEBYLEX takes them.
func lexRange(prefix string) (least, greatest string) {
	least, greatest = "-", "+"
	if prefix != "" {
		least = "[" + prefix
	}
	if next, ok := storage.PrefixEnd(prefix); ok {
		greatest = "(" + next
	}
	return least, greatest
}

func (t *tx) list(command, start, end string, limit int) ([]storage.Entry, error) {
	var got []any
	err := t.db.retry(t.ctx, "list "+t.partition, func(ctx context.Context) (err error) {
		got, err = listScript.Run(ctx, t.db.client, []string{t.keys.hash, t.keys.list}, command, start, end, limit).Slice()
		return err
	})
	if err != nil {
		return nil, err
	}
	const head = 2
	if len(got) < head || len(got)%2 != 0 {
		return nil, fmt.Errorf("list %s: Redis answered %d fields", t.partition, len(got))
	}
	revision, _ := got[0].(string)
	nonces, _ := got[1].(string)
	if err := t.saw(revision, nonces); err != nil {
		return nil, err
	}
	entries := make([]storage.Entry, 0, len(got)/2)
	for i := head; i < len(got); i += 2 {
		key, _ := got[i].(string)
		val, err := t.unpack(key, got[i+1])
		if err != nil {
			return nil, err
		}
		entries = append(entries, storage.Entry{Key: key, Value: val})
	}
	return entries, nil
}
