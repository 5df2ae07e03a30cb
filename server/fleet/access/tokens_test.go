package access

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"plimsoll/server/fleet/answer"
	"plimsoll/server/fleet/audit"
	"plimsoll/storage"
	"plimsoll/storage/bolt"
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

var testDay = time.Date(2026, 8, 19, 9, 0, 0, 0, time.UTC)

// replica is an Access on a store that others may have open too, and whose loops do not run: it learns of nothing by itself.
func replica(t *testing.T, db storage.DB) *Access {
	t.Helper()
	a := New(options(db, func() time.Time { return testDay }))
	if err := a.ReloadTokens(t.Context()); err != nil {
		t.Fatal(err)
	}
	return a
}

func options(db storage.DB, now func() time.Time) Options {
	store := storage.New(db)
	chain := audit.New(audit.Options{Store: store, Log: slog.New(slog.DiscardHandler), Now: now})
	return Options{Store: store, Audit: chain, AdminToken: "of the command line", Now: now}
}

func open(t *testing.T) storage.DB {
	t.Helper()
	db, err := bolt.Open(filepath.Join(t.TempDir(), "p.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// A token that one replica made is good on another at once, whoever asks there first.
func TestNewTokenOnAnotherReplica(t *testing.T) {
	store := open(t)
	w := replica(t, store)
	ctx := t.Context()
	db := &looks{DB: store}
	other := replica(t, db)
	for _, name := range []string{"first", "second", "third"} {
		made := must(w.CreateToken(ctx, answer.Origin{Actor: "admin"}, TokenWish{Name: name, Scopes: []Scope{ScopeRead}}))(t)
		if p, err := other.Identify(ctx, made.Token); err != nil || !reflect.DeepEqual(p, Principal{Name: name, Scopes: []Scope{ScopeRead}}) {
			t.Errorf("the token %s on the other replica: %+v, %v", name, p, err)
		}
		before := db.n.Load()
		if _, err := other.Identify(ctx, made.Token); err != nil || db.n.Load() != before {
			t.Errorf("a token that is known: %v, after %d looks", err, db.n.Load()-before)
		}
	}
	if _, err := other.Identify(ctx, "guess"); !errors.Is(err, answer.ErrForbidden) {
		t.Errorf("a guess: %v", err)
	}
}

// Those who guess at the same time share few looks into the store.
func TestGuessingIsNoLoadOnTheStore(t *testing.T) {
	store := open(t)
	db := &looks{DB: store}
	other := replica(t, db)
	const guesses = 500
	var all sync.WaitGroup
	for range guesses {
		all.Go(func() {
			if _, err := other.Identify(context.Background(), "guess"); !errors.Is(err, answer.ErrForbidden) {
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
	store := open(t)
	w := replica(t, store)
	ctx := t.Context()
	made := must(w.CreateToken(ctx, answer.Origin{Actor: "admin"}, TokenWish{Name: "old", Scopes: []Scope{ScopeRead}}))(t)
	db := storagetest.Faulty(store)
	other := replica(t, db)
	db.Set(storagetest.Fault{Down: true})
	if _, err := other.Identify(ctx, "guess"); !errors.Is(err, answer.ErrUnavailable) || errors.Is(err, answer.ErrForbidden) {
		t.Errorf("a token that is not known: %v", err)
	}
	if _, err := other.Identify(ctx, made.Token); err != nil {
		t.Errorf("a token that is known: %v", err)
	}
}

// May says what each scope includes; the token of the command line is an admin's and is asked of no store.
func TestScopes(t *testing.T) {
	for _, c := range []struct {
		has, wants Scope
		may        bool
	}{
		{ScopeAdmin, ScopeAdmin, true},
		{ScopeAdmin, ScopeRead, true},
		{ScopeAdmin, ScopeMetrics, true},
		{ScopeRead, ScopeAdmin, false},
		{ScopeRead, ScopeRead, true},
		{ScopeRead, ScopeMetrics, false},
		{ScopeMetrics, ScopeRead, false},
		{ScopeMetrics, ScopeMetrics, true},
	} {
		if got := (Principal{Scopes: []Scope{c.has}}).May(c.wants); got != c.may {
			t.Errorf("a token of scope %s may %s: %v", c.has, c.wants, got)
		}
	}
	db := &looks{DB: open(t)}
	a := replica(t, db)
	if p, err := a.Identify(t.Context(), "of the command line"); err != nil || !p.May(ScopeAdmin) || db.n.Load() != 0 {
		t.Errorf("the command line's token: %+v, %v, after %d looks", p, err, db.n.Load())
	}
	if a.IsAdminToken("") || a.IsAdminToken("of the command lin") {
		t.Error("another secret is taken for the command line's")
	}
}

// A token lives from its creation to its deletion; names are checked, and taken once.
func TestTokenLife(t *testing.T) {
	ctx := t.Context()
	a := replica(t, open(t))
	if secret, err := a.FirstToken(ctx); err != nil || secret != "" {
		t.Errorf("beside a token of the command line a first one is made: %q, %v", secret, err)
	}
	made := must(a.CreateToken(ctx, answer.Origin{Actor: "admin"}, TokenWish{Name: "ci", Scopes: []Scope{ScopeMetrics}}))(t)
	page := must(a.ListTokens(ctx, 0, ""))(t)
	if len(page.Items) != 1 || !reflect.DeepEqual(page.Items[0], made.TokenInfo) || page.Items[0].By != "admin" || !page.Items[0].CreatedAt.Equal(testDay) {
		t.Errorf("the list has %+v", page.Items)
	}
	for name, c := range map[string]struct {
		name  string
		scope Scope
		code  string
		field string
	}{
		"taken":        {"ci", ScopeRead, "exists", ""},
		"empty name":   {"", ScopeRead, "invalid", "name"},
		"odd name":     {"-ci", ScopeRead, "invalid", "name"},
		"long name":    {strings.Repeat("a", 64), ScopeRead, "invalid", "name"},
		"foreign word": {"other", "root", "invalid", "scopes"},
	} {
		var e *answer.Error
		_, err := a.CreateToken(ctx, answer.Origin{Actor: "admin"}, TokenWish{Name: c.name, Scopes: []Scope{c.scope}})
		if !errors.As(err, &e) || e.Code != c.code || c.field != "" && e.Fields[0].Field != c.field {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := a.DeleteToken(ctx, "ci", answer.Origin{Actor: "admin-token"}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Identify(ctx, made.Token); !errors.Is(err, answer.ErrForbidden) {
		t.Errorf("a deleted token: %v", err)
	}
	if err := a.DeleteToken(ctx, "ci", answer.Origin{Actor: "admin-token"}); !errors.Is(err, answer.ErrNotFound) {
		t.Errorf("deleted twice: %v", err)
	}
}

// The first token is made once, by whichever replica comes first.
func TestFirstToken(t *testing.T) {
	db := open(t)
	ctx := t.Context()
	o := options(db, time.Now)
	o.AdminToken = ""
	one, two := New(o), New(o)
	secret := must(one.FirstToken(ctx))(t)
	if p, err := two.Identify(ctx, secret); secret == "" || err != nil || !reflect.DeepEqual(p, Principal{Name: "first", Scopes: []Scope{ScopeAdmin}}) {
		t.Errorf("the first token %q: %+v, %v", secret, p, err)
	}
	if again := must(two.FirstToken(ctx))(t); again != "" {
		t.Errorf("a second first token: %q", again)
	}
}

// A token may have several scopes and a moment at which it stops working; one that has expired is nobody's.
func TestScopesAndExpiry(t *testing.T) {
	now := testDay
	o := options(open(t), func() time.Time { return now })
	o.AdminToken, o.Alone = "", true
	a := New(o)
	ctx := t.Context()
	soon, past := now.Add(time.Hour), now
	made := must(a.CreateToken(ctx, answer.Origin{Actor: "admin"}, TokenWish{Name: "both", Scopes: []Scope{ScopeMetrics, ScopeBackup, ScopeMetrics}, ExpiresAt: &soon}))(t)
	if made.Scope != "" || !reflect.DeepEqual(made.Scopes, []Scope{ScopeBackup, ScopeMetrics}) || !made.ExpiresAt.Equal(soon) {
		t.Errorf("made %+v", made.TokenInfo)
	}
	p := must(a.Identify(ctx, made.Token))(t)
	for scope, may := range map[Scope]bool{ScopeMetrics: true, ScopeBackup: true, ScopeRead: false, ScopeAdmin: false, ScopeMDM: false, ScopeOperator: false} {
		if p.May(scope) != may {
			t.Errorf("%s: %v", scope, !may)
		}
	}
	now = soon
	if _, err := a.Identify(ctx, made.Token); !errors.Is(err, answer.ErrForbidden) {
		t.Errorf("an expired token: %v", err)
	}
	for name, w := range map[string]TokenWish{
		"scopes": {Name: "x"}, "scopes ": {Name: "x", Scopes: []Scope{ScopeRead, "root"}}, "expires_at": {Name: "x", Scopes: []Scope{ScopeRead}, ExpiresAt: &past},
	} {
		var e *answer.Error
		if _, err := a.CreateToken(ctx, answer.Origin{Actor: "admin"}, w); !errors.As(err, &e) || e.Fields[0].Field != strings.TrimSpace(name) {
			t.Errorf("%+v: %v", w, err)
		}
	}
}
