package companion

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"plimsoll/storage"
	"plimsoll/storage/beside"
)

// todo are the Macs for which a command is to be given to the other server.
type todo struct {
	mu   sync.Mutex
	ids  map[string]bool
	wake chan struct{}
}

func (t *todo) init() { t.ids, t.wake = map[string]bool{}, make(chan struct{}, 1) }

func (t *todo) add(ids ...string) {
	t.mu.Lock()
	for _, id := range ids {
		t.ids[id] = true
	}
	t.mu.Unlock()
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

func (t *todo) take(n int) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var ids []string
	for id := range t.ids {
		if len(ids) == n {
			break
		}
		ids = append(ids, id)
		delete(t.ids, id)
	}
	return ids
}

// Queued is told that a command was queued for a Mac and is kept: Run gives it to the other server.
func (n *Notifier) Queued(id string) { n.todo.add(id) }

// Resume finds, among the Macs, those with commands that a process kept and did not give.
func (n *Notifier) Resume(ctx context.Context, ids []string) error {
	const page = 500
	for len(ids) > 0 {
		some := ids[:min(page, len(ids))]
		ids = ids[len(some):]
		partitions := make([]string, len(some))
		for i, id := range some {
			partitions[i] = storage.MacPartition(id)
		}
		vals, err := n.db.Collect(ctx, partitions, beside.KeyCommands)
		if err != nil {
			return fmt.Errorf("look for commands that the MDM server does not have: %w", err)
		}
		n.todo.add(beside.Unsent(vals, some)...)
	}
	return nil
}

const (
	firstPause = time.Second
	lastPause  = time.Minute
	batch      = 256
)

// Run gives the other server what is queued, until ctx ends. What it does not take is given again, after a pause that grows.
func (n *Notifier) Run(ctx context.Context) {
	pause := firstPause
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.todo.wake:
		}
		if n.GiveAll(ctx) == 0 {
			pause = firstPause
			continue
		}
		again := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			again.Stop()
			return
		case <-again.C:
			n.todo.add()
		}
		pause = min(2*pause, lastPause)
	}
}

// GiveAll gives the other server what is queued now, and returns for how many Macs that failed; they are kept for the next time.
func (n *Notifier) GiveAll(ctx context.Context) (failed int) {
	var again []string
	var why error
	for ids := n.todo.take(batch); len(ids) > 0; ids = n.todo.take(batch) {
		var mu sync.Mutex
		var g errgroup.Group
		g.SetLimit(atOnce)
		for _, id := range ids {
			g.Go(func() error {
				if err := n.give(ctx, id); err != nil {
					mu.Lock()
					defer mu.Unlock()
					again, why = append(again, id), err
				}
				return nil
			})
		}
		_ = g.Wait() // failures are given again
	}
	if len(again) > 0 {
		if ctx.Err() == nil {
			n.log.Warn("commands could not be given to the MDM server; trying again", "macs", len(again), "error", why)
		}
		n.todo.mu.Lock()
		for _, id := range again {
			n.todo.ids[id] = true
		}
		n.todo.mu.Unlock()
	}
	return len(again)
}
