package rest

import (
	"errors"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"plimsoll/schemas"
	"plimsoll/server/fleet"
)

// salvage decodes what is left of a body without its faulty fields; false when nothing can be.
func salvage(obj map[string]any, faults []FieldError, into any) bool {
	kind := reflect.TypeOf(into).Elem()
	for _, f := range faults {
		put(obj, f.Field, nil)
		// An empty list or object, where there should be one, is nearer to what was meant than none.
		for _, empty := range []any{[]any{}, map[string]any{}} {
			if schemas.Decode(alone(f.Field, empty), reflect.New(kind).Interface()) == nil {
				put(obj, f.Field, empty)
				break
			}
		}
	}
	return schemas.Decode(obj, into) == nil
}

// alone is an object that has nothing but one field.
func alone(path string, value any) any {
	name, rest, more := strings.Cut(path, ".")
	if more {
		value = alone(rest, value)
	}
	return map[string]any{name: value}
}

// put sets a field of an object by its JSON path, where there is one. To encoding/json nil is the same as none, and
// keeps the places of a list.
func put(v any, path string, value any) {
	name, rest, more := strings.Cut(path, ".")
	switch at := v.(type) {
	case map[string]any:
		if _, ok := at[name]; ok && more {
			put(at[name], rest, value)
		} else if ok {
			at[name] = value
		}
	case []any:
		if i, err := strconv.Atoi(name); err == nil && i >= 0 && i < len(at) && more {
			put(at[i], rest, value)
		} else if err == nil && i >= 0 && i < len(at) {
			at[i] = value
		}
	}
}

// others are the faults that a use case found beside those that are known. What it says of a field that was left out
// for its fault, or of what is in it, is no news.
func others(known []FieldError, err error) []FieldError {
	var fe *fleet.Error
	if !errors.As(err, &fe) || !errors.Is(fe.Kind, fleet.ErrInvalid) {
		return nil
	}
	var list []FieldError
	for _, f := range fe.Fields {
		if !slices.ContainsFunc(
			known,
			func(k FieldError) bool { return f.Field == k.Field || strings.HasPrefix(f.Field, k.Field+".") },
		) {
			list = append(list, FieldError{Field: f.Field, Reason: f.Reason})
		}
	}
	return list
}
