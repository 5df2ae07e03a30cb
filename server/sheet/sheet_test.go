package sheet

import (
	"bytes"
	"encoding/csv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"plimsoll/server/fleet"
	"plimsoll/status/compliance"
)

func TestHarmless(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "Mac": "Mac", "-5": "-5", "+1.5": "+1.5", "=1+1": "'=1+1", "@SUM(A1)": "'@SUM(A1)", "-2+3": "'-2+3", "\tx": "'\tx", "a=b": "a=b", "\nx": "'\nx",
		" =1": "' =1", "\"=1": "'\"=1", "＝1+1": "'＝1+1", "Eve;=cmd|'/C calc'!A0": "Eve;'=cmd|'/C calc'!A0", "Eve; =1;+2": "Eve; '=1;'+2", "a\n=1": "a\n'=1",
		"a;\"=1": "a;\"'=1", "a;b": "a;b", "2026-12-01": "2026-12-01", "C02-X": "C02-X",
	} {
		if got := harmless(in); got != want {
			t.Errorf("harmless(%q) = %q, want %q", in, got, want)
		}
	}
}

func read(t *testing.T, b []byte, err error) [][]string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasSuffix(b, []byte("\r\n")) {
		t.Errorf("%q does not end with CRLF", b)
	}
	rows, err := csv.NewReader(bytes.NewReader(b)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func TestTable(t *testing.T) {
	type word string
	type inner struct {
		Deep string `json:"deep"`
	}
	type row struct {
		Name   string `json:"name"`
		inner  `json:"-"`
		N      int               `json:"n"`
		Flags  []word            `json:"flags"`
		When   time.Time         `json:"when_at"`
		Maybe  *string           `json:"maybe"`
		Map    map[string]int    `json:"map"`
		Hidden string            `json:"-"`
		None   map[string]string `json:"none"`
	}
	yes := "yes"
	b, err := Table([]row{{Name: "=x", N: 3, Flags: []word{"a", "b"}, When: time.Date(2026, 8, 1, 2, 3, 4, 0, time.FixedZone("", 3600)), Maybe: &yes, Map: map[string]int{"k": 1}}, {}})
	want := [][]string{
		{"name", "n", "flags", "when_at", "maybe", "map", "none"},
		{"'=x", "3", "a b", "2026-08-01T01:03:04Z", "yes", `{"k":1}`, ""},
		{"", "0", "", "", "", "", ""},
	}
	if diff := cmp.Diff(want, read(t, b, err)); diff != "" {
		t.Error(diff)
	}
}

func TestDevices(t *testing.T) {
	name := "all"
	d := fleet.Device{ID: "A", Serial: "C02", Name: "@Eve", Flags: []string{"silent", "prerelease"}, Policy: &name}
	b, err := Devices([]fleet.Device{d})
	rows := read(t, b, err)
	if diff := cmp.Diff(DeviceColumns, rows[0]); diff != "" {
		t.Error(diff)
	}
	if got := strings.Join(rows[1], "|"); got != "A|C02|'@Eve||||||||silent prerelease|all|||||||" {
		t.Error(got)
	}
}

func TestHistory(t *testing.T) {
	b, err := History([]fleet.HistoryDay{{Date: "2026-08-01", Devices: 3, States: map[string]int{"pending": 2}, Flags: map[string]int{"silent": 1}, Versions: map[string]int{"26.6": 3}}})
	rows := read(t, b, err)
	if len(rows) != 2 || len(rows[0]) != 3+len(compliance.States)+len(compliance.FlagNames) {
		t.Fatalf("%v", rows)
	}
	got := map[string]string{}
	for i, name := range rows[0] {
		got[name] = rows[1][i]
	}
	for name, want := range map[string]string{"date": "2026-08-01", "devices": "3", "state_pending": "2", "state_held": "0", "flag_silent": "1", "versions": `{"26.6":3}`} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
}
