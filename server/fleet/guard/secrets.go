package guard

import (
	"bytes"
	"context"
	"time"

	"plimsoll/storage"
)

// Secret returns the secret of that name; the first replica's generate makes it. From then on the store has to hold it.
func (g *Guard) Secret(ctx context.Context, name string, generate func() ([]byte, error)) ([]byte, error) {
	secret, err := g.o.Store.Secret(ctx, name, generate)
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.secrets[name] = bytes.Clone(secret)
	return secret, nil
}

// keepSecrets writes back the secrets that the store has lost. One that is another there ends the process: Macs and sessions that
// trust the one would be refused by the other.
func (g *Guard) keepSecrets(ctx context.Context) error {
	g.mu.Lock()
	held := make(map[string][]byte, len(g.secrets))
	for name, s := range g.secrets {
		held[name] = s
	}
	g.mu.Unlock()
	missing, other, err := g.o.Store.CompareSecrets(ctx, held)
	switch {
	case err != nil:
		return err
	case other == "" && len(missing) > 0:
		g.noteLoss("secrets", missing)
		if other, err = g.o.Store.PutSecrets(ctx, held); err != nil {
			return err
		}
	}
	if other != "" {
		return otherStore("the store holds another secret %q than this process: the store was emptied, and another replica made a new one",
			other)
	}
	return nil
}

// putBack writes the format record of a store that was emptied, and returns the one that stands there then.
func (g *Guard) putBack(ctx context.Context) (*storage.FormatRecord, error) {
	g.noteLoss("format", nil)
	stands := g.record
	err := g.o.Store.UpdateFormat(ctx, func(rec *storage.FormatRecord) (*storage.FormatRecord, error) {
		if rec != nil {
			stands = *rec
			return nil, nil
		}
		stands = g.record
		return &stands, nil
	})
	return &stands, err
}

func (g *Guard) noteLoss(what string, names []string) {
	g.mu.Lock()
	first := g.lost.IsZero()
	g.lost = time.Now().UTC()
	g.mu.Unlock()
	if first {
		g.o.Log.Error("the store has lost what it held: it was emptied, or a primary without the data took over; what this process has"+
			" in memory is written back, the rest has to come from a backup", "lost", what, "names", names)
	}
}

func (g *Guard) end(why error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.trouble = why
}

// State tells what is wrong with the store: err says why the process ends; lost is when the store was last found without what it
// held, zero when it never was.
func (g *Guard) State() (lost time.Time, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.lost, g.trouble
}
