package schemas

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// faults flattens a validation error into one entry for each fault.
func (s *set) faults(e *jsonschema.ValidationError) []FieldError {
	switch k := e.ErrorKind.(type) {
	case *kind.AdditionalProperties:
		list := make([]FieldError, 0, len(k.Properties))
		for _, p := range k.Properties {
			list = append(list, FieldError{Field: field(e.InstanceLocation, p), Reason: "is not a known field"})
		}
		return list
	case *kind.Required:
		list := make([]FieldError, 0, len(k.Missing))
		for _, p := range k.Missing {
			list = append(list, FieldError{Field: field(e.InstanceLocation, p), Reason: "is required"})
		}
		return list
	case *kind.AnyOf, *kind.OneOf:
		// Ours are "this or null"; that it is not null either is no news.
		var list []FieldError
		for _, c := range e.Causes {
			if t, ok := c.ErrorKind.(*kind.Type); ok && len(t.Want) == 1 && t.Want[0] == "null" {
				continue
			}
			list = append(list, s.faults(c)...)
		}
		if list != nil {
			return list
		}
	}
	if len(e.Causes) > 0 {
		var list []FieldError
		for _, c := range e.Causes {
			list = append(list, s.faults(c)...)
		}
		return list
	}
	return []FieldError{{Field: field(e.InstanceLocation), Reason: s.reason(e)}}
}

func field(at []string, more ...string) string {
	path := strings.Join(append(at[:len(at):len(at)], more...), ".")
	if path == "" {
		return "body"
	}
	return path
}

// reason is the fault in words that continue a sentence beginning with the field's name.
func (s *set) reason(e *jsonschema.ValidationError) string {
	sch := s.at(e.SchemaURL)
	switch k := e.ErrorKind.(type) {
	case *kind.Type:
		return "must be " + types(k.Want) + ", not " + types([]string{k.Got})
	case *kind.Enum:
		list := make([]string, 0, len(k.Want))
		for _, w := range k.Want {
			list = append(list, fmt.Sprintf("%q", w))
		}
		return "must be one of " + strings.Join(list, ", ")
	case *kind.Minimum, *kind.Maximum:
		if w := between(sch, "minimum", "maximum", ""); w != "" {
			return w
		}
	case *kind.MinLength, *kind.MaxLength:
		if k, ok := k.(*kind.MinLength); ok && k.Got == 0 {
			return "must not be empty"
		}
		if w := between(sch, "minLength", "maxLength", " characters long"); w != "" {
			return w
		}
	case *kind.MinItems, *kind.MaxItems:
		if w := between(sch, "minItems", "maxItems", " entries long"); w != "" {
			return w
		}
	case *kind.Pattern:
		if w, ok := words[k.Want]; ok {
			return w
		}
	case *kind.Format:
		if k.Want == "date-time" {
			return "must be a time with zone such as 2026-12-01T12:00:00Z"
		}
	case *kind.UniqueItems:
		return fmt.Sprintf("has the same entry twice, at %d and %d", k.Duplicates[0], k.Duplicates[1])
	}
	// The library's own words stand behind the place: "at '/updates/time': …".
	_, text, found := strings.Cut(e.Error(), "': ")
	if !found {
		return "is not valid"
	}
	return text
}

func between(sch map[string]any, low, high, unit string) string {
	l, hasLow := sch[low].(json.Number)
	h, hasHigh := sch[high].(json.Number)
	switch {
	case hasLow && hasHigh:
		return fmt.Sprintf("must be between %s and %s%s", l, h, unit)
	case hasLow:
		return fmt.Sprintf("must be at least %s%s", l, unit)
	case hasHigh:
		return fmt.Sprintf("must be at most %s%s", h, unit)
	}
	return ""
}

func types(names []string) string {
	list := make([]string, 0, len(names))
	null := false
	for _, n := range names {
		switch n {
		case "null":
			null = true
		case "array", "integer", "object":
			list = append(list, "an "+n)
		default:
			list = append(list, "a "+n)
		}
	}
	if null {
		list = append(list, "null")
	}
	return strings.Join(list, " or ")
}
