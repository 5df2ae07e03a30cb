package api

import (
	"crypto/sha256"
	"errors"
	"math"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"plimsoll/server/fleet"
)

const (
	tokenRate = 200 // requests a second of one API token
	maxFailed = 10  // failed logins a minute from one address
	loginKeep = 10_000
)

const principalKey = "principal"

// principal is who makes an authenticated request.
func principal(c echo.Context) fleet.Principal {
	p, _ := c.Get(principalKey).(fleet.Principal)
	return p
}

// authenticated lets a request through whose token includes the scope.
func (a *API) authenticated(scope fleet.Scope, next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		secret, basic := credentials(r)
		if secret == "" {
			return &problem{status: http.StatusUnauthorized, code: "unauthorized", text: "a token is required: Authorization: Bearer TOKEN"}
		}
		// A browser that once was given a name and password sends them along for any page that asks it to.
		if basic && a.origins.Check(r) != nil {
			return &problem{status: http.StatusForbidden, code: "cross_origin", text: "the request comes from another site's page"}
		}
		wait, end := a.logins.begin(address(c.RealIP()), secret)
		if wait > 0 {
			return &problem{
				status: http.StatusTooManyRequests, code: "rate_limited", retry: int(math.Ceil(wait.Seconds())),
				text: "too many failed logins from this address",
			}
		}
		p, err := a.fleet.Identify(r.Context(), secret)
		end(err == nil) // what could not be told counts too: else one might go on guessing while the store is away
		if errors.Is(err, fleet.ErrForbidden) {
			return &problem{status: http.StatusUnauthorized, code: "unauthorized", text: "this token is not known"}
		}
		if err != nil {
			return err
		}
		if !p.May(scope) {
			return &problem{status: http.StatusForbidden, code: "forbidden", text: "this token's scope is " + string(p.Scope) + "; " + string(scope) + " is required"}
		}
		c.Set(principalKey, p)
		return next(c)
	}
}

// credentials are the token of a request, and whether it came as the password of HTTP Basic.
func credentials(r *http.Request) (secret string, basic bool) {
	if _, password, ok := r.BasicAuth(); ok {
		return password, true
	}
	scheme, rest, _ := strings.Cut(r.Header.Get(echo.HeaderAuthorization), " ")
	if strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(rest), false
	}
	return "", false
}

// limitToken bounds the requests of each API token.
func (a *API) limitToken() echo.MiddlewareFunc {
	return middleware.RateLimiterWithConfig(middleware.RateLimiterConfig{
		Store: middleware.NewRateLimiterMemoryStoreWithConfig(middleware.RateLimiterMemoryStoreConfig{
			Rate: tokenRate, Burst: tokenRate, ExpiresIn: time.Minute,
		}),
		IdentifierExtractor: func(c echo.Context) (string, error) { return principal(c).Name, nil },
		DenyHandler: func(echo.Context, string, error) error {
			return &problem{status: http.StatusTooManyRequests, code: "rate_limited", text: "more than 200 requests in a second with this token", retry: 1}
		},
	})
}

// logins bounds failed logins by address. A token that was good before is always looked at, so that one client's mistakes
// do not lock out the others behind the same proxy; any other token from an address that failed too often is not, so that nobody can go on guessing.
type logins struct {
	now func() time.Time

	mu        sync.Mutex
	byAddress map[netip.Prefix]failures
	good      map[[sha256.Size]byte]struct{}
}

// failures are the failed logins of an address, of which maxFailed are forgotten a minute.
type failures struct {
	count float64
	at    time.Time
}

func (f failures) left(now time.Time) float64 {
	return max(0, f.count-now.Sub(f.at).Minutes()*maxFailed)
}

func newLogins(now func() time.Time) *logins {
	return &logins{now: now, byAddress: map[netip.Prefix]failures{}, good: map[[sha256.Size]byte]struct{}{}}
}

// begin notes an attempt, which counts as failed until end takes it back: many at once are as many as one after the other. When there were
// too many it says how long to wait, and end need not be called.
func (l *logins) begin(addr netip.Prefix, secret string) (wait time.Duration, end func(good bool)) {
	token := sha256.Sum256([]byte(secret))
	l.mu.Lock()
	defer l.mu.Unlock()
	_, trusted := l.good[token]
	if !trusted {
		if over := l.byAddress[addr].left(l.now()) + 1 - maxFailed; over > 0 {
			return time.Duration(over / maxFailed * float64(time.Minute)), nil
		}
		l.count(addr, 1)
	}
	return 0, func(good bool) {
		l.mu.Lock()
		defer l.mu.Unlock()
		switch {
		case !good && trusted: // it was revoked
			delete(l.good, token)
			l.count(addr, 1)
		case good && !trusted:
			l.count(addr, -1)
			if len(l.good) >= loginKeep {
				clear(l.good)
			}
			l.good[token] = struct{}{}
		}
	}
}

func (l *logins) count(addr netip.Prefix, n float64) {
	now := l.now()
	if _, ok := l.byAddress[addr]; !ok && len(l.byAddress) >= loginKeep {
		l.forget(now)
	}
	if left := l.byAddress[addr].left(now) + n; left > 0 {
		l.byAddress[addr] = failures{left, now}
	} else {
		delete(l.byAddress, addr)
	}
}

// forget drops the addresses that may try again as often as a new one, or all of them when there are none.
func (l *logins) forget(now time.Time) {
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
