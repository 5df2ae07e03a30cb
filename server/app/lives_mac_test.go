package app_test

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"hash/crc64"
	"math/big"
	"net/http"
	"slices"
	"strings"

	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
	"plimsoll/examples/macs/sim"
	"plimsoll/server/fleet"
)

// simMac is one simulated Mac of a scenario.
type simMac struct {
	*sim.Mac
	l   *lives
	opt sim.Options
}

// air is a MacBook Air (M2) with that macOS; its wall clock is UTC.
func (l *lives) air(serial, version, build string) *simMac {
	spec := sim.Spec{
		Serial: serial, UDID: udidOf(serial), Name: "Ada's " + serial, OS: sim.OS{Version: release.Version(version), Build: build}, Eager: true,
		Hardware: sim.Hardware{Board: "J413AP", Model: "Mac14,2", Name: "MacBook Air (M2, 2022)", AppleSilicon: true},
	}
	m := &simMac{l: l, opt: sim.Options{URL: l.srv.URL, HTTP: l.srv.Client(), Now: l.now, World: l.world, CertHeader: l.header, Stats: &sim.Stats{}}}
	m.Mac = sim.New(spec, sim.Faults{}, m.opt)
	l.t.Cleanup(func() {
		for _, v := range m.opt.Stats.Violations() {
			l.t.Errorf("the server broke a promise: %s: %s", v.Rule, v.Text)
		}
	})
	return m
}

func (m *simMac) id() string { return m.Spec().UDID }

func (m *simMac) ok(err error) {
	m.l.t.Helper()
	if err != nil {
		m.l.t.Fatal(err)
	}
}

// enrol enrols with an identity that the CA made, and escrows the bootstrap token.
func (m *simMac) enrol() {
	m.l.t.Helper()
	sn, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	m.ok(err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: sn, Subject: pkix.Name{CommonName: m.id()}, NotBefore: instantOf("2020-01-01T00:00"), NotAfter: instantOf("2039-01-01T00:00"),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, livesCA().Cert, &livesKey().PublicKey, livesCA().Key)
	m.ok(err)
	cert, err := x509.ParseCertificate(der)
	m.ok(err)
	u := m.l.srv.URL + "/mdm"
	m.SetIdentity(&sim.Identity{Cert: cert, Key: livesKey()}, &sim.Profile{
		ServerURL: u, CheckInURL: u, Topic: "com.apple.mgmt.External.lives", SignMessage: true, ServerCapabilities: []string{"com.apple.mdm.bootstraptoken"},
	})
	m.ok(m.Authenticate(m.l.t.Context()))
	m.ok(m.TokenUpdate(m.l.t.Context()))
	if !m.Faults.NoBootstrap {
		m.ok(m.SetBootstrapToken(m.l.t.Context()))
	}
}

// poll works off the command queue, syncs if a command asked for it, and reports what is due.
func (m *simMac) poll() { m.l.t.Helper(); m.ok(m.Poll(m.l.t.Context())) }

// report sends what changed.
func (m *simMac) report() { m.l.t.Helper(); m.ok(m.Report(m.l.t.Context(), false)) }

// reach takes the update through stages, with a report of each.
func (m *simMac) reach(stages ...func() error) {
	m.l.t.Helper()
	for _, stage := range stages {
		m.ok(stage())
		m.report()
	}
}

// moment is what happens at one time, and what the API says of the Mac then.
type moment struct {
	at       string
	do       func()
	state    string // empty: the Mac is not enrolled
	phase    string
	deadline string
	reasons  []string // codes, the most decisive first
	flags    []string
	events   []string // types, since the moment before
	more     func(d fleet.Device, events []fleet.Event)
}

// live takes a Mac through moments.
func (m *simMac) live(moments ...moment) {
	m.l.t.Helper()
	t := m.l.t
	for _, now := range moments {
		m.l.setClock(now.at)
		m.l.sweep() // what time alone brought
		if now.do != nil {
			now.do()
		}
		m.l.sweep()
		var d fleet.Device
		m.l.call("GET", "/v1/devices/"+m.id(), "", http.StatusOK, &d)
		if d.State != now.state || d.Phase != now.phase {
			t.Errorf("%s: %q, phase %q; want %q, phase %q", now.at, d.State, d.Phase, now.state, now.phase)
		}
		if got := text(d.DeadlineLocal); got != now.deadline {
			t.Errorf("%s: deadline %q, want %q", now.at, got, now.deadline)
		}
		if got := codes(d.Reasons); !slices.Equal(got, now.reasons) {
			t.Errorf("%s: reasons %q, want %q", now.at, got, now.reasons)
		}
		if !slices.Equal(d.Flags, append([]string{}, now.flags...)) {
			t.Errorf("%s: flags %q, want %q", now.at, d.Flags, now.flags)
		}
		events := m.l.events(m.id())
		var types []string
		for _, e := range events {
			types = append(types, e.Type)
			if e.Device != m.id() || e.Serial != m.Spec().Serial || e.Text == "" || !e.At.Equal(m.l.now()) {
				t.Errorf("%s: the event %+v is not complete", now.at, e)
			}
		}
		if !slices.Equal(types, now.events) {
			t.Errorf("%s: events %q, want %q", now.at, types, now.events)
		}
		if now.more != nil {
			now.more(d, events)
		}
		m.l.inList(d)
		m.l.visit("/v1/devices/"+m.id()+"/plan", "/v1/devices/"+m.id()+"/declarations", "/v1/compliance")
	}
	m.l.visitAll(m.id())
}

// inList holds the row of a list against the Mac itself: the index must not be behind.
func (l *lives) inList(d fleet.Device) {
	l.t.Helper()
	var page struct{ Devices []fleet.Device }
	l.call("GET", "/v1/devices?limit=1000&enrolled="+map[bool]string{true: "true", false: "false"}[d.Enrolled], "", http.StatusOK, &page)
	for _, row := range page.Devices {
		if row.ID != d.ID {
			continue
		}
		first := func(d fleet.Device) string { return strings.Join(codes(d.Reasons)[:min(1, len(d.Reasons))], "") }
		if row.State != d.State || row.Phase != d.Phase || text(row.DeadlineLocal) != text(d.DeadlineLocal) || first(row) != first(d) || !slices.Equal(row.Flags, d.Flags) {
			l.t.Errorf("%s: the list says %s %s %q %q %q, the Mac %s %s %q %q %q", l.now(), row.State, row.Phase, text(row.DeadlineLocal), first(row), row.Flags,
				d.State, d.Phase, text(d.DeadlineLocal), first(d), d.Flags)
		}
		return
	}
	l.t.Errorf("%s: the list lacks %s", l.now(), d.Serial)
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func codes(reasons []policy.Reason) []string {
	var out []string
	for _, r := range reasons {
		out = append(out, r.Code)
	}
	return out
}

// statusOf is the status of an answer that a Mac did not like, 0 for none.
func statusOf(err error) int {
	var he *sim.HTTPError
	if errors.As(err, &he) {
		return he.Status
	}
	return 0
}

// udidOf is a UDID such as Macs have, made of a serial number.
func udidOf(serial string) string {
	return fmt.Sprintf("00008112-%016X", crc64.Checksum([]byte(serial), crc64.MakeTable(crc64.ISO)))
}
