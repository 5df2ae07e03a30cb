// Package web is what people see: the dashboard of the admins, and the page of one Mac for the one who uses it.
package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"plimsoll/server/fleet"
	"plimsoll/server/web/reports"
	"plimsoll/server/web/rollout"
	"plimsoll/server/web/self"
	"plimsoll/server/web/session"
	"plimsoll/server/web/view"
)

// Options are what the pages are made of.
type Options struct {
	Fleet   *fleet.Fleet
	Log     *slog.Logger
	Version string
	// URL is the base URL that browsers use; when it is https, cookies are Secure.
	URL string
	// Zone is the zone in which times are shown to admins (--time-zone); nil: UTC.
	Zone *time.Location
	// AdminToken is the token of the command line (--admin-token), the same that Fleet has; empty: none. A session that was opened
	// with it lasts as long as it is given.
	AdminToken string
	// Identify tells whose token a secret is that somebody at an address shows, or how long to wait because too many logins failed
	// there.
	Identify func(ctx context.Context, ip, secret string) (p fleet.Principal, wait time.Duration, err error)
	// Store is where the data is kept, without a password, for the page Settings.
	Store string
	// MDM is the address of the MDM server that the Macs are enrolled with; empty: this one.
	MDM string
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// Web serves the pages. Safe for concurrent use.
type Web struct {
	o        Options
	fleet    *fleet.Fleet
	log      *slog.Logger
	zone     *time.Location
	sessions *session.Room
	pages    *view.Set
	self     *self.Room
	rollout  *rollout.Room
	reports  *reports.Room
	echo     *echo.Echo
	now      func() time.Time
}

// New makes the pages. The Fleet must have been started.
func New(o Options) (*Web, error) {
	if o.Fleet == nil || o.Log == nil || o.Identify == nil {
		return nil, errors.New("web: Fleet, Log and Identify are needed")
	}
	if o.Zone == nil {
		o.Zone = time.UTC
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	pages, err := loadPages()
	if err != nil {
		return nil, err
	}
	users, err := self.New(self.Options{Fleet: o.Fleet, Zone: o.Zone, Now: o.Now})
	if err != nil {
		return nil, err
	}
	w := &Web{o: o, fleet: o.Fleet, log: o.Log, zone: o.Zone, pages: pages, self: users, now: o.Now}
	w.sessions, err = session.New(ctx, session.Options{
		Fleet: o.Fleet, AdminToken: o.AdminToken, Secure: strings.HasPrefix(o.URL, "https://"), Identify: o.Identify, Now: o.Now,
		Show: func(c echo.Context, status int, next, fault string) error {
			return w.render(c, status, "login", frame{Title: "Sign in"}, loginModel{Next: next, Fault: fault})
		},
	})
	if err != nil {
		return nil, err
	}
	w.rollout = rollout.New(rollout.Options{
		Fleet: o.Fleet, Zone: o.Zone, Now: o.Now, Posted: w.options, Finish: w.finishWrite,
		Show: func(c echo.Context, p rollout.Page) error {
			return w.render(c, p.Status, p.Name, frame{Title: p.Title, Section: p.Section, Notice: notice(c)}, p.Model)
		},
	})
	w.reports = reports.New(reports.Options{Fleet: o.Fleet, Show: func(c echo.Context, m reports.Page) error {
		return w.render(c, http.StatusOK, "reports", frame{Title: "Reports", Section: "reports"}, m)
	}})
	return w, w.routes()
}

// Handler serves everything that Patterns lists.
func (w *Web) Handler() http.Handler { return w.echo }

// Patterns are the patterns under which Handler is to be mounted on an http.ServeMux.
func (w *Web) Patterns() []string {
	return []string{
		"/", "/login", "/logout", "/session", "/stream", "/assets/", "/self/",
		"/devices", "/devices.csv", "/devices/", "/policies", "/policies/", "/groups", "/groups/", "/releases", "/releases/",
		"/enrollment", "/enrollment/", "/settings", "/settings/", "/calendar", "/calendar/", "/reports",
	}
}

func (w *Web) routes() error {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.IPExtractor = echo.ExtractIPDirect() // a header could be anybody's
	e.HTTPErrorHandler = w.fail
	origins := http.NewCrossOriginProtection()
	if u, err := url.Parse(w.o.URL); err == nil && u.Host != "" {
		if err := origins.AddTrustedOrigin(u.Scheme + "://" + u.Host); err != nil {
			return fmt.Errorf("trust the origin of %s: %w", w.o.URL, err)
		}
	}
	e.Use(recovered, w.guardRequest(origins))

	get := func(path string, h echo.HandlerFunc) { e.Match([]string{http.MethodGet, http.MethodHead}, path, h) }
	get("/assets/:name", w.asset)
	w.sessions.Routes(e)
	w.self.Routes(e)

	read := func(path string, h echo.HandlerFunc) { get(path, w.sessions.SignedIn(h)) }
	write := func(path string, h echo.HandlerFunc) { e.POST(path, w.sessions.SignedIn(session.MayWrite(h))) }
	operate := func(path string, h echo.HandlerFunc) { e.POST(path, w.sessions.SignedIn(session.MayOperate(h))) }
	read("/", w.fleetPage)
	e.GET("/stream", w.sessions.SignedIn(w.stream))
	read("/devices", w.devicesPage)
	read("/devices.csv", w.devicesCSV)
	read("/devices/:id", w.devicePage)
	read("/devices/:id/reports/:report", w.reportPage)
	read("/devices/:id/commands/:uuid", w.commandPage)
	operate("/devices/:id/sync", w.deviceSync)
	operate("/devices/:id/groups", w.deviceGroups)
	write("/devices/:id/remove", w.deviceRemove)
	write("/devices/bulk", w.bulk)
	read("/policies", w.policiesPage)
	read("/policies/new", w.policyNew)
	read("/policies/:name", w.policyEdit)
	write("/policies", w.policySave)
	write("/policies/:name/delete", w.policyDelete)
	write("/policies/:name/move", w.policyMove)
	read("/groups", w.groupsPage)
	read("/groups/:name", w.groupPage)
	write("/groups", w.groupSave)
	write("/groups/:name/delete", w.groupDelete)
	read("/releases", w.releasesPage)
	write("/releases/refresh", w.catalogueRefresh)
	write("/releases/hold", w.holdPut)
	write("/releases/release", w.holdDelete)
	write("/releases/pause", w.pausePut)
	write("/releases/resume", w.pauseDelete)
	read("/enrollment", w.enrollmentPage)
	write("/enrollment", w.codeCreate)
	write("/enrollment/delete", w.codeDelete)
	w.rollout.Routes(read, write, operate)
	w.reports.Routes(read)
	read("/settings", w.settingsPage)
	write("/settings/tokens", w.tokenCreate)
	write("/settings/tokens/delete", w.tokenDelete)
	write("/settings/ca/rotate", w.rotateCA)
	w.echo = e
	return nil
}

// maxForm bounds a form's body, in bytes. The largest is a group's list of members.
const maxForm = 4 << 20

// contentPolicy lets nothing but our own files be loaded, and no script or style stand in a page.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// recovered turns a panic into an error, which is answered and logged as any other.
func recovered(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		defer func() {
			switch r := recover(); r {
			case nil:
			case http.ErrAbortHandler:
				panic(r)
			default:
				err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
			}
		}()
		return next(c)
	}
}

// guardRequest sets the headers that every answer has, bounds bodies, and refuses writes that other sites had a browser send.
func (w *Web) guardRequest(origins *http.CrossOriginProtection) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			h := c.Response().Header()
			h.Set("Content-Security-Policy", contentPolicy)
			h.Set("X-Content-Type-Options", "nosniff")
			h.Set("X-Frame-Options", "DENY")
			h.Set("Referrer-Policy", "same-origin")
			h.Set("Cross-Origin-Opener-Policy", "same-origin")
			h.Set("Cache-Control", "no-store")
			r := c.Request()
			if err := origins.Check(r); err != nil {
				return &fleet.Error{
					Kind: fleet.ErrForbidden, Code: "cross_origin", Text: "the request came from another site, so it was not carried out",
				}
			}
			r.Body = http.MaxBytesReader(c.Response(), r.Body, maxForm)
			return next(c)
		}
	}
}

// param is a part of the path, as it was before it was escaped.
func param(c echo.Context, name string) string { return view.Unescaped(c.Request(), c.Param(name)) }

// kinds maps the kinds of error to HTTP.
var kinds = []struct {
	kind   error
	status int
	title  string
}{
	{fleet.ErrNotFound, http.StatusNotFound, "Not found"},
	{fleet.ErrForbidden, http.StatusForbidden, "Not allowed"},
	{fleet.ErrConflict, http.StatusConflict, "Conflict"},
	{fleet.ErrInvalid, http.StatusUnprocessableEntity, "Not valid"},
	{fleet.ErrUnavailable, http.StatusServiceUnavailable, "Not available just now"},
}

// explain is what an error is to HTTP and to people.
func explain(err error) (status int, title, text string) {
	var (
		tooLarge *http.MaxBytesError
		he       *echo.HTTPError
		fe       *fleet.Error
	)
	switch {
	case errors.As(err, &tooLarge):
		return http.StatusRequestEntityTooLarge, "Too large", "The form is larger than 4 MiB."
	case errors.As(err, &he):
		if he.Code == http.StatusMethodNotAllowed {
			return he.Code, "Not possible", "This address does not take such a request."
		}
		return he.Code, "Page not found", "The address may be mistyped, or what it showed was removed."
	}
	for _, k := range kinds {
		if !errors.Is(err, k.kind) {
			continue
		}
		if errors.As(err, &fe) {
			return k.status, k.title, view.Sentence(fe.Error())
		}
		if k.status == http.StatusServiceUnavailable {
			return k.status, k.title, "The database cannot be reached. Try again in a moment."
		}
		return k.status, k.title, ""
	}
	return http.StatusInternalServerError, "Something went wrong", "The server's log says more. Try again in a moment."
}

// fail answers an error: as a page, or as plain text where no browser asks.
func (w *Web) fail(err error, c echo.Context) {
	if c.Request().Context().Err() != nil {
		return
	}
	status, title, text := explain(err)
	if status >= http.StatusInternalServerError {
		w.log.Error("a page failed", "path", c.Request().URL.Path, "error", err)
	}
	if c.Response().Committed {
		return
	}
	if status == http.StatusServiceUnavailable {
		c.Response().Header().Set("Retry-After", "5")
	}
	if text == "" {
		text = title + "."
	}
	switch {
	case !strings.Contains(c.Request().Header.Get("Accept"), "text/html"), strings.HasSuffix(c.Request().URL.Path, ".json"):
		err = c.String(status, text+"\n")
	case strings.HasPrefix(c.Request().URL.Path, "/self/"):
		err = w.self.Fail(c, status, title, text)
	default:
		if status == http.StatusNotFound && session.Of(c) == nil {
			w.sessions.Recall(c) // an address that does not exist has no route that would have asked for the session
		}
		err = w.render(c, status, "error", frame{Title: title}, errorModel{Title: title, Text: text, Status: status})
	}
	if err != nil {
		w.log.Error("an error could not be shown", "error", err)
	}
}

// loginModel is the page on which people sign in.
type loginModel struct {
	Next  string
	Fault string
}

// errorModel is the page of an error.
type errorModel struct {
	Title, Text string
	Status      int
}
