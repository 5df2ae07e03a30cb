package api

import (
	"net/url"
	"time"

	"plimsoll/server/rest"

	"github.com/labstack/echo/v4"
)

// ExemptionBody is what PUT /v1/exemptions/{device} takes.
type ExemptionBody struct {
	Until  time.Time `json:"until"`
	Reason string    `json:"reason"`
}

// UpdateBody is what PUT /v1/devices/{id}/update takes.
type UpdateBody struct {
	Reason string `json:"reason"`
}

func (a *API) listExemptions(c echo.Context) error { return paged(c, "exemptions", a.fleet.Exemptions) }

func (a *API) getExemption(c echo.Context) error { return one(c, a.fleet.Exemption) }

func (a *API) putExemption(c echo.Context) error {
	id, err := rest.Param(c, "id")
	if err != nil {
		return err
	}
	var in ExemptionBody
	given := func(obj map[string]any) []rest.FieldError { // a body that GET gave
		for _, known := range []string{"device", "serial", "name", "since", "by"} {
			delete(obj, known)
		}
		return nil
	}
	if err := rest.DecodeJudged(c, "exemption-write", &in, given, nil); err != nil {
		return err
	}
	res, err := a.fleet.PutExemption(c.Request().Context(), id, in.Until, in.Reason, rest.Origin(c))
	if err != nil {
		return err
	}
	if res.Created {
		c.Response().Header().Set(echo.HeaderLocation, "/v1/exemptions/"+url.PathEscape(res.Exemption.Device))
	}
	return rest.Answer(c, madeOrChanged(res.Created), res)
}

func (a *API) deleteExemption(c echo.Context) error { return order(c, a.fleet.DeleteExemption) }

func (a *API) putUpdate(c echo.Context) error {
	id, err := rest.Param(c, "id")
	if err != nil {
		return err
	}
	var in UpdateBody
	if err := rest.Decode(c, "update-write", &in); err != nil {
		return err
	}
	res, err := a.fleet.PutUpdateNow(c.Request().Context(), id, in.Reason, rest.Origin(c))
	if err != nil {
		return err
	}
	return rest.Answer(c, madeOrChanged(false), res)
}

func (a *API) deleteUpdate(c echo.Context) error { return order(c, a.fleet.DeleteUpdateNow) }
