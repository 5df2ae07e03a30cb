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
	if len(rows) != 9 {
		t.Fatalf("%d rows, want 9", len(rows))
	}
	for _, r := range rows {
		bad := r.Fails + r.Hangs
		switch {
		case bad == 0 && (r.Halted != 0 || r.Hit != 0):
			t.Errorf("a perfect release on %d Macs: halted in %v %% of the fleets, %v Macs hit", r.Macs, r.Halted, r.Hit)
		case bad == 30 && r.Halted <= 80:
			t.Errorf("a release that fails on %v %% and hangs on %v %% of 20 Macs is halted in %v %% of the fleets, want over 80", r.Fails, r.Hangs, r.Halted)
		case bad > 5 && r.Hit == 0:
			t.Errorf("a release that fails on %v %% and hangs on %v %% of 20 Macs hit none", r.Fails, r.Hangs)
		case (r.HaltedAfter < 0) != (r.Halted == 0):
			t.Errorf("halted in %v %% after %v days", r.Halted, r.HaltedAfter)
		}
		if len(r.Rings) != 3 {
			t.Fatalf("%d rings, want 3", len(r.Rings))
		}
		// By time the broad ring opens 3 days before the due date of day 14; a gate that went well opens it from day 5 on.
		if broad := r.Rings[2]; bad == 0 && (broad.In != 100 || broad.Days < 4 || broad.Days > 11.5) {
			t.Errorf("a perfect release reached the broad ring in %v %% of the fleets, after %v days", broad.In, broad.Days)
		}
	}
	var b bytes.Buffer
	if err := WriteGates(&b, rows); err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(b.String(), "\n"); lines != 10 || !strings.Contains(b.String(), "broad after days") {
		t.Errorf("%d lines, want 10:\n%s", lines, b.String())
	}
	t.Log("\n" + b.String())
}

// What rules 13 promise of the gate: no halt of a perfect release at any size, over 80 % of one that fails on 30 % at 200 Macs, all at
// 5,000.
func TestGateOfLargerFleets(t *testing.T) {
	catalogues, err := Catalogues()
	if err != nil {
		t.Fatal(err)
	}
	scenario, err := gateScenario()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		row         GateRow
		least, most float64
	}{
		{GateRow{Macs: 200, Fleets: 5}, 0, 0},
		{GateRow{Macs: 200, Fails: 30, Fleets: 5}, 81, 100},
		{GateRow{Macs: 5000, Fleets: 1}, 0, 0},
		{GateRow{Macs: 5000, Fails: 30, Fleets: 1}, 100, 100},
	} {
		row := tt.row
		if err := row.fill(scenario, Default, 3, catalogues[:gateDays]); err != nil {
			t.Fatal(err)
		}
		if row.Halted < tt.least || row.Halted > tt.most {
			t.Errorf("%d Macs, fails on %v %%: halted in %v %% of the fleets, want %v to %v", row.Macs, row.Fails, row.Halted, tt.least, tt.most)
		}
	}
}
