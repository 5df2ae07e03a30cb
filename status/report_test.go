package status

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestParseRefuses(t *testing.T) {
	tests := []struct{ name, body, want string }{
		{"nothing", "", "not JSON"},
		{"white space", " \n", "not JSON"},
		{"truncated", `{"StatusItems":{"device":`, "not JSON"},
		{"two reports", `{} {}`, "not JSON"},
		{"not JSON", `<plist/>`, "not JSON"},
		{"byte order mark", "\ufeff{}", "not JSON"},
		{"array", `[{}]`, "an array, not an object"},
		{"string", `"report"`, "a string, not an object"},
		{"number", `17`, "a number, not an object"},
		{"boolean", `true`, "a boolean, not an object"},
		{"null", `null`, "null, not an object"},
		{"deeper than encoding/json reads", `{"a":` + strings.Repeat("[", 10001) + strings.Repeat("]", 10001) + `}`, "exceeded max depth"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := Parse([]byte(tt.body))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %+v, error %v, want an error with %q", r, err, tt.want)
			}
		})
	}
}

func TestParseItems(t *testing.T) {
	const dev, state = "device.operating-system.version", "softwareupdate.install-state"
	tests := []struct {
		name, body string
		want       map[string]string
		odd        []string
		unknown    []string
	}{
		{name: "empty", body: `{}`},
		{name: "no errors", body: `{"StatusItems":{"softwareupdate":{"install-state":"none"}}}`, want: map[string]string{state: `"none"`}},
		{name: "no items", body: `{"Errors":[]}`},
		{name: "another section", body: `{"StatusItems":{},"Extras":{"a":1},"Errors":[]}`},
		{name: "small letters", body: `{"statusItems":{"softwareupdate":{"install-state":"none"}}}`, want: map[string]string{state: `"none"`}},
		{name: "items are no object", body: `{"StatusItems":[1]}`, odd: []string{"StatusItems: wanted an object, got an array"}},
		{name: "items are null", body: `{"StatusItems":null,"Errors":null,"FullReport":null}`},
		{name: "full report is a word", body: `{"FullReport":"true","StatusItems":{}}`, odd: []string{"FullReport: wanted a boolean, got a string"}},
		{
			name: "a known item of a wrong type",
			body: `{"StatusItems":{"softwareupdate":{"install-state":7,"device-id":"J413AP"},"passcode":{"is-present":"yes"}}}`,
			want: map[string]string{"softwareupdate.device-id": `"J413AP"`},
			odd:  []string{"softwareupdate.install-state: wanted a string, got a number", "passcode.is-present: wanted a boolean, got a string"},
		},
		{
			name: "a section of a wrong type",
			body: `{"StatusItems":{"softwareupdate":"none","device":{"model":[]},"passcode":null}}`,
			odd:  []string{"softwareupdate: wanted an object, got a string", "device.model: wanted an object, got an array"},
		},
		{
			name: "null is no value",
			body: `{"StatusItems":{"softwareupdate":{"install-state":null,"pending-version":{"os-version":null,"build-version":"25G83"}}}}`,
			want: map[string]string{state: `null`, "softwareupdate.pending-version": `{"build-version":"25G83"}`},
		},
		{
			name:    "an enumeration that nobody knows",
			body:    `{"StatusItems":{"softwareupdate":{"install-state":"pondering","install-reason":{"reason":["declaration","boredom"]}}}}`,
			want:    map[string]string{state: `"pondering"`, "softwareupdate.install-reason": `{"reason":["declaration","boredom"]}`},
			unknown: []string{"softwareupdate.install-state=pondering", "softwareupdate.install-reason=boredom"},
		},
		{name: "waiting is known", body: `{"StatusItems":{"softwareupdate":{"install-state":"waiting"}}}`, want: map[string]string{state: `"waiting"`}},
		{
			name:    "items that nobody knows",
			body:    `{"StatusItems":{"device":{"colour":{"lid":"silver","keys":{"top":["black"]}}},"weather":3,"empty":{}}}`,
			want:    map[string]string{"device.colour.lid": `"silver"`, "device.colour.keys.top": `["black"]`, "weather": `3`},
			unknown: []string{"device.colour.lid", "device.colour.keys.top", "weather"},
		},
		{
			name: "dotted names",
			body: `{"StatusItems":{"softwareupdate.install-state":"none","device":{"operating-system.version":"26.4"}}}`,
			want: map[string]string{state: `"none"`, dev: `"26.4"`},
		},
		{
			name: "names that are none",
			body: `{"StatusItems":{"":1,"device":{"":2},"softwareupdate":{"install-state":"none"},"` + strings.Repeat("x", 300) + `":1}}`,
			want: map[string]string{state: `"none"`},
			odd:  []string{": not a name", "device.: not a name", strings.Repeat("x", 40) + ": not a name"},
		},
		{
			name: "inside an item", body: `{"StatusItems":{"device":{"model.identifier.x":1}}}`,
			odd: []string{"device.model.identifier.x: inside an item"},
		},
		{
			name: "an item given twice: the later counts",
			body: `{"StatusItems":{"softwareupdate":{"install-state":"none","install-state":"failed"}}}`,
			want: map[string]string{state: `"failed"`},
			odd:  []string{"softwareupdate.install-state: given twice"},
		},
		{
			name: "sections given twice are one",
			body: `{"StatusItems":{"device":{"operating-system":{"version":"26.4"}}},"StatusItems":{"device":{"operating-system":{"version":"26.5","build-version":"25F71"}}}}`,
			want: map[string]string{dev: `"26.5"`, "device.operating-system.build-version": `"25F71"`},
			odd:  []string{"StatusItems: given twice", dev + ": given twice"},
		},
		{
			name: "a member given twice",
			body: `{"StatusItems":{"softwareupdate":{"failure-reason":{"count":1,"reason":"x","count":2}}}}`,
			want: map[string]string{"softwareupdate.failure-reason": `{"count":2,"reason":"x"}`},
			odd:  []string{"softwareupdate.failure-reason: member given twice"},
		},
		{
			name:    "a value and a section of one name",
			body:    `{"StatusItems":{"a":{"b":1,"c":2},"a":{"b":{"d":3}}}}`,
			want:    map[string]string{"a.b.d": `3`, "a.c": `2`},
			odd:     []string{"a.b.d: both a value and a section"},
			unknown: []string{"a.b", "a.c", "a.b.d"},
		},
		{
			name: "values that cannot be used",
			body: `{"StatusItems":{"device":{"operating-system":{"version":"27.0 beta","build-version":"` + strings.Repeat("9", 257) + `","supplemental":{"extra-version":"(beta)"}}}}}`,
			odd: []string{
				dev + ": cannot be used: 27.0 beta",
				"device.operating-system.build-version: cannot be used: " + strings.Repeat("9", 40),
				"device.operating-system.supplemental.extra-version: cannot be used: (beta)",
			},
		},
		{
			name: "an empty supplemental version is told",
			body: `{"StatusItems":{"device":{"operating-system":{"supplemental":{"extra-version":"","build-version":""}}}}}`,
			want: map[string]string{"device.operating-system.supplemental.extra-version": `""`, "device.operating-system.supplemental.build-version": `""`},
		},
		{
			name: "capabilities without a list of configurations",
			body: `{"StatusItems":{"management":{"client-capabilities":{"supported-payloads":{"declarations":{"configurations":"all"},"status-items":[]}}}}}`,
			odd: []string{
				"management.client-capabilities: wanted an array, got a string (configurations)", "management.client-capabilities: lacks configurations",
				"management.client-capabilities: lacks declarations", "management.client-capabilities: lacks supported-payloads",
			},
		},
		{
			name: "capabilities that are a list",
			body: `{"StatusItems":{"management":{"client-capabilities":[]}}}`,
			odd:  []string{"management.client-capabilities: wanted an object, got an array"},
		},
		{
			name: "odd parts of declarations are left out, the others stay",
			body: `{"StatusItems":{"management":{"declarations":{"activations":7,"configurations":[{"identifier":"a","valid":"valid","active":"yes"},"b",{"valid":"valid"},{"identifier":8}]}}}}`,
			want: map[string]string{"management.declarations": `{"configurations":[{"identifier":"a","valid":"valid"}]}`},
			odd: []string{
				"management.declarations: wanted an array, got a number (activations)", "management.declarations: wanted a boolean, got a string (active)",
				"management.declarations: wanted an object, got a string (configurations)", "management.declarations: lacks identifier",
				"management.declarations: wanted a string, got a number (identifier)", "management.declarations: lacks identifier",
			},
		},
		{
			name: "canonical form",
			body: "{\"StatusItems\":{\"mdm\":{\"app\":[ {\"version\" : \"1\\u002e0\" ,\n\"identifier\":\"\\u0061\\/\\\"\\t\\u0001\",\"name\":\"\\u00e9 \xff\",\"n\":-1.50E+2,\"_removed\":false} ]}}}",
			want: map[string]string{"mdm.app": `[{"_removed":false,"identifier":"a/\"\t` + "\\u0001" + `","n":-1.50E+2,"name":"é ` + "\uFFFD" + `","version":"1.0"}]`},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			body := []byte(tt.body)
			r, err := Parse(body)
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for k, v := range r.Items {
				got[k] = string(v)
			}
			if tt.want == nil {
				tt.want = map[string]string{}
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("items\n got %v\nwant %v", got, tt.want)
			}
			if !reflect.DeepEqual(r.Odd, tt.odd) || r.OddCount != len(tt.odd) {
				t.Errorf("odd (%d)\n got %q\nwant %q", r.OddCount, r.Odd, tt.odd)
			}
			if !reflect.DeepEqual(r.Unknown, tt.unknown) || r.UnknownCount != len(tt.unknown) {
				t.Errorf("unknown (%d)\n got %q\nwant %q", r.UnknownCount, r.Unknown, tt.unknown)
			}
			if !bytes.Equal(r.Raw, body) {
				t.Errorf("raw %s", r.Raw)
			}
		})
	}
}

func TestParseFull(t *testing.T) {
	tests := []struct {
		name, body string
		want       bool
	}{
		{"incremental", `{"StatusItems":{}}`, false},
		{"said so", `{"StatusItems":{},"FullReport":false}`, false},
		{"full", `{"FullReport":true,"StatusItems":{}}`, true},
		{"full without items replaces nothing", `{"FullReport":true}`, false},
		{"full with items of a wrong type", `{"FullReport":true,"StatusItems":"all"}`, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if r := parsed(t, tt.body); r.Full != tt.want {
				t.Errorf("full is %t", r.Full)
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	r := parsed(t, `{"StatusItems":{},"Errors":[
		{"StatusItem":"softwareupdate.beta-enrollment","Reasons":[{"Code":"Error.NotSupported","Description":"no such item","Details":{"Error":"unknown"}},7,{}]},
		{"statusItem":"x.y","reasons":[{"code":"E","description":"d"}]},
		{"Reasons":[]}, "none", {"StatusItem":"z","Reasons":"none"}]}`)
	want := []ItemError{
		{"softwareupdate.beta-enrollment", []Reason{{"Error.NotSupported", "no such item", map[string]any{"Error": "unknown"}}}},
		{"x.y", []Reason{{Code: "E", Description: "d"}}},
		{"z", nil},
	}
	if !reflect.DeepEqual(r.Errors, want) {
		t.Errorf("errors\n got %+v\nwant %+v", r.Errors, want)
	}
	if r.OddCount != 2 {
		t.Errorf("odd %q, want two", r.Odd)
	}
	if got, want := r.Errors[0].Reasons[0].Text(), "no such item: unknown"; got != want {
		t.Errorf("text %q, want %q", got, want)
	}
	if r := parsed(t, `{"Errors":{"a":1}}`); r.OddCount != 1 || r.Errors != nil {
		t.Errorf("errors that are no array: %v, odd %q", r.Errors, r.Odd)
	}
}

func nest(depth int) string {
	return strings.Repeat(`{"a":`, depth) + "1" + strings.Repeat("}", depth)
}

// TestDepth: the report is level 1, StatusItems 2; level 64 is read, level 65 is not.
func TestDepth(t *testing.T) {
	tests := []struct {
		name, body string
		odd        int
		items      int
	}{
		{"64 levels of sections", `{"StatusItems":` + nest(63) + `}`, 0, 1},
		{"65 levels of sections", `{"StatusItems":` + nest(64) + `}`, 1, 0},
		{"64 levels in a value", `{"StatusItems":{"test":{"array-value":[` + nest(60) + `]}}}`, 0, 1},
		{"65 levels in a value", `{"StatusItems":{"test":{"array-value":[` + nest(61) + `]}}}`, 1, 1},
		{"9990 levels of sections", `{"StatusItems":` + nest(9990) + `}`, 1, 0},
		{"9990 levels in a value", `{"StatusItems":{"mdm":{"app":[` + strings.Repeat("[", 9990) + strings.Repeat("]", 9990) + `]}}}`, 1, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := parsed(t, tt.body)
			if r.OddCount != tt.odd || len(r.Items) != tt.items {
				t.Errorf("%d odd, %d items, want %d and %d: %q", r.OddCount, len(r.Items), tt.odd, tt.items, r.Odd)
			}
			if n := depth(t, r.Items); n > maxDepth-2 {
				t.Errorf("items are %d levels deep", n)
			}
		})
	}
}

// depth is how deep the values of the items nest.
func depth(t *testing.T, m map[string]json.RawMessage) int {
	t.Helper()
	most := 0
	for _, v := range m {
		n := 0
		for d := json.NewDecoder(bytes.NewReader(v)); ; {
			tok, err := d.Token()
			if err != nil {
				break
			}
			switch tok {
			case json.Delim('{'), json.Delim('['):
				n++
				most = max(most, n)
			case json.Delim('}'), json.Delim(']'):
				n--
			}
		}
	}
	return most
}

func TestLimits(t *testing.T) {
	var many []string
	for i := range 1000 {
		many = append(many, fmt.Sprintf(`"n%d":%d`, i, i))
	}
	r := parsed(t, `{"StatusItems":{`+strings.Join(many, ",")+`}}`)
	if len(r.Items) != 256 || r.OddCount != 744 || len(r.Odd) != 20 || r.UnknownCount != 256 || len(r.Unknown) != 20 {
		t.Errorf("1000 unknown items: %d kept, %d odd (%d noted), %d unknown (%d noted)", len(r.Items), r.OddCount, len(r.Odd), r.UnknownCount, len(r.Unknown))
	}
	r = parsed(t, `{"StatusItems":{"softwareupdate":{"failure-reason":{"count":1,"reason":"`+strings.Repeat("e", 1<<20)+`"}},"weather":"`+strings.Repeat("w", 1<<20)+`"}}`)
	if len(r.Items) != 0 || r.OddCount != 2 {
		t.Errorf("items beyond 1 MiB: %d kept, odd %q", len(r.Items), r.Odd)
	}
	r = parsed(t, `{"StatusItems":{"softwareupdate":{"install-state":"`+strings.Repeat("é\\u0007", 500)+`"}}}`)
	if len(r.Unknown) != 1 || len(r.Unknown[0]) > maxNoteSize || strings.Contains(r.Unknown[0], "\x07") {
		t.Errorf("note %q", r.Unknown)
	}
	r = parsed(t, `{"Errors":[`+strings.Repeat(`{"StatusItem":"x"},`, 999)+`{"StatusItem":"x"}]}`)
	if len(r.Errors) != 256 || r.OddCount != 1 {
		t.Errorf("1000 errors: %d kept, %d odd", len(r.Errors), r.OddCount)
	}
}

// TestParseKeepsBody: what a report refers to must not change with the buffer that it was read into, nor the buffer.
func TestParseKeepsBody(t *testing.T) {
	for _, name := range sampleNames(t) {
		body := sample(t, name)
		before := bytes.Clone(body)
		r, err := Parse(body)
		if err != nil {
			t.Fatal(err)
		}
		m := Merge(nil, r)
		encoded := m.Encode()
		if !bytes.Equal(body, before) {
			t.Errorf("%s: the body was written to", name)
		}
		clear(body)
		if !bytes.Equal(m.Encode(), encoded) {
			t.Errorf("%s: the items lie in the body", name)
		}
	}
}
