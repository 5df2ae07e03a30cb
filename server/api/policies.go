package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"plimsoll/server/rest"

	"github.com/labstack/echo/v4"

	"plimsoll/declarations/policy"
	"plimsoll/server/fleet"
)

func (a *API) listPolicies(c echo.Context) error { return paged(c, "policies", a.fleet.Policies) }

func (a *API) getPolicy(c echo.Context) error {
	name, err := rest.Param(c, "name")
	if err != nil {
		return err
	}
	p, etag, err := a.fleet.Policy(c.Request().Context(), name)
	if err != nil {
		return err
	}
	return rest.Show(c, etag, p)
}

func (a *API) createPolicy(c echo.Context) error { return a.writePolicy(c, "") }

func (a *API) putPolicy(c echo.Context) error {
	name, err := rest.Param(c, "name")
	if err != nil {
		return err
	}
	return a.writePolicy(c, name)
}

// writePolicy creates a policy, or with a name creates or replaces that one.
func (a *API) writePolicy(c echo.Context, name string) error {
	p, confirm, err := policyBody(c, name, func(p policy.Policy) error {
		_, err := a.fleet.PutPolicy(c.Request().Context(), p, fleet.WriteOptions{DryRun: true})
		return err
	})
	if err != nil {
		return err
	}
	o, err := rest.WriteOptions(c, confirm)
	if err != nil {
		return err
	}
	o.Create = name == "" || c.Request().Header.Get("If-None-Match") == "*"
	res, err := a.fleet.PutPolicy(c.Request().Context(), p, o)
	if err != nil {
		return err
	}
	if o.DryRun {
		return rest.AnswerDryRun(c, res.Impact)
	}
	if res.Warnings == nil {
		res.Warnings = []policy.Reason{}
	}
	status := http.StatusOK
	if res.Created {
		status = http.StatusCreated
		c.Response().Header().Set(echo.HeaderLocation, "/v1/policies/"+url.PathEscape(res.Policy.Name))
	}
	if res.ETag != "" {
		c.Response().Header().Set("ETag", res.ETag)
	}
	return rest.Answer(c, status, res)
}

// policyBody reads a policy, and whether it is confirmed. The name in the path, if any, may be left out of the body.
// judge is decodeJudged's.
func policyBody(c echo.Context, name string, judge func(policy.Policy) error) (policy.Policy, bool, error) {
	var in PolicyBody
	err := rest.DecodeJudged(c, "policy-write", &in, func(obj map[string]any) []rest.FieldError {
		if name == "" {
			return nil
		}
		switch given, ok := obj["name"].(string); {
		case obj["name"] == nil:
			obj["name"] = name
		case ok && given != name:
			return []rest.FieldError{{Field: "name", Reason: fmt.Sprintf("must be %q, the name in the path, or be left out", name)}}
		}
		return nil
	}, func() error {
		if in.Updates != nil && in.Updates.Mode == "" {
			in.OS = nil // what it may say hangs on the mode
		}
		return judge(in.Policy)
	})
	return in.Policy, in.Confirm, err
}

func (a *API) deletePolicy(c echo.Context) error {
	return a.delete(c, "name", a.fleet.DeletePolicy)
}

// deletion is a guarded deletion.
type deletion = func(ctx context.Context, name string, o fleet.WriteOptions) (*fleet.Impact, error)

// delete runs a guarded deletion of what a parameter of the path names.
func (a *API) delete(c echo.Context, key string, do deletion) error {
	name, err := rest.Param(c, key)
	if err != nil {
		return err
	}
	o, err := rest.DeleteOptions(c)
	if err != nil {
		return err
	}
	impact, err := do(c.Request().Context(), name, o)
	return rest.Deleted(c, o, impact, err)
}
