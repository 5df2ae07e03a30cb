package companion

import (
	"context"
	"fmt"
	"slices"

	"plimsoll/server/fleet"
	"plimsoll/storage/beside"
)

// CommandLog shows the commands of ours that a Mac has not answered. What others queue for it, and what it answered, only the
// other server knows.
type CommandLog struct{ Notifier *Notifier }

var _ fleet.CommandLog = CommandLog{}

// Commands lists at most limit commands, the last queued first.
func (l CommandLog) Commands(ctx context.Context, id, after string, limit int) ([]fleet.Command, string, error) {
	kept, err := l.Notifier.commands(ctx, id)
	if err != nil {
		return nil, "", err
	}
	slices.Reverse(kept)
	if i := slices.IndexFunc(kept, func(c beside.Command) bool { return c.UUID == after }); after != "" {
		kept = kept[i+1:]
	}
	next := ""
	if len(kept) > limit {
		kept = kept[:limit]
		next = kept[limit-1].UUID
	}
	list := make([]fleet.Command, len(kept))
	for i := range kept {
		list[i] = commandOf(&kept[i])
	}
	return list, next, nil
}

func commandOf(c *beside.Command) fleet.Command {
	return fleet.Command{
		UUID: c.UUID, RequestType: c.RequestType, QueuedAt: c.At.UTC(), Status: "Queued", Errors: []fleet.ChainError{},
	}
}

// Command finds one by its UUID. Its answer is never kept.
func (l CommandLog) Command(ctx context.Context, id, uuid string) (fleet.CommandAnswer, error) {
	c, found, err := l.Notifier.awaited(ctx, id, uuid)
	if err == nil && !found {
		err = fmt.Errorf("no command of ours %q waits for %s: %w", uuid, id, fleet.ErrNotFound)
	}
	if err != nil {
		return fleet.CommandAnswer{}, err
	}
	return fleet.CommandAnswer{Command: commandOf(&c), Answer: []byte("null"), LeftOut: []string{}}, nil
}
