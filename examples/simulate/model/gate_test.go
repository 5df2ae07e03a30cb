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
