package api

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"plimsoll/server/rest"
)

func (a *API) getCAs(c echo.Context) error {
	list, err := a.fleet.DeviceCAs(c.Request().Context())
	if err != nil {
		return err
	}
	return rest.Show(c, "", list)
}

func (a *API) rotateCA(c echo.Context) error {
	o, err := rest.DeleteOptions(c)
	if err != nil {
		return err
	}
	list, err := a.fleet.RotateCA(c.Request().Context(), o)
	if err != nil {
		return err
	}
	return rest.Answer(c, http.StatusOK, list)
}
