package api

import (
	"fmt"
	"net/http"
	"net/url"

	"github.com/labstack/echo/v4"

	"plimsoll/server/fleet"
	"plimsoll/server/sheet"
)

func (a *API) listGroups(c echo.Context) error {
	limit, cursor, err := paging(c)
	if err != nil {
		return err
	}
	page, err := a.fleet.Groups(c.Request().Context(), limit, cursor)
	if err != nil {
		return err
	}
	return list(c, "groups", page, sheet.Table)
}

func (a *API) getGroup(c echo.Context) error {
	name, err := param(c, "name")
	if err != nil {
		return err
	}
	g, err := a.fleet.Group(c.Request().Context(), name)
	if err != nil {
		return err
	}
	// The ETag is the group's, for If-Match; how many of its members are unknown changes without it, so that there is no 304.
	h := c.Response().Header()
	h.Set("ETag", g.ETag)
	h.Set(echo.HeaderCacheControl, "private, no-cache")
	return answer(c, http.StatusOK, g)
}

func (a *API) putGroup(c echo.Context) error {
	name, err := param(c, "name")
	if err != nil {
		return err
	}
	var in GroupBody
	err = decodeJudged(c, "group-write", &in, taken("name", name, "unknown_members"), func() error {
		_, _, _, err := a.fleet.PutGroup(
			c.Request().Context(),
			name,
			nil,
			fleet.WriteOptions{DryRun: true},
		) // the devices are the schema's business
		return err
	})
	if err != nil {
		return err
	}
	o, err := writeOptions(c, in.Confirm)
	if err != nil {
		return err
	}
	g, created, impact, err := a.fleet.PutGroup(c.Request().Context(), name, in.Devices, o)
	if err != nil {
		return err
	}
	if o.DryRun {
		return dryRun(c, impact)
	}
	if created {
		c.Response().Header().Set(echo.HeaderLocation, "/v1/groups/"+url.PathEscape(name))
	}
	c.Response().Header().Set("ETag", g.ETag)
	return answer(c, madeOrChanged(created), g)
}

func (a *API) editGroup(c echo.Context) error {
	name, err := param(c, "name")
	if err != nil {
		return err
	}
	var in GroupEditBody
	if err := decode(c, "group-edit", &in); err != nil {
		return err
	}
	if n := len(in.Add) + len(in.Remove); n > operatorMacs && !principal(c).May(fleet.ScopeAdmin) {
		return forbidden(
			fmt.Sprintf("this token may add and remove at most %d Macs at a time, not %d; admin is required", operatorMacs, n),
		)
	}
	o, err := writeOptions(c, in.Confirm)
	if err != nil {
		return err
	}
	g, impact, err := a.fleet.EditGroup(c.Request().Context(), name, in.Add, in.Remove, o)
	if err != nil {
		return err
	}
	if o.DryRun {
		return dryRun(c, impact)
	}
	c.Response().Header().Set("ETag", g.ETag)
	return answer(c, http.StatusOK, g)
}

func (a *API) deleteGroup(c echo.Context) error {
	return a.delete(c, "name", a.fleet.DeleteGroup)
}

// operatorMacs is how many Macs an operator adds to a group and removes from it at a time.
const operatorMacs = 10

func madeOrChanged(created bool) int {
	if created {
		return http.StatusCreated
	}
	return http.StatusOK
}
