package web_test

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"plimsoll/server/fleet"
)

//go:embed testdata/axe.min.js
var axe string

// addresses are all pages of the seeded world.
func (w *world) addresses() map[string]string {
	return map[string]string{
		"login": "/login", "fleet": "/", "devices": "/devices", "filtered": "/devices?state=overdue&flag=past_deadline", "device": "/devices/MAC-048", "overdue": "/devices/MAC-046",
		"report": "/devices/MAC-048/reports/1", "policies": "/policies", "policy": "/policies/everyone", "new-policy": "/policies/new", "groups": "/groups", "group": "/groups/eng",
		"releases": "/releases", "as-of": "/releases?as_of=2026-08-20", "enrollment": "/enrollment", "not-found": "/devices/none", "nowhere": "/nothing/here", "settings": "/settings", "calendar": "/calendar?day=2026-08-31",
		"timeline": "/devices/MAC-048?tab=timeline", "declarations": "/devices/MAC-048?tab=declarations", "reports": "/devices/MAC-048?tab=reports", "commands": "/devices/MAC-048?tab=commands", "command": "/devices/MAC-048/commands/C-1", "self-none": "/self/none", "self": w.self("MAC-034"), "self-overdue": w.self("MAC-046"), "self-failing": w.self("MAC-048"),
	}
}

// mainPages are those that are looked at in every way.
var mainPages = []string{"fleet", "devices", "device", "timeline", "commands", "policies", "policy", "releases", "settings", "calendar", "enrollment", "groups", "self", "nowhere"}

// TestScreenshots keeps a picture of each page, and of the main ones in the dark and on a narrow screen (make screenshots).
func TestScreenshots(t *testing.T) {
	dir := os.Getenv("PLIMSOLL_SCREENSHOTS")
	if dir == "" {
		t.Skip("PLIMSOLL_SCREENSHOTS does not say where the pictures are to go")
	}
	w := newWorld(t)
	w.seed()
	b := startBrowser(t)
	for kind, setup := range map[string][]action{"": {size(1440, 900)}, "-dark": {size(1440, 900), dark()}, "-narrow": {size(390, 844)}, "-narrow-dark": {size(390, 844), dark()}} {
		v := b.tab(t, w, setup...)
		v.open("/login")
		v.shoot(dir, "login"+kind)
		v.signIn(adminToken)
		for name, path := range w.addresses() {
			if name != "login" && (kind == "" || slices.Contains(mainPages, name)) {
				v.open(path)
				v.shoot(dir, name+kind)
			}
		}
	}
	v := b.tab(t, w, size(1080, 680)) // those of the README show what fits on a screen
	v.signIn(adminToken)
	for _, name := range []string{"fleet", "device"} {
		v.open(w.addresses()[name])
		v.keep(dir, "readme-"+name, ask(v, chromedp.CaptureScreenshot()))
	}
}

// TestEveryPage opens every page with and without scripts: both say the same, axe-core finds no serious fault, nothing is loaded from
// elsewhere or in vain. The main ones are looked at in the dark and on a narrow screen too.
func TestEveryPage(t *testing.T) {
	w := newWorld(t)
	w.seed()
	b := startBrowser(t)
	plain, without := b.tab(t, w, size(1440, 900)), b.tab(t, w, size(1440, 900), noScript())
	for _, v := range []*tab{plain, without} {
		v.open("/login")
	}
	plain.axe("login", "{}")
	plain.signIn(adminToken)
	without.signIn(adminToken)
	for name, path := range w.addresses() {
		if name == "login" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			v, bare := plain.in(t), without.in(t)
			v.open(path)
			bare.open(path)
			whole := "main"
			if strings.HasPrefix(name, "self") { // there the script spares the user a choice
				whole = "h1"
			}
			if a, b := v.text(whole), bare.text(whole); a != b || a == "" {
				t.Errorf("with scripts it says\n%s\n--- without\n%s", a, b)
			}
			foreign := ask(v, chromedp.Evaluate[string](`performance.getEntriesByType("resource").map((r) => r.name).filter((n) => !n.startsWith(location.origin)).join(" ")`))
			failed := ask(v, chromedp.Evaluate[string](`performance.getEntriesByType("resource").filter((r) => r.responseStatus >= 400).map((r) => r.name).join(" ")`))
			if foreign != "" || failed != "" {
				t.Errorf("it loads %q from elsewhere, and %q in vain", foreign, failed)
			}
			v.axe(name, "{}")
		})
	}
	for kind, setup := range map[string]action{"dark": chromedp.Steps(size(1440, 900), dark()), "narrow": size(390, 844)} {
		t.Run(kind, func(t *testing.T) {
			v := b.tab(t, w, setup)
			v.signIn(adminToken)
			for _, name := range mainPages {
				v.open(w.addresses()[name])
				v.axe(name, `{runOnly: ["color-contrast", "target-size"]}`)
				if wide := ask(v, chromedp.Evaluate[int](`document.documentElement.scrollWidth - document.documentElement.clientWidth`)); wide > 0 {
					t.Errorf("%s is %d px too wide", name, wide)
				}
				const cut = `[...document.querySelectorAll("main table.rows tr, main table.rows tr > *")].filter((e) => e.getBoundingClientRect().right > innerWidth - 16).map((e) => e.textContent.trim().slice(0, 40)).join(" | ")`
				if hidden := ask(v, chromedp.Evaluate[string](cut)); kind == "narrow" && hidden != "" {
					t.Errorf("%s: cut off at the right: %s", name, hidden)
				}
			}
		})
	}
}

// in is the tab for a subtest.
func (v *tab) in(t testing.TB) *tab { return &tab{t, v.ctx, v.w} }

func (v *tab) axe(name, options string) {
	v.t.Helper()
	v.run(chromedp.Evaluate[chromedp.Void](axe))
	found := ask(v, chromedp.Evaluate[string](`axe.run(document, Object.assign({resultTypes: ["violations"]}, `+options+`)).then((r) => JSON.stringify(r.violations
		.filter((f) => f.impact === "serious" || f.impact === "critical")
		.map((f) => f.id + ": " + f.help + "\n  " + f.nodes.slice(0, 4).map((n) => n.html.slice(0, 200) + " " + (n.any[0]?.message ?? "")).join("\n  "))))`, chromedp.EvalAwaitPromise))
	var faults []string
	v.must(json.Unmarshal([]byte(found), &faults))
	for _, f := range faults {
		v.t.Errorf("%s: %s", name, f)
	}
}

func (v *tab) must(err error) {
	v.t.Helper()
	if err != nil {
		v.t.Fatal(err)
	}
}

// within waits until an expression of the page is true.
func (v *tab) within(expression string) {
	v.t.Helper()
	insist(v, chromedp.Poll[chromedp.Void](expression))
}

// insist asks for what only looks at the page, and asks again when another page, or another part of it, came meanwhile.
func insist[T any](v *tab, a chromedp.Action[T]) T {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.ctx, patience)
	defer cancel()
	for {
		got, err := chromedp.Run(ctx, a)
		if err == nil {
			return got
		}
		if !replaced(err) || ctx.Err() != nil {
			v.t.Fatal(err)
		}
	}
}

// replaced tells whether what was looked at is there no more.
func replaced(err error) bool {
	for _, text := range []string{"node with given id", "context with specified id", "context was destroyed", "Inspected target navigated"} {
		if strings.Contains(err.Error(), text) {
			return true
		}
	}
	return false
}

// press clicks what leads to another page, and waits until that has come.
func (v *tab) press(selector string) {
	v.t.Helper()
	v.follow(chromedp.Click(selector))
}

// follow does what leads to another page, and waits until that has come.
func (v *tab) follow(a action) {
	v.t.Helper()
	ask(v, chromedp.WaitEvent(cdppage.LoadEventFired, func(cdppage.EventLoadEventFired) bool { return true }, a))
}

func (v *tab) text(selector string) string {
	v.t.Helper()
	v.within(fmt.Sprintf(`document.querySelector(%q) !== null`, selector))
	return insist(v, chromedp.Evaluate[string](fmt.Sprintf(`document.querySelector(%q).innerText.trim()`, selector)))
}

func TestInABrowser(t *testing.T) {
	b := startBrowser(t)

	t.Run("signing in and out", func(t *testing.T) {
		w := newWorld(t)
		v := b.tab(t, w, size(1440, 900))
		v.open("/devices?sort=deadline")
		v.run(chromedp.SendKeys("#token", "wrong"))
		v.press(".login button")
		if got := v.text("#login-fault"); got != "This token is not known." {
			t.Errorf("a wrong token: %q", got)
		}
		v.run(chromedp.SendKeys("#token", adminToken))
		v.press(".login button")
		if got := ask(v, chromedp.Location()); got != w.srv.URL+"/devices?sort=deadline" {
			t.Errorf("signing in leads to %s", got)
		}
		v.press(".who button")
		v.open("/devices")
		if got := v.text("h1"); got != "Sign in" {
			t.Errorf("after signing out: %q", got)
		}
	})

	t.Run("a policy through the editor, stopped by the guard", func(t *testing.T) {
		w := newWorld(t)
		for i := range 12 {
			m := air
			m.id, m.serial = fmt.Sprintf("MAC-%d", i), fmt.Sprintf("C02%d", i)
			w.enrol(m)
		}
		v := b.tab(t, w, size(1440, 900))
		v.signIn(adminToken)
		v.open("/policies")
		v.press(".head .button")
		v.run(chromedp.SendKeys(`[name="name"]`, "Strict"), chromedp.Evaluate[chromedp.Void](`document.querySelector("[name=priority]").value = "300"`),
			chromedp.Click(`[value="minimum"]`), chromedp.WaitVisible(`[name="updates.version"]`), chromedp.WaitNotVisible(`[name="updates.within_days"]`),
			chromedp.SendKeys(`[name="updates.version"]`, "26.6.2"), chromedp.SetValue(`[name="updates.deadline"]`, "2026-08-28T12:00"))
		v.press(`.actions button[value="save"]`)
		if got := v.text(`[id="name-fault"]`); !strings.Contains(got, "begin with a letter or a digit") {
			t.Errorf("at the name stands %q", got)
		}
		v.run(chromedp.SetValue(`[name="name"]`, "strict"))
		v.press(`.actions button[value="preview"]`)
		if got := v.text("#impact"); !strings.Contains(got, "newly asked for an update") || !strings.Contains(got, "macOS 26.6.2") {
			t.Errorf("the impact says %q", got)
		}
		if got := v.text("#impact .lead"); !strings.HasPrefix(got, "12 Macs restart by Friday 28 August 2026, 12:00.") {
			t.Errorf("the impact begins with %q", got)
		}
		if got := v.text("#impact .guard"); !strings.Contains(got, "would newly be due within 7 days") {
			t.Errorf("the guard says %q", got)
		}
		if _, _, err := w.Policy(context.Background(), "strict"); err == nil {
			t.Fatal("the guard let the policy through")
		}
		v.press("#impact button")
		if got := v.text(".notice"); got != "Saved." {
			t.Errorf("after confirming: %q", got)
		}
		if got := v.text(".policy .words"); !strings.HasPrefix(got, "All Macs must run macOS 26.6.2 or newer by 28 August 2026 at 12:00 local, with 1 day's notice.") {
			t.Errorf("in words: %q", got)
		}
	})

	t.Run("a Mac becomes compliant before one's eyes", func(t *testing.T) {
		w := newWorld(t)
		w.enrol(air)
		w.put(`{"name":"everyone","priority":10,"updates":{"mode":"automatic","within_days":14}}`)
		w.settle("MAC-1")
		v := b.tab(t, w, size(1440, 900))
		v.signIn(adminToken)
		v.open("/devices/MAC-1")
		v.within(`document.body.dataset.streaming === "yes"`)
		if got := v.text(".lead .badge"); got != "Pending" {
			t.Fatalf("before: %q", got)
		}
		v.run(chromedp.Evaluate[chromedp.Void](`document.documentElement.dataset.same = "page"; window.shifts = 0;
			new PerformanceObserver((l) => { for (const e of l.getEntries()) window.shifts += e.value; }).observe({type: "layout-shift"})`))
		w.report("MAC-1", `{"StatusItems":{"device":{"operating-system":{"version":"26.6.2","build-version":"25G83"}}},"Errors":[]}`)
		v.within(`document.querySelector(".lead .badge").textContent === "Compliant"`)
		if ask(v, chromedp.Evaluate[string](`document.documentElement.dataset.same`)) != "page" {
			t.Error("the page was loaded again")
		}
		v.open("/")
		v.within(`document.body.dataset.streaming === "yes"`)
		v.run(chromedp.Evaluate[chromedp.Void](`window.shifts = 0; new PerformanceObserver((l) => { for (const e of l.getEntries()) window.shifts += e.value; }).observe({type: "layout-shift"})`))
		w.report("MAC-1", `{"StatusItems":{"device":{"operating-system":{"version":"26.6.1","build-version":"25G76"}}},"Errors":[]}`)
		v.within(`document.querySelector(".s-compliant .num").textContent === "0"`)
		if shift := ask(v, chromedp.Evaluate[float64](`window.shifts`)); shift > 0.1 {
			t.Errorf("refreshing shifted the layout by %.3f", shift)
		}
	})

	t.Run("the user delays, and asks for an upgrade", func(t *testing.T) {
		w := newWorld(t)
		real := time.Now().UTC().Truncate(time.Second)
		w.pass(real.Sub(w.now())) // the browser's clock is the real one; 15 hours ahead is ahead everywhere
		w.enrol(air)
		deadline := real.Add(15 * time.Hour).Format("2006-01-02T15:04:05")
		w.put(`{"name":"everyone","priority":10,"updates":{"mode":"minimum","version":"26.6.2","deadline":"` + deadline + `"},"notice_days":0,"delay":{"max_hours":4},"details_url":"self"}`)
		w.settle("MAC-1")
		v := b.tab(t, w, size(1440, 900))
		v.open(w.self("MAC-1"))
		if ask(v, chromedp.Evaluate[bool](`document.querySelector(".offset").checkVisibility()`)) {
			t.Error("the user is asked for a time zone that the browser knows")
		}
		told := func(id string) any { return w.sync(id)["plimsoll.os-update"]["TargetLocalDateTime"] }
		before := told("MAC-1").(string)
		at, err := time.Parse("2006-01-02T15:04:05", before)
		w.must(err)
		v.press("form[data-now] button")
		if got, want := told("MAC-1"), at.Add(time.Hour).Format("2006-01-02T15:04:05"); got != want {
			t.Errorf("an hour after %s the Mac is told %v, want %s", before, got, want)
		}
		if got := v.text("main"); !strings.Contains(got, "3 hours of 4 left") {
			t.Errorf("the page says %q", got)
		}
		w.enrol(mac{id: "MAC-2", serial: "C02BBB", model: "Mac14,2", board: "J413AP", version: "15.7.7", build: "24G720"})
		w.put(`{"name":"everyone","priority":10,"os":{"track":"26","upgrade":"self_service"},"updates":{"mode":"automatic","within_days":14},"details_url":"self"}`)
		v.open(w.self("MAC-2"))
		v.press(`form[action$="/upgrade"] button`)
		asked := w.sync("MAC-2")["plimsoll.os-update"]
		if asked["TargetOSVersion"] != "26.6.2" {
			t.Errorf("the Mac is told %v", asked)
		}
		if got := v.text("main"); !strings.Contains(got, "You asked for this upgrade.") {
			t.Errorf("the page says %q", got)
		}
		admin := b.tab(t, w, size(1440, 900))
		admin.signIn(adminToken)
		admin.open("/devices/MAC-1?tab=timeline")
		if got := admin.text(".timeline"); !strings.Contains(got, "The user delayed the deadline") {
			t.Errorf("the admin's timeline says %q", got)
		}
	})

	t.Run("hostile names on a narrow screen", func(t *testing.T) {
		w := newWorld(t)
		for i, name := range []string{`<img src=x onerror="document.title='boom'">`, strings.Repeat("W", 300), "\u202eevil", "שלום עולם"} {
			id := string(rune('A' + i))
			w.enrol(mac{id: "MAC-" + id, serial: "C02" + id, name: name, model: strings.Repeat("Mac", 50), modelName: name, board: "J413AP", version: "26.5", build: "25F71"})
		}
		w.put(`{"name":"everyone","label":"` + strings.Repeat("L", 200) + `","priority":10,"updates":{"mode":"automatic","within_days":14},"details_url":"self"}`)
		_, _, _, err := w.PutHold(context.Background(), "26.6.1", strings.Repeat("r", 900), true, nil, fleet.WriteOptions{By: fleet.Origin{Actor: "test"}, Confirm: true})
		w.must(err)
		v := b.tab(t, w, size(360, 740))
		v.signIn(adminToken)
		for _, path := range []string{"/", "/devices", "/devices/MAC-A", "/devices/MAC-B", "/devices/MAC-C", "/policies", "/policies/everyone", "/groups", "/releases", "/enrollment", "/settings", "/devices/MAC-A?tab=timeline", "/devices/MAC-A?tab=reports", w.self("MAC-A"), w.self("MAC-B")} {
			v.open(path)
			if wide := ask(v, chromedp.Evaluate[int](`document.documentElement.scrollWidth - document.documentElement.clientWidth`)); wide > 0 {
				t.Errorf("%s is %d px too wide", path, wide)
			}
			if title := ask(v, chromedp.Title()); strings.HasPrefix(title, "boom") {
				t.Errorf("%s ran what a Mac calls itself", path)
			}
		}
	})

	t.Run("by keyboard", func(t *testing.T) {
		w := newWorld(t)
		v := b.tab(t, w, size(1440, 900))
		v.signIn(adminToken)
		v.open("/")
		v.run(chromedp.KeyEvent("\t"))
		if got := ask(v, chromedp.Evaluate[string](`document.activeElement.textContent`)); got != "Skip to the content" {
			t.Errorf("the first stop is %q", got)
		}
		v.run(chromedp.KeyEvent("\r"))
		if got := ask(v, chromedp.Evaluate[string](`document.activeElement.id`)); got != "main" {
			t.Errorf("skipping leads to %q", got)
		}
	})
}
