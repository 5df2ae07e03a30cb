package fleet

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
)

const (
	defaultLimit = 100
	maxLimit     = 1000
)

func pageSize(limit int) int {
	if limit <= 0 {
		return defaultLimit
	}
	return min(limit, maxLimit)
}

// The cursor of a list is the key of the last row that was given, so that it stays good while the list changes. Before the key stands a checksum
// over it and the list's name. It is no secret: it keeps a cursor that was cut, or is another list's, from skipping rows without a word.
func encodeCursor(list, key string) string {
	return cursorText.EncodeToString(append(cursorSum(list, key), key...))
}

func decodeCursor(list, cursor string) (key string, err error) {
	if cursor == "" {
		return "", nil
	}
	b, err := cursorText.DecodeString(cursor)
	if err != nil || len(b) < crc32.Size || !bytes.Equal(b[:crc32.Size], cursorSum(list, string(b[crc32.Size:]))) {
		return "", badCursor()
	}
	return string(b[crc32.Size:]), nil
}

var cursorText = base64.RawURLEncoding.Strict()

func cursorSum(list, key string) []byte {
	return binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE([]byte(list+"\x00"+key)))
}

func badCursor() error {
	return &Error{Kind: ErrInvalid, Code: "bad_cursor", Text: "the cursor is not one that this server gave"}
}

// page cuts a page out of the n rows of a list in a fixed order; key names row i, item makes it. When the row that the cursor names is gone,
// the list goes on with the first key that sorts after it.
func page[T any](list string, limit int, cursor string, n int, key func(int) string, item func(int) T) (Page[T], error) {
	after, err := decodeCursor(list, cursor)
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
	return cut(list, limit, start, n, key, item), nil
}

func cut[T any](list string, limit, start, n int, key func(int) string, item func(int) T) Page[T] {
	size := pageSize(limit)
	p := Page[T]{Items: make([]T, 0, min(size, max(0, n-start)))}
	for i := start; i < n && len(p.Items) < size; i++ {
		p.Items = append(p.Items, item(i))
	}
	if end := start + len(p.Items); end < n {
		p.Next = encodeCursor(list, key(end-1))
	}
	return p
}
