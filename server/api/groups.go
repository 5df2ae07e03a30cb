package api

import (
	"fmt"
	"net/http"
	"net/url"

	"plimsoll/server/rest"

	"github.com/labstack/echo/v4"

	"plimsoll/server/fleet"
)

func (a *API) listGroups(c echo.Context) error { return paged(c, "groups", a.fleet.Groups) }

func (a *API) getGroup(c echo.Context) error {
	name, err := rest.Param(c, "name")
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
	return rest.Answer(c, http.StatusOK, g)
}

func (a *API) putGroup(c echo.Context) error {
	name, err := rest.Param(c, "name")
	if err != nil {
		return err
	}
	var in GroupBody
	err = rest.DecodeJudged(c, "group-write", &in, rest.Taken("name", name, "unknown_members"), func() error {
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
	o, err := rest.WriteOptions(c, in.Confirm)
	if err != nil {
		return err
	}
	g, created, impact, err := a.fleet.PutGroup(c.Request().Context(), name, in.Devices, o)
	if err != nil {
		return err
	}
	if o.DryRun {
		return rest.AnswerDryRun(c, impact)
	}
	if created {
		c.Response().Header().Set(echo.HeaderLocation, "/v1/groups/"+url.PathEscape(name))
	}
	c.Response().Header().Set("ETag", g.ETag)
	return rest.Answer(c, madeOrChanged(created), g)
}

func (a *API) editGroup(c echo.Context) error {
	name, err := rest.Param(c, "name")
	if err != nil {
		return err
	}
	var in GroupEditBody
	if err := rest.Decode(c, "group-edit", &in); err != nil {
		return err
	}
	if n := len(in.Add) + len(in.Remove); n > operatorMacs && !rest.Principal(c).May(fleet.ScopeAdmin) {
		return rest.Forbidden(
			fmt.Sprintf("this token may add and remove at most %d Macs at a time, not %d; admin is required", operatorMacs, n),
		)
	}
	o, err := rest.WriteOptions(c, in.Confirm)
	if err != nil {
		return err
	}
	g, impact, err := a.fleet.EditGroup(c.Request().Context(), name, in.Add, in.Remove, o)
	if err != nil {
		return err
	}
	if o.DryRun {
		return rest.AnswerDryRun(c, impact)
	}
	c.Response().Header().Set("ETag", g.ETag)
	return rest.Answer(c, http.StatusOK, g)
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
