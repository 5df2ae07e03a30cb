package release

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCatalogJSON(t *testing.T) {
	c := &Catalog{}
	for _, h := range history(t) {
		c, _ = merged(t, c, parsed(t, h.body), h.at.Format("2006-01-02T15:04:05Z07:00"))
	}
	c, _ = mark(c, Exploited{{Version: "26.6.1"}, {Version: "26.3.1", Letter: "a"}, {Build: "25G83"}})
	for name, c := range map[string]*Catalog{"the snapshot": Snapshot(), "a year": c, "nothing": {}} {
		t.Run(name, func(t *testing.T) {
			b, err := json.Marshal(c)
			if err != nil {
				t.Fatal(err)
			}
			var back Catalog
			if err := json.Unmarshal(b, &back); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(*c, back); d != "" {
				t.Errorf("not the same after writing and reading:\n%s", d)
			}
			again, err := json.Marshal(back) // a value, not a pointer
			if err != nil || string(again) != string(b) {
				t.Errorf("not the same bytes: %v", err)
			}
			t.Logf("%d releases, %d bytes", len(c.Releases), len(b))
			// The database keeps every revision: lists of boards must not be repeated.
			if max := 6000 + 400*len(c.Releases); len(b) > max {
				t.Errorf("%d bytes, more than %d", len(b), max)
			}
		})
	}
}

func TestCatalogJSONInput(t *testing.T) {
	var c Catalog
	if err := json.Unmarshal([]byte(`{"revision":3,"releases":[{"version":"26.4","build":"25E246","kind":"os","posted":"2026-03-24","devices":["J413AP"]}]}`), &c); err != nil {
		t.Fatal(err)
	}
	if len(c.Releases) != 1 || c.Releases[0].Devices[0] != "J413AP" || c.Revision != 3 {
		t.Errorf("devices in their place: %+v", c)
	}
	for _, b := range []string{
		`{"releases":[{"build":"25E246","set":1}],"device_sets":[["J413AP"]]}`,
		`{"releases":[{"build":"25E246","set":-1}],"device_sets":[["J413AP"]]}`,
		`{"releases":[{"build":"25E246","set":0}]}`,
		`{"releases":[{"posted":"yesterday"}]}`,
		`[]`,
	} {
		if err := json.Unmarshal([]byte(b), &c); err == nil {
			t.Errorf("%s is accepted", b)
		}
	}
}
