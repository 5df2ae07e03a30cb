package api

import (
	"fmt"
	"net/http"
	"time"

	"plimsoll/server/rest"

	"github.com/labstack/echo/v4"

	"plimsoll/server/fleet"
)

// backup streams a backup of the store. When it fails on the way the connection is cut, so that nobody takes what came
// for the whole.
func (a *API) backup(c echo.Context) error {
	select {
	case a.backups <- struct{}{}:
		defer func() { <-a.backups }()
	default:
		return &rest.Problem{
			Status: http.StatusTooManyRequests,
			Code:   "rate_limited",
			Text:   "another backup is being written; one at a time",
			Retry:  30,
		}
	}
	h := c.Response().Header()
	h.Set(echo.HeaderContentType, "application/octet-stream")
	h.Set(
		echo.HeaderContentDisposition,
		fmt.Sprintf(`attachment; filename="plimsoll-%s.backup"`, time.Now().UTC().Format("20060102T150405Z")),
	)
	if c.Request().Method == http.MethodHead {
		return c.NoContent(http.StatusOK)
	}
	_, err := a.fleet.Backup(
		c.Request().Context(),
		c.Response(),
		fleet.BackupOptions{Version: a.version, Recipients: a.recipients, By: rest.Origin(c)},
	)
	if err == nil {
		return nil
	}
	if !c.Response().Committed {
		h.Del(echo.HeaderContentType)
		h.Del(echo.HeaderContentDisposition)
		return err
	}
	a.log.Error("a backup was broken off", "error", err)
	panic(http.ErrAbortHandler)
}
