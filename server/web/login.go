package web

import (
	"errors"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"plimsoll/server/fleet"
	"plimsoll/server/web/view"
)

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
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") ||
		strings.ContainsAny(next, "\\\r\n\t") {
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
	if err := view.ParseForm(r); err != nil {
		return err
	}
	next := ownPath(r.PostForm.Get("next"))
	again := func(status int, fault string) error {
		return w.render(c, status, "login", frame{Title: "Sign in"}, loginModel{Next: next, Fault: fault})
	}
	secret := strings.TrimSpace(r.PostForm.Get("token"))
	p, wait, err := w.o.Identify(r.Context(), c.RealIP(), secret)
	if wait > 0 {
		seconds := int(math.Ceil(wait.Seconds()))
		c.Response().Header().Set("Retry-After", strconv.Itoa(seconds))
		return again(http.StatusTooManyRequests, "There were too many failed attempts. Try again in "+
			view.Plural(seconds, "second")+".")
	}
	switch {
	case errors.Is(err, fleet.ErrForbidden) || err == nil && secret == "":
		return again(http.StatusUnauthorized, "This token is not known.")
	case err != nil:
		return err
	}
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

// logout also ends the session for who kept its cookie; another replica takes that until it expires.
func (w *Web) logout(c echo.Context) error {
	w.sessions.end(sessionOf(c), w.now())
	c.SetCookie(w.sessions.cookie("", -1))
	return c.Redirect(http.StatusSeeOther, "/login")
}
