package api

import (
	"errors"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"plimsoll/schemas"
)

func (a *API) health(c echo.Context) error {
	return answer(c, http.StatusOK, Health{Status: "ok"})
}

// ready answers 503 only when the store is not reachable (api.md 3).
func (a *API) ready(c echo.Context) error {
	r := a.fleet.Ready(c.Request().Context())
	if r.Ready {
		return answer(c, http.StatusOK, r)
	}
	// Nobody here has shown a token: hosts and files are for the log.
	why := errors.New(r.Store)
	r.Store = "not reachable"
	c.Response().Header().Set(echo.HeaderRetryAfter, "5")
	return errors.Join(answer(c, http.StatusServiceUnavailable, r), why)
}

func (a *API) getVersion(c echo.Context) error {
	return answer(c, http.StatusOK, Version{Version: a.version})
}

func (a *API) openapi(c echo.Context) error {
	return revalidate(c, "", echo.MIMEApplicationJSON, schemas.OpenAPI())
}

func (a *API) schema(c echo.Context) error {
	file, err := param(c, "file")
	if err != nil {
		return err
	}
	name, ok := strings.CutSuffix(file, ".json")
	if !ok {
		return noSuchRoute()
	}
	b, err := schemas.JSON(name)
	if err != nil {
		return &problem{status: http.StatusNotFound, code: "not_found", text: err.Error()}
	}
	return revalidate(c, "", "application/schema+json", b)
}
