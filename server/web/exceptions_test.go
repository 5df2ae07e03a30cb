package web_test

import (
	"context"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"plimsoll/server/fleet"
)

func TestExemptionOnTheDevicePage(t *testing.T) {
	w := newWorld(t)
	w.enrol(air)
	w.put(`{"name":"everyone","priority":10,"updates":{"mode":"automatic","within_days":14}}`)
	w.settle("MAC-1")
	c := w.client().signIn(adminToken)
	for at, form := range map[string][]string{
		"until": {"until", "someday", "reason", "r"}, "reason": {"until", "2026-09-10"},
	} {
		p := c.send("/devices/MAC-1/exemption", form...)
		if p.status != http.StatusUnprocessableEntity || !strings.Contains(p.body, `id="`+at+`-fault"`) {
			t.Errorf("%s: %d", at, p.status)
		}
	}
	for name, until := range map[string]string{"in the past": "2026-08-23", "too far": "2027-08-23"} {
		if p := c.send("/devices/MAC-1/exemption", "until", until, "reason", "r"); p.status != http.StatusUnprocessableEntity || !strings.Contains(p.body, until) {
			t.Errorf("%s: %d", name, p.status)
		}
	}
	if p := c.send("/devices/MAC-1/exemption", "until", "2026-09-10", "reason", "a demo"); p.status != http.StatusSeeOther {
		t.Fatalf("an exemption: %d %s", p.status, p.body)
	}
	// It lasts to the end of that day in the server's zone, Berlin.
	if x, err := w.Exemption(context.Background(), "MAC-1"); err != nil || x.Until.Format("2006-01-02T15:04") != "2026-09-10T22:00" {
		t.Errorf("it is kept as %+v, %v", x, err)
	}
	body := c.get("/devices/MAC-1").body
	for _, want := range []string{"2026-09-11 00:00 CEST", "a demo", `value="2026-09-10"`, "End the exemption now", "Change the exemption"} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if p := c.send("/devices/MAC-1/exemption", "until", "2026-09-12", "reason", "a longer demo"); p.status != http.StatusSeeOther {
		t.Errorf("lengthening it: %d", p.status)
	}
	if p := c.send("/devices/MAC-1/exemption/end"); p.status != http.StatusSeeOther {
		t.Errorf("ending it: %d", p.status)
	}
	if d, err := w.Device(context.Background(), "MAC-1"); err != nil || d.Exemption != nil {
		t.Errorf("afterwards: %+v, %v", d.Exemption, err)
	}
	if p := c.send("/devices/MAC-1/exemption/end"); p.status != http.StatusNotFound {
		t.Errorf("ending none: %d", p.status)
	}
	if p := c.send("/devices/none/exemption", "until", "2026-09-12", "reason", "r"); p.status != http.StatusNotFound {
		t.Errorf("of a Mac that is none: %d", p.status)
	}
}

func TestUpdateNowOnTheDevicePage(t *testing.T) {
	w := newWorld(t)
	w.enrol(air)
	w.put(`{"name":"everyone","priority":10,"updates":{"mode":"automatic","within_days":14}}`)
	w.settle("MAC-1")
	c := w.client().signIn(adminToken)
	if p := c.send("/devices/MAC-1/update"); p.status != http.StatusUnprocessableEntity || !strings.Contains(p.body, "The reason must have 1 to 500 characters.") {
		t.Errorf("without a reason: %d", p.status)
	}
	p := c.send("/devices/MAC-1/update", "reason", "an incident")
	if p.status != http.StatusOK || !strings.Contains(p.body, "The Mac installs macOS 26.6.2 within about an hour") {
		t.Fatalf("before it is confirmed: %d %s", p.status, p.body)
	}
	if d, err := w.Device(context.Background(), "MAC-1"); err != nil || d.UpdateNow != nil {
		t.Errorf("it was done without a confirmation: %+v, %v", d.UpdateNow, err)
	}
	if p := c.send("/devices/MAC-1/update", "reason", "an incident", "confirm", "yes"); p.status != http.StatusSeeOther {
		t.Fatalf("confirmed: %d %s", p.status, p.body)
	}
	if body := c.get("/devices/MAC-1").body; !strings.Contains(body, "macOS 26.6.2 is installed as soon as the Mac can: an incident") || !strings.Contains(body, "Take this back") {
		t.Error("the page does not show it")
	}
	if p := c.send("/devices/MAC-1/update/end"); p.status != http.StatusSeeOther {
		t.Errorf("taking it back: %d", p.status)
	}
	_, _, err := w.SetPause(context.Background(), "a fire", fleet.WriteOptions{By: fleet.Origin{Actor: "test"}, Confirm: true})
	w.must(err)
	if p := c.send("/devices/MAC-1/update", "reason", "an incident", "confirm", "yes"); p.status != http.StatusConflict || !strings.Contains(p.body, "Enforcement is paused.") {
		t.Errorf("while paused: %d", p.status)
	}
}

// postForm matches a form that writes, with its address and its content.
var postForm = regexp.MustCompile(`(?s)<form method="post" action="([^"]*)"[^>]*>(.*?)</form>`)

// An operator acts on single Macs and on nothing else; one who reads does neither.
func TestWhoActsOnSingleMacs(t *testing.T) {
	w := newWorld(t)
	w.enrol(air)
	w.put(`{"name":"everyone","priority":10,"updates":{"mode":"automatic","within_days":14}}`)
	_, _, _, err := w.PutGroup(context.Background(), "lab", nil, fleet.WriteOptions{By: fleet.Origin{Actor: "test"}, Confirm: true})
	w.must(err)
	for scope, want := range map[fleet.Scope]struct{ exempt, freeze int }{
		fleet.ScopeOperator: {http.StatusSeeOther, http.StatusForbidden}, fleet.ScopeRead: {http.StatusForbidden, http.StatusForbidden},
	} {
		c := w.client().signIn(w.token(string(scope), scope))
		if p := c.send("/devices/MAC-1/exemption", "until", "2026-09-10", "reason", "a demo"); p.status != want.exempt {
			t.Errorf("%s: an exemption is %d", scope, p.status)
		}
		if p := c.send("/calendar/freezes", "name", "x", "from", "2026-09-21", "to", "2026-09-25", "reason", "r", "confirm", "yes"); p.status != want.freeze {
			t.Errorf("%s: a freeze is %d", scope, p.status)
		}
		may := want.exempt == http.StatusSeeOther
		for path, allowed := range map[string]bool{"sync": may, "groups": may, "remove": false} {
			if p := c.send("/devices/MAC-1/"+path, "shown", "lab", "group", "lab"); (p.status == http.StatusSeeOther) != allowed {
				t.Errorf("%s: %s is %d", scope, path, p.status)
			}
			if has := strings.Contains(c.get("/devices/MAC-1").body, `action="/devices/MAC-1/`+path); has != allowed {
				t.Errorf("%s: the button of %s is there: %v", scope, path, has)
			}
		}
		if g, err := w.Group(context.Background(), "lab"); err != nil || (len(g.Devices) == 1) != may {
			t.Errorf("%s: the group has %v, %v", scope, g.Devices, err)
		}
		_, _, err := w.EditGroup(context.Background(), "lab", nil, []string{"MAC-1", "C02AAA", air.serial}, fleet.WriteOptions{By: fleet.Origin{Actor: "test"}, Confirm: true})
		w.must(err)
		for _, page := range []string{"/", "/devices", "/policies", "/policies/everyone", "/groups", "/groups/lab", "/releases", "/enrollment", "/calendar", "/settings", "/devices/MAC-1"} {
			body := c.get(page).body
			for _, form := range postForm.FindAllStringSubmatch(body, -1) {
				if strings.Contains(form[2], "<button") && form[1] != "/logout" && !(may && strings.HasPrefix(form[1], "/devices/MAC-1/")) {
					t.Errorf("%s: %s has a button of the form %s, which may not be sent", scope, page, form[1])
				}
			}
		}
		if has := strings.Contains(c.get("/devices/MAC-1").body, "/devices/MAC-1/exemption"); has != (want.exempt == http.StatusSeeOther) {
			t.Errorf("%s: the form is there: %v", scope, has)
		}
	}
}
