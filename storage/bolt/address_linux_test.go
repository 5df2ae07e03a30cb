package bolt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"
)

func init() { children["narrow"] = openWithLittleAddressSpace }

func TestLittleAddressSpace(t *testing.T) {
	if err := child(t, "narrow", file(t)).Run(); err != nil {
		t.Error(err)
	}
}

// openWithLittleAddressSpace opens a database where as much as it would like to map cannot be mapped.
func openWithLittleAddressSpace(path string) error {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return err
	}
	var used uint64 // pages: with the race detector far more than mmapSize
	if _, err := fmt.Sscan(string(b), &used); err != nil {
		return err
	}
	most := used*uint64(os.Getpagesize()) + mmapSize/2
	if err := syscall.Setrlimit(syscall.RLIMIT_AS, &syscall.Rlimit{Cur: most, Max: most}); err != nil {
		return err
	}
	db, err := Open(path)
	if err != nil {
		return err
	}
	return errors.Join(set(context.Background(), db, "mac/0", "key", "value"), db.Close())
}
