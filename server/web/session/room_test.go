package session_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"plimsoll/server/api"
	"plimsoll/server/fleet"
	"plimsoll/server/web/session"
	"plimsoll/storage"
	"plimsoll/storage/bolt"
)

// adminToken is the token of the command line.
const adminToken = "the-token-of-the-command-line"

// notifier tells nobody: there are no Macs here.
type notifier struct{}

func (notifier) Queue(storage.Tx, string, []byte) error                   { return nil }
func (notifier) Query(storage.Tx, string, string, ...string) error        { return nil }
func (notifier) Update(storage.Tx, string, fleet.UpdateCommand) error     { return nil }
func (notifier) Withdraw(storage.Tx, string, string) error                { return nil }
func (notifier) Push(context.Context, []string) (map[string]error, error) { return nil, nil }
func (notifier) Forget(context.Context, string) error                     { return nil }

// world is a fleet with a clock that stands still until it is set, and a site whose pages are in plain text.
type world struct {
	*fleet.Fleet
	t     *testing.T
	clock time.Time
	site  http.Handler
}

func (w *world) now() time.Time       { return w.clock }
func (w *world) pass(d time.Duration) { w.clock = w.clock.Add(d) }

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, clock: time.Date(2026, 8, 24, 9, 0, 0, 0, time.UTC)}
	db, err := bolt.Open(filepath.Join(t.TempDir(), "p.db"))
	w.must(err)
	t.Cleanup(func() { _ = db.Close() })
	w.Fleet, err = fleet.New(fleet.Options{
		Store: storage.New(db), Notifier: notifier{}, Log: slog.New(slog.DiscardHandler), URL: "https://mdm.example.com", Zone: time.UTC,
		Now: w.now, Alone: true, AdminToken: adminToken,
	})
	w.must(err)
	w.must(w.Start(context.Background()))
	w.site = w.replica(session.Options{AdminToken: adminToken})
	return w
}

// replica is a site of the fleet: its front page is for everybody who is signed in, /write for those who may write.
func (w *world) replica(o session.Options) http.Handler {
	w.t.Helper()
	o.Fleet, o.Now, o.Identify = w.Fleet, w.now, api.NewLogins(w.Fleet, w.now).Identify
	o.Show = func(c echo.Context, status int, next, fault string) error { return c.String(status, next+" "+fault) }
	room, err := session.New(context.Background(), o)
	w.must(err)
	e := echo.New()
	e.IPExtractor = echo.ExtractIPDirect()
	e.HTTPErrorHandler = func(err error, c echo.Context) {
		status := http.StatusInternalServerError
		switch {
		case errors.Is(err, echo.ErrNotFound):
			if room.Recall(c); session.Of(c) != nil {
				_ = c.String(http.StatusNotFound, "nothing here, "+session.Who(c))
				return
			}
			status = http.StatusNotFound
		case errors.Is(err, fleet.ErrForbidden):
			status = http.StatusForbidden
		}
		_ = c.String(status, err.Error())
	}
	room.Routes(e)
	e.GET("/", room.SignedIn(func(c echo.Context) error {
		return c.String(http.StatusOK, "Sign out "+session.Who(c)+" "+strconv.FormatBool(session.Of(c).Kept()))
	}))
	e.GET("/stream", room.SignedIn(func(c echo.Context) error { return c.NoContent(http.StatusOK) }))
	e.POST("/write", room.SignedIn(session.MayWrite(func(c echo.Context) error { return c.String(http.StatusOK, c.FormValue("name")) })))
	return e
}

// token makes an API token.
func (w *world) token(name string, scope fleet.Scope) string {
	w.t.Helper()
	made, err := w.CreateToken(context.Background(), fleet.Origin{Actor: "test"}, fleet.TokenWish{Name: name, Scopes: []fleet.Scope{scope}})
	w.must(err)
	return made.Token
}

// client is a browser.
type client struct {
	w      *world
	site   http.Handler
	cookie string // name=value; empty: none
	header http.Header
}

func (w *world) client() *client { return &client{w: w, site: w.site, header: http.Header{}} }

// page is an answer.
type page struct {
	status   int
	header   http.Header
	location string
	body     string
}

func (c *client) do(method, path, form string) page {
	r := httptest.NewRequest(method, path, strings.NewReader(form))
	r.Header = c.header.Clone()
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if c.cookie != "" {
		r.Header.Set("Cookie", c.cookie)
	}
	res := httptest.NewRecorder()
	c.site.ServeHTTP(res, r)
	got := res.Result()
	for _, set := range got.Cookies() {
		c.cookie = set.Name + "=" + set.Value
		if set.MaxAge < 0 {
			c.cookie = ""
		}
	}
	b, err := io.ReadAll(got.Body)
	c.w.must(err)
	return page{got.StatusCode, got.Header, got.Header.Get("Location"), string(b)}
}

func (c *client) get(path string) page { return c.do(http.MethodGet, path, "") }

func (c *client) post(path string, pairs ...string) page {
	form := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	return c.do(http.MethodPost, path, form.Encode())
}

// signIn signs in with a token.
func (c *client) signIn(token string) *client {
	c.w.t.Helper()
	if p := c.post("/login", "token", token); p.status != http.StatusSeeOther {
		c.w.t.Fatalf("signing in: %d %s", p.status, p.body)
	}
	return c
}

func TestSigningIn(t *testing.T) {
	w := newWorld(t)
	first := w.token("first", fleet.ScopeAdmin)
	metrics := w.token("monitor", fleet.ScopeMetrics)
	for _, tt := range []struct {
		name, token string
		status      int
		says        string
	}{
		{"a token that is kept", first, http.StatusSeeOther, ""},
		{"the token of the command line", adminToken, http.StatusSeeOther, ""},
		{"with a line's end that was copied along", first + "\n", http.StatusSeeOther, ""},
		{"a wrong one", "nonsense", http.StatusUnauthorized, "This token is not known."},
		{"none", "", http.StatusUnauthorized, "This token is not known."},
		{"one that may only read metrics", metrics, http.StatusForbidden, "may only read metrics"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := w.client()
			p := c.post("/login", "token", tt.token, "next", "/devices?state=overdue")
			if p.status != tt.status || !strings.Contains(p.body, tt.says) {
				t.Fatalf("%d %s", p.status, p.body)
			}
			if tt.status != http.StatusSeeOther {
				if p.header.Get("Set-Cookie") != "" {
					t.Error("a failed login sets a cookie")
				}
				if tt.token != "" && strings.Contains(p.body, tt.token) {
					t.Error("the page repeats the token")
				}
				return
			}
			if p.location != "/devices?state=overdue" {
				t.Errorf("leads to %q", p.location)
			}
			cookie := p.header.Get("Set-Cookie")
			for _, want := range []string{"HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"} {
				if !strings.Contains(cookie, want) {
					t.Errorf("the cookie %q lacks %s", cookie, want)
				}
			}
			if strings.Contains(cookie, strings.TrimSpace(tt.token)) {
				t.Error("the cookie carries the token")
			}
			if p := c.get("/"); p.status != http.StatusOK || !strings.Contains(p.body, "Sign out") {
				t.Errorf("after signing in: %d", p.status)
			}
			if p := c.get("/login"); p.status != http.StatusSeeOther {
				t.Errorf("the login page, signed in: %d", p.status)
			}
		})
	}
}

func TestSessionsEnd(t *testing.T) {
	in := func(t *testing.T, c *client, want bool) {
		t.Helper()
		if p := c.get("/"); (p.status == http.StatusOK) != want {
			t.Fatalf("the fleet's page: %d", p.status)
		}
	}
	t.Run("by signing out", func(t *testing.T) {
		w := newWorld(t)
		c := w.client().signIn(adminToken)
		if p := c.post("/logout"); p.status != http.StatusSeeOther {
			t.Fatal(p.status)
		}
		in(t, c, false)
	})
	t.Run("after 12 hours", func(t *testing.T) {
		w := newWorld(t)
		c := w.client().signIn(adminToken)
		w.pass(12*time.Hour - time.Second)
		in(t, c, true)
		w.pass(time.Second)
		in(t, c, false)
	})
	t.Run("with their token", func(t *testing.T) {
		w := newWorld(t)
		c := w.client().signIn(w.token("first", fleet.ScopeAdmin))
		in(t, c, true)
		w.must(w.DeleteToken(context.Background(), "first", fleet.Origin{}))
		in(t, c, false)
		w.pass(time.Second)
		w.token("first", fleet.ScopeAdmin)
		in(t, c, false)
	})
	t.Run("when they are forged", func(t *testing.T) {
		w := newWorld(t)
		p := w.client().post("/login", "token", adminToken)
		good, _, _ := strings.Cut(strings.TrimPrefix(p.header.Get("Set-Cookie"), "plimsoll_session="), ";")
		body, sum, _ := strings.Cut(good, ".")
		for name, value := range map[string]string{
			"as it is": good, "cut": good[:len(good)-2], "without a signature": body, "with another's": body + "." + strings.Repeat("A", len(sum)), "empty": "", "dots": "...", "longer": good + "A",
		} {
			c := w.client()
			c.cookie = "plimsoll_session=" + value
			if p := c.get("/"); (p.status == http.StatusOK) != (name == "as it is") {
				t.Errorf("%s: %d", name, p.status)
			}
		}
	})
}

// Ten logins of one address may fail in a minute (docs/api.md 1); behind a proxy everybody has one address, so a token that nobody can guess
// goes on being let in. The token of the command line is shorter than 32 characters here: it could be guessed.
func TestFailedLoginsAreLimited(t *testing.T) {
	w := newWorld(t)
	kept := w.token("first", fleet.ScopeAdmin)
	c := w.client()
	for i := range 10 {
		if p := c.post("/login", "token", "guess"); p.status != http.StatusUnauthorized {
			t.Fatalf("attempt %d: %d", i+1, p.status)
		}
	}
	if p := w.client().post("/login", "token", kept); p.status != http.StatusSeeOther {
		t.Errorf("a right token that nobody can guess: %d", p.status)
	}
	var wait int
	for name, token := range map[string]string{"a guess": "guess", "a long one": strings.Repeat("guess", 8), "a right one that can be guessed": adminToken} {
		p := c.post("/login", "token", token)
		var err error
		if wait, err = strconv.Atoi(p.header.Get("Retry-After")); p.status != http.StatusTooManyRequests || err != nil || wait < 1 || wait > 60 {
			t.Errorf("%s, the eleventh: %d, to wait %q", name, p.status, p.header.Get("Retry-After"))
		}
	}
	c.header.Set("X-Forwarded-For", "203.0.113.9")
	if p := c.post("/login", "token", "guess"); p.status != http.StatusTooManyRequests {
		t.Errorf("with a header that names another address: %d", p.status)
	}
	w.pass(time.Duration(wait) * time.Second)
	for i := range 20 {
		if p := w.client().post("/login", "token", adminToken); p.status != http.StatusSeeOther {
			t.Fatalf("after the wait, success %d counts as a failure: %d", i+1, p.status)
		}
	}
}

// Who signs out ends the session for everybody who has its cookie.
func TestSigningOutEndsTheCookie(t *testing.T) {
	w := newWorld(t)
	other := w.client().signIn(adminToken)
	c := w.client().signIn(adminToken)
	kept := w.client()
	kept.cookie = c.cookie
	if p := kept.get("/"); p.status != http.StatusOK {
		t.Fatalf("signed in: %d", p.status)
	}
	p := c.post("/logout")
	if p.status != http.StatusSeeOther || p.location != "/login" || !strings.Contains(p.header.Get("Set-Cookie"), "Max-Age=0") {
		t.Fatalf("signing out: %d to %q, cookie %q", p.status, p.location, p.header.Get("Set-Cookie"))
	}
	if p := kept.get("/"); p.status != http.StatusSeeOther {
		t.Errorf("the same cookie afterwards: %d", p.status)
	}
	if p := other.get("/"); p.status != http.StatusOK {
		t.Errorf("another session with the same token: %d", p.status)
	}
}

// With https a browser takes the cookie from this host only.
func TestTheCookieWithHTTPS(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	c.site = w.replica(session.Options{AdminToken: adminToken, Secure: true})
	cookie := c.signIn(adminToken).post("/login", "token", adminToken).header.Get("Set-Cookie")
	if !strings.HasPrefix(cookie, "__Host-plimsoll_session=") || !strings.Contains(cookie, "; Secure") ||
		!strings.Contains(cookie, "Path=/;") || strings.Contains(cookie, "Domain") {
		t.Fatalf("the cookie is %q", cookie)
	}
	if p := c.get("/session"); p.status != http.StatusNoContent {
		t.Errorf("with the cookie: %d", p.status)
	}
}

// A session is good at every replica, until the token of the command line is another, or none.
func TestReplicasShareSessions(t *testing.T) {
	w := newWorld(t)
	named, kept := w.client().signIn(adminToken), w.client().signIn(w.token("first", fleet.ScopeAdmin))
	for _, tt := range []struct {
		name, adminToken string
		named            int
	}{
		{"the same", adminToken, http.StatusOK},
		{"another token of the command line", adminToken + "2", http.StatusSeeOther},
		{"no token of the command line", "", http.StatusSeeOther},
	} {
		site := w.replica(session.Options{AdminToken: tt.adminToken})
		named.site, kept.site = site, site
		if p := named.get("/"); p.status != tt.named {
			t.Errorf("%s: %d, want %d", tt.name, p.status, tt.named)
		}
		if p := kept.get("/"); p.status != http.StatusOK || p.body != "Sign out first true" {
			t.Errorf("%s, a token that is kept: %d %s", tt.name, p.status, p.body)
		}
	}
}

func TestWhoMayWhat(t *testing.T) {
	w := newWorld(t)
	for _, tt := range []struct {
		name, token string
		write       int
	}{
		{"the command line", adminToken, http.StatusOK},
		{"an admin", w.token("first", fleet.ScopeAdmin), http.StatusOK},
		{"a reader", w.token("reader", fleet.ScopeRead), http.StatusForbidden},
	} {
		c := w.client().signIn(tt.token)
		if p := c.post("/write", "name", "posted"); p.status != tt.write || (p.status == http.StatusOK) != (p.body == "posted") {
			t.Errorf("%s writes: %d %s, want %d", tt.name, p.status, p.body, tt.write)
		}
		if p := c.get("/nowhere"); p.status != http.StatusNotFound || !strings.HasPrefix(p.body, "nothing here, ") {
			t.Errorf("%s at an address that does not exist: %d %s", tt.name, p.status, p.body)
		}
	}
	for path, want := range map[string]string{"/": "/login", "/?a=b": "/login?next=%2F%3Fa%3Db"} {
		if p := w.client().get(path); p.status != http.StatusSeeOther || p.location != want {
			t.Errorf("signed out, %s: %d to %q, want %q", path, p.status, p.location, want)
		}
	}
	for _, path := range []string{"/session", "/stream"} {
		if p := w.client().get(path); p.status != http.StatusUnauthorized {
			t.Errorf("signed out, %s: %d", path, p.status)
		}
	}
	if p := w.client().post("/write", "name", "posted"); p.status != http.StatusSeeOther || p.location != "/login" {
		t.Errorf("signed out, a write: %d to %q", p.status, p.location)
	}
}
