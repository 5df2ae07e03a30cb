package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"plimsoll/storage"
)

// Partitions scans every node that takes writes. A scan that another process ends than the one that began it, as after a
// failover, may have missed names: it is an error.
func (db *DB) Partitions(ctx context.Context, fn func(names []string) error) error {
	nodes, err := db.primaries(ctx)
	if err != nil {
		return err
	}
	for _, node := range nodes {
		before, err := db.runID(ctx, node)
		if err != nil {
			return err
		}
		if err := db.scan(ctx, node, fn); err != nil {
			return err
		}
		after, err := db.runID(ctx, node)
		if err != nil {
			return err
		}
		if before != after {
			return unavailable("list the partitions", errors.New("there was a failover meanwhile"))
		}
	}
	return nil
}

// primaries are the nodes that take writes.
func (db *DB) primaries(ctx context.Context) ([]*redis.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, storage.Timeout)
	defer cancel()
	if err := db.usable(ctx); err != nil {
		return nil, err
	}
	cluster, ok := db.client.(*redis.ClusterClient)
	if !ok {
		node, err := db.node(ctx, pingKey)
		return []*redis.Client{node}, err
	}
	var mu sync.Mutex
	var nodes []*redis.Client
	cluster.ReloadState(ctx)
	if err := cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		nodes = append(nodes, c)
		return c.Ping(ctx).Err()
	}); err != nil {
		return nil, unavailable("reach every node of the Redis Cluster", err)
	}
	return nodes, nil
}

// runID names the process that answers.
func (db *DB) runID(ctx context.Context, node *redis.Client) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, storage.Timeout)
	defer cancel()
	var info string
	err := db.retry(ctx, "list the partitions", func(ctx context.Context) (err error) {
		info, err = node.Info(ctx, "server").Result()
		return err
	})
	_, id, _ := strings.Cut(info, "run_id:")
	id, _, _ = strings.Cut(id, "\r\n")
	return id, err
}

// scan lists the partitions of one node.
func (db *DB) scan(ctx context.Context, node *redis.Client, fn func(names []string) error) error {
	for cursor := uint64(0); ; {
		found, next, err := db.scanPage(ctx, node, cursor)
		if err != nil {
			return err
		}
		names := found[:0]
		for _, key := range found {
			if name, ok := partitionOf(key); ok {
				names = append(names, name)
			}
		}
		if len(names) > 0 {
			if err := fn(names); err != nil {
				return err
			}
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}

func (db *DB) scanPage(ctx context.Context, node *redis.Client, cursor uint64) (found []string, next uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, storage.Timeout)
	defer cancel()
	err = db.retry(ctx, "list the partitions", func(ctx context.Context) (err error) {
		found, next, err = node.Scan(ctx, cursor, keyPrefix+"{*", chunk).Result()
		return err
	})
	return found, next, err
}

var tagUnescaper = strings.NewReplacer("%25", "%", "%7D", "}")

// partitionOf is the partition whose hash is under a key of Redis; false for the list of its keys, and what is not ours.
func partitionOf(key string) (string, bool) {
	tag, ours := strings.CutPrefix(key, keyPrefix+"{")
	tag, closed := strings.CutSuffix(tag, "}")
	if !ours || !closed || strings.Contains(tag, "}") {
		return "", false
	}
	if tag == "%" {
		return "", true
	}
	return tagUnescaper.Replace(tag), true
}

// Load runs loadScript until it is answered: what it has done once it may do again.
func (db *DB) Load(ctx context.Context, partition string, revision uint64, entries []storage.Entry) error {
	ctx, cancel := context.WithTimeout(ctx, storage.Timeout)
	defer cancel()
	if err := db.usable(ctx); err != nil {
		return err
	}
	if revision == 0 {
		return fmt.Errorf("%w: partition %q cannot be loaded at revision 0", storage.ErrInvalid, partition)
	}
	var staged storage.Staged
	for _, e := range entries {
		staged.Set(e.Key, e.Value)
	}
	if err := staged.Err(); err != nil {
		return err
	}
	args := []any{strconv.FormatUint(revision, 10), newNonce()}
	staged.Each(func(key string, val []byte) { args = append(args, key, storage.Pack(val)) })
	k := keysOf(partition)
	return db.retry(ctx, "load "+partition, func(ctx context.Context) error {
		node, err := db.node(ctx, k.hash)
		if err != nil {
			return err
		}
		var answer *redis.Cmd
		var acked *redis.IntCmd
		if _, err := node.Pipelined(ctx, func(p redis.Pipeliner) error {
			answer = loadScript.Eval(ctx, p, []string{k.hash, k.list}, args...)
			if db.wait > 0 {
				acked = waitFor(ctx, p, db.wait)
			}
			return nil
		}); err != nil {
			return err
		}
		if answer.Err() == nil && acked != nil && acked.Val() < int64(db.wait) {
			return tooFewReplicas(acked.Val(), db.wait)
		}
		return answer.Err()
	})
}
