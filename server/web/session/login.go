package session

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
	c.SetCookie(r.sessions.cookie(value, int(lifetime/time.Second)))
	return c.Redirect(http.StatusSeeOther, next)
}

// logout also ends the session for who kept its cookie; another replica takes that until it expires.
func (r *Room) logout(c echo.Context) error {
	r.sessions.end(Of(c), r.o.Now())
	c.SetCookie(r.sessions.cookie("", -1))
	return c.Redirect(http.StatusSeeOther, "/login")
}
