package sim

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/micromdm/plist"
	"github.com/smallstep/pkcs7"

	"plimsoll/declarations"
)

// testKey is one key for everything in the tests: making keys is slow.
var testKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// testKeys hands out testKey.
func testKeys() *Keys { return &Keys{limit: 1, shared: []*rsa.PrivateKey{testKey()}} }

// client is what the fake server knows of one Mac.
type client struct {
	auth, tokens authenticateMessage
	bootstrap    []byte
	cert         []byte
	queue        []commandPlist
	results      []map[string]any
	decls        []declarations.Declaration
	stamp        time.Time
	served       []declarations.Declaration
	reports      []map[string]any // StatusItems of each
	raw          [][]byte
	refused      int // reports that were answered 400
	life         int
	asked        []string // endpoints, in order

	users, userReports int
	userItems          []declarations.Item
	userQueue          []commandPlist
}

// fakeServer does just enough of a server for Macs to talk to, and lets tests break it.
type fakeServer struct {
	t   *testing.T
	srv *httptest.Server
	ca  *x509.Certificate

	mu      sync.Mutex
	clients map[string]*client
	code    string
	signed  bool // the profile is CMS-signed
	certHdr string
	scepCap string
	// hook may answer a DDM request itself: it returns true when it did.
	hook func(w http.ResponseWriter, endpoint string, c *client) bool
	// down makes every request fail with that status.
	down int
	// onReport is called with the items of each report, under the lock.
	onReport func(udid string, c *client, items map[string]any)
	onEnrol  func(udid string, c *client)
}

func newFakeServer(t *testing.T) *fakeServer {
	t.Helper()
	f := &fakeServer{t: t, clients: map[string]*client{}, scepCap: "POSTPKIOperation\nSHA-256\nAES\nSCEPStandard\n"}
	key := testKey()
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Fake CA"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageKeyEncipherment | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	if f.ca, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /enroll", f.enroll)
	mux.HandleFunc("/scep", f.scep)
	mux.HandleFunc("PUT /mdm", f.mdm)
	f.srv = httptest.NewServer(mux)
	t.Cleanup(f.srv.Close)
	return f
}

// who verifies who speaks.
func (f *fakeServer) who(r *http.Request, body []byte) (*x509.Certificate, error) {
	if f.certHdr != "" {
		der, err := base64.StdEncoding.DecodeString(strings.Trim(r.Header.Get(f.certHdr), ":"))
		if err != nil {
			return nil, err
		}
		return x509.ParseCertificate(der)
	}
	sig, err := base64.StdEncoding.DecodeString(r.Header.Get("Mdm-Signature"))
	if err != nil {
		return nil, err
	}
	p7, err := pkcs7.Parse(sig)
	if err != nil {
		return nil, err
	}
	p7.Content = body
	if err := p7.Verify(); err != nil {
		return nil, err
	}
	return p7.GetOnlySigner(), nil
}

func (f *fakeServer) mdm(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		f.t.Error(err)
	}
	cert, err := f.who(r, body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if err := cert.CheckSignatureFrom(f.ca); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down != 0 {
		http.Error(w, "down", f.down)
		return
	}
	switch r.Header.Get("Content-Type") {
	case "application/x-apple-aspen-mdm-checkin":
		f.checkin(w, body, cert.Raw)
	case "application/x-apple-aspen-mdm":
		f.command(w, body, cert.Raw)
	default:
		f.t.Errorf("Content-Type %q", r.Header.Get("Content-Type"))
	}
}

func (f *fakeServer) checkin(w http.ResponseWriter, body, cert []byte) {
	var msg struct {
		UDID, UserID, MessageType, Endpoint string
		Data, BootstrapToken                []byte
	}
	if err := plist.Unmarshal(body, &msg); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c := f.clients[msg.UDID]
	if msg.MessageType == "Authenticate" {
		if c == nil {
			c = &client{}
			f.clients[msg.UDID] = c
		}
		*c = client{cert: cert, life: c.life + 1, decls: c.decls, stamp: c.stamp}
		if err := plist.Unmarshal(body, &c.auth); err != nil {
			f.t.Error(err)
		}
		return
	}
	if c == nil || string(c.cert) != string(cert) {
		http.Error(w, "not enrolled", http.StatusBadRequest)
		return
	}
	if msg.UserID != "" {
		f.userCheckin(w, msg.MessageType, msg.Endpoint, c)
		return
	}
	switch msg.MessageType {
	case "TokenUpdate":
		if err := plist.Unmarshal(body, &c.tokens); err != nil {
			f.t.Error(err)
		}
		if f.onEnrol != nil {
			f.onEnrol(msg.UDID, c)
		}
	case "SetBootstrapToken":
		c.bootstrap = msg.BootstrapToken
	case "CheckOut":
		delete(f.clients, msg.UDID)
	case "DeclarativeManagement":
		c.asked = append(c.asked, msg.Endpoint)
		f.ddm(w, msg.UDID, msg.Endpoint, msg.Data, c)
	default:
		f.t.Errorf("MessageType %q", msg.MessageType)
	}
}

// userCheckin gives a user channel an empty manifest.
func (f *fakeServer) userCheckin(w http.ResponseWriter, messageType, endpoint string, c *client) {
	items := c.userItems
	switch {
	case messageType == "TokenUpdate":
		c.users++
	case endpoint == "tokens":
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(declarations.TokensJSON(declarations.DeclarationsToken(items, 0), time.Unix(0, 0)))
	case endpoint == "declaration-items":
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(declarations.ItemsJSON(items, declarations.DeclarationsToken(items, 0)))
	case endpoint == "status":
		c.userReports++
	default:
		f.t.Errorf("user channel: %s %s", messageType, endpoint)
	}
}

func (f *fakeServer) ddm(w http.ResponseWriter, udid, endpoint string, data []byte, c *client) {
	if f.hook != nil && f.hook(w, endpoint, c) {
		return
	}
	items := declarations.ItemsOf(c.decls)
	token := declarations.DeclarationsToken(items, 0)
	reply := func(b []byte) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(b)
	}
	switch endpoint {
	case "tokens":
		reply(declarations.TokensJSON(token, c.stamp))
	case "declaration-items":
		c.served = c.decls
		reply(declarations.ItemsJSON(items, token))
	case "status":
		var rep struct {
			StatusItems map[string]any
			FullReport  bool
		}
		if err := json.Unmarshal(data, &rep); err != nil || rep.StatusItems == nil {
			c.refused++
			http.Error(w, "not a report", http.StatusBadRequest)
			return
		}
		c.raw = append(c.raw, data)
		c.reports = append(c.reports, rep.StatusItems)
		if f.onReport != nil {
			f.onReport(udid, c, rep.StatusItems)
		}
	default:
		for _, d := range c.served {
			if endpoint == "declaration/"+string(d.Kind)+"/"+d.Identifier {
				reply(d.Body)
				return
			}
		}
		http.Error(w, "no such declaration", http.StatusNotFound)
	}
}

func (f *fakeServer) command(w http.ResponseWriter, body, cert []byte) {
	var msg map[string]any
	if err := plist.Unmarshal(body, &msg); err != nil {
		f.t.Error(err)
		return
	}
	udid, _ := msg["UDID"].(string)
	c := f.clients[udid]
	if c == nil || string(c.cert) != string(cert) {
		http.Error(w, "not enrolled", http.StatusBadRequest)
		return
	}
	queue := &c.queue
	if msg["UserID"] != nil {
		queue = &c.userQueue
	}
	if id, _ := msg["CommandUUID"].(string); id != "" {
		c.results = append(c.results, msg)
		if len(*queue) > 0 && (*queue)[0].CommandUUID == id {
			*queue = (*queue)[1:]
		}
	}
	if len(*queue) == 0 {
		return
	}
	b, err := plist.Marshal((*queue)[0])
	if err != nil {
		f.t.Error(err)
	}
	_, _ = w.Write(b)
}

// set changes what a Mac is to hold, at a time, and tells it.
func (f *fakeServer) set(udid string, at time.Time, withData bool, configs ...declarations.Declaration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.setLocked(udid, at, withData, configs...)
}

func (f *fakeServer) setLocked(udid string, at time.Time, withData bool, configs ...declarations.Declaration) {
	c := f.clients[udid]
	c.decls = nil
	for _, d := range configs {
		c.decls = append(c.decls, d, declarations.Activation(d))
	}
	declarations.SortDeclarations(c.decls)
	c.stamp = at
	cmd := commandPlist{CommandUUID: fmt.Sprintf("ddm-%d-%d", at.Unix(), len(c.results))}
	cmd.Command.RequestType = "DeclarativeManagement"
	if withData {
		cmd.Command.Data = declarations.TokensJSON(declarations.DeclarationsToken(declarations.ItemsOf(c.decls), 0), at)
	}
	c.queue = append(c.queue, cmd)
}

func (f *fakeServer) client(udid string) client {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c := f.clients[udid]; c != nil {
		return *c
	}
	return client{}
}

var everyItem = declarations.Subscriptions([]string{
	"device.identifier.serial-number", "device.model.identifier", "device.operating-system.build-version",
	"device.operating-system.marketing-name", "device.operating-system.supplemental.build-version",
	"device.operating-system.supplemental.extra-version", "device.operating-system.version", "management.declarations",
	"softwareupdate.device-id", "softwareupdate.failure-reason", "softwareupdate.install-reason",
	"softwareupdate.install-state", "softwareupdate.pending-version",
})

func enforce(t *testing.T, version, build, local string) declarations.Declaration {
	t.Helper()
	l, err := declarations.ParseLocal(local)
	if err != nil {
		t.Fatal(err)
	}
	id := declarations.IDOSUpdate
	if strings.HasSuffix(build, "a") {
		id = declarations.IDBSI
	}
	return declarations.Enforcement(id, version, build, l, "")
}
