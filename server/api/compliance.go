package api

import (
	"plimsoll/server/rest"

	"github.com/labstack/echo/v4"

	"plimsoll/server/sheet"
)

func (a *API) getCompliance(c echo.Context) error {
	v, err := a.fleet.Compliance(c.Request().Context())
	if err != nil {
		return err
	}
	return rest.Show(c, v.ETag, v)
}

func (a *API) getHistory(c echo.Context) error {
	name, err := rest.Query(c, "policy")
	if err != nil {
		return err
	}
	days, err := rest.QueryInt(c, "days", 1, 3660, 30)
	if err != nil {
		return err
	}
	limit, cursor, err := rest.Paging(c)
	if err != nil {
		return err
	}
	if c.QueryParam("limit") == "" { // days limits already
		limit = days
	}
	page, err := a.fleet.History(c.Request().Context(), name, days, limit, cursor)
	if err != nil {
		return err
	}
	return rest.List(c, "history", page, sheet.History)
}
