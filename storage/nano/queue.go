package nano

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/micromdm/nanomdm/mdm"
	"golang.org/x/sync/errgroup"

	"plimsoll/storage"
)

const (
	declarative = "DeclarativeManagement" // the RequestType of which only one is ever queued

	atOnce         = 64   // enrolments that one call works on at the same time
	maxQueued      = 1000 // commands of one enrolment; an answer to every one of them is awaited
	maxCommandUUID = 128
)

// QueuedCommand is a command that waits for its answer. The directory of a queue is a list of them, in order.
type QueuedCommand struct {
	Number      uint64    `json:"n"` // grows along the queue
	UUID        string    `json:"uuid"`
	RequestType string    `json:"type"`
	At          time.Time `json:"at"`              // when it was queued
	NotNow      time.Time `json:"notnow,omitzero"` // when the Mac last answered NotNow, zero if it did not
}

// EnqueueCommand queues cmd for each of ids, several at a time. The errors are those of single ids; the others have it.
// When the database stays away the rest is not tried. See Enqueue.
func (s *Store) EnqueueCommand(ctx context.Context, ids []string, cmd *mdm.Command) (map[string]error, error) {
	if err := checkCommand(cmd); err != nil {
		return nil, fmt.Errorf("queueing a command: %w", err)
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("queueing command %s: %w: no enrolment id is given", cmd.CommandUUID, storage.ErrInvalid)
	}
	var (
		mu   sync.Mutex
		errs = make(map[string]error)
		g    errgroup.Group
	)
	g.SetLimit(atOnce)
	unavailable := 0
	enqueue := func(id string) error {
		mu.Lock()
		away := unavailable >= atOnce
		mu.Unlock()
		if away {
			return fmt.Errorf("queueing command %s for %s: %w: not tried", cmd.CommandUUID, id, storage.ErrUnavailable)
		}
		return s.enqueue(ctx, id, cmd)
	}
	for _, id := range slices.Compact(slices.Sorted(slices.Values(ids))) {
		g.Go(func() error {
			if err := enqueue(id); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs[id] = err
				if errors.Is(err, storage.ErrUnavailable) {
					unavailable++
				}
			}
			return nil
		})
	}
	return errs, g.Wait()
}

// Enqueue queues cmd for one enrolment, in one commit. A DeclarativeManagement command takes the place of the queued ones of
// its kind, which disappear. A UUID that is queued already is a conflict, unless the command is the very same: then nothing is
// done, so that a failed call can be repeated. A device that checked out is ErrNotFound. At most 1000 commands are queued.
func (s *Store) Enqueue(ctx context.Context, id string, cmd *mdm.Command) error {
	if err := checkCommand(cmd); err != nil {
		return fmt.Errorf("queueing a command: %w", err)
	}
	return s.enqueue(ctx, id, cmd)
}

// EnqueueDeclarative is Enqueue for a DeclarativeManagement command, given as the plist that the Mac gets.
func (s *Store) EnqueueDeclarative(ctx context.Context, id, uuid string, raw []byte) error {
	cmd := &mdm.Command{CommandUUID: uuid, Raw: raw}
	cmd.Command.RequestType = declarative
	return s.Enqueue(ctx, id, cmd)
}

func checkCommand(cmd *mdm.Command) error {
	switch {
	case cmd == nil || len(cmd.Raw) == 0:
		return fmt.Errorf("%w: the command is empty", storage.ErrInvalid)
	case cmd.CommandUUID == "",
		len(cmd.CommandUUID) > maxCommandUUID,
		!utf8.ValidString(cmd.CommandUUID),
		strings.ContainsFunc(cmd.CommandUUID, unicode.IsControl):
		return fmt.Errorf("%w: CommandUUID %q is empty, too long or not text", storage.ErrInvalid, clip(cmd.CommandUUID))
	case cmd.Command.RequestType == "":
		return fmt.Errorf("%w: command %s has no RequestType", storage.ErrInvalid, cmd.CommandUUID)
	}
	return nil
}

// EnqueueTx is Enqueue within the caller's transaction on the partition of id's device. The command's Raw is kept.
func (s *Store) EnqueueTx(tx storage.Tx, id string, cmd *mdm.Command) error {
	if err := checkCommand(cmd); err != nil {
		return fmt.Errorf("queueing a command: %w", err)
	}
	c, err := parseID(id)
	if err == nil {
		err = s.enqueueTx(tx, c, cmd.CommandUUID, cmd.Command.RequestType, cmd.Raw)
	}
	return wrap(err, "queueing command %s for %s", cmd.CommandUUID, clip(id))
}

// WithdrawTx takes a command that waits out of the queue, within the caller's transaction on the partition of id's device; one
// that does not wait is no error.
func (s *Store) WithdrawTx(tx storage.Tx, id, uuid string) error {
	c, err := parseID(id)
	if err != nil {
		return fmt.Errorf("withdrawing a command: %w", err)
	}
	queue, err := readQueue(tx, c)
	i := indexUUID(queue, uuid)
	if err != nil || i < 0 {
		return wrap(err, "withdrawing command %s of %s", uuid, c.id)
	}
	return dequeue(tx, c, queue, i)
}

// dequeue takes the command at i out of a queue.
func dequeue(tx storage.Tx, c channel, queue []QueuedCommand, i int) error {
	tx.Delete(c.commandKey(queue[i].Number))
	if len(queue) == 1 {
		tx.Delete(c.directoryKey())
		return nil
	}
	return set(tx, c.directoryKey(), slices.Delete(queue, i, i+1))
}

func (s *Store) enqueue(ctx context.Context, id string, cmd *mdm.Command) error {
	c, err := parseID(id)
	if err == nil {
		raw := bytes.Clone(cmd.Raw) // the database keeps it
		err = s.db.Update(ctx, c.partition(), func(tx storage.Tx) error {
			return s.enqueueTx(tx, c, cmd.CommandUUID, cmd.Command.RequestType, raw)
		})
	}
	return wrap(err, "queueing command %s for %s", cmd.CommandUUID, clip(id))
}

func (s *Store) enqueueTx(tx storage.Tx, c channel, uuid, requestType string, raw []byte) error {
	vals, err := tx.GetMany(c.enrolmentKey(), c.directoryKey())
	if err != nil {
		return err
	}
	if vals[0] == nil {
		return fmt.Errorf("%w: no such enrolment", storage.ErrNotFound)
	}
	var rec record
	var queue []QueuedCommand
	if err := cmp.Or(decode(c.enrolmentKey(), vals[0], &rec), decode(c.directoryKey(), vals[1], &queue)); err != nil {
		return err
	}
	if !c.isUser && rec.AuthenticatedAt.IsZero() {
		return fmt.Errorf("%w: the device has checked out", storage.ErrNotFound)
	}
	if i := indexUUID(queue, uuid); i >= 0 {
		old, err := tx.Get(c.commandKey(queue[i].Number))
		if err == nil && (queue[i].RequestType != requestType || !bytes.Equal(old, raw)) {
			err = fmt.Errorf("%w: another command with this CommandUUID is queued", storage.ErrConflict)
		}
		return err
	}
	number := uint64(1)
	if len(queue) > 0 {
		number = queue[len(queue)-1].Number + 1
	}
	if requestType == declarative {
		queue = slices.DeleteFunc(queue, func(q QueuedCommand) bool {
			if q.RequestType == declarative {
				tx.Delete(c.commandKey(q.Number))
			}
			return q.RequestType == declarative
		})
	}
	if len(queue) >= maxQueued {
		return fmt.Errorf("%w: %d commands are queued already", storage.ErrConflict, len(queue))
	}
	tx.Set(c.commandKey(number), raw)
	return set(tx, c.directoryKey(), append(queue, QueuedCommand{
		Number: number, UUID: uuid, RequestType: requestType, At: s.stamp(),
	}))
}

func indexUUID(queue []QueuedCommand, uuid string) int {
	return slices.IndexFunc(queue, func(q QueuedCommand) bool { return q.UUID == uuid })
}

// StoreCommandReport takes an answer. NotNow leaves the command where it is; any other one moves it from the queue to
// the results. An answer to a command that is not queued (replaced, cleared, or answered before) is dropped, since the
// Mac would repeat it for ever if it were refused. Idle needs no storage at all.
func (s *Store) StoreCommandReport(r *mdm.Request, report *mdm.CommandResults) error {
	c, err := requestChannel(r)
	switch {
	case err != nil:
	case report.Status == "Idle":
		return nil
	case report.CommandUUID == "":
		err = fmt.Errorf("%w: it has status %q but no CommandUUID", storage.ErrInvalid, clip(report.Status))
	}
	if err != nil {
		return fmt.Errorf("storing an answer: %w", err)
	}
	err = s.db.Update(r.Context(), c.partition(), func(tx storage.Tx) error {
		queue, err := readQueue(tx, c)
		if err != nil {
			return err
		}
		i := indexUUID(queue, report.CommandUUID)
		if i < 0 {
			return nil
		}
		now := s.stamp()
		if report.Status == "NotNow" {
			queue[i].NotNow = now
			return set(tx, c.directoryKey(), queue)
		}
		result := Result{
			UUID: queue[i].UUID, RequestType: queue[i].RequestType, Status: report.Status,
			Queued: queue[i].At, At: now, Raw: report.Raw,
		}
		val, err := result.encode()
		if err != nil {
			return err
		}
		tx.Set(c.resultKey(now, result.UUID), val)
		return dequeue(tx, c, queue, i)
	})
	return wrap(err, "storing the answer of %s to command %s", c.id, clip(report.CommandUUID))
}

// RetrieveNextCommand returns the first command of the queue, nil when there is none. With skipNotNow those that were
// answered NotNow are passed over: the Mac just said it cannot now, and asks again when it can.
func (s *Store) RetrieveNextCommand(r *mdm.Request, skipNotNow bool) (*mdm.Command, error) {
	c, err := requestChannel(r)
	if err != nil {
		return nil, fmt.Errorf("retrieving the next command: %w", err)
	}
	var cmd *mdm.Command
	err = s.db.View(r.Context(), c.partition(), func(rd storage.Reader) error {
		cmd = nil
		head, err := rd.List(c.queuePrefix(), "", 2) // the directory and the first command
		if err != nil || len(head) == 0 || head[0].Key != c.directoryKey() {
			return err
		}
		var queue []QueuedCommand
		if err := decode(c.directoryKey(), head[0].Value, &queue); err != nil {
			return err
		}
		i := slices.IndexFunc(queue, func(q QueuedCommand) bool { return !skipNotNow || q.NotNow.IsZero() })
		if i < 0 {
			return nil
		}
		key := c.commandKey(queue[i].Number)
		var raw []byte
		if len(head) > 1 && head[1].Key == key {
			raw = head[1].Value
		} else if raw, err = rd.Get(key); err != nil {
			return err
		}
		if raw == nil {
			return fmt.Errorf("command %s is in the directory, but %s is missing", queue[i].UUID, key)
		}
		cmd = &mdm.Command{CommandUUID: queue[i].UUID, Raw: raw}
		cmd.Command.RequestType = queue[i].RequestType
		return nil
	})
	return cmd, wrap(err, "retrieving the next command of %s", c.id)
}

// ClearQueue drops the queued commands of an enrolment; on the device channel those of its user channels too. Nothing
// is written when there are none, as after StoreAuthenticate.
func (s *Store) ClearQueue(r *mdm.Request) error {
	c, err := requestChannel(r)
	if err != nil {
		return fmt.Errorf("clearing a queue: %w", err)
	}
	prefix := keyQueues
	if c.isUser {
		prefix = c.queuePrefix()
	}
	err = s.db.Update(r.Context(), c.partition(), func(tx storage.Tx) error {
		return deleteAll(tx, prefix)
	})
	return wrap(err, "clearing the queue of %s", c.id)
}

// Queued lists the commands of an enrolment that wait, in the order in which it gets them.
func (s *Store) Queued(ctx context.Context, id string) ([]QueuedCommand, error) {
	c, err := parseID(id)
	if err != nil {
		return nil, fmt.Errorf("listing queued commands: %w", err)
	}
	var queue []QueuedCommand
	err = s.db.View(ctx, c.partition(), func(r storage.Reader) (err error) {
		queue, err = readQueue(r, c)
		return err
	})
	return queue, wrap(err, "listing the queued commands of %s", c.id)
}

// Awaited tells the RequestType of the command of that UUID which an enrolment has not answered yet; false when there is none.
func (s *Store) Awaited(ctx context.Context, id, uuid string) (requestType string, awaited bool, err error) {
	queue, err := s.Queued(ctx, id)
	if i := indexUUID(queue, uuid); i >= 0 {
		return queue[i].RequestType, true, err
	}
	return "", false, err
}

// Tx is the transaction of the database contract, for those who queue commands within their own.
type Tx = storage.Tx

// QueuedTx is Queued within the caller's transaction on the partition of id's device.
func (s *Store) QueuedTx(tx Tx, id string) ([]QueuedCommand, error) {
	c, err := parseID(id)
	if err != nil {
		return nil, fmt.Errorf("listing queued commands: %w", err)
	}
	queue, err := readQueue(tx, c)
	return queue, wrap(err, "listing the queued commands of %s", c.id)
}

func readQueue(r storage.Reader, c channel) ([]QueuedCommand, error) {
	val, err := r.Get(c.directoryKey())
	if err != nil {
		return nil, err
	}
	var queue []QueuedCommand
	return queue, decode(c.directoryKey(), val, &queue)
}
