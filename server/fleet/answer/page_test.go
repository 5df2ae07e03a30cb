package answer

import (
	"slices"
	"testing"
)

// A cursor is read back as it was given; a part of it, one with another letter, or another list's is refused.
func TestCursor(t *testing.T) {
	for _, key := range []string{"", "a", "26.6\x0025G70", "{\"s\":\"serial\"}", string(make([]byte, 64))} {
		cursor := EncodeCursor("policies", key)
		if got, err := DecodeCursor("policies", cursor); err != nil || got != key {
			t.Errorf("%q came back as %q, %v", key, got, err)
		}
		if _, err := DecodeCursor("groups", cursor); err == nil {
			t.Errorf("the policies' cursor %s is taken for groups", cursor)
		}
		for n := 1; n < len(cursor); n++ {
			if _, err := DecodeCursor("policies", cursor[:n]); err == nil {
				t.Errorf("%s is taken, though cut from %s", cursor[:n], cursor)
			}
		}
		for i := range cursor {
			for _, c := range []byte("AB") {
				wrong := []byte(cursor)
				if wrong[i] == c {
					continue
				}
				wrong[i] = c
				if _, err := DecodeCursor("policies", string(wrong)); err == nil {
					t.Errorf("%s is taken, though misspelt from %s", wrong, cursor)
				}
			}
		}
	}
}

// Pages of a list put together are the list, whatever their size, also when the row that a cursor names is gone.
func TestList(t *testing.T) {
	rows := []string{"a", "b", "c", "d", "e", "f", "g"}
	list := func(limit int, cursor string, rows []string) Page[string] {
		t.Helper()
		p, err := List("rows", limit, cursor, len(rows), func(i int) string { return rows[i] }, func(i int) string { return rows[i] })
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for limit := 1; limit <= len(rows)+1; limit++ {
		var got []string
		for cursor, first := "", true; first || cursor != ""; first = false {
			p := list(limit, cursor, rows)
			if len(p.Items) > limit {
				t.Errorf("%d rows on a page of %d", len(p.Items), limit)
			}
			got, cursor = append(got, p.Items...), p.Next
		}
		if !slices.Equal(got, rows) {
			t.Errorf("in pages of %d: %v", limit, got)
		}
	}
	gone := list(2, list(3, "", rows).Next, []string{"a", "b", "d", "e"})
	if !slices.Equal(gone.Items, []string{"d", "e"}) || gone.Next != "" {
		t.Errorf("after the row of the cursor went: %+v", gone)
	}
	if p := list(2, list(6, "", rows).Next, []string{"a"}); len(p.Items) != 0 || p.Next != "" {
		t.Errorf("after all rows went: %+v", p)
	}
	for limit, want := range map[int]int{-1: 100, 0: 100, 1: 1, 1000: 1000, 1001: 1000} {
		if got := PageSize(limit); got != want {
			t.Errorf("a page of %d has %d rows, want %d", limit, got, want)
		}
	}
}
