package guard

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"plimsoll/storage"
	"plimsoll/storage/storagetest"
)

func generates(secret string) func() ([]byte, error) {
	return func() ([]byte, error) { return []byte(secret), nil }
}

// empty is a FLUSHALL, or a primary without the data.
func empty(t *testing.T, store *storage.Store) {
	t.Helper()
	must(t, store.DB().Partitions(context.Background(), func(names []string) error {
		for _, name := range names {
			if err := store.DB().Drop(context.Background(), name); err != nil {
				return err
			}
		}
		return nil
	}))
}

// running is a guard with two secrets, watching.
func running(t *testing.T, store *storage.Store, alone bool) (g *Guard, ended chan error) {
	t.Helper()
	g = guardOf(store, alone)
	must(t, g.Take(t.Context()))
	for _, name := range []string{"device-ca", "link"} {
		if _, err := g.Secret(t.Context(), name, generates(name+" of the first")); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended = make(chan error, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		ended <- g.Watch(ctx)
	}()
	t.Cleanup(func() { cancel(); <-done })
	return g, ended
}

// What the store lost is written back by whoever has it in memory.
func TestSecretsAreWrittenBack(t *testing.T) {
	for name, store := range map[string]*storage.Store{"bolt": onBolt(t), "redis": onRedis(t)} {
		t.Run(name, func(t *testing.T) {
			g, _ := running(t, store, name == "bolt")
			if lost, err := g.State(); !lost.IsZero() || err != nil {
				t.Fatalf("before anything happened: %v, %v", lost, err)
			}
			before := recordOf(t, store)
			empty(t, store)
			storagetest.Await(t, "all secrets are back", func() error {
				missing, other, err := store.CompareSecrets(t.Context(), map[string][]byte{
					"device-ca": []byte("device-ca of the first"), "link": []byte("link of the first"),
				})
				if err != nil || other != "" || len(missing) > 0 {
					return fmt.Errorf("missing %v, other %q, %w", missing, other, err)
				}
				return nil
			})
			if rec := recordOf(t, store); rec != before {
				t.Errorf("the format record is %+v, want %+v", rec, before)
			}
			if lost, err := g.State(); lost.IsZero() || err != nil {
				t.Errorf("the loss is told as %v, %v", lost, err)
			}
			second := guardOf(store, name == "bolt")
			must(t, second.Take(t.Context()))
			if ca, err := second.Secret(t.Context(), "device-ca", generates("another")); string(ca) != "device-ca of the first" || err != nil {
				t.Errorf("the next replica has the CA %q (%v)", ca, err)
			}
		})
	}
}

// A secret that is another one in the store than in memory ends the process, with one clear line; nothing is written then.
func TestAnotherSecretEnds(t *testing.T) {
	for name, store := range map[string]*storage.Store{"bolt": onBolt(t), "redis": onRedis(t)} {
		t.Run(name, func(t *testing.T) {
			g, ended := running(t, store, name == "bolt")
			must(t, store.DB().Update(t.Context(), storage.SecretsPartition, func(tx storage.Tx) error {
				tx.Set("device-ca", []byte("of somebody else"))
				tx.Delete("link")
				return nil
			}))
			err := <-ended
			if !errors.Is(err, ErrOtherStore) || !strings.Contains(err.Error(), `another secret "device-ca"`) || strings.ContainsAny(err.Error(), "\n") {
				t.Errorf("ended with %v", err)
			}
			if _, why := g.State(); !errors.Is(why, ErrOtherStore) {
				t.Errorf("the state is %v", why)
			}
			missing, _, err := store.CompareSecrets(t.Context(), map[string][]byte{"link": nil})
			if must(t, err); len(missing) != 1 {
				t.Error("the other secret was written back")
			}
			if strings.Contains(fmt.Sprint(g.State()), "somebody") {
				t.Error("a secret is in the error")
			}
		})
	}
}

// A store that was emptied, and which another replica has begun anew, is not the one that a replica runs on.
func TestStoreThatWasBegunAnewEnds(t *testing.T) {
	store := onRedis(t)
	_, ended := running(t, store, false)
	// Both at once: the watch must not come between.
	must(t, store.DB().Update(t.Context(), storage.FormatPartition, func(tx storage.Tx) error {
		tx.Set("format", fmt.Appendf(nil, `{"format":%d,"id":"another"}`, storage.Format))
		return nil
	}))
	if err := <-ended; !errors.Is(err, ErrOtherStore) || !strings.Contains(err.Error(), "another one than at the start") {
		t.Errorf("ended with %v", err)
	}
}

// A store that is away ends nothing.
func TestStoreThatIsAway(t *testing.T) {
	store := onBolt(t)
	faulty := storagetest.Faulty(store.DB())
	g := guardOf(storage.New(faulty), true)
	must(t, g.Take(t.Context()))
	if _, err := g.Secret(t.Context(), "link", generates("key")); err != nil {
		t.Fatal(err)
	}
	faulty.Set(storagetest.Fault{Down: true})
	if err := g.look(t.Context()); errors.Is(err, ErrOtherStore) || err == nil {
		t.Errorf("a store that is away is %v", err)
	}
	faulty.Set(storagetest.Fault{NoWrites: true})
	must(t, g.look(t.Context()))
	empty(t, store)
	if err := g.look(t.Context()); errors.Is(err, ErrOtherStore) || err == nil {
		t.Errorf("a store that takes no writes and is empty is %v", err)
	}
	faulty.Set(storagetest.Fault{})
	must(t, g.look(t.Context()))
	if _, err := g.Secret(t.Context(), "other", func() ([]byte, error) { return nil, errors.New("no randomness") }); err == nil {
		t.Error("a secret that could not be made was given")
	}
}
