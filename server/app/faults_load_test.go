package app_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"plimsoll/examples/macs/sim"
)

// load is Macs that sync and report, Macs that enrol, and admins that write policies, all without a break, while something goes wrong.
// It keeps what was acknowledged to whom, to hold it against what is there afterwards.
type load struct {
	t      *testing.T
	addrs  atomic.Pointer[[]string] // of the servers, of which any may be asked
	turn   atomic.Uint64
	client *http.Client
	issuer *sim.Issuer
	keys   *sim.Keys
	world  *sim.World
	stats  *sim.Stats
	specs  []sim.Spec

	pace  time.Duration // between two requests of a Mac
	every time.Duration // between two writes of the policy that governs all

	ctx  context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu     sync.Mutex
	macs   []*reporter
	admins []*admin
	wrong  []string
}

const certHeader = "X-Client-Cert"

// behindProxy makes a device CA, and the flags for a server behind a proxy that hands over certificates of it: so a Mac costs the test no signatures.
func behindProxy(t *testing.T) (*sim.Issuer, []string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a device CA for tests"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().AddDate(10, 0, 0), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return &sim.Issuer{Cert: cert, Key: key}, []string{"--device-ca", file, "--cert-header", certHeader}
}

// newLoad prepares a load; nothing happens before one of its methods is called. It ends with the test.
func newLoad(t *testing.T, issuer *sim.Issuer, servers ...*process) *load {
	t.Helper()
	l := &load{
		t: t, issuer: issuer, keys: sim.NewKeys(1), world: sim.NewWorld(), stats: &sim.Stats{}, pace: 40 * time.Millisecond, every: 400 * time.Millisecond,
		client: &http.Client{
			Timeout:   30 * time.Second,
			Transport: &http.Transport{MaxIdleConns: 1000, MaxIdleConnsPerHost: 1000, MaxConnsPerHost: 1000, IdleConnTimeout: time.Minute},
		},
	}
	for _, s := range sim.Specs(3000, 11, l.world, 0) {
		if s.OS.Version.Major() >= 15 && s.User == "" {
			l.specs = append(l.specs, s)
		}
	}
	l.through(servers...)
	l.ctx, l.stop = context.WithCancel(context.Background())
	t.Cleanup(l.end)
	return l
}

// through sends everything to these servers from now on.
func (l *load) through(servers ...*process) {
	addrs := make([]string, len(servers))
	for i, p := range servers {
		addrs[i] = p.addr
	}
	l.addrs.Store(&addrs)
}

// end lets what is under way finish.
func (l *load) end() {
	l.stop()
	l.wg.Wait()
	l.client.CloseIdleConnections()
}

func (l *load) wrongly(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.wrong) < 20 {
		l.wrong = append(l.wrong, fmt.Sprintf(format, args...))
	}
}

// pause is the time between two requests of one client; false: the load ends.
func (l *load) pause(d time.Duration) bool {
	select {
	case <-l.ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// send asks one of the servers: as a balancer does, the next one when nobody listens.
func (l *load) send(req *http.Request) (*http.Response, error) {
	addrs := *l.addrs.Load()
	first := l.turn.Add(1)
	var last error
	for i := range addrs {
		again := req.Clone(req.Context())
		again.URL.Host, again.Host = addrs[(int(first)+i)%len(addrs)], ""
		if req.GetBody != nil {
			body, err := req.GetBody()
			if err != nil {
				return nil, err
			}
			again.Body = body
		}
		resp, err := l.client.Transport.RoundTrip(again)
		if err == nil || !errors.Is(err, syscall.ECONNREFUSED) {
			return resp, err
		}
		last = err
	}
	return nil, last
}

// reporter is one Mac, with what was acknowledged to it.
type reporter struct {
	*sim.Mac
	l               *load
	id, serial      string
	attempts, acked atomic.Int64 // status reports
}

// RoundTrip passes a Mac's requests on and takes down how they are answered.
func (r *reporter) RoundTrip(req *http.Request) (*http.Response, error) {
	isReport := false
	if req.GetBody != nil {
		if body, err := req.GetBody(); err == nil {
			b, _ := io.ReadAll(body) // from memory
			isReport = bytes.Contains(b, []byte("<string>status</string>"))
		}
	}
	if isReport {
		r.attempts.Add(1)
	}
	resp, err := r.l.send(req)
	if err != nil {
		return nil, err
	}
	switch {
	case resp.StatusCode == http.StatusOK:
		if isReport {
			r.acked.Add(1)
		}
	case resp.StatusCode == http.StatusTooManyRequests, resp.StatusCode == http.StatusServiceUnavailable:
		if resp.Header.Get("Retry-After") == "" {
			r.l.wrongly("%s: %s without Retry-After", r.serial, resp.Status)
		}
	default:
		r.l.wrongly("%s: a Mac was answered %s", r.serial, resp.Status)
	}
	return resp, nil
}

func (l *load) mac() *reporter {
	spec := l.specs[0]
	l.specs = l.specs[1:]
	r := &reporter{l: l, id: spec.UDID, serial: spec.Serial}
	r.Mac = sim.New(spec, sim.Faults{}, sim.Options{
		URL: "http://plimsoll.test", HTTP: &http.Client{Transport: r, Timeout: 30 * time.Second}, World: l.world, Keys: l.keys, Issuer: l.issuer,
		CertHeader: certHeader, Stats: l.stats,
	})
	return r
}

// enrol enrols a Mac; once it returns nil, that was acknowledged.
func (l *load) enrol(r *reporter) error {
	if err := r.Enrol(context.Background()); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.macs = append(l.macs, r)
	return nil
}

// enrolAll enrols n Macs, several at a time, that have synced and reported once.
func (l *load) enrolAll(n int) []*reporter {
	l.t.Helper()
	macs := make([]*reporter, n)
	for i := range macs {
		macs[i] = l.mac()
	}
	l.each(macs, func(r *reporter) error {
		if err := l.enrol(r); err != nil {
			return err
		}
		return r.Poll(context.Background())
	})
	return macs
}

// each does something with many Macs at once, and fails the test when it fails.
func (l *load) each(macs []*reporter, fn func(*reporter) error) {
	l.t.Helper()
	var wg sync.WaitGroup
	slots := make(chan struct{}, 16)
	for _, r := range macs {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := fn(r); err != nil {
				l.wrongly("%s: %v", r.serial, err)
			}
		})
	}
	wg.Wait()
	l.nothingWrong()
}

// report lets Macs sync and report without a break; they are enrolled already.
func (l *load) report(macs []*reporter) {
	for _, r := range macs {
		l.wg.Go(func() {
			for i := 0; l.pause(l.pace); i++ {
				var err error
				if i%4 == 0 {
					err = r.Poll(context.Background())
				} else {
					err = r.Report(context.Background(), true)
				}
				if err != nil && !l.pause(100*time.Millisecond) {
					return
				}
			}
		})
	}
}

// enrolMore lets at most n further Macs enrol, one after the other.
func (l *load) enrolMore(n int) {
	l.wg.Go(func() {
		for range n {
			r := l.mac()
			for l.enrol(r) != nil {
				if !l.pause(50 * time.Millisecond) {
					return
				}
			}
			if !l.pause(50 * time.Millisecond) {
				return
			}
		}
	})
}

// admin writes one policy again and again, and numbers the writes in its label.
type admin struct {
	name            string
	body            func(n int) string
	attempts, acked int // under the load's mu: the number of the last write, and of the last that was acknowledged
}

// everyoneAt governs every Mac, and every write of it changes what every Mac is told.
func everyoneAt(n int) string {
	return fmt.Sprintf(`{"name": "everyone", "label": "%d", "priority": 10, "details_url": "https://it.example.com/%d",
		"updates": {"mode": "minimum", "version": "26.6.1", "deadline": "2027-03-01T12:00:00"}}`, n, n)
}

// write lets admins write policies without a break: one that governs every Mac, and n-1 that govern none.
func (l *load) write(n int) {
	for i := range n {
		a := &admin{name: fmt.Sprint("load-", i), body: func(n int) string {
			return fmt.Sprintf(`{"name": "load-%d", "label": "%d", "priority": %d, "assign": {"groups": ["nobody"]}, "updates": {"mode": "none"}}`, i, n, 1000+i)
		}}
		every := 60 * time.Millisecond
		if i == 0 {
			a.name, a.body, every = "everyone", everyoneAt, l.every
		}
		l.admins = append(l.admins, a)
		l.wg.Go(func() {
			for l.pause(every) {
				l.put(a)
			}
		})
	}
}

func (l *load) put(a *admin) {
	l.mu.Lock()
	a.attempts++
	n := a.attempts
	l.mu.Unlock()
	status, _, err := l.ask(http.MethodPut, "/v1/policies/"+a.name, a.body(n))
	switch {
	case err != nil: // nobody knows
	case status == http.StatusOK, status == http.StatusCreated:
		l.mu.Lock()
		a.acked = n
		l.mu.Unlock()
	case status != http.StatusServiceUnavailable && status != http.StatusTooManyRequests:
		l.wrongly("PUT of %s was answered %d", a.name, status)
	}
}

// ask makes a request of an admin. Whatever the answer, it has the form that is promised.
func (l *load) ask(method, path, body string) (int, []byte, error) {
	req, err := http.NewRequest(method, "http://plimsoll.test"+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+adminToken)
	resp, err := l.send(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, nil, err
	}
	if resp.StatusCode >= 400 {
		if err := errorForm(resp, b); err != nil {
			l.wrongly("%s %s: %v", method, path, err)
		}
	}
	return resp.StatusCode, b, nil
}

// errorForm checks an error's answer (api.md 3).
func errorForm(resp *http.Response, b []byte) error {
	var e struct {
		Error, Code string
		Errors      *[]any
		RequestID   string `json:"request_id"`
	}
	if err := json.Unmarshal(b, &e); err != nil || e.Error == "" || e.Code == "" || e.Errors == nil || e.RequestID == "" {
		return fmt.Errorf("%s with the body %q", resp.Status, b)
	}
	if (resp.StatusCode == http.StatusServiceUnavailable || resp.StatusCode == http.StatusTooManyRequests) && resp.Header.Get("Retry-After") == "" {
		return fmt.Errorf("%s without Retry-After", resp.Status)
	}
	return nil
}

func (l *load) all() []*reporter {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]*reporter(nil), l.macs...)
}

// acked is how many reports and policies were acknowledged so far.
func (l *load) acked() (reports, policies int64) {
	for _, r := range l.all() {
		reports += r.acked.Load()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range l.admins {
		policies += int64(a.acked)
	}
	return reports, policies
}

// goesOn waits until so many more reports, and at least one more policy when there are admins, were acknowledged.
func (l *load) goesOn(reports int64) {
	l.t.Helper()
	r0, p0 := l.acked()
	eventually(l.t, fmt.Sprintf("%d more reports are acknowledged", reports), func() bool {
		r, p := l.acked()
		return r >= r0+reports && (p > p0 || len(l.admins) == 0)
	})
}

// kept holds what was acknowledged against what a server has. Nothing is under way meanwhile: the load has ended.
func (l *load) kept(p *process) {
	l.t.Helper()
	l.end()
	l.nothingWrong()
	all := l.all()
	for _, r := range all {
		if n := p.newestReport(r.id); n < r.acked.Load() || n > r.attempts.Load() {
			l.t.Errorf("%s: %d reports were acknowledged and %d sent, the server has %d", r.serial, r.acked.Load(), r.attempts.Load(), n)
		}
	}
	for _, a := range l.admins {
		var got struct{ Label string }
		if a.acked == 0 {
			continue
		}
		p.call("GET", "/v1/policies/"+a.name, "", http.StatusOK, &got)
		if n, err := strconv.Atoi(got.Label); err != nil || n < a.acked || n > a.attempts {
			l.t.Errorf("policy %s: write %d was acknowledged and %d sent, the server has %q", a.name, a.acked, a.attempts, got.Label)
		}
	}
	reports, policies := l.acked()
	l.t.Logf("%d Macs enrolled, %d reports and %d policy writes acknowledged; %d answers 5xx, %d requests without an answer",
		len(all), reports, policies, l.stats.ServerErrors.Load(), l.stats.Unreachable.Load())
}

// listed waits until every Mac whose enrolment was acknowledged is in the lists and counts of a server.
func (l *load) listed(p *process) {
	l.t.Helper()
	all := l.all()
	var missing []string
	defer func() {
		if l.t.Failed() {
			l.t.Logf("not listed: %v", missing)
		}
	}()
	eventually(l.t, "every Mac is listed", func() bool {
		there := map[string]bool{}
		for cursor := ""; ; {
			var page struct {
				Devices    []device
				NextCursor string `json:"next_cursor"`
			}
			p.call("GET", "/v1/devices?limit=1000&cursor="+cursor, "", http.StatusOK, &page)
			for _, d := range page.Devices {
				there[d.ID] = true
			}
			if cursor = page.NextCursor; cursor == "" {
				break
			}
		}
		missing = nil
		for _, r := range all {
			if !there[r.id] {
				missing = append(missing, r.serial)
			}
		}
		return len(missing) == 0 && p.compliance().Devices >= len(all) // one more may have enrolled without learning of it
	})
}

// inSync lets every Mac look at its queue until it holds what it is to hold: nobody else makes it sync.
func (l *load) inSync(p *process) {
	l.t.Helper()
	eventually(l.t, "every Mac holds the right declarations", func() bool {
		l.each(l.all(), func(r *reporter) error {
			if err := r.Poll(context.Background()); err != nil && !sim.IsTemporary(err) {
				return err
			}
			return nil
		})
		var page struct{ Devices []device }
		p.call("GET", "/v1/devices?limit=1&flag=not_synced", "", http.StatusOK, &page)
		return len(page.Devices) == 0
	})
	for _, r := range l.all() {
		if got := p.served(r.id); got != r.Token() {
			l.t.Errorf("%s holds %q, the server says %q", r.serial, r.Token(), got)
		}
	}
	l.nothingWrong()
}

func (l *load) nothingWrong() {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range l.wrong {
		l.t.Error(w)
	}
	for _, v := range l.stats.Violations() {
		l.t.Errorf("violation: %s", v)
	}
	if l.t.Failed() {
		l.t.FailNow()
	}
}

// patiently is call that waits when one token has asked too often.
func (p *process) patiently(path string, v any) {
	p.t.Helper()
	eventually(p.t, "GET "+path, func() bool {
		req, err := http.NewRequest(http.MethodGet, "http://"+p.addr+path, nil)
		if err != nil {
			p.t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+adminToken)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			p.t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		if resp.StatusCode == http.StatusTooManyRequests {
			return false
		}
		if resp.StatusCode != http.StatusOK {
			p.t.Fatalf("GET %s: %s", path, resp.Status)
		}
		if err := json.NewDecoder(resp.Body).Decode(v); err != nil {
			p.t.Fatalf("GET %s: %v", path, err)
		}
		return true
	})
}

// newestReport is the number of a Mac's newest report: how many there were in all.
func (p *process) newestReport(id string) int64 {
	p.t.Helper()
	var page struct{ Reports []struct{ ID string } }
	p.patiently("/v1/devices/"+id+"/reports?limit=1", &page)
	if len(page.Reports) == 0 {
		return 0
	}
	n, err := strconv.ParseInt(page.Reports[0].ID, 10, 64)
	if err != nil {
		p.t.Fatal(err)
	}
	return n
}

// served is the token of the manifest that was served to a Mac last.
func (p *process) served(id string) string {
	p.t.Helper()
	var served struct {
		Token string `json:"declarations_token"`
	}
	p.patiently("/v1/devices/"+id+"/declarations", &served)
	return served.Token
}

// status is the status of a request without a body; 0 when there was no answer within the time of a client.
func (p *process) status(path string) int {
	client := &http.Client{Timeout: 20 * time.Second}
	req, err := http.NewRequest(http.MethodGet, "http://"+p.addr+path, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+adminToken)
	resp, err := client.Do(req)
	if err != nil {
		var ne net.Error
		if !errors.As(err, &ne) {
			p.t.Fatal(err)
		}
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}
