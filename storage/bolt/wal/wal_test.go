package wal_test

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"plimsoll/storage/bolt/wal"
	"plimsoll/storage/bolt/wal/waltest"
)

const headerSize = 8 + 16 // as the format has it: magic and salt

func disk(files map[string][]byte) *waltest.Disk {
	return waltest.New(rand.New(rand.NewPCG(1, 1)), files)
}

// begin opens the log, and begins it anew after the group with that number.
func begin(t *testing.T, d wal.Disk, path string, seq uint64) *wal.Log {
	t.Helper()
	l, err := wal.Open(d, path)
	if err == nil {
		err = l.Begin(seq)
	}
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func frame(group string) []byte { return append(make([]byte, wal.Room), group...) }

func write(t *testing.T, l *wal.Log, groups ...string) {
	t.Helper()
	for _, g := range groups {
		if err := l.Append(frame(g)); err != nil {
			t.Fatal(err)
		}
	}
}

// replay is what the next process finds after a number.
func replay(d wal.Disk, path string, after uint64) (groups []string, last uint64, err error) {
	l, err := wal.Open(d, path)
	if err != nil {
		return nil, 0, err
	}
	last, err = l.Replay(after, func(g []byte) error {
		groups = append(groups, string(g))
		return nil
	})
	return groups, last, err
}

func want(t *testing.T, d wal.Disk, after, wantLast uint64, want ...string) {
	t.Helper()
	got, last, err := replay(d, "log", after)
	if err != nil || last != wantLast || !slices.Equal(got, want) {
		t.Fatalf("found %q up to %d (%v), want %q up to %d", got, last, err, want, wantLast)
	}
}

func TestReplayReturnsWhatWasAppended(t *testing.T) {
	d := disk(nil)
	want(t, d, 7, 7)
	l := begin(t, d, "log", 7)
	if got := l.Last(); got != 7 {
		t.Errorf("Last() of a log that begins after 7: %d", got)
	}
	write(t, l, "a", "", "c")
	if got := l.Last(); got != 10 {
		t.Errorf("Last() after three groups: %d", got)
	}
	if got, empty := l.Size(), int64(headerSize); got != empty+3*wal.Room+2 {
		t.Errorf("Size() = %d", got)
	}
	want(t, d, 7, 10, "a", "", "c")
	want(t, d, 9, 10, "c")
	want(t, d, 10, 10)
	want(t, d, 12, 12) // the database has more than the log
	begin(t, d, "log", 10)
	want(t, d, 10, 10)
}

func TestFilesTakeTurns(t *testing.T) {
	d := disk(nil)
	l := begin(t, d, "log", 0)
	if l.Rotate() {
		t.Error("a file without a group has ended its turn")
	}
	write(t, l, "1", "2", "3")
	if !l.Rotate() {
		t.Error("a file with three groups has kept its turn")
	}
	write(t, l, "4")
	want(t, d, 0, 4, "1", "2", "3", "4") // nothing is released
	l.Release()
	write(t, l, "5")
	l.Rotate()
	if got := l.Size(); got != headerSize {
		t.Errorf("Size() of a file that was released: %d", got)
	}
	want(t, d, 3, 5, "4", "5")
	write(t, l, "6") // over 1; 2 and 3 are still behind it
	want(t, d, 3, 6, "4", "5", "6")
	if _, _, err := replay(d, "log", 0); err == nil || !strings.HasPrefix(err.Error(), "the log lacks group 1, and goes on with 4: restore a copy, or make log0 and log1 empty") {
		t.Errorf("what was released is asked for: %v", err)
	}
}

func TestMissingFilesAreNamed(t *testing.T) {
	d := disk(nil)
	l, err := wal.Open(d, "log")
	if err != nil || !slices.Equal(l.Missing(), []string{"log0", "log1"}) {
		t.Fatalf("a folder without a log lacks %q (%v)", l.Missing(), err)
	}
	if err := l.Begin(0); err != nil {
		t.Fatal(err)
	}
	files := d.Files()
	delete(files, "log1")
	if l, err = wal.Open(disk(files), "log"); err != nil || !slices.Equal(l.Missing(), []string{"log1"}) {
		t.Errorf("without its second file the log lacks %q (%v)", l.Missing(), err)
	}
	if l, err = wal.Open(d, "log"); err != nil || len(l.Missing()) > 0 {
		t.Errorf("a log that is whole lacks %q (%v)", l.Missing(), err)
	}
}

// A group that was not written whole, or that holds something else, was not acknowledged: it is left out, and nothing else.
func TestTornGroup(t *testing.T) {
	d := disk(nil)
	write(t, begin(t, d, "log", 0), "first", "second", "the third one, which is torn")
	whole := d.Files()["log0"]
	begins := headerSize + 2*wal.Room + len("first"+"second")
	for cut := begins; cut < len(whole); cut++ {
		want(t, disk(map[string][]byte{"log0": whole[:cut]}), 0, 2, "first", "second")
	}
	for at := begins; at < len(whole); at++ {
		b := slices.Clone(whole)
		b[at] ^= 0x40
		want(t, disk(map[string][]byte{"log0": b}), 0, 2, "first", "second")
	}
	for cut := range headerSize + 1 {
		want(t, disk(map[string][]byte{"log0": whole[:cut]}), 0, 0)
	}
}

// What stands behind the last group is none, whatever it looks like.
func TestNoGroupIsMadeUp(t *testing.T) {
	forged := frame("forged")
	binary.BigEndian.PutUint64(forged, uint64(len("forged")))
	binary.BigEndian.PutUint64(forged[8:], 2)
	table := crc32.MakeTable(crc32.Castagnoli)
	binary.BigEndian.PutUint32(forged[16:], crc32.Update(crc32.Checksum(forged[:16], table), table, []byte("forged")))
	d := disk(nil)
	write(t, begin(t, d, "log", 0), "first")
	behind := d.Files()["log0"]
	want(t, disk(map[string][]byte{"log0": append(behind, forged...)}), 0, 1, "first")

	// The groups of an earlier salt are none either.
	write(t, begin(t, d, "log", 0), "other")
	other := append(d.Files()["log0"][:headerSize], behind[headerSize:]...)
	want(t, disk(map[string][]byte{"log0": other}), 0, 0)
}

func TestAnotherFileIsNoLog(t *testing.T) {
	_, err := wal.Open(disk(map[string][]byte{"log1": []byte(strings.Repeat("no log ", 100))}), "log")
	if err == nil || err.Error() != "log1 is not a log of this database" {
		t.Errorf("Open: %v", err)
	}
	if _, err := wal.Open(wal.OS, filepath.Join(t.TempDir(), "none", "log")); err != nil { // it is Begin that fails
		t.Errorf("Open in a folder that is not there: %v", err)
	}
}

func TestErrorOfReplayNamesTheGroup(t *testing.T) {
	d := disk(nil)
	write(t, begin(t, d, "log", 3), "a", "b")
	l, err := wal.Open(d, "log")
	if err != nil {
		t.Fatal(err)
	}
	damaged := errors.New("damaged")
	last, err := l.Replay(3, func(g []byte) error {
		if string(g) == "b" {
			return damaged
		}
		return nil
	})
	if last != 4 || !errors.Is(err, damaged) || !strings.HasPrefix(err.Error(), "group 5: ") {
		t.Errorf("Replay: %d, %v", last, err)
	}
}

// Who asks twice is told the same twice, also after a group that was committed in another's place.
func TestReplayChangesNothing(t *testing.T) {
	d := disk(nil)
	l := begin(t, d, "log", 0)
	write(t, l, "1")
	failed := errors.New("no sync")
	d.Fail = func(op string) error {
		if op == "sync" {
			return failed
		}
		return nil
	}
	if err := l.Append(frame("refused")); !errors.Is(err, failed) || l.Last() != 1 {
		t.Fatalf("Append whose sync fails: %v, and Last() = %d", err, l.Last())
	}
	d.Fail = nil
	l.Rotate()
	write(t, l, "2")
	found, err := wal.Open(d, "log")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		var got []string
		if _, err := found.Replay(0, func(g []byte) error { got = append(got, string(g)); return nil }); err != nil || !slices.Equal(got, []string{"1", "2"}) {
			t.Errorf("Replay: %q (%v)", got, err)
		}
	}
}

func TestErrorsOfTheDiskAreReturned(t *testing.T) {
	failed := errors.New("no space")
	for op, fn := range map[string]func(l *wal.Log) error{
		"create":     func(l *wal.Log) error { return l.Begin(0) },
		"sync names": func(l *wal.Log) error { return l.Begin(0) },
		"write":      func(l *wal.Log) error { return l.Append(frame("a")) },
		"sync":       func(l *wal.Log) error { return l.Append(frame("a")) },
		"remove":     func(l *wal.Log) error { return l.Remove() },
	} {
		d := disk(nil)
		l := begin(t, d, "log", 0)
		d.Fail = func(o string) error {
			if o == op {
				return failed
			}
			return nil
		}
		if err := fn(l); !errors.Is(err, failed) {
			t.Errorf("%s fails: %v", op, err)
		}
	}
}

// The machine's own disk does what the one in memory does.
func TestOnARealDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db-log")
	l := begin(t, wal.OS, path, 0)
	write(t, l, "1", "2")
	l.Rotate()
	write(t, l, "3")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	got, last, err := replay(wal.OS, path, 0)
	if err != nil || last != 3 || !slices.Equal(got, []string{"1", "2", "3"}) {
		t.Errorf("found %q up to %d (%v)", got, last, err)
	}
	l = begin(t, wal.OS, path, last)
	if err := l.Remove(); err != nil {
		t.Fatal(err)
	}
	for _, p := range wal.Paths(path) {
		if _, err := wal.OS.Read(p); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s was removed: %v", p, err)
		}
	}
	if _, err := wal.OS.Create(filepath.Join(path, "none", "log0")); err == nil {
		t.Error("a file in a folder that is not there was made")
	}
	if err := wal.OS.SyncNames(filepath.Join(path, "none", "log0")); err == nil {
		t.Error("the names of a folder that is not there were synced")
	}
}

func FuzzOpen(f *testing.F) {
	d := waltest.New(rand.New(rand.NewPCG(1, 1)), nil)
	l, err := wal.Open(d, "log")
	if err == nil {
		err = errors.Join(l.Begin(0), l.Append(frame("group")), l.Append(frame("another")))
	}
	if err != nil {
		f.Fatal(err)
	}
	for _, b := range maps.All(d.Files()) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _, _ = replay(disk(map[string][]byte{"log0": b}), "log", 0) // damage is an error or the end, never a panic
	})
}
