package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"plimsoll/declarations"
	"plimsoll/declarations/command"
	"plimsoll/server/fleet/reconcile"
	"plimsoll/status"
	"plimsoll/status/compliance"
	"plimsoll/storage"
)

// Authenticate begins a new life of a Mac (rules 4): everything but identity is cleared, then what Authenticate carries is
// taken.
func (f *Fleet) Authenticate(ctx context.Context, id string, c status.CheckIn) error {
	f.contacts.Forget(id)
	f.pushes.Forget(id)
	if err := f.enter(ctx, id); err != nil {
		return err
	}
	if err := f.change(ctx, id, reconcile.Authenticate(c)); err != nil {
		return fmt.Errorf("begin a new life of %s: %w", id, err)
	}
	return nil
}

// enter enters a Mac that is not known yet into the index. The entry that the start finds a Mac by is written before the Mac: one
// without a Mac does no harm, a Mac without one would be lost sight of.
func (f *Fleet) enter(ctx context.Context, id string) error {
	if known, _ := f.index.Knows(id); known {
		return nil
	}
	before, after, err := f.store.AddToIndex(ctx, storage.ShardOf(id), []storage.Changed{{ID: id}}, nil)
	if err != nil {
		return fmt.Errorf("enter %s into the index: %w", id, err)
	}
	f.index.Wrote(storage.ShardOf(id), before, after)
	return nil
}

// TokenUpdate completes an enrolment under a push topic: from now on the Mac is notified. Later ones, which only bring new push
// tokens, change nothing.
func (f *Fleet) TokenUpdate(ctx context.Context, id, topic string) error {
	if err := f.change(ctx, id, reconcile.TokenUpdate(topic)); err != nil {
		return fmt.Errorf("complete the enrolment of %s: %w", id, err)
	}
	return nil
}

// CheckOut ends a Mac's enrolment: it leaves all counts and lists.
func (f *Fleet) CheckOut(ctx context.Context, id string) error {
	f.contacts.Forget(id)
	f.pushes.Forget(id)
	if err := f.change(ctx, id, reconcile.CheckOut()); err != nil {
		return fmt.Errorf("check out %s: %w", id, err)
	}
	return nil
}

// BootstrapToken notes whether the Mac's bootstrap token is escrowed.
func (f *Fleet) BootstrapToken(ctx context.Context, id string, escrowed bool) error {
	if err := f.change(ctx, id, reconcile.BootstrapToken(escrowed)); err != nil {
		return fmt.Errorf("note the bootstrap token of %s: %w", id, err)
	}
	return nil
}

// DeviceAnswer takes the answer to a DeviceInformation or SecurityInfo command, its decoded property list.
func (f *Fleet) DeviceAnswer(ctx context.Context, id string, answer map[string]any) error {
	queried, _ := answer["QueryResponses"].(map[string]any)
	text := func(name string) string { t, _ := queried[name].(string); return t }
	c := status.CheckIn{
		UDID: text("UDID"), Serial: text("SerialNumber"), Name: text("DeviceName"), Model: text("ProductName"),
		ModelName: text("ModelName"), Version: text("OSVersion"), Build: text("BuildVersion"),
	}
	if err := f.change(ctx, id, reconcile.Answer(c, command.ParseInfo(answer))); err != nil {
		return fmt.Errorf("take the answer of %s: %w", id, err)
	}
	return nil
}

// CommandAnswer takes the answer to an update command, its decoded property list, NotNow too. Whatever is in it, it is taken:
// what is not as Apple documents it is counted.
func (f *Fleet) CommandAnswer(ctx context.Context, id string, answer map[string]any) error {
	a := command.ParseAnswer(answer)
	if a.Odd > 0 {
		f.counters.OddAnswers.Add(1)
	}
	if err := f.change(ctx, id, reconcile.CommandAnswered(a)); err != nil {
		return fmt.Errorf("take the answer of %s to an update command: %w", id, err)
	}
	return nil
}

// Polled is a Mac that asks for the next command: one that is told by command has it queued before it is answered.
func (f *Fleet) Polled(ctx context.Context, id string) error {
	if rec := f.index.Get(id); rec == nil || !reconcile.Commanded(&rec.Facts) {
		return nil
	}
	if err := f.change(ctx, id, reconcile.Polled()); err != nil {
		return fmt.Errorf("look which command %s gets: %w", id, err)
	}
	return nil
}

// CommandFetched notes that an update command was handed out.
func (f *Fleet) CommandFetched(ctx context.Context, id, uuid string) error {
	if err := f.change(ctx, id, reconcile.Fetched(uuid)); err != nil {
		return fmt.Errorf("note that %s fetched an update command: %w", id, err)
	}
	return nil
}

// CommandFailed notes a command that a Mac answered with an error (rules 10).
func (f *Fleet) CommandFailed(ctx context.Context, id string, failure CommandFailure) error {
	if err := f.change(ctx, id, reconcile.CommandFailed(failure)); err != nil {
		return fmt.Errorf("note that %s refused a command: %w", id, err)
	}
	return nil
}

// CommandTaken notes a command that a Mac acknowledged: a failure of its kind is over.
func (f *Fleet) CommandTaken(ctx context.Context, id, requestType string) error {
	if rec := f.index.Get(id); rec != nil && !slices.Contains(rec.Summary.Codes, compliance.CommandFailed) {
		return nil // the summary tells of a failure, and most Macs have none
	}
	if err := f.change(ctx, id, reconcile.CommandTaken(requestType)); err != nil {
		return fmt.Errorf("note that %s took a command: %w", id, err)
	}
	return nil
}

// Refused notes that a message in the name of a Mac, or under its certificate, was refused.
func (f *Fleet) Refused(ctx context.Context, id, cause, fingerprint string) error {
	if known, _ := f.index.Knows(id); !known {
		return nil
	}
	if err := f.change(ctx, id, reconcile.Refused(cause, fingerprint)); err != nil {
		return fmt.Errorf("note that %s was refused: %w", id, err)
	}
	return nil
}

// Identified notes the certificate of a Mac that is enrolled, and its push topic, which is only asked for when it is not known.
// Nothing is read when both are known already.
func (f *Fleet) Identified(ctx context.Context, id string, i Identity, topicOf func(context.Context) (string, error)) error {
	rec := f.index.Get(id)
	if rec == nil {
		return nil
	}
	known := &rec.Facts
	identified := known.IdentityEnds.Equal(i.ExpiresAt.UTC().Truncate(time.Second)) && known.IdentityCA == i.CA
	if identified && known.Topic != "" {
		return nil
	}
	topic := ""
	if known.Topic == "" {
		var err error
		if topic, err = topicOf(ctx); err != nil || topic == "" && identified {
			return err
		}
	}
	if err := f.change(ctx, id, reconcile.Identified(i, topic)); err != nil {
		return fmt.Errorf("note the identity of %s: %w", id, err)
	}
	return nil
}

// fromDevice answers a Mac that asks.
func (f *Fleet) fromDevice(ctx context.Context, id string, cause reconcile.Cause) (reconcile.Advertised, error) {
	a, changed, err := f.reconciler.Ask(ctx, id, cause)
	if err == nil && changed != nil {
		err = f.learned(id, changed)
	}
	return a, err
}

// Tokens answers the tokens endpoint: Apple's TokensResponse as JSON.
func (f *Fleet) Tokens(ctx context.Context, id string) ([]byte, error) {
	a, err := f.fromDevice(ctx, id, reconcile.AsksTokens())
	if err != nil {
		f.countFault(err)
		return nil, fmt.Errorf("tokens of %s: %w", id, err)
	}
	f.counters.TokensServed.Add(1)
	return declarations.TokensJSON(a.Token, a.At), nil
}

// Items answers the declaration-items endpoint, and keeps what it answers as the Mac's manifest.
func (f *Fleet) Items(ctx context.Context, id string) ([]byte, error) {
	a, err := f.fromDevice(ctx, id, reconcile.AsksItems())
	if err != nil {
		f.countFault(err)
		return nil, fmt.Errorf("declaration items of %s: %w", id, err)
	}
	f.counters.ItemsServed.Add(1)
	return declarations.ItemsJSON(a.Items, a.Token), nil
}

var errNothingServed = fmt.Errorf("%w: no manifest was served yet", ErrUnavailable)

// NothingServed tells whether a declaration could not be answered for because the Mac was served no manifest in this life.
func NothingServed(err error) bool { return errors.Is(err, errNothingServed) }

// Declaration answers for one declaration, from the Mac's manifest and the body kept under its token, never from a fresh plan.
// ErrNotFound is returned only for what is not in the manifest: it makes the Mac drop the declaration.
func (f *Fleet) Declaration(ctx context.Context, id string, kind declarations.Kind, identifier string) ([]byte, error) {
	var body []byte
	err := f.store.ViewMac(ctx, id, func(m *storage.Mac) error {
		man, err := m.Manifest()
		if err != nil {
			return err
		}
		if man == nil {
			switch rec, err := m.Record(); {
			case err != nil:
				return err
			case rec == nil || !rec.Facts.Enrolled:
				return reconcile.NotEnrolled(id)
			}
			// Nothing was served in this life: the Mac syncs from the start; it must not drop anything because of us.
			return errNothingServed
		}
		item, ok := man.Find(kind, identifier)
		if !ok {
			return fmt.Errorf("declaration %s/%s is not in the manifest of %s: %w", kind, identifier, id, ErrNotFound)
		}
		if body = f.bodies.get(item.ServerToken); body != nil {
			return nil
		}
		if body, err = m.Body(item.ServerToken); err != nil {
			return err
		}
		if body == nil {
			return fmt.Errorf("%w: the body of declaration %s/%s of %s is not kept", ErrUnavailable, kind, identifier, id)
		}
		f.bodies.put(item.ServerToken, body)
		return nil
	})
	if err != nil {
		f.countFault(err)
		return nil, err
	}
	f.counters.DeclarationsServed.Add(1)
	return body, nil
}
