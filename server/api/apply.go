package api

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
	"plimsoll/schemas"
	"plimsoll/server/fleet"
	"plimsoll/server/rest"
)

// The most that an apply takes.
const (
	maxApply   = 16 << 20 // bytes
	maxObjects = 5000
)

// kindSchemas are the schemas of the bodies by kind, and whether the name stands in the body.
var kindSchemas = map[string]struct {
	schema string
	named  bool
}{
	"policy": {"policy-write", true}, "group": {"group-write", false},
	"hold": {"hold-write", false}, "freeze": {"freeze-write", false},
}

// apply makes the server's objects those of files. A dry run changes nothing, and the scope read is enough for it.
func (a *API) apply(c echo.Context) error {
	o, err := rest.WriteOptions(c, false)
	if err != nil {
		return err
	}
	if !o.DryRun && !rest.Principal(c).May(fleet.ScopeAdmin) {
		return rest.Forbidden("this token may only try an apply (dry_run=true); admin is required")
	}
	prune, err := rest.QueryBool(c, "prune")
	if err != nil {
		return err
	}
	objects, confirm, faults, err := applyBody(c)
	if err != nil {
		return err
	}
	if len(faults) > 0 {
		return rest.Invalid(faults)
	}
	o.Confirm = o.Confirm || confirm
	res, err := a.fleet.Apply(c.Request().Context(), objects, prune != nil && *prune, o)
	if err != nil {
		return err
	}
	if res.Objects == nil {
		res.Objects = []fleet.Applied{}
	}
	if res.Warnings == nil {
		res.Warnings = []policy.Reason{}
	}
	c.Response().Header().Set("ETag", `"`+res.Revision+`"`)
	return rest.Answer(c, http.StatusOK, res)
}

func applyBody(c echo.Context) (objects []fleet.Object, confirm bool, faults []rest.FieldError, err error) {
	b, err := rest.ReadUpTo(c, maxApply)
	if err != nil {
		return nil, false, nil, err
	}
	v, err := schemas.Parse(b)
	if err != nil {
		return nil, false, nil, &rest.Problem{Status: http.StatusBadRequest, Code: "bad_json", Text: err.Error()}
	}
	body, ok := v.(map[string]any)
	list, isList := body["objects"].([]any)
	if !ok || !isList {
		return nil, false, []rest.FieldError{{Field: "objects", Reason: "must be a list of objects"}}, nil
	}
	for name := range body {
		if name != "objects" && name != "confirm" {
			faults = append(faults, rest.FieldError{Field: name, Reason: "is not a known field"})
		}
	}
	if given, there := body["confirm"]; there {
		if confirm, ok = given.(bool); !ok {
			faults = append(faults, rest.FieldError{Field: "confirm", Reason: "must be true or false"})
		}
	}
	if len(list) > maxObjects {
		return nil, false, []rest.FieldError{{Field: "objects", Reason: fmt.Sprintf("must be at most %d", maxObjects)}}, nil
	}
	for i, v := range list {
		object, faulty := applyObject(v)
		for _, f := range faulty {
			field := strings.TrimSuffix(fmt.Sprintf("objects.%d.%s", i, f.Field), ".")
			faults = append(faults, rest.FieldError{Field: field, Reason: f.Reason})
		}
		objects = append(objects, object)
	}
	return objects, confirm, faults, nil
}

// applyObject reads an object by the schema of its kind.
func applyObject(v any) (o fleet.Object, faults []rest.FieldError) {
	body, ok := v.(map[string]any)
	if !ok {
		return o, []rest.FieldError{{Reason: "must be an object"}}
	}
	kind, _ := body["kind"].(string)
	name, _ := body["name"].(string)
	known, ok := kindSchemas[kind]
	if !ok {
		faults = append(faults, rest.FieldError{Field: "kind", Reason: "must be one of policy, group, hold and freeze"})
	}
	if name == "" {
		faults = append(faults, rest.FieldError{Field: "name", Reason: "must be given, as a text"})
	}
	if len(faults) > 0 {
		return o, faults
	}
	delete(body, "kind")
	if !known.named {
		delete(body, "name")
	}
	if _, there := body["confirm"]; there {
		faults = append(faults, rest.FieldError{Field: "confirm", Reason: "is not a known field"})
		delete(body, "confirm")
	}
	for _, f := range schemas.ValidateValue(known.schema, body) {
		faults = append(faults, rest.FieldError(f))
	}
	if len(faults) > 0 {
		return o, faults
	}
	var err error
	switch kind {
	case "policy":
		o.Policy = new(policy.Policy)
		err = schemas.Decode(body, o.Policy)
	case "group":
		var in GroupBody
		err = schemas.Decode(body, &in)
		o.Group = &policy.Group{Name: name, Devices: slices.Clone(in.Devices)}
	case "hold":
		var in HoldBody
		err = schemas.Decode(body, &in)
		o.Hold = &release.Hold{Subject: name, Reason: in.Reason, Successors: in.Successors == nil || *in.Successors}
		if in.Until != nil {
			o.Hold.Until = in.Until.UTC()
		}
	case "freeze":
		var in FreezeBody
		err = schemas.Decode(body, &in)
		f, faulty := in.freeze(name)
		o.Freeze, faults = &f, faulty
	}
	if err != nil {
		faults = append(faults, rest.FieldError{Reason: err.Error()})
	}
	return o, faults
}
