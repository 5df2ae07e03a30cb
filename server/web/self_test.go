package web_test

import (
	"context"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"plimsoll/declarations"
	"plimsoll/server/fleet"
)

// Who may only read sees what a Mac is told without its link, by which one may do what the Mac's user may (rules 9).
func TestReadersSeeNoLink(t *testing.T) {
	w := newWorld(t)
	w.enrol(mac{id: "MAC-1", serial: "C02AAA", model: "Mac14,2", board: "J413AP", version: "26.5", build: "25F71"})
	w.put(`{"name":"everyone","priority":10,"updates":{"mode":"minimum","version":"26.6.1","deadline":"2026-08-28T12:00:00"},"details_url":"self"}`)
	path := w.self("MAC-1")
	p := w.client().signIn(w.token("reader", fleet.ScopeRead)).get("/devices/MAC-1?tab=declarations")
	if p.status != http.StatusOK || strings.Contains(p.body, path) || strings.Count(p.body, "https://mdm.example.com/self/(hidden)") < 2 {
		t.Errorf("who may only read: %d; the plan and what was served are to be there with the link hidden", p.status)
	}
	if p := w.client().signIn(adminToken).get("/devices/MAC-1?tab=declarations"); p.status != http.StatusOK || strings.Count(p.body, path) < 3 {
		t.Errorf("an admin: %d, %d links", p.status, strings.Count(p.body, path))
	}
}

// Admins find a Mac's own page also where nothing is declared that would lead its user there; those who may only read do not.
func TestTheUsersPageIsFound(t *testing.T) {
	w := newWorld(t)
	w.enrol(mac{id: "MAC-1", serial: "C02AAA", model: "Mac14,2", board: "J413AP", version: "15.7.9", build: "24G830"})
	w.put(`{"name":"offer","priority":10,"os":{"track":"26","upgrade":"self_service"},"updates":{"mode":"automatic","within_days":30}}`)
	if got := w.sync("MAC-1"); got[declarations.IDOSUpdate] != nil {
		t.Fatalf("the Mac is told %v", got)
	}
	link := regexp.MustCompile(`href="https://mdm\.example\.com(/self/[^"]+)"`)
	admin := w.client().signIn(adminToken)
	found := link.FindStringSubmatch(admin.get("/devices/MAC-1").body)
	if found == nil {
		t.Fatal("the Mac's page has no link to its user's page")
	}
	if p := w.client().get(found[1]); p.status != http.StatusOK || !strings.Contains(p.body, "26.6.2") {
		t.Errorf("the user's page: %d %s", p.status, p.body)
	}
	if p := w.client().signIn(w.token("reader", fleet.ScopeRead)).get("/devices/MAC-1"); p.status != http.StatusOK || strings.Contains(p.body, "/self/") {
		t.Errorf("who may only read: %d, and is shown the link", p.status)
	}
	w.must(w.CheckOut(context.Background(), "MAC-1"))
	if p := admin.get("/devices/MAC-1"); p.status != http.StatusOK || strings.Contains(p.body, "/self/") {
		t.Errorf("of a Mac that checked out: %d, and a link", p.status)
	}
}
