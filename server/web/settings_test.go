package web_test

import (
	"context"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"plimsoll/server/fleet"
)

// pushed are the push certificates of these tests: Macs enrol with the topic of the first.
func pushed(now time.Time) *fleet.PushSource {
	return &fleet.PushSource{
		Certificates: func(context.Context) ([]fleet.PushCertificate, error) {
			return []fleet.PushCertificate{
				{Topic: "com.apple.mgmt.External.1", StoredAt: now.AddDate(0, -1, 0), ExpiresAt: now.AddDate(0, 11, 0)},
				{Topic: "com.apple.mgmt.External.0", StoredAt: now.AddDate(-2, 0, 0), ExpiresAt: now.AddDate(0, 0, -3)},
			}, nil
		},
		TopicOf: func(context.Context, string) (string, error) { return "com.apple.mgmt.External.other", nil },
	}
}

func TestSettings(t *testing.T) {
	w := newWorld(t)
	reader := w.client().signIn(w.token("reader", fleet.ScopeRead))
	c := w.client().signIn(adminToken)
	body := c.get("/settings").body
	for _, want := range []string{
		"redis://store:6379", "Redis", "Format", "com.apple.mgmt.External.1", "in use", "expired", "The identities of Macs do not come from this server",
		"reader", "Look at everything, change nothing", "Reachable.", "Europe/Berlin",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	p := c.send("/settings/tokens", "name", "cron", "scopes", "backup", "scopes", "metrics", "expires_at", "2026-12-31")
	secret := regexp.MustCompile(`<pre tabindex="0">([^<]+)</pre>`).FindStringSubmatch(p.body)
	if p.status != http.StatusCreated || secret == nil {
		t.Fatalf("a token: %d %s", p.status, p.body)
	}
	who, err := w.Identify(context.Background(), secret[1])
	if err != nil || who.Name != "cron" || !who.May(fleet.ScopeBackup) || !who.May(fleet.ScopeMetrics) || who.May(fleet.ScopeRead) {
		t.Errorf("it is %+v, %v", who, err)
	}
	if body := c.get("/settings").body; strings.Contains(body, secret[1]) || !strings.Contains(body, "2026-12-31 00:00 CET") {
		t.Error("the secret is shown twice, or the end is not shown")
	}
	for _, tt := range []struct {
		name   string
		fields []string
		status int
		at     string
	}{
		{"a name that exists", []string{"name", "cron", "scopes", "read"}, http.StatusConflict, "name-fault"},
		{"no name", []string{"scopes", "read"}, http.StatusUnprocessableEntity, "name-fault"},
		{"no scope", []string{"name", "x"}, http.StatusUnprocessableEntity, "scopes-fault"},
		{"an unknown scope", []string{"name", "x", "scopes", "root"}, http.StatusUnprocessableEntity, "scopes-fault"},
		{"a day that is none", []string{"name", "x", "scopes", "read", "expires_at", "soon"}, http.StatusUnprocessableEntity, "expires_at-fault"},
		{"a day that has passed", []string{"name", "x", "scopes", "read", "expires_at", "2020-01-01"}, http.StatusUnprocessableEntity, "expires_at-fault"},
	} {
		if p := c.send("/settings/tokens", tt.fields...); p.status != tt.status || !strings.Contains(p.body, `id="`+tt.at+`"`) {
			t.Errorf("%s: %d", tt.name, p.status)
		}
	}
	if p := reader.get("/settings"); p.status != http.StatusOK || strings.Contains(p.body, "New token") || strings.Contains(p.body, "Withdraw") {
		t.Errorf("who may only read: %d, and is offered a change", p.status)
	}
	if p := c.send("/settings/tokens/delete", "name", "reader"); p.status != http.StatusOK || !strings.Contains(p.body, "Withdraw the token reader?") {
		t.Errorf("before it is confirmed: %d", p.status)
	}
	if p := reader.get("/"); p.status != http.StatusOK {
		t.Errorf("not confirmed, and withdrawn: %d", p.status)
	}
	if p := c.send("/settings/tokens/delete", "name", "reader", "confirm", "yes"); p.status != http.StatusSeeOther {
		t.Errorf("withdrawing: %d", p.status)
	}
	if p := reader.get("/"); p.status != http.StatusSeeOther {
		t.Errorf("its session afterwards: %d", p.status)
	}
}

// The CA is rotated after it was confirmed; who may only read is not offered it.
func TestRotatingTheCA(t *testing.T) {
	w := newWorld(t, func(o *fleet.Options) { o.Identities = &fleet.Identities{} })
	reader := w.client().signIn(w.token("reader", fleet.ScopeRead))
	c := w.client().signIn(adminToken)
	rows := func() int { return strings.Count(c.get("/settings").body, "CN=Plimsoll device CA") }
	if body := c.get("/settings").body; rows() != 1 || !strings.Contains(body, "issues identities") || !strings.Contains(body, "Rotate the device CA…") {
		t.Fatalf("the page: %s", body)
	}
	if body := reader.get("/settings").body; strings.Contains(body, "Rotate the device CA") {
		t.Error("who may only read is offered a rotation")
	}
	if p := reader.send("/settings/ca/rotate", "confirm", "yes"); p.status != http.StatusForbidden {
		t.Errorf("who may only read rotates: %d", p.status)
	}
	if p := c.send("/settings/ca/rotate"); p.status != http.StatusOK || !strings.Contains(p.body, "Rotate the device CA?") || rows() != 1 {
		t.Errorf("before it is confirmed: %d, %d CAs", p.status, rows())
	}
	if p := c.send("/settings/ca/rotate", "confirm", "yes"); p.status != http.StatusSeeOther || p.location != "/settings?done=rotated" {
		t.Errorf("rotating: %d to %s", p.status, p.location)
	}
	if list, err := w.DeviceCAs(context.Background()); err != nil || list.CAs[0].Fingerprint == "" || !strings.Contains(c.get("/settings").body, list.CAs[0].Fingerprint) {
		t.Errorf("the page does not show the new CA: %+v, %v", list, err)
	}
}

// Macs of another topic than the certificate's are counted on the page and said on the fleet's.
func TestMacsOfOtherTopics(t *testing.T) {
	w := newWorld(t)
	w.enrol(air)
	c := w.client().signIn(adminToken)
	if body := c.get("/").body; strings.Contains(body, "push topic") {
		t.Error("the fleet's page warns although every Mac has the certificate's topic")
	}
	w.must(w.TokenUpdate(context.Background(), air.id, "com.apple.mgmt.External.other"))
	for path, wants := range map[string][]string{
		"/":         {"1 Mac enrolled with another push topic"},
		"/settings": {"1 Mac enrolled with another push topic", "com.apple.mgmt.External.other", "no certificate has this topic"},
	} {
		for _, want := range wants {
			if body := c.get(path).body; !strings.Contains(body, want) {
				t.Errorf("%s lacks %q", path, want)
			}
		}
	}
}

func TestRemovingAMac(t *testing.T) {
	w := newWorld(t)
	w.enrol(air)
	c := w.client().signIn(adminToken)
	if p := c.send("/devices/MAC-1/remove"); p.status != http.StatusOK || !strings.Contains(p.body, `class="danger"`) || !strings.Contains(p.body, "refuses it until it enrols again") {
		t.Fatalf("asked: %d", p.status)
	}
	if p := c.get("/devices/MAC-1"); p.status != http.StatusOK {
		t.Fatalf("it is gone before that was confirmed: %d", p.status)
	}
	if p := c.send("/devices/MAC-1/remove", "confirm", "yes"); p.status != http.StatusSeeOther || p.location != "/devices?done=removed" {
		t.Fatalf("removing: %d to %q", p.status, p.location)
	}
	if p := c.get("/devices/MAC-1"); p.status != http.StatusNotFound || !strings.Contains(p.body, "<nav") {
		t.Errorf("afterwards: %d", p.status)
	}
}

func TestActingOnAList(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	for i, version := range []string{"26.5", "26.5", "15.7.7"} {
		m := air
		m.id, m.serial, m.version = "MAC-"+string(rune('1'+i)), "C02"+string(rune('A'+i)), version
		w.enrol(m)
	}
	_, _, _, err := w.PutGroup(ctx, "old", []string{"C02C"}, fleet.WriteOptions{By: fleet.Origin{Actor: "test"}, Confirm: true})
	w.must(err)
	c := w.client().signIn(adminToken)
	form := []string{"version", "26.5", "act", "add", "to", "old"}
	if p := c.send("/devices/bulk", form...); p.status != http.StatusOK || !strings.Contains(p.body, "Add 2 Macs to the group old?") || !strings.Contains(p.body, `name="version" value="26.5"`) {
		t.Fatalf("asked: %d %s", p.status, p.body)
	}
	if g, _ := w.Group(ctx, "old"); len(g.Devices) != 1 {
		t.Fatalf("changed before it was confirmed: %v", g.Devices)
	}
	if p := c.send("/devices/bulk", append(form, "confirm", "yes")...); p.status != http.StatusSeeOther || p.location != "/devices?version=26.5&done=moved-all" {
		t.Fatalf("adding: %d to %q", p.status, p.location)
	}
	if g, _ := w.Group(ctx, "old"); strings.Join(g.Devices, " ") != "C02A C02B C02C" {
		t.Errorf("the group has %v", g.Devices)
	}
	if p := c.send("/devices/bulk", "group", "old", "version", "26.5", "act", "remove", "to", "old", "confirm", "yes"); p.status != http.StatusSeeOther {
		t.Errorf("taking out: %d", p.status)
	}
	if g, _ := w.Group(ctx, "old"); strings.Join(g.Devices, " ") != "C02C" {
		t.Errorf("the group has %v", g.Devices)
	}
	if p := c.send("/devices/bulk", "act", "sync"); p.status != http.StatusOK || !strings.Contains(p.body, "Tell 3 Macs to sync?") {
		t.Errorf("asked to sync: %d", p.status)
	}
	if p := c.send("/devices/bulk", "act", "sync", "confirm", "yes"); p.status != http.StatusSeeOther {
		t.Errorf("syncing: %d", p.status)
	}
	for name, wrong := range map[string][]string{"no act": {}, "no group": {"act", "add"}, "a day that is none": {"act", "sync", "seen_before", "soon"}} {
		if p := c.send("/devices/bulk", wrong...); p.status != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d", name, p.status)
		}
	}
	if p := c.send("/devices/bulk", "act", "add", "to", "none"); p.status != http.StatusNotFound {
		t.Errorf("a group that is none: %d", p.status)
	}
}

func TestPoliciesMove(t *testing.T) {
	w := newWorld(t)
	c := w.client().signIn(adminToken)
	for _, label := range []string{"All Macs", "Büro & Lab"} { // no name and no priority are typed
		priority := regexp.MustCompile(`name="priority" type="number" value="(\d+)"`).FindStringSubmatch(c.get("/policies/new").body)
		if p := c.send("/policies", "label", label, "priority", priority[1], "updates.mode", "automatic", "updates.within_days", "14", "step", "save"); p.status != http.StatusSeeOther {
			t.Fatalf("%s: %d %s", label, p.status, p.body)
		}
	}
	order := func() string {
		var names []string
		for _, m := range regexp.MustCompile(`<h2><a href="/policies/([^"]+)">`).FindAllStringSubmatch(c.get("/policies").body, -1) {
			names = append(names, m[1])
		}
		return strings.Join(names, " ")
	}
	if got := order(); got != "buero-lab all-macs" {
		t.Fatalf("the order is %s", got)
	}
	if p := c.send("/policies/all-macs/move", "direction", "up", "step", "preview"); p.status != http.StatusOK || !strings.Contains(p.body, "Move the policy all-macs up?") {
		t.Errorf("asked: %d", p.status)
	}
	for _, move := range []struct{ name, direction, want string }{
		{"all-macs", "up", "all-macs buero-lab"}, {"all-macs", "up", "all-macs buero-lab"}, {"all-macs", "down", "buero-lab all-macs"}, {"all-macs", "down", "buero-lab all-macs"},
	} {
		if p := c.send("/policies/"+move.name+"/move", "direction", move.direction, "confirm", "yes"); p.status != http.StatusSeeOther {
			t.Fatalf("%+v: %d", move, p.status)
		}
		if got := order(); got != move.want {
			t.Errorf("%s %s: %s, want %s", move.name, move.direction, got, move.want)
		}
	}
	if p := c.send("/policies/none/move", "direction", "up"); p.status != http.StatusNotFound {
		t.Errorf("a policy that is none: %d", p.status)
	}
	if p := c.send("/policies/all-macs/move", "direction", "left"); p.status != http.StatusUnprocessableEntity {
		t.Errorf("a direction that is none: %d", p.status)
	}
}

func TestAddressesThatDoNotExist(t *testing.T) {
	w := newWorld(t)
	stranger, admin := w.client(), w.client().signIn(adminToken)
	for _, path := range []string{"/nothing/here", "/devices/none", "/policies/none", "/groups/none", "/settings/none"} {
		p := admin.get(path)
		if p.status != http.StatusNotFound || !strings.Contains(p.body, `<nav aria-label="Pages">`) || !strings.Contains(p.body, "Go to the fleet") {
			t.Errorf("%s: %d", path, p.status)
		}
	}
	if p := stranger.get("/nothing/here"); p.status != http.StatusNotFound || strings.Contains(p.body, "<nav") || !strings.Contains(p.body, "Page not found") {
		t.Errorf("for a stranger: %d", p.status)
	}
}
