package web_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"plimsoll/server/fleet"
)

var air = mac{id: "MAC-1", serial: "C02AAA", name: "Ada’s Mac", model: "Mac14,2", modelName: "MacBook Air", board: "J413AP", version: "26.5", build: "25F71"}

func TestThePolicyEditor(t *testing.T) {
	w := newWorld(t)
	w.enrol(air)
	c := w.client().signIn(adminToken)
	good := []string{"name", "everyone", "priority", "10", "updates.mode", "automatic", "updates.within_days", "14", "os.track", "current"}
	with := func(pairs ...string) []string {
		out := append([]string{}, good...)
		for i := 0; i < len(pairs); i += 2 {
			for j := 0; j < len(out); j += 2 {
				if out[j] == pairs[i] {
					out = append(out[:j], out[j+2:]...)
					break
				}
			}
		}
		return append(out, pairs...)
	}
	for _, tt := range []struct {
		name   string
		fields []string
		at     string
		says   string
	}{
		{"a name that is none", with("name", "All Macs"), "name", "Must be 1 to 63 characters"},
		{"no days", with("updates.within_days", ""), "updates.within_days", "Must be given when mode is automatic"},
		{"too many days", with("updates.within_days", "400"), "updates.within_days", "Must be between 1 and 365"},
		{"days in words", with("updates.within_days", "two"), "updates.within_days", "Must be a whole number"},
		{"a version that there is not", with("updates.mode", "minimum", "updates.version", "99.1", "updates.deadline", "2027-01-01T12:00"), "updates.version", "Apple offers nothing at or above 99.1"},
		{"no deadline", with("updates.mode", "exact", "updates.version", "26.6.2"), "updates.deadline", "Must be given when mode is exact"},
		{"an upgrade without a word", with("os.track", "26"), "os.upgrade", "Must be given when track is latest or a major version"},
		{"an expression that is none", with("assign.when", "model startsWith"), "assign.when", ""},
		{"settings", with("settings", `{"AutomaticActions":{"Download":"Never"}}`), "settings", "AutomaticActions.Download"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, step := range []string{"preview", "save"} {
				p := c.send("/policies", append(tt.fields, "step", step)...)
				if p.status != http.StatusUnprocessableEntity {
					t.Fatalf("%s: %d", step, p.status)
				}
				_, after, ok := strings.Cut(p.body, `id="`+tt.at+`-fault"`)
				fault, _, _ := strings.Cut(after, "</span></span>")
				if !ok || !strings.Contains(fault, tt.says) {
					t.Errorf("at %s stands %q, want %q", tt.at, fault, tt.says)
				}
				for i := 0; i < len(tt.fields); i += 2 {
					if v := tt.fields[i+1]; tt.fields[i] == tt.at && v != "" && !strings.Contains(p.body, strings.ReplaceAll(v, `"`, "&#34;")) {
						t.Errorf("what was typed, %q, is gone", v)
					}
				}
			}
		})
	}
	if list, err := w.Policies(context.Background(), 10, ""); err != nil || len(list.Items) > 0 {
		t.Fatalf("something was saved: %v, %v", list.Items, err)
	}
	p := c.send("/policies", append(good, "step", "preview")...)
	if p.status != http.StatusOK || !strings.Contains(p.body, "What saving would do") || !strings.Contains(p.body, "All Macs get the newest release of the macOS that they run within 14 days") {
		t.Fatalf("the impact: %d %s", p.status, p.body)
	}
	if list, err := w.Policies(context.Background(), 10, ""); err != nil || len(list.Items) > 0 {
		t.Fatalf("looking at the impact saved something: %v, %v", list.Items, err)
	}
	if p := c.send("/policies", append(good, "step", "save")...); p.status != http.StatusSeeOther || p.location != "/policies?done=saved" {
		t.Fatalf("saving: %d to %q", p.status, p.location)
	}
	if p := c.send("/policies", append(good, "step", "save")...); p.status != http.StatusConflict || !strings.Contains(p.body, `id="name-fault"`) {
		t.Errorf("the same name again: %d", p.status)
	}
	if p := c.send("/policies", append(with("name", "other"), "step", "save")...); p.status != http.StatusConflict || !strings.Contains(p.body, `id="priority-fault"`) {
		t.Errorf("the same priority: %d", p.status)
	}
	_, etag, err := w.Policy(context.Background(), "everyone")
	w.must(err)
	edit := append(with("updates.within_days", "7"), "original", "everyone", "step", "save")
	if p := c.send("/policies", append(edit, "etag", `"another"`)...); p.status != http.StatusConflict || !strings.Contains(p.body, "Somebody changed this policy in between") {
		t.Errorf("an edit of what was changed in between: %d", p.status)
	}
	if p := c.send("/policies", append(edit, "etag", etag)...); p.status != http.StatusSeeOther {
		t.Errorf("an edit: %d %s", p.status, p.body)
	}
	if got, _, err := w.Policy(context.Background(), "everyone"); err != nil || *got.Updates.WithinDays != 7 {
		t.Errorf("after the edit: %+v, %v", got, err)
	}
	if p := c.send("/policies/everyone/delete", "step", "preview"); p.status != http.StatusOK || !strings.Contains(p.body, "Delete the policy everyone?") {
		t.Errorf("before deleting: %d", p.status)
	}
	if p := c.send("/policies/everyone/delete", "confirm", "yes"); p.status != http.StatusSeeOther {
		t.Errorf("deleting: %d", p.status)
	}
	if p := c.get("/policies/everyone"); p.status != http.StatusNotFound {
		t.Errorf("after deleting: %d", p.status)
	}
}

func TestADeadlineThatHasPassedIsConfirmed(t *testing.T) {
	w := newWorld(t)
	w.enrol(air)
	c := w.client().signIn(adminToken)
	fields := []string{"name", "late", "priority", "1", "updates.mode", "minimum", "updates.version", "26.6.2", "updates.deadline", "2026-08-20T12:00", "step", "save"}
	p := c.send("/policies", fields...)
	if p.status != http.StatusConflict || !strings.Contains(p.body, "already passed") || !strings.Contains(p.body, "Save anyway") {
		t.Fatalf("%d %s", p.status, p.body)
	}
	_, after, _ := strings.Cut(p.body, `name="confirm" value="`)
	seen, _, _ := strings.Cut(after, `"`)
	other := append([]string{}, fields...)
	other[9] = "2026-08-19T12:00"
	for name, again := range map[string][]string{"a word": append(fields, "confirm", "yes"), "for another policy": append(other, "confirm", seen)} {
		if p := c.send("/policies", again...); p.status != http.StatusConflict || !strings.Contains(p.body, "Save anyway") {
			t.Errorf("confirmed with %s: %d", name, p.status)
		}
	}
	if p := c.send("/policies", append(fields, "confirm", seen)...); p.status != http.StatusSeeOther {
		t.Errorf("confirmed: %d", p.status)
	}
}

func TestGroupsHoldsAndPause(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	w.enrol(air)
	w.put(`{"name":"everyone","priority":10,"updates":{"mode":"automatic","within_days":14}}`)
	c := w.client().signIn(adminToken)
	if p := c.send("/groups", "name", "eng", "members", "NOTYET1\nNOTYET2, NOTYET3\n"); p.status != http.StatusSeeOther {
		t.Fatalf("a group: %d %s", p.status, p.body)
	}
	if p := c.send("/groups", "name", "eng", "members", ""); p.status != http.StatusConflict || !strings.Contains(p.body, "exists already") {
		t.Errorf("the same group again: %d", p.status)
	}
	if p := c.send("/groups", "name", "!!!", "members", ""); p.status != http.StatusUnprocessableEntity || !strings.Contains(p.body, `id="name-fault"`) {
		t.Errorf("a name that is none: %d", p.status)
	}
	if p := c.send("/groups", "name", "Büro Macs", "members", ""); p.status != http.StatusSeeOther {
		t.Errorf("a label for a name: %d", p.status)
	}
	if _, err := w.Group(ctx, "buero-macs"); err != nil {
		t.Errorf("no name was made of the label: %v", err)
	}
	releases := c.get("/releases").body
	for _, subject := range []string{"26", "26.6.1", "25G76", "25D771280a"} { // a macOS, a version, a build, a BSI's build
		if strings.Count(releases, `<option value="`+subject+`">`) != 1 {
			t.Errorf("%s cannot be picked to be held", subject)
		}
	}
	if p := c.send("/devices/MAC-1/groups", "shown", "eng", "group", "eng"); p.status != http.StatusSeeOther {
		t.Errorf("moving a Mac: %d", p.status)
	}
	if d, err := w.Device(ctx, "MAC-1"); err != nil || strings.Join(d.Groups, " ") != "eng" {
		t.Errorf("the Mac is in %v, %v", d.Groups, err)
	}
	if p := c.get("/devices?group=eng"); !strings.Contains(p.body, "C02AAA") {
		t.Error("the group's list lacks the Mac")
	}
	if p := c.send("/devices/MAC-1/groups", "shown", "eng"); p.status != http.StatusSeeOther {
		t.Errorf("moving it out: %d", p.status)
	}
	if g, err := w.Group(ctx, "eng"); err != nil || len(g.Devices) != 3 || g.UnknownMembers != 3 {
		t.Errorf("the group has %v, %v", g, err)
	}
	if p := c.send("/releases/hold", "subject", "26.6.2", "reason", "", "successors", "yes"); p.status != http.StatusUnprocessableEntity || !strings.Contains(p.body, `id="reason-fault"`) {
		t.Errorf("a hold without a reason: %d", p.status)
	}
	if p := c.send("/releases/hold", "subject", "26.6.2", "reason", "ticket 4711", "successors", "yes", "step", "preview"); p.status != http.StatusOK || !strings.Contains(p.body, `name="reason" value="ticket 4711"`) {
		t.Errorf("a hold's impact: %d", p.status)
	}
	if p := c.send("/releases/hold", "subject", "26.6.2", "reason", "ticket 4711", "successors", "yes", "until", "2026-09-30"); p.status != http.StatusSeeOther {
		t.Errorf("a hold: %d %s", p.status, p.body)
	}
	holds, err := w.Holds(ctx, 10, "")
	w.must(err)
	if len(holds.Items) != 1 || !holds.Items[0].Successors || holds.Items[0].By != "admin-token" || holds.Items[0].Until.Format(time.RFC3339) != "2026-09-29T22:00:00Z" {
		t.Errorf("held: %+v", holds.Items)
	}
	if p := c.get("/releases"); !strings.Contains(p.body, "ticket 4711") || !strings.Contains(p.body, "2026-09-30 00:00 CEST") {
		t.Error("the page does not show the hold")
	}
	if p := c.send("/releases/release", "subject", "26.6.2"); p.status != http.StatusSeeOther {
		t.Errorf("letting go: %d", p.status)
	}
	if p := c.send("/releases/pause", "pause-reason", "a bad release"); p.status != http.StatusSeeOther {
		t.Errorf("pausing: %d %s", p.status, p.body)
	}
	if p := c.get("/devices"); !strings.Contains(p.body, "Enforcement is paused") || !strings.Contains(p.body, "a bad release") {
		t.Error("the pages do not say that enforcement is paused")
	}
	if p := c.send("/releases/resume", "confirm", "yes"); p.status != http.StatusSeeOther {
		t.Errorf("resuming: %d", p.status)
	}
	if p, err := w.Pause(ctx); err != nil || p.Paused {
		t.Errorf("still paused: %+v, %v", p, err)
	}
	if p := c.send("/releases/refresh"); p.status != http.StatusSeeOther || p.location != "/releases?done=unchanged" {
		t.Errorf("fetching the catalogue: %d to %q", p.status, p.location)
	}
	if p := c.send("/enrollment", "label", "office", "uses", "many"); p.status != http.StatusUnprocessableEntity || !strings.Contains(p.body, `id="uses-fault"`) {
		t.Errorf("a code for many: %d", p.status)
	}
	if p := c.send("/enrollment", "label", "office", "uses", "3", "expires", "2026-09-30"); p.status != http.StatusSeeOther {
		t.Errorf("a code: %d", p.status)
	}
	codes, err := w.ListCodes(ctx, 10, "")
	w.must(err)
	if len(codes.Items) != 1 || !strings.Contains(c.get("/enrollment").body, w.srv.URL+"/enroll?code="+codes.Items[0].Code) {
		t.Errorf("codes: %+v", codes.Items)
	}
	if p := c.send("/enrollment/delete", "id", codes.Items[0].ID); p.status != http.StatusSeeOther {
		t.Errorf("deleting a code: %d", p.status)
	}
}

func TestListsOfDevices(t *testing.T) {
	w := newWorld(t)
	w.seed()
	c := w.client().signIn(adminToken)
	for query, want := range map[string]int{"?state=overdue": 4, "?state=failing": 1, "?policy=lab": 2, "?group=eng": 5, "?version=26.6.2": 32, "?q=c02xk001": 1, "?reason=failure_disk": 1, "?enrolled=false": 0} {
		p := c.get("/devices" + query)
		if n := strings.Count(p.body, `<th scope="row">`); p.status != http.StatusOK || n != want {
			t.Errorf("%s: %d with %d Macs, want %d", query, p.status, n, want)
		}
		rows, err := csv.NewReader(strings.NewReader(c.get("/devices.csv" + query).body)).ReadAll()
		if err != nil || len(rows) != want+1 || strings.Join(rows[0], ", ") != "id, serial, name, model, board, version, build, letter, state, phase, flags, policy, target_version, target_build, deadline_local, due_local, last_seen_at, ring, mechanism" {
			t.Errorf("%s as CSV: %v, %d rows", query, err, len(rows))
		}
	}
	for _, query := range []string{"?sort=nothing", "?cursor=x", "?enrolled=maybe", "?seen_before=monday"} {
		if p := c.get("/devices" + query); p.status != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d", query, p.status)
		}
	}
	for _, path := range []string{"/devices/none", "/devices/MAC-001/reports/999", "/policies/none", "/groups/none"} {
		if p := c.get(path); p.status != http.StatusNotFound || !strings.Contains(p.body, "<h1>Not found</h1>") {
			t.Errorf("%s: %d", path, p.status)
		}
	}
}

// TestNumbersAreTheAPIs: every number of the fleet's page is one of the use cases that the API shows too.
func TestNumbersAreTheAPIs(t *testing.T) {
	w := newWorld(t)
	w.seed()
	counts, err := w.Compliance(context.Background())
	w.must(err)
	c := w.client().signIn(adminToken)
	body := c.get("/").body
	groups := attentionGroup.FindAllStringSubmatch(body, -1)
	if len(groups) < 5 {
		t.Fatalf("only %d groups of Macs with a reason", len(groups))
	}
	for _, g := range groups {
		if n := strings.Count(c.get("/devices?reason="+g[1]).body, `<th scope="row">`); itoa(n) != g[2] {
			t.Errorf("%s: %s Macs, and its link leads to %d", g[1], g[2], n)
		}
	}
	for state, n := range counts.States {
		_, after, ok := strings.Cut(body, `href="/devices?state=`+state+`"`)
		_, after, _ = strings.Cut(after, `<span class="num">`)
		if shown, _, _ := strings.Cut(after, "<"); !ok || shown != json.Number(itoa(n)).String() {
			t.Errorf("%s: %q, want %d", state, shown, n)
		}
	}
	for flag, n := range counts.Flags {
		if has := strings.Contains(body, `href="/devices?flag=`+flag+`"`); has != (n > 0) {
			t.Errorf("%s: shown is %t, with %d Macs", flag, has, n)
		}
	}
}

var attentionGroup = regexp.MustCompile(`href="/devices\?reason=([a-z_]+)"><span class="num">(\d+)</span>`)

func itoa(n int) string {
	b, _ := json.Marshal(n)
	return string(b)
}

func TestTheUsersPage(t *testing.T) {
	w := newWorld(t)
	w.enrol(air)
	w.enrol(mac{id: "MAC-2", serial: "C02BBB", name: "Secret Mac", model: "Mac14,2", board: "J413AP", version: "26.6.2", build: "25G83"})
	w.put(`{"name":"everyone","label":"All our Macs","priority":10,"updates":{"mode":"minimum","version":"26.6.2","deadline":"2026-08-25T12:00:00"},"notice_days":0,"delay":{"max_hours":2},"details_url":"self"}`)
	path := w.self("MAC-1")
	c := w.client() // nobody signed in
	p := c.get(path)
	for _, want := range []string{
		"An update is waiting for this Mac.", "macOS 26.6.2", "Tuesday 25 August 2026, 12:00", "All our Macs", "Software Update",
	} {
		if !strings.Contains(p.body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, secret := range []string{"C02BBB", "Secret Mac", "MAC-2", "MAC-1"} {
		if strings.Contains(p.body, secret) {
			t.Errorf("the page gives %q away", secret)
		}
	}
	if strings.Contains(p.body, "vulnerability") {
		t.Error("26.6.2 is not marked as exploited")
	}
	var s fleet.Self
	p = c.get(path + ".json")
	if err := json.Unmarshal([]byte(p.body), &s); err != nil || s.Required == nil || s.Required.Version != "26.6.2" || s.DelaysLeft != 2 || !s.CanDelay || *s.DeadlineLocal != "2026-08-25T12:00:00" {
		t.Fatalf("as data: %v, %s", err, p.body)
	}

	t.Run("links that are not ours", func(t *testing.T) {
		link := strings.TrimPrefix(path, "/self/")
		name, sum, _ := strings.Cut(link, ".")
		for what, bad := range map[string]string{
			"cut": link[:len(link)-1], "forged": name + "." + strings.Repeat("A", len(sum)), "without a signature": name, "of another Mac": "TUFDLTI." + sum,
			"nothing": "x", "dots": "..", "longer": link + "A", "escaped": url.PathEscape(link + "/x"),
		} {
			for _, suffix := range []string{"", ".json"} {
				p := c.get("/self/" + bad + suffix)
				if p.status != http.StatusNotFound && !(what == "dots" && p.status/100 == 3) {
					t.Errorf("%s%s: %d", what, suffix, p.status)
				}
				if isPage := strings.Contains(p.body, "<html"); isPage != (suffix == "") && what != "dots" {
					t.Errorf("%s%s: an error is a page for people and plain text for tools; page: %t", what, suffix, isPage)
				}
			}
			for _, action := range []string{"/delay", "/upgrade"} {
				if p := c.post("/self/" + bad + action); p.status != http.StatusNotFound && !(what == "dots" && p.status/100 == 3) {
					t.Errorf("%s%s: %d", what, action, p.status)
				}
			}
		}
	})
	t.Run("delaying", func(t *testing.T) {
		if p := c.post(path+"/delay", "now", "gestern"); p.status != http.StatusUnprocessableEntity {
			t.Errorf("a time that is none: %d", p.status)
		}
		if p := c.post(path+"/delay", "now", "2026-08-30T12:00:00"); p.status != http.StatusUnprocessableEntity {
			t.Errorf("a time that no clock shows: %d", p.status)
		}
		if p := c.post(path+"/delay", "now", "2026-08-24T12:30:00"); p.status != http.StatusSeeOther || p.location != path {
			t.Fatalf("an hour: %d to %q %s", p.status, p.location, p.body)
		}
		if got := w.sync("MAC-1")["plimsoll.os-update"]["TargetLocalDateTime"]; got != "2026-08-25T13:00:00" {
			t.Errorf("at its next sync the Mac is told %v", got)
		}
		if p := c.post(path+"/delay", "offset", "120"); p.status != http.StatusConflict || !strings.Contains(p.body, "24 hours before") {
			t.Errorf("11:00 by the user's clock is more than 24 h before 13:00: %d", p.status)
		}
		w.pass(3 * time.Hour)
		if p := c.post(path+"/delay", "offset", "120"); p.status != http.StatusSeeOther {
			t.Errorf("another hour: %d", p.status)
		}
		w.pass(2 * time.Hour)
		p := c.post(path+"/delay", "offset", "120")
		if p.status != http.StatusConflict || !strings.Contains(p.body, "All 2 hours have been taken.") || !strings.Contains(p.body, "<html") {
			t.Errorf("one hour too many: %d %s", p.status, p.body)
		}
		r, err := http.NewRequest(http.MethodPost, w.srv.URL+path+"/delay", bytes.NewReader(nil))
		w.must(err)
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		if p := c.do(r); p.status != http.StatusForbidden {
			t.Errorf("from another site: %d", p.status)
		}
	})
	t.Run("fine", func(t *testing.T) {
		w.report("MAC-1", `{"StatusItems":{"device":{"operating-system":{"version":"26.6.2","build-version":"25G83"}}},"Errors":[]}`)
		if p := c.get(path); !strings.Contains(p.body, "This Mac is up to date. There is nothing for you to do.") {
			t.Error("the page does not say that the Mac is fine")
		}
	})
	t.Run("an upgrade on demand", func(t *testing.T) {
		w.enrol(mac{id: "MAC-3", serial: "C02CCC", model: "Mac14,2", board: "J413AP", version: "15.7.9", build: "24G830"})
		w.put(`{"name":"offer","priority":20,"os":{"track":"26","upgrade":"self_service"},"updates":{"mode":"automatic","within_days":14},"details_url":"self"}`)
		if p := c.post(path + "/upgrade"); p.status != http.StatusConflict {
			t.Errorf("nothing is offered to a Mac on 26: %d", p.status)
		}
	})
	t.Run("a link dies with the enrolment", func(t *testing.T) {
		w.must(w.CheckOut(context.Background(), "MAC-1"))
		if p := c.get(path); p.status != http.StatusNotFound {
			t.Errorf("after the checkout: %d", p.status)
		}
		w.enrol(air)
		if p := c.get(path); p.status != http.StatusNotFound {
			t.Errorf("in the next life: %d", p.status)
		}
	})
}
