// Package wal is a log of numbered groups in two files that take turns, made durable with one sync each.
package wal

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"slices"
)

// A database has a log before it because one sync of a few contiguous blocks is cheaper than two of many. While the groups of
// one file are moved into the database, the other file is written; then the first is written again from its beginning.
//
// A file is its header and frames:
//
//	header   magic, salt
//	frame    length of the group, its number, checksum of salt, both and the group; the group
//
// Numbers grow without a gap, over both files and over restarts, so that a frame that an earlier turn has left behind the last
// one is not mistaken for a new one. The salt is made anew with every file: what stands in a group cannot be taken for a frame.
const (
	magic      = "plimlog1"
	saltSize   = 16
	headerSize = len(magic) + saltSize

	// Room is how many bytes a frame begins with for the log's own use.
	Room = 8 + 8 + 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Log belongs to one goroutine. Open reads it, Begin begins it anew; in between Replay returns what was found.
type Log struct {
	disk  Disk
	paths [2]string
	found [2][]group // until Begin
	lacks []string

	files [2]*file
	turn  int    // of the file that is written; the other one rests, or is being moved
	seq   uint64 // of the last group
}

// file is one of the two.
type file struct {
	File
	salt []byte
	end  int64 // where the next frame goes
}

// group is a frame that was read.
type group struct {
	seq  uint64
	data []byte
}

// Paths are the files of a log.
func Paths(path string) [2]string { return [2]string{path + "0", path + "1"} }

// Open reads what an earlier process has left at Paths(path), and writes nothing. A file that is there and is no log is an error.
func Open(disk Disk, path string) (*Log, error) {
	l := &Log{disk: disk, paths: Paths(path)}
	for i, p := range l.paths {
		b, err := disk.Read(p)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			l.lacks = append(l.lacks, p)
		case err != nil:
			return nil, err
		case len(b) <= headerSize: // the header is synced before the first frame is written
		case !bytes.HasPrefix(b, []byte(magic)):
			return nil, fmt.Errorf("%s is not a log of this database", p)
		default:
			l.found[i] = frames(b)
		}
	}
	return l, nil
}

// Missing returns the files that Open did not find.
func (l *Log) Missing() []string { return l.lacks }

// frames returns the groups of a file up to the first that is not whole: it was never acknowledged.
func frames(b []byte) []group {
	salt := b[len(magic):headerSize]
	var groups []group
	for b = b[headerSize:]; len(b) >= Room; {
		length, seq := binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])
		if length > uint64(len(b)-Room) || len(groups) > 0 && seq != groups[len(groups)-1].seq+1 {
			break
		}
		frame := b[:Room+int(length)]
		if checksum(salt, frame) != binary.BigEndian.Uint32(frame[16:]) {
			break
		}
		groups = append(groups, group{seq, frame[Room:]})
		b = b[len(frame):]
	}
	return groups
}

// Replay calls fn with the groups after the number "after", in order, and returns the number of the last group, or "after" when
// there is none. A gap between them is an error: what comes after it would be changes onto something that is not there.
func (l *Log) Replay(after uint64, fn func(group []byte) error) (last uint64, err error) {
	first, second := l.found[0], l.found[1]
	if len(first) > 0 && len(second) > 0 && first[0].seq > second[0].seq {
		first, second = second, first
	}
	if len(first) > 0 && len(second) > 0 {
		// A group whose sync failed may be whole all the same. When the other file took its turn then, its first group was committed
		// in that one's place.
		first = slices.DeleteFunc(slices.Clone(first), func(g group) bool { return g.seq >= second[0].seq })
	}
	last = after
	for _, g := range append(slices.Clip(first), second...) {
		switch {
		case g.seq <= last:
			continue
		case g.seq > last+1:
			return last, fmt.Errorf(
				"the log lacks group %d, and goes on with %d: restore a copy, or make %s and %s empty to do without the newest writes",
				last+1,
				g.seq,
				l.paths[0],
				l.paths[1],
			)
		}
		if err := fn(g.data); err != nil {
			return last, fmt.Errorf("group %d: %w", g.seq, err)
		}
		last = g.seq
	}
	return last, nil
}

// Begin begins both files anew. What Replay returned must be durable elsewhere. The next group has the number seq+1.
func (l *Log) Begin(seq uint64) error {
	l.seq, l.found = seq, [2][]group{}
	for i, p := range l.paths {
		f, err := l.create(p)
		if err != nil {
			return err
		}
		l.files[i] = f
	}
	return l.disk.SyncNames(l.paths[0])
}

func (l *Log) create(path string) (*file, error) {
	f, err := l.disk.Create(path)
	if err != nil {
		return nil, err
	}
	to := &file{File: f, salt: make([]byte, saltSize), end: int64(headerSize)}
	_, _ = rand.Read(to.salt) // never fails
	if _, err = f.WriteAt(append([]byte(magic), to.salt...), 0); err == nil {
		err = f.Sync()
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return to, nil
}

// Append makes a group durable. frame is Room bytes, which are written over, and the group. After an error nothing was
// appended, although a crash may find the group; the next one is written in its place.
func (l *Log) Append(frame []byte) error {
	f := l.files[l.turn]
	binary.BigEndian.PutUint64(frame, uint64(len(frame)-Room))
	binary.BigEndian.PutUint64(frame[8:], l.seq+1)
	binary.BigEndian.PutUint32(frame[16:], checksum(f.salt, frame))
	if _, err := f.WriteAt(frame, f.end); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	f.end += int64(len(frame))
	l.seq++
	return nil
}

func checksum(salt, frame []byte) uint32 {
	sum := crc32.Update(0, castagnoli, salt)
	sum = crc32.Update(sum, castagnoli, frame[:16])
	return crc32.Update(sum, castagnoli, frame[Room:])
}

// Last is the number of the last group.
func (l *Log) Last() uint64 { return l.seq }

// Size is how long the file that is written has become, in bytes.
func (l *Log) Size() int64 { return l.files[l.turn].end }

// Rotate lets the other file take its turn; what that one held must have been released. A file without a group keeps its turn
// (false): one that failed there could not be told from the one that is committed in its place, when both are the first of
// their files.
func (l *Log) Rotate() bool {
	if l.Size() == int64(headerSize) {
		return false
	}
	l.turn = 1 - l.turn
	return true
}

// Release says that what the file that rests holds is durable elsewhere: its next turn writes over it.
func (l *Log) Release() { l.files[1-l.turn].end = int64(headerSize) }

// Close closes the files, and leaves them for the next Open.
func (l *Log) Close() error {
	var errs []error
	for _, f := range l.files {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// Remove closes the files and removes them: everything is durable elsewhere.
func (l *Log) Remove() error {
	errs := []error{l.Close()}
	for i, f := range l.files {
		if f != nil {
			errs = append(errs, l.disk.Remove(l.paths[i]))
		}
	}
	return errors.Join(errs...)
}
