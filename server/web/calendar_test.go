package web_test

import (
	"context"
	"html"
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

func TestAFreezeIsChanged(t *testing.T) {
	w := newWorld(t)
	w.enrol(air)
	w.put(`{"name":"everyone","priority":10,"updates":{"mode":"automatic","within_days":14}}`)
	w.settle("MAC-1")
	c := w.client().signIn(adminToken)
	// Whole months behind, the Mac is due at the fair moment: Sunday 30 August.
	form := []string{"name", "Launch", "from", "2026-08-27", "to", "2026-08-31", "reason", "the launch"}
	if p := c.send("/calendar/freezes", append(form, "confirm", "yes")...); p.status != http.StatusSeeOther {
		t.Fatalf("a freeze: %d %s", p.status, p.body)
	}
	w.settle("MAC-1")
	body := c.get("/calendar").body
	for _, want := range []string{"2026-09-01</span>: <a href=\"/calendar?day=2026-09-01#due\">1 Mac due</a>", `href="/calendar?freeze=launch#freeze-h"`} {
		if !strings.Contains(body, want) {
			t.Errorf("beside the freeze there is no %q", want)
		}
	}
	if p := c.send("/calendar/freezes", form...); p.status != http.StatusConflict || !strings.Contains(p.body, "A freeze of this name exists") {
		t.Errorf("the same name again: %d", p.status)
	}
	body = c.get("/calendar?freeze=launch").body
	_, after, _ := strings.Cut(body, `name="etag" value="`)
	etag, _, _ := strings.Cut(after, `"`)
	etag = html.UnescapeString(etag)
	if !strings.Contains(body, "Change the freeze launch") || !strings.Contains(body, `value="2026-08-31"`) || etag == "" {
		t.Fatal("the form does not show the freeze")
	}
	change := []string{"original", "launch", "etag", etag, "from", "2026-08-27", "to", "2026-09-02", "reason", "it takes longer", "confirm", "yes"}
	if p := c.send("/calendar/freezes", change...); p.status != http.StatusSeeOther {
		t.Fatalf("changing it: %d %s", p.status, p.body)
	}
	if f, _, err := w.Freeze(context.Background(), "launch"); err != nil || f.To.String() != "2026-09-02" || f.Reason != "it takes longer" {
		t.Errorf("after the change: %+v, %v", f, err)
	}
	if p := c.send("/calendar/freezes", change...); p.status != http.StatusConflict || !strings.Contains(p.body, "Somebody changed this freeze in between") {
		t.Errorf("a change of what was changed in between: %d", p.status)
	}
	if p := c.get("/calendar?freeze=none"); p.status != http.StatusNotFound {
		t.Errorf("a freeze that is none: %d", p.status)
	}
	if p := c.get("/calendar?months=3"); p.status != http.StatusOK || !strings.Contains(p.body, "<caption>November 2026</caption>") {
		t.Errorf("later months: %d", p.status)
	}
	if p := c.get("/calendar?months=soon"); p.status != http.StatusUnprocessableEntity {
		t.Errorf("months that are none: %d", p.status)
	}
}
