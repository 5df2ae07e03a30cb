package archive_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"plimsoll/storage"
	"plimsoll/storage/archive"
)

// file puts a backup together by hand: what a stranger can write.
type file struct{ b []byte }

func begun(header string) *file {
	f := &file{b: []byte("plimsoll backup 1\n")}
	return f.text(header)
}

func plain() *file {
	return begun(`{"format":1,"version":"test","created_at":"2026-11-29T09:00:00Z","store":"s"}`)
}

func (f *file) number(n uint64) *file { f.b = binary.AppendUvarint(f.b, n); return f }
func (f *file) raw(b ...byte) *file   { f.b = append(f.b, b...); return f }
func (f *file) text(s string) *file   { f.number(uint64(len(s))); f.b = append(f.b, s...); return f }

func (f *file) partition(name string, rev uint64) *file { return f.raw('P').text(name).number(rev) }
func (f *file) value(key, val string) *file             { return f.raw('V').text(key).text(val) }

// end adds numbers and the right checksum, so that nothing but what a test is about is wrong.
func (f *file) end(partitions, values uint64) *file {
	f.raw('E').number(partitions).number(values)
	sum := sha256.Sum256(f.b)
	return f.raw(sum[:]...)
}

// packer packs many small files.
var packer, _ = zstd.NewWriter(nil, zstd.WithWindowSize(64<<10), zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))

func (f *file) packed(testing.TB) []byte { return packer.EncodeAll(f.b, nil) }

func pack(t testing.TB, r io.Reader) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, zstd.WithWindowSize(1<<20))
	must(t, err)
	_, err = io.Copy(w, r)
	must(t, err)
	must(t, w.Close())
	return b.Bytes()
}

func refused(t *testing.T, b []byte, want string) {
	t.Helper()
	db := newBolt(t)
	err := restore(t, b, db, archive.RestoreOptions{})
	if !errors.Is(err, storage.ErrInvalid) || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %q", err, want)
	}
	must(t, db.Partitions(t.Context(), func(names []string) error {
		t.Errorf("partitions %q were written", names)
		return nil
	}))
}

func TestGoodByHand(t *testing.T) {
	db := newBolt(t)
	must(t, restore(t, plain().partition("mac/A", 3).value("a", "1").value("b", "").partition("book", 9).end(2, 2).packed(t), db, archive.RestoreOptions{}))
	if got := content(t, db); got["mac/A"] != "3" || got["mac/A a"] != "1" || got["book"] != "9" || len(got) != 4 {
		t.Errorf("restored %v", got)
	}
}

func TestHostile(t *testing.T) {
	for name, c := range map[string]struct {
		file *file
		want string
	}{
		"nothing in it":              {&file{}, "not a backup"},
		"another magic":              {&file{b: []byte("plimsoll backup 9\nand more of it")}, "not a backup"},
		"no header":                  {&file{b: []byte("plimsoll backup 1\n")}, "cut off"},
		"a header that is no JSON":   {begun("{").end(0, 0), "header"},
		"a header without end":       {(&file{b: []byte("plimsoll backup 1\n")}).number(1 << 40), "too long"},
		"a newer format":             {begun(`{"format":99,"version":"9.9"}`).end(0, 0), "newer Plimsoll (9.9, store format 99"},
		"a format below all":         {begun(`{"format":-1}`).end(0, 0), "format -1"},
		"a record of no kind":        {plain().raw('X').end(0, 0), "no record of kind"},
		"a value without partition":  {plain().value("a", "1").end(0, 1), "outside of a partition"},
		"a partition twice":          {plain().partition("mac/A", 1).partition("mac/A", 1).end(2, 0), "in no order or twice"},
		"partitions in no order":     {plain().partition("book", 1).partition("mac/A", 1).end(2, 0), "in no order or twice"},
		"a key twice":                {plain().partition("mac/A", 1).value("a", "").value("a", "").end(1, 2), "in no order or twice"},
		"the empty key twice":        {plain().partition("mac/A", 1).value("", "").value("", "").end(1, 2), "in no order or twice"},
		"revision 0":                 {plain().partition("mac/A", 0).end(1, 0), "without a revision"},
		"a shard":                    {plain().partition("shard/01", 1).end(1, 0), "which no backup does"},
		"a lease":                    {plain().partition("lease/leader", 1).end(1, 0), "which no backup does"},
		"a format record":            {plain().partition("format", 1).end(1, 0), "which no backup does"},
		"a name that is too long":    {plain().raw('P').number(1 << 50), "too long"},
		"a key that is too long":     {plain().partition("mac/A", 1).raw('V').number(1 << 33), "too long"},
		"a value of 1 TB, announced": {plain().partition("mac/A", 1).raw('V').text("x").number(1 << 40), "value of 1099511627776 bytes"},
		"a number without end":       {plain().raw('P').raw(bytes.Repeat([]byte{0xff}, 100)...), "too large"},
		"too few partitions":         {plain().partition("mac/A", 1).end(2, 0), "should hold 2 partitions"},
		"too few values":             {plain().partition("mac/A", 1).value("a", "").end(1, 7), "7 values"},
		"another checksum":           {&file{b: changed(plain().partition("mac/A", 1).end(1, 0).b, 40)}, ""},
		"a checksum of nothing":      {plain().partition("mac/A", 1).raw('E').number(1).number(0).raw(make([]byte, 32)...), "checksum"},
		"more after the end":         {plain().end(0, 0).raw('P'), "goes on after its end"},
		"no end":                     {plain().partition("mac/A", 1).value("a", "1"), "cut off after 1 partitions"},
	} {
		t.Run(name, func(t *testing.T) { refused(t, c.file.packed(t), c.want) })
	}
	for name, b := range map[string][]byte{"empty": nil, "text": []byte("hello, world, this is no backup"), "a zip": []byte("PK\x03\x04aaaaaaaaaaaaaaaaaaaaaaaaaaaa")} {
		t.Run(name, func(t *testing.T) { refused(t, b, "not a backup") })
	}
}

// Every byte that is changed, and every length at which it is cut off, is found before anything is written.
func TestDamage(t *testing.T) {
	source := newBolt(t)
	enrol(t, source, "MAC-1", 2)
	set(t, source, storage.BookPartition, "policy/everyone", "{}")
	good, _ := backup(t, source, archive.Options{})
	for n := range good {
		if _, err := archive.Check(bytes.NewReader(good[:n]), nil); !errors.Is(err, storage.ErrInvalid) {
			t.Errorf("cut off after %d of %d bytes: %v", n, len(good), err)
		}
	}
	unpacked, err := zstd.NewReader(bytes.NewReader(good))
	must(t, err)
	defer unpacked.Close()
	inside, err := io.ReadAll(unpacked)
	must(t, err)
	for i := range inside {
		if _, err := archive.Check(bytes.NewReader((&file{b: changed(inside, i)}).packed(t)), nil); !errors.Is(err, storage.ErrInvalid) {
			t.Errorf("byte %d of %d changed: %v", i, len(inside), err)
		}
		if _, err := archive.Check(bytes.NewReader((&file{b: inside[:i]}).packed(t)), nil); !errors.Is(err, storage.ErrInvalid) {
			t.Errorf("cut off after %d of %d bytes inside: %v", i, len(inside), err)
		}
	}
	refused(t, good[:len(good)/2], "")
}

// zeros are so many.
type zeros int64

func (z *zeros) Read(p []byte) (int, error) {
	if *z == 0 {
		return 0, io.EOF
	}
	n := min(len(p), int(*z))
	clear(p[:n])
	*z -= zeros(n)
	return n, nil
}

// What a small file unpacks to is never held in memory.
func TestBombs(t *testing.T) {
	head := plain().partition("mac/A", 1)
	huge := zeros(200 << 20)
	many := zeros(100 << 20)
	for name, c := range map[string]struct {
		b    []byte
		want string
	}{
		"a value that goes on":  {pack(t, io.MultiReader(bytes.NewReader(head.raw('V').text("x").number(1<<40).b), &huge)), "value of"},
		"values of full length": {pack(t, io.MultiReader(bytes.NewReader(plain().partition("mac/A", 1).raw('V').text("x").number(storage.MaxValue).b), &many)), "damaged"},
		"a window of 512 MB":    {append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 19 << 3}, make([]byte, 64)...), "window size"},
	} {
		t.Run(name, func(t *testing.T) {
			if len(c.b) > 1<<20 {
				t.Fatalf("%d bytes are no bomb", len(c.b))
			}
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			_, err := archive.Check(bytes.NewReader(c.b), nil)
			runtime.ReadMemStats(&after)
			if !errors.Is(err, storage.ErrInvalid) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if took := after.TotalAlloc - before.TotalAlloc; took > 50<<20 {
				t.Errorf("%d MB were allocated", took>>20)
			}
		})
	}
}

// Whatever the bytes are, they are refused or read, within bounds, and what is read can be restored.
func FuzzCheck(f *testing.F) {
	f.Add(plain().partition("mac/A", 3).value("a", "1").partition("book", 9).end(2, 1).b, false)
	f.Add(plain().end(0, 0).b, false)
	f.Add([]byte("plimsoll backup 1\n\x02{}P\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), false)
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 19 << 3, 1, 2, 3}, true)
	f.Add([]byte("age-encryption.org/v1\n-> X25519 a\nb\n--- c\n"), true)
	f.Fuzz(func(t *testing.T, b []byte, asIs bool) {
		if !asIs {
			b = (&file{b: b}).packed(t)
		}
		_, err := archive.Check(bytes.NewReader(b), nil)
		if err != nil {
			if !errors.Is(err, storage.ErrInvalid) {
				t.Fatalf("%v is of no kind", err)
			}
			return
		}
		must(t, restore(t, b, newBolt(t), archive.RestoreOptions{}))
	})
}
