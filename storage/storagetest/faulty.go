package storagetest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"plimsoll/storage"
)

// Fault is how a FaultyDB fails. The zero Fault is none.
type Fault struct {
	Down       bool          // every method fails at once with storage.ErrUnavailable
	NoWrites   bool          // what writes fails at once with storage.ErrNoWrites
	Delay      time.Duration // every method waits first, or fails when its context ends before
	LoseAnswer bool          // Update, Load and Drop do their work, and then fail as if the answer was lost
	// Partition confines the fault to methods that name this partition; "" is no limit.
	Partition string
	// Times is how many calls the fault hits before it is over; 0: all, until another fault is set.
	Times int
}

// FaultyDB is a database that fails as it is told.
type FaultyDB struct {
	db storage.DB

	mu    sync.Mutex
	fault Fault
}

var _ storage.DB = (*FaultyDB)(nil)

// Faulty wraps a database, without a fault at first.
func Faulty(db storage.DB) *FaultyDB { return &FaultyDB{db: db} }

// Set replaces the fault for the calls that begin from now on.
func (f *FaultyDB) Set(fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fault
}

// next returns the fault that hits a call.
func (f *FaultyDB) next(partitions ...string) Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	fault := f.fault
	if fault.Partition != "" {
		named := false
		for _, p := range partitions {
			named = named || p == fault.Partition
		}
		if !named {
			return Fault{}
		}
	}
	if fault.Times > 0 && fault != (Fault{Times: fault.Times, Partition: fault.Partition}) {
		if f.fault.Times--; f.fault.Times == 0 {
			f.fault = Fault{}
		}
	}
	return fault
}

// before lets the fault happen that comes before the call.
func (fault Fault) before(ctx context.Context) error {
	if fault.Delay > 0 {
		ctx, cancel := context.WithTimeout(ctx, storage.Timeout)
		defer cancel()
		timer := time.NewTimer(fault.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return fmt.Errorf("faulty database: %w: %w", storage.ErrUnavailable, ctx.Err())
		}
	}
	if fault.Down {
		return fmt.Errorf("faulty database: %w: down", storage.ErrUnavailable)
	}
	return nil
}

// beforeWrite is before, of a call that writes.
func (fault Fault) beforeWrite(ctx context.Context) error {
	if err := fault.before(ctx); err != nil || !fault.NoWrites {
		return err
	}
	return fmt.Errorf("faulty database: %w", storage.ErrNoWrites)
}

// after spoils the answer of a call that has changed something.
func (fault Fault) after(err error) error {
	if err == nil && fault.LoseAnswer {
		return fmt.Errorf("faulty database: %w: the answer was lost", storage.ErrUnavailable)
	}
	return err
}

// View fails or calls the database's.
func (f *FaultyDB) View(ctx context.Context, partition string, fn func(storage.Reader) error) error {
	if err := f.next(partition).before(ctx); err != nil {
		return err
	}
	return f.db.View(ctx, partition, fn)
}

// Update fails, or calls the database's and may then fail all the same.
func (f *FaultyDB) Update(ctx context.Context, partition string, fn func(storage.Tx) error) error {
	fault := f.next(partition)
	if err := fault.beforeWrite(ctx); err != nil {
		return err
	}
	return fault.after(f.db.Update(ctx, partition, fn))
}

// Revisions fails or calls the database's.
func (f *FaultyDB) Revisions(ctx context.Context, partitions ...string) ([]uint64, error) {
	if err := f.next(partitions...).before(ctx); err != nil {
		return nil, err
	}
	return f.db.Revisions(ctx, partitions...)
}

// Collect fails or calls the database's.
func (f *FaultyDB) Collect(ctx context.Context, partitions []string, key string) ([][]byte, error) {
	if err := f.next(partitions...).before(ctx); err != nil {
		return nil, err
	}
	return f.db.Collect(ctx, partitions, key)
}

// Partitions fails or calls the database's.
func (f *FaultyDB) Partitions(ctx context.Context, fn func(names []string) error) error {
	if err := f.next().before(ctx); err != nil {
		return err
	}
	return f.db.Partitions(ctx, fn)
}

// Load fails, or calls the database's and may then fail all the same.
func (f *FaultyDB) Load(ctx context.Context, partition string, revision uint64, entries []storage.Entry) error {
	fault := f.next(partition)
	if err := fault.beforeWrite(ctx); err != nil {
		return err
	}
	return fault.after(f.db.Load(ctx, partition, revision, entries))
}

// Drop fails, or calls the database's and may then fail all the same.
func (f *FaultyDB) Drop(ctx context.Context, partition string) error {
	fault := f.next(partition)
	if err := fault.beforeWrite(ctx); err != nil {
		return err
	}
	return fault.after(f.db.Drop(ctx, partition))
}

// Ping fails or calls the database's.
func (f *FaultyDB) Ping(ctx context.Context) error {
	if err := f.next().beforeWrite(ctx); err != nil {
		return err
	}
	return f.db.Ping(ctx)
}

// Close closes the database, whatever the fault.
func (f *FaultyDB) Close() error { return f.db.Close() }
