package api

import (
	"net/http"

	"plimsoll/server/rest"

	"github.com/labstack/echo/v4"

	"plimsoll/server/fleet"
	"plimsoll/server/sheet"
)

func (a *API) listReleases(c echo.Context) error {
	limit, cursor, err := rest.Paging(c)
	if err != nil {
		return err
	}
	asOf, err := rest.QueryTime(c, "as_of", true)
	if err != nil {
		return err
	}
	page, err := a.fleet.Releases(c.Request().Context(), asOf, limit, cursor)
	if err != nil {
		return err
	}
	return rest.List(c, "releases", page, sheet.Table)
}

func (a *API) refresh(c echo.Context) error {
	res, err := a.fleet.Refresh(c.Request().Context(), rest.Origin(c))
	if err != nil {
		return err
	}
	return rest.Answer(c, http.StatusOK, res)
}

func (a *API) listHolds(c echo.Context) error { return paged(c, "holds", a.fleet.Holds) }

func (a *API) putHold(c echo.Context) error {
	subject, err := rest.Param(c, "subject")
	if err != nil {
		return err
	}
	var in HoldBody
	write := func(o fleet.WriteOptions) (fleet.Hold, bool, *fleet.Impact, error) {
		successors := in.Successors == nil || *in.Successors
		return a.fleet.PutHold(c.Request().Context(), subject, in.Reason, successors, in.Until, o)
	}
	err = rest.DecodeJudged(c, "hold-write", &in, rest.Taken("subject", subject, "since_at", "by", "releases"), func() error {
		_, _, _, err := write(fleet.WriteOptions{DryRun: true})
		return err
	})
	if err != nil {
		return err
	}
	o, err := rest.WriteOptions(c, in.Confirm)
	if err != nil {
		return err
	}
	h, created, impact, err := write(o)
	if err != nil {
		return err
	}
	if o.DryRun {
		return rest.AnswerDryRun(c, impact)
	}
	return rest.Answer(c, madeOrChanged(created), h)
}

func (a *API) deleteHold(c echo.Context) error {
	return a.delete(c, "subject", a.fleet.DeleteHold)
}

func (a *API) getPause(c echo.Context) error {
	p, err := a.fleet.Pause(c.Request().Context())
	if err != nil {
		return err
	}
	return rest.Show(c, "", p)
}

func (a *API) setPause(c echo.Context) error {
	var in PauseBody
	if err := rest.Decode(c, "pause-write", &in); err != nil {
		return err
	}
	o, err := rest.WriteOptions(c, in.Confirm)
	if err != nil {
		return err
	}
	p, impact, err := a.fleet.SetPause(c.Request().Context(), in.Reason, o)
	if err != nil {
		return err
	}
	if o.DryRun {
		return rest.AnswerDryRun(c, impact)
	}
	return rest.Answer(c, http.StatusOK, p)
}

func (a *API) clearPause(c echo.Context) error {
	o, err := rest.DeleteOptions(c)
	if err != nil {
		return err
	}
	p, impact, err := a.fleet.ClearPause(c.Request().Context(), o)
	if err != nil {
		return err
	}
	if o.DryRun {
		return rest.AnswerDryRun(c, impact)
	}
	return rest.Answer(c, http.StatusOK, p)
}
