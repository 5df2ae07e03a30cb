package sim

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"math/rand/v2"
)

// Save is everything that the Mac keeps, its private key too; Restore makes the same Mac of it.
func (m *Mac) Save() ([]byte, error) {
	m.st.Faults = m.Faults
	b, err := json.Marshal(&m.st)
	if err != nil {
		return nil, fmt.Errorf("saving %s: %w", m.st.Spec.Serial, err)
	}
	return b, nil
}

// Restore makes a Mac of what Save kept. It goes on where it was, without enrolling again, unless it was enrolled with
// another server.
func Restore(b []byte, opt Options) (*Mac, error) {
	m := &Mac{opt: opt.withDefaults()}
	m.stats = m.opt.Stats
	if err := json.Unmarshal(b, &m.st); err != nil {
		return nil, fmt.Errorf("restoring a Mac: %w", err)
	}
	m.Faults = m.st.Faults
	m.rng = rand.New(rand.NewPCG(m.st.Spec.Seed, m.st.Draws))
	if m.st.URL != opt.URL {
		m.Erase()
		m.st.URL = opt.URL
		return m, nil
	}
	if len(m.st.Cert) == 0 {
		m.st.Enrolled = false
		return m, nil
	}
	cert, err := x509.ParseCertificate(m.st.Cert)
	if err != nil {
		return nil, fmt.Errorf("restoring %s: its certificate: %w", m.st.Spec.Serial, err)
	}
	key, err := x509.ParsePKCS1PrivateKey(m.st.Key)
	if err != nil {
		return nil, fmt.Errorf("restoring %s: its key: %w", m.st.Spec.Serial, err)
	}
	m.identity = &Identity{cert, key}
	return m, nil
}
