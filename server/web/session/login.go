package session

import (
	"errors"
	"math"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"plimsoll/server/fleet"
	"plimsoll/server/web/view"
)

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
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") ||
		strings.ContainsAny(next, "\\\r\n\t") {
		return "/"
	}
	return next
}

func (r *Room) loginPage(c echo.Context) error {
	next := ownPath(c.QueryParam("next"))
	if r.Current(c) != nil {
		return c.Redirect(http.StatusSeeOther, next)
	}
	return r.o.Show(c, http.StatusOK, next, "")
}

func (r *Room) login(c echo.Context) error {
	asked := c.Request()
	if err := view.ParseForm(asked); err != nil {
		return err
	}
	next := ownPath(asked.PostForm.Get("next"))
	again := func(status int, fault string) error {
		return r.o.Show(c, status, next, fault)
	}
	secret := strings.TrimSpace(asked.PostForm.Get("token"))
	p, wait, err := r.o.Identify(asked.Context(), c.RealIP(), secret)
	if wait > 0 {
		seconds := int(math.Ceil(wait.Seconds()))
		c.Response().Header().Set("Retry-After", strconv.Itoa(seconds))
		return again(http.StatusTooManyRequests, "There were too many failed attempts. Try again in "+
			view.Plural(seconds, "second")+".")
	}
	switch {
	case errors.Is(err, fleet.ErrForbidden) || err == nil && secret == "":
		r.refused(c)
		return again(http.StatusUnauthorized, "This token is not known.")
	case err != nil:
		return err
	}
	if !p.May(fleet.ScopeRead) {
		return again(http.StatusForbidden, "The token "+p.Name+" may only read metrics.")
	}
	s, err := r.open(asked.Context(), p, secret)
	if err != nil {
		return err
	}
	value, err := r.sessions.encode(s)
	if err != nil {
		return err
	}
	by := from(c)
	by.Actor = p.Actor()
	if err := r.o.Fleet.Enter(asked.Context(), by, nothing, fleet.Act{Action: "session.create", Object: "session"}); err != nil {
		return err
	}
	c.SetCookie(r.sessions.cookie(value, int(lifetime/time.Second)))
	return c.Redirect(http.StatusSeeOther, next)
}

func nothing() error { return nil }

// refusals are the refused sign-ins of which the audit knows: at most one a minute and address.
type refusals struct {
	mu     sync.Mutex
	latest map[string]time.Time
}

// news tells whether none of that address was entered in the last minute.
func (r *refusals) news(address string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.latest[address]) < time.Minute {
		return false
	}
	for a, at := range r.latest {
		if now.Sub(at) >= time.Minute {
			delete(r.latest, a)
		}
	}
	if r.latest == nil {
		r.latest = map[string]time.Time{}
	}
	r.latest[address] = now
	return true
}

// refused enters a sign-in that was refused into the audit. Of its token nothing is known there.
func (r *Room) refused(c echo.Context) {
	by := from(c)
	network := by.Address
	if a, err := netip.ParseAddr(network); err == nil && a.Is6() {
		if p, err := a.WithZone("").Prefix(64); err == nil { // what one customer has
			network = p.String()
		}
	}
	if !r.refusals.news(network, r.o.Now()) {
		return
	}
	by.Actor = "program"
	_ = r.o.Fleet.Enter(c.Request().Context(), by, nothing, fleet.Act{Action: "session.refuse", Object: "session"})
}

// logout also ends the session for who kept its cookie; another replica takes that until it expires.
func (r *Room) logout(c echo.Context) error {
	r.sessions.end(Of(c), r.o.Now())
	c.SetCookie(r.sessions.cookie("", -1))
	return c.Redirect(http.StatusSeeOther, "/login")
}
