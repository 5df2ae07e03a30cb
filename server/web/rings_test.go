package web_test

import (
	"context"
	"fmt"
	"html"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
	"plimsoll/server/fleet"
)

const staged = `{"name":"staged","priority":10,"updates":{"mode":"automatic","within_days":14},"notice_days":2,"rings":[{"name":"pilot","groups":["it"],"within_days":2},{"name":"rest","min_age_days":9}],"gate":{"min_macs":4,"max_bad_percent":5}}`

// ringed is a world of 12 Macs, 6 of which are in the first of two rings; 26.6.2 is a week old.
func ringed(t *testing.T) *world {
	w := newWorld(t)
	var it []string
	for i := range 12 {
		m := air
		m.id, m.serial = fmt.Sprintf("MAC-%02d", i), fmt.Sprintf("C02%02d", i)
		w.enrol(m)
		if i < 6 {
			it = append(it, m.serial)
		}
	}
	_, _, _, err := w.PutGroup(context.Background(), "it", it, fleet.WriteOptions{By: fleet.Origin{Actor: "test"}, Confirm: true})
	w.must(err)
	w.put(staged)
	for i := range 12 {
		w.settle(fmt.Sprintf("MAC-%02d", i))
	}
	return w
}

// counts are the numbers of Macs that the editor shows at the rings.
func counts(body string) string {
	var out []string
	for _, m := range regexp.MustCompile(`<output[^>]*>([^<]*)</output>`).FindAllStringSubmatch(body, -1) {
		out = append(out, m[1])
	}
	return strings.Join(out, ", ")
}

// etagOf is the ETag of the policy that an editor shows.
func etagOf(body string) string {
	_, after, _ := strings.Cut(body, `name="etag" value="`)
	etag, _, _ := strings.Cut(after, `"`)
	return html.UnescapeString(etag)
}

func TestRingsInTheEditor(t *testing.T) {
	w := ringed(t)
	c := w.client().signIn(adminToken)
	body := c.get("/policies/staged").body
	if got := counts(body); got != "6 Macs, 6 Macs" {
		t.Errorf("the rings have %q", got)
	}
	form := []string{
		"original", "staged", "etag", etagOf(body), "name", "staged", "priority", "10", "updates.mode", "automatic", "updates.within_days", "14", "notice_days", "2",
		"rings[0].name", "pilot", "rings[0].groups", "it", "rings[0].within_days", "2", "rings[1].name", "rest", "rings[1].min_age_days", "9", "gate", "on", "gate.max_bad_percent", "5",
	}
	p := c.send("/policies", append(form, "step", "ring-add")...)
	if p.status != http.StatusOK || !strings.Contains(p.body, `name="rings[2].name" type="text" value="rest"`) || strings.Contains(p.body, "fault") && strings.Contains(p.body, "was not saved") {
		t.Errorf("a ring more: %d", p.status)
	}
	if p = c.send("/policies", append(form, "step", "ring-remove:0")...); p.status != http.StatusOK || strings.Contains(p.body, `name="rings[0].name"`) || !strings.Contains(p.body, "Use rings") {
		t.Errorf("without rings: %d", p.status)
	}
	// Without min_macs the gate asks for 20 Macs, and no ring has as many.
	p = c.send("/policies", append(form, "step", "check")...)
	if p.status != http.StatusOK || counts(p.body) != "6 Macs, 6 Macs" || strings.Contains(p.body, "What saving would do") {
		t.Errorf("a check: %d, %s", p.status, counts(p.body))
	}
	if n := strings.Count(p.body, "fewer than the 20"); n == 0 {
		_, warnings, _ := strings.Cut(p.body, `id="ring-warnings"`)
		t.Errorf("the check does not warn of small rings: %.900s", warnings)
	}
	early := append(append([]string{}, form...), "step", "check")
	for i, v := range early { // days of the ring after which the next opens by time too early
		if v == "rings[0].within_days" {
			early[i+1] = "13"
		}
	}
	if p = c.send("/policies", early...); p.status != http.StatusOK || !strings.Contains(p.body, "The ring rest opens by time") {
		t.Errorf("the check does not warn of a gate that sees nothing: %d", p.status)
	}
	faulty := append(append([]string{}, form...), "step", "check")
	for i, v := range faulty {
		if v == "rings[0].within_days" {
			faulty[i+1] = "15"
		}
	}
	if p = c.send("/policies", faulty...); p.status != http.StatusUnprocessableEntity || !strings.Contains(p.body, `id="rings[0].within_days-fault"`) {
		t.Errorf("days above those of updates: %d", p.status)
	}
	if p = c.send("/policies", append(form, "gate.min_macs", "4", "updates.days", "tue", "updates.days", "wed", "step", "save", "confirm", "yes")...); p.status != http.StatusSeeOther && p.status != http.StatusConflict {
		t.Fatalf("saving: %d %s", p.status, p.body)
	}
	if p.status == http.StatusConflict {
		_, after, _ := strings.Cut(p.body, `name="confirm" value="`)
		seen, _, _ := strings.Cut(after, `"`)
		p = c.send("/policies", append(form, "gate.min_macs", "4", "updates.days", "tue", "updates.days", "wed", "confirm", seen)...)
	}
	got, _, err := w.Policy(context.Background(), "staged")
	if err != nil || len(got.Rings) != 2 || *got.Gate.MinMacs != 4 || len(got.Updates.Days) != 2 || p.status != http.StatusSeeOther {
		t.Errorf("afterwards: %+v, %v, %d", got, err, p.status)
	}
	if p = c.get("/policies/staged?done=saved"); !strings.Contains(p.body, "Saved.") {
		t.Error("the policy's page does not say that it was saved")
	}
	form = append(form[:8:8], "updates.mode", "automatic", "updates.within_days", "14", "assign.groups", "nobody", "step", "save")
	form[3] = etagOf(c.get("/policies/staged").body)
	if p = c.send("/policies", append(form, "rings[0].name", "pilot", "rings[0].groups", "it", "rings[1].name", "rest")...); p.status != http.StatusSeeOther || p.location != "/policies/staged?done=saved" {
		t.Errorf("saving with a warning leads to %d %q", p.status, p.location)
	}
	if p = c.get("/policies/staged"); !strings.Contains(p.body, "Mind that") || counts(p.body) != "0 Macs, 0 Macs" {
		t.Errorf("the warning of an unknown group is not shown: %s", counts(p.body))
	}
}

// fail lets 26.6.2 fail on 3 of the 6 Macs of the first ring, so that the gate halts it.
func (w *world) fail() {
	w.t.Helper()
	w.report("MAC-00", `{"StatusItems":{"device":{"operating-system":{"version":"26.6.2","build-version":"25G83"}}},"Errors":[]}`)
	for i := 1; i < 4; i++ {
		w.report(fmt.Sprintf("MAC-%02d", i), `{"StatusItems":{"softwareupdate":{"install-state":"failed","failure-reason":{"count":1,"reason":"it fails","timestamp":"2026-08-24T07:12:00Z"},"pending-version":{"os-version":"26.6.2","build-version":"25G83"}}},"Errors":[]}`)
	}
	w.pass(3 * 24 * time.Hour)
	w.must(w.TurnGates(context.Background()))
}

// A release fails on 3 of the 6 Macs of the first ring: the gate halts it, the page says why, and an admin opens the next ring.
func TestTheWayThroughTheRings(t *testing.T) {
	w := ringed(t)
	c := w.client().signIn(adminToken)
	page := func() string {
		body := c.get("/policies/staged").body
		_, body, _ = strings.Cut(body, `id="live-progress"`)
		body, _, _ = strings.Cut(body, "</section>")
		return strings.Join(strings.Fields(said("<body>"+body)), " ")
	}
	if got := page(); !strings.Contains(got, "pilot 6 since") || !strings.Contains(got, "the first ring 6 0 0 rest 6 closed 0 0 0") ||
		!strings.Contains(got, "The gate waits for the ring rest until the release is 9 days old, on 2026-08-26.") {
		t.Errorf("at first: %s", got)
	}
	w.fail()
	c.signIn(adminToken) // a session lasts 8 hours
	got := page()
	if !strings.Contains(got, "halted") || !strings.Contains(got, "it fails on 3 of the 4 Macs that answered, and the gate takes 5 %") || !strings.Contains(got, "pilot 6 since") {
		t.Errorf("halted: %s", got)
	}
	if body := c.get("/policies").body; !strings.Contains(body, "Its gate halts 1 release.") {
		t.Error("the list of policies does not tell of the halt")
	}
	open := []string{"build", "25G83", "ring", "rest", "reason", "the failure is understood"}
	if p := c.send("/policies/staged/open", open[:4]...); p.status != http.StatusUnprocessableEntity {
		t.Errorf("without a reason: %d", p.status)
	}
	p := c.send("/policies/staged/open", open...)
	if p.status != http.StatusOK || !strings.Contains(p.body, "Open the ring rest for macOS 26.6.2?") {
		t.Errorf("before it is confirmed: %d %s", p.status, p.body)
	}
	if got := page(); !strings.Contains(got, "rest 6 closed") {
		t.Errorf("it was opened without a confirmation: %s", got)
	}
	if p = c.send("/policies/staged/open", append(open, "confirm", "yes")...); p.status != http.StatusSeeOther || p.location != "/policies/staged?done=opened" {
		t.Errorf("opening: %d %s", p.status, p.body)
	}
	if got := page(); !strings.Contains(got, "opened by hand") || !strings.Contains(got, "the halt keeps nothing back") {
		t.Errorf("opened: %s", got)
	}
	if p = c.send("/policies/staged/open", "build", "25G83", "ring", "nowhere", "reason", "r", "confirm", "yes"); p.status != http.StatusUnprocessableEntity {
		t.Errorf("a ring that is none: %d", p.status)
	}
}

// TestRolloutPages looks at the pages of when and to whom in every way: wide and narrow, light and dark.
func TestRolloutPages(t *testing.T) {
	w := ringed(t)
	w.fail()
	ctx := context.Background()
	_, err := w.PutExemption(ctx, "MAC-07", w.now().Add(20*24*time.Hour), "in a demo until the fair is over", fleet.Origin{Actor: "ada"})
	w.must(err)
	_, err = w.PutUpdateNow(ctx, "MAC-04", "the incident of today", fleet.Origin{Actor: "ada"})
	w.must(err)
	for name, days := range map[string][2]string{"launch": {"2026-09-01", "2026-09-04"}, "year-end": {"2026-12-19", "2027-01-04"}} {
		from, err := release.ParseDay(days[0])
		w.must(err)
		to, err := release.ParseDay(days[1])
		w.must(err)
		_, err = w.PutFreeze(ctx, policy.Freeze{Name: name, From: from, To: to, Reason: "nobody is there"}, fleet.WriteOptions{By: fleet.Origin{Actor: "ada"}, Confirm: true})
		w.must(err)
	}
	for i := range 12 {
		w.settle(fmt.Sprintf("MAC-%02d", i))
	}
	pages := map[string]string{
		"rings": "/policies/staged", "exempt": "/devices/MAC-07", "update-now": "/devices/MAC-04", "freezes": "/calendar?freeze=launch", "far": "/calendar?months=3",
	}
	c := w.client().signIn(adminToken)
	for name, path := range pages {
		p := c.get(path)
		if speaksPlainly(t, name, p.body); p.status != http.StatusOK {
			t.Errorf("%s: %d", name, p.status)
		}
	}
	c.areSmall(pages)
	if body := c.get("/devices?policy=staged&ring=pilot").body; strings.Count(body, `data-label="State"`) != 6 || !strings.Contains(body, "Ring: pilot") {
		t.Error("the list of a ring's Macs has not its six")
	}
	b, dir := startBrowser(t), os.Getenv("PLIMSOLL_SCREENSHOTS")
	for kind, setup := range map[string][]action{
		"": {size(1440, 900)}, "-dark": {size(1440, 900), dark()}, "-narrow": {size(390, 844)}, "-narrow-dark": {size(390, 844), dark()},
	} {
		t.Run("page"+kind, func(t *testing.T) {
			v := b.tab(t, w, setup...)
			v.signIn(adminToken)
			for name, path := range pages {
				v.open(path)
				v.axe(name, "{}")
				if wide := ask(v, chromedp.Evaluate[int](`document.documentElement.scrollWidth - document.documentElement.clientWidth`)); wide > 0 {
					t.Errorf("%s is %d px too wide", name, wide)
				}
				if dir != "" {
					v.shoot(dir, "rollout-"+name+kind)
				}
			}
		})
	}

	t.Run("the count while one types", func(t *testing.T) {
		v := b.tab(t, w, size(1440, 900))
		v.signIn(adminToken)
		v.open("/policies/staged")
		if got := v.text("#count-1"); got != "6 Macs" {
			t.Errorf("the last ring has %q", got)
		}
		v.run(chromedp.Focus(`[name="rings[0].percent"]`), chromedp.SendKeys(`[name="rings[0].percent"]`, "99.99"))
		v.within(`document.querySelector("#count-0").textContent === "12 Macs"`)
		v.within(`document.querySelector("#count-1").textContent === "0 Macs"`)
		if got := ask(v, chromedp.Evaluate[string](`document.activeElement.name`)); got != "rings[0].percent" {
			t.Errorf("the focus went to %q", got)
		}
	})

	t.Run("a freeze by keyboard, without scripts", func(t *testing.T) {
		v := b.tab(t, w, size(1440, 900), noScript())
		v.signIn(adminToken)
		v.open("/calendar")
		v.run(chromedp.Focus("#name"), chromedp.KeyEvent("Audit"), chromedp.SetValue("#from", "2026-10-05"), chromedp.SetValue("#to", "2026-10-09"),
			chromedp.Focus("#reason"), chromedp.KeyEvent("the auditors are here"))
		v.follow(chromedp.KeyEvent("\r"))
		v.within(`document.querySelector("main") !== null`)
		if got := v.text("main"); !strings.Contains(got, "Saved.") && !strings.Contains(got, "Save the freeze audit") {
			t.Errorf("after the Enter key: %s", got)
		}
	})
}
