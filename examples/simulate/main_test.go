package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"plimsoll/examples/simulate/model"
)

func TestRun(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	var table bytes.Buffer
	if err := run([]string{"-n", "20", "-seed", "5", "-out", out}, &table, io.Discard); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(out, "simulate.json"))
	if err != nil {
		t.Fatal(err)
	}
	var r model.Report
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	if r.Macs != 20 || r.Seed != 5 || len(r.Results) < 10 {
		t.Errorf("%d Macs, seed %d, %d scenarios", r.Macs, r.Seed, len(r.Results))
	}
	for _, x := range r.Results {
		if !strings.Contains(table.String(), x.Name) {
			t.Errorf("the table lacks %q", x.Name)
		}
	}
	if info, err := os.Stat(filepath.Join(out, "simulate.svg")); err != nil || info.Size() == 0 {
		t.Errorf("simulate.svg: %v", err)
	}
}

func TestWrongArguments(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"-n 0", "-n is 0"}, {"-n 2000000", "-n is 2000000"}, {"-seed x", "-seed"}, {"-days 3", "-days"},
	} {
		err := run(strings.Fields(tt.args+" -out "+t.TempDir()), io.Discard, io.Discard)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want an error about %s", tt.args, err, tt.want)
		}
	}
}
