package web_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"plimsoll/declarations"
	"plimsoll/declarations/policy"
	"plimsoll/server/api"
	"plimsoll/server/fleet"
	"plimsoll/server/mdm/commandlog"
	"plimsoll/server/web"
	"plimsoll/status"
	"plimsoll/storage"
	"plimsoll/storage/bolt"
	"plimsoll/storage/nano"
)

// notifier is a Notifier that tells nobody: the Macs of the tests sync when a test says so.
type notifier struct{}

func (notifier) Queue(storage.Tx, string, []byte) error                   { return nil }
func (notifier) Query(storage.Tx, string, string, ...string) error        { return nil }
func (notifier) Update(storage.Tx, string, fleet.UpdateCommand) error     { return nil }
func (notifier) Withdraw(storage.Tx, string, string) error                { return nil }
func (notifier) Push(context.Context, []string) (map[string]error, error) { return nil, nil }
func (notifier) Forget(context.Context, string) error                     { return nil }

// counted is a database that counts how often it is asked whether it is there.
type counted struct {
	storage.DB
	pings atomic.Int64
}

func (c *counted) Ping(ctx context.Context) error {
	c.pings.Add(1)
	return c.DB.Ping(ctx)
}

// testDay is a Monday, a week after 26.6.2 was posted.
var testDay = time.Date(2026, 8, 24, 9, 0, 0, 0, time.UTC)

// adminToken is the token of the command line.
const adminToken = "the-token-of-the-command-line"

// world is a server with the pages on a clock that stands still until it is set.
type world struct {
	*fleet.Fleet
	t     testing.TB
	db    *counted
	nano  *nano.Store // what NanoMDM keeps of the Macs
	store *storage.Store
	zone  *time.Location
	srv   *httptest.Server
	mu    sync.Mutex
	clock time.Time
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.clock
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock = w.clock.Add(d)
}

// exploited is a feed that marks 26.6.1.
const exploited = `{"OSVersions":[{"OSVersion":"26","SecurityReleases":[{"ProductVersion":"26.6.1","ActivelyExploitedCVEs":["CVE-2026-0001"]}]}]}`

func newWorld(t testing.TB, change ...func(*fleet.Options)) *world {
	t.Helper()
	w := &world{t: t, clock: testDay}
	db, err := bolt.Open(filepath.Join(t.TempDir(), "p.db"))
	w.must(err)
	t.Cleanup(func() { _ = db.Close() })
	w.db = &counted{DB: db}
	w.store, w.nano = storage.New(w.db), nano.New(w.db, nano.WithClock(w.now))
	log := slog.New(slog.DiscardHandler)
	feed, err := os.ReadFile(filepath.Join("..", "..", "declarations", "release", "snapshot.json"))
	w.must(err)
	w.zone, err = time.LoadLocation("Europe/Berlin")
	w.must(err)
	o := fleet.Options{
		Push:  pushed(w.clock),
		Store: w.store, Notifier: notifier{}, Commands: commandlog.New(w.nano), Log: log, URL: "https://mdm.example.com", Zone: w.zone, Now: w.now, Alone: true, AdminToken: adminToken,
		Catalogue: fleet.Source{Fetch: func(_ context.Context, prev fleet.Validators) ([]byte, fleet.Validators, bool, error) {
			return feed, fleet.Validators{File: "the feed"}, prev.File != "", nil
		}},
		Exploited: fleet.Source{Fetch: func(context.Context, fleet.Validators) ([]byte, fleet.Validators, bool, error) {
			return []byte(exploited), fleet.Validators{}, false, nil
		}},
	}
	for _, f := range change {
		f(&o)
	}
	w.Fleet, err = fleet.New(o)
	w.must(err)
	w.must(w.Start(context.Background()))
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = w.Run(ctx)
	}()
	t.Cleanup(func() { stop(); <-ended })
	mux := http.NewServeMux()
	w.srv = httptest.NewServer(mux)
	t.Cleanup(w.srv.Close)
	pages, err := web.New(w.options())
	w.must(err)
	for _, p := range pages.Patterns() {
		mux.Handle(p, pages.Handler())
	}
	return w
}

// options are those of the pages.
func (w *world) options() web.Options {
	return web.Options{
		Fleet: w.Fleet, Log: slog.New(slog.DiscardHandler), Version: "test", URL: w.srv.URL, Zone: w.zone, AdminToken: adminToken,
		Identify: api.NewLogins(w.Fleet, w.now).Identify, Now: w.now,
		Store: "redis://store:6379",
	}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

const capabilities = `"management":{"client-capabilities":{"supported-versions":["1.0.0"],"supported-features":{},"supported-payloads":{"declarations":{
 "activations":["com.apple.activation.simple"],"assets":[],"management":[],
 "configurations":["com.apple.configuration.management.status-subscriptions","com.apple.configuration.softwareupdate.enforcement.specific","com.apple.configuration.softwareupdate.settings"]},
 "status-items":["device.operating-system.version","device.operating-system.build-version","softwareupdate.device-id","softwareupdate.install-state","management.declarations"]}}}`

// mac is a Mac of the tests.
type mac struct{ id, serial, name, model, modelName, board, version, build string }

// enrol enrols a Mac and lets it report what it is.
func (w *world) enrol(m mac) {
	w.t.Helper()
	ctx := context.Background()
	w.must(w.Authenticate(ctx, m.id, m.checkIn()))
	w.must(w.TokenUpdate(ctx, m.id, "com.apple.mgmt.External.1"))
	w.must(w.BootstrapToken(ctx, m.id, true))
	w.report(m.id, fmt.Sprintf(`{"StatusItems":{"device":{"identifier":{"serial-number":%q},"model":{"identifier":%q},"operating-system":{"version":%q,"build-version":%q}},"softwareupdate":{"device-id":%q},%s},"Errors":[],"FullReport":true}`,
		m.serial, m.model, m.version, m.build, m.board, capabilities))
}

func (w *world) report(id, body string) {
	w.t.Helper()
	w.Contact(id)
	w.must(w.Ingest(context.Background(), id, []byte(body)))
}

// sync is what a Mac does when it is told. It returns the payloads of its configurations by identifier.
func (w *world) sync(id string) map[string]map[string]any {
	w.t.Helper()
	got, _ := w.fetch(id)
	return got
}

// settle is a sync with the report that everything is active.
func (w *world) settle(id string) {
	w.t.Helper()
	_, report := w.fetch(id)
	w.report(id, report)
}

func (w *world) fetch(id string) (payloads map[string]map[string]any, report string) {
	w.t.Helper()
	ctx := context.Background()
	w.Contact(id)
	_, err := w.Tokens(ctx, id)
	w.must(err)
	b, err := w.Items(ctx, id)
	w.must(err)
	type item struct{ Identifier, ServerToken string }
	var items struct{ Declarations map[string][]item }
	w.must(json.Unmarshal(b, &items))
	payloads = map[string]map[string]any{}
	for _, it := range items.Declarations["Configurations"] {
		body, err := w.Declaration(ctx, id, declarations.KindConfiguration, it.Identifier)
		w.must(err)
		var d struct{ Payload map[string]any }
		w.must(json.Unmarshal(body, &d))
		payloads[it.Identifier] = d.Payload
	}
	active := func(kind string) []map[string]any {
		list := []map[string]any{}
		for _, it := range items.Declarations[kind] {
			list = append(list, map[string]any{"identifier": it.Identifier, "server-token": it.ServerToken, "active": true, "valid": "valid"})
		}
		return list
	}
	b, err = json.Marshal(map[string]any{"Errors": []any{}, "StatusItems": map[string]any{"management": map[string]any{"declarations": map[string]any{
		"activations": active("Activations"), "configurations": active("Configurations"), "assets": []any{}, "management": []any{},
	}}}})
	w.must(err)
	return payloads, string(b)
}

func (w *world) put(text string) {
	w.t.Helper()
	var p policy.Policy
	w.must(json.Unmarshal([]byte(text), &p))
	_, err := w.PutPolicy(context.Background(), p, fleet.WriteOptions{By: fleet.Origin{Actor: "test"}, Confirm: true})
	w.must(err)
}

// self is the path of a Mac's own page, as it stands in what the Mac is told.
func (w *world) self(id string) string {
	w.t.Helper()
	address, _ := w.sync(id)[declarations.IDOSUpdate]["DetailsURL"].(string)
	path, ok := strings.CutPrefix(address, "https://mdm.example.com")
	if !ok {
		w.t.Fatalf("the Mac %s is told the address %q", id, address)
	}
	return path
}

// token makes an API token.
func (w *world) token(name string, scope fleet.Scope) string {
	w.t.Helper()
	made, err := w.CreateToken(context.Background(), fleet.Origin{Actor: "test"}, fleet.TokenWish{Name: name, Scopes: []fleet.Scope{scope}})
	w.must(err)
	return made.Token
}

// client is a browser without JavaScript.
type client struct {
	*http.Client
	w *world
}

func (w *world) client() *client {
	jar, err := cookiejar.New(nil)
	w.must(err)
	return &client{&http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, w}
}

// page is an answer.
type page struct {
	status   int
	header   http.Header
	location string
	body     string
}

func (c *client) do(r *http.Request) page {
	c.w.t.Helper()
	r.Header.Set("Accept", "text/html,application/xhtml+xml")
	res, err := c.Do(r)
	c.w.must(err)
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	c.w.must(err)
	return page{res.StatusCode, res.Header, res.Header.Get("Location"), string(b)}
}

func (c *client) get(path string) page {
	c.w.t.Helper()
	r, err := http.NewRequest(http.MethodGet, c.w.srv.URL+path, nil)
	c.w.must(err)
	return c.do(r)
}

func (c *client) post(path string, pairs ...string) page {
	c.w.t.Helper()
	form := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	r, err := http.NewRequest(http.MethodPost, c.w.srv.URL+path, strings.NewReader(form.Encode()))
	c.w.must(err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return c.do(r)
}

// signIn signs in with a token.
func (c *client) signIn(token string) *client {
	c.w.t.Helper()
	if p := c.post("/login", "token", token); p.status != http.StatusSeeOther {
		c.w.t.Fatalf("signing in: %d %s", p.status, p.body)
	}
	return c
}

// send posts a form of the session.
func (c *client) send(path string, pairs ...string) page {
	c.w.t.Helper()
	return c.post(path, pairs...)
}

func (m mac) checkIn() status.CheckIn {
	return status.CheckIn{UDID: m.id, Serial: m.serial, Name: m.name, Model: m.model, ModelName: m.modelName, Version: m.version, Build: m.build}
}
