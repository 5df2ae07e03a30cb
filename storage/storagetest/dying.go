package storagetest

import (
	"context"
	"fmt"
	"sync"

	"plimsoll/storage"
)

// ErrKilled is what a DyingDB fails with.
var ErrKilled = fmt.Errorf("killed: %w", storage.ErrUnavailable)

// DyingDB is a database that fails from its nth write on, having done that one or not, as for a process that is killed then.
// Writes come one after the other.
type DyingDB struct {
	storage.DB
	mu     sync.Mutex
	left   int
	does   bool
	writes int
}

// Dying wraps a database that fails from its nth write on; does tells whether that one is done, and only its answer lost.
func Dying(db storage.DB, n int, does bool) *DyingDB { return &DyingDB{DB: db, left: n, does: does} }

// Writes is how many writes were done.
func (d *DyingDB) Writes() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.writes
}

func (d *DyingDB) write(do func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left--
	if d.left == 0 && d.does {
		_ = do() // its answer is lost
	}
	if d.left <= 0 {
		return ErrKilled
	}
	d.writes++
	return do()
}

// Update fails or calls the database's.
func (d *DyingDB) Update(ctx context.Context, partition string, fn func(storage.Tx) error) error {
	return d.write(func() error { return d.DB.Update(ctx, partition, fn) })
}

// Load fails or calls the database's.
func (d *DyingDB) Load(ctx context.Context, partition string, revision uint64, entries []storage.Entry) error {
	return d.write(func() error { return d.DB.Load(ctx, partition, revision, entries) })
}

// Drop fails or calls the database's.
func (d *DyingDB) Drop(ctx context.Context, partition string) error {
	return d.write(func() error { return d.DB.Drop(ctx, partition) })
}
