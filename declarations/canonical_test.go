package declarations

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

func TestCanonicalJSON(t *testing.T) {
	tests := []struct {
		name, in, want string
	}{
		{"keys are sorted, space is gone", "{ \"b\" : 1,\n \"a\" : [ true , null ] }", `{"a":[true,null],"b":1}`},
		{"only what must be escaped is", `"<\u0026>\u2028\u00e9\/"`, "\"<&>\u2028é/\""},
		{"control characters", `"\u0000\u0008\u0009\u000a\u000b\u000c\u000d\u001f\"\\\u007f"`, `"\u0000\b\t\n\u000b\f\r\u001f\"\\` + "\x7f\""},
		// The example of RFC 8785, 3.2.3: euro sign, carriage return, dalet with dagesh, "1", emoji, control, o with diaeresis.
		{
			"UTF-16 order", `{"\u20ac":1,"\r":2,"\ufb33":3,"1":4,"\ud83d\ude00":5,"\u0080":6,"\u00f6":7}`,
			"{\"\\r\":2,\"1\":4,\"\u0080\":6,\"ö\":7,\"€\":1,\"😀\":5,\"\ufb33\":3}",
		},
		{"a key that begins another", `{"ab":1,"a":2}`, `{"a":2,"ab":1}`},
		{"integers in any spelling", `[0,-0,1.0,1e3,-9007199254740991]`, `[0,0,1,1000,-9007199254740991]`},
		{"empty", `[{},[],""]`, `[{},[],""]`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := CanonicalJSON([]byte(tt.in))
			if err != nil || string(got) != tt.want {
				t.Errorf("got %s, %v\nwant %s", got, err, tt.want)
			}
		})
	}
}

func TestCanonicalJSONRefuses(t *testing.T) {
	for name, in := range map[string]string{
		"nothing":             "",
		"two values":          "1 2",
		"cut array":           `[1,`,
		"cut object":          `{"a":`,
		"a repeated key":      `{"a":1,"b":2,"a":3}`,
		"a fraction":          `1.5`,
		"too large a number":  `9007199254740992`,
		"far too large":       `1e400`,
		"invalid UTF-8":       "\"\xff\"",
		"nested without end":  strings.Repeat("[", 200) + strings.Repeat("]", 200),
		"something else":      `{a:1}`,
		"trailing characters": `{}x`,
	} {
		if got, err := CanonicalJSON([]byte(in)); err == nil {
			t.Errorf("%s: accepted as %s", name, got)
		}
	}
}

func TestCanonicalOfValues(t *testing.T) {
	for _, v := range []any{
		map[string]any{"b": []int{1}, "a": "<"},
		json.RawMessage(`{"b":[1],"a":"<"}`),
		[]byte(` {"b":[1],"a":"<"}`),
	} {
		got, err := Canonical(v)
		if err != nil || string(got) != `{"a":"<","b":[1]}` {
			t.Errorf("%T: %s, %v", v, got, err)
		}
	}
	if _, err := Canonical(func() {}); err == nil {
		t.Error("a function is accepted")
	}
}

func FuzzCanonicalJSON(f *testing.F) {
	for _, seed := range []string{
		`{"b":1,"a":[true,null,"x\u0000\ud83d\ude00"]}`, `[1.0,1e3,-0]`, `"\ud800"`, `{"\u20ac":1,"\ufb33":3,"\ud83d\ude00":5}`, `{"a":1,"a":2}`, `[`, "\xff",
		`{"Identifier":"plimsoll.os-update","Payload":{"TargetLocalDateTime":"2026-09-01T12:00:00","TargetOSVersion":"26.6.2"},"Type":"com.apple.configuration.softwareupdate.enforcement.specific"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		out, err := CanonicalJSON(in)
		if err != nil {
			return
		}
		var a, b any
		if err := json.Unmarshal(in, &a); err != nil {
			t.Fatalf("%q is accepted, but is no JSON: %v", in, err)
		}
		if err := json.Unmarshal(out, &b); err != nil {
			t.Fatalf("%q became %q: %v", in, out, err)
		}
		if !reflect.DeepEqual(a, b) {
			t.Fatalf("%q became %q, which means something else", in, out)
		}
		again, err := CanonicalJSON(out)
		if err != nil || string(again) != string(out) {
			t.Fatalf("%q became %q, then %q (%v)", in, out, again, err)
		}
	})
}
