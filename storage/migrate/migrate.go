// Package migrate rewrites what stands in a store in an older format.
package migrate

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"plimsoll/storage"
)

// Step rewrites the values of one kind of partition that are older than format To. It may be run again on what it has rewritten,
// and then leaves it as it is. What it cannot read it leaves as it is too, like everybody who reads it.
type Step struct {
	To      int
	What    string // for the log
	Prefix  string // of the partitions
	Rewrite func(ctx context.Context, store *storage.Store, partition string) (changed bool, err error)
}

// Steps are the steps to the present format, in the order of their formats. A new field that is read as it is meant where it is
// missing needs none.
var Steps = []Step{
	{To: 2, What: "what is no Mac is known by its model", Prefix: storage.MacPartition(""), Rewrite: knowModel},
}

// parallel is how many partitions are rewritten at a time: Macs sync meanwhile.
const parallel = 4

// Run brings a store that has the present format's number to the present format, partition by partition, and notes in the format
// record how far it is; so whoever runs it after it was broken off goes on. It returns how many partitions it has changed, also
// with an error. It is for one replica at a time; nothing goes wrong when two run it.
func Run(ctx context.Context, store *storage.Store, log *slog.Logger) (changed int, err error) {
	return run(ctx, store, log, Steps)
}

func run(ctx context.Context, store *storage.Store, log *slog.Logger, steps []Step) (changed int, err error) {
	rec, err := store.FormatRecord(ctx)
	if err != nil || rec == nil || rec.Oldest >= storage.Format {
		return 0, err
	}
	log.Info("values of an older format are rewritten; Macs and API need not wait", "from", rec.Oldest, "to", storage.Format)
	for _, s := range steps {
		if s.To <= rec.Oldest {
			continue
		}
		n, err := s.all(ctx, store)
		changed += n
		if err != nil {
			return changed, fmt.Errorf("migrate to format %d (%s): %w", s.To, s.What, err)
		}
		log.Info("a step of the migration is done", "format", s.To, "what", s.What, "partitions_changed", n)
		if err := note(ctx, store, s.To); err != nil {
			return changed, err
		}
	}
	if err := note(ctx, store, storage.Format); err != nil {
		return changed, err
	}
	log.Info("the store is migrated", "format", storage.Format, "partitions_changed", changed)
	return changed, nil
}

// all takes the step in every partition. One that is written first meanwhile is of the present format.
func (s Step) all(ctx context.Context, store *storage.Store) (int, error) {
	var changed atomic.Int64
	err := store.DB().Partitions(ctx, func(names []string) error {
		g, ctx := errgroup.WithContext(ctx)
		g.SetLimit(parallel)
		for _, name := range names {
			if !strings.HasPrefix(name, s.Prefix) {
				continue
			}
			g.Go(func() error {
				did, err := s.Rewrite(ctx, store, name)
				if err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				if did {
					changed.Add(1)
				}
				return nil
			})
		}
		return g.Wait()
	})
	return int(changed.Load()), err
}

// note records that no value is older than a format any more.
func note(ctx context.Context, store *storage.Store, format int) error {
	err := store.UpdateFormat(ctx, func(rec *storage.FormatRecord) (*storage.FormatRecord, error) {
		if rec == nil || rec.Restoring != nil || rec.Oldest >= format {
			return nil, nil
		}
		noted := *rec
		noted.Oldest = format
		return &noted, nil
	})
	if err != nil {
		return fmt.Errorf("note how far the migration is: %w", err)
	}
	return nil
}

// knowModel lets a record say what the device is, where only its model was kept.
func knowModel(ctx context.Context, store *storage.Store, partition string) (changed bool, err error) {
	id := partition[len(storage.MacPartition("")):]
	err = store.UpdateMac(ctx, id, func(m *storage.MacTx) error {
		changed = false
		raw, err := m.Raw()
		if err != nil || raw == nil {
			return err
		}
		rec, err := storage.DecodeRecord(raw)
		if err != nil { // damaged: whoever looks at the Mac says so
			return nil
		}
		before := rec.Facts.Family
		if rec.Facts.TakeModel(); rec.Facts.Family == before {
			return nil
		}
		changed = true
		rec.Revision++
		_, err = m.SetRecord(rec)
		return err
	})
	return changed, err
}
