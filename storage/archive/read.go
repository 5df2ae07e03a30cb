package archive

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"

	"plimsoll/storage"
)

// maxWindow is the largest window that a reader unpacks with; writers of later versions may use more than this one does.
const maxWindow = 8 << 20

// ageMagic begins every file of age, and ageHeaderEnd its last line before what is encrypted.
const (
	ageMagic     = "age-encryption.org/"
	ageHeaderEnd = "\n--- "
	maxAgeHeader = 64 << 10
)

func compareKeys(a, b string) int { return strings.Compare(a, b) }

// ErrEncrypted is an encrypted backup for which no identity was given; it wraps storage.ErrInvalid.
var ErrEncrypted = invalid("the backup is encrypted: give the identity that opens it (--identity @FILE)")

// visitor is given what a backup holds as it is read.
type visitor interface {
	partition(name string, revision uint64) error
	// value must read the value, of n bytes, from r.
	value(key string, n int, r io.Reader) error
}

// Check reads a backup to its end and tells what it holds. An error wraps storage.ErrInvalid when it cannot be restored, and
// says why. It needs no more memory for a large or hostile one. ids open one that is encrypted.
func Check(r io.Reader, ids []age.Identity) (Summary, error) {
	return visit(r, ids, ignore{})
}

// ignore reads values, and keeps nothing.
type ignore struct{}

func (ignore) partition(string, uint64) error { return nil }
func (ignore) value(_ string, n int, r io.Reader) error {
	_, err := io.CopyN(io.Discard, r, int64(n))
	return err
}

// visit reads a backup.
func visit(r io.Reader, ids []age.Identity, v visitor) (Summary, error) {
	plain, err := decrypt(r, ids)
	if err != nil {
		return Summary{}, err
	}
	unpacked, err := zstd.NewReader(
		plain,
		zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(maxWindow),
	)
	if err != nil {
		return Summary{}, invalid("this is not a backup of Plimsoll: %v", err)
	}
	defer unpacked.Close()
	b := &reader{r: bufio.NewReaderSize(unpacked, 64<<10), sum: sha256.New(), v: v}
	if err := b.all(); err != nil {
		return Summary{}, b.why(err)
	}
	return b.Summary, nil
}

// decrypt opens what is encrypted.
func decrypt(r io.Reader, ids []age.Identity) (io.Reader, error) {
	in := bufio.NewReaderSize(r, maxAgeHeader)
	begin, err := in.Peek(len(ageMagic))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read the backup: %w", err)
	}
	if string(begin) != ageMagic {
		return in, nil
	}
	if len(ids) == 0 {
		return nil, ErrEncrypted
	}
	// age reads the lines of its header whole, however long they are.
	if header, _ := in.Peek(maxAgeHeader); !bytes.Contains(header, []byte(ageHeaderEnd)) {
		return nil, invalid("this is not a backup of Plimsoll: the header of its encryption has no end")
	}
	plain, err := age.Decrypt(in, ids...)
	if err != nil {
		return nil, invalid("the backup cannot be decrypted: %v", err)
	}
	return plain, nil
}

// reader reads a backup that is unpacked; all that it reads is in sum.
type reader struct {
	Summary
	r   *bufio.Reader
	sum hash.Hash
	v   visitor
	one [1]byte

	begun bool   // the magic was there
	name  string // of the last partition
	key   string // the last one in it
	any   bool   // there was a partition
	keyed bool   // there was a key in it
}

// why makes one sentence of what is wrong.
func (r *reader) why(err error) error {
	switch {
	case errors.Is(err, storage.ErrInvalid) || errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrConflict):
		return err
	case !r.begun && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, zstd.ErrMagicMismatch)):
		return invalid("this is not a backup of Plimsoll")
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return invalid("the backup is cut off after %d partitions", r.Partitions)
	}
	return invalid("the backup is damaged after %d partitions: %v", r.Partitions, err)
}

func (r *reader) all() error {
	begin := make([]byte, len(magic))
	if _, err := io.ReadFull(r, begin); err != nil {
		return err
	}
	if string(begin) != magic {
		return invalid("this is not a backup of Plimsoll, or it is one of a version that writes them otherwise")
	}
	r.begun = true
	if err := r.header(); err != nil {
		return err
	}
	for {
		kind, err := r.ReadByte()
		if err != nil {
			return err
		}
		switch kind {
		case kindPartition:
			err = r.partition()
		case kindValue:
			err = r.value()
		case kindEnd:
			return r.end()
		default:
			err = invalid("the backup is damaged after %d partitions: there is no record of kind %q", r.Partitions, kind)
		}
		if err != nil {
			return err
		}
	}
}

func (r *reader) header() error {
	b, err := r.text("header", maxHeader)
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(b), &r.Header); err != nil {
		return invalid("the header of the backup cannot be read: %v", err)
	}
	if r.Format > storage.Format {
		return invalid(
			"the backup is one of a newer Plimsoll (%s, store format %d; this one knows up to %d)",
			r.Version,
			r.Format,
			storage.Format,
		)
	}
	if r.Format < 0 {
		return invalid("the backup has store format %d, which there is not", r.Format)
	}
	return nil
}

func (r *reader) partition() error {
	name, err := r.text("partition's name", maxName)
	if err != nil {
		return err
	}
	revision, err := r.number()
	if err != nil {
		return err
	}
	switch {
	case stageOf(name) == leftOut:
		return invalid("the backup holds %q, which no backup does", name)
	case r.any && compare(r.name, name) >= 0:
		return invalid("the backup holds %q after %q, in no order or twice", name, r.name)
	case revision == 0:
		return invalid("the backup holds %q without a revision", name)
	}
	r.name, r.any, r.key, r.keyed = name, true, "", false
	r.Partitions++
	return r.v.partition(name, revision)
}

func (r *reader) value() error {
	key, err := r.text("key", maxKey)
	if err != nil {
		return err
	}
	n, err := r.number()
	if err != nil {
		return err
	}
	switch {
	case !r.any:
		return invalid("the backup holds a value outside of a partition")
	case r.keyed && compareKeys(r.key, key) >= 0:
		return invalid("the backup holds key %q after %q in %q, in no order or twice", key, r.key, r.name)
	case n > storage.MaxValue:
		return invalid(
			"the backup holds a value of %d bytes (key %q in %q), and no value has more than %d",
			n,
			key,
			r.name,
			storage.MaxValue,
		)
	}
	if !r.keyed && stageOf(r.name) == macs {
		r.Macs++
	}
	r.key, r.keyed = key, true
	r.Values++
	return r.v.value(key, int(n), r)
}

// end compares numbers and checksum, and sees that nothing follows.
func (r *reader) end() error {
	partitions, err := r.number()
	if err != nil {
		return err
	}
	values, err := r.number()
	if err != nil {
		return err
	}
	want := r.sum.Sum(nil)
	got := make([]byte, sha256.Size)
	if _, err := io.ReadFull(r.r, got); err != nil {
		return err
	}
	switch {
	case partitions != uint64(r.Partitions) || values != uint64(r.Values):
		return invalid(
			"the backup should hold %d partitions and %d values, and holds %d and %d",
			partitions,
			values,
			r.Partitions,
			r.Values,
		)
	case !bytes.Equal(got, want):
		return invalid("the backup was changed or is damaged: its checksum is not that of what it holds")
	}
	if _, err := r.r.ReadByte(); err == nil {
		return invalid("the backup goes on after its end")
	} else if !errors.Is(err, io.EOF) {
		return err
	}
	r.Checksum = hex.EncodeToString(got)
	return nil
}

// Read is for values.
func (r *reader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	_, _ = r.sum.Write(p[:n]) // never fails
	return n, err
}

// ReadByte is for numbers.
func (r *reader) ReadByte() (byte, error) {
	b, err := r.r.ReadByte()
	if err == nil {
		r.one[0] = b
		_, _ = r.sum.Write(r.one[:]) // never fails
	}
	return b, err
}

// number reads a varint, which has one spelling only.
func (r *reader) number() (uint64, error) {
	var n uint64
	for shift := 0; ; shift += 7 {
		b, err := r.ReadByte()
		if err != nil {
			return 0, err
		}
		if shift == 63 && b > 1 || shift > 63 {
			return 0, invalid("the backup is damaged after %d partitions: a number is too large", r.Partitions)
		}
		if n |= uint64(b&0x7f) << shift; b < 0x80 {
			return n, nil
		}
	}
}

// text reads a length and as much, at most that many bytes.
func (r *reader) text(what string, most uint64) (string, error) {
	n, err := r.number()
	if err != nil {
		return "", err
	}
	if n > most {
		return "", invalid("the backup is damaged after %d partitions: a %s of %d bytes is too long", r.Partitions, what, n)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return "", err
	}
	return string(b), nil
}
