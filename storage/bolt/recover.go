package bolt

import (
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/bbolt"
)

// recover brings what an earlier process has left in the logs into the file, and begins them anew.
func (db *DB) recover() error {
	var stored uint64
	if err := db.bolt.View(func(t *bbolt.Tx) error {
		stored = t.Bucket(bucketName).Sequence()
		return nil
	}); err != nil {
		return err
	}
	var found [2][]group
	for i, path := range logPaths(db.path) {
		var err error
		if found[i], err = readLog(path); err != nil {
			return err
		}
	}
	first, second := found[0], found[1]
	if len(first) > 0 && len(second) > 0 && first[0].seq > second[0].seq {
		first, second = second, first
	}
	if len(first) > 0 && len(second) > 0 {
		// A group whose sync failed may be whole all the same. When the other log took its turn then, its first group was committed in that one's place.
		first = slices.DeleteFunc(first, func(g group) bool { return g.seq >= second[0].seq })
	}
	seq, left := stored, make(layer)
	for _, g := range append(first, second...) {
		switch {
		case g.seq <= seq:
			continue
		case g.seq > seq+1:
			logs := logPaths(db.path)
			return fmt.Errorf("the log lacks group %d, and goes on with %d: restore a copy, or remove %s and %s to do without the newest writes", seq+1, g.seq, logs[0], logs[1])
		}
		if err := left.replay(g.payload); err != nil {
			return fmt.Errorf("group %d: %w", g.seq, err)
		}
		seq = g.seq
	}
	if seq > stored { // also when the groups hold nothing: the next ones go on from their number
		if err := left.move(db.bolt, seq); err != nil {
			return err
		}
	}
	db.w.seq = seq
	for i, path := range logPaths(db.path) {
		var err error
		if db.w.logs[i], err = createLog(path); err != nil {
			return err
		}
	}
	return nil
}

// closeLogs closes the logs that were opened; empty says that the file has everything, so that they can be removed.
func (db *DB) closeLogs(empty bool) error {
	var errs []error
	for _, l := range db.w.logs {
		switch {
		case l == nil:
		case empty:
			errs = append(errs, l.remove())
		default:
			errs = append(errs, l.file.Close())
		}
	}
	return errors.Join(errs...)
}
