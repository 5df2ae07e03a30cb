package api

import (
	"net/url"

	"plimsoll/server/rest"

	"github.com/labstack/echo/v4"

	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
	"plimsoll/server/fleet"
)

// FreezeBody is what PUT /v1/freezes/{name} takes.
type FreezeBody struct {
	From          string   `json:"from"` // the first day without deadlines, of the Mac's local calendar
	To            string   `json:"to"`   // the last one
	Reason        string   `json:"reason"`
	Groups        []string `json:"groups,omitempty"` // none: every Mac
	ExcludeGroups []string `json:"exclude_groups,omitempty"`
	Strict        bool     `json:"strict,omitempty"` // keeps away the deadlines of exploited vulnerabilities too
	rest.Confirmation
}

// freeze reads the body's days; a day that does not exist is a fault of its field.
func (b *FreezeBody) freeze(name string) (policy.Freeze, []rest.FieldError) {
	f := policy.Freeze{Name: name, Reason: b.Reason, Groups: b.Groups, ExcludeGroups: b.ExcludeGroups, Strict: b.Strict}
	var faults []rest.FieldError
	for _, d := range []struct {
		field, text string
		into        *release.Day
	}{{"from", b.From, &f.From}, {"to", b.To, &f.To}} {
		day, err := release.ParseDay(d.text)
		if err != nil {
			faults = append(faults, rest.FieldError{Field: d.field, Reason: "must be a day that exists, such as 2026-12-19"})
		}
		*d.into = day
	}
	return f, faults
}

func (a *API) listFreezes(c echo.Context) error { return paged(c, "freezes", a.fleet.Freezes) }

func (a *API) getFreeze(c echo.Context) error {
	name, err := rest.Param(c, "name")
	if err != nil {
		return err
	}
	f, etag, err := a.fleet.Freeze(c.Request().Context(), name)
	if err != nil {
		return err
	}
	return rest.Show(c, etag, f)
}

func (a *API) putFreeze(c echo.Context) error {
	name, err := rest.Param(c, "name")
	if err != nil {
		return err
	}
	var in FreezeBody
	write := func(o fleet.WriteOptions) (fleet.FreezeResult, error) {
		f, faults := in.freeze(name)
		if len(faults) > 0 {
			return fleet.FreezeResult{}, rest.Invalid(faults)
		}
		return a.fleet.PutFreeze(c.Request().Context(), f, o)
	}
	err = rest.DecodeJudged(c, "freeze-write", &in, rest.Taken("name", name, "created_at", "updated_at", "by"), func() error {
		_, err := write(fleet.WriteOptions{DryRun: true})
		return err
	})
	if err != nil {
		return err
	}
	o, err := rest.WriteOptions(c, in.Confirm)
	if err != nil {
		return err
	}
	res, err := write(o)
	if err != nil {
		return err
	}
	if o.DryRun {
		return rest.AnswerDryRun(c, res.Impact)
	}
	if res.Created {
		c.Response().Header().Set(echo.HeaderLocation, "/v1/freezes/"+url.PathEscape(name))
	}
	c.Response().Header().Set("ETag", res.ETag)
	return rest.Answer(c, madeOrChanged(res.Created), res)
}

func (a *API) deleteFreeze(c echo.Context) error {
	return a.delete(c, "name", a.fleet.DeleteFreeze)
}
