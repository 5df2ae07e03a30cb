package api

import (
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"plimsoll/server/rest"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"
)

// observe gives every request its id and every answer its headers, turns errors and panics into answers, counts, and logs once.
func (a *API) observe(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		begun := time.Now()
		a.metrics.InFlight.Inc()
		defer a.metrics.InFlight.Dec()
		id := requestID(c.Request().Header.Get(echo.HeaderXRequestID))
		h := c.Response().Header()
		h.Set(echo.HeaderXRequestID, id)
		h.Set(echo.HeaderXContentTypeOptions, "nosniff")
		h.Set(echo.HeaderXFrameOptions, "DENY")
		h.Set(echo.HeaderReferrerPolicy, "no-referrer")
		h.Set(echo.HeaderContentSecurityPolicy, "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
		h.Set(echo.HeaderCacheControl, "no-store")

		err := a.recovered(next, c)
		if err != nil {
			a.answerError(err, c)
		}
		status := c.Response().Status
		route := c.Path()
		if !a.paths[route] {
			route = "none"
		}
		took := time.Since(begun)
		a.metrics.Count(c.Request().Method, route, status, took)
		log := a.log.With(
			"request_id",
			id,
			"method",
			c.Request().Method,
			"path",
			c.Request().URL.Path,
			"status",
			status,
			"by",
			rest.Principal(c).Name,
			"took",
			took,
		)
		var p *rest.Problem
		if errors.As(err, &p) && p.Cause != nil {
			err = p.Cause
		}
		switch {
		case c.Request().Context().Err() != nil:
			log.Debug("request given up by its client", "error", err)
		case status >= http.StatusInternalServerError:
			log.Error("request failed", "error", err)
		default:
			log.Debug("request", "error", err)
		}
		return nil
	}
}

// recovered turns a panic into an error.
func (a *API) recovered(next echo.HandlerFunc, c echo.Context) (err error) {
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

// requestID is the client's own id when it is one that can stand in a log, else a new one.
func requestID(given string) string {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:/+=@-"
	if given != "" && len(given) <= 128 && strings.Trim(given, letters) == "" {
		return given
	}
	return uuid.NewString()
}

// notCompressed: a stream must not wait for a buffer, and /metrics compresses by itself.
func notCompressed(c echo.Context) bool {
	return c.Path() == "/metrics" || c.Path() == "/v1/backup" || rest.Prefers(c, "text/event-stream")
}

// answerError answers with an error.
func (a *API) answerError(err error, c echo.Context) {
	// NanoMDM's clients wait for the challenge before they send a password.
	if err := rest.AnswerError(c, err, slices.Contains(nanomdmPaths, c.Path())); err != nil {
		id := c.Response().Header().Get(echo.HeaderXRequestID)
		a.log.Debug("the client left before its error was written", "request_id", id, "error", err)
	}
}
