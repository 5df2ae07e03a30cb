package lead

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// The gates look at once and then every 15 minutes; after a look that failed, 30 seconds later.
func TestGateLoop(t *testing.T) {
	r := newRig(t)
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		ctx, cancel := context.WithCancel(context.Background())
		var looks []time.Duration
		r.o.Gates = func(context.Context) error {
			looks = append(looks, time.Since(began))
			if len(looks) == 2 {
				return errors.New("the store is away")
			}
			if len(looks) == 4 {
				cancel()
			}
			return nil
		}
		r.gateLoop(ctx)
		want := []time.Duration{0, 15 * time.Minute, 15*time.Minute + 30*time.Second, 30*time.Minute + 30*time.Second}
		if !slices.Equal(looks, want) {
			t.Errorf("looks at %v, want %v", looks, want)
		}
	})
}
