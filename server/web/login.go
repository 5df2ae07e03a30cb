package web

import (
	"errors"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"plimsoll/server/fleet"
)

// The limit of failed logins of one address (api.md 1).
const (
	maxAttempts   = 10
	attemptWindow = time.Minute
	manyAddresses = 10_000 // from here on, those that are not limited any more are forgotten
)

// attempts counts failed logins by address. The zero value is ready.
type attempts struct {
	mu sync.Mutex
	by map[string][]time.Time
}

// begin notes an attempt, which counts as failed until succeeded takes it back. When there were too many, it says how long to wait.
func (a *attempts) begin(address string, now time.Time) (wait time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.by == nil {
		a.by = map[string][]time.Time{}
	}
	if len(a.by) > manyAddresses {
		for k, times := range a.by {
			if len(recent(times, now)) == 0 {
				delete(a.by, k)
			}
		}
	}
	times := recent(a.by[address], now)
	if len(times) >= maxAttempts {
		a.by[address] = times
		return times[len(times)-maxAttempts].Add(attemptWindow).Sub(now)
	}
	a.by[address] = append(times, now)
	return 0
}

// succeeded takes the last attempt back.
func (a *attempts) succeeded(address string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if times := a.by[address]; len(times) > 1 {
		a.by[address] = times[:len(times)-1]
	} else {
		delete(a.by, address)
	}
}

func recent(times []time.Time, now time.Time) []time.Time {
	for len(times) > 0 && now.Sub(times[0]) >= attemptWindow {
		times = times[1:]
	}
	return times
}

// loginModel is the page on which people sign in.
type loginModel struct {
	Next  string
	Fault string
}

// loginAddress is the login page that leads to a page of ours afterwards.
func loginAddress(next string) string {
	if next == "" || next == "/" {
		return "/login"
	}
	return "/login?next=" + url.QueryEscape(next)
}

// ownPath keeps a redirect on this server.
func ownPath(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || strings.ContainsAny(next, "\\\r\n\t") {
		return "/"
	}
	return next
}

func (w *Web) loginPage(c echo.Context) error {
	next := ownPath(c.QueryParam("next"))
	if w.current(c) != nil {
		return c.Redirect(http.StatusSeeOther, next)
	}
	return w.render(c, http.StatusOK, "login", frame{Title: "Sign in"}, loginModel{Next: next})
}

func (w *Web) login(c echo.Context) error {
	r := c.Request()
	if err := parseForm(r); err != nil {
		return err
	}
	next := ownPath(r.PostForm.Get("next"))
	again := func(status int, fault string) error {
		return w.render(c, status, "login", frame{Title: "Sign in"}, loginModel{Next: next, Fault: fault})
	}
	address := c.RealIP()
	if wait := w.attempts.begin(address, w.now()); wait > 0 {
		seconds := int(math.Ceil(wait.Seconds()))
		c.Response().Header().Set("Retry-After", strconv.Itoa(seconds))
		return again(http.StatusTooManyRequests, "There were too many failed attempts. Try again in "+plural(seconds, "second")+".")
	}
	secret := strings.TrimSpace(r.PostForm.Get("token"))
	p, err := w.fleet.Identify(r.Context(), secret)
	switch {
	case errors.Is(err, fleet.ErrForbidden) || err == nil && secret == "":
		return again(http.StatusUnauthorized, "This token is not known.")
	case err != nil:
		return err
	}
	w.attempts.succeeded(address)
	if !p.May(fleet.ScopeRead) {
		return again(http.StatusForbidden, "The token "+p.Name+" may only read metrics.")
	}
	s, err := w.open(r.Context(), p, secret)
	if err != nil {
		return err
	}
	value, err := w.sessions.encode(s)
	if err != nil {
		return err
	}
	c.SetCookie(w.sessions.cookie(value, int(sessionTime/time.Second)))
	return c.Redirect(http.StatusSeeOther, next)
}

func (w *Web) logout(c echo.Context) error {
	c.SetCookie(w.sessions.cookie("", -1))
	return c.Redirect(http.StatusSeeOther, "/login")
}
