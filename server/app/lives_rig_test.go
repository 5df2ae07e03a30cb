package app_test

import (
	"compress/gzip"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"plimsoll/examples/macs/sim"
	"plimsoll/schemas"
	"plimsoll/server/api"
	"plimsoll/server/feed"
	"plimsoll/server/fleet"
	"plimsoll/server/mdm"
	"plimsoll/storage"
	"plimsoll/storage/bolt"
	"plimsoll/storage/nano"
)

// lives is the whole server in this process, with a clock that only the test moves: nothing happens by itself.
type lives struct {
	t      *testing.T
	clock  atomic.Int64 // Unix seconds
	fleet  *fleet.Fleet
	db     storage.DB
	srv    *httptest.Server
	feed   string // the file that stands for Apple's feed
	world  *sim.World
	tokens int
	told   map[string]string // by Mac, the event that was read last

	exploited   string        // the file that stands for SOFA's feed; empty: none
	header      string        // in which Macs hand over their certificates; empty: they sign
	keepHistory time.Duration // manifests, history rows
}

// livesKey is one key for every CA and every Mac: making keys is slow.
var livesKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// livesCA is a device CA that is valid whenever these tests play.
var livesCA = sync.OnceValue(func() *fleet.CA {
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA of the lives"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: instantOf("2020-01-01T00:00"), NotAfter: instantOf("2040-01-01T00:00"), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &livesKey().PublicKey, livesKey())
	if err != nil {
		panic(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return &fleet.CA{Cert: cert, Key: livesKey()}
})

func instantOf(s string) time.Time {
	t, err := time.Parse("2006-01-02T15:04", s)
	if err != nil {
		panic(err)
	}
	return t
}

// The feeds of the scenarios, both Apple's own answers: of 2026-08-22, when 26.6.2 was the newest, and of 2026-03-17, when the first
// Background Security Improvements appeared.
func summerFeed(t *testing.T) []byte {
	t.Helper()
	b, err := os.ReadFile("../../declarations/release/snapshot.json")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func springFeed(t *testing.T) []byte {
	t.Helper()
	f, err := os.Open("../../declarations/release/testdata/pmv-2026-03-17T1834Z-first-BSI.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// without takes the macOS releases of a version out of a feed.
func without(t *testing.T, body []byte, version string) []byte {
	t.Helper()
	var sets map[string]map[string][]map[string]any
	if err := json.Unmarshal(body, &sets); err != nil {
		t.Fatal(err)
	}
	for _, set := range sets {
		set["macOS"] = slices.DeleteFunc(set["macOS"], func(e map[string]any) bool { return e["ProductVersion"] == version })
	}
	out, err := json.Marshal(sets)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// newLives starts a server at a time.
func newLives(t *testing.T, at string, apple []byte, change ...func(*lives)) *lives {
	t.Helper()
	l := &lives{t: t, feed: filepath.Join(t.TempDir(), "feed.json"), world: sim.NewWorld(), told: map[string]string{}, keepHistory: 400 * 24 * time.Hour}
	for _, c := range change {
		c(l)
	}
	l.setClock(at)
	l.publish(apple)
	db, err := bolt.Open(filepath.Join(t.TempDir(), "lives.db"))
	if err != nil {
		t.Fatal(err)
	}
	l.db = db
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	store := nano.New(db, nano.WithClock(l.now))
	notifier, err := mdm.NewNotifier(mdm.NotifierOptions{Store: store, Log: log, Now: l.now})
	if err != nil {
		t.Fatal(err)
	}
	var exploited fleet.Source
	if l.exploited != "" {
		exploited = sourceOf(t, l.exploited)
	}
	l.fleet, err = fleet.New(fleet.Options{
		Store: storage.New(db), Notifier: notifier, Log: log, AdminToken: adminToken, URL: "http://127.0.0.1", Alone: true, Now: l.now,
		Identities:  &fleet.Identities{CA: livesCA(), DeviceOf: notifier.DeviceOf},
		KeepReports: 20, KeepEvents: 90 * 24 * time.Hour, KeepHistory: l.keepHistory,
		Catalogue: sourceOf(t, l.feed), Exploited: exploited,
		SweepResults: func(ctx context.Context, id string, before time.Time) error {
			_, err := store.SweepResults(ctx, id, before)
			return err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.fleet.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	l.srv = httptest.NewServer(mux)
	macs, err := mdm.New(mdm.Options{Notifier: notifier, Fleet: l.fleet, URL: l.srv.URL, CertHeader: l.header, ListenLoopback: true, Log: log, Now: l.now})
	if err != nil {
		t.Fatal(err)
	}
	macs.Mount(mux)
	rest := api.New(api.Options{Fleet: l.fleet, Log: log, Version: "test", Push: macs.PushHandler(), Enqueue: macs.EnqueueHandler(), PushCert: macs.PushCertHandler()})
	mux.Handle("/", rest.Handler())
	t.Cleanup(func() {
		rest.Close()
		l.srv.Close()
		notifier.Close()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// sourceOf is a file as a source of a feed.
func sourceOf(t *testing.T, file string) fleet.Source {
	t.Helper()
	src, err := feed.New(file, feed.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return fleet.Source{
		Name: src.String(),
		Fetch: func(ctx context.Context, prev fleet.Validators) ([]byte, fleet.Validators, bool, error) {
			body, v, same, err := src.Fetch(ctx, feed.Validators(prev))
			return body, fleet.Validators(v), same, err
		},
	}
}

func (l *lives) now() time.Time { return time.Unix(l.clock.Load(), 0).UTC() }

func (l *lives) setClock(at string) { l.clock.Store(instantOf(at).Unix()) }

// publish writes what Apple's feed says from now on; it is read when an admin refreshes the catalogue.
func (l *lives) publish(body []byte) {
	l.t.Helper()
	if err := os.WriteFile(l.feed, body, 0o600); err != nil {
		l.t.Fatal(err)
	}
}

// sweep looks at every Mac, as the server does every 2 seconds.
func (l *lives) sweep() {
	l.t.Helper()
	if err := l.fleet.Sweep(l.t.Context()); err != nil {
		l.t.Fatal(err)
	}
}

// request sends a request with a token and holds the answer against the OpenAPI document.
func (l *lives) request(token, method, target, body string, header ...string) (int, http.Header, []byte) {
	l.t.Helper()
	req, err := http.NewRequestWithContext(l.t.Context(), method, l.srv.URL+target, strings.NewReader(body))
	if err != nil {
		l.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := l.srv.Client().Do(req)
	if err != nil {
		l.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		l.t.Fatal(err)
	}
	path, _, _ := strings.Cut(target, "?")
	if err := schemas.CheckAnswer(method, path, res.StatusCode, res.Header.Get("Content-Type"), b); err != nil {
		l.t.Errorf("%s %s: %v", method, target, err)
	}
	return res.StatusCode, res.Header, b
}

// call is a request as the admin, whose answer must have the status given.
func (l *lives) call(method, target, body string, status int, into any) {
	l.t.Helper()
	got, _, b := l.request(adminToken, method, target, body)
	if got != status {
		l.t.Fatalf("%s %s was answered %d, want %d: %s", method, target, got, status, b)
	}
	if into == nil {
		return
	}
	if err := json.Unmarshal(b, into); err != nil {
		l.t.Fatalf("%s %s: %v in %s", method, target, err, b)
	}
}

// visit reads routes, with a token of its own since a token has a rate.
func (l *lives) visit(routes ...string) {
	l.t.Helper()
	l.tokens++
	tok, err := l.fleet.CreateToken(l.t.Context(), fleet.Origin{Actor: "test"}, fleet.TokenWish{Name: fmt.Sprintf("visitor-%d", l.tokens), Scopes: []fleet.Scope{fleet.ScopeRead}})
	if err != nil {
		l.t.Fatal(err)
	}
	for _, r := range routes {
		if status, _, b := l.request(tok.Token, "GET", r, ""); status != http.StatusOK {
			l.t.Errorf("GET %s was answered %d: %s", r, status, b)
		}
	}
}

// visitAll reads every route about a Mac and about the fleet.
func (l *lives) visitAll(id string) {
	l.t.Helper()
	mac := "/v1/devices/" + id
	var reports struct{ Reports []fleet.ReportInfo }
	l.call("GET", mac+"/reports?limit=2", "", http.StatusOK, &reports)
	for _, r := range reports.Reports {
		l.visit(mac + "/reports/" + r.ID)
	}
	l.visit(
		mac+"/status", mac+"/events", mac+"/declarations?at="+l.now().Add(-time.Hour).Format(time.RFC3339), "/v1/devices?sort=deadline",
		"/v1/devices?sort=last_seen&limit=1", "/v1/compliance/history", "/v1/events?limit=5", "/v1/policies", "/v1/groups", "/v1/holds", "/v1/releases",
		"/readyz", "/healthz", "/version",
	)
	for _, r := range []string{"/v1/tokens", "/v1/enrollment-codes", "/metrics"} { // for admins
		l.call("GET", r, "", http.StatusOK, nil)
	}
	if _, _, b := l.request(adminToken, "GET", "/v1/devices", "", "Accept", "text/csv"); !strings.HasPrefix(string(b), "id,serial,") {
		l.t.Errorf("the CSV of devices begins with %.60q", b)
	}
}

// events are those of a Mac that were not read yet, oldest first.
func (l *lives) events(id string) []fleet.Event {
	l.t.Helper()
	var fresh []fleet.Event
	for cursor := ""; ; {
		var page struct {
			Events []fleet.Event
			Next   string `json:"next_cursor"`
		}
		l.call("GET", "/v1/devices/"+id+"/events?limit=50&cursor="+cursor, "", http.StatusOK, &page)
		for _, e := range page.Events {
			if e.ID == l.told[id] {
				page.Next = ""
				break
			}
			fresh = append(fresh, e)
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	if len(fresh) > 0 {
		l.told[id] = fresh[0].ID
	}
	slices.Reverse(fresh)
	return fresh
}
