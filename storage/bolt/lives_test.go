package bolt

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"

	"plimsoll/storage"
	"plimsoll/storage/bolt/wal"
)

// unpack brings a store that an older version has made to a folder of its own.
func unpack(t *testing.T, name string) string {
	t.Helper()
	to := t.TempDir()
	packed, err := filepath.Glob(filepath.Join("testdata", "format0", name+"*.gz"))
	if err != nil || len(packed) == 0 {
		t.Fatal(packed, err)
	}
	for _, p := range packed {
		f, err := os.Open(p)
		if err != nil {
			t.Fatal(err)
		}
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(z)
		if err := errors.Join(err, f.Close(), os.WriteFile(filepath.Join(to, strings.TrimSuffix(filepath.Base(p), ".gz")), b, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(to, name)
}

// A store of the first format opens for ever, whether its process was killed or ended.
func TestStoreOfTheFirstFormatOpens(t *testing.T) {
	want := map[string]string{
		"mac/0": "revision 4", "mac/0 empty": "", "mac/1": "revision 6", "mac/1 after": "the drop", "mac/2": "revision 4", "mac/2 empty": "",
	}
	for _, i := range []int{0, 3, 5, 6, 8, 9, 11} {
		want[fmt.Sprintf("mac/%d key%d", i%3, i)] = strings.Repeat(fmt.Sprint("value ", i, " "), 1+i*20)
	}
	for _, name := range []string{"killed.db", "clean.db"} {
		path := unpack(t, name)
		for _, when := range []string{"the first time", "again"} {
			db, err := Open(path)
			if err != nil {
				t.Fatal(name, when, err)
			}
			if got := contents(t, db, "mac/0", "mac/1", "mac/2"); !maps.Equal(got, want) {
				t.Errorf("%s, opened %s: %.2000v, want %.2000v", name, when, got, want)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// The file alone is the whole after an orderly end, and is refused otherwise: an old fleet must not start without a word.
func TestFileWithoutItsLog(t *testing.T) {
	closed := func(t *testing.T) string {
		path := file(t)
		db, err := Open(path)
		if err == nil {
			err = errors.Join(set(t.Context(), db, "mac/0", "key", "value"), db.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	running := func(t *testing.T) string {
		db := open(t, file(t))
		if err := set(t.Context(), db, "mac/0", "key", "value"); err != nil {
			t.Fatal(err)
		}
		return crash(t, db)
	}
	killedAtOnce := func(t *testing.T) string { return crash(t, open(t, file(t))) }
	recovered := func(t *testing.T) string { return crash(t, open(t, running(t))) }
	reopened := func(t *testing.T) string { return crash(t, open(t, closed(t))) }
	for _, c := range []struct {
		name    string
		path    func(*testing.T) string
		remove  string // which files of the log
		refused string // which are named as missing
	}{
		{"no file at all", func(t *testing.T) string { return file(t) }, "", ""},
		{"after an orderly end", closed, "", ""},
		{"while it ran, all three", running, "", ""},
		{"while it ran, alone", running, "01", "01"},
		{"while it ran, half of the log", running, "1", "1"},
		{"killed before anything was written", killedAtOnce, "01", "01"},
		{"after a crash and a start", recovered, "01", "01"},
		{"after an orderly end and a start", reopened, "01", "01"},
		{"from a version that does not say", func(t *testing.T) string { return unpack(t, "clean.db") }, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := c.path(t)
			logs := wal.Paths(path + "-log")
			missing := []string{}
			for i, log := range logs {
				if strings.Contains(c.remove, fmt.Sprint(i)) {
					if err := os.Remove(log); err != nil {
						t.Fatal(err)
					}
				}
				if strings.Contains(c.refused, fmt.Sprint(i)) {
					missing = append(missing, log)
				}
			}
			db, err := Open(path)
			if c.refused == "" {
				if err != nil {
					t.Fatal(err)
				}
				if err := db.Close(); err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil {
				t.Fatal("it was opened", db.Close())
			}
			names := strings.Join(missing, " and ")
			if want := "the newest writes are in " + names + ", which is missing: "; !strings.Contains(err.Error(), want) ||
				!strings.HasSuffix(err.Error(), "to go on without those writes, make "+names+" as empty files") ||
				strings.Contains(err.Error(), "\n") || !errors.Is(err, storage.ErrUnavailable) {
				t.Errorf("Open: %v", err)
			}
			if _, err := os.Stat(missing[0]); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("a log was made: %v", err)
			}
			for _, log := range missing { // as the error says
				if err := os.WriteFile(log, nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			open(t, path)
		})
	}
}

// inFile is what the file alone has under key of mac/0.
func inFile(t *testing.T, db *DB) string {
	t.Helper()
	var got string
	if err := db.bolt.View(func(file *bbolt.Tx) error {
		v, err := newTx(file, "mac/0").Get("key")
		got = string(v)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return got
}

// What is committed is in the file within 30 s, also when nothing comes after it.
func TestLogIsMovedIntoTheFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := open(t, file(t))
		for _, val := range []string{"first", "second", "third"} {
			time.Sleep(7 * time.Second) // of the test's own clock
			if err := set(t.Context(), db, "mac/0", "key", val); err != nil {
				t.Fatal(err)
			}
			if got := inFile(t, db); got == val {
				t.Fatalf("%s is in the file with its commit; the log does nothing", val)
			}
			time.Sleep(30 * time.Second)
			synctest.Wait()
			if got := inFile(t, db); got != val {
				t.Errorf("30 s after its commit the file has %q, want %q", got, val)
			}
		}
		if err := db.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
		before := db.w.log.Last()
		time.Sleep(time.Minute)
		synctest.Wait()
		if err := db.bolt.View(func(file *bbolt.Tx) error {
			if got := file.Bucket(bucketName).Sequence(); got >= before {
				t.Errorf("a group in which nothing is committed was moved: %d of %d", got, before)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	})
}

// While the file takes nothing, the clock does not try again: the next commit does.
func TestClockLeavesAFileThatTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := open(t, file(t))
		full := true
		db.main = refusing{db.main, &full}
		if err := set(t.Context(), db, "mac/0", "key", "value"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if err := set(t.Context(), db, "mac/0", "key", "later"); !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("a write while the file takes nothing: %v", err)
		}
		full = false
		if err := set(t.Context(), db, "mac/0", "key", "later"); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := inFile(t, db); got != "later" {
			t.Errorf("a minute after the last commit the file has %q", got)
		}
	})
}

// refusing is a file on a disk that is full.
type refusing struct {
	updater
	full *bool
}

func (r refusing) Update(fn func(*bbolt.Tx) error) error {
	if *r.full {
		return errors.New("no space left")
	}
	return r.updater.Update(fn)
}
