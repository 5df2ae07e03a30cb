package fleet

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"plimsoll/storage"
	"plimsoll/storage/storagetest"
)

// One shard that cannot be read ends the reading of all at once, with the store's own error.
func TestEventsWhileAShardIsDown(t *testing.T) {
	w := newWorld(t)
	db := storagetest.Faulty(w.db)
	f, err := New(Options{Store: storage.New(db), Teller: w.teller, Log: slog.New(slog.DiscardHandler), Now: w.now, Alone: true})
	w.must(err)
	w.must(f.Start(t.Context()))
	db.Set(storagetest.Fault{Down: true, Partition: storage.ShardPartition(3)})
	if _, err := f.Events(t.Context(), "", 10); !errors.Is(err, ErrUnavailable) || errors.Is(err, context.Canceled) {
		t.Errorf("events with a shard down: %v", err)
	}
	db.Set(storagetest.Fault{})
	if _, err := f.Events(t.Context(), "", 10); err != nil {
		t.Errorf("events with all shards up: %v", err)
	}
}
