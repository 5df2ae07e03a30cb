package cms

import (
	"bytes"
	"testing"
)

// ber writes an element around its content.
func ber(tag byte, content []byte) []byte {
	n := len(content)
	switch {
	case n < 128:
		return append([]byte{tag, byte(n)}, content...)
	case n < 256:
		return append([]byte{tag, 0x81, byte(n)}, content...)
	}
	return append([]byte{tag, 0x82, byte(n >> 8), byte(n)}, content...)
}

// overlapping is read twice as often by pkcs7 for every level: each has an element whose child reaches over what follows it.
func overlapping(levels int) []byte {
	b := []byte{4, 0}
	for range levels {
		longer := ber(0x30, b)[:len(ber(0x30, b))-len(b)]
		b = append(ber(0x30, longer), b...)
	}
	return ber(0x30, b)
}

func nestedBER(levels int, open bool) []byte {
	b := []byte{4, 0}
	for range levels {
		if open {
			b = append(append([]byte{0x30, 0x80}, b...), 0, 0)
		} else {
			b = ber(0x30, b)
		}
	}
	return b
}

func TestWellNested(t *testing.T) {
	for name, tt := range map[string]struct {
		b  []byte
		ok bool
	}{
		"flat":                             {ber(0x30, bytes.Repeat([]byte{4, 1, 7}, 100)), true},
		"more behind":                      {append(ber(0x30, []byte{4, 0}), 1, 2, 3), true},
		"a long tag":                       {[]byte{0x3f, 0x81, 0x01, 2, 4, 0}, true},
		"32 levels":                        {nestedBER(32, false), true},
		"33 levels":                        {nestedBER(33, false), false},
		"32 levels of open length":         {nestedBER(32, true), true},
		"33 levels of open length":         {nestedBER(33, true), false},
		"a child that reaches too far":     {[]byte{0x30, 2, 4, 1, 7}, false},
		"a grandchild that does":           {[]byte{0x30, 4, 0x30, 2, 4, 2, 7, 7}, false},
		"an open child without its end":    {[]byte{0x30, 4, 0x30, 0x80, 4, 0, 0, 0}, false},
		"overlapping":                      {overlapping(3), false},
		"overlapping often":                {overlapping(1000), false},
		"a length of open form, primitive": {[]byte{4, 0x80, 0, 0}, false},
		"a length of five bytes":           {[]byte{4, 0x85, 0, 0, 0, 0, 0}, false},
		"a length without end":             {[]byte{4, 0x84, 0xff, 0xff, 0xff, 0xff}, false},
		"cut in the tag":                   {[]byte{0x3f, 0x81}, false},
		"cut in the length":                {[]byte{0x30, 0x82, 1}, false},
		"nothing":                          {nil, false},
	} {
		if got := WellNested(tt.b); got != tt.ok {
			t.Errorf("%s: %t", name, got)
		}
	}
}
