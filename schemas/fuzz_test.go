package schemas_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plimsoll/schemas"
)

// What Parse reads is JSON, survives being written and read again, and can be held against any schema.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{`{}`, `{"name":"a","priority":1.0}`, `[1e2,0.5,-0,9007199254740993,null,true,"\ud800"]`, `{"a":{"a":1,"a":2}}`, "\xff", `1 2`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		v, err := schemas.Parse(body)
		if err != nil {
			return
		}
		if !json.Valid(body) {
			t.Fatalf("%q was read, but is not JSON", body)
		}
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		again, err := schemas.Parse(b)
		if err != nil {
			t.Fatalf("%q was read, but %q was not: %v", body, b, err)
		}
		if diff := cmp.Diff(v, again); diff != "" {
			t.Fatal(diff)
		}
		schemas.ValidateValue("policy-write", v)
	})
}
