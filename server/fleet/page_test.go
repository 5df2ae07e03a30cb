package fleet

import "testing"

// A cursor is read back as it was given; a part of it, one with another letter, or another list's is refused.
func TestCursor(t *testing.T) {
	for _, key := range []string{"", "a", "26.6\x0025G70", "{\"s\":\"serial\"}", string(make([]byte, 64))} {
		cursor := encodeCursor("policies", key)
		if got, err := decodeCursor("policies", cursor); err != nil || got != key {
			t.Errorf("%q came back as %q, %v", key, got, err)
		}
		if _, err := decodeCursor("groups", cursor); err == nil {
			t.Errorf("the policies' cursor %s is taken for groups", cursor)
		}
		for n := 1; n < len(cursor); n++ {
			if _, err := decodeCursor("policies", cursor[:n]); err == nil {
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
				if _, err := decodeCursor("policies", string(wrong)); err == nil {
					t.Errorf("%s is taken, though misspelt from %s", wrong, cursor)
				}
			}
		}
	}
}
