package api

import (
	"errors"
	"math"
	"net/http"
	"strings"
	"sync"
	"time"

	"plimsoll/server/rest"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"plimsoll/server/fleet"
)

const tokenRate = 200 // requests a second of one API token

const slotKey = "slot"

// inSlot answers a request while it holds one of the slots for requests.
func (a *API) inSlot(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		leave, ok := a.enter()
		if !ok {
			return &rest.Problem{
				Status: http.StatusServiceUnavailable,
				Code:   "busy",
				Text:   "too many requests are in flight; try again",
				Retry:  5,
			}
		}
		leave = sync.OnceFunc(leave)
		defer leave()
		c.Set(slotKey, leave)
		return next(c)
	}
}

// leaveSlot gives the slot of a request back before its end: a stream holds none.
func leaveSlot(c echo.Context) {
	if leave, ok := c.Get(slotKey).(func()); ok {
		leave()
	}
}

// authenticated lets a request through whose token includes the scope, or the other one where there is one.
func (a *API) authenticated(scope, also fleet.Scope, next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		secret, basic := credentials(r)
		if secret == "" {
			return &rest.Problem{
				Status: http.StatusUnauthorized,
				Code:   "unauthorized",
				Text:   "a token is required: Authorization: Bearer TOKEN",
			}
		}
		// A browser that once was given a name and password sends them along for any page that asks it to.
		if basic && a.origins.Check(r) != nil {
			return &rest.Problem{
				Status: http.StatusForbidden,
				Code:   "cross_origin",
				Text:   "the request comes from another site's page",
			}
		}
		p, wait, err := a.logins.Identify(r.Context(), c.RealIP(), secret)
		if wait > 0 {
			return &rest.Problem{
				Status: http.StatusTooManyRequests, Code: "rate_limited", Retry: int(math.Ceil(wait.Seconds())),
				Text: "too many failed logins from this address",
			}
		}
		if errors.Is(err, fleet.ErrForbidden) {
			return &rest.Problem{Status: http.StatusUnauthorized, Code: "unauthorized", Text: "this token is not known"}
		}
		if err != nil {
			return err
		}
		if !p.May(scope) && (also == "" || !p.May(also)) {
			return rest.Forbidden("this token has the scope " + scopeList(p.Scopes) + "; " + string(scope) + " is required")
		}
		rest.SetPrincipal(c, p)
		return next(c)
	}
}

func scopeList(scopes []fleet.Scope) string {
	list := make([]string, 0, len(scopes))
	for _, s := range scopes {
		list = append(list, string(s))
	}
	return strings.Join(list, ", ")
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
		IdentifierExtractor: func(c echo.Context) (string, error) { return rest.Principal(c).Name, nil },
		DenyHandler: func(echo.Context, string, error) error {
			return &rest.Problem{
				Status: http.StatusTooManyRequests,
				Code:   "rate_limited",
				Text:   "more than 200 requests in a second with this token",
				Retry:  1,
			}
		},
	})
}
