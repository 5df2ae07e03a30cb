package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"plimsoll/storage"
)

// The client writes to standard error by itself, a line for every dial that fails. What it has to say is in its errors.
type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

func init() { redis.SetLogger(silent{}) }

// target is a store URL, read. Exactly one of the options is set.
type target struct {
	wait     int
	single   *redis.Options
	sentinel *redis.FailoverOptions
	cluster  *redis.ClusterOptions
}

// What a URL may not say: retries are ours, because only we know whether a commit may be repeated,
// and a replica that lags would show a Mac what is over.
var refused = []string{
	"max_retries", "max_redirects", "dialer_retries", "read_only", "replica_only", "use_disconnected_replicas",
	"route_by_latency", "route_randomly", "context_timeout_enabled",
}

// parse reads a store URL. Its errors never repeat the URL, which may hold a password.
func parse(raw string) (*target, error) {
	fail := func(format string, args ...any) (*target, error) {
		return nil, fmt.Errorf("%w: store URL: %s", storage.ErrInvalid, fmt.Sprintf(format, args...))
	}
	u, err := url.Parse(raw)
	if err != nil {
		return fail("%v", withoutPassword(raw))
	}
	scheme, kind, _ := strings.Cut(u.Scheme, "+")
	if scheme != "redis" && scheme != "rediss" || u.Opaque != "" {
		return fail("must begin with redis://, rediss://, redis+sentinel:// or redis+cluster://")
	}
	if u.Hostname() == "" {
		return fail("names no host")
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return fail("%v", err)
	}
	for _, name := range refused {
		if q.Has(name) {
			return fail("%s cannot be set", name)
		}
	}
	t := &target{}
	if q.Has("wait") {
		if t.wait, err = strconv.Atoi(q.Get("wait")); err != nil || t.wait < 0 || len(q["wait"]) > 1 {
			return fail("wait must be a number of replicas, not %q", strings.Join(q["wait"], ","))
		}
		q.Del("wait")
	}
	u.Scheme, u.RawQuery = scheme, q.Encode()
	switch kind {
	case "":
		t.single, err = redis.ParseURL(u.String())
	case "sentinel":
		if q.Get("master_name") == "" {
			return fail("redis+sentinel:// needs master_name")
		}
		t.sentinel, err = redis.ParseFailoverURL(u.String())
	case "cluster":
		if u.Path != "" && u.Path != "/" {
			return fail("a Redis Cluster has no numbered databases")
		}
		t.cluster, err = redis.ParseClusterURL(u.String())
	default:
		return fail("must begin with redis://, rediss://, redis+sentinel:// or redis+cluster://")
	}
	if err != nil {
		return fail("%s", strings.TrimPrefix(err.Error(), "redis: "))
	}
	return t, nil
}

// withoutPassword is why url.Parse refuses a URL, with nothing of what stands before its last @: the error repeats the URL, and
// its reason may quote a password as a port.
func withoutPassword(raw string) error {
	scheme, rest, _ := strings.Cut(raw, "://")
	_, err := url.Parse(scheme + "://" + rest[strings.LastIndex(rest, "@")+1:])
	if err == nil {
		return errors.New("what stands before the @ must be percent-encoded")
	}
	if e := new(url.Error); errors.As(err, &e) {
		return e.Err
	}
	return err
}

// What the client would do by itself and must not, or does for features of servers that this program does not use:
// it dials once, never repeats a command, and obeys the context's deadline.
const (
	noRetries    = -1
	dialOnce     = 1
	noSecondPool = -1
	bufferSize   = 16 << 10
)

// orTimeout: what the URL says, else as long as a call may take at all.
func orTimeout(d time.Duration) time.Duration { return cmp.Or(d, storage.Timeout) }

func poolSize(asked int) int {
	if asked > 0 {
		return asked
	}
	return max(64, 10*runtime.GOMAXPROCS(0)) // a write that waits for replicas holds its connection
}

func (t *target) connect() redis.UniversalClient {
	quiet := &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	switch {
	case t.sentinel != nil:
		o := t.sentinel
		o.MaxRetries, o.DialerRetries, o.PipelinePoolSize = noRetries, dialOnce, noSecondPool
		o.ContextTimeoutEnabled, o.DisableIdentity, o.OnConnect = true, true, primaryOnly
		o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = orTimeout(
			o.ReadTimeout,
		), orTimeout(
			o.WriteTimeout,
		), orTimeout(
			o.PoolTimeout,
		)
		o.PoolSize, o.ReadBufferSize, o.WriteBufferSize = poolSize(o.PoolSize), bufferSize, bufferSize
		return redis.NewFailoverClient(o)
	case t.cluster != nil:
		o := t.cluster
		o.MaxRetries, o.DialerRetries, o.PipelinePoolSize = noRetries, dialOnce, noSecondPool
		o.ContextTimeoutEnabled, o.DisableIdentity = true, true
		o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = orTimeout(
			o.ReadTimeout,
		), orTimeout(
			o.WriteTimeout,
		), orTimeout(
			o.PoolTimeout,
		)
		o.PoolSize, o.ReadBufferSize, o.WriteBufferSize = poolSize(o.PoolSize), bufferSize, bufferSize
		o.MaintNotificationsConfig = quiet
		return redis.NewClusterClient(o)
	default:
		o := t.single
		o.MaxRetries, o.DialerRetries, o.PipelinePoolSize = noRetries, dialOnce, noSecondPool
		o.ContextTimeoutEnabled, o.DisableIdentity = true, true
		o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = orTimeout(
			o.ReadTimeout,
		), orTimeout(
			o.WriteTimeout,
		), orTimeout(
			o.PoolTimeout,
		)
		o.PoolSize, o.ReadBufferSize, o.WriteBufferSize = poolSize(o.PoolSize), bufferSize, bufferSize
		o.MaintNotificationsConfig = quiet
		return redis.NewClient(o)
	}
}

// primaryOnly refuses a connection to a replica. For some seconds after a failover some sentinels still name the old primary,
// and what that one answers may be over. An account that may not ask for the role is believed.
// Source: redis.io, "Guidelines for Redis clients with support for Redis Sentinel", step 3.
func primaryOnly(ctx context.Context, c *redis.Conn) error { // of the sentinels too, whose role is "sentinel"
	cmd := redis.NewSliceCmd(ctx, "role")
	if err := c.Process(ctx, cmd); err != nil && !isReply(err) {
		return err
	}
	if role := cmd.Val(); len(role) > 0 && role[0] == "slave" {
		return errNotPrimary
	}
	return nil
}
