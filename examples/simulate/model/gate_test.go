package model

import (
	"bytes"
	"strings"
	"testing"
)

// A perfect release is never halted, and one that fails on 30 % of 20 Macs nearly always is.
func TestGates(t *testing.T) {
	rows, err := Gates([]int{20}, 1, Default)
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 5 {
		t.Fatalf("%d rows, want 5", len(rows))
	}
	for _, r := range rows {
		switch {
		case r.Fails == 0 && (r.Halted != 0 || r.Hit != 0):
			t.Errorf("a perfect release on %d Macs: halted in %v %% of the fleets, %v Macs hit", r.Macs, r.Halted, r.Hit)
		case r.Fails == 30 && r.Macs == 20 && r.Halted <= 80:
			t.Errorf("a release that fails on 30 %% of 20 Macs is halted in %v %% of the fleets, want over 80", r.Halted)
		case r.Fails > 5 && r.Macs == 20 && r.Hit == 0:
			t.Errorf("a release that fails on %v %% of 20 Macs hit none", r.Fails)
		}
	}
	var b bytes.Buffer
	if err := WriteGates(&b, rows); err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(b.String(), "\n"); lines != 6 {
		t.Errorf("%d lines, want 6:\n%s", lines, b.String())
	}
}
