package api

import (
	"net/http"
	"slices"

	"github.com/labstack/echo/v4"

	"plimsoll/server/rest"
)

// ImportBody is what POST /v1/devices/import takes.
type ImportBody struct {
	IDs []string `json:"ids"`
}

// importDevices adds Macs of another MDM server (rules 16).
func (a *API) importDevices(c echo.Context) error {
	var in ImportBody
	if err := rest.Decode(c, "import-write", &in); err != nil {
		return err
	}
	done, err := a.fleet.Import(c.Request().Context(), in.IDs, rest.Origin(c))
	if err != nil {
		return err
	}
	return rest.Answer(c, http.StatusOK, done)
}

// keptElsewhere are the routes of what the other MDM server does beside which this one stands (rules 16).
var keptElsewhere = []string{
	"/v1/pushcert", "/v1/push/:ids", "/v1/enqueue/:ids", "/v1/enrollment-codes", "/v1/enrollment-codes/:id",
	"/v1/ca", "/v1/ca/rotate",
}

// notHere answers for a route of the other MDM server; the handler of all others is theirs.
func (a *API) notHere(path string, h echo.HandlerFunc) echo.HandlerFunc {
	if !a.fleet.IsCompanion() || !slices.Contains(keptElsewhere, path) {
		return h
	}
	return func(echo.Context) error {
		return &rest.Problem{
			Status: http.StatusConflict, Code: "companion", Text: "the Macs are enrolled with another MDM server, which does this",
		}
	}
}
