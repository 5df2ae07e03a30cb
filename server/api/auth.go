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
	"golang.org/x/time/rate"

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
		addr := address(c.RealIP())
		if wait := a.logins.wait(addr, secret); wait > 0 {
			return &problem{
				status: http.StatusTooManyRequests, code: "rate_limited", retry: int(math.Ceil(wait.Seconds())),
				text: "too many failed logins from this address",
			}
		}
		p, err := a.fleet.Identify(r.Context(), secret)
		if errors.Is(err, fleet.ErrForbidden) {
			a.logins.failed(addr)
			return &problem{status: http.StatusUnauthorized, code: "unauthorized", text: "this token is not known"}
		}
		if err != nil {
			return err
		}
		a.logins.succeeded(secret)
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
	byAddress map[netip.Prefix]*rate.Limiter
	good      map[[sha256.Size]byte]struct{}
}

func newLogins(now func() time.Time) *logins {
	return &logins{now: now, byAddress: map[netip.Prefix]*rate.Limiter{}, good: map[[sha256.Size]byte]struct{}{}}
}

// wait is how long an address has to wait before it may try this token; 0: it may.
func (l *logins) wait(addr netip.Prefix, secret string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	lim, ok := l.byAddress[addr]
	if !ok {
		return 0
	}
	tokens := lim.TokensAt(l.now())
	if tokens >= 1 {
		return 0
	}
	if _, ok := l.good[sha256.Sum256([]byte(secret))]; ok {
		return 0
	}
	return time.Duration((1 - tokens) / float64(lim.Limit()) * float64(time.Second))
}

func (l *logins) failed(addr netip.Prefix) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	lim, ok := l.byAddress[addr]
	if !ok {
		if len(l.byAddress) >= loginKeep {
			l.forget(now)
		}
		lim = rate.NewLimiter(rate.Every(time.Minute/maxFailed), maxFailed)
		l.byAddress[addr] = lim
	}
	lim.AllowN(now, 1)
}

// forget drops the addresses that may try again as often as a new one, or all of them when there are none.
func (l *logins) forget(now time.Time) {
	for a, lim := range l.byAddress {
		if lim.TokensAt(now) >= maxFailed {
			delete(l.byAddress, a)
		}
	}
	if len(l.byAddress) >= loginKeep {
		clear(l.byAddress)
	}
}

func (l *logins) succeeded(secret string) {
	h := sha256.Sum256([]byte(secret))
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.good) >= loginKeep {
		clear(l.good)
	}
	l.good[h] = struct{}{}
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
