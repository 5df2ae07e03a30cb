package fleet

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"plimsoll/storage"
	"plimsoll/storage/storagetest"
)

// looks counts how often somebody asks whether the tokens changed.
type looks struct {
	storage.DB
	n atomic.Int64
}

func (l *looks) Revisions(ctx context.Context, partitions ...string) ([]uint64, error) {
	if slices.Contains(partitions, storage.AuthPartition) {
		l.n.Add(1)
	}
	return l.DB.Revisions(ctx, partitions...)
}

// besides is another replica on the same store, whose loops do not run: it learns of nothing by itself.
func (w *world) besides(db storage.DB) *Fleet {
	w.t.Helper()
	f, err := New(Options{Store: storage.New(db), Teller: w.teller, Log: slog.New(slog.DiscardHandler), Now: w.now})
	w.must(err)
	w.must(f.Start(w.t.Context()))
	return f
}

// A token that one replica made is good on another at once, whoever asks there first.
func TestNewTokenOnAnotherReplica(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	db := &looks{DB: w.db}
	other := w.besides(db)
	for _, name := range []string{"first", "second", "third"} {
		made, err := w.CreateToken(ctx, "admin", name, ScopeRead)
		w.must(err)
		if p, err := other.Identify(ctx, made.Token); err != nil || p != (Principal{Name: name, Scope: ScopeRead}) {
			t.Errorf("the token %s on the other replica: %+v, %v", name, p, err)
		}
		before := db.n.Load()
		if _, err := other.Identify(ctx, made.Token); err != nil || db.n.Load() != before {
			t.Errorf("a token that is known: %v, after %d looks", err, db.n.Load()-before)
		}
	}
	if _, err := other.Identify(ctx, "guess"); !errors.Is(err, ErrForbidden) {
		t.Errorf("a guess: %v", err)
	}
}

// Those who guess at the same time share few looks into the store.
func TestGuessingIsNoLoadOnTheStore(t *testing.T) {
	w := newWorld(t)
	db := &looks{DB: w.db}
	other := w.besides(db)
	const guesses = 500
	var all sync.WaitGroup
	for range guesses {
		all.Go(func() {
			if _, err := other.Identify(context.Background(), "guess"); !errors.Is(err, ErrForbidden) {
				t.Errorf("a guess: %v", err)
			}
		})
	}
	all.Wait()
	if n := db.n.Load(); n == 0 || n > guesses/20 {
		t.Errorf("%d guesses at once had the store looked at %d times", guesses, n)
	}
}

// While the store is away nobody can tell whether a token is new; those that are known go on.
func TestTokensWhileTheStoreIsAway(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	made, err := w.CreateToken(ctx, "admin", "old", ScopeRead)
	w.must(err)
	db := storagetest.Faulty(w.db)
	other := w.besides(db)
	db.Set(storagetest.Fault{Down: true})
	if _, err := other.Identify(ctx, "guess"); !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrForbidden) {
		t.Errorf("a token that is not known: %v", err)
	}
	if _, err := other.Identify(ctx, made.Token); err != nil {
		t.Errorf("a token that is known: %v", err)
	}
}
