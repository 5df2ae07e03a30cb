package api

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"plimsoll/server/fleet"
)

const (
	maxFailed = 10 // failed logins a minute from one address
	loginKeep = 10_000
	// strongSecret is the length from which a secret counts as one that nobody guesses. Those that are kept have 64 characters.
	strongSecret = 32
)

// Logins bounds failed logins by address, on the API and the dashboard together. Behind a proxy everybody has one
// address, so a strong token that is right is never refused: only wrong ones are. Safe for concurrent use.
type Logins struct {
	fleet *fleet.Fleet
	now   func() time.Time

	mu        sync.Mutex
	byAddress map[netip.Prefix]failures
}

// failures are the failed logins of an address, of which maxFailed are forgotten a minute.
type failures struct {
	count float64
	at    time.Time
}

func (f failures) left(now time.Time) float64 {
	return max(0, f.count-now.Sub(f.at).Minutes()*maxFailed)
}

// NewLogins makes the limit for a fleet's tokens; now is the clock.
func NewLogins(f *fleet.Fleet, now func() time.Time) *Logins {
	return &Logins{fleet: f, now: now, byAddress: map[netip.Prefix]failures{}}
}

// Identify is the fleet's, for somebody at an address. A wait above 0 says instead that too many logins failed there,
// and for how long.
func (l *Logins) Identify(ctx context.Context, ip, secret string) (p fleet.Principal, wait time.Duration, err error) {
	addr := address(ip)
	if len(secret) < strongSecret {
		// Only the token of the command line is that short, and it could be guessed: each guess is judged and counted in one step,
		// and beyond the limit a right one is not told from a wrong one, not by the time that the store takes either.
		if wait, ok := l.short(addr, secret); !ok {
			return fleet.Principal{}, wait, fmt.Errorf("the token is not known: %w", fleet.ErrForbidden)
		}
	}
	if p, err = l.fleet.Recognize(secret); err == nil {
		return p, 0, nil
	}
	// It counts as a failure before the store is asked, and not any more if it was none: so no crowd of strangers waits
	// for the store.
	if wait = l.reserve(addr); wait > 0 {
		return fleet.Principal{}, wait, err
	}
	if p, err = l.fleet.Identify(ctx, secret); !errors.Is(err, fleet.ErrForbidden) {
		l.giveBack(addr)
	}
	return p, 0, err
}

// reserve counts a failure, unless the address has to wait for it.
func (l *Logins) reserve(addr netip.Prefix) (wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed(addr)
}

// giveBack takes back a failure that was none.
func (l *Logins) giveBack(addr netip.Prefix) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f, ok := l.byAddress[addr]; ok {
		now := l.now()
		l.byAddress[addr] = failures{max(0, f.left(now)-1), now}
	}
}

// short judges a secret that could be guessed.
func (l *Logins) short(addr netip.Prefix, secret string) (wait time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if wait = l.wait(addr); wait > 0 {
		return wait, false
	}
	if l.fleet.IsAdminToken(secret) {
		return 0, true
	}
	return l.failed(addr), false
}

// wait is how long an address has to wait for its next failure.
func (l *Logins) wait(addr netip.Prefix) time.Duration {
	return max(0, time.Duration((l.byAddress[addr].left(l.now())+1-maxFailed)/maxFailed*float64(time.Minute)))
}

// failed counts a failure, unless the address has to wait for it.
func (l *Logins) failed(addr netip.Prefix) (wait time.Duration) {
	if wait = l.wait(addr); wait > 0 {
		return wait
	}
	now := l.now()
	if _, ok := l.byAddress[addr]; !ok && len(l.byAddress) >= loginKeep {
		l.forget(now)
	}
	l.byAddress[addr] = failures{l.byAddress[addr].left(now) + 1, now}
	return 0
}

// forget drops the addresses that may try again as often as a new one, or all of them when there are none.
func (l *Logins) forget(now time.Time) {
	for a, f := range l.byAddress {
		if f.left(now) == 0 {
			delete(l.byAddress, a)
		}
	}
	if len(l.byAddress) >= loginKeep {
		clear(l.byAddress)
	}
}

// address is what failed logins are counted by: an IPv4 address, or an IPv6 network of the size that one customer has.
func address(ip string) netip.Prefix {
	a, err := netip.ParseAddr(ip)
	if err != nil {
		return netip.Prefix{}
	}
	a = a.Unmap().WithZone("")
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
