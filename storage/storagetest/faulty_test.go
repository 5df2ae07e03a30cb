package storagetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"plimsoll/storage"
)

// counter is a database of which only the calls are of interest.
type counter struct {
	storage.DB
	calls int
}

func (c *counter) Update(context.Context, string, func(storage.Tx) error) error {
	c.calls++
	return nil
}

func (c *counter) View(context.Context, string, func(storage.Reader) error) error {
	c.calls++
	return nil
}

func (c *counter) Revisions(_ context.Context, p ...string) ([]uint64, error) {
	c.calls++
	return make([]uint64, len(p)), nil
}

func (c *counter) Collect(_ context.Context, p []string, _ string) ([][]byte, error) {
	c.calls++
	return make([][]byte, len(p)), nil
}

func (c *counter) Partitions(context.Context, func([]string) error) error { c.calls++; return nil }

func (c *counter) Load(context.Context, string, uint64, []storage.Entry) error {
	c.calls++
	return nil
}

func (c *counter) Drop(context.Context, string) error { c.calls++; return nil }
func (c *counter) Ping(context.Context) error         { c.calls++; return nil }

func TestFaulty(t *testing.T) {
	for _, c := range []struct {
		name      string
		fault     Fault
		wantErr   map[string]bool
		wantCalls int
	}{
		{"none", Fault{}, nil, len(Methods)},
		{"down", Fault{Down: true}, map[string]bool{"*": true}, 0},
		{"late", Fault{Delay: time.Hour}, map[string]bool{"*": true}, 0},
		{"slow", Fault{Delay: time.Microsecond}, nil, len(Methods)},
		{"answers lost", Fault{LoseAnswer: true}, map[string]bool{"Update": true, "Update without a read": true, "Load": true, "Drop": true}, len(Methods)},
		{"another partition", Fault{Down: true, Partition: "other"}, nil, len(Methods)},
		{"this partition", Fault{Down: true, Partition: "p"}, map[string]bool{
			"View": true, "View of a list": true, "Update": true, "Update without a read": true, "Load": true, "Drop": true, "Revisions": true, "Collect": true,
		}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			db := &counter{}
			faulty := Faulty(db)
			faulty.Set(c.fault)
			for name, method := range Methods {
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
				err := method(ctx, faulty, "p")
				cancel()
				want := c.wantErr[name] || c.wantErr["*"]
				if errors.Is(err, storage.ErrUnavailable) != want || (err != nil) != want {
					t.Errorf("%s: %v", name, err)
				}
			}
			if db.calls != c.wantCalls {
				t.Errorf("the database was called %d times, want %d", db.calls, c.wantCalls)
			}
		})
	}
}

func TestFaultyForSomeCalls(t *testing.T) {
	faulty := Faulty(&counter{})
	faulty.Set(Fault{Down: true, Times: 2, Partition: "p"})
	for i, c := range []struct {
		partition string
		fails     bool
	}{{"p", true}, {"other", false}, {"p", true}, {"p", false}} {
		err := faulty.Drop(t.Context(), c.partition)
		if (err != nil) != c.fails {
			t.Errorf("call %d: %v", i+1, err)
		}
	}
}
