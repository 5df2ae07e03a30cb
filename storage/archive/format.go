package archive

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"plimsoll/storage"
)

// A backup is, compressed with zstd, and then encrypted with age when there are recipients:
//
//	magic       "plimsoll backup 1\n"
//	header      length, JSON of Header
//	partition   'P', name, revision
//	value       'V', key, value; for each value of the partition before it
//	end         'E', number of partitions, number of values; the SHA-256 of all before it
//
// Numbers and lengths are unsigned varints; names, keys and values have their length before them. Partitions are in the order
// of sequence, and values in that of their keys, each once. So whoever reads needs no memory to find one that is there twice.
const (
	magic = "plimsoll backup 1\n"

	kindPartition = 'P'
	kindValue     = 'V'
	kindEnd       = 'E'

	maxHeader = 64 << 10
	maxName   = 16 << 10 // as long as the databases take them
	maxKey    = 32 << 10
)

// Header tells what a backup is one of.
type Header struct {
	Format    int       `json:"format"`     // storage.Format of what it was taken from
	Oldest    int       `json:"oldest"`     // storage.FormatRecord.Oldest of it
	Version   string    `json:"version"`    // of the program that wrote it
	CreatedAt time.Time `json:"created_at"` // when it was begun
	Store     string    `json:"store"`      // the id of the store; empty: it had none
}

// Summary is what a backup holds.
type Summary struct {
	Header
	Macs       int
	Partitions int
	Values     int
	Checksum   string // SHA-256, hex
}

// stage is when partitions are read: Macs, then certificates, then the rest, the book last. So no Mac was planned with a newer
// book than the backup's, and the identity of each is there.
type stage int

const (
	macs stage = iota
	certificates
	rest
	book
	leftOut // it is made anew by whoever needs it
)

var (
	macPrefix  = storage.MacPartition("")
	certPrefix = storage.CertPartition("")
	derived    = []string{"shard/", storage.LeasePartition("")}
)

func stageOf(partition string) stage {
	switch {
	case strings.HasPrefix(partition, macPrefix):
		return macs
	case strings.HasPrefix(partition, certPrefix):
		return certificates
	case partition == storage.BookPartition:
		return book
	case partition == storage.StartsPartition, partition == storage.FormatPartition, partition == storage.ReplicasPartition:
		return leftOut
	}
	for _, prefix := range derived {
		if strings.HasPrefix(partition, prefix) {
			return leftOut
		}
	}
	return rest
}

// compare orders partitions as they stand in a backup.
func compare(a, b string) int {
	return cmp.Or(cmp.Compare(stageOf(a), stageOf(b)), strings.Compare(a, b))
}

// DB is the database that a backup is taken of or restored into.
type DB = storage.DB

// partition is one partition at one revision.
type partition struct {
	name     string
	revision uint64
	entries  []storage.Entry
}

func appendText[T string | []byte](to []byte, s T) []byte {
	return append(binary.AppendUvarint(to, uint64(len(s))), s...)
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{storage.ErrInvalid}, args...)...)
}
