package app_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
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
