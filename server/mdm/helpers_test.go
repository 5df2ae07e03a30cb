package mdm_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/micromdm/plist"
	"github.com/smallstep/pkcs7"
	"go.uber.org/goleak"

	"plimsoll/server/fleet"
	"plimsoll/server/mdm"
	"plimsoll/storage"
	"plimsoll/storage/bolt"
	"plimsoll/storage/nano"
	"plimsoll/storage/storagetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	checkinType = "application/x-apple-aspen-mdm-checkin"
	commandType = "application/x-apple-aspen-mdm"

	macID     = "66ADE930-5FDF-5EC4-8429-15640684C489"
	otherID   = "11111111-2222-3333-4444-555555555555"
	foreignID = "22222222-2222-4333-8444-555555555555"
	userID    = "3C0B6E0A-6C43-4C3A-9D5B-0C9B8E7B1F00"
)

// Keys take long to make, so the tests have theirs in testdata. All Macs share one, with certificates of their own.
var (
	keys     = sync.OnceValue(readKeys)
	macKey   = func() *rsa.PrivateKey { return keys()[0] }
	otherKey = func() *rsa.PrivateKey { return keys()[1] }
	deviceCA = sync.OnceValue(func() *fleet.CA { return newCA("device CA", keys()[2]) })
	otherCA  = sync.OnceValue(func() *fleet.CA { return newCA("another CA", keys()[3]) })
)

func readKeys() (keys []*rsa.PrivateKey) {
	b, err := os.ReadFile("testdata/keys.pem")
	if err != nil {
		panic(err)
	}
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			panic(err)
		}
		keys = append(keys, key.(*rsa.PrivateKey))
	}
	return keys
}

func newCA(name string, key *rsa.PrivateKey) *fleet.CA {
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-3 * time.Hour), NotAfter: time.Now().AddDate(20, 0, 0), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageKeyEncipherment,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return &fleet.CA{Cert: cert, Key: key}
}

// world is a Server with the fleet behind it, on bolt.
type world struct {
	t        *testing.T
	db       *storagetest.FaultyDB
	nano     *nano.Store
	store    *storage.Store
	fleet    *fleet.Fleet
	notifier *mdm.Notifier
	mdm      *mdm.Server
	srv      *httptest.Server
	logged   *buffer

	mu   sync.Mutex
	time time.Time
}

type setup struct {
	mdm.Options
	mdm.NotifierOptions
	fleet.Identities
}

func newWorld(t testing.TB, change ...func(*setup)) *world {
	t.Helper()
	file, err := bolt.Open(filepath.Join(t.TempDir(), "plimsoll.db"))
	check(t, err)
	t.Cleanup(func() { check(t, file.Close()) })
	return newWorldOn(t, file, true, change...)
}

// newWorldOn is a world on a database that others may have open too, unless it is alone. Its loops do not run.
func newWorldOn(t testing.TB, db storage.DB, alone bool, change ...func(*setup)) *world {
	t.Helper()
	w := &world{db: storagetest.Faulty(db), time: time.Now().UTC(), logged: &buffer{}}
	w.t, _ = t.(*testing.T)
	log := slog.New(slog.NewTextHandler(w.logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	w.nano = nano.New(w.db, nano.WithClock(w.now))
	w.store = storage.New(w.db)

	w.srv = httptest.NewUnstartedServer(nil)
	s := setup{
		Options:         mdm.Options{URL: "http://" + w.srv.Listener.Addr().String(), ListenLoopback: true, Log: log, Now: w.now},
		NotifierOptions: mdm.NotifierOptions{Store: w.nano, Log: log, Now: w.now},
		Identities:      fleet.Identities{CA: deviceCA(), DeviceOf: w.nano.DeviceOf},
	}
	for _, f := range change {
		f(&s)
	}
	var err error
	w.notifier, err = mdm.NewNotifier(s.NotifierOptions)
	check(t, err)
	t.Cleanup(w.notifier.Close)
	w.fleet, err = fleet.New(fleet.Options{
		Store: w.store, Notifier: w.notifier, Log: log, URL: s.URL, Now: w.now, Alone: alone, Identities: &s.Identities,
		Push: &fleet.PushSource{Certificates: w.notifier.Certificates, TopicOf: w.notifier.TopicOf},
	})
	check(t, err)
	check(t, w.fleet.Start(context.Background()))
	s.Notifier, s.Fleet = w.notifier, w.fleet
	w.mdm, err = mdm.New(s.Options)
	check(t, err)
	mux := http.NewServeMux()
	w.mdm.Mount(mux)
	mux.Handle("/v1/pushcert", w.mdm.PushCertHandler())
	mux.Handle("/v1/push/", w.mdm.PushHandler())
	mux.Handle("/v1/enqueue/", w.mdm.EnqueueHandler())
	w.srv.Config.Handler = mux
	w.srv.Start()
	t.Cleanup(w.srv.Close)
	return w
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.time
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.time = w.time.Add(d)
}

// answer is what the server said.
type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) contentType() string { return a.header.Get("Content-Type") }

func (w *world) do(req *http.Request) answer {
	w.t.Helper()
	resp, err := w.srv.Client().Do(req)
	check(w.t, err)
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	check(w.t, err)
	return answer{resp.StatusCode, resp.Header, string(b)}
}

func (w *world) get(path string, header ...string) answer {
	w.t.Helper()
	req, err := http.NewRequest(http.MethodGet, w.srv.URL+path, nil)
	check(w.t, err)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return w.do(req)
}

// client is a Mac, as far as a test needs one.
type client struct {
	w    *world
	id   string
	user string // on the user channel
	cert *x509.Certificate
	key  *rsa.PrivateKey
}

func (w *world) mac(id string) *client {
	w.t.Helper()
	return &client{w: w, id: id, cert: issue(w.t, deviceCA(), id, nil), key: macKey()}
}

// issue makes an identity without SCEP; change may spoil it.
func issue(t testing.TB, ca *fleet.CA, name string, change func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100))
	check(t, err)
	tmpl := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if change != nil {
		change(tmpl)
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, ca.Cert, &macKey().PublicKey, ca.Key)
	check(t, err)
	cert, err := x509.ParseCertificate(der)
	check(t, err)
	return cert
}

type message map[string]any

func (c *client) plist(m message) []byte {
	c.w.t.Helper()
	all := message{"UDID": c.id}
	if c.user != "" {
		all["UserID"], all["UserShortName"] = c.user, "user"
	}
	for k, v := range m {
		all[k] = v
	}
	b, err := plist.MarshalIndent(map[string]any(all), "\t")
	check(c.w.t, err)
	return b
}

func (c *client) sign(body []byte) string {
	c.w.t.Helper()
	sd, err := pkcs7.NewSignedData(body)
	check(c.w.t, err)
	check(c.w.t, sd.AddSigner(c.cert, c.key, pkcs7.SignerInfoConfig{}))
	sd.Detach()
	sig, err := sd.Finish()
	check(c.w.t, err)
	return base64.StdEncoding.EncodeToString(sig)
}

func (c *client) request(contentType string, body []byte) *http.Request {
	c.w.t.Helper()
	req, err := http.NewRequest(http.MethodPut, c.w.srv.URL+"/mdm", bytes.NewReader(body))
	check(c.w.t, err)
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Mdm-Signature", c.sign(body))
	return req
}

func (c *client) checkin(m message) answer {
	c.w.t.Helper()
	return c.w.do(c.request(checkinType, c.plist(m)))
}

func (c *client) command(m message) answer {
	c.w.t.Helper()
	return c.w.do(c.request(commandType, c.plist(m)))
}

func (c *client) ddm(endpoint string, data []byte) answer {
	c.w.t.Helper()
	m := message{"MessageType": "DeclarativeManagement", "Endpoint": endpoint}
	if data != nil {
		m["Data"] = data
	}
	return c.checkin(m)
}

func authenticate(version, build string) message {
	return message{
		"MessageType": "Authenticate", "Topic": "com.apple.mgmt.External.x", "DeviceName": "Kim's Mac", "Model": "Mac14,2",
		"ModelName": "MacBook Air", "ProductName": "Mac14,2", "SerialNumber": "C02XYZ", "OSVersion": version, "BuildVersion": build,
	}
}

func tokenUpdate(id string) message {
	return message{
		"MessageType": "TokenUpdate", "Topic": pushTopic, "PushMagic": "magic-of-" + id, "Token": []byte("token of " + id),
	}
}

func (c *client) enrol() {
	c.w.t.Helper()
	want(c.w.t, "Authenticate", c.checkin(authenticate("26.5", "25F71")), http.StatusOK)
	want(c.w.t, "TokenUpdate", c.checkin(tokenUpdate(c.id)), http.StatusOK)
}

func want(t *testing.T, what string, a answer, status int) {
	t.Helper()
	if a.status != status {
		t.Errorf("%s: answered %d %q, want %d", what, a.status, strings.TrimSpace(a.body), status)
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
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

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// fullReport is a first status report of a Mac with macOS 26.5.
func fullReport(serial string) []byte {
	return fmt.Appendf(nil, `{"StatusItems":{"device":{"identifier":{"serial-number":%q},"model":{"identifier":"Mac14,2"},
		"operating-system":{"version":"26.5","build-version":"25F71"}},"softwareupdate":{"device-id":"J413AP"}},"Errors":[],"FullReport":true}`, serial)
}
