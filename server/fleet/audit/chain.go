package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"plimsoll/declarations"
	"plimsoll/server/fleet/answer"
	"plimsoll/storage"
)

// Partitions are those in which notes wait: what stands in them is written together with its entry.
var Partitions = []string{storage.BookPartition, storage.AuthPartition}

// Options are what a Chain is made of.
type Options struct {
	Store *storage.Store
	// Tell brings entries into the timelines, and notes that (storage.Store.Told). It may be called twice for one.
	Tell func(ctx context.Context, entries []Entry) error
	Log  *slog.Logger
	Now  func() time.Time // UTC, whole seconds
}

// Chain writes the audit. Safe for concurrent use.
type Chain struct {
	o     Options
	woken chan struct{} // what tells the timelines

	mu     sync.Mutex
	next   *batch // what waits for the commit that is under way
	commit sync.Mutex

	spent spentNotes
}

// New makes a Chain.
func New(o Options) *Chain {
	return &Chain{o: o, woken: make(chan struct{}, 1), spent: spentNotes{by: map[string]spent{}}}
}

// waiting is an entry on its way into the chain.
type waiting struct {
	entry Entry
	id    string // of the note it was; empty when it was none
	n     uint64 // once it stands there
}

// batch is what one commit of the chain takes: one after another would wait for each other's.
type batch struct {
	items []*waiting
	done  chan struct{}
	err   error
}

// append adds entries to the chain in their order. It goes on when the caller goes away, so that others' entries do not fail.
func (c *Chain) append(ctx context.Context, items ...*waiting) error {
	c.mu.Lock()
	b, first := c.next, false
	if b == nil {
		b, first = &batch{done: make(chan struct{})}, true
		c.next = b
	}
	b.items = append(b.items, items...)
	c.mu.Unlock()
	if !first {
		<-b.done
		return b.err
	}
	c.commit.Lock()
	defer c.commit.Unlock()
	c.mu.Lock()
	c.next = nil
	c.mu.Unlock()
	defer close(b.done)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storage.Timeout)
	defer cancel()
	if b.err = c.write(ctx, b.items); b.err == nil {
		select {
		case c.woken <- struct{}{}:
		default:
		}
	}
	return b.err
}

func (c *Chain) write(ctx context.Context, items []*waiting) error {
	ids := make([]string, len(items))
	for i, w := range items {
		ids[i] = w.id
	}
	err := c.o.Store.UpdateAudit(ctx, func(t *storage.AuditTx) error {
		there, err := t.Chained(ids)
		if err != nil {
			return err
		}
		taken := map[string]bool{"": false}
		for i, w := range items {
			if there[i] || taken[w.id] { // the leader and the writer may bring it at once
				continue
			}
			taken[w.id] = w.id != ""
			e := w.entry
			e.N, e.Previous = t.Head.N+1, t.Head.Hash
			b, err := declarations.Canonical(e)
			if err != nil {
				return fmt.Errorf("encode an entry of the audit: %w", err)
			}
			if err := t.Append(b, Sum(b), e.Object, e.At, w.id); err != nil {
				return err
			}
			w.n = e.N
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("write the audit: %w", err)
	}
	return nil
}

// Noting are the entries of one change of a partition of Partitions, on their way with it.
type Noting struct {
	chain *Chain
	spent []string // notes that may go
	items []*waiting
}

// Begin prepares the notes of a change of a partition. It comes before the transaction.
func (c *Chain) Begin(ctx context.Context, partition string) *Noting {
	return &Noting{chain: c, spent: c.spentOf(ctx, partition)}
}

// Notes are what is committed with the change; nothing for acts that change nothing. A transaction that runs again calls it
// again.
func (n *Noting) Notes(o answer.Origin, acts ...Act) (storage.Notes, error) {
	var notes storage.Notes
	n.items = nil
	for _, act := range acts {
		e, err := newEntry(o, act, n.chain.o.Now())
		if err != nil {
			return notes, err
		}
		if len(e.Changes) == 0 && !e.Truncated {
			continue
		}
		b, err := json.Marshal(e)
		if err != nil {
			return notes, fmt.Errorf("encode an entry of the audit: %w", err)
		}
		id := uuid.Must(uuid.NewV7()).String()
		notes.New = append(notes.New, storage.Note{ID: id, Entry: b})
		n.items = append(n.items, &waiting{entry: e, id: id})
	}
	if len(notes.New) > 0 {
		notes.Spent = n.spent
	}
	return notes, nil
}

// Chained moves the entries into the chain, once the change was committed. When that fails the leader does it later: they are
// not lost.
func (n *Noting) Chained(ctx context.Context) {
	if len(n.items) == 0 {
		return
	}
	if err := n.chain.append(ctx, n.items...); err != nil {
		n.chain.o.Log.Warn("a change was made, and its entry is not in the audit's chain yet; the leader brings it there",
			"error", err)
	}
}

// Enter writes entries of acts on what stands in no partition of Partitions.
func (c *Chain) Enter(ctx context.Context, o answer.Origin, acts ...Act) error {
	_, err := c.enter(ctx, o, acts)
	return err
}

func (c *Chain) enter(ctx context.Context, o answer.Origin, acts []Act) ([]*waiting, error) {
	items := make([]*waiting, len(acts))
	for i, act := range acts {
		e, err := newEntry(o, act, c.o.Now())
		if err != nil {
			return nil, err
		}
		items[i] = &waiting{entry: e}
	}
	return items, c.append(ctx, items...)
}

// Do enters acts, and does them. When that fails an entry more for each says so.
func (c *Chain) Do(ctx context.Context, o answer.Origin, do func() error, acts ...Act) error {
	entered, err := c.enter(ctx, o, acts)
	if err != nil {
		return err
	}
	if err = do(); err != nil {
		for _, w := range entered {
			failed := w.entry
			failed.Changes, failed.Failed, failed.At = []Change{}, w.n, c.o.Now()
			if err := c.append(ctx, &waiting{entry: failed}); err != nil {
				c.o.Log.Error("an act failed, and the audit does not say so", "entry", w.n, "error", err)
			}
		}
	}
	return err
}
