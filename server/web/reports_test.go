package web_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
)

// The page is honest about a fleet that missed nothing, and refuses a limit that is none.
func TestReportsPage(t *testing.T) {
	w := newWorld(t)
	w.enrol(air)
	c := w.client().signIn(adminToken)
	if err := w.CloseDays(context.Background()); err != nil {
		t.Fatal(err)
	}
	if p := c.get("/reports?sla=cis"); p.status != http.StatusOK || !strings.Contains(p.body, "No Mac missed a release") ||
		!strings.Contains(p.body, `href="/reports" aria-current="page"`) {
		t.Errorf("a fleet without rows: %d %s", p.status, p.body)
	}
	if p := c.get("/reports?sla=pci"); p.status != http.StatusUnprocessableEntity || !strings.Contains(p.body, "pci") {
		t.Errorf("an unknown profile: %d %s", p.status, p.body)
	}
}
