//go:build unix

package bolt

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"plimsoll/storage"
)

// The test binary starts itself for what would disturb other tests: a limit on file sizes, and kill -9.
const (
	childEnv = "PLIMSOLL_BOLT_TEST"
	fileEnv  = "PLIMSOLL_BOLT_FILE"
)

var children = map[string]func(path string) error{
	"fill":  fillUpToALimit,
	"write": writeUntilKilled,
}

func child(t *testing.T, task, path string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+task, fileEnv+"="+path)
	cmd.Stderr = os.Stderr
	return cmd
}

func set(ctx context.Context, db *DB, partition, key, val string) error {
	return db.Update(ctx, partition, func(tx storage.Tx) error {
		tx.Set(key, []byte(val))
		return nil
	})
}

func TestFileLimit(t *testing.T) {
	if err := child(t, "fill", file(t)).Run(); err != nil {
		t.Error(err)
	}
}

// fillUpToALimit is a disk that is full, as far as anybody may say so without being root.
func fillUpToALimit(path string) error {
	limit := func(n uint64) error {
		var l syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &l); err != nil {
			return err
		}
		l.Cur = min(n, l.Max)
		return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &l)
	}
	return fillAndRecover(path, func() error { return limit(4 << 20) }, func() error { return limit(math.MaxInt64) })
}

// fillAndRecover writes until there is no more space, makes space, and holds what is there against what was acknowledged.
func fillAndRecover(path string, full, space func() error) error {
	ctx := context.Background()
	db, err := Open(path)
	if err != nil {
		return err
	}
	if err := full(); err != nil {
		return err
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	acked := map[string]string{}
	failed := 0
	write := func(key string) error {
		noise := make([]byte, 20_000) // does not compress
		_, _ = rand.Read(noise)       // never fails
		err := set(ctx, db, "p/"+key, key, string(noise))
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err == nil:
			acked[key] = string(noise)
		case errors.Is(err, storage.ErrUnavailable):
			failed++
		default:
			return fmt.Errorf("not the error of a full disk: %w", err)
		}
		return nil
	}
	errs := make(chan error, 8)
	for w := range 8 {
		wg.Go(func() {
			for i := range 50 { // 8 MB in all
				if err := write(fmt.Sprint(w, "-", i)); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	select {
	case err := <-errs:
		return err
	default:
	}
	if len(acked) == 0 || failed == 0 {
		return fmt.Errorf("%d writes succeeded and %d failed, want some of each", len(acked), failed)
	}
	check := func() error {
		for key, want := range acked {
			if err := db.View(ctx, "p/"+key, func(r storage.Reader) error {
				got, err := r.Get(key)
				if err == nil && string(got) != want {
					err = fmt.Errorf("%s was acknowledged and is not there", key)
				}
				return err
			}); err != nil {
				return err
			}
		}
		return nil
	}
	if err := check(); err != nil {
		return fmt.Errorf("while it is full: %w", err)
	}
	if err := db.Ping(ctx); !errors.Is(err, storage.ErrUnavailable) {
		return fmt.Errorf("Ping finds nothing wrong while commits fail (%v)", err)
	}
	if err := space(); err != nil {
		return err
	}
	before := failed
	for i := range 50 {
		if err := write(fmt.Sprint("later-", i)); err != nil {
			return err
		}
	}
	if failed != before {
		return errors.New("writes fail although there is space again")
	}
	if err := db.Ping(ctx); err != nil {
		return err
	}
	if err := db.Close(); err != nil {
		return err
	}
	if db, err = Open(path); err != nil {
		return err
	}
	return errors.Join(check(), db.Close())
}

func TestKilledProcessLosesNothingAcknowledged(t *testing.T) {
	path := file(t)
	for round := range 3 {
		cmd := child(t, "write", path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		acked := map[string]bool{}
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if acked[lines.Text()] = true; len(acked) == 300 {
				if err := cmd.Process.Kill(); err != nil {
					t.Error(err)
				}
			}
		}
		if err := cmd.Wait(); err == nil || len(acked) < 300 {
			t.Fatalf("the child ended by itself after %d writes", len(acked))
		}
		db, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		for line := range acked {
			p, key, _ := strings.Cut(line, " ")
			if err := db.View(t.Context(), p, func(r storage.Reader) error {
				got, err := r.Get(key)
				if got == nil {
					t.Errorf("round %d: %s was acknowledged and is not there", round, line)
				}
				return err
			}); err != nil {
				t.Error(err)
			}
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
}

// writeUntilKilled says on standard output what was acknowledged.
func writeUntilKilled(path string) error {
	db, err := Open(path)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	errs := make(chan error)
	for w := range 16 {
		go func() {
			for i := 0; ; i++ {
				p, key := fmt.Sprint("mac/", w), fmt.Sprint(os.Getpid(), "/", i)
				if err := set(context.Background(), db, p, key, strings.Repeat("report ", 300)); err != nil {
					errs <- err
					return
				}
				mu.Lock()
				fmt.Println(p, key)
				mu.Unlock()
			}
		}()
	}
	return <-errs
}
