// Package self is the page of one Mac for the person who uses it, and the same as data for reminder tools.
package self

import (
	"embed"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"plimsoll/server/fleet"
	"plimsoll/server/web/view"
)

// Options are the things that the page needs.
type Options struct {
	Fleet *fleet.Fleet
	// Zone is the server's zone, which is chosen first when a user without JavaScript says what their clock shows.
	Zone *time.Location
	Now  func() time.Time
}

// Room serves the users' pages. Safe for concurrent use.
type Room struct {
	o     Options
	pages *view.Set
}

//go:embed *.html
var templates embed.FS

// New makes the users' pages.
func New(o Options) (*Room, error) {
	pages, err := view.Load(templates, "shell.html")
	if err != nil {
		return nil, err
	}
	return &Room{o: o, pages: pages}, nil
}

// Routes adds the room's routes.
func (r *Room) Routes(e *echo.Echo) {
	e.Match([]string{http.MethodGet, http.MethodHead}, "/self/:link", r.page)
	e.POST("/self/:link/delay", r.delay)
	e.POST("/self/:link/upgrade", r.upgrade)
}

// shell is the surroundings of a user's page.
type shell struct {
	Title string
	Page  any
}

// link is the secret part of the address, unescaped.
func link(c echo.Context) string { return view.Unescaped(c.Request(), c.Param("link")) }

func (r *Room) page(c echo.Context) error {
	link, wantsJSON := strings.CutSuffix(link(c), ".json")
	s, err := r.o.Fleet.Self(c.Request().Context(), link)
	if err != nil {
		return linkError(err)
	}
	if wantsJSON {
		return c.JSON(http.StatusOK, s)
	}
	return r.show(c, http.StatusOK, link, s, "")
}

// linkError says the same of every link that leads nowhere.
func linkError(err error) error {
	if errors.Is(err, fleet.ErrNotFound) {
		return &fleet.Error{
			Kind: fleet.ErrNotFound, Code: "not_found",
			Text: "this link is not valid, or not any more; ask the people who manage this Mac for its page",
		}
	}
	return err
}

func (r *Room) show(c echo.Context, status int, link string, s fleet.Self, fault string) error {
	m := ModelOf(&s, r.o.Zone)
	m.Path, m.Fault = "/self/"+url.PathEscape(link), fault
	if m.CanDelay {
		m.Offsets = offsets(r.o.Now(), r.o.Zone)
	}
	return r.render(c, status, "self", shell{Title: "Updates for this Mac", Page: m})
}

func (r *Room) render(c echo.Context, status int, name string, page shell) error {
	body, err := r.pages.Execute(name, "shell", page)
	if err != nil {
		return err
	}
	c.Response().Header().Set("X-Robots-Tag", "noindex")
	return c.HTMLBlob(status, body)
}

// fault is an error as a user's page.
type fault struct{ Title, Text string }

// Fail answers an error as a page for the Mac's user.
func (r *Room) Fail(c echo.Context, status int, title, text string) error {
	if status == http.StatusNotFound {
		title = "This page does not exist"
	}
	return r.render(c, status, "fault", shell{Title: title, Page: fault{Title: title, Text: text}})
}

func (r *Room) delay(c echo.Context) error {
	if err := view.ParseForm(c.Request()); err != nil {
		return err
	}
	now, err := userNow(c.FormValue("now"), c.FormValue("offset"), r.o.Now())
	if err != nil {
		return err
	}
	return r.act(c, func(link string) (fleet.Self, error) {
		return r.o.Fleet.SelfDelay(c.Request().Context(), link, now, from(c))
	})
}

func (r *Room) upgrade(c echo.Context) error {
	return r.act(c, func(link string) (fleet.Self, error) {
		return r.o.Fleet.SelfUpgrade(c.Request().Context(), link, from(c))
	})
}

// from is where a request comes from.
func from(c echo.Context) fleet.Origin { return fleet.Origin{Via: fleet.ViaPage, Address: c.RealIP()} }

// act carries an action of the user out and leads back to the page, which says at once when it was not possible.
func (r *Room) act(c echo.Context, act func(link string) (fleet.Self, error)) error {
	link := link(c)
	_, err := act(link)
	var fe *fleet.Error
	switch {
	case err == nil:
		return c.Redirect(http.StatusSeeOther, "/self/"+url.PathEscape(link))
	case errors.Is(err, fleet.ErrConflict) && errors.As(err, &fe) && strings.Contains(c.Request().Header.Get("Accept"), "text/html"):
		s, again := r.o.Fleet.Self(c.Request().Context(), link)
		if again != nil {
			return linkError(again)
		}
		return r.show(c, http.StatusConflict, link, s, view.Sentence(fe.Text))
	}
	return linkError(err)
}
