// Package redis is the database for several replicas: Redis on one node, behind Sentinel, or as a Cluster.
package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"plimsoll/storage"
)

// For operators. A partition is two keys of Redis, in one hash slot by their tag:
//
//	plimsoll:{mac/8A3E…}     a hash: "rev", the revision; "nonces", those of the last commits, newest first, 12 characters each;
//	                         ":KEY" for each key, its value behind "=" as it is, or behind "^" or "~" and its length compressed
//	plimsoll:{mac/8A3E…}:k   a sorted set of the keys, all with score 0, so that they can be listed in their order
//
// In the tag, "%" is written as "%25" and "}" as "%7D"; the partition without a name is "%". Beside the partitions
// there is plimsoll:ping, which Ping writes. Redis must not evict any of them (maxmemory-policy noeviction).
const (
	keyPrefix     = "plimsoll:"
	pingKey       = keyPrefix + "ping"
	fieldRevision = "rev"
	fieldNonces   = "nonces"
	fieldValue    = ":" // and the key
)

// chunk bounds a pipeline, and with it what one answer of Redis holds up.
const chunk = 1000

// DB is a storage.DB in Redis.
type DB struct {
	client redis.UniversalClient
	wait   int // replicas that must have a write
	whole  int // snapshotAfter; tests make it 0
	closed atomic.Bool
	close  func() error
}

var _ storage.DB = (*DB)(nil)

// Open connects to a store URL (redis://, rediss://, redis+sentinel://, redis+cluster://) and asks whether it takes writes.
// It waits out a failover, at most storage.Timeout. A bad URL wraps storage.ErrInvalid, a database that does not answer or
// takes no writes storage.ErrUnavailable.
func Open(ctx context.Context, url string) (*DB, error) {
	t, err := parse(url)
	if err != nil {
		return nil, err
	}
	db := &DB{client: t.connect(), wait: t.wait, whole: snapshotAfter}
	db.close = sync.OnceValue(func() error {
		db.closed.Store(true)
		if err := db.client.Close(); err != nil {
			return fmt.Errorf("close Redis: %w", err)
		}
		return nil
	})
	if err := db.settle(ctx); err != nil {
		return nil, errors.Join(t.otherTLS(ctx, err), db.Close())
	}
	return db, nil
}

// settle pings until Redis takes writes. It gives up at once when nobody answers, or nothing that passes by itself.
func (db *DB) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, storage.Timeout)
	defer cancel()
	var last error
	for attempt := 0; ; attempt++ {
		err := db.Ping(ctx)
		if err == nil {
			return nil
		}
		last = telling(err, last)
		passing := errors.Is(err, errNotPrimary) || isReply(err) && !final(err)
		if !passing || !pause(ctx, attempt) {
			return last
		}
	}
}

// Close closes the connections; what is in flight ends with storage.ErrUnavailable. It may be called again.
func (db *DB) Close() error { return db.close() }

// keys are the two keys of a partition.
type keys struct{ hash, list string }

var tagEscaper = strings.NewReplacer("%", "%25", "}", "%7D")

func keysOf(partition string) keys {
	tag := tagEscaper.Replace(partition)
	if tag == "" { // Redis takes an empty tag for none
		tag = "%"
	}
	hash := keyPrefix + "{" + tag + "}"
	return keys{hash: hash, list: hash + ":k"}
}

// View runs fn. Its first read fixes the revision; when a later read sees another, fn runs again.
func (db *DB) View(ctx context.Context, partition string, fn func(storage.Reader) error) error {
	ctx, cancel := context.WithTimeout(ctx, storage.Timeout)
	defer cancel()
	_, err := db.run(ctx, partition, 0, func(t *tx) error { return fn(t) })
	return err
}

// Update runs fn and commits what it wrote, again and again until nobody came in between or the time is over. What fn found
// must have the replicas that a commit needs, also when fn wrote nothing or failed: a caller who is told "done already" relies
// on it.
func (db *DB) Update(ctx context.Context, partition string, fn func(storage.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, storage.Timeout)
	defer cancel()
	for attempt := 0; ; attempt++ {
		t, err := db.run(ctx, partition, attempt, func(t *tx) error {
			if err := fn(t); err != nil {
				return err
			}
			return t.staged.Err()
		})
		if t == nil {
			return err
		}
		staged := &t.staged
		if err != nil {
			staged = new(storage.Staged)
		}
		if staged.Len() == 0 && !db.mustWait(t, err) {
			return err
		}
		if _, err := t.Revision(); err != nil {
			return err
		}
		if done, commitErr := db.commit(ctx, partition, t.at, staged); commitErr != nil {
			return commitErr
		} else if done {
			return err
		}
		if !pause(ctx, attempt) {
			return unavailable("commit to "+partition+": others committed first, to the last", ctx.Err())
		}
	}
}

// mustWait tells whether replicas may lack what a function found that wrote nothing or returned err. Who is told that the
// database is unavailable has been told of nothing that was found.
func (db *DB) mustWait(t *tx, err error) bool {
	return db.wait > 0 && t.at.revision > 0 && !errors.Is(err, storage.ErrUnavailable)
}

// run runs fn until all its reads saw one revision. It returns no tx when it gives up. attempt counts how often it has run in
// vain already.
func (db *DB) run(ctx context.Context, partition string, attempt int, fn func(*tx) error) (*tx, error) {
	for ; ; attempt++ {
		if err := db.usable(ctx); err != nil {
			return nil, err
		}
		t := &tx{ctx: ctx, db: db, partition: partition, keys: keysOf(partition), whole: attempt >= db.whole}
		err := fn(t)
		if !t.moved {
			return t, err
		}
		if !pause(ctx, attempt) {
			return nil, unavailable("read "+partition+": it changed while it was read, to the last", ctx.Err())
		}
	}
}

// Drop deletes the partition; its revision stays, and grows.
func (db *DB) Drop(ctx context.Context, partition string) error {
	ctx, cancel := context.WithTimeout(ctx, storage.Timeout)
	defer cancel()
	for attempt := 0; ; attempt++ {
		t, err := db.run(ctx, partition, 0, func(t *tx) error { _, err := t.Revision(); return err })
		if err != nil {
			return err
		}
		if done, err := db.commit(ctx, partition, t.at, nil); done || err != nil {
			return err
		}
		if !pause(ctx, attempt) {
			return unavailable("drop "+partition+": others committed first, to the last", ctx.Err())
		}
	}
}

// Revisions reads them in pipelines.
func (db *DB) Revisions(ctx context.Context, partitions ...string) ([]uint64, error) {
	revs := make([]uint64, len(partitions))
	err := db.collect(ctx, partitions, fieldRevision, func(i int, val string) (err error) {
		revs[i], err = strconv.ParseUint(val, 10, 64)
		return err
	})
	if err != nil {
		return nil, err
	}
	return revs, nil
}

// Collect reads one key of many partitions in pipelines; every value is of its own moment.
func (db *DB) Collect(ctx context.Context, partitions []string, key string) ([][]byte, error) {
	vals := make([][]byte, len(partitions))
	err := db.collect(ctx, partitions, fieldValue+key, func(i int, val string) (err error) {
		vals[i], err = storage.Unpack([]byte(val))
		return err
	})
	if err != nil {
		return nil, err
	}
	return vals, nil
}

// collect reads one field of every partition's hash, and calls found for those that have it.
func (db *DB) collect(ctx context.Context, partitions []string, field string, found func(i int, val string) error) error {
	ctx, cancel := context.WithTimeout(ctx, storage.Timeout)
	defer cancel()
	if err := db.usable(ctx); err != nil {
		return err
	}
	for from := 0; from < len(partitions); from += chunk {
		part := partitions[from:min(from+chunk, len(partitions))]
		cmds := make([]*redis.StringCmd, len(part))
		err := db.retry(ctx, "read from Redis", func(ctx context.Context) error {
			_, err := db.client.Pipelined(ctx, func(p redis.Pipeliner) error {
				for i, partition := range part {
					cmds[i] = p.HGet(ctx, keysOf(partition).hash, field)
				}
				return nil
			})
			for _, cmd := range cmds {
				if cmd.Err() != nil && cmd.Err() != redis.Nil {
					return cmd.Err()
				}
			}
			if err == redis.Nil {
				return nil
			}
			return err
		})
		if err != nil {
			return err
		}
		for i, cmd := range cmds {
			if cmd.Err() == redis.Nil {
				continue
			}
			if err := found(from+i, cmd.Val()); err != nil {
				return fmt.Errorf("partition %q: field %q: %w", part[i], field, err)
			}
		}
	}
	return nil
}

// Ping writes one key as a commit would be written, and of a Cluster asks every other node that takes writes whether it
// is there. It does not retry: the next Ping will.
func (db *DB) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, storage.Timeout)
	defer cancel()
	if err := db.usable(ctx); err != nil {
		return err
	}
	if cluster, ok := db.client.(*redis.ClusterClient); ok {
		if err := cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error {
			return c.Ping(ctx).Err()
		}); err != nil {
			return unavailable("reach every node of the Redis Cluster", err)
		}
	}
	node, err := db.node(ctx, pingKey)
	if err != nil {
		return unavailable("reach Redis", err)
	}
	var acked *redis.IntCmd
	if _, err := node.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.Set(ctx, pingKey, 1, 0)
		if db.wait > 0 {
			acked = waitFor(ctx, p, db.wait)
		}
		return nil
	}); err != nil {
		db.reload(ctx)
		return unavailable("write to Redis", err)
	}
	if acked != nil && acked.Val() < int64(db.wait) {
		return tooFewReplicas(acked.Val(), db.wait)
	}
	return nil
}
