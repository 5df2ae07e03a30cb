package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"plimsoll/storage"
)

const (
	repairEvery = time.Minute // how often the leader looks for notes of replicas that died
	tellEvery   = 500 * time.Millisecond
	// keepNotes is how long a note stands beside its change after it is chained. A backup reads the chain before the book: what it
	// finds changed there has its entry in one of the two.
	keepNotes  = time.Hour
	spentEvery = 10 * time.Minute
)

// spent are notes that may go.
type spent struct {
	at  time.Time // when that was looked for
	ids []string
}

// spentNotes are those of each partition.
type spentNotes struct {
	mu sync.Mutex
	by map[string]spent
}

// of are the notes of a partition that may go, looked for again every spentEvery.
func (s *spentNotes) of(partition string, look func() []string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.by[partition]
	if time.Since(known.at) >= spentEvery {
		known = spent{time.Now(), look()}
		s.by[partition] = known
	}
	return known.ids
}

// spentOf are notes of a partition that have stood in the chain for long. Not knowing them costs some room.
func (c *Chain) spentOf(ctx context.Context, partition string) []string {
	return c.spent.of(partition, func() (ids []string) {
		notes, err := c.o.Store.Notes(ctx, partition)
		if err != nil || len(notes) == 0 {
			return nil
		}
		chained, err := c.o.Store.ChainedNotes(ctx)
		if err != nil {
			return nil
		}
		for _, n := range notes {
			if _, there := slices.BinarySearch(chained, n.ID); there && older(n.ID, keepNotes) {
				ids = append(ids, n.ID)
			}
		}
		return ids
	})
}

// older tells whether an id was made longer ago than that.
func older(id string, age time.Duration) bool {
	u, err := uuid.Parse(id)
	if err != nil {
		return true
	}
	sec, nsec := u.Time().UnixTime()
	return time.Since(time.Unix(sec, nsec)) > age
}

// Collect moves into the chain what a replica left that died between a change and its answer.
func (c *Chain) Collect(ctx context.Context) error {
	for _, partition := range Partitions {
		notes, err := c.o.Store.Notes(ctx, partition)
		if err != nil {
			return fmt.Errorf("read the audit's notes in %s: %w", partition, err)
		}
		var items []*waiting
		for _, n := range notes {
			w := &waiting{id: n.ID}
			if err := json.Unmarshal(n.Entry, &w.entry); err != nil {
				return fmt.Errorf("decode the note %s in %s: %w", n.ID, partition, err)
			}
			items = append(items, w)
		}
		for part := range slices.Chunk(items, 500) {
			if err := c.append(ctx, part...); err != nil {
				return err
			}
		}
	}
	return nil
}

// Tell brings into the timelines what the chain has and they have not.
func (c *Chain) Tell(ctx context.Context) error {
	told, err := c.o.Store.Told(ctx)
	if err != nil {
		return fmt.Errorf("read how far the audit was told: %w", err)
	}
	for {
		entries, err := c.After(ctx, told, 100)
		if err != nil || len(entries) == 0 {
			return err
		}
		if err := c.o.Tell(ctx, entries); err != nil {
			return fmt.Errorf("tell of the audit: %w", err)
		}
		told = entries[len(entries)-1].N
	}
}

// Run does what the leader does for the audit, until ctx ends: it collects every minute, and tells what is new.
func (c *Chain) Run(ctx context.Context) {
	repair, look := time.NewTicker(repairEvery), time.NewTicker(tellEvery)
	defer repair.Stop()
	defer look.Stop()
	work := func(what string, do func(context.Context) error) bool {
		err := do(ctx)
		if err != nil && ctx.Err() == nil {
			c.o.Log.Warn("the audit could not be looked after; trying again", "what", what, "error", err)
		}
		return err == nil
	}
	work("collect", c.Collect)
	var seen uint64
	for {
		select {
		case <-ctx.Done():
			return
		case <-repair.C:
			work("collect", c.Collect)
		case <-c.woken:
		case <-look.C:
		}
		revs, err := c.o.Store.Revisions(ctx, storage.AuditPartition)
		if err != nil || revs[0] == seen {
			continue
		}
		if work("tell", c.Tell) {
			if revs, err = c.o.Store.Revisions(ctx, storage.AuditPartition); err == nil {
				seen = revs[0]
			}
		}
	}
}

// Trim deletes the entries from before a time, the last one aside, and what is remembered of notes that are gone.
func (c *Chain) Trim(ctx context.Context, before time.Time) error {
	for more := !before.IsZero(); more; {
		if err := c.o.Store.UpdateAudit(ctx, func(t *storage.AuditTx) error {
			more = false
			const page = 500
			raw, err := t.Oldest(page)
			if err != nil {
				return err
			}
			entries, err := decode(raw)
			if err != nil {
				return err
			}
			for i := 0; i+1 < len(entries) && entries[i].At.Before(before); i++ {
				next := entries[i+1]
				if err := t.Trim(entries[i].Object, storage.AuditFirst{N: next.N, Previous: next.Previous}); err != nil {
					return err
				}
				more = i+2 == page
			}
			return nil
		}); err != nil {
			return fmt.Errorf("delete old entries of the audit: %w", err)
		}
	}
	return c.forgetNotes(ctx)
}

func (c *Chain) forgetNotes(ctx context.Context) error {
	chained, err := c.o.Store.ChainedNotes(ctx)
	if err != nil {
		return fmt.Errorf("read the chained notes: %w", err)
	}
	kept := map[string]bool{}
	for _, partition := range Partitions {
		notes, err := c.o.Store.Notes(ctx, partition)
		if err != nil {
			return fmt.Errorf("read the audit's notes in %s: %w", partition, err)
		}
		for _, n := range notes {
			kept[n.ID] = true
		}
	}
	gone := slices.DeleteFunc(chained, func(id string) bool { return kept[id] || !older(id, 2*keepNotes) })
	if len(gone) == 0 {
		return nil
	}
	return c.o.Store.UpdateAudit(ctx, func(t *storage.AuditTx) error { t.ForgetChained(gone); return nil })
}
