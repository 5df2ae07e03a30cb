package companion

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"plimsoll/server/fleet"
	"plimsoll/server/mdm/message"
	"plimsoll/storage"
	"plimsoll/storage/beside"
)

const declarative = "DeclarativeManagement"

// NotifierOptions are what a Notifier is made of.
type NotifierOptions struct {
	DB storage.DB
	// URL is the base URL of the other server, Key the key of its API.
	URL, Key string
	Log      *slog.Logger
	Now      func() time.Time // nil: time.Now
}

// Notifier notifies Macs through the API of the MDM server that they are enrolled with. A command is kept with the Mac, under its
// UUID, in the commit of what it is for, and then given to that server: so none is lost, and one whose answer was lost is given
// again under the same UUID, which the server refuses to take twice. Safe for concurrent use.
type Notifier struct {
	db    storage.DB
	api   *api
	log   *slog.Logger
	now   func() time.Time
	busy  [64]sync.Mutex // one Mac's commands are given by one goroutine at a time; by shard
	todo  todo
	count Counters
}

var _ fleet.Notifier = (*Notifier)(nil)

// NewNotifier makes a Notifier.
func NewNotifier(o NotifierOptions) (*Notifier, error) {
	if o.DB == nil || o.Log == nil {
		return nil, errors.New("companion: DB and Log are needed")
	}
	base, err := url.Parse(o.URL)
	if err != nil || base.Host == "" {
		return nil, fmt.Errorf("companion: %q is not a base URL", o.URL)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	n := &Notifier{db: o.DB, api: newAPI(base, o.Key), log: o.Log, now: o.Now}
	n.todo.init()
	return n, nil
}

// Counters are those of the notifier and of its listener.
func (n *Notifier) Counters() *Counters { return &n.count }

// Close ends the idle connections to the other server.
func (n *Notifier) Close() { n.api.client.CloseIdleConnections() }

func (n *Notifier) add(tx storage.Tx, r message.Request) error {
	c := message.Command{CommandUUID: strings.ToUpper(uuid.NewString()), Command: r}
	raw, err := c.Encode()
	if err != nil {
		return err
	}
	return beside.Add(tx, beside.Command{
		UUID: c.CommandUUID, RequestType: r.RequestType, Raw: raw, At: n.now().UTC().Truncate(time.Second),
	})
}

// Queue has a DeclarativeManagement command queued, unless one of ours waits: then the Mac is only pushed. It carries no tokens,
// since nothing that is queued there can be replaced or withdrawn (rules 16).
func (n *Notifier) Queue(tx storage.Tx, _ string, _ []byte) error {
	list, err := beside.Commands(tx)
	if err != nil {
		return err
	}
	now := n.now()
	if slices.ContainsFunc(list, func(c beside.Command) bool { return c.RequestType == declarative && c.Waits(now) }) {
		return nil
	}
	return n.add(tx, message.Request{RequestType: declarative})
}

// Update has an update command queued under its own UUID.
func (n *Notifier) Update(tx storage.Tx, _ string, u fleet.UpdateCommand) error {
	c := message.Command{CommandUUID: u.UUID, Command: message.UpdateRequest(string(u.Action), string(u.Version))}
	raw, err := c.Encode()
	if err != nil {
		return err
	}
	return beside.Add(tx, beside.Command{
		UUID: u.UUID, RequestType: c.Command.RequestType, Raw: raw, At: n.now().UTC().Truncate(time.Second),
	})
}

// Withdraw takes a command back that the other server was not given yet. One that it has cannot be taken back: its answer counts
// for nothing (rules 16).
func (n *Notifier) Withdraw(tx storage.Tx, _, uuid string) error {
	return beside.Change(tx, func(c *beside.Command) bool { return c.UUID != uuid || !c.Sent.IsZero() })
}

// Query has a command queued that asks something, unless one that asks the same waits.
func (n *Notifier) Query(tx storage.Tx, _, requestType string, queries ...string) error {
	list, err := beside.Commands(tx)
	if err != nil {
		return err
	}
	r := message.Request{RequestType: requestType, Queries: slices.Sorted(slices.Values(queries))}
	now := n.now()
	for _, c := range list {
		if c.RequestType != r.RequestType || !c.Waits(now) {
			continue
		}
		if same, err := (message.Command{CommandUUID: c.UUID, Command: r}).Encode(); err == nil && slices.Equal(same, c.Raw) {
			return nil
		}
	}
	return n.add(tx, r)
}

// Forget does nothing: the enrolment is the other server's (rules 16).
func (n *Notifier) Forget(context.Context, string) error { return nil }

// Fetched notes that a Mac came for its declaration-items: no command to sync waits for it any more.
func (n *Notifier) Fetched(ctx context.Context, id string) error {
	waits := func(c beside.Command) bool { return c.RequestType == declarative && !c.Seen }
	list, err := n.commands(ctx, id)
	if err != nil || !slices.ContainsFunc(list, waits) {
		return err
	}
	return n.change(ctx, id, func(c *beside.Command) bool {
		c.Seen = c.Seen || c.RequestType == declarative
		return true
	})
}

func (n *Notifier) commands(ctx context.Context, id string) (list []beside.Command, err error) {
	err = n.db.View(ctx, storage.MacPartition(id), func(r storage.Reader) (err error) {
		list, err = beside.Commands(r)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the commands of %s: %w", id, err)
	}
	return list, nil
}

func (n *Notifier) change(ctx context.Context, id string, change func(*beside.Command) bool) error {
	err := n.db.Update(ctx, storage.MacPartition(id), func(tx storage.Tx) error { return beside.Change(tx, change) })
	if err != nil {
		return fmt.Errorf("keep the commands of %s: %w", id, err)
	}
	return nil
}

// awaited finds a command of ours that the Mac has not answered yet.
func (n *Notifier) awaited(ctx context.Context, id, uuid string) (c beside.Command, found bool, err error) {
	list, err := n.commands(ctx, id)
	if i := slices.IndexFunc(list, func(c beside.Command) bool { return c.UUID == uuid }); i >= 0 {
		return list[i], true, nil
	}
	return c, false, err
}

func (n *Notifier) answered(ctx context.Context, id, uuid string) error {
	return n.change(ctx, id, func(c *beside.Command) bool { return c.UUID != uuid })
}

// give gives the other server the commands of a Mac that it does not have yet.
func (n *Notifier) give(ctx context.Context, id string) error {
	mu := &n.busy[storage.ShardOf(id)]
	mu.Lock()
	defer mu.Unlock()
	list, err := n.commands(ctx, id)
	if err != nil {
		return err
	}
	given := map[string]bool{}
	for _, c := range list {
		if !c.Sent.IsZero() || !c.Waits(n.now()) { // what was not taken for a day is asked anew
			continue
		}
		if err = n.api.enqueue(ctx, id, c.Raw); err != nil {
			n.count.CommandsFailed.Add(1)
			break
		}
		n.count.Commands.Add(1)
		given[c.UUID] = true
	}
	if len(given) > 0 {
		now := n.now().UTC().Truncate(time.Second)
		err = errors.Join(err, n.change(ctx, id, func(c *beside.Command) bool {
			if given[c.UUID] {
				c.Sent = now
			}
			return true
		}))
	}
	return err
}

// atOnce is how many requests are made of the other server at a time.
const atOnce = 16

// Push gives the other server what is queued for the Macs, and has it push them. Only a push that it says it made counts.
func (n *Notifier) Push(ctx context.Context, ids []string) (map[string]error, error) {
	failed, unreached := map[string]error{}, 0
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(atOnce)
	for _, id := range ids {
		g.Go(func() error {
			err := n.give(ctx, id)
			if err == nil {
				err = n.api.push(ctx, id)
			}
			if err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed[id] = err
				if errors.Is(err, errUnreached) || errors.Is(err, fleet.ErrUnavailable) {
					unreached++
				}
			}
			return nil
		})
	}
	_ = g.Wait() // each failure stands under its Mac
	n.count.Pushes.Add(int64(len(ids) - len(failed)))
	n.count.PushesFailed.Add(int64(len(failed)))
	if unreached > 0 && unreached == len(ids) {
		return nil, fmt.Errorf("nobody was pushed: %w", failed[ids[0]])
	}
	return failed, nil
}

var errUnreached = errors.New("the MDM server cannot be reached")
