package status

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew")

// came is when the reports of the tests come.
var came = time.Date(2026, 11, 20, 9, 30, 0, 0, time.UTC)

// sample is a real report, or one of Apple's fragments put into one.
func sample(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata/samples", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case strings.HasPrefix(name, "apple-example-"):
		return []byte(`{"StatusItems":` + string(b) + `}`)
	case name == "zentral-macos14-client-capabilities":
		return []byte(`{"StatusItems":{"management":{"client-capabilities":` + string(b) + `}}}`)
	}
	return b
}

func sampleNames(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/samples/*.json")
	if err != nil || len(files) < 10 {
		t.Fatalf("samples: %v, %v", files, err)
	}
	for i, f := range files {
		files[i] = strings.TrimSuffix(filepath.Base(f), ".json")
	}
	return files
}

func parsed(t testing.TB, body string) *Report {
	t.Helper()
	r, err := Parse([]byte(body))
	if err != nil {
		t.Fatalf("Parse(%s): %v", body, err)
	}
	return r
}

// items is a report of these items alone: name, value, name, value ...
func items(t testing.TB, pairs ...string) *Report {
	t.Helper()
	var in []string
	for i := 0; i < len(pairs); i += 2 {
		in = append(in, `"`+pairs[i]+`":`+pairs[i+1])
	}
	return parsed(t, `{"StatusItems":{`+strings.Join(in, ",")+`}}`)
}

// full makes a report a full one.
func full(r *Report) *Report {
	r.Full = true
	return r
}

// TestSamples holds what is understood of the real reports against golden files.
func TestSamples(t *testing.T) {
	for _, name := range sampleNames(t) {
		t.Run(name, func(t *testing.T) {
			r, err := Parse(sample(t, name))
			if err != nil {
				t.Fatal(err)
			}
			got, err := json.MarshalIndent(struct {
				Full         bool                `json:"full"`
				Odd          []string            `json:"odd"`
				Unknown      []string            `json:"unknown"`
				Errors       []ItemError         `json:"errors"`
				Facts        Facts               `json:"facts"`
				Declarations []DeclarationStatus `json:"declarations"`
				Items        Merged              `json:"items"`
			}{r.Full, r.Odd, r.Unknown, r.Errors, Facts{ID: "X"}.Apply(r, came), Merge(nil, r).Declarations(), Merge(nil, r)}, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, '\n')
			file := filepath.Join("testdata/golden", name+".json")
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("differs from %s (-update writes it):\n%s", file, got)
			}
		})
	}
}

// TestSampleFacts has what a reader of the samples finds in them.
func TestSampleFacts(t *testing.T) {
	firstEleven := uint32(0x7ff) // everything up to management.declarations
	tests := []struct {
		name string
		want Facts
	}{
		{"zentral-macmini-macos13.3.1a-rsr", Facts{
			UDID: "00000000-0000000000000000", Serial: "000000000000", Model: "Macmini9,1", ModelName: "Mac mini (M1, 2020)",
			Board: "J274AP", BoardFrom: BoardFromTable,
			Version: "13.3.1", Build: "22E261", SupplementalBuild: "22E772610a", Letter: "a",
			Capabilities: Capabilities{Known: true, Items: firstEleven},
		}},
		{"kmfddm-e2e-first-report", Facts{
			UDID: "0000FE00-5FADE97DCBBBEDA5", Serial: "ZRMXJQTTFX",
			Version: "13.3.1", Build: "22E261", Letter: "a",
			Capabilities: Capabilities{Known: true, Items: firstEleven},
		}},
		{"kmfddm-e2e-not-referenced-by-activation", Facts{}},
		{"kmfddm-iphone-ios16.0-2022-06-28", Facts{
			Model: "iPhone10,2", ModelName: "iPhone 8 Plus", Family: "iPhone", Version: "16.0", Build: "20A5303i",
			// model identifier, marketing name, four of the system's (no supplemental ones), declarations
			Capabilities: Capabilities{Known: true, Items: 1<<2 | 1<<3 | 1<<4 | 1<<5 | 1<<6 | 1<<9 | 1<<10},
		}},
		{"zentral-macos14-client-capabilities", Facts{
			// and failure-reason, install-reason, install-state, pending-version; beta-enrollment and device-id came with 15
			Capabilities: Capabilities{Known: true, Enforcement: true, Items: firstEleven | 1<<13 | 1<<14 | 1<<15 | 1<<16},
		}},
		{"apple-example-device-id", Facts{Board: "iPhone14,3", BoardFrom: BoardFromReport}},
		{"apple-example-supplemental-build-version", Facts{SupplementalBuild: "24A346a"}},
		{"apple-example-supplemental-extra-version", Facts{Letter: "a"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := Parse(sample(t, tt.name))
			if err != nil {
				t.Fatal(err)
			}
			tt.want.LastReportAt, tt.want.LastContactAt = came, came
			if got := (Facts{}).Apply(r, came); got != tt.want {
				t.Errorf("facts\n got %+v\nwant %+v", got, tt.want)
			}
			if r.OddCount != 0 || r.UnknownCount != 0 || len(r.Errors) != 0 {
				t.Errorf("odd %q, unknown %q, errors %v, want none", r.Odd, r.Unknown, r.Errors)
			}
		})
	}
}

func TestSampleDeclarations(t *testing.T) {
	internal := []Reason{{"Error.ConfigurationCannotBeApplied", "Configuration cannot be applied", map[string]any{"Error": "An internal error has occurred."}}}
	failed := []Reason{{"Error.ConfigurationCannotBeApplied", "Configuration cannot be applied", map[string]any{"Error": "Profile Installation Failed"}}}
	tests := []struct {
		name string
		want []DeclarationStatus
	}{
		{"kmfddm-iphone-ios16.0-2022-06-28", []DeclarationStatus{
			{"activation", "49F6F16A-70EB-4A89-B092-465FAEC5E550", "8f700d70-f2d6-5b02-926d-ff36b5e47260", true, "valid", nil},
			{"configuration", "0FCD2F56-D5BC-48EA-B98D-E0CCC0C6F9E0", "2c8e5ce2-f7ba-5381-bce0-7d9c60f8c092", true, "invalid", internal},
			{"configuration", "4D6F8451-C089-4E65-A615-7C6EFF154F72", "ff4051a7-0ac2-517f-a54d-b5522289a85b", true, "invalid", failed},
			{"configuration", "85B5130A-4D0D-462B-AA0D-0C3B6630E5AA", "dd59373b-1cca-54f5-aa09-09ccc8dfa84c", true, "valid", nil},
			{"management", "AF0E633E-7ADB-4B2A-A48C-1B20AA271D08", "456fc8c6-85e9-52e9-b93d-eed694a4f487", false, "valid", nil},
		}},
		{"kmfddm-e2e-not-referenced-by-activation", []DeclarationStatus{
			{"configuration", "com.example.test", "7c6d85989e823101", false, "unknown", []Reason{{
				"Info.NotReferencedByActivation", "Configuration “com.example.test:7c6d85989e823101” is not referenced by an activation.",
				map[string]any{"Identifier": "com.example.test", "ServerToken": "7c6d85989e823101"},
			}}},
		}},
		{"kmfddm-e2e-first-report", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := Parse(sample(t, tt.name))
			if err != nil {
				t.Fatal(err)
			}
			if got := Merge(nil, r).Declarations(); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("declarations\n got %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

// TestNothingOfASampleIsLost compares the items with what encoding/json finds at their paths.
func TestNothingOfASampleIsLost(t *testing.T) {
	for _, name := range sampleNames(t) {
		t.Run(name, func(t *testing.T) {
			body := sample(t, name)
			r, err := Parse(body)
			if err != nil {
				t.Fatal(err)
			}
			var report struct{ StatusItems map[string]any }
			if err := json.Unmarshal(body, &report); err != nil {
				t.Fatal(err)
			}
			for item, v := range r.Items {
				var got any
				if err := json.Unmarshal(v, &got); err != nil {
					t.Fatalf("%s: %v", item, err)
				}
				var want any = report.StatusItems
				section := want.(map[string]any)
				path := strings.Split(item, ".")
				for i, p := range path {
					want = section[p]
					if i == len(path)-1 {
						delete(section, p)
						break
					}
					section = want.(map[string]any)
				}
				if !reflect.DeepEqual(got, want) {
					t.Errorf("%s\n got %v\nwant %v", item, got, want)
				}
			}
			secrets := 0
			if name == "kmfddm-iphone-ios16.0-2022-06-28" {
				secrets = 1 // management.push-token
			}
			if n := leaves(report.StatusItems); n != secrets {
				t.Errorf("%d values are not among the items, want %d: %v", n, secrets, report.StatusItems)
			}
		})
	}
}

// leaves counts what is not an object.
func leaves(v any) int {
	m, ok := v.(map[string]any)
	if !ok {
		return 1
	}
	n := 0
	for _, e := range m {
		n += leaves(e)
	}
	return n
}
