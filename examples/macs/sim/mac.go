// Package sim simulates Macs that enrol, sync, report, update and misbehave as real ones do, and that check what the server
// tells them.
package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"
)

// Options is what a Mac needs beside itself; the Macs of a fleet share it.
type Options struct {
	URL  string // the server's base URL
	Code string // enrolment code; may be empty
	HTTP *http.Client
	// Now is the Mac's clock; Faults.ClockSkew comes on top. Left out: time.Now.
	Now   func() time.Time
	World *World
	Keys  *Keys
	// Issuer makes identities without profile and SCEP; the MDM URL is then URL + "/mdm".
	Issuer *Issuer
	// CertHeader names the header that carries the certificate in place of a signature; empty: sign.
	CertHeader string
	// Pace is about how long a stage of an eager Mac's update lasts. Left out: 10 s.
	Pace  time.Duration
	Stats *Stats
	// Log gets one line per event; may be nil.
	Log func(Event)
}

// Event is something that happened to a Mac.
type Event struct {
	At     time.Time
	Serial string
	Name   string
	Text   string
}

// Mac is one simulated Mac. It acts only while one of its methods runs, reads time only from Options.Now, and is not
// safe for concurrent use. An error from a method leaves it as a Mac would be left: what was not done is done later.
type Mac struct {
	// Faults may be changed between calls.
	Faults Faults

	opt      Options
	stats    *Stats
	rng      *rand.Rand
	identity *Identity
	st       state
}

// state is everything that a Mac keeps over a restart of the simulator.
type state struct {
	Spec    Spec     `json:"spec"`
	URL     string   `json:"url"`
	Profile *Profile `json:"profile,omitempty"`
	Cert    []byte   `json:"cert,omitempty"`
	Key     []byte   `json:"key,omitempty"`

	Enrolled   bool      `json:"enrolled"`
	EnrolledAt time.Time `json:"enrolled_at,omitzero"`
	PushMagic  string    `json:"push_magic,omitempty"`
	Escrowed   bool      `json:"escrowed,omitempty"`  // the bootstrap token
	UserOpen   bool      `json:"user_open,omitempty"` // the user channel
	OS         OS        `json:"os"`
	ServerOS   OS        `json:"server_os"` // what the server has acknowledged to know
	Faults     Faults    `json:"faults"`

	DDM           bool            `json:"ddm"`                  // declarative management is on
	WantSync      bool            `json:"want_sync,omitempty"`  // a command asked for a sync that is not done yet
	OfferedToken  string          `json:"offered,omitempty"`    // the token in that command
	OfferedStamp  string          `json:"offered_at,omitempty"` // and its Timestamp
	LastToken     string          `json:"last_token,omitempty"`
	LastSeenToken string          `json:"last_seen_token,omitempty"`
	LastStamp     time.Time       `json:"last_stamp,omitzero"`
	Disagreed     string          `json:"disagreed,omitempty"` // tokens' token when the manifest had another
	Synced        bool            `json:"synced,omitempty"`    // one sync was completed
	AskedAt       time.Time       `json:"asked_at,omitzero"`   // the last sync
	Held          map[string]held `json:"held,omitempty"`      // by kind and identifier

	Told     map[string]json.RawMessage `json:"told,omitempty"` // status items as the server has them
	Owed     bool                       `json:"owed,omitempty"` // a report is due
	FullAt   time.Time                  `json:"full_at,omitzero"`
	Reported bool                       `json:"reported,omitempty"` // the first report was accepted

	Install     install   `json:"install"`
	OffUntil    time.Time `json:"off_until,omitzero"` // it is off or restarting
	BSISince    time.Time `json:"bsi_since,omitzero"`
	ReEnrolAt   time.Time `json:"re_enrol_at,omitzero"`
	UpdateOwnAt time.Time `json:"update_own_at,omitzero"`
	Draws       uint64    `json:"draws"` // random choices made, so that a restart goes on
}

// New makes a Mac that is not enrolled.
func New(spec Spec, faults Faults, opt Options) *Mac {
	m := &Mac{Faults: faults, opt: opt.withDefaults()}
	m.stats = m.opt.Stats
	m.st = state{Spec: spec, URL: opt.URL, OS: spec.OS, Faults: faults}
	m.rng = rand.New(rand.NewPCG(spec.Seed, 0))
	return m
}

func (o Options) withDefaults() Options {
	if o.HTTP == nil {
		o.HTTP = http.DefaultClient
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.World == nil {
		o.World = NewWorld()
	}
	if o.Pace == 0 {
		o.Pace = 10 * time.Second
	}
	if o.Stats == nil {
		o.Stats = &Stats{}
	}
	return o
}

// Spec is who the Mac is.
func (m *Mac) Spec() Spec { return m.st.Spec }

// OS is what the Mac runs now.
func (m *Mac) OS() OS { return m.st.OS }

// Enrolled tells whether the Mac is enrolled.
func (m *Mac) Enrolled() bool { return m.st.Enrolled }

// InstallState is what the Mac reports as softwareupdate.install-state.
func (m *Mac) InstallState() string { return m.st.Install.state() }

// Token is the DeclarationsToken that the Mac persisted last.
func (m *Mac) Token() string { return m.st.LastToken }

// Held lists the identifiers of the declarations that the Mac holds, sorted.
func (m *Mac) Held() []string {
	ids := make([]string, 0, len(m.st.Held))
	for _, h := range m.st.Held {
		ids = append(ids, h.Identifier)
	}
	slices.Sort(ids)
	return ids
}

// Declaration is the body of a declaration that the Mac holds.
func (m *Mac) Declaration(id string) (json.RawMessage, bool) {
	for _, h := range m.st.Held {
		if h.Identifier == id {
			return h.Body, true
		}
	}
	return nil, false
}

// Off tells whether the Mac is off or restarting, and so does nothing.
func (m *Mac) Off() bool { return m.now().Before(m.st.OffUntil) }

// SwitchOff keeps the Mac off for a time.
func (m *Mac) SwitchOff(d time.Duration) {
	m.st.OffUntil = m.now().Add(d)
	m.log("off until %s", m.st.OffUntil.Format(time.RFC3339))
}

// SetOS makes the Mac run something else, as if its user had installed it. The next report says so.
func (m *Mac) SetOS(o OS) {
	m.log("runs %s, was %s", o, m.st.OS)
	m.st.OS = o
	m.st.BSISince = time.Time{}
	if o.Letter != "" {
		m.st.BSISince = m.now()
	}
	m.st.Install = install{}
	m.st.Owed = true
	m.reconsider()
}

// RemoveBSI goes back to the base release.
func (m *Mac) RemoveBSI() error {
	if m.st.OS.Letter == "" {
		return errors.New("there is no Background Security Improvement to remove")
	}
	m.SetOS(OS{Version: m.st.OS.Version, Build: m.st.OS.Build})
	return nil
}

func (m *Mac) now() time.Time { return m.opt.Now() }

// wall is the time that the Mac believes it is.
func (m *Mac) wall() time.Time { return m.now().Add(m.Faults.ClockSkew) }

func (m *Mac) log(format string, args ...any) {
	if m.opt.Log != nil {
		m.opt.Log(Event{At: m.now(), Serial: m.st.Spec.Serial, Name: m.st.Spec.Name, Text: fmt.Sprintf(format, args...)})
	}
}

func (m *Mac) violate(rule, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	m.stats.violate(Violation{At: m.now(), Serial: m.st.Spec.Serial, Rule: rule, Text: text})
	m.log("VIOLATION %s: %s", rule, text)
}

// chance is a random duration between lo and hi.
func (m *Mac) chance(lo, hi time.Duration) time.Duration {
	m.st.Draws++
	if hi <= lo {
		return lo
	}
	return lo + time.Duration(m.rng.Int64N(int64(hi-lo)))
}

func (m *Mac) major() int { return m.st.OS.Version.Major() }

// speaksDDM: declarative management came with macOS 13.
func (m *Mac) speaksDDM() bool { return m.major() >= 13 }

// Settled tells whether nothing is left to do for the Mac: enrolled, synced where it can, everything reported, and no
// update wanted.
func (m *Mac) Settled() bool {
	if !m.st.Enrolled || m.st.WantSync || m.st.Owed || m.Off() {
		return false
	}
	if !m.speaksDDM() {
		return true
	}
	_, wanted := m.wanted()
	return m.st.Synced && !wanted
}

// Targeted tells whether the Mac holds a declaration whose target it has not reached.
func (m *Mac) Targeted() bool {
	_, wanted := m.wanted()
	return wanted
}

// Step lets time act on the Mac: what is due by its clock happens, and what it owes the server is sent. The command
// queue is not looked at: Poll does that.
func (m *Mac) Step(ctx context.Context) error {
	if m.Off() {
		return nil
	}
	if !m.st.Enrolled {
		return m.Enrol(ctx)
	}
	if err := m.live(ctx); err != nil || m.Off() {
		return err
	}
	if err := m.settle(ctx); err != nil {
		return err
	}
	if m.st.Install.State == stateInstalling { // it restarts
		m.st.OffUntil = m.st.Install.NextAt
	}
	return nil
}

// settle does what an earlier failure left undone.
func (m *Mac) settle(ctx context.Context) error {
	if !m.st.Enrolled {
		return nil
	}
	if !m.st.Escrowed {
		if err := m.escrow(ctx); err != nil {
			return err
		}
	}
	if !m.st.DDM {
		return nil
	}
	if m.st.Synced && m.now().Sub(m.st.AskedAt) >= syncPeriod {
		m.st.WantSync = true
	}
	if m.st.WantSync {
		if err := m.syncCommanded(ctx); err != nil {
			return err
		}
	}
	if m.heartbeatDue() {
		return m.report(ctx, true)
	}
	if m.st.Owed {
		return m.report(ctx, false)
	}
	return nil
}

// serverKnowsOS tells whether the server was told what the Mac runs.
func (m *Mac) serverKnowsOS() bool { return m.st.ServerOS == m.st.OS }

// syncPeriod is how long a Mac goes without asking for the tokens, when no command makes it.
const syncPeriod = 24 * time.Hour
