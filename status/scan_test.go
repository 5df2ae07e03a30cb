package status

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// odd are bytes on which readers of JSON differ.
func oddJSON() []string {
	nested := func(n int, open, end string) string { return strings.Repeat(open, n) + strings.Repeat(end, n) }
	all := []string{
		``, ` `, `{`, `}`, `[`, `]`, `"`, `\`, `{}`, `[]`, " \t\r\n{} \t\r\n", "\v{}", "\u00a0{}", "{}\x00", "\ufeff{}", `{}{}`, `[][]`, `1 2`,
		`null`, `nul`, `nulll`, `Null`, `true`, `tru`, `truth`, `false`, `fals`, `nan`, `undefined`, `'a'`,
		`0`, `-0`, `-`, `00`, `01`, `-01`, `1`, `10`, `+1`, `.5`, `1.`, `1.5`, `1.5.5`, `1e`, `1e+`, `1e-`, `1e5`, `1E+05`, `1e5.5`, `-1.25e-7`, `0e0`, `0x1`, `1_000`, `1e999`, `--1`,
		`[1]`, `[1,]`, `[,1]`, `[1 2]`, `[1,,2]`, `[1`, `[1,`, `[01]`, `[1.]`, `[-]`, `[1}`, `["a" "b"]`, `[ 1 , 2 ]`,
		`{"a":1}`, `{"a":1,}`, `{,"a":1}`, `{"a" 1}`, `{"a":}`, `{"a"}`, `{a:1}`, `{1:1}`, `{"a":1 "b":2}`, `{"a":1,"b":2}`, `{"a":1;"b":2}`, `{"a"::1}`, `{"a":1`, `{"a":1]`, `{"a":1,"a":2}`, `{"":{}}`,
		`""`, `"a`, `"\"`, `"\""`, `"\\"`, `"\\\"`, `"\a"`, `"\/\b\f\n\r\t"`, `"\u"`, `"\u12"`, `"\u123"`, `"\u1234"`, `"\u12g4"`, `"\U1234"`, `"\uABCD\uabcd"`, `"\ud800"`, `"\ud83d\ude00"`, `"\x41"`, `"\'"`,
		"\"\n\"", "\"\x00\"", "\"\x1f\"", "\"\x20\x7f\"", "\"tab\there\"", "\"\xff\xfe\"", "\"\xe4\"", "\"ä北😀\"", "\"\u2028\"", "\"ä", "\"ä\x01\"",
		nested(9999, "[", "]"), nested(10000, "[", "]"), nested(10001, "[", "]"), strings.Repeat("[", 20000), nested(10000, `{"a":`, "}"), nested(9999, `{"a":`, "1}"),
		strings.Repeat(`{"a":`, 10000) + "1" + strings.Repeat("}", 10000), strings.Repeat(`{"a":`, 10001) + "1" + strings.Repeat("}", 10001),
		strings.Repeat(`[{"a":`, 5000) + "1" + strings.Repeat("}]", 5000), strings.Repeat(`[{"a":`, 5000) + "[]" + strings.Repeat("}]", 5000),
	}
	// What ends a string, at every place of the eight bytes that are looked at together.
	for n := range 20 {
		for _, end := range []string{`"`, `\""`, "\x1f\"", "\x00\"", "ä\"", "\x80\"", `\`, ``, "\x7f\"", `!#[]"`, "\xa2\"", "\xdc\"", "\x1f"} {
			all = append(all, `"`+strings.Repeat("x", n)+end, `{"`+strings.Repeat("y", n)+end+`:1}`)
		}
	}
	return all
}

// scanned holds the scanner against encoding/json: what it accepts, and what it takes out.
func scanned(t *testing.T, b []byte) {
	t.Helper()
	short := b[:min(len(b), 200)]
	got, ok := redact(b)
	if ok != json.Valid(b) {
		t.Fatalf("%q: JSON is %t, want %t", short, ok, !ok)
	}
	trimmed := bytes.TrimSpace(b)
	_, err := DecodeMerged(b)
	if want := len(trimmed) == 0 || trimmed[0] == '{' && json.Valid(trimmed); want != (err == nil) {
		t.Fatalf("%q as a status: %v", short, err)
	}
	if !ok {
		return
	}
	var all, rest any
	if err := json.Unmarshal(b, &all); err != nil {
		return // a number beyond all numbers
	}
	if err := json.Unmarshal(got, &rest); err != nil {
		t.Fatalf("%q without secrets is %q: %v", short, got, err)
	}
	if dropSecrets(all); !reflect.DeepEqual(all, rest) {
		t.Fatalf("%q without secrets is %q", short, got)
	}
}

// dropSecrets takes the secrets out of decoded JSON.
func dropSecrets(v any) {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			if isSecret([]byte(k)) {
				delete(v, k)
			}
			dropSecrets(e)
		}
	case []any:
		for _, e := range v {
			dropSecrets(e)
		}
	}
}

func TestScannerIsAsStrictAsJSON(t *testing.T) {
	for _, s := range oddJSON() {
		scanned(t, []byte(s))
	}
	// Every byte at every place of a small report.
	const small = `{"a":[-1.5e+7,true,null],"push-token":"\u00e4\n","b":{}}`
	for i := range small {
		for c := range 256 {
			b := []byte(small)
			b[i] = byte(c)
			scanned(t, b)
			scanned(t, b[:i])
		}
	}
}

// FuzzScanner: what is taken for JSON is what encoding/json takes for it, and what is taken out of it are the secrets.
func FuzzScanner(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add(s)
	}
	for _, s := range oddJSON() {
		if len(s) < 1000 {
			f.Add([]byte(s))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) { scanned(t, b) })
}

// TestIsSecret: the letters decide, wherever they stand.
func TestIsSecret(t *testing.T) {
	for name, want := range map[string]bool{
		"": false, "token": true, "Token": true, "tokens": true, "TOKEN-S": true, "to-ken_": true, "tokenised": false, "to\u212aen": false,
		"server-token": false, "ServerTokens": false, "declarations-token": false, "xserver-token": true,
		"magic": true, "PushMagic": true, "magician": false, "push magic number": true,
		"password": true, "UserPassword2": true, "passwor": false, "passphrase-hint": true, "secret": true, "SECRETARY": true, "secre": false,
		"private.key": true, "privatekeys": true, "recovery-key-id": true, "EscrowKey": true, "key": false, "monkey": false, "bootstrap-token-escrowed": true,
		strings.Repeat("x", 200) + "token": true, "identifier": false, "certificate": false,
	} {
		if got := isSecret([]byte(name)); got != want {
			t.Errorf("%q: %t, want %t", name, got, want)
		}
	}
}
