package redis

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"plimsoll/storage"
)

// commit commits the staged writes, or drops the partition when staged is nil, if it is still as base says. Without a write
// it changes nothing, and what is there has the replicas that a commit needs.
// It returns false when the partition is another, and repeats the same nonce for as long as nobody answers.
func (db *DB) commit(ctx context.Context, partition string, base stamp, staged *storage.Staged) (bool, error) {
	k, args := keysOf(partition), commitArgs(base, staged)
	writes := staged == nil || staged.Len() > 0
	doubt := false // whether an attempt that was not answered may have been executed
	var last error
	for attempt := 0; ; attempt++ {
		done, revision, err := db.try(ctx, k, args)
		last = telling(err, last)
		switch {
		case err == nil && done:
			return true, nil
		case err == nil:
			if doubt && revision > base.revision+keepNonces {
				return false, unavailable(
					"commit to "+partition,
					errors.New("the answer was lost, and too much has happened since to tell whether it was committed"),
				)
			}
			return false, nil
		case final(err):
			return false, unavailable("commit to "+partition, err)
		}
		doubt = doubt || writes && !isReply(err)
		db.reload(ctx)
		if !pause(ctx, attempt) {
			return false, unavailable("commit to "+partition, last)
		}
	}
}

func commitArgs(base stamp, staged *storage.Staged) []any {
	const how, deletes, head = 4, 5, 6
	args := []any{strconv.FormatUint(base.revision, 10), base.nonce, newNonce(), nonceLen * keepNonces, "", 0}
	switch {
	case staged == nil:
		args[how] = "drop"
		return args
	case staged.Len() == 0:
		args[how] = "check"
		return args
	}
	var sets []any
	staged.Each(func(key string, val []byte) {
		if val == nil {
			args = append(args, key)
		} else {
			sets = append(sets, key, storage.Pack(val))
		}
	})
	args[deletes] = len(args) - head
	return append(args, sets...)
}

func newNonce() string {
	var b [nonceLen / 4 * 3]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// try sends the commit once, to the node that owns the partition, and returns whether it is done and the revision then.
// A command that a node refuses with where to go instead has not been executed.
func (db *DB) try(ctx context.Context, k keys, args []any) (done bool, revision uint64, err error) {
	if err := db.usable(ctx); err != nil {
		return false, 0, err
	}
	node, err := db.node(ctx, k.hash)
	if err != nil {
		return false, 0, err
	}
	call := call{k: k, args: args, wait: db.wait}
	done, revision, err = call.send(ctx, node)
	if addr, ok := redis.IsAskError(err); ok { // the slot is moving, and new keys are there already
		if node = db.nodeAt(ctx, addr); node != nil {
			call.asking = true
			done, revision, err = call.send(ctx, node)
		}
	}
	return done, revision, err
}

// call is one commit as it is sent: in a pipeline, because WAIT speaks of its own connection's writes.
type call struct {
	k            keys
	args         []any
	wait         int
	asking, full bool
}

func (c call) send(ctx context.Context, node *redis.Client) (bool, uint64, error) {
	var answer *redis.Cmd
	var acked *redis.IntCmd
	_, err := node.Pipelined(ctx, func(p redis.Pipeliner) error {
		if c.asking {
			p.Do(ctx, "ASKING")
		}
		if c.full {
			answer = commitScript.Eval(ctx, p, []string{c.k.hash, c.k.list}, c.args...)
		} else {
			answer = commitScript.EvalSha(ctx, p, []string{c.k.hash, c.k.list}, c.args...)
		}
		if c.wait > 0 {
			acked = waitFor(ctx, p, c.wait)
		}
		return nil
	})
	if redis.HasErrorPrefix(answer.Err(), "NOSCRIPT") && !c.full {
		c.full = true
		return c.send(ctx, node)
	}
	if answer.Err() != nil {
		return false, 0, answer.Err()
	}
	got, parseErr := answer.Slice()
	if parseErr != nil || len(got) != 2 {
		return false, 0, fmt.Errorf("%w: %v", errAnswer, answer.Val())
	}
	done, revisionText := got[0] == int64(1), fmt.Sprint(got[1])
	revision, parseErr := strconv.ParseUint(revisionText, 10, 64)
	if parseErr != nil {
		return false, 0, fmt.Errorf("%w: %v", errAnswer, got)
	}
	if done && err != nil { // executed, so that no refusal of the WAIT may pass for a refusal of the commit
		return false, 0, fmt.Errorf("%w: %v", errWait, err)
	}
	if done && acked != nil && acked.Val() < int64(c.wait) {
		return false, 0, tooFewReplicas(acked.Val(), c.wait)
	}
	return done, revision, nil
}

// node returns the client of the node that takes the writes of key.
func (db *DB) node(ctx context.Context, key string) (*redis.Client, error) {
	switch c := db.client.(type) {
	case *redis.ClusterClient:
		return c.MasterForKey(ctx, key)
	case *redis.Client:
		return c, nil
	}
	return nil, fmt.Errorf("no writes through a %T", db.client)
}

func (db *DB) nodeAt(ctx context.Context, addr string) *redis.Client {
	cluster, ok := db.client.(*redis.ClusterClient)
	if !ok {
		return nil
	}
	var mu sync.Mutex
	var found *redis.Client
	_ = cluster.ForEachMaster(ctx, func(_ context.Context, c *redis.Client) error { // not found says it all
		mu.Lock()
		defer mu.Unlock()
		if c.Options().Addr == addr {
			found = c
		}
		return nil
	})
	return found
}

// reload makes a Cluster's client look again at which node owns what.
func (db *DB) reload(ctx context.Context) {
	if cluster, ok := db.client.(*redis.ClusterClient); ok {
		cluster.ReloadState(ctx)
	}
}

// retry runs a read until Redis answers it.
func (db *DB) retry(ctx context.Context, what string, read func(context.Context) error) error {
	var last error
	for attempt := 0; ; attempt++ {
		err := db.usable(ctx)
		if err == nil {
			err = read(ctx)
		}
		if err == nil {
			return nil
		}
		last = telling(err, last)
		if final(err) || !pause(ctx, attempt) {
			return unavailable(what, last)
		}
		db.reload(ctx)
	}
}

// telling returns the error that tells an operator more: that the time was over says nothing of what took it.
func telling(err, before error) error {
	if before != nil && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)) {
		return before
	}
	return err
}

var (
	errAnswer     = errors.New("the commit script answered what it cannot answer")
	errWait       = errors.New("wait for replicas")
	errReplicas   = errors.New("too few replicas have it")
	errClosed     = errors.New("closed")
	errNotPrimary = errors.New("the sentinels name a node that is a replica")
)

// final tells whether repeating will not help: Redis has answered, and not about a state that passes by itself.
func final(err error) bool {
	if errors.Is(err, redis.ErrClosed) || errors.Is(err, errAnswer) || errors.Is(err, errReplicas) || errors.Is(err, errClosed) {
		return true
	}
	if !isReply(err) {
		return false
	}
	if _, moved := redis.IsMovedError(err); moved {
		return false
	}
	if _, ask := redis.IsAskError(err); ask {
		return false
	}
	return !redis.IsLoadingError(err) && !redis.IsReadOnlyError(err) && !redis.IsClusterDownError(err) && !redis.IsTryAgainError(err) &&
		!redis.IsMasterDownError(err) &&
		!redis.IsMaxClientsError(err) &&
		!redis.HasErrorPrefix(err, "BUSY") &&
		!redis.HasErrorPrefix(err, "UNBLOCKED")
}

// isReply tells whether the error is what Redis answered; then the command was not executed.
func isReply(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply)
}

// pause waits a random time, longer with every attempt, and returns false when the context ends first.
func pause(ctx context.Context, attempt int) bool {
	longest := min(time.Millisecond<<min(attempt, 6), 50*time.Millisecond)
	timer := time.NewTimer(mathrand.N(longest))
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// waitFor asks how many replicas have what this connection wrote, in time for an answer within the deadline.
func waitFor(ctx context.Context, p redis.Pipeliner, replicas int) *redis.IntCmd {
	left := storage.Timeout
	if end, ok := ctx.Deadline(); ok {
		left = time.Until(end)
	}
	left = max(left-min(left/10, 100*time.Millisecond), time.Millisecond)
	acked := redis.NewIntCmd(ctx, "WAIT", replicas, left.Milliseconds())
	_ = p.Process(ctx, acked) // queues it; the error comes with the answer
	return acked
}

// usable tells why nothing needs to be tried.
func (db *DB) usable(ctx context.Context) error {
	if db.closed.Load() {
		return unavailable("use Redis", errClosed)
	}
	if err := ctx.Err(); err != nil {
		return unavailable("use Redis", err)
	}
	return nil
}

func tooFewReplicas(have int64, want int) error {
	return fmt.Errorf("%w: %w: %d of %d", storage.ErrNoWrites, errReplicas, have, want)
}
