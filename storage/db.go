// Package storage is the small database contract, and one typed Store over it.
package storage

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// The kinds of error that a use case can end with; everything returned by a Store or a DB wraps one of them, or is a
// programming error. They are mapped to HTTP in one file.
var (
	ErrNotFound    = errors.New("not found")
	ErrConflict    = errors.New("conflict")
	ErrInvalid     = errors.New("invalid")
	ErrForbidden   = errors.New("forbidden")
	ErrUnavailable = errors.New("unavailable") // the database cannot be reached or did not acknowledge in time
)

// ErrNoWrites wraps ErrUnavailable: a database that several replicas share answers, and refuses to write (out of memory, a
// replica, a disk that is full). What only reads goes on, so that a replica need not be taken out.
var ErrNoWrites = fmt.Errorf("takes no writes: %w", ErrUnavailable)

// Timeout bounds every call of a DB whose context has no earlier deadline.
const Timeout = 5 * time.Second

// MaxValue is the longest value that a database keeps, in bytes.
const MaxValue = 64 << 20

// Entry is a key with its value, as List returns it.
type Entry struct {
	Key   string
	Value []byte
}

// Reader reads one partition. All reads of one View or Update see the same revision: when another commit comes in
// between, the function is run again from its start.
type Reader interface {
	// Get returns nil when there is no such key. The slice belongs to the caller.
	Get(key string) ([]byte, error)
	// GetMany returns one value for each key, nil where there is none, in one round trip.
	GetMany(keys ...string) ([][]byte, error)
	// List returns at most limit entries whose keys begin with prefix and sort (bytewise) after "after"
	// (a whole key, "" for the beginning), in ascending order of their keys. limit must be positive.
	List(prefix, after string, limit int) ([]Entry, error)
	// ListDesc is List backwards: keys that sort before "before" ("" for the end), in descending order.
	ListDesc(prefix, before string, limit int) ([]Entry, error)
	// Revision counts the commits of this partition that changed something. It survives Drop (it only grows). 0: never written.
	// It may cost a round trip when nothing was read before.
	Revision() (uint64, error)
}

// Tx is a Reader that also writes. Reads see the writes made before them in the same transaction.
type Tx interface {
	Reader
	// Set stores val under key; an empty, non-nil value is kept as such. The Tx keeps val: the caller must not change it
	// afterwards. After a value longer than MaxValue the Update fails with an error that wraps ErrInvalid.
	Set(key string, val []byte)
	// Delete removes key; it is no error when there is none.
	Delete(key string)
}

// DB is a database cut into partitions, the units of atomicity. Every implementation passes storagetest.
//
// All methods return an error that wraps ErrUnavailable when the database cannot be reached or does not answer within the
// context's deadline or Timeout, whichever is earlier; an error of the function is returned as it is, and nothing is written
// then.
//
// A function that View or Update runs must not call the DB, nor wait for somebody who does: bolt, when its file has outgrown
// what is mapped, lets nobody begin until all who have begun are done.
type DB interface {
	// View runs fn over one revision of the partition. fn may run more than once.
	View(ctx context.Context, partition string, fn func(Reader) error) error
	// Update runs fn and commits what it wrote, atomically and only if nobody else committed to the partition since fn read it;
	// otherwise fn runs again. A commit that writes nothing changes no revision. When Update returns nil the commit is
	// acknowledged by the database (bolt: fsync; Redis: as configured there, and by wait=N replicas). What fn has read is
	// committed when Update returns, also when fn wrote nothing or returned an error; with wait=N that costs as much as a commit,
	// so whoever only looks takes View. A commit whose answer was lost is recognised when it is retried, and reported as done, not
	// run twice.
	Update(ctx context.Context, partition string, fn func(Tx) error) error
	// Revisions returns the revision of each partition, in one round trip (one per cluster node).
	Revisions(ctx context.Context, partitions ...string) ([]uint64, error)
	// Collect reads one key (the same) of many partitions, nil where there is none, in as few round trips as possible.
	Collect(ctx context.Context, partitions []string, key string) ([][]byte, error)
	// Partitions calls fn with the names of all partitions that had been written when it was called, in pages: each name at least
	// once, in any order, those that were dropped too. Partitions that are written first meanwhile may be among them. fn may call
	// the DB; its error ends it. Timeout bounds each page, not the whole.
	Partitions(ctx context.Context, fn func(names []string) error) error
	// Load writes values over what the partition holds, and makes its revision the given one, higher or lower than it was;
	// atomically, and whoever else commits. It is for a restore, into a database that nobody else uses: a large partition may be
	// loaded in parts, with the same revision, and who does not know whether a part was loaded loads it again. Revision 0 is
	// ErrInvalid.
	Load(ctx context.Context, partition string, revision uint64, entries []Entry) error
	// Drop deletes everything in the partition, atomically. Its revision grows.
	Drop(ctx context.Context, partition string) error
	// Ping tells whether the database answers and takes writes; an error that wraps ErrNoWrites says that it answers.
	Ping(ctx context.Context) error
	// Close ends what is in flight and closes the database.
	Close() error
}
