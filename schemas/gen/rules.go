package main

import (
	"math"
	"reflect"

	"github.com/invopop/jsonschema"

	"plimsoll/declarations"
	"plimsoll/declarations/plan"
	"plimsoll/declarations/release"
	"plimsoll/schemas"
	"plimsoll/server/fleet"
	"plimsoll/status/compliance"
)

// mapped is the schema of the types whose JSON is not what reflection sees.
func mapped(t reflect.Type) *jsonschema.Schema {
	switch t {
	case reflect.TypeFor[release.Version]():
		return &jsonschema.Schema{Type: "string", Pattern: schemas.VersionPattern, Examples: []any{"26.6.1"}}
	case reflect.TypeFor[declarations.Local]():
		return &jsonschema.Schema{Type: "string", Pattern: schemas.LocalPattern, Examples: []any{"2026-12-01T12:00:00"}}
	case reflect.TypeFor[release.Day]():
		return &jsonschema.Schema{Extras: object{"type": []any{"string", "null"}, "format": "date"}}
	case reflect.TypeFor[release.Kind]():
		return enum(release.KindOS, release.KindBSI)
	case reflect.TypeFor[fleet.Scope]():
		return enum(fleet.Scopes...)
	case reflect.TypeFor[plan.Outcome]():
		return enum(plan.Unmanaged, plan.Unknown, plan.Unsupported, plan.Held, plan.Exempt, plan.Targeted, plan.Satisfied)
	}
	return nil
}

func enum[T ~string](values ...T) *jsonschema.Schema {
	s := &jsonschema.Schema{Type: "string"}
	for _, v := range values {
		s.Enum = append(s.Enum, string(v))
	}
	return s
}

// rules are what the Go types cannot say, by definition and property. What depends on more than one field, on the
// catalogue or on the clock is the use cases' business.
var rules = map[string]func(object){
	"Policy.name":                   name,
	"Policy.label":                  text(0, 200),
	"Policy.priority":               between(math.MinInt32, math.MaxInt32),
	"Assign.groups":                 list(1000, text(1, 255)),
	"Assign.exclude_groups":         list(1000, text(1, 255)),
	"Assign.when":                   text(0, 4000),
	"PolicyOS.track":                pattern(schemas.TrackPattern),
	"PolicyOS.upgrade":              oneOf("enforce", "self_service", "hold"),
	"PolicyOS.upgrade_within_days":  between(1, 365),
	"Updates.mode":                  oneOf("automatic", "minimum", "exact", "none"),
	"Updates.within_days":           between(1, 365),
	"Updates.exploited_within_days": between(1, 365),
	"Updates.time":                  pattern(schemas.TimePattern),
	"Updates.min_age_days":          between(0, 90),
	// The bounds of rings are checked with the policy, which names the ring.
	"Ring.within_days":               between(math.MinInt32, math.MaxInt32),
	"Ring.min_age_days":              between(math.MinInt32, math.MaxInt32),
	"Ring.percent":                   between(-1000, 1000),
	"Gate.max_bad_percent":           between(-1000, 1000),
	"Gate.min_macs":                  between(math.MinInt32, math.MaxInt32),
	"Updates.versions":               list(20, nil),
	"Updates.build":                  text(1, 32),
	"BackgroundSecurity.mode":        oneOf("automatic", "none"),
	"BackgroundSecurity.within_days": between(1, 365),
	"BackgroundSecurity.time":        pattern(schemas.TimePattern),
	"Policy.notice_days":             between(0, 90),
	"Delay.max_hours":                between(0, 24),
	"Policy.details_url":             both(text(0, 2000), pattern(schemas.DetailsPattern)),
	"Deferrals.MajorPeriodInDays":    between(1, 90),
	"Deferrals.MinorPeriodInDays":    between(1, 90),
	"Deferrals.SystemPeriodInDays":   between(1, 90),
	"GroupWrite.devices":             list(200_000, member),
	"GroupEdit.add":                  list(200_000, member),
	"GroupEdit.remove":               list(200_000, member),
	"HoldWrite.reason":               text(1, 1000),
	"HoldWrite.successors":           func(p object) { p["default"] = true },
	"HoldWrite.until":                nullable,
	"FreezeWrite.from":               pattern(schemas.DatePattern),
	"FreezeWrite.to":                 pattern(schemas.DatePattern),
	"FreezeWrite.reason":             text(1, 500),
	"RingOpen.ring":                  name,
	"RingOpen.reason":                text(1, 500),
	"ExemptionWrite.reason":          text(1, 500),
	"UpdateWrite.reason":             text(1, 500),
	"ImportWrite.ids":                list(200_000, text(1, 256)),
	"PauseWrite.reason":              text(1, 1000),
	"TokenWrite.name":                pattern(schemas.TokenNamePattern),
	"TokenWrite.scopes":              func(p object) { p["minItems"], p["maxItems"], p["uniqueItems"] = 1, len(fleet.Scopes), true },
	"TokenWrite.expires_at":          nullable,
	"CodeWrite.label":                text(0, 200),
	"CodeWrite.expires_at":           nullable,
	"CodeWrite.uses":                 between(0, math.MaxInt32),
	"Device.state":                   states,
	"Device.mechanism":               oneOf(words(plan.MechanismNames)...),
	"Device.flags":                   list(0, oneOf(compliance.FlagNames...)),
	"ExplainedLane.lane":             oneOf(plan.Patch.String(), plan.Upgrade.String(), plan.BSI.String()),
	"ExplainedRelease.role":          oneOf("target", "missed", "ignored"),
	"Release.kind":                   oneOf(string(release.KindOS), string(release.KindBSI)),
	"Health.status":                  oneOf("ok"),
}

func words[T ~string](values []T) []string {
	list := make([]string, 0, len(values))
	for _, v := range values {
		list = append(list, string(v))
	}
	return list
}

func states(p object) {
	all := []string{""} // of a Mac that is not enrolled
	for _, s := range compliance.States {
		all = append(all, string(s))
	}
	oneOf(all...)(p)
}

var name = pattern(schemas.NamePattern)

var member = text(1, 256)

func both(a, b func(object)) func(object) {
	return func(p object) { a(p); b(p) }
}

func between(low, high int) func(object) {
	return func(p object) { p["minimum"], p["maximum"] = low, high }
}

func text(low, high int) func(object) {
	return func(p object) {
		if low > 0 {
			p["minLength"] = low
		}
		p["maxLength"] = high
	}
}

func pattern(re string) func(object) {
	return func(p object) { p["pattern"] = re }
}

func oneOf(values ...string) func(object) {
	return func(p object) {
		list := make([]any, 0, len(values))
		for _, v := range values {
			list = append(list, v)
		}
		p["enum"] = list
	}
}

// list bounds an array (0: unbounded) and applies a rule to its items.
func list(high int, item func(object)) func(object) {
	return func(p object) {
		if high > 0 {
			p["maxItems"] = high
		}
		if item != nil {
			item(p["items"].(object))
		}
	}
}
