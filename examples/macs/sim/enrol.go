package sim

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"
)

// enrolment is what every message carries; the user's fields on the user channel only.
type enrolment struct {
	UDID          string
	UserID        string `plist:",omitempty"`
	UserShortName string `plist:",omitempty"`
	UserLongName  string `plist:",omitempty"`
}

type authenticateMessage struct {
	enrolment
	MessageType              string
	Topic                    string
	BuildVersion             string
	DeviceName               string
	Model                    string
	ModelName                string
	OSVersion                string
	ProductName              string
	SerialNumber             string
	SupplementalBuildVersion string `plist:",omitempty"`
	SupplementalExtra        string `plist:"SupplementalOSVersionExtra,omitempty"`
}

type tokenUpdateMessage struct {
	enrolment
	MessageType           string
	Topic                 string
	PushMagic             string
	Token                 []byte
	AwaitingConfiguration bool
	NotOnConsole          bool
}

type bootstrapMessage struct {
	enrolment
	MessageType    string
	BootstrapToken []byte
}

type plainMessage struct {
	enrolment
	MessageType string
}

// Enrol fetches the profile, gets an identity and enrols: Authenticate, TokenUpdate and, on Apple silicon,
// SetBootstrapToken. Everything that the Mac knew of an earlier enrolment is gone.
func (m *Mac) Enrol(ctx context.Context) error {
	if m.Off() {
		return nil
	}
	if err := m.prepare(ctx); err != nil {
		return fmt.Errorf("enrolling %s: %w", m.st.Spec.Serial, err)
	}
	if err := m.Authenticate(ctx); err != nil {
		return fmt.Errorf("enrolling %s: %w", m.st.Spec.Serial, err)
	}
	if err := m.TokenUpdate(ctx); err != nil {
		return fmt.Errorf("enrolling %s: %w", m.st.Spec.Serial, err)
	}
	m.stats.Enrolled.Add(1)
	m.log("enrolled: %s, %s, %s", m.st.Spec.Hardware.Model, m.st.Spec.Hardware.Board, m.st.OS)
	if m.Faults.ReEnrols && m.st.ReEnrolAt.IsZero() {
		m.st.ReEnrolAt = m.now().Add(12 * m.opt.Pace)
	}
	if m.Faults.UpdatesItself && m.st.UpdateOwnAt.IsZero() {
		m.st.UpdateOwnAt = m.now().Add(12 * m.opt.Pace)
	}
	if err := m.userLogin(ctx); err != nil {
		return err
	}
	return m.escrow(ctx)
}

// prepare brings profile and identity.
func (m *Mac) prepare(ctx context.Context) error {
	if is := m.opt.Issuer; is != nil {
		key, err := m.opt.Keys.Get(2048)
		if err != nil {
			return fmt.Errorf("making a key: %w", err)
		}
		id, err := is.Issue(m.st.Spec.UDID, key)
		if err != nil {
			return err
		}
		u := strings.TrimSuffix(m.opt.URL, "/") + "/mdm"
		m.SetIdentity(id, &Profile{
			ServerURL: u, CheckInURL: u, Topic: "com.apple.mgmt.External.simulated", SignMessage: true,
			ServerCapabilities: []string{bootstrapCapability},
		})
		return nil
	}
	p, err := m.fetchProfile(ctx)
	if err != nil {
		return err
	}
	id, err := m.obtainIdentity(ctx, &p.SCEP)
	if err != nil {
		return err
	}
	m.SetIdentity(id, p)
	return nil
}

// SetIdentity gives the Mac an identity and the URLs to use it with. For a Mac that has one, Authenticate and
// TokenUpdate enrol it.
func (m *Mac) SetIdentity(id *Identity, p *Profile) {
	m.identity = id
	m.st.Profile = p
	m.st.Cert = id.Cert.Raw
	m.st.Key = x509.MarshalPKCS1PrivateKey(id.Key)
}

// Authenticate begins an enrolment, and with it a new life.
func (m *Mac) Authenticate(ctx context.Context) error {
	s := m.st.Spec
	msg := authenticateMessage{
		enrolment: enrolment{UDID: s.UDID}, MessageType: "Authenticate", Topic: m.st.Profile.Topic,
		BuildVersion: m.st.OS.Build, OSVersion: string(m.st.OS.Version), DeviceName: s.Name,
		Model: s.Hardware.Model, ModelName: strings.TrimSpace(strings.SplitN(s.Hardware.Name, "(", 2)[0]),
		ProductName: s.Hardware.Model, SerialNumber: s.Serial,
	}
	if m.st.OS.Letter != "" {
		msg.SupplementalBuildVersion, msg.SupplementalExtra = m.st.OS.SupplementalBuild, "("+m.st.OS.Letter+")"
	}
	if _, err := m.checkin(ctx, "Authenticate", msg); err != nil {
		return err
	}
	old := m.st
	m.st = state{
		Spec: old.Spec, URL: old.URL, Profile: old.Profile, Cert: old.Cert, Key: old.Key, Faults: old.Faults,
		OS: old.OS, ServerOS: old.OS, OffUntil: old.OffUntil, BSISince: old.BSISince,
		ReEnrolAt: old.ReEnrolAt, UpdateOwnAt: old.UpdateOwnAt, Draws: old.Draws,
	}
	return nil
}

// TokenUpdate tells where to push to; it completes an enrolment.
func (m *Mac) TokenUpdate(ctx context.Context) error {
	magic := sha256.Sum256(fmt.Appendf(nil, "magic %s %d", m.st.Spec.UDID, m.st.Spec.Seed))
	token := sha256.Sum256(fmt.Appendf(nil, "token %s %d", m.st.Spec.UDID, m.st.Spec.Seed))
	m.st.PushMagic = strings.ToUpper(hex.EncodeToString(magic[:16]))
	_, err := m.checkin(ctx, "TokenUpdate", tokenUpdateMessage{
		enrolment: enrolment{UDID: m.st.Spec.UDID}, MessageType: "TokenUpdate", Topic: m.st.Profile.Topic,
		PushMagic: m.st.PushMagic, Token: token[:],
	})
	if err != nil {
		return err
	}
	m.st.Enrolled, m.st.EnrolledAt = true, m.now()
	return nil
}

// escrow sends the bootstrap token, which Apple silicon needs for updates without a user.
func (m *Mac) escrow(ctx context.Context) error {
	if !m.st.Spec.Hardware.AppleSilicon || m.Faults.NoBootstrap ||
		!slices.Contains(m.st.Profile.ServerCapabilities, bootstrapCapability) {
		m.st.Escrowed = true
		return nil
	}
	return m.SetBootstrapToken(ctx)
}

// SetBootstrapToken escrows the bootstrap token.
func (m *Mac) SetBootstrapToken(ctx context.Context) error {
	token := sha256.Sum256(fmt.Appendf(nil, "bootstrap %s %d", m.st.Spec.UDID, m.st.Spec.Seed))
	_, err := m.checkin(ctx, "SetBootstrapToken", bootstrapMessage{
		enrolment: enrolment{UDID: m.st.Spec.UDID}, MessageType: "SetBootstrapToken", BootstrapToken: token[:],
	})
	if err != nil {
		return err
	}
	m.st.Escrowed = true
	return nil
}

// CheckOut says that the Mac was unenrolled; it is, whatever the server answers.
func (m *Mac) CheckOut(ctx context.Context) error {
	_, err := m.checkin(ctx, "CheckOut", plainMessage{enrolment{UDID: m.st.Spec.UDID}, "CheckOut"})
	m.st.Enrolled = false
	m.st.DDM, m.st.WantSync, m.st.Owed, m.st.Synced = false, false, false, false
	m.st.Held, m.st.Told, m.st.LastToken = nil, nil, ""
	m.log("checked out")
	return err
}

// Erase wipes the Mac, as a repair does: it does not check out, and knows nothing of its enrolment.
func (m *Mac) Erase() {
	old := m.st
	m.identity = nil
	m.st = state{
		Spec: old.Spec, URL: old.URL, Faults: old.Faults, OS: OS{Version: old.OS.Version, Build: old.OS.Build},
		ReEnrolAt: old.ReEnrolAt, UpdateOwnAt: old.UpdateOwnAt, Draws: old.Draws,
	}
	m.log("erased")
}

// heartbeatPeriod is the time between full reports, from macOS 14.
const heartbeatPeriod = 24 * time.Hour
