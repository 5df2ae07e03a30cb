// Package waltest is a disk in memory that fails and loses power.
package waltest

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"

	"plimsoll/storage/bolt/wal"
)

// sector is what a disk writes whole; the last one before the power fails may be torn.
const sector = 512

// Disk is a wal.Disk that knows what of it would survive a power failure.
type Disk struct {
	// Event, when it is set, is called before and after each write, sync, creation and removal; the files may be crashed then.
	Event func(op string)
	// Fail, when it is set, may let an operation end with an error. A sync that fails makes any part of what it should durable.
	Fail func(op string) error

	mu    sync.Mutex
	dice  *rand.Rand
	names map[string]*inode // as processes see them
	kept  map[string]*inode // as a power failure leaves them at least
}

// inode is a file whatever its name.
type inode struct{ now, synced []byte }

var _ wal.Disk = (*Disk)(nil)

// New is a disk with files that are durable. All chance comes from dice.
func New(dice *rand.Rand, files map[string][]byte) *Disk {
	d := &Disk{dice: dice, names: map[string]*inode{}}
	for name, b := range files {
		d.names[name] = &inode{bytes.Clone(b), bytes.Clone(b)}
	}
	d.kept = maps.Clone(d.names)
	return d
}

// Files are the files as a process that is killed leaves them.
func (d *Disk) Files() map[string][]byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	files := map[string][]byte{}
	for name, f := range d.names {
		files[name] = bytes.Clone(f.now)
	}
	return files
}

// Crash makes up the files that a power failure leaves: each sector that was not synced is lost, kept or torn, each name that
// was not synced is there or not.
func (d *Disk) Crash() map[string][]byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	files := map[string][]byte{}
	both := maps.Clone(d.kept)
	maps.Copy(both, d.names)
	for _, name := range slices.Sorted(maps.Keys(both)) {
		f := d.names[name]
		if d.kept[name] != f && d.dice.IntN(2) == 0 {
			f = d.kept[name]
		}
		if f != nil {
			files[name] = d.some(f)
		}
	}
	return files
}

// some is what was synced, with any sectors of what was written since. The three outcomes of "all", "nothing" and "anything"
// are equally likely.
func (d *Disk) some(f *inode) []byte {
	switch d.dice.IntN(3) {
	case 0:
		return bytes.Clone(f.synced)
	case 1:
		return bytes.Clone(f.now)
	}
	size := len(f.now)
	if d.dice.IntN(3) == 0 {
		size = len(f.synced)
	}
	b := make([]byte, size)
	copy(b, f.synced)
	for at := 0; at < min(size, len(f.now)); at += sector {
		end := min(at+sector, size, len(f.now))
		switch d.dice.IntN(5) {
		case 0, 1:
			copy(b[at:end], f.now[at:])
		case 2:
			copy(b[at:at+d.dice.IntN(end-at+1)], f.now[at:])
		}
	}
	return b
}

// do runs an operation between its two events.
func (d *Disk) do(op string, fn func(failed error) error) error {
	d.event(op)
	var err error
	if d.Fail != nil {
		err = d.Fail(op)
	}
	d.mu.Lock()
	err = fn(err)
	d.mu.Unlock()
	d.event(op)
	return err
}

func (d *Disk) event(op string) {
	if d.Event != nil {
		d.Event(op)
	}
}

// Read is a wal.Disk's.
func (d *Disk) Read(path string) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.names[path]
	if f == nil {
		return nil, fmt.Errorf("read %s: %w", path, fs.ErrNotExist)
	}
	return bytes.Clone(f.now), nil
}

// Create is a wal.Disk's.
func (d *Disk) Create(path string) (wal.File, error) {
	var f *inode
	err := d.do("create", func(failed error) error {
		if failed != nil {
			return failed
		}
		if f = d.names[path]; f == nil {
			f = &inode{}
			d.names[path] = f
		}
		f.now = nil
		return nil
	})
	return &handle{d, f}, err
}

// Remove is a wal.Disk's.
func (d *Disk) Remove(path string) error {
	return d.do("remove", func(failed error) error {
		if failed == nil {
			delete(d.names, path)
		}
		return failed
	})
}

// SyncNames is a wal.Disk's; there is one folder.
func (d *Disk) SyncNames(string) error {
	return d.do("sync names", func(failed error) error {
		if failed == nil {
			d.kept = maps.Clone(d.names)
		}
		return failed
	})
}

type handle struct {
	d *Disk
	f *inode
}

func (h *handle) Close() error { return nil }

// WriteAt that fails may have written a part.
func (h *handle) WriteAt(b []byte, at int64) (n int, err error) {
	err = h.d.do("write", func(failed error) error {
		n = len(b)
		if failed != nil {
			n = h.d.dice.IntN(len(b) + 1)
		}
		if missing := int(at) + n - len(h.f.now); missing > 0 {
			h.f.now = append(h.f.now, make([]byte, missing)...)
		}
		copy(h.f.now[at:], b[:n])
		return failed
	})
	return n, err
}

// Sync that fails has made any part durable.
func (h *handle) Sync() error {
	return h.d.do("sync", func(failed error) error {
		if failed != nil {
			h.f.synced = h.d.some(h.f)
		} else {
			h.f.synced = bytes.Clone(h.f.now)
		}
		return failed
	})
}
