package fleet

import (
	"time"

	"plimsoll/server/fleet/guard"
	"plimsoll/server/fleet/lead"
)

// ErrOtherStore ends a replica: the store is not, or not any more, one that it can run on.
var ErrOtherStore = guard.ErrOtherStore

func (f *Fleet) newGuard() *guard.Guard {
	return guard.New(guard.Options{
		Store: f.store, Alone: f.o.Alone, Log: f.log, Lease: lead.Name, Renewals: 2 * lead.Renew, Migrated: f.lead.Reread,
	})
}

// StoreFormat is the number of the store's format.
func (f *Fleet) StoreFormat() int { return f.guard.Record().Format }

// Close tells the other replicas that this one has ended. It comes after Run, when no request is in flight any more.
func (f *Fleet) Close() { f.guard.Close() }

// notBefore is the earliest timestamp that is advertised on a store that was restored. Many changes within a second lead to
// timestamps ahead of the clock (rules 7), so it is a minute after the restore.
func (f *Fleet) notBefore() time.Time {
	if f.guard.Record().RestoredAt.IsZero() {
		return time.Time{}
	}
	return f.guard.Record().RestoredAt.Add(time.Minute).Truncate(time.Second)
}
