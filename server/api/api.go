package api

import (
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"plimsoll/server/metrics"
	"plimsoll/server/rest"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"plimsoll/server/fleet"
)

// Options are what an API is made of.
type Options struct {
	Fleet   *fleet.Fleet
	Log     *slog.Logger
	Version string
	// Logins limits failed logins; nil: a limit of the API's own.
	Logins *Logins
	// Counts are counters that are kept elsewhere, for /metrics.
	Counts []metrics.Count
	// Enter is asked once a request has shown its token, so that strangers hold no slot; nobody is let in when it returns
	// false, else leave is called at the end. nil: everybody is.
	Enter func() (leave func(), ok bool)
	// Push, Enqueue and PushCert are NanoMDM's handlers. They get the request unchanged: its path begins with /v1/push/,
	// /v1/enqueue/ or is /v1/pushcert. Those that are nil are left out.
	Push, Enqueue, PushCert http.Handler
	// BackupTo are those whom every backup is encrypted to; none: it is not.
	BackupTo fleet.Encryption
}

// API serves /v1 and the server's own routes. Safe for concurrent use.
type API struct {
	fleet   *fleet.Fleet
	log     *slog.Logger
	version string
	echo    *echo.Echo
	paths   map[string]bool // those that have a route, to keep the metrics' labels few
	logins  *Logins
	origins *http.CrossOriginProtection
	metrics *metrics.Metrics

	closing   chan struct{}
	close     sync.Once
	streams   *Streams
	enter     func() (leave func(), ok bool)
	heartbeat time.Duration
	pace      time.Duration // between two reads of one event stream
	pinged    pinged

	recipients fleet.Encryption
	backups    chan struct{} // one at a time
	packs      chan struct{} // evidence packs, one at a time
}

// New makes an API. Fleet and Log are required.
func New(o Options) *API {
	if o.Logins == nil {
		o.Logins = NewLogins(o.Fleet, time.Now)
	}
	if o.Enter == nil {
		o.Enter = func() (func(), bool) { return func() {}, true }
	}
	a := &API{
		fleet: o.Fleet, log: o.Log, version: o.Version,
		paths:   map[string]bool{},
		logins:  o.Logins,
		origins: http.NewCrossOriginProtection(),
		metrics: metrics.New(o.Fleet.Stats, o.Version, o.Counts),
		closing: make(chan struct{}), streams: NewStreams(), enter: o.Enter,
		heartbeat: 15 * time.Second, pace: 250 * time.Millisecond,
		pinged:     pinged{every: 250 * time.Millisecond},
		recipients: o.BackupTo, backups: make(chan struct{}, 1), packs: make(chan struct{}, 1),
	}
	e := echo.New()
	e.IPExtractor = echo.ExtractIPDirect()
	e.HTTPErrorHandler = a.answerError
	e.Use(a.observe, middleware.GzipWithConfig(middleware.GzipConfig{MinLength: 1024, Skipper: notCompressed}))
	limit := a.limitToken()
	known := rest.Queries()
	for _, r := range a.routes(o) {
		h := a.notHere(r.path, r.handler)
		if strings.HasPrefix(r.path, "/v1/") && !slices.Contains(nanomdmPaths, r.path) {
			h = rest.OnlyKnown(known[r.method+" "+r.path], h)
		}
		if r.scope != "" {
			h = a.authenticated(r.scope, alsoFor[r.path], limit(a.inSlot(h)))
		}
		a.paths[r.path] = true
		e.Add(r.method, r.path, h)
		if r.method == http.MethodGet {
			e.Add(http.MethodHead, r.path, h)
		}
	}
	a.echo = e
	return a
}

// Handler serves all routes of the API.
func (a *API) Handler() http.Handler { return a.echo }

// Close ends the event streams that are open, and new ones at once. For http.Server.RegisterOnShutdown.
func (a *API) Close() { a.close.Do(func() { close(a.closing) }) }

// Measure counts the requests to a handler that is not the API's, under the given route.
func (a *API) Measure(route string, h http.Handler) http.Handler { return a.metrics.Measure(route, h) }
