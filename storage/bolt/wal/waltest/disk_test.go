package waltest_test

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"plimsoll/storage/bolt/wal"
	"plimsoll/storage/bolt/wal/waltest"
)

func newDisk(files map[string][]byte) *waltest.Disk {
	return waltest.New(rand.New(rand.NewPCG(5, 5)), files)
}

// crashes are the contents of a file in many crashes; "-": there is none.
func crashes(d *waltest.Disk, name string) map[string]bool {
	seen := map[string]bool{}
	for range 500 {
		if b, ok := d.Crash()[name]; ok {
			seen[string(b)] = true
		} else {
			seen["-"] = true
		}
	}
	return seen
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func writeAt(t *testing.T, f wal.File, at int64, text string) {
	t.Helper()
	_, err := f.WriteAt([]byte(text), at)
	must(t, err)
}

func TestWhatACrashLeaves(t *testing.T) {
	synced := strings.Repeat("s", 1024)
	for name, c := range map[string]struct {
		do       func(t *testing.T, d *waltest.Disk)
		must     []string // each is seen
		only     bool     // and nothing else
		unwanted string   // never
	}{
		"nothing": {func(*testing.T, *waltest.Disk) {}, []string{synced}, true, ""},
		"a write without a sync": {func(t *testing.T, d *waltest.Disk) {
			f, err := d.Create("other")
			must(t, err)
			must(t, f.Close())
			f, err = d.Create("f")
			must(t, err)
			writeAt(t, f, 0, strings.Repeat("w", 1024))
		}, []string{synced, strings.Repeat("w", 1024), strings.Repeat("w", 512) + strings.Repeat("s", 512), strings.Repeat("s", 512) + strings.Repeat("w", 512)}, false, "-"},
		"a write with its sync": {func(t *testing.T, d *waltest.Disk) {
			f, err := d.Create("f")
			must(t, err)
			writeAt(t, f, 0, "new")
			must(t, f.Sync())
		}, []string{"new"}, true, ""},
		"a removal without a sync": {func(t *testing.T, d *waltest.Disk) { must(t, d.Remove("f")) }, []string{synced, "-"}, true, ""},
		"a removal with its sync":  {func(t *testing.T, d *waltest.Disk) { must(t, d.Remove("f")); must(t, d.SyncNames("f")) }, []string{"-"}, true, ""},
	} {
		d := newDisk(map[string][]byte{"f": []byte(synced)})
		c.do(t, d)
		seen := crashes(d, "f")
		for _, want := range c.must {
			if !seen[want] {
				t.Errorf("%s: no crash of 500 leaves %.8q…%.8q", name, want, want[max(0, len(want)-8):])
			}
		}
		if c.only && len(seen) != len(c.must) || seen[c.unwanted] && c.unwanted != "" {
			t.Errorf("%s: crashes leave %d contents, want %d", name, len(seen), len(c.must))
		}
	}
}

func TestANewNameMayBeLost(t *testing.T) {
	d := newDisk(nil)
	f, err := d.Create("f")
	must(t, err)
	writeAt(t, f, 2, "x")
	must(t, f.Sync())
	if seen := crashes(d, "f"); !seen["-"] || !seen["\x00\x00x"] || len(seen) != 2 {
		t.Errorf("before its name is synced: %v", seen)
	}
	must(t, d.SyncNames("f"))
	if seen := crashes(d, "f"); !seen["\x00\x00x"] || len(seen) != 1 {
		t.Errorf("after its name is synced: %v", seen)
	}
}

func TestOperationsFailAndAreSaid(t *testing.T) {
	d := newDisk(nil)
	f, err := d.Create("f")
	must(t, err)
	failed := errors.New("failed")
	var events []string
	d.Event = func(op string) { events = append(events, op) }
	d.Fail = func(string) error { return failed }
	n, err := f.WriteAt([]byte("group"), 0)
	if !errors.Is(err, failed) || n > len("group") {
		t.Errorf("WriteAt: %d, %v", n, err)
	}
	_, create := d.Create("g")
	for op, err := range map[string]error{"Sync": f.Sync(), "Create": create, "Remove": d.Remove("f"), "SyncNames": d.SyncNames("f")} {
		if !errors.Is(err, failed) {
			t.Errorf("%s: %v", op, err)
		}
	}
	if !slices.Equal(events[:2], []string{"write", "write"}) || len(events) != 10 {
		t.Errorf("events: %q", events)
	}
	if b, err := d.Read("f"); err != nil || string(b) != "group"[:n] {
		t.Errorf("a process reads %q of what it wrote before the sync failed (%v)", b, err)
	}
	if _, err := d.Read("g"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that was not made: %v", err)
	}
}
