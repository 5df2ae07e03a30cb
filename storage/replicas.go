package storage

import (
	"context"
	"encoding/json"
	"fmt"
)

// Replica is what a running replica says of itself.
type Replica struct {
	Format int    `json:"format"` // in which it writes the store
	Beats  uint64 `json:"beats"`  // it lives as long as they grow
}

// Beat notes that the replica of that id lives and writes the given format, forgets those that are gone, and returns the others.
func (s *Store) Beat(ctx context.Context, id string, format int, gone []string) (others map[string]Replica, err error) {
	err = s.db.Update(ctx, ReplicasPartition, func(tx Tx) error {
		others = map[string]Replica{}
		for _, g := range gone {
			tx.Delete(replicaKey(g))
		}
		if err := each(tx, prefixReplica, func(e Entry) error {
			var r Replica
			if err := json.Unmarshal(e.Value, &r); err != nil {
				return fmt.Errorf("decode %s: %w", e.Key, err)
			}
			others[e.Key[len(prefixReplica):]] = r
			return nil
		}); err != nil {
			return err
		}
		own := Replica{Format: format, Beats: others[id].Beats + 1}
		delete(others, id)
		return setJSON(tx, replicaKey(id), own)
	})
	return others, err
}

// Leave notes that the replica of that id has ended.
func (s *Store) Leave(ctx context.Context, id string) error {
	return s.db.Update(ctx, ReplicasPartition, func(tx Tx) error {
		tx.Delete(replicaKey(id))
		return nil
	})
}
