package api

import (
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"plimsoll/server/fleet"
	"plimsoll/storage"
	"plimsoll/storage/bolt"
)

func TestBasicWorksToo(t *testing.T) {
	r := newRig(t)
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("nanomdm:"+adminSecret))
	r.want(call{method: "GET", target: "/v1/policies", as: "-", header: []string{"Authorization", basic}}, 200, nil)
	r.want(call{method: "GET", target: "/v1/policies", as: "-", header: []string{"Authorization", "bearer " + adminSecret}}, 200, nil)
	// A page of another site makes the browser send the password that it remembers.
	foreign := call{method: "PUT", target: "/v1/pause", body: `{"reason":"x"}`, as: "-", header: []string{"Authorization", basic, "Sec-Fetch-Site", "cross-site"}}
	r.want(foreign, 403, nil)
	foreign.header[1] = "Bearer " + adminSecret
	r.want(foreign, 200, nil)
}

// Ten logins of one address may fail in a minute (docs/api.md 1); behind a proxy everybody has one address, so a token that nobody can guess
// goes on being let in. The token of the command line is shorter than 32 characters here: it could be guessed.
func TestFailedLoginsAreLimitedByAddress(t *testing.T) {
	r := newRig(t)
	now := today
	r.api.logins = NewLogins(r.fleet, func() time.Time { return now })
	kept := r.token("other", "read") // not used before
	try := func(secret, from string) int {
		req := call{method: "GET", target: "/v1/policies", as: secret}
		if from == "" {
			return r.do(req).Code
		}
		req.header = []string{"X-Forwarded-For", from, "X-Real-Ip", from}
		return r.do(req).Code
	}
	for i := range 5 {
		for _, guess := range []string{fmt.Sprint("guess", i), fmt.Sprint(strings.Repeat("guess", 10), i)} {
			if got := try(guess, ""); got != 401 {
				t.Fatalf("%s gave %d", guess, got)
			}
		}
	}
	for _, guess := range []string{"guess", strings.Repeat("guess", 10)} {
		if got := try(guess, ""); got != 429 {
			t.Errorf("the 11th guess, %s, gave %d", guess, got)
		}
	}
	if got := try("guess", "203.0.113.9"); got != 429 {
		t.Errorf("a forged address gave %d", got)
	}
	if got := try(kept, ""); got != 200 {
		t.Errorf("a right token that nobody can guess gave %d", got)
	}
	if got := try(adminSecret, ""); got != 429 {
		t.Errorf("a right guess from an address that failed too often gave %d, which tells it from a wrong one", got)
	}
	res := r.want(call{method: "GET", target: "/v1/policies", as: "guess"}, 429, nil)
	wait, err := strconv.Atoi(res.Header().Get("Retry-After"))
	if err != nil || wait < 1 || wait > 60 {
		t.Errorf("Retry-After is %q", res.Header().Get("Retry-After"))
	}
	now = now.Add(time.Duration(wait) * time.Second)
	for range 20 {
		if got := try(adminSecret, ""); got != 200 {
			t.Fatalf("after Retry-After a good token gave %d", got)
		}
	}
	if got := try("-", ""); got != 401 {
		t.Errorf("no token gave %d", got)
	}
}

func TestAddress(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.7": "192.0.2.7/32", "::ffff:192.0.2.7": "192.0.2.7/32", "2001:db8::1:2:3:4": "2001:db8::/64", "": "invalid Prefix",
	} {
		if got := address(in).String(); got != want {
			t.Errorf("address(%q) = %s, want %s", in, got, want)
		}
	}
}

func TestLoginsStayBounded(t *testing.T) {
	r := newRig(t)
	l := NewLogins(r.fleet, func() time.Time { return today })
	for i := range loginKeep + 10 {
		_, _, _ = l.Identify(t.Context(), fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255), "guess")
	}
	if len(l.byAddress) > loginKeep {
		t.Errorf("%d addresses are kept", len(l.byAddress))
	}
}

// Guesses that are made at once are limited as those one after the other, wherever in a network of IPv6 they come from.
func TestLoginsAtOnce(t *testing.T) {
	r := newRig(t)
	l := NewLogins(r.fleet, func() time.Time { return today })
	var wg sync.WaitGroup
	var judged atomic.Int64
	for i := range 10 * maxFailed {
		wg.Go(func() {
			if _, wait, err := l.Identify(t.Context(), fmt.Sprintf("2001:db8::%x", i), fmt.Sprint("guess", i)); wait == 0 && err != nil {
				judged.Add(1)
			}
		})
	}
	wg.Wait()
	if judged.Load() != maxFailed {
		t.Errorf("%d guesses were judged, want %d", judged.Load(), maxFailed)
	}
	if _, wait, err := l.Identify(t.Context(), "2001:db8:0:1::1", adminSecret); wait > 0 || err != nil {
		t.Errorf("from another network a right token waits for %v, %v", wait, err)
	}
}

func TestTokenRate(t *testing.T) {
	r := newRig(t)
	var limited int
	for range 2 * tokenRate {
		if res := r.send(call{method: "GET", target: "/v1/pause"}); res.Code == 429 {
			if res.Header().Get("Retry-After") == "" {
				t.Fatal("429 without Retry-After")
			}
			limited++
		}
	}
	if limited == 0 {
		t.Skip("this machine is too slow for 200 requests a second") // and then the limit has nothing to say
	}
	if got := r.send(call{method: "GET", target: "/healthz", as: "-"}).Code; got != 200 {
		t.Errorf("/healthz gave %d", got)
	}
}

func TestRequestIDs(t *testing.T) {
	r := newRig(t)
	for given, kept := range map[string]bool{"abc-123": true, "": false, "has space": false, "new\nline": false, "<script>": false} {
		res := r.send(call{method: "GET", target: "/healthz", header: []string{"X-Request-Id", given}})
		if got := res.Header().Get("X-Request-Id"); (got == given) != kept || got == "" {
			t.Errorf("given %q, answered %q", given, got)
		}
	}
}

// counting counts how often the store is asked what changed.
type counting struct {
	storage.DB
	looks atomic.Int64
}

func (c *counting) Revisions(ctx context.Context, partitions ...string) ([]uint64, error) {
	c.looks.Add(1)
	return c.DB.Revisions(ctx, partitions...)
}

// A crowd of strangers is refused before the store is asked for their tokens; what another replica has just made is looked for.
func TestStrangersAskNoStore(t *testing.T) {
	inner, err := bolt.Open(filepath.Join(t.TempDir(), "plimsoll.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = inner.Close() })
	db := &counting{DB: inner}
	replica := func() *fleet.Fleet {
		f, err := fleet.New(fleet.Options{
			Store: storage.New(db), Notifier: quiet{}, Log: slog.New(slog.DiscardHandler), URL: "http://127.0.0.1:8080", AdminToken: adminSecret,
			KeepEvents: time.Hour, KeepHistory: time.Hour, Now: func() time.Time { return today },
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		return f
	}
	here, there := replica(), replica()
	l := NewLogins(here, func() time.Time { return today })
	made, err := there.CreateToken(t.Context(), fleet.Origin{Actor: "test"}, fleet.TokenWish{Name: "new", Scopes: []fleet.Scope{fleet.ScopeRead}})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 * maxFailed { // it never counts as a failure
		if p, wait, err := l.Identify(t.Context(), "192.0.2.1", made.Token); err != nil || wait > 0 || p.Name != "new" {
			t.Fatalf("a token of another replica: %+v, %v, %v", p, wait, err)
		}
	}
	before := db.looks.Load()
	var wg sync.WaitGroup
	var asked atomic.Int64
	for i := range 200 {
		wg.Go(func() {
			if _, wait, _ := l.Identify(t.Context(), "192.0.2.1", fmt.Sprint(strings.Repeat("stranger", 8), i)); wait == 0 {
				asked.Add(1)
			}
		})
	}
	wg.Wait()
	if n := db.looks.Load() - before; asked.Load() != maxFailed || n > maxFailed {
		t.Errorf("200 strangers of one address: %d were looked for, in %d looks; want at most %d", asked.Load(), n, maxFailed)
	}
}
