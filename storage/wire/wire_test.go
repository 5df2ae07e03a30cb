package wire

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"plimsoll/declarations"
	"plimsoll/declarations/plan"
)

// read is what is read of a record without encoding/json.
func read(b []byte) (Record, bool) {
	var r Record
	w := object{b: b, reads: true}
	w.open()
	r.fields(&w)
	w.close()
	return r, w.whole()
}

// sameAsJSON holds a record against encoding/json, both ways, and tells whether it was read without it.
func sameAsJSON(t *testing.T, r *Record) bool {
	t.Helper()
	got, err := r.Encode()
	want, wantErr := json.Marshal(r)
	if (err == nil) != (wantErr == nil) {
		t.Fatalf("error %v, want %v", err, wantErr)
	}
	if err != nil {
		return false
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("written as\n%s, want\n%s", got, want)
	}
	sameAsUnmarshal(t, want)
	_, quick := read(want)
	return quick
}

// sameAsUnmarshal holds what is made of bytes against encoding/json.
func sameAsUnmarshal(t *testing.T, b []byte) {
	t.Helper()
	var want Record
	wantErr := json.Unmarshal(b, &want)
	got, err := Decode(b)
	if (err == nil) != (wantErr == nil) {
		t.Fatalf("%s: error %v, want %v", b, err, wantErr)
	}
	if diff := cmp.Diff(want, got); err == nil && diff != "" {
		t.Fatalf("%s: %s", b, diff)
	}
}

// The members are written and read as encoding/json does it, each of them, so that nobody forgets one that is added.
func TestWireRecordHasEveryField(t *testing.T) {
	seen := 0
	var walk func(path string, at func(*Record) reflect.Value)
	try := func(path string, at func(*Record) reflect.Value, quick bool, values ...any) {
		for _, v := range values {
			var r Record
			f := at(&r)
			f.Set(reflect.ValueOf(v).Convert(f.Type()))
			if got := sameAsJSON(t, &r); got != quick {
				t.Errorf("%s = %v: read without encoding/json is %t", path, v, got)
			}
			seen++
		}
	}
	walk = func(path string, at func(*Record) reflect.Value) {
		switch v := at(new(Record)); v.Kind() {
		case reflect.Struct:
			for i := range v.NumField() {
				walk(path+"."+v.Type().Field(i).Name, func(r *Record) reflect.Value { return at(r).Field(i) })
			}
		case reflect.Slice:
			try(path, at, true, reflect.MakeSlice(v.Type(), 1, 1).Interface(), reflect.MakeSlice(v.Type(), 3, 3).Interface())
			walk(path+"[1]", func(r *Record) reflect.Value {
				at(r).Set(reflect.MakeSlice(v.Type(), 2, 2))
				return at(r).Index(1)
			})
		case reflect.Pointer: // rare: it is not read, only written
			try(path, at, false, reflect.New(v.Type().Elem()).Interface())
		case reflect.String:
			try(path, at, true, "x", "Büro 2 – 北", "served", "\u007f")
			try(path, at, false, `"`, `\`, "<b>", "\n", "\u2028", "broken \xff", "a\x00")
		case reflect.Int, reflect.Int64:
			try(path, at, true, 1, -1, 1799999999, int64(999999999999999999))
			try(path, at, false, int64(math.MaxInt64), int64(math.MinInt64))
		case reflect.Uint64:
			try(path, at, true, 1, 1<<40)
			try(path, at, false, uint64(math.MaxUint64))
		case reflect.Uint32:
			try(path, at, true, 1, uint32(math.MaxUint32))
		case reflect.Uint16:
			try(path, at, true, 1, uint16(math.MaxUint16))
		default:
			t.Fatalf("%s is a %s: teach this test", path, v.Kind())
		}
	}
	walk("record", func(r *Record) reflect.Value { return reflect.ValueOf(r).Elem() })
	if seen < 300 {
		t.Errorf("only %d values were looked at", seen)
	}
	for name, r := range map[string]Record{
		"nothing":               {},
		"empty lists":           {Lanes: []Lane{}, Sum: Summary{Codes: []string{}}},
		"a delay of no JSON":    {Delayed: &plan.Delayed{Since: time.Date(12000, 1, 1, 0, 0, 0, 0, time.UTC)}},
		"a delay and a wish":    {Delayed: &plan.Delayed{Since: time.Unix(0, 0).UTC(), Until: 1785000000, Hours: 3}, Wish: &plan.Wish{Major: 27}},
		"a member after a list": {Lanes: make([]Lane, 3), Back: 4},
	} {
		t.Run(name, func(t *testing.T) { sameAsJSON(t, &r) })
	}
}

// What is not written here is read as encoding/json reads it, or refused as it refuses it.
func TestWireRecordReadsWhatIsOdd(t *testing.T) {
	for _, s := range []string{
		``, `{`, `{}`, `null`, `[]`, `"x"`, `{"i":"a"}x`, `{"i":"a"} `, ` {"i":"a"}`, `{ "i" : "a" }`, `{"i":"a",}`, `{"i":"a""u":"b"}`, `{,"i":"a"}`,
		`{"i":null,"u":null,"p":null,"S":null,"e":null}`, `{"I":"a"}`, `{"i":"a","i":"b"}`, `{"u":"b","i":"a"}`, `{"i":"a","zz":{"x":[1,2]}}`,
		`{"i":"a","c":1.0}`, `{"i":"a","c":1e3}`, `{"i":"a","c":01}`, `{"i":"a","c":-}`, `{"i":"a","c":-0}`, `{"i":"a","c":"1"}`, `{"i":"a","c":}`, `{"i":"a","c":+1}`,
		`{"i":"a","ci":-1}`, `{"i":"a","ci":4294967296}`, `{"i":"a","S":{"f":65536}}`, `{"i":"a","g":18446744073709551615}`, `{"i":"a","g":18446744073709551616}`,
		`{"i":"a","p":[]}`, `{"i":"a","p":[null]}`, `{"i":"a","p":[{}]}`, `{"i":"a","p":[{},]}`, `{"i":"a","p":[{"l":1}{"l":2}]}`, `{"i":"a","p":[{"l":1},{"l":2}`,
		`{"i":"a","S":{}}`, `{"i":"a","S":{"c":[]}}`, `{"i":"a","S":{"c":["x",2]}}`, `{"i":"a","S":{"c":["x"}}`, `{"i":"a","S":{"c":["x"]]}`,
		`{"i":"a\u0041","u":"\ud800"}`, "{\"i\":\"a\xff\"}", "{\"i\":\"a\x01\"}", `{"i":"a`, `{"i":"a\`, `{"i":"a","de":{"l":1,"h":2},"wi":{"m":27}}`, `{"i":"a","de":7}`,
	} {
		sameAsUnmarshal(t, []byte(s))
	}
}

// usual is the record of a Mac that is asked to update.
const usual = `{"i":"9E3779B1-B5C4-4000-8000-000000000001","s":"PLM0000001","n":"Mac 1","m":"Mac14,2","M":"MacBook Air","b":"J413AP",` +
	`"bf":"report","v":"26.6","B":"25G72","c":23,"ci":131071,"e":51613200,"lc":1,"lr":1,"L":1,` +
	`"p":[{"s":51696000,"t":"25G83","p":1,"v":1,"o":"-"}],"a":"0b5f3c8e7d584b0b9a4558a0b3d8a0c1","at":51696000,"ab":12,"k":"=",` +
	`"ka":51696600,"r":17,"S":{"s":8,"p":"served","pa":51696600,"sa":51696000,"g":"everyone","k":"os","v":"26.6.2","b":"25G83",` +
	`"d":1,"l":1788253200,"o":-1,"ta":51696000,"va":51696600,"c":["not_fetched","bootstrap_token_missing"]},"la":51699600,` +
	`"na":51692400,"q":51699600000}`

// Most records are read without encoding/json.
func TestWireRecordIsQuick(t *testing.T) {
	if _, quick := read([]byte(usual)); !quick {
		t.Errorf("encoding/json is needed for %s", usual)
	}
}

func FuzzWireRecord(f *testing.F) {
	f.Add([]byte(usual))
	f.Add([]byte(`{"i":"a","bf":"report","c":-7,"p":[{"l":1,"t":"x"},{}],"de":{"h":2},"g":1,"S":{"s":8,"f":3,"c":["a","b"]},"q":1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		sameAsUnmarshal(t, b)
		var r Record
		if json.Unmarshal(b, &r) == nil {
			sameAsJSON(t, &r)
		}
	})
}

func manifestOf(items ...declarations.Item) declarations.Manifest {
	at := time.Date(2026, 8, 22, 9, 0, 0, 123456789, time.UTC)
	return declarations.Manifest{DeclarationsToken: "t", Timestamp: at.Truncate(time.Second), Items: items, ServedAt: at}
}

// A manifest is read as encoding/json reads it, and usually without it.
func TestDecodeManifest(t *testing.T) {
	for _, m := range []declarations.Manifest{
		manifestOf(declarations.Item{Kind: declarations.KindActivation, Identifier: "a", ServerToken: "1"}),
		manifestOf(declarations.Item{Kind: declarations.KindAsset}, declarations.Item{Kind: "of later", Identifier: "é", ServerToken: "2"}),
	} {
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		var got declarations.Manifest
		w := object{b: b, reads: true}
		if w.readManifest(&got); !w.whole() {
			t.Errorf("encoding/json is needed for %s", b)
		}
		sameManifest(t, b)
	}
	for _, s := range []string{
		``, `{}`, `null`, `{"token":"","timestamp":"0001-01-01T00:00:00Z","items":null,"served_at":"2026-08-22T09:00:00Z"}`,
		`{"token":"t","timestamp":"2026-08-22","items":[],"served_at":"2026-08-22T09:00:00Z"}`,
		`{"token":"t","timestamp":"2026-08-22T09:00:00+02:00","items":[{"k":"x","i":"y","t":"z"}],"served_at":"2026-08-22T09:00:00Z"}`,
		`{"token":"t","timestamp":null,"items":[{"k":"x","i":"y"}],"served_at":"2026-08-22T09:00:00Z","more":1}`,
		`{"token":"t","items":[{"k":"x","i":"\"","t":"z"}]}`, `{"token":"t","items":[{"k":"x","i":"y","t":"z"},`, `{"token":7}`,
	} {
		sameManifest(t, []byte(s))
	}
	if m, err := DecodeManifest(nil); m != nil || err != nil {
		t.Errorf("no manifest is %v, %v", m, err)
	}
}

func sameManifest(t *testing.T, b []byte) {
	t.Helper()
	want := new(declarations.Manifest)
	wantErr := json.Unmarshal(b, want)
	got, err := DecodeManifest(b)
	if (err == nil) != (wantErr == nil) {
		t.Fatalf("%s: error %v, want %v", b, err, wantErr)
	}
	if diff := cmp.Diff(want, got); err == nil && diff != "" {
		t.Fatalf("%s: %s", b, diff)
	}
}

func FuzzManifest(f *testing.F) {
	b, err := json.Marshal(manifestOf(declarations.Item{Kind: declarations.KindActivation, Identifier: "a", ServerToken: "1"}, declarations.Item{}))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		if b != nil {
			sameManifest(t, b)
		}
	})
}
