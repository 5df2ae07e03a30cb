package api

import (
	"net/http"

	"plimsoll/server/rest"

	"github.com/labstack/echo/v4"
)

// RingOpenBody is what POST /v1/policies/{name}/rings/{build}/open takes.
type RingOpenBody struct {
	// Ring is opened for the release, and so are those before it.
	Ring   string `json:"ring"`
	Reason string `json:"reason"`
	rest.Confirmation
}

func (a *API) getRings(c echo.Context) error {
	name, err := rest.Param(c, "name")
	if err != nil {
		return err
	}
	rings, err := a.fleet.Rings(c.Request().Context(), name)
	if err != nil {
		return err
	}
	return rest.Show(c, "", rings)
}

func (a *API) openRing(c echo.Context) error {
	name, err := rest.Param(c, "name")
	if err != nil {
		return err
	}
	build, err := rest.Param(c, "build")
	if err != nil {
		return err
	}
	var in RingOpenBody
	if err := rest.Decode(c, "ring-open", &in); err != nil {
		return err
	}
	o, err := rest.WriteOptions(c, in.Confirm)
	if err != nil {
		return err
	}
	res, err := a.fleet.OpenRing(c.Request().Context(), name, build, in.Ring, in.Reason, o)
	if err != nil {
		return err
	}
	if o.DryRun {
		return rest.AnswerDryRun(c, res.Impact)
	}
	return rest.Answer(c, http.StatusOK, res)
}
