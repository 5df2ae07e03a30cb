package schemas_test

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"plimsoll/schemas"
)

// everywhere calls fn for every object of a JSON document, with its path.
func everywhere(v any, at string, fn func(at string, o map[string]any)) {
	switch v := v.(type) {
	case map[string]any:
		fn(at, v)
		for k, e := range v {
			everywhere(e, at+"/"+k, fn)
		}
	case []any:
		for _, e := range v {
			everywhere(e, at+"/-", fn)
		}
	}
}

// The generators of clients (oapi-codegen and ogen were tried: make clients) give up at references into a schema, at two components whose
// names are one in Go, at anyOf, at an enumerated parameter called operation, and at objects that say nothing.
func TestDocumentSuitsGenerators(t *testing.T) {
	var doc map[string]any
	if err := json.Unmarshal(schemas.OpenAPI(), &doc); err != nil {
		t.Fatal(err)
	}
	whole := regexp.MustCompile(`^#/components/[a-z]+[A-Za-z]*/[A-Za-z0-9_-]+$`)
	everywhere(doc, "", func(at string, o map[string]any) {
		if ref, ok := o["$ref"].(string); ok && !whole.MatchString(ref) {
			t.Errorf("%s refers to %s, which is a part of a component", at, ref)
		}
		if _, ok := o["anyOf"]; ok {
			t.Errorf("%s has anyOf", at)
		}
		if o["type"] == "object" && o["properties"] == nil && o["additionalProperties"] == nil {
			t.Errorf("%s is an object that says nothing of its members", at)
		}
		if schema, _ := o["schema"].(map[string]any); o["in"] == "query" && o["name"] == "operation" && schema["enum"] != nil {
			t.Errorf("%s is an enumerated parameter called operation", at)
		}
	})
	seen := map[string]string{}
	components, _ := doc["components"].(map[string]any)
	for kind, named := range components {
		if kind == "securitySchemes" || kind == "headers" || kind == "responses" {
			continue // of these no types are made
		}
		for name := range named.(map[string]any) {
			plain := strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(name))
			if other, ok := seen[plain]; ok {
				t.Errorf("%s %s and %s are one name in Go", kind, name, other)
			}
			seen[plain] = kind + " " + name
		}
	}
}

// keywords are those of JSON Schema that ours use: a validator that is strict refuses any other, and formats that it does not know.
var keywords = []string{
	"$schema", "$id", "$ref", "$defs", "type", "properties", "required", "additionalProperties", "items", "enum", "const", "oneOf", "pattern", "format",
	"minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "uniqueItems", "description", "title", "default", "examples", "patternProperties",
	"propertyNames", "contentEncoding",
}

// Validators in strict mode, such as ajv, take the schemas; and every pattern has words for whoever does not match it.
func TestSchemasAreStrict(t *testing.T) {
	var check func(name, at string, v any)
	check = func(name, at string, v any) {
		o, ok := v.(map[string]any)
		if !ok {
			return
		}
		for k, e := range o {
			if !slices.Contains(keywords, k) {
				t.Errorf("%s%s has the keyword %s", name, at, k)
			}
			switch k {
			case "properties", "$defs", "patternProperties":
				for p, s := range e.(map[string]any) {
					check(name, at+"/"+p, s)
				}
			case "items", "additionalProperties", "propertyNames":
				check(name, at+"/"+k, e)
			case "oneOf":
				for _, s := range e.([]any) {
					check(name, at+"/"+k, s)
				}
			case "format":
				if !slices.Contains([]any{"date", "date-time", "uri"}, e) {
					t.Errorf("%s%s has the format %v", name, at, e)
				}
			case "pattern":
				if schemas.Words(e.(string)) == "" {
					t.Errorf("%s%s has the pattern %v without words", name, at, e)
				}
			}
		}
	}
	for _, name := range schemas.Names() {
		b, err := schemas.JSON(name)
		if err != nil {
			t.Fatal(err)
		}
		var doc any
		if err := json.Unmarshal(b, &doc); err != nil {
			t.Fatal(err)
		}
		check(name, "", doc)
	}
}

func TestLocalPattern(t *testing.T) {
	re := regexp.MustCompile(schemas.LocalPattern)
	for text, want := range map[string]bool{
		"2026-12-01T12:00:00": true, "2028-02-29T00:00:00": true, "2000-02-29T23:59:59": true, "2026-04-30T12:00:00": true, "2026-12-31T12:00:00": true,
		"2026-02-29T12:00:00": false, "2100-02-29T12:00:00": false, "2026-04-31T12:00:00": false, "2026-02-30T12:00:00": false, "2026-13-01T12:00:00": false,
		"2026-00-01T12:00:00": false, "2026-01-00T12:00:00": false, "2026-01-01T24:00:00": false, "2026-01-01T12:60:00": false, "2026-01-01T12:00:60": false,
		"2026-12-01T12:00:00Z": false, "2026-12-01 12:00:00": false, "2026-12-01T12:00": false, "2026-12-01T12:00:00.5": false, "x2026-12-01T12:00:00": false,
	} {
		if re.MatchString(text) != want {
			t.Errorf("%s: %v, want %v", text, !want, want)
		}
	}
}
