package api

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"plimsoll/server/rest"

	"github.com/labstack/echo/v4"

	"plimsoll/schemas"
	"plimsoll/server/fleet"
)

func (a *API) health(c echo.Context) error {
	return rest.Answer(c, http.StatusOK, Health{Status: "ok"})
}

// pinged is the last ping of the store. It is shared: a ping is a durable write, and whoever may ask for one need not
// show a token.
type pinged struct {
	every time.Duration // at most

	mu    sync.Mutex
	began time.Time
	found fleet.Readiness
}

// readiness is what a ping found that began after the call: all who wait share it.
func (a *API) readiness(ctx context.Context) fleet.Readiness {
	p := &a.pinged
	came := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.began.After(came) {
		return p.found
	}
	timer := time.NewTimer(p.every - time.Since(p.began))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return p.found // nobody hears it
	}
	p.began = time.Now()
	p.found = a.fleet.Ready(context.WithoutCancel(ctx)) // others wait for it too: it does not end with the one who began it
	return p.found
}

// ready answers 503 only when the store is not reachable (docs/api.md 3). Nobody here has shown a token: hosts and
// files are for the log.
func (a *API) ready(c echo.Context) error {
	r := a.readiness(c.Request().Context())
	if r.Catalogue.Error != "" {
		r.Catalogue.Error = "the source could not be read; the log says why"
	}
	if strings.HasPrefix(r.Catalogue.Refused, "fetch ") { // names the source; what a feed lacks is said otherwise
		r.Catalogue.Refused = "what the source holds cannot be used; the log says why"
	}
	if r.Ready {
		return rest.Answer(c, http.StatusOK, r)
	}
	why := errors.New(r.Store)
	r.Store = "not reachable"
	c.Response().Header().Set(echo.HeaderRetryAfter, "5")
	return errors.Join(rest.Answer(c, http.StatusServiceUnavailable, r), why)
}

func (a *API) getVersion(c echo.Context) error {
	return rest.Answer(c, http.StatusOK, Version{Version: a.version, Format: a.fleet.StoreFormat()})
}

func (a *API) openapi(c echo.Context) error {
	return rest.Revalidate(c, "", echo.MIMEApplicationJSON, schemas.OpenAPI())
}

func (a *API) schema(c echo.Context) error {
	file, err := rest.Param(c, "file")
	if err != nil {
		return err
	}
	name, ok := strings.CutSuffix(file, ".json")
	if !ok {
		return rest.NoSuchRoute()
	}
	b, err := schemas.JSON(name)
	if err != nil {
		return &rest.Problem{Status: http.StatusNotFound, Code: "not_found", Text: err.Error()}
	}
	return rest.Revalidate(c, "", "application/schema+json", b)
}
