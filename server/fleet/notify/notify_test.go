package notify

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// apns answers pushes as it is told to, and keeps what was pushed and noted.
type apns struct {
	mu     sync.Mutex
	failed map[string]error
	err    error
	note   error
	pushed []string
	noted  []Result
	counts [2]int
	done   chan struct{} // gets one for each note that was taken
}

func (a *apns) Push(_ context.Context, ids []string) (map[string]error, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err == nil {
		a.pushed = append(a.pushed, ids...)
	}
	return a.failed, a.err
}

func (a *apns) queue() *Queue {
	return New(Options{
		Pusher: func() Pusher { return a }, Rate: 1000, Log: slog.New(slog.DiscardHandler),
		Count: func(pushed, failed int) {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.counts[0] += pushed
			a.counts[1] += failed
		},
		Note: func(_ context.Context, r Result) error {
			a.mu.Lock()
			defer a.mu.Unlock()
			if a.note != nil {
				return a.note
			}
			a.noted = append(a.noted, r)
			if a.done != nil {
				a.done <- struct{}{}
			}
			return nil
		},
	})
}

// What becomes of a push: noted and done with, or kept to be made again.
func TestOnce(t *testing.T) {
	bad := errors.New("BadDeviceToken")
	for name, c := range map[string]struct {
		apns     *apns
		again    int
		noted    []Result
		counts   [2]int
		possible bool
	}{
		"pushed":                  {&apns{}, 0, []Result{{ID: "A", Token: "1"}}, [2]int{1, 0}, true},
		"refused":                 {&apns{failed: map[string]error{"A": bad}}, 0, []Result{{ID: "A", Token: "1", Failed: "BadDeviceToken"}}, [2]int{0, 1}, true},
		"no certificate":          {&apns{err: ErrNoPush}, 0, []Result{{ID: "A", Token: "1", NoCertificate: true}}, [2]int{}, false},
		"APNs cannot be reached":  {&apns{err: errors.New("no route")}, 1, nil, [2]int{0, 1}, true},
		"it could not be noted":   {&apns{note: errors.New("the store is down")}, 1, nil, [2]int{1, 0}, true},
		"nor without certificate": {&apns{err: ErrNoPush, note: errors.New("the store is down")}, 1, nil, [2]int{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			a := c.apns
			q := a.queue()
			q.Add("A", "1")
			if got := q.Once(t.Context()); got != c.again {
				t.Errorf("%d are to be pushed again, want %d", got, c.again)
			}
			if !slices.Equal(a.noted, c.noted) || a.counts != c.counts || q.Possible() != c.possible {
				t.Errorf("noted %+v, counted %v, possible %v", a.noted, a.counts, q.Possible())
			}
			if q.Waiting("A") != (c.again > 0) {
				t.Errorf("the push waits: %v", q.Waiting("A"))
			}
			q.Ready()
			if !q.Possible() {
				t.Error("with a certificate nothing can be pushed")
			}
		})
	}
}

// One Mac that could not be noted is pushed again, and the others of its batch are not.
func TestOneCouldNotBeNoted(t *testing.T) {
	a := &apns{}
	q := a.queue()
	note := q.o.Note
	q.o.Note = func(ctx context.Context, r Result) error {
		if r.ID == "B" {
			return errors.New("damaged")
		}
		return note(ctx, r)
	}
	for _, id := range []string{"A", "B", "C"} {
		q.Add(id, "1")
	}
	q.Once(t.Context())
	if q.Waiting("A") || !q.Waiting("B") || q.Waiting("C") {
		t.Errorf("waiting: %v %v %v", q.Waiting("A"), q.Waiting("B"), q.Waiting("C"))
	}
}

// The newest token counts; a Mac is pushed once for it, and not at all once it is forgotten.
func TestPending(t *testing.T) {
	a := &apns{}
	q := a.queue()
	pending := func(next, inHand string) {
		t.Helper()
		if n, h := q.Pending("A"); n != next || h != inHand {
			t.Errorf("pending %q and in hand %q, want %q and %q", n, h, next, inHand)
		}
	}
	q.Add("A", "1")
	q.Add("A", "2")
	pending("2", "")
	if ids := q.take(Batch); !slices.Equal(ids, []string{"A"}) {
		t.Fatalf("took %v", ids)
	}
	pending("", "2")
	q.Add("A", "3")
	pending("3", "2")
	q.back([]string{"A"}) // the newer one is there already
	pending("3", "")
	q.Forget("A")
	pending("", "")
	if ids := q.take(Batch); len(ids) > 0 {
		t.Errorf("forgotten, and pushed: %v", ids)
	}
	q.Add("A", "4")
	q.take(Batch)
	q.Forget("A") // a new life while the push is under way
	q.back([]string{"A"})
	pending("", "")
}

// Batches are bounded, in the order of coming.
func TestBatches(t *testing.T) {
	q := (&apns{}).queue()
	for i := range 2*Batch + 1 {
		q.Add(string(rune('a'+i)), "1")
	}
	var sizes []int
	for ids := q.take(Batch); len(ids) > 0; ids = q.take(Batch) {
		sizes = append(sizes, len(ids))
	}
	if !slices.Equal(sizes, []int{Batch, Batch, 1}) {
		t.Errorf("batches of %v", sizes)
	}
}

// The loop pushes what is added, and ends with its context, also while it waits for APNs to come back.
func TestRun(t *testing.T) {
	for name, down := range map[string]bool{"APNs is there": false, "APNs is away": true} {
		t.Run(name, func(t *testing.T) {
			a := &apns{done: make(chan struct{}, 1)}
			if down {
				a.err = errors.New("no route")
			}
			q := a.queue()
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan struct{})
			go func() { defer close(ended); q.Run(ctx) }()
			q.Add("A", "1")
			if !down {
				select {
				case <-a.done:
				case <-time.After(time.Minute):
					t.Error("nothing was pushed")
				}
			}
			cancel()
			<-ended
		})
	}
}
