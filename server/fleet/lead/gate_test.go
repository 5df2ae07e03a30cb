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

// Events that concern no Mac are brought to the timeline at once and every minute, also after a failure.
func TestAnnounceLoop(t *testing.T) {
	r := newRig(t)
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		ctx, cancel := context.WithCancel(context.Background())
		var tries []time.Duration
		r.o.Announce = func(context.Context) error {
			if tries = append(tries, time.Since(began)); len(tries) == 3 {
				cancel()
			}
			return errors.New("the store is away")
		}
		r.announceLoop(ctx)
		if want := []time.Duration{0, time.Minute, 2 * time.Minute}; !slices.Equal(tries, want) {
			t.Errorf("tries at %v, want %v", tries, want)
		}
	})
}
