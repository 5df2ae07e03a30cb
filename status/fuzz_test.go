package status

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// seeds are the real samples and what has been thought of to upset a parser.
func seeds(t testing.TB) [][]byte {
	var all [][]byte
	for _, name := range sampleNames(t) {
		all = append(all, sample(t, name))
	}
	for _, s := range []string{
		`{}`, `[]`, ``, `null`, `{"StatusItems":null}`,
		`{"FullReport":true,"StatusItems":{"mdm":{"app":[{"identifier":"a"},{"identifier":"b","_removed":true},{"identifier":"c"}]}}}`,
		`{"StatusItems":{"mdm":{"app":[{"identifier":"a","_removed":true},{"identifier":"a"},7]}}}`,
		`{"StatusItems":{"a":{"b":1,"c":{"d":[]}},"a":{"b":{"x":null}},"a.c":2,"":{"":0}}}`,
		`{"StatusItems":{"device":{"operating-system":{"version":"26.4","supplemental":{"extra-version":"(a)"}}},"softwareupdate":{"device-id":"J413AP"}}}`,
		`{"StatusItems":{"mdm":{"push-token":"x","push-magic":"y"},"push\u002dtoken":1},"Errors":[{"StatusItem":"a","Reasons":[{"Code":"b"}]}]}`,
		`{"StatusItems":{"softwareupdate":{"failure-reason":{"count":-0.5e3,"count":1,"reason":"\ud800\u0000\"\\"},"install-state":"\xff"}}}`,
		`{"StatusItems":{"test":{"array-value":[[[[{"z":{},"a":[{}]}]]]]}},"statusitems":{"x":{"y":{"z":1}}}}`,
	} {
		all = append(all, []byte(s))
	}
	return all
}

// FuzzParse: a body is refused exactly when it is no JSON object; and what was made of it is sound.
func FuzzParse(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		before := bytes.Clone(body)
		redacted := Redact(body)
		r, err := Parse(body)
		if !bytes.Equal(body, before) {
			t.Fatal("the body was written to")
		}
		report := json.Valid(body) && bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("{"))
		if report != (err == nil) {
			t.Fatalf("error %v, but a JSON object: %t", err, report)
		}
		if json.Valid(body) != json.Valid(redacted) || !bytes.Equal(Redact(redacted), redacted) {
			t.Fatalf("redacted to %q", redacted)
		}
		if err != nil {
			return
		}
		if !bytes.Equal(r.Raw, redacted) {
			t.Fatalf("raw is %q", r.Raw)
		}
		again, err := Parse(r.Raw)
		if err != nil || !reflect.DeepEqual(again.Items, r.Items) || again.OddCount != r.OddCount || again.Full != r.Full {
			t.Fatalf("the kept report reads as %+v, %v, not as %+v", again, err, r)
		}
		for name, v := range r.Items {
			var plain any
			if err := json.Unmarshal(v, &plain); err != nil {
				t.Fatalf("%s: %q: %v", name, v, err)
			}
			if secretIn(plain) {
				t.Fatalf("%s has a secret: %q", name, v)
			}
			if sh := known[name]; sh != nil && !isNull(v) && sh.kind != anyKind && kindOf(v[0]) != sh.kind {
				t.Fatalf("%s has the wrong type: %q", name, v)
			}
		}
		if n := depth(t, r.Items); n > maxDepth-2 {
			t.Fatalf("%d levels deep", n)
		}
		m := Merge(nil, r)
		decoded, err := DecodeMerged(m.Encode())
		if err != nil || !sameStatus(m, decoded) {
			t.Fatalf("stored as %q, %v", m.Encode(), err)
		}
		facts := Facts{ID: "X"}.Apply(r, came)
		if facts.Apply(r, came) != facts {
			t.Fatalf("the same report again changes the facts: %+v, %+v", facts, facts.Apply(r, came))
		}
		view(m)
	})
}

// FuzzMerged: a stored status may be damaged; reading it must end, and not panic.
func FuzzMerged(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m := Merged{}
		for name := range known {
			m[name] = b
		}
		view(m)
		Merge(m, &Report{Items: m})
		redact(b)
		if decoded, err := DecodeMerged(b); err == nil {
			view(decoded)
		}
	})
}

func view(m Merged) {
	m.InstallState()
	m.Pending()
	m.Failure()
	m.InstallReason()
	m.Declarations()
	m.ClientCapabilities()
	Facts{}.Apply(&Report{Items: m}, came)
}

// FuzzMergeSplit: a report that is told in several makes the same status and the same facts. This holds for every split
//   - by items, in any order of the items;
//   - of an array that is merged by identifier, into pieces that are not empty, in their order;
//
// the first piece of a full report being full, and the system's items (device.operating-system.*) staying together,
// in the first piece of a full report. It does not hold inside any other item: those are replaced whole.
func FuzzMergeSplit(f *testing.F) {
	all := seeds(f)
	for i, s := range all {
		f.Add(all[(i+3)%len(all)], s, []byte("3141592653589793"))
		f.Add([]byte(`{}`), s, []byte{1})
	}
	f.Fuzz(func(t *testing.T, before, body, dice []byte) {
		r, err := Parse(body)
		if err != nil {
			return
		}
		b, err := Parse(before)
		if err != nil {
			return
		}
		old := Merge(nil, b)
		if len(old)+len(r.Items) > maxUnknown || len(before)+len(body) > maxItem {
			return // a status at its limits depends on the order
		}
		facts := Facts{}.Apply(b, came)
		got, gotFacts := old, facts
		for _, piece := range split(t, r, dice) {
			got, gotFacts = Merge(got, piece), gotFacts.Apply(piece, came)
		}
		if want := Merge(old, r); !sameStatus(got, want) {
			t.Fatalf("in pieces %s\nat once   %s", got.Encode(), want.Encode())
		}
		if want := facts.Apply(r, came); gotFacts != want {
			t.Fatalf("in pieces %+v\nat once   %+v", gotFacts, want)
		}
	})
}

// split tells a report in up to four, as the dice have it.
func split(t *testing.T, r *Report, dice []byte) []*Report {
	throw := func(n int) int {
		if len(dice) == 0 {
			return 0
		}
		d := int(dice[0]) % n
		dice = dice[1:]
		return d
	}
	pieces := make([]map[string]json.RawMessage, 1+throw(4))
	for i := range pieces {
		pieces[i] = map[string]json.RawMessage{}
	}
	system := throw(len(pieces))
	if r.Full {
		system = 0
	}
	for _, name := range slices.Sorted(maps.Keys(r.Items)) {
		v := r.Items[name]
		if strings.HasPrefix(name, "device.operating-system.") {
			pieces[system][name] = v
			continue
		}
		var list []json.RawMessage
		if _, ok := entriesOf(v); !ok || json.Unmarshal(v, &list) != nil {
			pieces[throw(len(pieces))][name] = v
			continue
		}
		for i := range pieces {
			n := throw(len(list) + 1)
			if i == len(pieces)-1 {
				n = len(list)
			}
			if n > 0 {
				part, err := json.Marshal(list[:n])
				if err != nil {
					t.Fatal(err)
				}
				pieces[i][name], list = part, list[n:]
			}
		}
	}
	reports := make([]*Report, len(pieces))
	for i, p := range pieces {
		body, err := json.Marshal(map[string]any{"StatusItems": p, "FullReport": r.Full && i == 0})
		if err != nil {
			t.Fatal(err)
		}
		if reports[i], err = Parse(body); err != nil {
			t.Fatal(err)
		}
	}
	return reports
}

func sameStatus(a, b Merged) bool { return bytes.Equal(a.Encode(), b.Encode()) }

// secretIn tells whether a value has a member that is a secret.
func secretIn(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			if isSecret([]byte(k)) || secretIn(e) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, secretIn)
	}
	return false
}
