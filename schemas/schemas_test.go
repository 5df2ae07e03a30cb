package schemas_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"

	"plimsoll/schemas"
)

func TestValidate(t *testing.T) {
	type faults = []schemas.FieldError
	for _, tc := range []struct {
		name, schema, body string
		want               faults
	}{
		{"the smallest policy", "policy-write", `{"name":"a","priority":1}`, nil},
		{"the page's example", "policy-write", `{
			"name": "engineering", "label": "Engineering Macs", "priority": 100,
			"assign": {"groups": ["eng"], "exclude_groups": ["lab"], "when": "model startsWith 'Mac16'"},
			"os": {"track": "26", "upgrade": "enforce", "upgrade_within_days": 60},
			"updates": {"mode": "automatic", "within_days": 14, "exploited_within_days": 3, "time": "12:00", "min_age_days": 0},
			"background_security": {"mode": "automatic", "within_days": 2, "time": "12:00"},
			"notice_days": 5, "delay": {"max_hours": 24}, "details_url": "https://it.example.com/updates",
			"settings": {"AutomaticActions": {"Download": "AlwaysOn"}}}`, nil},
		{"with confirm", "policy-write", `{"name":"a","priority":1,"confirm":true}`, nil},
		{"what is stored has no confirm", "policy", `{"name":"a","priority":1,"confirm":true}`, faults{{"confirm", "is not a known field"}}},
		{"two required fields missing", "policy-write", `{}`, faults{{"name", "is required"}, {"priority", "is required"}}},
		{"an unknown field at the top", "policy-write", `{"name":"a","priority":1,"prio":2}`, faults{{"prio", "is not a known field"}}},
		{"names are told apart by case", "policy-write", `{"name":"a","priority":1,"Priority":2}`, faults{{"Priority", "is not a known field"}}},
		{
			"everything wrong at once", "policy-write",
			`{"name":"a","priority":"high","updates":{"mode":"often","within_days":0,"time":"25:00","colour":1},"notice_days":91,"settings":{"AutomaticActions":{"InstallSecurityUpdates":"AlwaysOn"}}}`,
			faults{
				{"notice_days", "must be between 0 and 90"},
				{"priority", "must be an integer, not a string"},
				{"settings.AutomaticActions.InstallSecurityUpdates", "is not a known field"},
				{"updates.colour", "is not a known field"},
				{"updates.mode", `must be one of "automatic", "minimum", "exact", "none"`},
				{"updates.time", "must be a time of day such as 12:00"},
				{"updates.within_days", "must be between 1 and 365"},
			},
		},
		{"a fraction is no integer", "policy-write", `{"name":"a","priority":1.5}`, faults{{"priority", "must be an integer, not a number"}}},
		{"a whole number with a point is one", "policy-write", `{"name":"a","priority":1.0}`, nil},
		{"null is not left out", "policy-write", `{"name":"a","priority":1,"updates":null}`, faults{{"updates", "must be an object, not null"}}},
		{"an entry of a list", "policy-write", `{"name":"a","priority":1,"updates":{"mode":"minimum","versions":["26.6","x"]}}`, faults{{"updates.versions.1", "must be a version such as 26.6.1"}}},
		{"a deadline with a zone", "policy-write", `{"name":"a","priority":1,"updates":{"mode":"minimum","deadline":"2026-12-01T12:00:00Z"}}`, faults{{"updates.deadline", "must be a local time such as 2026-12-01T12:00:00, without zone"}}},
		{"a day that does not exist", "policy-write", `{"name":"a","priority":1,"updates":{"mode":"minimum","deadline":"2026-02-30T12:00:00"}}`, faults{{"updates.deadline", "must be a local time such as 2026-12-01T12:00:00, without zone"}}},
		{"a name with a slash", "policy-write", `{"name":"a/b","priority":1}`, faults{{"name", "must be 1 to 63 characters long, begin with a letter or a digit, and have only a-z, 0-9, dots, hyphens and underscores"}}},
		{"a name of dots", "policy-write", `{"name":"..","priority":1}`, faults{{"name", "must be 1 to 63 characters long, begin with a letter or a digit, and have only a-z, 0-9, dots, hyphens and underscores"}}},
		{"a priority beyond 32 bits", "policy-write", `{"name":"a","priority":2147483648}`, faults{{"priority", "must be between -2147483648 and 2147483647"}}},
		{"a list in place of an object", "policy-write", `[]`, faults{{"body", "must be an object, not an array"}}},
		{"a hold until let go", "hold-write", `{"reason":"breaks VPN","until":null}`, nil},
		{"a hold until a time", "hold-write", `{"reason":"breaks VPN","until":"2026-12-01T12:00:00Z","successors":false}`, nil},
		{"a hold without reason", "hold-write", `{"reason":"","until":"tomorrow"}`, faults{{"reason", "must not be empty"}, {"until", "must be a time with zone such as 2026-12-01T12:00:00Z"}}},
		{"a hold until a number", "hold-write", `{"reason":"x","until":5}`, faults{{"until", "must be a string or null, not a number"}}},
		{"a token of a scope that does not exist", "token-write", `{"name":"ci","scope":"root"}`, faults{{"scope", `must be one of "admin", "read", "operator", "metrics", "mdm", "backup"`}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := schemas.Validate(tc.schema, []byte(tc.body))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tc := range []struct{ name, body, want string }{
		{"nothing", "", "empty"},
		{"space", " \n", "empty"},
		{"half an object", `{"a":1`, "ends in the middle"},
		{"no value", `{"a":}`, "not JSON"},
		{"two values", `{} {}`, "behind"},
		{"text behind", `{} x`, "behind"},
		{"a closing bracket behind", `{}]`, "behind"},
		{"a name given twice", `{"a":{"b":1,"b":2}}`, `"b" is given twice`},
		{"not UTF-8", "{\"a\":\"\xff\"}", "UTF-8"},
		{"too deep", strings.Repeat("[", 65) + strings.Repeat("]", 65), "nested deeper than 64"},
		{"far too deep", strings.Repeat("[", 1<<20), "nested deeper than 64"},
		{"a number beyond every range", `{"a":1e999999999}`, "out of range"},
		{"a word", "hello", "not JSON"},
		{"a form", "name=a&priority=1", "not JSON"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := schemas.Parse([]byte(tc.body))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
}

// Every number that a body may carry has bounds, so that what validates fits into the Go types.
func TestWrittenIntegersHaveBounds(t *testing.T) {
	for _, name := range schemas.Names() {
		if !strings.HasSuffix(name, "-write") && name != "group-edit" {
			continue
		}
		b, err := schemas.JSON(name)
		if err != nil {
			t.Fatal(err)
		}
		var doc any
		if err := json.Unmarshal(b, &doc); err != nil {
			t.Fatal(err)
		}
		var walk func(path string, v any)
		walk = func(path string, v any) {
			switch v := v.(type) {
			case map[string]any:
				if v["type"] == "integer" && (v["minimum"] == nil || v["maximum"] == nil) {
					t.Errorf("%s: %s has no bounds", name, path)
				}
				if v["type"] == "number" && (v["minimum"] == nil || v["maximum"] == nil) {
					t.Errorf("%s: %s is a number without bounds", name, path)
				}
				for k, e := range v {
					walk(path+"/"+k, e)
				}
			case []any:
				for _, e := range v {
					walk(path+"/[]", e)
				}
			}
		}
		walk("", doc)
	}
}

func TestJSONKeepsToItsFolder(t *testing.T) {
	for _, name := range []string{"", "..", "../openapi", "v1/policy", "policy.json", "Policy", "nothing"} {
		if b, err := schemas.JSON(name); err == nil {
			t.Errorf("JSON(%q) gave %d bytes, want an error", name, len(b))
		}
	}
	if !slices.Contains(schemas.Names(), "policy") {
		t.Error("there is no schema called policy")
	}
}

func TestOpenAPIDocumentIsValid(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData(schemas.OpenAPI())
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	if err := doc.Validate(ctx, openapi3.IsOpenAPI31OrLater()); err != nil {
		t.Error(err)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1") {
		t.Errorf("openapi is %s, want 3.1", doc.OpenAPI)
	}
}
