package inventory

import (
	"sync"

	"plimsoll/storage"
)

// Shards is up to where this replica knows the index shards. The zero value knows nothing; safe for concurrent use.
type Shards struct {
	mu sync.Mutex
	// last is the highest number seen of each shard, revisions the revision at which that was.
	last      [storage.Shards]uint64
	revisions [storage.Shards]uint64
}

// Seen is the highest number of a shard that this replica knows, and the revision of the shard at which that was.
func (s *Shards) Seen(shard int) (last, revision uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last[shard], s.revisions[shard]
}

// SetSeen notes up to where a shard was read. The number only grows, unless the database lost its newest writes.
func (s *Shards) SetSeen(shard int, last, revision uint64, lost bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if lost || last > s.last[shard] {
		s.last[shard] = last
	}
	s.revisions[shard] = revision
}

// Wrote notes that this replica itself wrote the numbers of a shard above before, up to after: it need not read them back.
func (s *Shards) Wrote(shard int, before, after uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last[shard] == before {
		s.last[shard] = after
	}
}
