package fleet

import (
	"context"
	"fmt"

	"plimsoll/server/fleet/notify"
	"plimsoll/server/fleet/reconcile"
)

// PushState counts the enrolled devices by push topic. Those whose topic is not known yet are counted nowhere.
func (f *Fleet) PushState(ctx context.Context) (PushState, error) {
	return notify.StateOf(ctx, f.o.Push, f.index.Topics(), f.now())
}

// notePush notes what became of a push.
func (f *Fleet) notePush(ctx context.Context, r notify.Result) error {
	// Without a certificate a Mac is noted when its command is queued, so that nothing is left to do.
	if rec := f.index.Get(r.ID); r.NoCertificate && rec != nil && rec.Push == "" && rec.Told != "" {
		if next, inHand := f.pushes.Pending(r.ID); rec.Told == next || rec.Told == inHand {
			return nil
		}
	}
	if err := f.change(ctx, r.ID, reconcile.Pushed(r.Token, r.Failed)); err != nil {
		return fmt.Errorf("note that %s was notified: %w", r.ID, err)
	}
	return nil
}

// PushReady tells the fleet that a push certificate was stored: Macs that were told without a push are woken.
func (f *Fleet) PushReady() {
	f.pushes.Ready()
	for _, mac := range f.index.Outstanding() {
		if rec := mac.Record(); rec.Told == rec.Advertised {
			f.pushes.Add(mac.ID, rec.Told)
		}
	}
}
