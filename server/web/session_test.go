package web_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"plimsoll/server/fleet"
	"plimsoll/server/web"
)

func TestEverythingNeedsASession(t *testing.T) {
	w := newWorld(t)
	w.enrol(mac{id: "MAC-1", serial: "C02AAA", model: "Mac14,2", board: "J413AP", version: "26.5", build: "25F71"})
	c := w.client()
	for _, path := range []string{
		"/", "/devices", "/devices.csv", "/devices/MAC-1", "/devices/MAC-1/reports/1", "/policies", "/policies/new", "/policies/x", "/groups", "/groups/x", "/releases", "/enrollment", "/settings",
	} {
		if p := c.get(path); p.status != http.StatusSeeOther || !strings.HasPrefix(p.location, "/login") {
			t.Errorf("GET %s: %d to %q", path, p.status, p.location)
		}
	}
	if p := c.get("/devices?state=overdue"); p.location != "/login?next=%2Fdevices%3Fstate%3Doverdue" {
		t.Errorf("a filter leads to %q", p.location)
	}
	for _, path := range []string{"/session", "/stream"} {
		if p := c.get(path); p.status != http.StatusUnauthorized {
			t.Errorf("GET %s: %d", path, p.status)
		}
	}
	for _, path := range writes {
		if p := c.post(path); p.status != http.StatusSeeOther || p.location != "/login" {
			t.Errorf("POST %s: %d to %q", path, p.status, p.location)
		}
	}
	if p := c.get("/login"); p.status != http.StatusOK || !strings.Contains(p.body, `href="/openapi.json"`) || !strings.Contains(p.body, `href="/healthz"`) {
		t.Errorf("the login page does not say what is here: %d", p.status)
	}
}

// writes are all addresses that change something.
var writes = []string{
	"/devices/MAC-1/sync", "/devices/MAC-1/groups", "/devices/MAC-1/remove", "/devices/bulk", "/calendar/freezes", "/calendar/freezes/delete", "/settings/tokens", "/settings/tokens/delete", "/policies/x/move", "/policies", "/policies/x/delete", "/groups", "/groups/x/delete",
	"/releases/refresh", "/releases/hold", "/releases/release", "/releases/pause", "/releases/resume", "/enrollment", "/enrollment/delete",
}

// A browser says with each request which site caused it (Sec-Fetch-Site, or Origin); writes from other sites are refused.
func TestWritesFromOtherSitesAreRefused(t *testing.T) {
	w := newWorld(t)
	w.enrol(mac{id: "MAC-1", serial: "C02AAA", model: "Mac14,2", board: "J413AP", version: "26.5", build: "25F71"})
	c := w.client().signIn(adminToken)
	send := func(path, header, value string) page {
		r, err := http.NewRequest(http.MethodPost, w.srv.URL+path, strings.NewReader("confirm=yes"))
		w.must(err)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set(header, value)
		return c.do(r)
	}
	paths := slices.Concat(writes, []string{"/login", "/logout", "/self/x/delay", "/self/x/upgrade"})
	for _, path := range paths {
		for _, from := range []struct{ header, value string }{
			{"Sec-Fetch-Site", "cross-site"},
			{"Sec-Fetch-Site", "same-site"},
			{"Sec-Fetch-Site", "nonsense"},
			{"Origin", "https://evil.example"},
			{"Origin", "null"},
			{"Origin", strings.Replace(w.srv.URL, "http:", "https:", 1) + "0"},
		} {
			if p := send(path, from.header, from.value); p.status != http.StatusForbidden || !strings.Contains(p.body, "another site") {
				t.Errorf("POST %s with %s: %s is %d", path, from.header, from.value, p.status)
			}
		}
	}
	for _, from := range []struct{ header, value string }{{"Sec-Fetch-Site", "same-origin"}, {"Sec-Fetch-Site", "none"}, {"Origin", w.srv.URL}, {"X-Nothing", "x"}} {
		if p := send("/devices/MAC-1/sync", from.header, from.value); p.status != http.StatusSeeOther || p.location != "/devices/MAC-1?done=synced" {
			t.Errorf("%s: %s is %d to %q", from.header, from.value, p.status, p.location)
		}
	}
}

func TestReadSeesEverythingAndChangesNothing(t *testing.T) {
	w := newWorld(t)
	w.enrol(mac{id: "MAC-1", serial: "C02AAA", model: "Mac14,2", board: "J413AP", version: "26.5", build: "25F71"})
	w.put(`{"name":"x","priority":1,"updates":{"mode":"automatic","within_days":14}}`)
	_, _, _, err := w.PutGroup(context.Background(), "x", []string{"C02AAA"}, fleet.WriteOptions{By: fleet.Origin{Actor: "test"}, Confirm: true})
	w.must(err)
	code, err := w.CreateCode(context.Background(), fleet.Origin{Actor: "test"}, "office", nil, 0)
	w.must(err)
	c := w.client().signIn(w.token("looker", fleet.ScopeRead))
	for _, path := range []string{
		"/", "/devices", "/devices.csv", "/devices/MAC-1", "/devices/MAC-1/reports/1", "/policies", "/policies/new", "/policies/x", "/groups", "/groups/x", "/releases", "/enrollment", "/settings",
	} {
		p := c.get(path)
		if p.status != http.StatusOK {
			t.Errorf("GET %s: %d", path, p.status)
		}
		if strings.Contains(p.body, code.Code) {
			t.Errorf("GET %s shows an enrolment code, with which a Mac could be enrolled", path)
		}
	}
	for _, path := range writes {
		if p := c.send(path, "name", "y", "priority", "2", "updates.mode", "none", "subject", "26", "reason", "no", "code", code.Code); p.status != http.StatusForbidden {
			t.Errorf("POST %s: %d", path, p.status)
		}
	}
	ctx := context.Background()
	policies, err := w.Policies(ctx, 10, "")
	w.must(err)
	groups, err := w.Groups(ctx, 10, "")
	w.must(err)
	holds, err := w.Holds(ctx, 10, "")
	w.must(err)
	codes, err := w.ListCodes(ctx, 10, "")
	w.must(err)
	pause, err := w.Pause(ctx)
	w.must(err)
	events, err := w.DeviceEvents(ctx, "MAC-1", 1000, "")
	w.must(err)
	if len(policies.Items) != 1 || len(groups.Items) != 1 || len(groups.Items[0].Devices) != 1 || len(holds.Items) != 0 || len(codes.Items) != 1 || pause.Paused {
		t.Error("something was changed")
	}
	for _, e := range events.Items {
		if e.Type == "sync_requested" {
			t.Error("a Mac was asked to sync")
		}
	}
}

// impatient is a client that is written to only with a time by which the writing ends.
type impatient struct {
	*httptest.ResponseRecorder
	deadline time.Time
}

func (i *impatient) SetWriteDeadline(at time.Time) error {
	i.deadline = at
	return nil
}

func (i *impatient) Write(b []byte) (int, error) {
	if i.deadline.IsZero() {
		return 0, errors.New("nothing ends this")
	}
	return i.ResponseRecorder.Write(b)
}

// A page that does not read its stream is not waited for without end.
func TestAStreamIsWrittenInTime(t *testing.T) {
	w := newWorld(t)
	pages, err := web.New(w.options())
	w.must(err)
	cookie, _, _ := strings.Cut(w.client().post("/login", "token", adminToken).header.Get("Set-Cookie"), ";")
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // the page leaves after the first line
	r := httptest.NewRequest(http.MethodGet, "/stream", nil).WithContext(ctx)
	r.Header.Set("Cookie", cookie)
	res := &impatient{ResponseRecorder: httptest.NewRecorder()}
	pages.Handler().ServeHTTP(res, r)
	if res.Code != http.StatusOK || !res.Flushed || !strings.HasPrefix(res.Body.String(), "retry: ") {
		t.Errorf("%d %q", res.Code, res.Body)
	}
}

// The banner that the catalogue is old costs no look at the database: pages would wait for it.
func TestPagesDoNotPing(t *testing.T) {
	w := newWorld(t)
	c := w.client().signIn(adminToken)
	for _, path := range []string{"/", "/releases"} {
		if p := c.get(path); p.status != http.StatusOK {
			t.Errorf("%s: %d", path, p.status)
		}
	}
	if n := w.db.pings.Load(); n != 0 {
		t.Errorf("the database was pinged %d times", n)
	}
}

// A panic is answered, and the log says so at the level that everybody has.
func TestPanicsAreAnsweredAndLogged(t *testing.T) {
	w := newWorld(t)
	o := w.options()
	var logged bytes.Buffer
	o.Log = slog.New(slog.NewTextHandler(&logged, nil))
	o.Identify = func(context.Context, string, string) (fleet.Principal, time.Duration, error) { panic("out of order") }
	pages, err := web.New(o)
	w.must(err)
	r := httptest.NewRequest(http.MethodPost, "/login", strings.NewReader("token=x"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res := httptest.NewRecorder()
	pages.Handler().ServeHTTP(res, r)
	if res.Code != http.StatusInternalServerError || strings.Contains(res.Body.String(), "out of order") {
		t.Errorf("%d %s", res.Code, res.Body)
	}
	if got := logged.String(); !strings.Contains(got, "level=ERROR") || !strings.Contains(got, "out of order") {
		t.Errorf("the log: %s", got)
	}
}

func TestOddRequests(t *testing.T) {
	w := newWorld(t)
	c := w.client().signIn(adminToken)
	send := func(method, path, body string) int {
		r, err := http.NewRequest(method, w.srv.URL+path, strings.NewReader(body))
		w.must(err)
		if method == http.MethodPost {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		return c.do(r).status
	}
	large := "members=" + strings.Repeat("A", 4<<20)
	for _, tt := range []struct {
		name, method, path, body string
		want                     int
	}{
		{"only the headers", http.MethodHead, "/", "", http.StatusOK},
		{"only the headers of the login page", http.MethodHead, "/login", "", http.StatusSeeOther},
		{"a method that there is not", http.MethodDelete, "/devices", "", http.StatusMethodNotAllowed},
		{"a form over 4 MiB", http.MethodPost, "/groups", large, http.StatusRequestEntityTooLarge},
		{"a login over 4 MiB", http.MethodPost, "/login", large, http.StatusRequestEntityTooLarge},
		{"a user's form over 4 MiB", http.MethodPost, "/self/x/delay", large, http.StatusRequestEntityTooLarge},
		{"what is no form", http.MethodPost, "/groups", "members=%zz", http.StatusUnprocessableEntity},
		{"a cursor that is none", http.MethodGet, "/devices?cursor=%00", "", http.StatusUnprocessableEntity},
		{"a day that is none", http.MethodGet, "/releases?as_of=yesterday", "", http.StatusUnprocessableEntity},
		{"an id with a slash", http.MethodGet, "/devices/a%2Fb", "", http.StatusNotFound},
	} {
		if got := send(tt.method, tt.path, tt.body); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestHeaders(t *testing.T) {
	w := newWorld(t)
	c := w.client().signIn(adminToken)
	for _, path := range []string{"/", "/login", "/nothing/here", "/self/none", "/assets/app.css", "/assets/none"} {
		h := c.get(path).header
		for name, want := range map[string]string{
			"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'", "X-Content-Type-Options": "nosniff",
			"X-Frame-Options": "DENY", "Referrer-Policy": "same-origin",
		} {
			if got := h.Get(name); !strings.HasPrefix(got, want) {
				t.Errorf("%s: %s is %q", path, name, got)
			}
		}
	}
	if got := c.get("/").header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("a page may be kept: %q", got)
	}
}
