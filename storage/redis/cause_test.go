package redis

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"plimsoll/storage"
	"plimsoll/storage/storagetest"
)

func ask(t *testing.T, server *storagetest.Redis, words ...string) {
	t.Helper()
	if answer, err := server.Ask(words...); err != nil || strings.HasPrefix(answer, "ERR") {
		t.Fatal(words, answer, err)
	}
}

// Why Redis refuses a write is said; reads go on, and a write is taken again when the cause is gone.
func TestRedisThatTakesNoWrites(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		out, back [][]string
		want      string
	}{
		{
			"out of memory",
			[][]string{{"CONFIG", "SET", "maxmemory", "1"}},
			[][]string{{"CONFIG", "SET", "maxmemory", "0"}},
			"Redis is out of memory: raise its maxmemory or make room: OOM ",
		},
		{
			"a replica",
			[][]string{{"REPLICAOF", "127.0.0.1", "1"}, {"CONFIG", "SET", "replica-serve-stale-data", "yes"}},
			[][]string{{"REPLICAOF", "NO", "ONE"}},
			"this Redis is a replica: the store URL must lead to the primary: READONLY ",
		},
		{
			"too few replicas",
			[][]string{{"CONFIG", "SET", "min-replicas-to-write", "1"}},
			[][]string{{"CONFIG", "SET", "min-replicas-to-write", "0"}},
			"Redis has too few replicas connected (min-replicas-to-write): NOREPLICAS ",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := storagetest.RedisServer(t)
			db := open(t, server.URL())
			if err := set(t.Context(), db, "mac/0", "key", "value"); err != nil {
				t.Fatal(err)
			}
			for _, words := range c.out {
				ask(t, server, words...)
			}
			for what, err := range map[string]error{"Ping": db.Ping(t.Context()), "Update": set(short(t), db, "mac/0", "key", "other")} {
				if !errors.Is(err, storage.ErrNoWrites) || !errors.Is(err, storage.ErrUnavailable) || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s: %v, want %q", what, err, c.want)
				}
			}
			if got := get(t, db, "mac/0", "key"); got != "value" {
				t.Errorf("there is %q", got)
			}
			for _, words := range c.back {
				ask(t, server, words...)
			}
			if err := errors.Join(db.Ping(t.Context()), set(t.Context(), db, "mac/0", "key", "later")); err != nil {
				t.Errorf("when the cause is gone: %v", err)
			}
		})
	}
}

// A disk that takes no snapshot is simulated by a folder that is not one.
func TestRedisThatCannotSave(t *testing.T) {
	t.Parallel()
	server := storagetest.RedisServer(t, "--save", "3600 1", "--enable-protected-configs", "yes")
	db := open(t, server.URL())
	if err := set(t.Context(), db, "mac/0", "key", "value"); err != nil {
		t.Fatal(err)
	}
	ask(t, server, "CONFIG", "SET", "dir", "/proc")
	if _, err := server.Ask("BGSAVE"); err != nil {
		t.Fatal(err)
	}
	storagetest.Await(t, "Redis refuses writes", func() error {
		err := db.Ping(t.Context())
		if !errors.Is(err, storage.ErrNoWrites) || !strings.Contains(err.Error(), "Redis cannot save its data to disk: make room on its disk, or see its log: MISCONF ") {
			return errors.Join(errors.New("not yet"), err)
		}
		return nil
	})
}

// Who is not let in reads nothing either, and is told why.
func TestRedisThatLetsNobodyIn(t *testing.T) {
	t.Parallel()
	server := storagetest.RedisServer(t)
	ask(t, server, "ACL", "SETUSER", "reader", "on", ">pw", "~*", "+@read", "+ping")
	ask(t, server, "CONFIG", "SET", "requirepass", "secret")
	for user, want := range map[string]string{
		"":           "Redis asks for a password, and the store URL has none: NOAUTH ",
		":wrong@":    "Redis does not know the user or password of the store URL: WRONGPASS ",
		"reader:pw@": "the account of the store URL may not do this in Redis: NOPERM ",
	} {
		db, err := Open(t.Context(), "redis://"+user+server.Addr())
		if err == nil {
			t.Fatal(user, db.Close())
		}
		if !errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrNoWrites) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", user, err, want)
		}
	}
}

func TestTLSAgainstAPlainPort(t *testing.T) {
	t.Parallel()
	server := storagetest.RedisServer(t)
	secure := listenTLS(t)
	for url, want := range map[string]string{
		"rediss://" + server.Addr():         "the port answers without TLS: the store URL must begin with redis, not rediss",
		"rediss+cluster://" + server.Addr(): "the port answers without TLS: the store URL must begin with redis, not rediss",
		"redis://" + secure:                 "the port asks for TLS: the store URL must begin with rediss, not redis",
	} {
		db, err := Open(t.Context(), url)
		if err == nil {
			t.Fatal(url, db.Close())
		}
		if !errors.Is(err, storage.ErrUnavailable) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", url, err, want)
		}
	}
}

// listenTLS is a port that shakes hands and hangs up.
func listenTLS(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.(*tls.Conn).Handshake() // of a client without TLS: it fails
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		<-done
	})
	return l.Addr().String()
}
