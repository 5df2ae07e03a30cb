package api

import (
	"plimsoll/server/rest"

	"github.com/labstack/echo/v4"

	"plimsoll/declarations/plan"
)

// Mechanisms is the table that says how updates and upgrades reach a Mac, by the macOS that it runs (rules 14).
type Mechanisms struct {
	Mechanisms []plan.MechanismRow `json:"mechanisms"` // newest macOS first
}

func (a *API) getMechanisms(c echo.Context) error {
	return rest.Show(c, "", Mechanisms{plan.Mechanisms})
}
