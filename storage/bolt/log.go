package bolt

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
)

// The log makes a group of commits durable with one sync of a few contiguous blocks, where bbolt needs two of many: every page from each
// changed value up to the root. It is two files beside the database that take turns: while what one says is moved into the database the other is
// written, and then the first is written again from its beginning.
//
// A file is the header and frames:
//
//	header   magic, salt
//	frame    length of the payload, number of the group, checksum of salt, both and the payload; the payload
//	payload  for each commit: kind, name of the partition, its revision after it, number of values, and each: key, length + 1 and value; 0: deleted.
//	         zeros, where nothing is committed
//
// Numbers of groups grow without a gap, over both files and over restarts, so that what an earlier turn has left behind the last frame is not mistaken for one. The salt is made
// anew with every file: what a Mac sends, and so stands in a value, cannot be taken for a frame.
const (
	logMagic    = "plimlog1"
	saltSize    = 16
	headerSize  = len(logMagic) + saltSize
	frameHeader = 8 + 8 + 4

	kindNothing = 0
	kindCommit  = 1
	kindDrop    = 2
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// logFile is one of the two.
type logFile struct {
	file *os.File
	salt []byte
	end  int64                // where the next frame goes
	sync func(*os.File) error // syncData, or what a test has instead
}

func logPaths(path string) [2]string { return [2]string{path + "-log0", path + "-log1"} }

// createLog makes the file anew.
func createLog(path string) (*logFile, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	l := &logFile{file: f, salt: make([]byte, saltSize), end: int64(headerSize), sync: syncData}
	_, _ = rand.Read(l.salt) // never fails
	if _, err = f.WriteAt(append([]byte(logMagic), l.salt...), 0); err == nil {
		err = f.Sync()
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return l, nil
}

// append makes a group durable. frame has room for the frame's header at its beginning. After an error the next one is written in its place.
func (l *logFile) append(seq uint64, frame []byte) error {
	binary.BigEndian.PutUint64(frame, uint64(len(frame)-frameHeader))
	binary.BigEndian.PutUint64(frame[8:], seq)
	binary.BigEndian.PutUint32(frame[16:], checksum(l.salt, frame))
	if _, err := l.file.WriteAt(frame, l.end); err != nil {
		return err
	}
	if err := l.sync(l.file); err != nil {
		return err
	}
	l.end += int64(len(frame))
	return nil
}

func checksum(salt, frame []byte) uint32 {
	sum := crc32.Update(0, castagnoli, salt)
	sum = crc32.Update(sum, castagnoli, frame[:16])
	return crc32.Update(sum, castagnoli, frame[frameHeader:])
}

func (l *logFile) remove() error { return errors.Join(l.file.Close(), os.Remove(l.file.Name())) }

// group is a frame that was read.
type group struct {
	seq     uint64
	payload []byte
}

// readLog returns the groups of a file up to the first that is not whole: it was never acknowledged. There may be no such file.
func readLog(path string) ([]group, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) || err == nil && len(b) <= headerSize { // the header is synced before the first frame is written
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(b, []byte(logMagic)) {
		return nil, fmt.Errorf("%s is not a log of this database", path)
	}
	salt := b[len(logMagic):headerSize]
	var groups []group
	for b = b[headerSize:]; len(b) >= frameHeader; {
		length, seq := binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])
		if length > uint64(len(b)-frameHeader) || len(groups) > 0 && seq != groups[len(groups)-1].seq+1 {
			break
		}
		frame := b[:frameHeader+int(length)]
		if checksum(salt, frame) != binary.BigEndian.Uint32(frame[16:]) {
			break
		}
		groups = append(groups, group{seq, frame[frameHeader:]})
		b = b[len(frame):]
	}
	return groups, nil
}

// appendCommit adds a commit to a payload.
func appendCommit(to []byte, partition string, revision uint64, puts []pair) []byte {
	to = appendPartition(append(to, kindCommit), partition, revision)
	to = binary.AppendUvarint(to, uint64(len(puts)))
	for _, p := range puts {
		to = appendText(to, p.key)
		if p.val == nil {
			to = append(to, 0)
			continue
		}
		to = append(binary.AppendUvarint(to, uint64(len(p.val))+1), p.val...)
	}
	return to
}

func appendDrop(to []byte, partition string, revision uint64) []byte {
	return appendPartition(append(to, kindDrop), partition, revision)
}

func appendPartition(to []byte, partition string, revision uint64) []byte {
	return binary.AppendUvarint(appendText(to, partition), revision)
}

func appendText(to []byte, s string) []byte {
	return append(binary.AppendUvarint(to, uint64(len(s))), s...)
}

// replay adds the commits of a payload to the layer.
func (l layer) replay(payload []byte) error {
	r := reader{b: payload}
	for len(r.b) > 0 && r.err == nil {
		kind := r.bytes(1)
		if kind[0] == kindNothing {
			continue
		}
		partition, revision := string(r.text()), r.number()
		switch {
		case r.err != nil:
		case kind[0] == kindDrop:
			l[partition] = &part{revision: revision, dropped: true}
		case kind[0] == kindCommit:
			var puts []pair
			for n := r.number(); n > 0 && r.err == nil; n-- {
				p := pair{key: string(r.text())}
				if size := r.number(); size > 0 {
					p.val = r.bytes(size - 1)
				}
				puts = append(puts, p)
			}
			l[partition] = l[partition].with(revision, puts)
		default:
			r.err = errShort
		}
	}
	return r.err
}

var errShort = errors.New("a group of the log is damaged")

// reader reads a payload; after an error it reads nothing more.
type reader struct {
	b   []byte
	err error
}

func (r *reader) number() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.b, r.err = nil, errShort
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) bytes(n uint64) []byte {
	if r.err != nil || n > uint64(len(r.b)) {
		r.b, r.err = nil, errShort
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) text() []byte { return r.bytes(r.number()) }
