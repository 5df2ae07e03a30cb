package fleet

import (
	"context"
	"fmt"

	"plimsoll/server/fleet/notify"
	"plimsoll/storage"
)

// notePush notes what became of a push.
func (f *Fleet) notePush(ctx context.Context, r notify.Result) error {
	// Without a certificate a Mac is noted when its command is queued, so that nothing is left to do.
	if rec := f.index.Get(r.ID); r.NoCertificate && rec != nil && rec.Push == "" && rec.Told != "" {
		if next, inHand := f.pushes.Pending(r.ID); rec.Told == next || rec.Told == inHand {
			return nil
		}
	}
	return f.noteTold(ctx, r.ID, r.Token, r.Failed)
}

// noteTold notes that a Mac was told what is advertised to it, or why the push failed: then it is not outstanding.
func (f *Fleet) noteTold(ctx context.Context, id, token, failed string) error {
	_, err := f.change(ctx, id, settling{now: f.now(), noting: true}, func(_ *storage.MacTx, s *settling) (bool, error) {
		rec := s.Record
		if rec == nil || !rec.Facts.Enrolled {
			return false, nil
		}
		if len(failed) > 200 {
			failed = failed[:200]
		}
		changed := rec.Push != failed
		rec.Push = failed
		// A Mac whose push failed is tried again with the patience of one that was told: a dead token must not be pushed for ever.
		// One that was noted when its command was queued, since no push was possible, is not noted twice.
		if noted := rec.Told == token && s.now.Before(rec.ToldAt.Add(storage.Patience(rec.Tries))); !noted && rec.Manifest != token && rec.Advertised == token {
			if rec.Told != token {
				rec.Tries = 0
			}
			rec.Told, rec.ToldAt = token, s.now
			rec.Tries++
			changed = true
		}
		return changed, nil
	})
	if err != nil {
		return fmt.Errorf("note that %s was told: %w", id, err)
	}
	return nil
}

// commandFailed is why a Mac could not be told that answered the command to sync with an error.
const commandFailed = "the Mac answered the DeclarativeManagement command with an error"

// CommandFailed notes that a Mac answered a DeclarativeManagement command with an error: what it was told is not outstanding any more
// (rules 10). It is told again as after a push that failed.
func (f *Fleet) CommandFailed(ctx context.Context, id string) error {
	_, err := f.change(ctx, id, settling{now: f.now(), noting: true}, func(_ *storage.MacTx, s *settling) (bool, error) {
		if s.Record == nil || s.Record.Told == "" || s.Record.Push != "" {
			return false, nil
		}
		s.Record.Push = commandFailed
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("note that %s refused a command: %w", id, err)
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
