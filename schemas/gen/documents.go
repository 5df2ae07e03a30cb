package main

import (
	"reflect"

	"github.com/invopop/jsonschema"

	"plimsoll/declarations"
	"plimsoll/declarations/plan"
	"plimsoll/declarations/policy"
	"plimsoll/server/api"
	"plimsoll/server/fleet"
	"plimsoll/server/fleet/audit"
	"plimsoll/server/rest"
	"plimsoll/status/patching"
)

// document is one schema: of a type, or of a list of that type under a key.
type document struct {
	of  any
	key string // of a list: {"<key>": [of, …], "next_cursor": "…"}
}

func (d document) name() string {
	n := typeName(reflect.TypeOf(d.of))
	if d.key != "" {
		n += "List"
	}
	return n
}

func (d document) file() string { return jsonschema.ToSnakeCase(d.name()) }

// documents are the schemas that are served. What they refer to is part of them.
func documents() []document {
	return []document{
		// taken
		{of: api.PolicyBody{}},
		{of: api.GroupBody{}},
		{of: api.GroupEditBody{}},
		{of: api.HoldBody{}},
		{of: api.FreezeBody{}},
		{of: api.RingOpenBody{}},
		{of: api.ExemptionBody{}},
		{of: api.UpdateBody{}},
		{of: api.ImportBody{}},
		{of: api.PauseBody{}},
		{of: api.TokenBody{}},
		{of: api.CodeBody{}},
		{of: rest.Confirmation{}},
		// given
		{of: policy.Policy{}},
		{of: declarations.Settings{}},
		{of: fleet.PolicyResult{}},
		{of: fleet.ApplyResult{}},
		{of: rest.DryRun{}},
		{of: rest.ErrorBody{}},
		{of: fleet.Group{}},
		{of: fleet.Hold{}},
		{of: policy.Freeze{}},
		{of: fleet.FreezeResult{}},
		{of: fleet.Rings{}},
		{of: fleet.RingResult{}},
		{of: fleet.Exemption{}},
		{of: fleet.ExemptionResult{}},
		{of: fleet.UpdateResult{}},
		{of: fleet.Imports{}},
		{of: fleet.Pause{}},
		{of: fleet.Release{}},
		{of: fleet.RefreshResult{}},
		{of: fleet.Device{}},
		{of: fleet.AuditHead{}},
		{of: plan.Explanation{}},
		{of: fleet.ServedManifest{}},
		{of: fleet.StatusItems{}},
		{of: fleet.ReportInfo{}},
		{of: fleet.Report{}},
		{of: fleet.CommandAnswer{}},
		{of: fleet.Event{}},
		{of: fleet.Compliance{}},
		{of: fleet.HistoryDay{}},
		{of: patching.Patching{}},
		{of: api.Mechanisms{}},
		{of: fleet.TokenInfo{}},
		{of: fleet.NewToken{}},
		{of: fleet.CodeInfo{}},
		{of: fleet.DeviceCAs{}},
		{of: fleet.Readiness{}},
		{of: api.Version{}},
		{of: api.Health{}},
		// lists
		{of: policy.Policy{}, key: "policies"},
		{of: fleet.Group{}, key: "groups"},
		{of: fleet.Hold{}, key: "holds"},
		{of: policy.Freeze{}, key: "freezes"},
		{of: fleet.AuditEntry{}, key: "entries"},
		{of: fleet.Exemption{}, key: "exemptions"},
		{of: fleet.Release{}, key: "releases"},
		{of: fleet.Device{}, key: "devices"},
		{of: fleet.ReportInfo{}, key: "reports"},
		{of: fleet.Command{}, key: "commands"},
		{of: fleet.Event{}, key: "events"},
		{of: fleet.HistoryDay{}, key: "history"},
		{of: fleet.TokenInfo{}, key: "tokens"},
		{of: fleet.CodeInfo{}, key: "enrollment_codes"},
	}
}

// names are the names that a type has in the schemas where it is not its own.
var names = map[reflect.Type]string{
	reflect.TypeFor[policy.OS]():         "PolicyOS",
	reflect.TypeFor[plan.Explanation]():  "Plan",
	reflect.TypeFor[fleet.AuditEntry]():  "AuditEntry",
	reflect.TypeFor[audit.Change]():      "AuditChange",
	reflect.TypeFor[patching.Release]():  "PatchingRelease",
	reflect.TypeFor[api.PolicyBody]():    "PolicyWrite",
	reflect.TypeFor[api.GroupBody]():     "GroupWrite",
	reflect.TypeFor[api.GroupEditBody](): "GroupEdit",
	reflect.TypeFor[api.HoldBody]():      "HoldWrite",
	reflect.TypeFor[api.FreezeBody]():    "FreezeWrite",
	reflect.TypeFor[api.RingOpenBody]():  "RingOpen",
	reflect.TypeFor[api.ExemptionBody](): "ExemptionWrite",
	reflect.TypeFor[api.UpdateBody]():    "UpdateWrite",
	reflect.TypeFor[api.ImportBody]():    "ImportWrite",
	reflect.TypeFor[api.PauseBody]():     "PauseWrite",
	reflect.TypeFor[api.TokenBody]():     "TokenWrite",
	reflect.TypeFor[api.CodeBody]():      "CodeWrite",
	reflect.TypeFor[rest.ErrorBody]():    "Error",
}

func typeName(t reflect.Type) string {
	if n, ok := names[t]; ok {
		return n
	}
	return t.Name()
}
