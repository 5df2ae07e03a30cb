package archive

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"slices"
	"time"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"

	"plimsoll/storage"
)

const (
	// window bounds what a reader must hold to unpack.
	window = 1 << 20
	// ahead is how many partitions are read at a time, and so are in memory.
	ahead = 4
	// page is how many values are read with one request: Redis answers nobody else meanwhile.
	page = 100
)

// Options say what a backup is written with.
type Options struct {
	Version    string          // of the program
	Now        time.Time       // the time of the backup
	Recipients []age.Recipient // whom it is encrypted to; none: it is not
}

// Write writes a backup of everything in the database, which may be in use. When it returns an error, what was written is not a
// whole backup, and no restore takes it.
func Write(ctx context.Context, w io.Writer, db storage.DB, o Options) (Summary, error) {
	rec, err := storage.New(db).FormatRecord(ctx)
	if err != nil {
		return Summary{}, err
	}
	h := Header{Version: o.Version, CreatedAt: o.Now.UTC().Truncate(time.Second)}
	if rec != nil {
		if rec.Restoring != nil {
			return Summary{}, fmt.Errorf(
				"%w: a restore into the store was broken off: there is nothing whole to back up",
				storage.ErrConflict,
			)
		}
		h.Format, h.Oldest, h.Store = rec.Format, rec.Oldest, rec.ID
	}
	var lock io.WriteCloser
	if len(o.Recipients) > 0 {
		if lock, err = age.Encrypt(w, o.Recipients...); err != nil {
			return Summary{}, fmt.Errorf("encrypt the backup: %w", err)
		}
		w = lock
	}
	packed, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(window), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return Summary{}, fmt.Errorf("compress the backup: %w", err)
	}
	b := &writer{db: db, w: bufio.NewWriterSize(packed, 64<<10), sum: sha256.New(), missing: map[string]string{}}
	b.Header = h
	if err = b.all(ctx); err == nil {
		err = b.w.Flush()
	}
	if closeErr := packed.Close(); err == nil {
		err = closeErr
	}
	if err == nil && lock != nil { // else the end of the file would look whole
		err = lock.Close()
	}
	return b.Summary, err
}

type writer struct {
	Summary
	db  storage.DB
	w   *bufio.Writer
	sum hash.Hash
	buf []byte

	// missing are the certificates of the Macs so far, each with its Mac. That of a Mac that is deleted meanwhile may be revoked
	// when it is read.
	missing map[string]string
	reread  int // how many Macs were read again
}

func (w *writer) all(ctx context.Context) error {
	header, err := json.Marshal(w.Header)
	if err != nil {
		return err
	}
	if err := w.write(appendText([]byte(magic), header)); err != nil {
		return err
	}
	for _, stages := range [][]stage{{macs}, {certificates, rest, book}} {
		names, err := w.names(ctx, stages)
		if err != nil {
			return err
		}
		if err := w.partitions(ctx, names); err != nil {
			return err
		}
	}
	end := binary.AppendUvarint([]byte{kindEnd}, uint64(w.Partitions))
	if err := w.write(binary.AppendUvarint(end, uint64(w.Values))); err != nil {
		return err
	}
	sum := w.sum.Sum(nil)
	w.Checksum = hex.EncodeToString(sum)
	_, err = w.w.Write(sum)
	return err
}

// names lists the partitions of some stages in the order in which they are written; the certificates of the Macs that were
// written are among them.
func (w *writer) names(ctx context.Context, stages []stage) ([]string, error) {
	var names []string
	if err := w.db.Partitions(ctx, func(found []string) error {
		for _, name := range found {
			if slices.Contains(stages, stageOf(name)) {
				names = append(names, name)
			}
		}
		return nil
	}); err != nil {
		return nil, fmt.Errorf("list the partitions: %w", err)
	}
	for name := range w.missing {
		names = append(names, name)
	}
	slices.SortFunc(names, compare)
	return slices.Compact(names), nil
}

// partitions reads and writes partitions, reading ahead.
func (w *writer) partitions(ctx context.Context, names []string) error {
	type result struct {
		partition
		err error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	queue := make(chan chan result, ahead)
	go func() {
		defer close(queue)
		for _, name := range names {
			answer := make(chan result, 1)
			select {
			case queue <- answer:
			case <-ctx.Done():
				return
			}
			go func() {
				p, err := read(ctx, w.db, name)
				answer <- result{p, err}
			}()
		}
	}()
	written := 0
	for answer := range queue {
		r := <-answer
		if r.err == nil {
			r.err = w.partition(ctx, r.partition)
		}
		if r.err != nil {
			return fmt.Errorf("back up %s: %w", names[written], r.err)
		}
		written++
	}
	return ctx.Err()
}

// read reads a partition whole.
func read(ctx context.Context, db storage.DB, name string) (partition, error) {
	var p partition
	err := db.View(ctx, name, func(r storage.Reader) (err error) {
		p = partition{name: name}
		for after := ""; ; {
			entries, err := r.List("", after, page)
			if err != nil {
				return err
			}
			p.entries = append(p.entries, entries...)
			if len(entries) < page {
				break
			}
			after = entries[len(entries)-1].Key
		}
		p.revision, err = r.Revision()
		return err
	})
	return p, err
}

func (w *writer) partition(ctx context.Context, p partition) error {
	switch stageOf(p.name) {
	case macs:
		if err := w.settle(ctx, &p); err != nil {
			return err
		}
		if len(p.entries) > 0 {
			w.Macs++
		}
		if err := w.claim(p); err != nil {
			return err
		}
	case certificates:
		w.own(&p)
	}
	w.Partitions++
	w.buf = append(w.buf[:0], kindPartition)
	w.buf = binary.AppendUvarint(appendText(w.buf, p.name), p.revision)
	if err := w.write(w.buf); err != nil {
		return err
	}
	for _, e := range p.entries {
		w.Values++
		w.buf = appendText(append(w.buf[:0], kindValue), e.Key)
		w.buf = binary.AppendUvarint(w.buf, uint64(len(e.Value)))
		if err := w.write(w.buf); err != nil {
			return err
		}
		if err := w.write(e.Value); err != nil {
			return err
		}
	}
	return nil
}

// settle waits for the deletion of a Mac, of which the identity goes a moment before the rest: a Mac without one could not
// sync. A fleet may be full of Macs without one, so not many are waited for.
func (w *writer) settle(ctx context.Context, p *partition) error {
	const most, tries = 500, 3
	for range tries {
		if len(p.entries) == 0 || value(p.entries, storage.KeyCertificates) != nil || w.reread >= most {
			return nil
		}
		w.reread++
		timer := time.NewTimer(20 * time.Millisecond)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
		var err error
		if *p, err = read(ctx, w.db, p.name); err != nil {
			return err
		}
	}
	return nil
}

// claim notes the certificate that a Mac comes with.
func (w *writer) claim(p partition) error {
	val := value(p.entries, storage.KeyCertificates)
	if val == nil {
		return nil
	}
	var has struct {
		Hash string `json:"hash"`
	}
	if err := json.Unmarshal(val, &has); err != nil {
		return fmt.Errorf("decode %s: %w", storage.KeyCertificates, err)
	}
	if has.Hash != "" {
		w.missing[storage.CertPartition(has.Hash)] = p.name[len(macPrefix):]
	}
	return nil
}

// own makes the certificate that a Mac of the backup comes with its own, as it was when the Mac was read.
func (w *writer) own(p *partition) {
	mac, ok := w.missing[p.name]
	delete(w.missing, p.name)
	owner := value(p.entries, storage.KeyCertOwner)
	if !ok || owner != nil && string(owner) != mac {
		return
	}
	p.revision = max(p.revision, 1)
	p.entries = slices.DeleteFunc(
		p.entries,
		func(e storage.Entry) bool { return e.Key == storage.KeyCertRevoked || e.Key == storage.KeyCertOwner },
	)
	p.entries = append(p.entries, storage.Entry{Key: storage.KeyCertOwner, Value: []byte(mac)})
	slices.SortFunc(p.entries, func(a, b storage.Entry) int { return compareKeys(a.Key, b.Key) })
}

func (w *writer) write(b []byte) error {
	_, _ = w.sum.Write(b) // never fails
	_, err := w.w.Write(b)
	return err
}

// value is that of a key, nil when there is none.
func value(entries []storage.Entry, key string) []byte {
	i, found := slices.BinarySearchFunc(entries, key, func(e storage.Entry, key string) int { return compareKeys(e.Key, key) })
	if !found {
		return nil
	}
	return entries[i].Value
}
