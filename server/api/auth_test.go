package api

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"
	"testing"
	"time"
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

func TestFailedLoginsAreLimitedByAddress(t *testing.T) {
	r := newRig(t)
	now := today
	r.api.logins = newLogins(func() time.Time { return now })
	r.want(call{method: "GET", target: "/v1/policies"}, 200, nil) // a token that is known to be good
	other := r.token("other", "read")
	try := func(secret, from string) int {
		req := call{method: "GET", target: "/v1/policies", as: secret}
		if from == "" {
			return r.do(req).Code
		}
		req.header = []string{"X-Forwarded-For", from, "X-Real-Ip", from}
		return r.do(req).Code
	}
	for i := range 10 {
		if got := try(fmt.Sprint("guess", i), ""); got != 401 {
			t.Fatalf("guess %d gave %d", i, got)
		}
	}
	if got := try("guess", ""); got != 429 {
		t.Errorf("the 11th guess gave %d", got)
	}
	if got := try("guess", "203.0.113.9"); got != 429 {
		t.Errorf("a forged address gave %d", got)
	}
	if got := try(other, ""); got != 429 {
		t.Errorf("a right guess from an address that failed too often gave %d, which tells it from a wrong one", got)
	}
	if got := try(adminSecret, ""); got != 200 {
		t.Errorf("a token that was good before gave %d", got)
	}
	res := r.want(call{method: "GET", target: "/v1/policies", as: "guess"}, 429, nil)
	wait, err := strconv.Atoi(res.Header().Get("Retry-After"))
	if err != nil || wait < 1 || wait > 60 {
		t.Errorf("Retry-After is %q", res.Header().Get("Retry-After"))
	}
	now = now.Add(time.Duration(wait) * time.Second)
	if got := try(other, ""); got != 200 {
		t.Errorf("after Retry-After a good token gave %d", got)
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
	now := today
	l := newLogins(func() time.Time { return now })
	for i := range loginKeep + 10 {
		addr := address(fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255))
		for _, good := range []bool{false, true} {
			_, end := l.begin(addr, fmt.Sprint(i, good))
			end(good)
		}
	}
	if len(l.byAddress) > loginKeep || len(l.good) > loginKeep {
		t.Errorf("%d addresses and %d tokens are kept", len(l.byAddress), len(l.good))
	}
}

// Guesses that are made at once are limited as those one after the other; and a good token among them costs nothing.
func TestLoginsAtOnce(t *testing.T) {
	now := today
	l := newLogins(func() time.Time { return now })
	addr := address("192.0.2.7")
	var ends []func(bool)
	for i := range maxFailed {
		wait, end := l.begin(addr, fmt.Sprint(i))
		if wait > 0 {
			t.Fatalf("attempt %d has to wait for %v", i, wait)
		}
		ends = append(ends, end)
	}
	if wait, _ := l.begin(addr, "one more"); wait <= 0 || wait > time.Minute {
		t.Errorf("one more at once has to wait for %v", wait)
	}
	for _, end := range ends[1:] {
		end(true)
	}
	ends[0](false)
	if len(l.good) != maxFailed-1 || l.byAddress[addr].left(now) != 1 {
		t.Errorf("one failed: %d good tokens, %v failures", len(l.good), l.byAddress[addr])
	}
	// A token that was revoked is a guess like any other.
	_, end := l.begin(addr, "1")
	end(false)
	if _, ok := l.good[sha256.Sum256([]byte("1"))]; ok || l.byAddress[addr].left(now) != 2 {
		t.Errorf("after a revoked token: %v failures", l.byAddress[addr])
	}
	now = now.Add(time.Minute)
	if left := l.byAddress[addr].left(now); left != 0 {
		t.Errorf("a minute later %v failures are left", left)
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
