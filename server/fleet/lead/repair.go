package lead

import (
	"context"
	"fmt"
	"slices"
	"time"

	"plimsoll/storage"
)

// aWhile is longer than the shards are ever behind a Mac whose replica lives.
const aWhile = time.Minute

// Reread reads every record again, and lets the sweep look at every Mac: a replica that died may have left the others behind.
func (l *Leader) Reread(ctx context.Context) error {
	members := map[string]bool{}
	for n := range storage.Shards {
		if err := l.repair(ctx, n, false, members); err != nil {
			return fmt.Errorf("read index shard %d again: %w", n, err)
		}
	}
	if err := l.dropUnknown(ctx, members); err != nil {
		return err
	}
	l.LookAtAll()
	return nil
}

// repair compares a shard with the Macs themselves, and adds its Macs to members. The leader brings what the fleet's
// timeline lacks there: a replica that died had not done so yet. With clean, entries of Macs that are known no more go.
func (l *Leader) repair(ctx context.Context, shard int, clean bool, members map[string]bool) error {
	sh, err := l.o.Store.Members(ctx, shard)
	if err != nil {
		return err
	}
	records, err := l.o.Store.Records(ctx, sh.IDs)
	if err != nil && records == nil {
		return err
	}
	gone := map[string]storage.Member{}
	for i, rec := range records {
		id := sh.IDs[i]
		members[id] = true
		if rec == nil {
			l.o.Index.Remove(id)
			gone[id] = sh.Members[i]
			continue
		}
		if err := l.o.Index.Take(rec); err != nil {
			return err
		}
		if rec.Events > sh.Members[i].Events && (clean || l.leading.Load()) && l.o.Now().Sub(rec.NotedAt) > aWhile {
			if err := l.o.Publish(ctx, id, sh.Members[i].Events); err != nil {
				return err
			}
		}
	}
	if len(gone) == 0 || err != nil || !clean {
		return err
	}
	return l.o.Store.DropFromIndex(ctx, shard, gone)
}

// dropUnknown forgets the Macs that no shard has, if they really are no more.
func (l *Leader) dropUnknown(ctx context.Context, members map[string]bool) error {
	unknown := slices.DeleteFunc(l.o.Index.IDs(), func(id string) bool { return members[id] })
	records, err := l.o.Store.Records(ctx, unknown)
	if err != nil && records == nil {
		return err
	}
	for i, rec := range records {
		if rec == nil {
			l.o.Index.Remove(unknown[i])
			l.o.Contacts.Forget(unknown[i])
		}
	}
	return err
}
