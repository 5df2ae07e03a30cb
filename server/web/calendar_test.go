package web_test

import (
	"context"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

func TestCalendar(t *testing.T) {
	w := newWorld(t)
	w.enrol(air)
	w.put(`{"name":"everyone","label":"All Macs","priority":10,"updates":{"mode":"minimum","version":"26.6.2","deadline":"2026-09-10T12:00:00"}}`)
	w.settle("MAC-1")
	c := w.client().signIn(adminToken)
	cell := func(body, day string) string {
		return regexp.MustCompile(`<td class="day[^"]*"[^>]*><span[^>]*>\d+</span>[^\n]*?href="/calendar\?day=` + day + `#due">1<`).FindString(body)
	}
	if p := c.get("/calendar"); p.status != http.StatusOK || cell(p.body, "2026-09-10") == "" || !strings.Contains(p.body, "<caption>October 2026</caption>") {
		t.Fatalf("the calendar: %d %s", p.status, p.body)
	}
	if p := c.get("/calendar?day=2026-09-10"); !strings.Contains(p.body, "Due on Thursday 10 September 2026") || !strings.Contains(p.body, "C02AAA") {
		t.Error("the day does not show whom")
	}
	if p := c.get("/calendar?day=2026-09-11"); !strings.Contains(p.body, "No Mac is due on this day.") {
		t.Error("a day without deadlines shows Macs")
	}
	if p := c.get("/calendar?day=soon"); p.status != http.StatusUnprocessableEntity {
		t.Errorf("a day that is none: %d", p.status)
	}
	form := []string{"name", "Launch week", "from", "2026-09-21", "to", "2026-09-25", "reason", "the launch"}
	if p := c.send("/calendar/freezes", append(form, "step", "preview")...); p.status != http.StatusOK || !strings.Contains(p.body, "Save the freeze launch-week?") {
		t.Errorf("its impact: %d", p.status)
	}
	if p := c.send("/calendar/freezes", form...); p.status != http.StatusSeeOther {
		t.Fatalf("a freeze: %d %s", p.status, p.body)
	}
	body := c.get("/calendar").body
	if n := strings.Count(body, `title="Freeze launch-week"`); n != 5 {
		t.Errorf("%d days are shaded, want 5", n)
	}
	for name, wrong := range map[string][]string{
		"from": {"name", "x", "from", "soon", "to", "2026-09-25", "reason", "r"}, "to": {"name", "x", "from", "2026-09-25", "to", "2026-09-20", "reason", "r"},
		"reason": {"name", "x", "from", "2026-09-21", "to", "2026-09-25"},
	} {
		if p := c.send("/calendar/freezes", wrong...); p.status != http.StatusUnprocessableEntity || !strings.Contains(p.body, `id="`+name+`-fault"`) {
			t.Errorf("%s: %d", name, p.status)
		}
	}
	if p := c.send("/calendar/freezes/delete", "name", "launch-week", "confirm", "yes"); p.status != http.StatusSeeOther {
		t.Errorf("lifting it: %d", p.status)
	}
	if p, err := w.Freezes(context.Background(), 10, ""); err != nil || len(p.Items) != 0 {
		t.Errorf("freezes left: %v, %v", p.Items, err)
	}
}

// An edit on the page leaves alone the parts that its form does not show.
func TestTheEditorKeepsRingsAndDays(t *testing.T) {
	w := newWorld(t)
	w.put(`{"name":"staged","priority":10,"updates":{"mode":"automatic","within_days":14,"days":["tue","wed","thu"]},"rings":[{"name":"pilot","percent":10},{"name":"all"}]}`)
	_, etag, err := w.Policy(context.Background(), "staged")
	w.must(err)
	c := w.client().signIn(adminToken)
	if p := c.send("/policies", "original", "staged", "etag", etag, "name", "staged", "label", "Staged", "priority", "10", "updates.mode", "automatic", "updates.within_days", "14", "step", "save"); p.status != http.StatusSeeOther {
		t.Fatalf("saving: %d %s", p.status, p.body)
	}
	p, _, err := w.Policy(context.Background(), "staged")
	if err != nil || p.Label != "Staged" || len(p.Rings) != 2 || len(p.Updates.Days) != 3 {
		t.Errorf("afterwards: %+v, %v", p, err)
	}
}
