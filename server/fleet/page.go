package fleet

import (
	"encoding/base64"
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

// The cursor of a list is the key of the last row that was given, so that it stays good while the list changes.
func encodeCursor(key string) string { return base64.RawURLEncoding.EncodeToString([]byte("1" + key)) }

func decodeCursor(cursor string) (key string, err error) {
	if cursor == "" {
		return "", nil
	}
	b, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil || len(b) < 1 || b[0] != '1' {
		return "", badCursor()
	}
	return string(b[1:]), nil
}

func badCursor() error {
	return &Error{Kind: ErrInvalid, Code: "bad_cursor", Text: "the cursor is not one that this server gave"}
}

// page cuts a page out of n rows in a fixed order; key names row i, item makes it. When the row that the cursor names is gone, the list goes on
// with the first key that sorts after it.
func page[T any](limit int, cursor string, n int, key func(int) string, item func(int) T) (Page[T], error) {
	after, err := decodeCursor(cursor)
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
	return cut(limit, start, n, key, item), nil
}

func cut[T any](limit, start, n int, key func(int) string, item func(int) T) Page[T] {
	size := pageSize(limit)
	p := Page[T]{Items: make([]T, 0, min(size, max(0, n-start)))}
	for i := start; i < n && len(p.Items) < size; i++ {
		p.Items = append(p.Items, item(i))
	}
	if end := start + len(p.Items); end < n {
		p.Next = encodeCursor(key(end - 1))
	}
	return p
}
