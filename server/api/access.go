package api

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"plimsoll/server/rest"

	"github.com/labstack/echo/v4"

	"plimsoll/server/fleet"
)

func (a *API) listTokens(c echo.Context) error { return paged(c, "tokens", a.fleet.ListTokens) }

func (a *API) createToken(c echo.Context) error {
	var in TokenBody
	if err := rest.Decode(c, "token-write", &in); err != nil {
		return err
	}
	scopes := in.Scopes
	switch {
	case in.Scope == "" && scopes == nil:
		return rest.Invalid([]rest.FieldError{{Field: "scopes", Reason: "is required"}})
	case in.Scope != "" && scopes != nil:
		return rest.Invalid([]rest.FieldError{{Field: "scope", Reason: "must not be given beside scopes"}})
	case scopes == nil:
		scopes = []fleet.Scope{in.Scope}
	}
	t, err := a.fleet.CreateToken(c.Request().Context(), rest.Origin(c), fleet.TokenWish{
		Name: in.Name, Scopes: scopes, ExpiresAt: in.ExpiresAt,
	})
	if err != nil {
		return err
	}
	return rest.Answer(c, http.StatusCreated, t)
}

func (a *API) deleteToken(c echo.Context) error {
	name, err := rest.Param(c, "name")
	if err != nil {
		return err
	}
	if err := a.fleet.DeleteToken(c.Request().Context(), name, rest.Origin(c)); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

func (a *API) listCodes(c echo.Context) error { return paged(c, "enrollment_codes", a.fleet.ListCodes) }

func (a *API) createCode(c echo.Context) error {
	var in CodeBody
	// What is left out is not null: null and 0 ask for a code without end.
	limited := func(obj map[string]any) []rest.FieldError {
		if _, given := obj["expires_at"]; !given {
			obj["expires_at"] = a.fleet.CodeEnd().Format(time.RFC3339)
		}
		if _, given := obj["uses"]; !given {
			obj["uses"] = json.Number(strconv.Itoa(fleet.CodeUses))
		}
		return nil
	}
	err := rest.DecodeJudged(c, "code-write", &in, limited, func() error {
		return a.fleet.CheckCode(in.Label, in.ExpiresAt, in.Uses)
	})
	if err != nil {
		return err
	}
	code, err := a.fleet.CreateCode(c.Request().Context(), rest.Origin(c), in.Label, in.ExpiresAt, in.Uses)
	if err != nil {
		return err
	}
	return rest.Answer(c, http.StatusCreated, code)
}

func (a *API) deleteCode(c echo.Context) error {
	id, err := rest.Param(c, "id")
	if err != nil {
		return err
	}
	if err := a.fleet.DeleteCode(c.Request().Context(), id, rest.Origin(c)); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}
