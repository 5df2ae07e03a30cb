package guard

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"time"

	"plimsoll/storage"
)

// memory is what a replica holds of its store in memory, and whether the store still agrees. Safe for concurrent use.
type memory struct {
	store *storage.Store
	log   *slog.Logger

	mu      sync.Mutex
	secrets map[string][]byte // as they were read or made first
	trouble error             // why the process ends
	lost    time.Time         // when the store was found without what it held; zero: never
}

// Secret returns the secret of that name; the first replica's generate makes it. From then on the store has to hold it.
func (m *memory) Secret(ctx context.Context, name string, generate func() ([]byte, error)) ([]byte, error) {
	secret, err := m.store.Secret(ctx, name, generate)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.secrets[name] = bytes.Clone(secret)
	return secret, nil
}

// keepSecrets writes back the secrets that the store has lost. One that is another there ends the process: Macs and sessions that
// trust the one would be refused by the other.
func (m *memory) keepSecrets(ctx context.Context) error {
	m.mu.Lock()
	held := make(map[string][]byte, len(m.secrets))
	for name, s := range m.secrets {
		held[name] = s
	}
	m.mu.Unlock()
	missing, other, err := m.store.CompareSecrets(ctx, held)
	switch {
	case err != nil:
		return err
	case other == "" && len(missing) > 0:
		m.noteLoss("secrets", missing)
		if other, err = m.store.PutSecrets(ctx, held); err != nil {
			return err
		}
	}
	if other != "" {
		return otherStore("it holds another secret %q than this process: it was emptied, and another replica made a new one", other)
	}
	return nil
}

func (m *memory) noteLoss(what string, names []string) {
	m.mu.Lock()
	first := m.lost.IsZero()
	m.lost = time.Now().UTC()
	m.mu.Unlock()
	if first {
		m.log.Error("the store has lost what it held: it was emptied, or a primary without the data took over; what this process has"+
			" in memory is written back, the rest has to come from a backup", "lost", what, "names", names)
	}
}

func (m *memory) end(why error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.trouble = why
}

// State tells what is wrong with the store: err says why the process ends; lost is when the store was last found without what it
// held, zero when it never was.
func (m *memory) State() (lost time.Time, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.lost, m.trouble
}
