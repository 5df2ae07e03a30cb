package api

import (
	"context"
	"net/http"

	"plimsoll/server/rest"

	"github.com/labstack/echo/v4"

	"plimsoll/declarations/plan"
	"plimsoll/server/fleet"
	"plimsoll/server/sheet"
	"plimsoll/status/compliance"
)

// sorts are the orders that a list of Macs has.
var sorts = []string{"serial", "deadline", "last_seen"}

func (a *API) listDevices(c echo.Context) error {
	q, err := deviceQuery(c)
	if err != nil {
		return err
	}
	page, err := a.fleet.Devices(c.Request().Context(), q)
	if err != nil {
		return err
	}
	return rest.List(c, "devices", page, sheet.Devices)
}

func deviceQuery(c echo.Context) (q fleet.DeviceQuery, err error) {
	if q.State, err = rest.QueryOneOf(c, "state", compliance.States); err != nil {
		return q, err
	}
	if q.Flag, err = rest.QueryOneOf(c, "flag", compliance.FlagNames); err != nil {
		return q, err
	}
	if q.Sort, err = rest.QueryOneOf(c, "sort", sorts); err != nil {
		return q, err
	}
	if q.Mechanism, err = rest.QueryOneOf(c, "mechanism", plan.MechanismNames); err != nil {
		return q, err
	}
	identity, err := rest.QueryOneOf(c, "identity", []string{"changed"})
	if err != nil {
		return q, err
	}
	q.IdentityChanged = identity != ""
	for name, field := range map[string]*string{
		"policy": &q.Policy, "group": &q.Group, "version": &q.Version, "model": &q.Model, "q": &q.Q, "ring": &q.Ring,
	} {
		if *field, err = rest.Query(c, name); err != nil {
			return q, err
		}
	}
	if q.SeenBefore, err = rest.QueryTime(c, "seen_before", false); err != nil {
		return q, err
	}
	if q.Enrolled, err = rest.QueryBool(c, "enrolled"); err != nil {
		return q, err
	}
	q.Limit, q.Cursor, err = rest.Paging(c)
	return q, err
}

// one answers a question about one Mac.
func one[T any](c echo.Context, ask func(context.Context, string) (T, error)) error {
	id, err := rest.Param(c, "id")
	if err != nil {
		return err
	}
	v, err := ask(c.Request().Context(), id)
	if err != nil {
		return err
	}
	return rest.Show(c, "", v)
}

func (a *API) getDevice(c echo.Context) error { return one(c, a.fleet.Device) }
func (a *API) getPlan(c echo.Context) error   { return one(c, a.fleet.Plan) }
func (a *API) getStatus(c echo.Context) error { return one(c, a.fleet.Status) }

func (a *API) getDeclarations(c echo.Context) error {
	at, err := rest.QueryTime(c, "at", true)
	if err != nil {
		return err
	}
	return one(c, func(ctx context.Context, id string) (fleet.ServedManifest, error) {
		return a.fleet.Declarations(ctx, id, at)
	})
}

func (a *API) getReport(c echo.Context) error {
	report, err := rest.Param(c, "report_id")
	if err != nil {
		return err
	}
	return one(c, func(ctx context.Context, id string) (fleet.Report, error) {
		return a.fleet.Report(ctx, id, report)
	})
}

func (a *API) listReports(c echo.Context) error {
	return listOfOne(c, "reports", a.fleet.Reports)
}

func (a *API) listDeviceEvents(c echo.Context) error {
	return listOfOne(c, "events", a.fleet.DeviceEvents)
}

func (a *API) listCommands(c echo.Context) error {
	return listOfOne(c, "commands", a.fleet.Commands)
}

func (a *API) getCommand(c echo.Context) error {
	uuid, err := rest.Param(c, "uuid")
	if err != nil {
		return err
	}
	return one(c, func(ctx context.Context, id string) (fleet.CommandAnswer, error) {
		return a.fleet.Command(ctx, id, uuid)
	})
}

// paged answers a page of a list of the whole server.
func paged[T any](c echo.Context, key string, ask func(context.Context, int, string) (fleet.Page[T], error)) error {
	limit, cursor, err := rest.Paging(c)
	if err != nil {
		return err
	}
	page, err := ask(c.Request().Context(), limit, cursor)
	if err != nil {
		return err
	}
	return rest.List(c, key, page, sheet.Table)
}

// listOfOne answers a page of a list that belongs to one Mac.
func listOfOne[T any](c echo.Context, key string, ask func(context.Context, string, int, string) (fleet.Page[T], error)) error {
	id, err := rest.Param(c, "id")
	if err != nil {
		return err
	}
	return paged(c, key, func(ctx context.Context, limit int, cursor string) (fleet.Page[T], error) {
		return ask(ctx, id, limit, cursor)
	})
}

func (a *API) syncDevice(c echo.Context) error   { return order(c, a.fleet.Sync) }
func (a *API) forgetDevice(c echo.Context) error { return order(c, a.fleet.Forget) }

// order does something to one Mac that answers nothing.
func order(c echo.Context, do func(ctx context.Context, id string, by fleet.Origin) error) error {
	id, err := rest.Param(c, "id")
	if err != nil {
		return err
	}
	if err := do(c.Request().Context(), id, rest.Origin(c)); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}
