package bolt

import (
	"errors"
	"fmt"
	"strings"

	"go.etcd.io/bbolt"

	"plimsoll/storage/bolt/wal"
)

// livesBucket says whether a process has the database open, or has left it without an orderly end: then the file alone is not
// the whole. A file of an older version does not say.
var (
	livesBucket = []byte("plimsoll-log")
	livesKey    = []byte("open")
)

func logPath(path string) string { return path + "-log" }

// recover brings what an earlier process has left in the log into the file, and begins the log anew.
func (db *DB) recover(disk wal.Disk) error {
	var stored uint64
	var open bool
	err := db.main.Update(func(t *bbolt.Tx) error {
		values, err := t.CreateBucketIfNotExists(bucketName)
		if err != nil {
			return err
		}
		stored = values.Sequence()
		lives, err := t.CreateBucketIfNotExists(livesBucket)
		if err != nil {
			return err
		}
		open = lives.Get(livesKey) != nil
		return nil
	})
	if err != nil {
		return err
	}
	log, err := wal.Open(disk, logPath(db.path))
	if err != nil {
		return err
	}
	if missing := log.Missing(); open && len(missing) > 0 {
		return lacking(missing, db.path)
	}
	left := make(layer)
	seq, err := log.Replay(stored, left.replay)
	if err != nil {
		return err
	}
	if seq > stored { // also when the groups hold nothing: the next ones go on from their number
		if err := left.move(db.main, seq, db.moveBytes); err != nil {
			return err
		}
	}
	db.w.log = log
	if err := log.Begin(seq); err != nil {
		return err
	}
	return db.main.Update(func(t *bbolt.Tx) error { return t.Bucket(livesBucket).Put(livesKey, []byte{1}) })
}

// lacking is the error of a file that was copied without its log.
func lacking(missing []string, path string) error {
	logs := wal.Paths(logPath(path))
	return fmt.Errorf("the newest writes are in %s, which is missing: bring %s, %s and %s here together from where they were, "+
		"or restore a backup; to go on without those writes, make %s as empty files",
		strings.Join(missing, " and "), path, logs[0], logs[1], strings.Join(missing, " and "))
}

// end brings everything into the file, says there that it is the whole, and removes the log; the writer has ended.
func (db *DB) end() error {
	err := db.moveAll()
	if err == nil {
		err = db.main.Update(func(t *bbolt.Tx) error { return t.Bucket(livesBucket).Delete(livesKey) })
	}
	if err != nil {
		return errors.Join(err, db.w.log.Close())
	}
	return db.w.log.Remove()
}
