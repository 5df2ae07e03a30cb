package companion_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"plimsoll/declarations/release"
	"plimsoll/examples/macs/sim"
	"plimsoll/server/companion"
	"plimsoll/server/fleet"
	"plimsoll/storage"
	"plimsoll/storage/bolt"
)

const (
	apiKey        = "the key of NanoMDM's API"
	dmSecret      = "dm-secret-0123456789-0123456789-0123"
	webhookSecret = "webhook-secret-0123456789-0123456789"
	dmKey         = "a key for requests"
	webhookKey    = "a key for events"
)

// servers are the real programs, built once: NanoMDM v0.9.0 and KMFDDM v0.8.3. testdata/servers is a module of its own, so that
// this one needs nothing of what they need.
var servers = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "servers")
	if err != nil {
		return "", err
	}
	programs := []string{"github.com/micromdm/nanomdm/cmd/nanomdm", "github.com/jessepeterson/kmfddm/cmd/kmfddm"}
	if out, err := exec.Command("go", append([]string{"list", "-C", "testdata/servers", "-deps"}, programs...)...).CombinedOutput(); err != nil {
		return dir, fmt.Errorf("%w: %w: %s", errNoModules, err, out)
	}
	out, err := exec.Command("go", append([]string{"build", "-C", "testdata/servers", "-o", dir + "/"}, programs...)...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("build the servers: %w: %s", err, out)
	}
	return dir, err
})

var errNoModules = errors.New("the modules of the real servers cannot be had")

func TestMain(m *testing.M) {
	code := m.Run()
	if built.Load() {
		dir, _ := servers()
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

var built atomic.Bool

func program(t *testing.T, name string) string {
	t.Helper()
	built.Store(true)
	dir, err := servers()
	if err != nil {
		if errors.Is(err, errNoModules) { // no test needs the network
			t.Skip(err)
		}
		t.Fatal(err)
	}
	return filepath.Join(dir, name)
}

var rigKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// rig is a NanoMDM with a server of ours beside it. Between them stands the test: it sees every event and every push, and may hold
// them back, lose them or change their dates.
type rig struct {
	t        *testing.T
	ahead    atomic.Int64 // nanoseconds that the clocks of both are ahead of the real one
	db       storage.DB
	fleet    *fleet.Fleet
	notifier *companion.Notifier
	dm       *httptest.Server // our listener
	relay    *httptest.Server // what NanoMDM takes for our webhook
	front    *httptest.Server // what we take for NanoMDM's API
	nano     *process
	issuer   *sim.Issuer
	stats    sim.Stats
	keys     *sim.Keys

	mu     sync.Mutex
	events []event      // that NanoMDM sent
	down   bool         // the webhook: nothing is taken
	fail   func() error // of the next push
	pushed []string
	came   chan struct{} // an event or a push did
}

type event struct {
	Topic string
	ID    string
	body  []byte
}

func (r *rig) now() time.Time { return time.Now().Add(time.Duration(r.ahead.Load())).UTC() }

// later moves the clocks.
func (r *rig) later(d time.Duration) { r.ahead.Add(int64(d)) }

// newRig starts everything. storageFlags are NanoMDM's.
func newRig(t *testing.T, storageFlags ...string) *rig {
	t.Helper()
	r := &rig{t: t, came: make(chan struct{}, 1), keys: sim.NewKeys(1)}
	r.startOurs()
	r.relay = httptest.NewServer(http.HandlerFunc(r.webhook))
	t.Cleanup(r.relay.Close)
	r.startNano(storageFlags...)
	return r
}

func (r *rig) startOurs() {
	t := r.t
	t.Helper()
	db, err := bolt.Open(filepath.Join(t.TempDir(), "ours.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	r.db = db
	r.front = httptest.NewServer(http.HandlerFunc(r.api))
	t.Cleanup(r.front.Close)
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	if r.notifier, err = companion.NewNotifier(companion.NotifierOptions{DB: db, URL: r.front.URL, Key: apiKey, Log: log, Now: r.now}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.notifier.Close)
	if r.fleet, err = fleet.New(fleet.Options{
		Store: storage.New(db), Notifier: r.notifier, Commands: companion.CommandLog{Notifier: r.notifier}, Companion: true, Queued: r.notifier.Queued,
		Log: log, URL: "http://127.0.0.1", Alone: true, KeepEvents: 90 * 24 * time.Hour, KeepHistory: 400 * 24 * time.Hour, Now: r.now,
	}); err != nil {
		t.Fatal(err)
	}
	if err := r.fleet.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	l, err := companion.New(companion.Options{
		Fleet: r.fleet, Notifier: r.notifier, Secret: dmSecret, WebhookSecret: webhookSecret, Key: dmKey, WebhookKey: webhookKey, Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	r.dm = httptest.NewServer(l)
	t.Cleanup(r.dm.Close)
}

// startNano starts NanoMDM as its documentation says, with the two flags that the start of ours prints.
func (r *rig) startNano(storageFlags ...string) {
	t := r.t
	t.Helper()
	if len(storageFlags) == 0 {
		storageFlags = []string{"-storage", "inmem", "-storage-dsn", ""}
	}
	if r.issuer == nil {
		r.issuer = newIssuer(t)
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.issuer.Cert.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	withSecret := func(base, secret, path string) string {
		u, err := url.Parse(base)
		if err != nil {
			t.Fatal(err)
		}
		u.User, u.Path = url.UserPassword("plimsoll", secret), path
		return u.String()
	}
	r.nano = start(t, program(t, "nanomdm"), append([]string{
		"-ca", ca, "-api", apiKey, "-dm", withSecret(r.dm.URL, dmSecret, "/dm/"), "-dm-send-hmac-key", dmKey, "-dm-recv-hmac-key", dmKey,
		"-webhook-url", withSecret(r.relay.URL, webhookSecret, "/webhook"), "-webhook-hmac-key", webhookKey,
	}, storageFlags...)...)
}

func newIssuer(t *testing.T) *sim.Issuer {
	t.Helper()
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "NanoMDM's device CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(240 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &rigKey().PublicKey, rigKey())
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &sim.Issuer{Cert: cert, Key: rigKey()}
}

// process is a server that runs.
type process struct {
	url  string
	args []string
	cmd  *exec.Cmd
	out  bytes.Buffer
}

// start starts a server on a free port of loopback, and waits until it answers. It is stopped with the test.
func start(t *testing.T, name string, args ...string) *process {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	p := &process{url: "http://" + addr, args: append([]string{name, "-listen", addr}, args...)}
	p.run(t)
	t.Cleanup(p.kill)
	return p
}

func (p *process) run(t *testing.T) {
	t.Helper()
	p.cmd = exec.Command(p.args[0], p.args[1:]...)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	p.cmd.Env = append(os.Environ(), "NO_PROXY=*")
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	await(t, p.args[0]+" to answer", func() bool {
		resp, err := http.Get(p.url + "/version")
		if err == nil {
			_ = resp.Body.Close()
		}
		return err == nil
	})
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// await asks until it is true. Nothing depends on how long that takes, but that it happens.
func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(30 * time.Second); ; <-tick.C {
		if is() {
			return
		}
		if time.Now().After(end) {
			t.Fatal("waited in vain for ", what)
		}
	}
}

// webhook is what NanoMDM sends its events to: they are noted, dated by the rig's clock, and handed on.
func (r *rig) webhook(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	body = r.dated(body)
	var e struct {
		Topic   string
		Checkin struct{ IDs struct{ ID string } } `json:"checkin_event"`
		Ack     struct{ IDs struct{ ID string } } `json:"acknowledge_event"`
	}
	_ = json.Unmarshal(body, &e)
	r.mu.Lock()
	r.events = append(r.events, event{e.Topic, e.Checkin.IDs.ID + e.Ack.IDs.ID, body})
	down := r.down
	r.mu.Unlock()
	if down {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	w.WriteHeader(r.post(body))
}

// dated moves the date of an event by what the rig's clock is ahead.
func (r *rig) dated(body []byte) []byte {
	var e map[string]any
	if json.Unmarshal(body, &e) != nil {
		return body
	}
	at, err := time.Parse(time.RFC3339Nano, fmt.Sprint(e["created_at"]))
	if err != nil {
		return body
	}
	e["created_at"] = at.Add(time.Duration(r.ahead.Load())).Format(time.RFC3339Nano)
	body, _ = json.Marshal(e)
	return body
}

// post sends our webhook an event as NanoMDM does.
func (r *rig) post(body []byte) int {
	return r.send("POST", "/webhook", webhookSecret, body, "X-Hmac-Signature", signatureOf(webhookKey, body))
}

func signatureOf(key string, body []byte) string {
	h := hmac.New(sha256.New, []byte(key))
	h.Write(body)
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// send makes a request of our listener and returns its status.
func (r *rig) send(method, path, secret string, body []byte, headers ...string) int {
	req, err := http.NewRequestWithContext(context.Background(), method, r.dm.URL, bytes.NewReader(body))
	if err != nil {
		return 0
	}
	path, req.URL.RawQuery, req.URL.ForceQuery = cutQuery(path)
	req.URL.RawPath = path // as it is, not cleaned
	if req.URL.Path, err = url.PathUnescape(path); err != nil {
		return 0
	}
	req.SetBasicAuth("plimsoll", secret)
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return 0
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

func cutQuery(path string) (before, query string, empty bool) {
	before, query, found := strings.Cut(path, "?")
	return before, query, found && query == ""
}

// api stands before NanoMDM's API. It answers pushes itself, as NanoMDM does when APNs took them: there is no APNs here.
func (r *rig) api(w http.ResponseWriter, req *http.Request) {
	id, isPush := strings.CutPrefix(req.URL.Path, "/v1/push/")
	if !isPush {
		target, _ := url.Parse(r.nano.url)
		httputil.NewSingleHostReverseProxy(target).ServeHTTP(w, req)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail != nil {
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = fmt.Fprintf(w, `{"status": {%q: {"push_error": %q}}}`, id, r.fail().Error())
		return
	}
	r.pushed = append(r.pushed, id)
	_, _ = fmt.Fprintf(w, `{"status": {%q: {"push_result": "apns"}}}`, id)
}

// mac makes a Mac that NanoMDM is the MDM of.
func (r *rig) mac(n int, version release.Version, build string) *sim.Mac {
	hardware := sim.Hardware{Board: "J413AP", Model: "Mac14,2", Name: "MacBook Air (M2, 2022)", AppleSilicon: true}
	return sim.New(sim.Spec{
		Serial: fmt.Sprintf("BESIDE%04d", n), UDID: fmt.Sprintf("564D4F2B-0000-4000-8000-%012X", n), Name: fmt.Sprint("Mac ", n),
		Hardware: hardware, OS: sim.OS{Version: version, Build: build}, Seed: uint64(n),
	}, sim.Faults{}, sim.Options{URL: r.nano.url, Issuer: r.issuer, Keys: r.keys, Stats: &r.stats, Now: r.now})
}

// count counts the events of a topic that NanoMDM sent about a Mac; with an empty id about any.
func (r *rig) count(topic, id string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		if e.Topic == topic && (id == "" || e.ID == id) {
			n++
		}
	}
	return n
}

// device reads a Mac; its zero value when it is not known.
func (r *rig) device(id string) fleet.Device {
	d, err := r.fleet.Device(r.t.Context(), id)
	if err != nil {
		return fleet.Device{}
	}
	return d
}

// notify gives NanoMDM what is queued and has it push.
func (r *rig) notify() {
	r.t.Helper()
	if n := r.notifier.GiveAll(r.t.Context()); n > 0 {
		r.t.Logf("%d Macs could not be given their commands", n)
	}
	if err := r.fleet.Sweep(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

// settled lets the Macs come until nothing is left to do.
func (r *rig) settled(macs ...*sim.Mac) {
	r.t.Helper()
	await(r.t, "the Macs to settle", func() bool {
		r.notify()
		all := true
		for _, m := range macs {
			if err := m.Poll(r.t.Context()); err != nil {
				r.t.Log(err)
			}
			all = all && m.Settled() && m.Token() != "" && r.device(m.Spec().UDID).Enrolled
		}
		return all
	})
}
