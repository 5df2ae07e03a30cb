package storage

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
)

func TestPack(t *testing.T) {
	random := make([]byte, 5000)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(random) // never fails
	for _, c := range []struct {
		name    string
		val     []byte
		header  byte
		largest int
	}{
		{"nothing", []byte{}, '=', 1},
		{"text", []byte("readable"), '=', 9},
		{"as long as a record", []byte(strings.Repeat("x", 600)), '=', 601},
		{"more", []byte(strings.Repeat("x", 601)), '^', 100},
		{"what Macs say", dictionary, '^', 100},
		{"longer than a distance", []byte(strings.Repeat("0123456789abcdef", 5000)), '^', 400},
		{"1 MiB", []byte(strings.Repeat(`{"identifier":"plimsoll.os-update"}`, 30_000)), '^', 20_000},
		{"what does not compress", random, '=', 5001},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := bytes.Clone(c.val)
			p := Pack(c.val)
			if p[0] != c.header || len(p) > c.largest {
				t.Errorf("%d bytes behind %q, want at most %d behind %q", len(p), p[0], c.largest, c.header)
			}
			got, err := Unpack(p)
			if err != nil || got == nil || !bytes.Equal(got, before) || !bytes.Equal(c.val, before) {
				t.Errorf("came back as %d bytes of %d, %v", len(got), len(before), err)
			}
			for i := range p {
				p[i] = 0
			}
			if !bytes.Equal(got, before) {
				t.Error("what was unpacked is not memory of its own")
			}
		})
	}
}

func TestUnpackDamaged(t *testing.T) {
	whole := Pack([]byte(strings.Repeat("yz", 2500)))
	for name, p := range map[string][]byte{
		"nothing":              {},
		"an unknown header":    []byte("?value"),
		"no length":            {'^'},
		"an endless length":    []byte("^\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
		"an impossible length": []byte("^\xff\xff\xff\xff\x7fabc"),
		"no data":              whole[:3],
		"half of it":           whole[:len(whole)/2],
		"a smaller length":     append([]byte{'^', 0x87, 0x27}, whole[3:]...),
		"a larger length":      append([]byte{'^', 0x89, 0x27}, whole[3:]...),
	} {
		if val, err := Unpack(p); err == nil {
			t.Errorf("%s: unpacked as %d bytes", name, len(val))
		}
	}
}

func TestPackInParallel(t *testing.T) {
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			val := bytes.Repeat([]byte{byte('a' + w), 'x', byte(w)}, 1000)
			for range 200 {
				if got, err := Unpack(Pack(val)); err != nil || !bytes.Equal(got, val) {
					t.Errorf("writer %d: came back as something else (%v)", w, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestPrefixEnd(t *testing.T) {
	for _, c := range []struct {
		prefix, end string
		ok          bool
	}{
		{"", "", false},
		{"a", "b", true},
		{"a/", "a0", true},
		{"a\xff", "b", true},
		{"\xfe\xff\xff", "\xff", true},
		{"\xff", "", false},
		{"\xff\xff", "", false},
		{"ü", "\xc3\xbd", true},
	} {
		if end, ok := PrefixEnd(c.prefix); end != c.end || ok != c.ok {
			t.Errorf("PrefixEnd(%q) = %q, %t, want %q, %t", c.prefix, end, ok, c.end, c.ok)
		}
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add([]byte("=plain"))
	f.Add(Pack([]byte(strings.Repeat("compressed ", 200))))
	f.Add(Pack(dictionary))
	f.Add([]byte("^\x88\x27"))
	f.Fuzz(func(t *testing.T, p []byte) {
		val, err := Unpack(p)
		if err != nil {
			return
		}
		if again, err := Unpack(Pack(val)); err != nil || !bytes.Equal(again, val) {
			t.Errorf("%q does not come back (%v)", val, err)
		}
	})
}

func FuzzPack(f *testing.F) {
	f.Add(dictionary, uint(3))
	f.Add([]byte("plimsoll"), uint(9))
	f.Fuzz(func(t *testing.T, part []byte, times uint) {
		val := bytes.Repeat(append(part, dictionary[:min(len(dictionary), int(times%5000))]...), int(times%9)+1)
		got, err := Unpack(Pack(val))
		if err != nil || !bytes.Equal(got, val) {
			t.Errorf("%q does not come back (%v)", val, err)
		}
	})
}

// A dictionary that is changed makes what is in databases unreadable.
func TestDictionary(t *testing.T) {
	const want = "6598038f6782246423320148fc685d437ead2d0bbb496059e7ce1fec32d65194"
	if got := fmt.Sprintf("%x", sha256.Sum256([]byte(dictionary))); got != want {
		t.Errorf("the dictionary has SHA-256 %s, want %s: leave it as it was", got, want)
	}
}
