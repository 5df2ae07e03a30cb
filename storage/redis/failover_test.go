package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"plimsoll/storage"
	"plimsoll/storage/storagetest"
)

func TestCluster(t *testing.T) {
	t.Parallel()
	cluster := storagetest.RedisCluster(t, 3, 0)
	storagetest.Run(t, func(t *testing.T) storage.DB { return open(t, cluster.URL()) })
	t.Run("a slot that moves", func(t *testing.T) { slotThatMoves(t, cluster) })
	t.Run("a node away", func(t *testing.T) {
		db := open(t, cluster.URL())
		cluster.Nodes[0].Kill()
		for _, name := range []string{"Ping", "Collect", "Revisions"} {
			many := make([]string, 50) // on every node
			for i := range many {
				many[i] = fmt.Sprint("p", i)
			}
			var err error
			switch name {
			case "Ping":
				err = db.Ping(short(t))
			case "Collect":
				_, err = db.Collect(short(t), many, "key")
			case "Revisions":
				_, err = db.Revisions(short(t), many...)
			}
			if !errors.Is(err, storage.ErrUnavailable) {
				t.Errorf("%s: %v", name, err)
			}
		}
		cluster.Nodes[0].Restart()
		recovers(t, db)
	})
}

// slotThatMoves commits to partitions of a slot in the middle of its way from one node to another.
func slotThatMoves(t *testing.T, cluster *storagetest.Cluster) {
	db := open(t, cluster.URL())
	const p = "moving"
	key := keysOf(p).hash
	from, err := cluster.Owner(key)
	if err != nil {
		t.Fatal(err)
	}
	to := cluster.Nodes[(slices.Index(cluster.Nodes, from)+1)%len(cluster.Nodes)]
	ask := func(r *storagetest.Redis, words ...string) string {
		t.Helper()
		answer, err := r.Ask(words...)
		if err != nil {
			t.Fatalf("%v: %v", words, err)
		}
		return answer
	}
	slot := ask(from, "CLUSTER", "KEYSLOT", key)
	begin := func(from, to *storagetest.Redis) {
		t.Helper()
		ask(to, "CLUSTER", "SETSLOT", slot, "IMPORTING", ask(from, "CLUSTER", "MYID"))
		ask(from, "CLUSTER", "SETSLOT", slot, "MIGRATING", ask(to, "CLUSTER", "MYID"))
	}
	finish := func(to *storagetest.Redis) {
		t.Helper()
		for _, r := range cluster.Nodes {
			ask(r, "CLUSTER", "SETSLOT", slot, "NODE", ask(to, "CLUSTER", "MYID"))
		}
	}

	// Redis takes no script with two keys that are not there yet in a slot that moves: a new partition has to wait.
	begin(from, to)
	if err := set(short(t), db, p, "key", "too early"); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("a new partition in a slot that moves: %v", err)
	}
	done := make(chan error, 1)
	go func() { done <- set(t.Context(), db, p, "key", "waited") }()
	finish(to)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got := get(t, db, p, "key"); got != "waited" {
		t.Errorf("key = %q", got)
	}

	// Back again, with a partition that is written on both sides while its slot moves.
	from, to = to, from
	begin(from, to)
	if err := set(t.Context(), db, p, "before", "not moved yet"); err != nil {
		t.Error(err)
	}
	host, port, _ := strings.Cut(to.Addr(), ":")
	ask(from, "MIGRATE", host, port, "", "0", "5000", "KEYS", keysOf(p).hash, keysOf(p).list)
	if err := set(t.Context(), db, p, "after", "moved"); err != nil { // the old owner sends it on with ASK
		t.Error(err)
	}
	finish(to)
	for key, want := range map[string]string{"key": "waited", "before": "not moved yet", "after": "moved"} {
		if got := get(t, db, p, key); got != want {
			t.Errorf("%s = %q, want %q", key, got, want)
		}
	}
}

func TestClusterFailover(t *testing.T) {
	t.Parallel()
	cluster := storagetest.RedisCluster(t, 3, 1)
	a := acknowledge(t, open(t, cluster.URL()+"&wait=1"))
	a.more(100)
	owner, err := cluster.Owner(keysOf("mac/0-0").hash)
	if err != nil {
		t.Fatal(err)
	}
	owner.Kill()
	storagetest.Await(t, "another node owns the slot", func() error {
		_, err := cluster.Owner(keysOf("mac/0-0").hash)
		return err
	})
	owner.Restart() // as a replica: from then on every slot has one again, for which wait=1 waits
	storagetest.Await(t, "a write in every partition", func() error {
		for w := range 8 {
			for i := range 5 {
				if err := set(t.Context(), a.db, fmt.Sprintf("mac/%d-%d", w, i), "alive", "yes"); err != nil {
					return err
				}
			}
		}
		return nil
	})
	a.more(100)
	a.check()
}

func TestSentinel(t *testing.T) {
	t.Parallel()
	s := storagetest.RedisSentinel(t)
	a := acknowledge(t, open(t, s.URL()+"&wait=1"))
	a.more(200)
	s.FailOver()
	s.Primary.Restart()
	host, port, _ := strings.Cut(s.Replica.Addr(), ":")
	if _, err := s.Primary.Ask("REPLICAOF", host, port); err != nil { // as the sentinels would, 10 s later
		t.Fatal(err)
	}
	a.more(200)
	a.check()
	storagetest.Run(t, func(t *testing.T) storage.DB { return open(t, s.URL()) })
}

// A sentinel that has not heard of the failover names the old primary, which is a replica now: nothing is read there.
func TestLateSentinel(t *testing.T) {
	t.Parallel()
	primary := storagetest.RedisServer(t)
	replica := storagetest.RedisServer(t)
	late := storagetest.LateSentinel(t, replica)
	db := open(t, late.URL())
	if err := set(t.Context(), db, "p", "key", "before"); err != nil {
		t.Fatal(err)
	}
	host, port, _ := strings.Cut(primary.Addr(), ":")
	for _, words := range [][]string{{"REPLICAOF", host, port}, {"CLIENT", "KILL", "TYPE", "normal"}} { // as sentinels do
		if _, err := replica.Ask(words...); err != nil {
			t.Fatal(err)
		}
	}
	err := db.View(short(t), "p", func(r storage.Reader) error { _, err := r.Get("key"); return err })
	if !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("View: %v", err)
	}
	if _, err := Open(short(t), late.URL()); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("Open: %v", err)
	}

	opened := make(chan error, 1)
	go func() {
		db, err := Open(t.Context(), late.URL())
		opened <- err
		if err == nil {
			opened <- db.Close()
		}
		close(opened)
	}()
	if _, err := replica.Ask("REPLICAOF", "NO", "ONE"); err != nil {
		t.Fatal(err)
	}
	for err := range opened {
		if err != nil {
			t.Errorf("Open while it is settled who the primary is: %v", err)
		}
	}
	recovers(t, db)
}

func TestOneRoundTrip(t *testing.T) {
	t.Parallel()
	server := storagetest.RedisServer(t)
	db := open(t, server.URL())
	partitions := make([]string, 64)
	for i := range partitions {
		partitions[i] = fmt.Sprint("shard/", i)
	}
	if err := set(t.Context(), db, "p", "key", "value"); err != nil { // loads the script
		t.Fatal(err)
	}
	if err := db.View(t.Context(), "p", func(r storage.Reader) error { _, err := r.List("", "", 1); return err }); err != nil {
		t.Fatal(err)
	}
	reads := func(fn func(storage.Reader) error) func() error {
		return func() error { return db.View(t.Context(), "p", fn) }
	}
	for _, c := range []struct {
		name string
		call func() error
		want string
	}{
		{"Get", reads(func(r storage.Reader) error { _, err := r.Get("key"); return err }), "hmget 1"},
		{"Get and Revision", reads(func(r storage.Reader) error {
			_, err := r.Get("key")
			_, err2 := r.Revision()
			return errors.Join(err, err2)
		}), "hmget 1"},
		{"GetMany", reads(func(r storage.Reader) error { _, err := r.GetMany("key", "a", "b"); return err }), "hmget 1"},
		{"List", reads(func(r storage.Reader) error { _, err := r.List("", "", 10); return err }), "evalsha 1"},
		{"Update after Get", func() error {
			return db.Update(t.Context(), "p", func(tx storage.Tx) error {
				_, err := tx.Get("key")
				tx.Set("key", []byte("new"))
				return err
			})
		}, "evalsha 1 hmget 1"},
		{"Update that writes nothing", func() error {
			return db.Update(t.Context(), "p", func(tx storage.Tx) error { _, err := tx.Get("key"); return err })
		}, "hmget 1"},
		{"Revisions", func() error { _, err := db.Revisions(t.Context(), partitions...); return err }, "hget 64"},
		{"Collect", func() error { _, err := db.Collect(t.Context(), partitions, "x"); return err }, "hget 64"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := server.Ask("CONFIG", "RESETSTAT"); err != nil {
				t.Fatal(err)
			}
			if err := c.call(); err != nil {
				t.Fatal(err)
			}
			stats, err := server.Ask("INFO", "commandstats")
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for line := range strings.Lines(stats) {
				var n int
				name, rest, _ := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":")
				if _, err := fmt.Sscanf(rest, "calls=%d", &n); err != nil || inScript[name] || strings.HasPrefix(name, "config") {
					continue
				}
				if strings.HasPrefix(c.want, "evalsha") { // what the scripts call is counted too
					switch name {
					case "hget":
						continue
					case "hmget":
						n--
					}
				}
				if n > 0 {
					got = append(got, fmt.Sprint(name, " ", n))
				}
			}
			slices.Sort(got)
			if strings.Join(got, " ") != c.want {
				t.Errorf("commands: %v, want %s", got, c.want)
			}
		})
	}
}

var inScript = map[string]bool{"hset": true, "zadd": true, "zrangebylex": true}

func TestCancelledOpen(t *testing.T) {
	t.Parallel()
	server := storagetest.RedisServer(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, server.URL()); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("Open: %v", err)
	}
}
