package schemas

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// FieldError is one fault of a body, by the JSON path of the field ("updates.within_days", "assign.groups.0").
// A fault of the body as a whole has the field "body".
type FieldError struct {
	Field  string `json:"field"`
	Reason string `json:"reason"`
}

// Validate checks a body against the schema of that name and lists every fault. The error is for a body that is not JSON.
func Validate(name string, body []byte) ([]FieldError, error) {
	v, err := Parse(body)
	if err != nil {
		return nil, err
	}
	return ValidateValue(name, v), nil
}

// ValidateValue checks what Parse gave against the schema of that name and lists every fault, sorted by field.
// There must be a schema of that name.
func ValidateValue(name string, v any) []FieldError {
	err := compiled().of(name).Validate(v)
	if err == nil {
		return nil
	}
	var faults []FieldError
	if ve, ok := err.(*jsonschema.ValidationError); ok {
		faults = compiled().faults(ve)
	} else {
		faults = []FieldError{{Field: "body", Reason: err.Error()}}
	}
	slices.SortStableFunc(faults, func(a, b FieldError) int { return strings.Compare(a.Field, b.Field) })
	return slices.Compact(faults)
}

// set is all schemas, ready to validate; raw keeps them as data, to find the words for a fault.
type set struct {
	byName map[string]*jsonschema.Schema
	raw    map[string]any // by $id
}

func (s *set) of(name string) *jsonschema.Schema {
	sch, ok := s.byName[name]
	if !ok {
		panic("schemas: no schema is called " + name)
	}
	return sch
}

// compiled compiles on first use: the generator imports packages that import this one while the files are being replaced.
// What is embedded compiles, by test, so a failure is a mistake of the programmer.
var compiled = sync.OnceValue(func() *set {
	s := &set{byName: map[string]*jsonschema.Schema{}, raw: map[string]any{}}
	c := jsonschema.NewCompiler()
	register(c)
	for _, name := range Names() {
		b, err := JSON(name)
		if err != nil {
			panic("schemas: " + err.Error())
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
		if err != nil {
			panic("schemas: " + name + ": " + err.Error())
		}
		id := Base + name + ".json"
		if err := c.AddResource(id, doc); err != nil {
			panic("schemas: " + name + ": " + err.Error())
		}
		s.raw[id] = doc
	}
	for _, name := range Names() {
		s.byName[name] = c.MustCompile(Base + name + ".json")
	}
	return s
})

// register makes a compiler check formats.
func register(c *jsonschema.Compiler) {
	c.AssertFormat()
	c.RegisterFormat(&jsonschema.Format{Name: "date-time", Validate: dateTime})
}

// at is the subschema that a fault's URL points to, nil if there is none.
func (s *set) at(url string) map[string]any {
	id, pointer, _ := strings.Cut(url, "#")
	v := s.raw[id]
	for part := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		if part == "" {
			continue
		}
		part = strings.ReplaceAll(strings.ReplaceAll(part, "~1", "/"), "~0", "~")
		switch at := v.(type) {
		case map[string]any:
			v = at[part]
		case []any:
			var i int
			if _, err := fmt.Sscanf(part, "%d", &i); err != nil || i < 0 || i >= len(at) {
				return nil
			}
			v = at[i]
		default:
			return nil
		}
	}
	m, _ := v.(map[string]any)
	return m
}

// dateTime is what encoding/json reads into a time.Time, which is narrower than RFC 3339: no leap seconds.
func dateTime(v any) error {
	s, ok := v.(string)
	if !ok {
		return nil
	}
	return new(time.Time).UnmarshalText([]byte(s))
}

// Decode brings what Parse gave, and the schema let pass, into a Go value.
func Decode(v, into any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode what was parsed: %w", err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("decode what was validated: %w", err)
	}
	return nil
}
