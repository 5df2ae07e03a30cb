package status

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"testing"
)

// merged is the merged status of these items: name, value, name, value ...
func merged(t testing.TB, pairs ...string) Merged {
	t.Helper()
	return Merge(nil, items(t, pairs...))
}

func TestMerge(t *testing.T) {
	const state, decls = "softwareupdate.install-state", "management.declarations"
	entry := func(id, token string) string {
		return `{"active":true,"identifier":"` + id + `","server-token":"` + token + `","valid":"valid"}`
	}
	tests := []struct {
		name string
		old  Merged
		r    *Report
		want string
	}{
		{"the first report", nil, items(t, state, `"none"`), `{"softwareupdate.install-state":"none"}`},
		{"what is not reported stays", merged(t, "passcode.is-present", "true"), items(t, state, `"none"`), `{"passcode.is-present":true,"softwareupdate.install-state":"none"}`},
		{"a full report replaces all", merged(t, "passcode.is-present", "true"), full(items(t, state, `"none"`)), `{"softwareupdate.install-state":"none"}`},
		{"a full report without items", merged(t, "passcode.is-present", "true"), full(items(t)), `{}`},
		{"null deletes", merged(t, state, `"none"`, "passcode.is-present", "true"), items(t, state, "null"), `{"passcode.is-present":true}`},
		{"null of nothing", nil, items(t, state, "null"), `{}`},
		{
			"a known item is replaced whole",
			merged(t, "softwareupdate.pending-version", `{"os-version":"26.6.1","target-local-date-time":"2026-08-20T12:00:00"}`),
			items(t, "softwareupdate.pending-version", `{"os-version":"26.6.2"}`),
			`{"softwareupdate.pending-version":{"os-version":"26.6.2"}}`,
		},
		{
			"an array without identifiers is replaced whole",
			merged(t, "test.array-value", `[1,2]`), items(t, "test.array-value", `[3]`), `{"test.array-value":[3]}`,
		},
		{
			"declarations are replaced whole, two tokens of one identifier are kept",
			merged(t, decls, `{"configurations":[`+entry("a", "1")+`,`+entry("b", "1")+`]}`),
			items(t, decls, `{"activations":[],"configurations":[`+entry("a", "1")+`,`+entry("a", "2")+`]}`),
			`{"management.declarations":{"activations":[],"configurations":[` + entry("a", "1") + `,` + entry("a", "2") + `]}}`,
		},
		{
			"a list is merged by identifier",
			merged(t, "mdm.app", `[{"identifier":"a","v":1},{"identifier":"b","v":1},{"identifier":"c"}]`),
			items(t, "mdm.app", `[{"identifier":"d"},{"identifier":"b","w":2},{"identifier":"a","_removed":true},{"identifier":"x","_removed":true}]`),
			`{"mdm.app":[{"identifier":"b","w":2},{"identifier":"c"},{"identifier":"d"}]}`,
		},
		{
			"a list in a full report replaces the list",
			merged(t, "mdm.app", `[{"identifier":"a"},{"identifier":"b"}]`),
			full(items(t, "mdm.app", `[{"identifier":"c"},{"identifier":"c","v":2},{"identifier":"d"},{"identifier":"d","_removed":true}]`)),
			`{"mdm.app":[{"identifier":"c","v":2}]}`,
		},
		{
			"what was removed can come back",
			merged(t, "mdm.app", `[{"identifier":"a","v":1},{"identifier":"b"}]`),
			items(t, "mdm.app", `[{"identifier":"a","_removed":true},{"identifier":"a","v":2}]`),
			`{"mdm.app":[{"identifier":"b"},{"identifier":"a","v":2}]}`,
		},
		{"the last one removed", merged(t, "mdm.app", `[{"identifier":"a"}]`), items(t, "mdm.app", `[{"_removed":true,"identifier":"a"}]`), `{"mdm.app":[]}`},
		{"an empty list", merged(t, "mdm.app", `[{"identifier":"a"}]`), items(t, "mdm.app", `[]`), `{"mdm.app":[]}`},
		{"_removed that is not true", merged(t, "mdm.app", `[{"identifier":"a"}]`), items(t, "mdm.app", `[{"identifier":"a","_removed":false}]`), `{"mdm.app":[{"_removed":false,"identifier":"a"}]}`},
		{
			"a list with an entry that has no identifier is replaced whole",
			merged(t, "mdm.app", `[{"identifier":"a"}]`), items(t, "mdm.app", `[{"identifier":"b"},{"name":"c"}]`), `{"mdm.app":[{"identifier":"b"},{"name":"c"}]}`,
		},
		{
			"an item that nobody knows, a list",
			merged(t, "zoo.animals", `[{"identifier":"a"}]`), items(t, "zoo.animals", `[{"identifier":"b"}]`), `{"zoo.animals":[{"identifier":"a"},{"identifier":"b"}]}`,
		},
		{
			"items that nobody knows merge down to the first value that is not an object",
			merged(t, "zoo", `{"cats":{"lion":1,"puma":2},"dogs":3}`), items(t, "zoo", `{"cats":{"puma":4},"birds":{"emu":[5]}}`),
			`{"zoo.birds.emu":[5],"zoo.cats.lion":1,"zoo.cats.puma":4,"zoo.dogs":3}`,
		},
		{"a value replaces a section", merged(t, "zoo", `{"cats":{"lion":1},"dogs":3}`), items(t, "zoo.cats", `0`), `{"zoo.cats":0,"zoo.dogs":3}`},
		{"a section replaces a value", merged(t, "zoo", `{"cats":0}`), items(t, "zoo", `{"cats":{"lion":1}}`), `{"zoo.cats.lion":1}`},
		{"null deletes a section", merged(t, "zoo", `{"cats":{"lion":1},"dogs":3}`), items(t, "zoo.cats", `null`), `{"zoo.dogs":3}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before, reported := string(tt.old.Encode()), fmt.Sprint(tt.r)
			got := Merge(tt.old, tt.r)
			if string(got.Encode()) != tt.want {
				t.Errorf("got %s\nwant %s", got.Encode(), tt.want)
			}
			again := Merge(tt.old, tt.r)
			if !reflect.DeepEqual(again, got) {
				t.Errorf("the second time %s", again.Encode())
			}
			if after := string(tt.old.Encode()); after != before || fmt.Sprint(tt.r) != reported {
				t.Errorf("Merge changed what it was given: %s", after)
			}
		})
	}
}

// TestMergeStaysBounded: no number of reports makes a status grow without end.
func TestMergeStaysBounded(t *testing.T) {
	var m Merged
	for i := range 40 {
		pairs := []string{"passcode.is-present", "true"}
		for j := range 10 {
			pairs = append(pairs, fmt.Sprintf("n%d.x", i*10+j), "1")
		}
		m = Merge(m, items(t, pairs...))
	}
	if len(m) != 257 {
		t.Errorf("%d items, want passcode.is-present and 256 that nobody knows", len(m))
	}
	m = Merge(m, items(t, "n0.x", "2", "n999", "3", "n1", "4"))
	if got := []string{string(m["n0.x"]), string(m["n999"]), string(m["n1"])}; got[0] != "2" || got[1] != "" || got[2] != "4" || m.Has("n1.x") || len(m) != 257 {
		t.Errorf("at the limit: %q, %d items", got, len(m))
	}
	m = Merge(m, items(t, "n0.x", "null"))
	if m = Merge(m, items(t, "n999", "3")); !m.Has("n999") || len(m) != 257 {
		t.Errorf("what was deleted left no room")
	}

	big := `"` + strings.Repeat("x", 300<<10) + `"`
	for i := range 6 {
		m = Merge(m, items(t, "mdm.app", fmt.Sprintf(`[{"identifier":"%d","name":%s}]`, i, big)))
	}
	if n := len(m["mdm.app"]); n > maxItem || !strings.Contains(string(m["mdm.app"]), `"identifier":"5"`) {
		t.Errorf("a list of %d bytes", n)
	}
}

func TestEncode(t *testing.T) {
	m := merged(t, "softwareupdate.install-state", `"none"`, `a\"b`, `1`, "mdm.app", `[{"identifier":"a"}]`)
	const want = `{"a\"b":1,"mdm.app":[{"identifier":"a"}],"softwareupdate.install-state":"none"}`
	if got := string(m.Encode()); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, err := json.Marshal(m); err != nil || string(got) != want {
		t.Errorf("as JSON %s, %v", got, err)
	}
	if got := string(Merged(nil).Encode()); got != "{}" {
		t.Errorf("nothing is %s", got)
	}
}

func TestDecodeMerged(t *testing.T) {
	tests := []struct {
		name, in string
		want     Merged
	}{
		{"nothing", "", Merged{}},
		{"empty", "{}", Merged{}},
		{"spaces", " { \"a.b\" : [ 1 ] , \"c\" : null } \n", Merged{"a.b": json.RawMessage("[ 1 ]")}},
		{"escaped name", `{"a\u002eb":"x"}`, Merged{"a.b": json.RawMessage(`"x"`)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := DecodeMerged([]byte(tt.in))
			if err != nil || !maps.EqualFunc(got, tt.want, func(a, b json.RawMessage) bool { return string(a) == string(b) }) {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
	for _, in := range []string{"[]", "null", `"x"`, "{", `{"a":}`, "\x00"} {
		if m, err := DecodeMerged([]byte(in)); err == nil {
			t.Errorf("%q: got %v, want an error", in, m)
		}
	}
}
