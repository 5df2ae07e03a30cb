package api

import (
	"plimsoll/server/rest"

	"github.com/labstack/echo/v4"

	"plimsoll/server/fleet"
)

// getPatching answers a patch report. The same question about a closed day has the same bytes, and so the same ETag, for ever.
func (a *API) getPatching(c echo.Context) error {
	var q fleet.PatchingQuestion
	for name, value := range map[string]*string{
		"release": &q.Release, "from": &q.From, "to": &q.To, "policy": &q.Policy, "group": &q.Group, "sla": &q.SLA, "as_of": &q.AsOf,
	} {
		v, err := rest.Query(c, name)
		if err != nil {
			return err
		}
		*value = v
	}
	report, err := a.fleet.Patching(c.Request().Context(), q)
	if err != nil {
		return err
	}
	return rest.Show(c, "", report)
}
