package redis

import (
	"context"
	"maps"
	"slices"
	"strings"

	"plimsoll/storage"
)

// snapshotAfter is after how many runs in vain a function gets the whole partition in one round trip: with several
// reads it might otherwise never see one revision of a partition that is written all the time.
const snapshotAfter = 3

// snapshot is everything in a partition at one revision.
type snapshot struct {
	packed map[string]string
	keys   []string // sorted
}

// load reads the partition whole.
func (t *tx) load() error {
	var fields map[string]string
	err := t.db.retry(t.ctx, "read "+t.partition, func(ctx context.Context) (err error) {
		fields, err = t.db.client.HGetAll(ctx, t.keys.hash).Result()
		return err
	})
	if err != nil {
		return err
	}
	if err := t.saw(fields[fieldRevision], fields[fieldNonces]); err != nil {
		return err
	}
	s := &snapshot{packed: make(map[string]string, len(fields))}
	for field, val := range fields {
		if key, ok := strings.CutPrefix(field, fieldValue); ok {
			s.packed[key] = val
		}
	}
	s.keys = slices.Sorted(maps.Keys(s.packed))
	t.snapshot = s
	return nil
}

// getLoaded reads keys from the snapshot.
func (t *tx) getLoaded(keys []string) (vals [][]byte, err error) {
	vals = make([][]byte, len(keys))
	for i, key := range keys {
		if p, ok := t.snapshot.packed[key]; ok {
			if vals[i], err = t.unpack(key, p); err != nil {
				return nil, err
			}
		}
	}
	return vals, nil
}

// listLoaded lists the keys from position from, upwards or downwards, as long as they begin with prefix.
func (t *tx) listLoaded(prefix string, from, step, limit int) ([]storage.Entry, error) {
	var entries []storage.Entry
	keys := t.snapshot.keys
	for i := from; i >= 0 && i < len(keys) && len(entries) < limit && strings.HasPrefix(keys[i], prefix); i += step {
		val, err := t.unpack(keys[i], t.snapshot.packed[keys[i]])
		if err != nil {
			return nil, err
		}
		entries = append(entries, storage.Entry{Key: keys[i], Value: val})
	}
	return entries, nil
}

func (t *tx) ascendLoaded(prefix, after string, limit int) ([]storage.Entry, error) {
	from, found := slices.BinarySearch(t.snapshot.keys, max(prefix, after))
	if found && after != "" && after >= prefix {
		from++
	}
	return t.listLoaded(prefix, from, 1, limit)
}

func (t *tx) descendLoaded(prefix, before string, limit int) ([]storage.Entry, error) {
	end := len(t.snapshot.keys)
	if next, ok := storage.PrefixEnd(prefix); ok {
		end, _ = slices.BinarySearch(t.snapshot.keys, next)
	}
	if before != "" {
		at, _ := slices.BinarySearch(t.snapshot.keys, before)
		end = min(end, at)
	}
	return t.listLoaded(prefix, end-1, -1, limit)
}
