package answer

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
)

// Page is one page of a list; Next is empty at its end.
type Page[T any] struct {
	Items []T
	Next  string
}

const (
	defaultLimit = 100
	maxLimit     = 1000
)

// PageSize is the number of rows of a page: 100 unless the caller says otherwise, at most 1000.
func PageSize(limit int) int {
	if limit <= 0 {
		return defaultLimit
	}
	return min(limit, maxLimit)
}

// EncodeCursor makes the cursor of a list. It is the key of the last row that was given, so that it stays good while the
// list changes. Before the key stands a checksum over it and the list's name. It is no secret: it keeps a cursor that was
// cut, or is another list's, from skipping rows without a word.
func EncodeCursor(list, key string) string {
	return cursorText.EncodeToString(append(cursorSum(list, key), key...))
}

// DecodeCursor reads the key out of a cursor that EncodeCursor made for the same list; empty for none.
func DecodeCursor(list, cursor string) (key string, err error) {
	if cursor == "" {
		return "", nil
	}
	b, err := cursorText.DecodeString(cursor)
	if err != nil || len(b) < crc32.Size || !bytes.Equal(b[:crc32.Size], cursorSum(list, string(b[crc32.Size:]))) {
		return "", BadCursor()
	}
	return string(b[crc32.Size:]), nil
}

var cursorText = base64.RawURLEncoding.Strict()

func cursorSum(list, key string) []byte {
	return binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE([]byte(list+"\x00"+key)))
}

// BadCursor refuses a cursor that this server did not give.
func BadCursor() error {
	return &Error{Kind: ErrInvalid, Code: "bad_cursor", Text: "the cursor is not one that this server gave"}
}

// List cuts a page out of the n rows of a list in a fixed order; key names row i, item makes it. When the row that the
// cursor names is gone, the list goes on with the first key that sorts after it.
func List[T any](list string, limit int, cursor string, n int, key func(int) string, item func(int) T) (Page[T], error) {
	after, err := DecodeCursor(list, cursor)
	if err != nil {
		return Page[T]{}, err
	}
	start := 0
	if cursor != "" {
		start = n
		for i := range n {
			if k := key(i); k == after {
				start = i + 1
				break
			} else if k > after && start == n {
				start = i
			}
		}
	}
	return Cut(list, limit, start, n, key, item), nil
}

// Cut makes a page of the rows from start on.
func Cut[T any](list string, limit, start, n int, key func(int) string, item func(int) T) Page[T] {
	size := PageSize(limit)
	p := Page[T]{Items: make([]T, 0, min(size, max(0, n-start)))}
	for i := start; i < n && len(p.Items) < size; i++ {
		p.Items = append(p.Items, item(i))
	}
	if end := start + len(p.Items); end < n {
		p.Next = EncodeCursor(list, key(end-1))
	}
	return p
}
