package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"

	"plimsoll/storage"
)

// namesPage is how many names are read with one snapshot: a longer one would keep pages of the file from being used again.
const namesPage = 1000

// Partitions lists what is not in the file yet, and then the file. What a layer holds when its names are taken is in the file
// later, if not now.
func (db *DB) Partitions(ctx context.Context, fn func(names []string) error) error {
	if err := db.usable(ctx); err != nil {
		return err
	}
	db.mu.RLock()
	names := make([]string, 0, len(db.active)+len(db.frozen))
	for _, l := range []layer{db.active, db.frozen} {
		for name := range l {
			names = append(names, name)
		}
	}
	db.mu.RUnlock()
	for from := []byte{}; ; {
		for len(names) > 0 {
			n := min(len(names), namesPage)
			if err := fn(names[:n:n]); err != nil {
				return err
			}
			names = names[n:]
		}
		if from == nil {
			return nil
		}
		if err := db.usable(ctx); err != nil {
			return err
		}
		var err error
		if names, from, err = db.filed(from); err != nil {
			return err
		}
	}
}

// filed reads a page of the names that the file has from a key on, and where to go on; nil: nowhere.
func (db *DB) filed(from []byte) (names []string, next []byte, err error) {
	file, err := db.bolt.Begin(false)
	if err != nil {
		return nil, nil, unavailable("read", db.path, err)
	}
	defer func() { _ = file.Rollback() }() // cannot fail in an open transaction
	c := file.Bucket(bucketName).Cursor()
	for next = from; len(names) < namesPage; next = under(prefixOf(names[len(names)-1]), kindEnd, "") {
		k, _ := c.Seek(next)
		if k == nil {
			return names, nil, nil
		}
		length, n := binary.Uvarint(k)
		if n <= 0 || length >= uint64(len(k)-n) {
			return nil, nil, fmt.Errorf("database %s: damaged key %q", db.path, bytes.ToValidUTF8(k, []byte("?")))
		}
		names = append(names, string(k[n:n+int(length)]))
	}
	return names, next, nil
}

// Load hands the values to the writer, as a commit that has read nothing.
func (db *DB) Load(ctx context.Context, partition string, revision uint64, entries []storage.Entry) error {
	ctx, cancel := context.WithTimeout(ctx, storage.Timeout)
	defer cancel()
	if err := db.usable(ctx); err != nil {
		return err
	}
	if revision == 0 {
		return fmt.Errorf("%w: partition %q cannot be loaded at revision 0", storage.ErrInvalid, partition)
	}
	if len(partition) > maxKey/2 {
		return tooLong(partition)
	}
	j := newJob(ctx, load, partition, func(tx storage.Tx) error {
		for _, e := range entries {
			tx.Set(e.Key, e.Value)
		}
		return nil
	})
	j.revision = revision
	if err := j.run(&tx{prefix: prefixOf(partition)}); err != nil {
		return err
	}
	return db.submit(ctx, j)
}

// usable tells why nothing needs to be tried.
func (db *DB) usable(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return unavailable("read", db.path, err)
	}
	select {
	case <-db.quit:
		return closed(db.path)
	default:
		return nil
	}
}
