package app

import "testing"

func TestGCPercent(t *testing.T) {
	for _, c := range []struct {
		name string
		live uint64
		want int
	}{
		{"nothing measured yet", 0, 500},
		{"an empty server", 4 << 20, 500},
		{"1,000 Macs", 16 << 20, 400},
		{"as much as the headroom", 64 << 20, 100},
		{"100,000 Macs", 128 << 20, 50},
		{"a large fleet", 1 << 30, 40},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := gcPercent(c.live); got != c.want {
				t.Errorf("%d per cent with %d bytes in use, want %d", got, c.live, c.want)
			}
		})
	}
}
