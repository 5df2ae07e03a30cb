package each

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Every item is worked on once, whatever happens to the others, and no more at a time than was asked for.
func TestDo(t *testing.T) {
	items := make([]int, 200)
	for i := range items {
		items[i] = i
	}
	var done [200]atomic.Int32
	var now, most atomic.Int32
	odd := errors.New("odd")
	failed := Do(context.Background(), 7, items, func(i int) error {
		for n, m := now.Add(1), most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		defer now.Add(-1)
		done[i].Add(1)
		if i%2 == 1 {
			return odd
		}
		return nil
	})
	var bad []int
	for _, f := range failed {
		if !errors.Is(f.Err, odd) {
			t.Errorf("item %d failed with %v", f.Item, f.Err)
		}
		bad = append(bad, f.Item)
	}
	slices.Sort(bad)
	for i := range items {
		if n := done[i].Load(); n != 1 || slices.Contains(bad, i) != (i%2 == 1) {
			t.Errorf("item %d was worked on %d times, failed: %v", i, n, slices.Contains(bad, i))
		}
	}
	if n := most.Load(); n > 7 {
		t.Errorf("%d at a time", n)
	}
	if len(Do(context.Background(), 7, nil, func(int) error { return odd })) > 0 {
		t.Error("nothing to do, and something failed")
	}
}

// What is left when the time is over counts as failed, and is not begun.
func TestDoEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	n := 0
	failed := Do(ctx, 1, []string{"a", "b", "c"}, func(string) error { n++; cancel(); return nil })
	if n != 1 || len(failed) != 2 || !errors.Is(failed[0].Err, context.Canceled) {
		t.Errorf("worked on %d, failed %v", n, failed)
	}
}
