package mdm

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/micromdm/nanomdm/mdm"
	"github.com/micromdm/nanomdm/push/nanopush"
	pushservice "github.com/micromdm/nanomdm/push/service"
	"github.com/micromdm/plist"

	"plimsoll/server/fleet"
	"plimsoll/server/mdm/message"
	"plimsoll/storage/nano"
)

// NotifierOptions are what a Notifier is made of.
type NotifierOptions struct {
	Store *nano.Store
	// APNS is the address (host:port) that is dialled in place of Apple's; empty: Apple's. The name that its certificate must
	// carry stays api.push.apple.com.
	APNS string
	// APNSRoots verify it; nil: the system's.
	APNSRoots *x509.CertPool

	Log *slog.Logger
	Now func() time.Time // nil: time.Now
}

// Notifier tells Macs to sync: it queues commands and pushes through APNs. Safe for concurrent use.
type Notifier struct {
	store        *nano.Store
	associations *associations
	pusher       *pushservice.PushService
	clients      clients
	count        Counters
}

var _ fleet.Notifier = (*Notifier)(nil)

// NewNotifier makes a Notifier.
func NewNotifier(o NotifierOptions) (*Notifier, error) {
	if o.Store == nil || o.Log == nil {
		return nil, errors.New("mdm: Store and Log are needed")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	t := &Notifier{
		store: o.Store, associations: newAssociations(o.Store, o.Now),
		clients: clients{addr: o.APNS, roots: o.APNSRoots},
	}
	factory := nanopush.NewFactory(nanopush.WithNewClient(t.clients.make), nanopush.WithExpiration(pushExpiry))
	t.pusher = pushservice.New(o.Store, o.Store, quiet{factory}, nanoLog{o.Log})
	return t, nil
}

// Close ends the idle connections to APNs.
func (t *Notifier) Close() { t.clients.close() }

// commandPlist is a command as the Mac gets it.
type commandPlist struct {
	CommandUUID string
	Command     struct {
		RequestType string
		Data        []byte           `plist:",omitempty"`
		Queries     []string         `plist:",omitempty"`
		Updates     []message.Update `plist:",omitempty"`
	}
}

func (t *Notifier) enqueue(tx nano.Tx, id string, c commandPlist) error {
	raw, err := plist.MarshalIndent(c, "\t")
	if err != nil {
		return fmt.Errorf("encode a %s command: %w", c.Command.RequestType, err)
	}
	cmd := &mdm.Command{CommandUUID: c.CommandUUID, Raw: raw}
	cmd.Command.RequestType = c.Command.RequestType
	return t.store.EnqueueTx(tx, id, cmd)
}

const (
	deviceInformation = "DeviceInformation"
	securityInfo      = "SecurityInfo"
)

// syncCommand begins the UUIDs of the commands that tell a Mac to sync, by which its answers are known.
const syncCommand = "sync-"

// Queue queues a DeclarativeManagement command that carries tokens, in place of a queued one.
func (t *Notifier) Queue(tx nano.Tx, id string, tokens []byte) error {
	c := commandPlist{CommandUUID: syncCommand + strings.ToUpper(uuid.NewString())}
	c.Command.RequestType, c.Command.Data = "DeclarativeManagement", tokens
	return t.enqueue(tx, id, c)
}

// Update queues an update command: ScheduleOSUpdate with one item, or OSUpdateStatus.
func (t *Notifier) Update(tx nano.Tx, id string, u fleet.UpdateCommand) error {
	c := commandPlist{CommandUUID: u.UUID}
	r := message.UpdateRequest(string(u.Action), string(u.Version))
	c.Command.RequestType, c.Command.Updates = r.RequestType, r.Updates
	return t.enqueue(tx, id, c)
}

// Withdraw takes a command out of the queue, if it waits there.
func (t *Notifier) Withdraw(tx nano.Tx, id, uuid string) error {
	return t.store.WithdrawTx(tx, id, uuid)
}

// Query queues a command that asks something, unless one with the same queries waits already.
func (t *Notifier) Query(tx nano.Tx, id, requestType string, queries ...string) error {
	queries = slices.Sorted(slices.Values(queries))
	sum := sha256.Sum256([]byte(strings.Join(queries, "\n")))
	kind := strings.ToUpper(hex.EncodeToString(sum[:4])) // the UUID begins with it, by which a waiting one is known
	queue, err := t.store.QueuedTx(tx, id)
	if err != nil {
		return err
	}
	for _, q := range queue {
		if q.RequestType == requestType && strings.HasPrefix(q.UUID, kind) {
			return nil
		}
	}
	random := make([]byte, 16)
	if _, err := rand.Read(random); err != nil {
		return fmt.Errorf("make a command's UUID: %w", err)
	}
	copy(random, sum[:4])
	random[6], random[8] = random[6]&0x0f|0x80, random[8]&0x3f|0x80 // version 8: made to one's own taste
	c := commandPlist{CommandUUID: strings.ToUpper(uuid.UUID(random).String())}
	c.Command.RequestType, c.Command.Queries = requestType, queries
	if err := t.enqueue(tx, id, c); err != nil {
		return err
	}
	t.count.Asks.Add(1)
	return nil
}

// DeviceOf tells whose current identity one is, given by its fingerprint, and whether a device ever showed it.
func (t *Notifier) DeviceOf(ctx context.Context, fingerprint string) (device string, seen bool, err error) {
	return t.store.DeviceOf(ctx, fingerprint)
}

// Forget deletes NanoMDM's records of a Mac: it is refused until it enrols again, by this replica at once.
func (t *Notifier) Forget(ctx context.Context, id string) error {
	id, _, _ = strings.Cut(id, ":") // the device of a user channel
	defer t.associations.found.delete(id)
	return t.store.Forget(ctx, id)
}
