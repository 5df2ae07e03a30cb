package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/redis/go-redis/v9"

	"plimsoll/storage"
)

// causes are the answers of Redis that an operator can do something about, by their first word.
// Source: redis.io, "RESP protocol", simple errors; the words are those of redis-server 6 to 8.
var causes = []struct {
	prefix string
	kind   error
	words  string
}{
	{"OOM", storage.ErrNoWrites, "Redis is out of memory: raise its maxmemory or make room"},
	{"READONLY", storage.ErrNoWrites, "this Redis is a replica: the store URL must lead to the primary"},
	{"MISCONF", storage.ErrNoWrites, "Redis cannot save its data to disk: make room on its disk, or see its log"},
	{"NOREPLICAS", storage.ErrNoWrites, "Redis has too few replicas connected (min-replicas-to-write)"},
	{"NOAUTH", storage.ErrUnavailable, "Redis asks for a password, and the store URL has none"},
	{"WRONGPASS", storage.ErrUnavailable, "Redis does not know the user or password of the store URL"},
	{"NOPERM", storage.ErrUnavailable, "the account of the store URL may not do this in Redis"},
	{"LOADING", storage.ErrUnavailable, "Redis is still loading its data"},
}

// unavailable says what was tried, and the cause when Redis has named one.
func unavailable(what string, err error) error {
	if errors.Is(err, storage.ErrUnavailable) {
		return fmt.Errorf("%s: %w", what, err)
	}
	for _, c := range causes {
		if isReply(err) && redis.HasErrorPrefix(err, c.prefix) {
			return fmt.Errorf("%s: %w: %s: %w", what, c.kind, c.words, err)
		}
	}
	return fmt.Errorf("%s: %w: %w", what, storage.ErrUnavailable, err)
}

var (
	errPlainPort = errors.New("the port answers without TLS: the store URL must begin with redis, not rediss")
	errTLSPort   = errors.New("the port asks for TLS: the store URL must begin with rediss, not redis")
)

// probeTime is enough for one answer, and little beside what a start that failed took.
const probeTime = time.Second

// otherTLS adds to err, of a connection that gave no answer, that the port speaks TLS and the URL does not, or the other way
// round. A Redis without TLS waits for the end of what it takes for a command, so the error itself would be a deadline.
func (t *target) otherTLS(ctx context.Context, err error) error {
	if isReply(err) || ctx.Err() != nil {
		return err
	}
	var found error
	switch addrs, secure := t.addresses(); {
	case len(addrs) == 0:
	case secure && answersPlain(ctx, addrs[0]):
		found = errPlainPort
	case !secure && answersTLS(ctx, addrs[0]):
		found = errTLSPort
	}
	if found == nil {
		return err
	}
	return fmt.Errorf("%w: %w", found, err)
}

// addresses are where the URL leads first, and whether it does with TLS.
func (t *target) addresses() ([]string, bool) {
	switch {
	case t.sentinel != nil:
		return t.sentinel.SentinelAddrs, t.sentinel.TLSConfig != nil
	case t.cluster != nil:
		return t.cluster.Addrs, t.cluster.TLSConfig != nil
	}
	return []string{t.single.Addr}, t.single.TLSConfig != nil
}

// answersPlain asks as Redis is asked without TLS, and tells whether anything of Redis comes back: "+PONG", or "-NOAUTH …".
func answersPlain(ctx context.Context, addr string) bool {
	conn, err := probe(ctx, addr)
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }() // it was only asked
	first := make([]byte, 1)
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return false
	}
	_, err = io.ReadFull(conn, first)
	return err == nil && (first[0] == '+' || first[0] == '-')
}

// answersTLS shakes hands and sends nothing, so whose certificate it is does not matter.
func answersTLS(ctx context.Context, addr string) bool {
	conn, err := probe(ctx, addr)
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }() // it was only asked
	err = tls.Client(conn, &tls.Config{InsecureSkipVerify: true}).HandshakeContext(ctx)
	alert := tls.AlertError(0)
	return err == nil || errors.As(err, &alert) // a server that wants a certificate of ours speaks TLS too
}

func probe(ctx context.Context, addr string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: probeTime}
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return conn, conn.SetDeadline(time.Now().Add(probeTime))
}
