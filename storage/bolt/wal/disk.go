package wal

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
)

// Disk is where a log lies. What was written to it, and the names of files, survive a power failure once they are synced.
type Disk interface {
	// Read returns the whole file; the error wraps fs.ErrNotExist when there is none.
	Read(path string) ([]byte, error)
	// Create makes the file, or an existing one empty.
	Create(path string) (File, error)
	Remove(path string) error
	// SyncNames makes the names of the files beside that one durable: syncing a file does not promise that its name is.
	SyncNames(path string) error
}

// File is a file that is written.
type File interface {
	io.WriterAt
	io.Closer
	// Sync makes what was written durable.
	Sync() error
}

// OS is the machine's own disk.
var OS Disk = machine{}

type machine struct{}

func (machine) Read(path string) ([]byte, error) { return os.ReadFile(path) }
func (machine) Remove(path string) error         { return os.Remove(path) }

func (machine) Create(path string) (File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	return machineFile{f}, nil
}

func (machine) SyncNames(path string) error {
	if runtime.GOOS == "windows" { // which cannot
		return nil
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

type machineFile struct{ *os.File }

func (f machineFile) Sync() error { return syncData(f.File) }
