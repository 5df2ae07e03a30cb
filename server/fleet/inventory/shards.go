package inventory

// Seen is the highest number of a shard that this replica knows, and the revision of the shard at which that was.
func (x *Index) Seen(shard int) (last, revision uint64) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.last[shard], x.revisions[shard]
}

// SetSeen notes up to where a shard was read. The number only grows, unless the database lost its newest writes.
func (x *Index) SetSeen(shard int, last, revision uint64, lost bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if lost || last > x.last[shard] {
		x.last[shard] = last
	}
	x.revisions[shard] = revision
}

// Wrote notes that this replica itself wrote the numbers of a shard above before, up to after: it need not read them back.
func (x *Index) Wrote(shard int, before, after uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.last[shard] == before {
		x.last[shard] = after
	}
}
