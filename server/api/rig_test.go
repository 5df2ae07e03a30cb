package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"plimsoll/schemas"
	"plimsoll/server/fleet"
	"plimsoll/server/mdm/commandlog"
	"plimsoll/status"
	"plimsoll/storage"
	"plimsoll/storage/bolt"
	"plimsoll/storage/nano"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const adminSecret = "the-admin-token-of-these-tests"

// today is the day of these tests, shortly after the built-in catalogue was fetched.
var today = time.Date(2026, 8, 25, 9, 0, 0, 0, time.UTC)

// rig is an API over a real fleet on a real database.
type rig struct {
	t     *testing.T
	fleet *fleet.Fleet
	api   *API
	db    *brittle
	nano  *nano.Store // what NanoMDM keeps of the Macs

	logged *buffer
}

// buffer is a log that may be written and read at the same time.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

// of are the lines of the requests to a path.
func (b *buffer) of(path string) (lines []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for line := range strings.Lines(b.b.String()) {
		if strings.Contains(line, " path="+path+" ") {
			lines = append(lines, line)
		}
	}
	return lines
}

// brittle is a database that can be made unreachable.
type brittle struct {
	storage.DB
	pings atomic.Int64
	down  atomic.Bool
}

func (b *brittle) fail() error {
	if b.down.Load() {
		return errors.Join(storage.ErrUnavailable, errors.New("dial tcp 10.0.0.7:6379: connection refused"))
	}
	return nil
}

func (b *brittle) View(ctx context.Context, p string, fn func(storage.Reader) error) error {
	if err := b.fail(); err != nil {
		return err
	}
	return b.DB.View(ctx, p, fn)
}

func (b *brittle) Update(ctx context.Context, p string, fn func(storage.Tx) error) error {
	if err := b.fail(); err != nil {
		return err
	}
	return b.DB.Update(ctx, p, fn)
}

func (b *brittle) Ping(ctx context.Context) error {
	b.pings.Add(1)
	if err := b.fail(); err != nil {
		return err
	}
	return b.DB.Ping(ctx)
}

// quiet tells Macs nothing.
type quiet struct{}

func (quiet) Queue(storage.Tx, string, []byte) error                   { return nil }
func (quiet) Query(storage.Tx, string, string, ...string) error        { return nil }
func (quiet) Update(storage.Tx, string, fleet.UpdateCommand) error     { return nil }
func (quiet) Withdraw(storage.Tx, string, string) error                { return nil }
func (quiet) Push(context.Context, []string) (map[string]error, error) { return nil, nil }
func (quiet) Forget(context.Context, string) error                     { return nil }

func newRig(t *testing.T) *rig { return newRigAt(t, "http://127.0.0.1:8080") }

// newRigAt is a rig with that --url.
func newRigAt(t *testing.T, url string) *rig {
	t.Helper()
	inner, err := bolt.Open(filepath.Join(t.TempDir(), "plimsoll.db"))
	if err != nil {
		t.Fatal(err)
	}
	db := &brittle{DB: inner}
	logged := &buffer{}
	log := slog.New(slog.NewTextHandler(logged, nil))
	macs := nano.New(db, nano.WithClock(func() time.Time { return today }))
	f, err := fleet.New(fleet.Options{
		Store: storage.New(db), Notifier: quiet{}, Commands: commandlog.New(macs), Log: log, AdminToken: adminSecret, URL: url, Alone: true,
		KeepEvents: 90 * 24 * time.Hour, KeepHistory: 400 * 24 * time.Hour, Now: func() time.Time { return today },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	if err := f.Start(ctx); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	a := New(Options{Fleet: f, Log: log, Version: "1.2.3", Push: echoBack, Enqueue: echoBack, PushCert: echoBack})
	a.pace, a.pinged.every = 0, 0
	t.Cleanup(func() {
		a.Close()
		db.down.Store(false)
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := inner.Close(); err != nil {
			t.Error(err)
		}
	})
	return &rig{t: t, fleet: f, api: a, db: db, nano: macs, logged: logged}
}

// echoBack stands in for NanoMDM's handlers.
var echoBack = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"path": r.URL.Path, "bytes": len(b)})
})

// enrol makes Macs known.
func (r *rig) enrol(macs ...status.CheckIn) {
	r.t.Helper()
	ctx := context.Background()
	for _, m := range macs {
		if err := r.fleet.Authenticate(ctx, m.UDID, m); err != nil {
			r.t.Fatal(err)
		}
		if err := r.fleet.TokenUpdate(ctx, m.UDID, "com.apple.mgmt.External.1"); err != nil {
			r.t.Fatal(err)
		}
	}
}

func mac(n string) status.CheckIn {
	return status.CheckIn{UDID: "UDID-" + n, Serial: "SERIAL" + n, Name: "Mac " + n, Model: "Mac14,2", ModelName: "MacBook Air", Version: "26.5", Build: "25F71"}
}

// call is one request; header is a list of names and values.
type call struct {
	method, target, body string
	header               []string
	as                   string // the token; empty: the admin's, "-": none
}

func (c call) request() *http.Request {
	var body io.Reader
	if c.body != "" {
		body = strings.NewReader(c.body)
	}
	req := httptest.NewRequest(c.method, c.target, body)
	switch c.as {
	case "":
		req.Header.Set("Authorization", "Bearer "+adminSecret)
	case "-":
	default:
		req.Header.Set("Authorization", "Bearer "+c.as)
	}
	for i := 0; i < len(c.header); i += 2 {
		req.Header.Set(c.header[i], c.header[i+1])
	}
	return req
}

// do sends a request and holds its answer against the OpenAPI document.
func (r *rig) do(c call) *httptest.ResponseRecorder {
	r.t.Helper()
	res := r.send(c)
	path, _, _ := strings.Cut(c.target, "?")
	if err := schemas.CheckAnswer(c.method, path, res.Code, res.Header().Get("Content-Type"), res.Body.Bytes()); err != nil {
		r.t.Error(err)
	}
	return res
}

// send sends a request.
func (r *rig) send(c call) *httptest.ResponseRecorder {
	r.t.Helper()
	res := httptest.NewRecorder()
	r.api.Handler().ServeHTTP(res, c.request())
	return res
}

// get decodes the answer to a GET, which must be 200.
func (r *rig) get(target string, into any) {
	r.t.Helper()
	r.want(call{method: "GET", target: target}, http.StatusOK, into)
}

// want sends a request, checks its status and decodes the answer.
func (r *rig) want(c call, status int, into any) *httptest.ResponseRecorder {
	r.t.Helper()
	res := r.do(c)
	if res.Code != status {
		r.t.Fatalf("%s %s gave %d, want %d: %s", c.method, c.target, res.Code, status, res.Body)
	}
	if into != nil {
		if err := json.Unmarshal(res.Body.Bytes(), into); err != nil {
			r.t.Fatalf("%s %s: %v in %s", c.method, c.target, err, res.Body)
		}
	}
	return res
}

// token creates an API token.
func (r *rig) token(name, scope string) string {
	r.t.Helper()
	var t fleet.NewToken
	r.want(call{method: "POST", target: "/v1/tokens", body: `{"name":"` + name + `","scope":"` + scope + `"}`}, http.StatusCreated, &t)
	return t.Token
}

const minimumPolicy = `{"name":"everyone","label":"Everyone","priority":10,"updates":{"mode":"minimum","version":"26.6.1","deadline":"2027-03-01T12:00:00"}}`
