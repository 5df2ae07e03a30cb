package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
	"github.com/prometheus/client_golang/prometheus"

	"plimsoll/declarations/policy"
	"plimsoll/server/fleet"
)

// maxBody is the largest request body that is taken, in bytes.
const maxBody = 4 << 20

// Options are what an API is made of.
type Options struct {
	Fleet   fleetAPI
	Log     *slog.Logger
	Version string
	// Push, Enqueue and PushCert are NanoMDM's handlers. They get the request unchanged: its path begins with /v1/push/, /v1/enqueue/ or is /v1/pushcert.
	// Those that are nil are left out.
	Push, Enqueue, PushCert http.Handler
}

// fleetAPI is what the API needs of a *fleet.Fleet.
type fleetAPI interface {
	Identify(ctx context.Context, secret string) (fleet.Principal, error)
	CreateToken(ctx context.Context, by, name string, scope fleet.Scope) (fleet.NewToken, error)
	ListTokens(ctx context.Context, limit int, cursor string) (fleet.Page[fleet.TokenInfo], error)
	DeleteToken(ctx context.Context, name string) error
	CreateCode(ctx context.Context, by, label string, expires *time.Time, uses int) (fleet.CodeInfo, error)
	ListCodes(ctx context.Context, limit int, cursor string) (fleet.Page[fleet.CodeInfo], error)
	DeleteCode(ctx context.Context, code string) error
	PutPolicy(ctx context.Context, p policy.Policy, o fleet.WriteOptions) (fleet.PolicyResult, error)
	Policy(ctx context.Context, name string) (policy.Policy, string, error)
	Policies(ctx context.Context, limit int, cursor string) (fleet.Page[policy.Policy], error)
	DeletePolicy(ctx context.Context, name string, o fleet.WriteOptions) (*fleet.Impact, error)
	PutGroup(ctx context.Context, name string, devices []string, o fleet.WriteOptions) (fleet.Group, bool, *fleet.Impact, error)
	EditGroup(ctx context.Context, name string, add, remove []string, o fleet.WriteOptions) (fleet.Group, *fleet.Impact, error)
	Group(ctx context.Context, name string) (fleet.Group, error)
	Groups(ctx context.Context, limit int, cursor string) (fleet.Page[fleet.Group], error)
	DeleteGroup(ctx context.Context, name string, o fleet.WriteOptions) (*fleet.Impact, error)
	Releases(ctx context.Context, asOf time.Time, limit int, cursor string) (fleet.Page[fleet.Release], error)
	PutHold(ctx context.Context, subject, reason string, successors bool, until *time.Time, o fleet.WriteOptions) (fleet.Hold, bool, *fleet.Impact, error)
	Holds(ctx context.Context, limit int, cursor string) (fleet.Page[fleet.Hold], error)
	DeleteHold(ctx context.Context, subject string, o fleet.WriteOptions) (*fleet.Impact, error)
	SetPause(ctx context.Context, reason string, o fleet.WriteOptions) (fleet.Pause, *fleet.Impact, error)
	ClearPause(ctx context.Context, o fleet.WriteOptions) (fleet.Pause, *fleet.Impact, error)
	Pause(ctx context.Context) (fleet.Pause, error)
	Refresh(ctx context.Context) (fleet.RefreshResult, error)
	Devices(ctx context.Context, q fleet.DeviceQuery) (fleet.Page[fleet.Device], error)
	Device(ctx context.Context, idOrSerial string) (fleet.Device, error)
	Plan(ctx context.Context, idOrSerial string) (policy.Explanation, error)
	Declarations(ctx context.Context, idOrSerial string, at time.Time) (fleet.ServedManifest, error)
	Status(ctx context.Context, idOrSerial string) (fleet.StatusItems, error)
	Reports(ctx context.Context, idOrSerial string, limit int, cursor string) (fleet.Page[fleet.ReportInfo], error)
	Report(ctx context.Context, idOrSerial, reportID string) (fleet.Report, error)
	DeviceEvents(ctx context.Context, idOrSerial string, limit int, cursor string) (fleet.Page[fleet.Event], error)
	Sync(ctx context.Context, idOrSerial, by string) error
	Forget(ctx context.Context, idOrSerial, by string) error
	Compliance(ctx context.Context) (fleet.Compliance, error)
	History(ctx context.Context, policyName string, days int) ([]fleet.HistoryDay, error)
	Events(ctx context.Context, after string, limit int) (fleet.Page[fleet.Event], error)
	Subscribe(ctx context.Context) <-chan struct{}
	Ready(ctx context.Context) fleet.Readiness
	Stats() fleet.Stats
}

// API serves /v1 and the server's own routes. Safe for concurrent use.
type API struct {
	fleet   fleetAPI
	log     *slog.Logger
	version string
	echo    *echo.Echo
	paths   map[string]bool // those that have a route, to keep the metrics' labels few
	logins  *logins
	origins *http.CrossOriginProtection
	metrics *metrics

	closing   chan struct{}
	close     sync.Once
	streams   chan struct{} // holds one entry for each open event stream
	heartbeat time.Duration
	pace      time.Duration // between two reads of one event stream
}

// New makes an API. All of Options but the handlers are required.
func New(o Options) (*API, error) {
	if o.Fleet == nil || o.Log == nil {
		return nil, errors.New("api: a fleet and a logger are required")
	}
	a := &API{
		fleet: o.Fleet, log: o.Log, version: o.Version,
		paths:   map[string]bool{},
		logins:  newLogins(time.Now),
		origins: http.NewCrossOriginProtection(),
		metrics: newMetrics(o.Fleet.Stats, o.Version),
		closing: make(chan struct{}), streams: make(chan struct{}, 64),
		heartbeat: 15 * time.Second, pace: 250 * time.Millisecond,
	}
	e := echo.New()
	e.IPExtractor = echo.ExtractIPDirect()
	e.HTTPErrorHandler = a.answerError
	e.Use(a.observe, middleware.GzipWithConfig(middleware.GzipConfig{MinLength: 1024, Skipper: notCompressed}))
	limit := a.limitToken()
	for _, r := range a.routes(o) {
		h := r.handler
		if r.scope != "" {
			h = a.authenticated(r.scope, limit(h))
		}
		a.paths[r.path] = true
		e.Add(r.method, r.path, h)
		if r.method == http.MethodGet {
			e.Add(http.MethodHead, r.path, h)
		}
	}
	a.echo = e
	return a, nil
}

// Handler serves all routes of the API.
func (a *API) Handler() http.Handler { return a.echo }

// Close ends the event streams that are open, and new ones at once. For http.Server.RegisterOnShutdown.
func (a *API) Close() { a.close.Do(func() { close(a.closing) }) }

// Measure counts the requests to a handler that is not the API's, under the given route.
func (a *API) Measure(route string, h http.Handler) http.Handler { return a.metrics.measure(route, h) }

// Register adds metrics of others to GET /metrics.
func (a *API) Register(c ...prometheus.Collector) { a.metrics.registry.MustRegister(c...) }
