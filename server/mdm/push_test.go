package mdm_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"plimsoll/server/fleet"
	"plimsoll/storage"
	"plimsoll/storage/storagetest"
)

const pushTopic = "com.apple.mgmt.External.e0bd1eac-1f17-4c8e-8a63-dd17d3dd35d9"

// pushPair is a push certificate and its key, as PEM.
func pushPair(t *testing.T, topic string) (certPEM, keyPEM []byte) {
	t.Helper()
	cert := issue(t, otherCA(), "push", func(c *x509.Certificate) {
		c.Subject = pkix.Name{ExtraNames: []pkix.AttributeTypeAndValue{
			{Type: asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 1}, Value: topic},
		}}
	})
	return pemOf("CERTIFICATE", cert.Raw), rsaPEM(macKey())
}

// apns is a fake of Apple's push service.
type apns struct {
	*httptest.Server
	roots *x509.CertPool

	mu     sync.Mutex
	conns  int
	pushed map[string]string // body by token
	reason map[string]string // by token, why it is refused
	proto  map[string]int
}

func newAPNS(t *testing.T) *apns {
	a := &apns{pushed: map[string]string{}, reason: map[string]string{}, proto: map[string]int{}, roots: x509.NewCertPool()}
	a.Server = httptest.NewUnstartedServer(a)
	a.EnableHTTP2 = true
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<60))
	check(t, err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial, DNSNames: []string{"api.push.apple.com"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, otherCA().Cert, &macKey().PublicKey, otherCA().Key)
	check(t, err)
	a.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: macKey()}}, ClientAuth: tls.RequireAnyClientCert}
	a.roots.AddCert(otherCA().Cert)
	a.Config.ErrorLog = log.New(io.Discard, "", 0)
	a.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			a.mu.Lock()
			a.conns++
			a.mu.Unlock()
		}
	}
	a.StartTLS()
	t.Cleanup(a.Close)
	return a
}

// ServeHTTP takes a push.
func (a *apns) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	token := strings.TrimPrefix(r.URL.Path, "/3/device/")
	a.mu.Lock()
	defer a.mu.Unlock()
	a.proto[r.Proto]++
	if reason := a.reason[token]; reason != "" {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprintf(w, `{"reason":%q}`, reason)
		return
	}
	a.pushed[token] = string(body)
	w.Header().Set("apns-id", "id-"+token)
}

// use makes the world push to the fake.
func (a *apns) use(s *setup) { s.APNS, s.APNSRoots = a.Listener.Addr().String(), a.roots }

// enrolled enrols a Mac that is known by its push data only.
func (w *world) enrolled(n int) []string {
	w.t.Helper()
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("00000000-0000-4000-8000-000000000%03d", i)
		w.mac(ids[i]).enrol()
	}
	return ids
}

func tokenOf(id string) string { return hex.EncodeToString([]byte("token of " + id)) }

func (w *world) storePushCert(topic string) {
	w.t.Helper()
	certPEM, keyPEM := pushPair(w.t, topic)
	check(w.t, w.nano.StorePushCert(context.Background(), certPEM, keyPEM))
}

func TestPush(t *testing.T) {
	a := newAPNS(t)
	w := newWorld(t, a.use)
	ctx := context.Background()
	ids := w.enrolled(100)
	if _, err := w.notifier.Push(ctx, ids); !errors.Is(err, fleet.ErrNoPush) {
		t.Errorf("without a certificate: %v", err)
	}
	w.storePushCert(pushTopic)
	failed, err := w.notifier.Push(ctx, ids)
	if err != nil || len(failed) != 0 {
		t.Fatalf("failed: %v, %v", failed, err)
	}
	if len(a.pushed) != 100 || a.pushed[tokenOf(ids[7])] != `{"mdm":"magic-of-00000000-0000-4000-8000-000000000007"}` {
		t.Errorf("%d Macs were pushed, one with %q", len(a.pushed), a.pushed[tokenOf(ids[7])])
	}
	if a.conns > 2 || a.proto["HTTP/2.0"] != 100 {
		t.Errorf("%d connections, protocols %v", a.conns, a.proto)
	}
	if failed, err := w.notifier.Push(ctx, nil); err != nil || len(failed) != 0 {
		t.Errorf("nobody: %v, %v", failed, err)
	}
	if failed, err := w.notifier.Push(ctx, ids[:1]); err != nil || len(failed) != 0 || a.conns > 2 {
		t.Errorf("again: %v, %v, %d connections", failed, err, a.conns)
	}
}

func TestPushTellsWhy(t *testing.T) {
	a := newAPNS(t)
	w := newWorld(t, a.use)
	ids := w.enrolled(6)
	w.storePushCert(pushTopic)
	foreign := w.mac(foreignID)
	foreign.enrol()
	m := tokenUpdate(foreignID)
	m["Topic"] = "com.apple.mgmt.External.another"
	want(t, "TokenUpdate", foreign.checkin(m), http.StatusOK)
	reasons := map[string]string{
		ids[0]: "BadDeviceToken", ids[1]: "DeviceTokenNotForTopic", ids[2]: "TooManyRequests", ids[3]: "Unregistered", ids[4]: "NewReason",
	}
	for id, reason := range reasons {
		a.reason[tokenOf(id)] = reason
	}
	failed, err := w.notifier.Push(context.Background(), append(ids, "NOBODY", foreignID))
	check(t, err)
	for id, part := range map[string]string{
		ids[0]: "APNs does not know the Mac's push token (BadDeviceToken)", ids[1]: "another push topic", ids[2]: "throttles", ids[3]: "erased or unenrolled",
		ids[4]: "NewReason", "NOBODY": "no push token", foreignID: "no push certificate for the topic",
	} {
		if failed[id] == nil || !strings.Contains(failed[id].Error(), part) {
			t.Errorf("%s: %v, want %q", id, failed[id], part)
		}
	}
	if len(failed) != 7 || a.pushed[tokenOf(ids[5])] == "" {
		t.Errorf("failed: %v", failed)
	}
	c := w.mdm.Counters()
	if c.PushesSent.Load() != 1 || c.PushesFailed.Load() != 7 {
		t.Errorf("counted %d sent, %d failed", c.PushesSent.Load(), c.PushesFailed.Load())
	}
	// One Mac alone goes another way through NanoMDM.
	failed, err = w.notifier.Push(context.Background(), []string{foreignID})
	if err != nil || failed[foreignID] == nil || !strings.Contains(failed[foreignID].Error(), "no push certificate for the topic") {
		t.Errorf("a foreign topic alone: %v, %v", failed, err)
	}
}

func TestPushNotPossible(t *testing.T) {
	a := newAPNS(t)
	w := newWorld(t, a.use)
	ids := w.enrolled(3)
	w.storePushCert(pushTopic)
	w.db.Set(storagetest.Fault{Down: true})
	if _, err := w.notifier.Push(context.Background(), ids); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("with the store down: %v", err)
	}
	w.db.Set(storagetest.Fault{})
	a.Close()
	for _, some := range [][]string{ids, ids[:1]} {
		if failed, err := w.notifier.Push(context.Background(), some); err == nil || errors.Is(err, fleet.ErrNoPush) || !strings.Contains(err.Error(), "cannot be reached") {
			t.Errorf("with APNs away: %v, %v", failed, err)
		}
	}
}

// A renewed certificate is used from the next push on.
func TestPushCertificateIsReplaced(t *testing.T) {
	a := newAPNS(t)
	w := newWorld(t, a.use)
	ids := w.enrolled(2)
	w.storePushCert(pushTopic)
	for range 2 {
		if failed, err := w.notifier.Push(context.Background(), ids); err != nil || len(failed) != 0 {
			t.Fatalf("failed: %v, %v", failed, err)
		}
		w.storePushCert(pushTopic)
	}
	if a.conns < 2 {
		t.Errorf("%d connections: the new certificate was not used", a.conns)
	}
}

func (w *world) put(path string, body []byte) answer {
	w.t.Helper()
	req, err := http.NewRequest(http.MethodPut, w.srv.URL+path, bytes.NewReader(body))
	check(w.t, err)
	return w.do(req)
}

// What NanoMDM's scripts use is NanoMDM's.
func TestNanoMDMsAPI(t *testing.T) {
	a := newAPNS(t)
	w := newWorld(t, a.use)
	ids := w.enrolled(2)
	certPEM, keyPEM := pushPair(t, pushTopic)
	got := w.put("/v1/pushcert", append(certPEM, keyPEM...))
	want(t, "pushcert", got, http.StatusOK)
	var stored struct {
		Topic    string    `json:"topic"`
		NotAfter time.Time `json:"not_after"`
	}
	check(t, json.Unmarshal([]byte(got.body), &stored))
	if stored.Topic != pushTopic || stored.NotAfter.IsZero() {
		t.Errorf("pushcert answered %s", got.body)
	}
	want(t, "a certificate without key", w.put("/v1/pushcert", certPEM), http.StatusBadRequest)
	want(t, "a certificate without topic", w.put("/v1/pushcert", append(pemOf("CERTIFICATE", w.mac(macID).cert.Raw), keyPEM...)), http.StatusBadRequest)
	want(t, "a certificate that is too long", w.put("/v1/pushcert", make([]byte, 4<<20+1)), http.StatusRequestEntityTooLarge)

	type result struct {
		Status map[string]struct {
			PushError    string `json:"push_error"`
			PushResult   string `json:"push_result"`
			CommandError string `json:"command_error"`
		} `json:"status"`
		CommandUUID string `json:"command_uuid"`
		RequestType string `json:"request_type"`
		NoPush      bool   `json:"no_push"`
	}
	read := func(got answer) (r result) {
		t.Helper()
		if got.contentType() != "application/json" {
			t.Errorf("answered as %q", got.contentType())
		}
		check(t, json.Unmarshal([]byte(got.body), &r))
		return r
	}
	got = w.get("/v1/push/" + strings.Join(ids, ","))
	want(t, "push", got, http.StatusOK)
	if r := read(got); r.Status[ids[0]].PushResult != "id-"+tokenOf(ids[0]) || len(r.Status) != 2 {
		t.Errorf("push answered %s", got.body)
	}
	got = w.get("/v1/push/" + ids[0] + ",NOBODY")
	want(t, "push to a Mac that is not there", got, http.StatusMultiStatus)
	if r := read(got); r.Status["NOBODY"].PushError == "" {
		t.Errorf("push answered %s", got.body)
	}

	cmd := []byte(`<?xml version="1.0" encoding="UTF-8"?><plist version="1.0"><dict><key>CommandUUID</key><string>ABC</string>
<key>Command</key><dict><key>RequestType</key><string>ProfileList</string></dict></dict></plist>`)
	a.mu.Lock()
	clear(a.pushed)
	a.mu.Unlock()
	got = w.put("/v1/enqueue/"+ids[0]+"?nopush=1", cmd)
	want(t, "enqueue", got, http.StatusOK)
	if r := read(got); r.CommandUUID != "ABC" || r.RequestType != "ProfileList" || !r.NoPush || len(a.pushed) != 0 {
		t.Errorf("enqueue answered %s, pushed %v", got.body, a.pushed)
	}
	got = w.put("/v1/enqueue/"+ids[1], cmd)
	want(t, "enqueue and push", got, http.StatusOK)
	if r := read(got); r.Status[ids[1]].PushResult == "" || len(a.pushed) != 1 {
		t.Errorf("enqueue answered %s, pushed %v", got.body, a.pushed)
	}
	queue, err := w.nano.Queued(context.Background(), ids[0])
	check(t, err)
	if last := queue[len(queue)-1]; last.UUID != "ABC" {
		t.Errorf("queued: %+v", queue)
	}
	want(t, "no command", w.put("/v1/enqueue/"+ids[0]+"?nopush=1", nil), http.StatusInternalServerError)
	want(t, "a binary command", w.put("/v1/enqueue/"+ids[0], circle), http.StatusBadRequest)
	want(t, "what is no command", w.put("/v1/enqueue/"+ids[0], []byte("junk")), http.StatusBadRequest)
	want(t, "a command that is too long", w.put("/v1/enqueue/"+ids[0], make([]byte, 4<<20+1)), http.StatusRequestEntityTooLarge)
}

// Who enrols before there is a push certificate, or stores one of another topic than the Macs have, is warned: those Macs can never
// be woken.
func TestPushCertificatesWarn(t *testing.T) {
	w := newWorld(t, public)
	w.get("/enroll?code=" + w.code(0, nil).Code)
	if !strings.Contains(w.logged.String(), "level=WARN msg=\"there is no push certificate") {
		t.Errorf("a profile without a push certificate was given without a word: %s", w.logged.String())
	}
	w.enrolled(2)
	certPEM, keyPEM := pushPair(t, pushTopic+".another")
	want(t, "pushcert", w.put("/v1/pushcert", append(certPEM, keyPEM...)), http.StatusOK)
	if !strings.Contains(w.logged.String(), "level=WARN msg=\"2 Macs enrolled with another push topic") {
		t.Errorf("2 Macs cannot be woken, and nothing says so: %s", w.logged.String())
	}
}
