// Package each does the same work for many Macs at once, and one work for many who wait for it.
package each

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Failure is an item for which the work failed.
type Failure[T any] struct {
	Item T
	Err  error
}

// Do calls fn for every item, at most n at a time, and returns the failures. When ctx ends the items that are left are not
// worked on; they count as failed.
func Do[T any](ctx context.Context, n int, items []T, fn func(T) error) []Failure[T] {
	var mu sync.Mutex
	var failed []Failure[T]
	var work errgroup.Group
	work.SetLimit(n)
	for _, item := range items {
		work.Go(func() error {
			err := ctx.Err()
			if err == nil {
				err = fn(item)
			}
			if err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed = append(failed, Failure[T]{item, err})
			}
			return nil
		})
	}
	_ = work.Wait() // one failure does not end the others
	return failed
}
