package guard

import (
	"context"
	"crypto/rand"
	"log/slog"
	"time"

	"plimsoll/storage"
)

const (
	beatEvery  = 2 * time.Second
	awaitEvery = 500 * time.Millisecond // as often as a replica looks at the format of its store
	// deadAfter is longer than any commit takes: what a replica that did not beat for so long had begun is done, or was not.
	deadAfter = 2 * storage.Timeout
)

// presence is this replica's entry among those of its store. Its methods are called one after the other.
type presence struct {
	store  *storage.Store
	log    *slog.Logger
	id     string
	format int
	now    func() time.Time // monotonic
	joined bool             // the others know this one
	others map[string]sighting
}

type sighting struct {
	storage.Replica
	since time.Time // from when on it has not beaten
}

// newPresence makes a presence of a replica that is not known yet.
func newPresence(store *storage.Store, log *slog.Logger) *presence {
	return &presence{store: store, log: log, id: rand.Text(), format: storage.Format, now: time.Now}
}

// beat tells the others that this replica lives, and looks who else does.
func (p *presence) beat(ctx context.Context) error {
	var gone []string
	for id, s := range p.others {
		if p.now().Sub(s.since) >= deadAfter {
			gone = append(gone, id)
		}
	}
	found, err := p.store.Beat(ctx, p.id, p.format, gone)
	if err != nil {
		return err
	}
	p.joined = true
	others := make(map[string]sighting, len(found))
	for id, r := range found {
		s, known := p.others[id]
		if !known || s.Beats != r.Beats {
			s = sighting{r, p.now()}
		}
		others[id] = s
	}
	p.others = others
	return nil
}

// awaitOlder waits until no replica lives that writes an older format, or ctx ends. Such a replica ends by itself when it finds
// the number raised; one that died stands still.
func (p *presence) awaitOlder(ctx context.Context) error {
	for told := false; ; {
		if err := p.beat(ctx); err != nil {
			return err
		}
		older := 0
		for _, s := range p.others {
			if s.Format < p.format {
				older++
			}
		}
		if older == 0 {
			return nil
		}
		if !told {
			told = true
			p.log.Info("waiting until the replicas that write an older format have ended", "replicas", older, "format", p.format)
		}
		timer := time.NewTimer(awaitEvery)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

// run beats until ctx ends.
func (p *presence) run(ctx context.Context) {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := p.beat(ctx); err != nil && ctx.Err() == nil { // the poll says that the store is not reachable
				p.log.Debug("the other replicas could not be told that this one lives", "error", err)
			}
		}
	}
}

// leave tells the others that this replica has ended: nothing that it began is still under way.
func (p *presence) leave(ctx context.Context) error {
	if !p.joined {
		return nil
	}
	return p.store.Leave(ctx, p.id)
}
