package storagetest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Cluster is a Redis Cluster on loopback ports.
type Cluster struct {
	Nodes []*Redis
}

// RedisCluster starts a Cluster of so many masters, each with so many replicas, and waits until it is whole.
// args are for every redis-server.
func RedisCluster(t testing.TB, masters, replicas int, args ...string) *Cluster {
	t.Helper()
	if _, err := exec.LookPath("redis-cli"); err != nil {
		t.Fatal("redis-cli is not installed: apt-get install redis-tools")
	}
	c := &Cluster{}
	for range masters * (1 + replicas) {
		c.Nodes = append(c.Nodes, RedisServer(t, append([]string{
			"--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--repl-diskless-sync-delay", "0",
		}, args...)...))
	}
	create := []string{"--cluster", "create"}
	for _, n := range c.Nodes {
		create = append(create, n.Addr())
	}
	create = append(create, "--cluster-replicas", strconv.Itoa(replicas), "--cluster-yes")
	if out, err := exec.Command("redis-cli", create...).CombinedOutput(); err != nil {
		t.Fatalf("redis-cli %s: %v\n%s", strings.Join(create, " "), err, out)
	}
	for _, n := range c.Nodes {
		n.await("is in a whole Cluster", func() error {
			info, err := n.Ask("CLUSTER", "INFO")
			if err == nil &&
				!(strings.Contains(info, "cluster_state:ok") && strings.Contains(info, fmt.Sprintf("cluster_known_nodes:%d", len(c.Nodes)))) {
				err = fmt.Errorf("%s", info)
			}
			return err
		})
		n.awaitReplication(replicas)
	}
	return c
}

// URL is its store URL, with every node in it.
func (c *Cluster) URL() string {
	addrs := make([]string, len(c.Nodes))
	for i, n := range c.Nodes {
		addrs[i] = n.Addr()
	}
	return "redis+cluster://" + addrs[0] + "?addr=" + strings.Join(addrs[1:], "&addr=")
}

// Owner returns the node that takes the writes of a key of Redis now, or an error when the Cluster has none.
func (c *Cluster) Owner(key string) (*Redis, error) {
	var last error
	for _, n := range c.Nodes {
		role, err := n.Ask("ROLE")
		if err != nil {
			last = err
			continue
		}
		if !strings.HasPrefix(role, "master") {
			continue
		}
		if _, err = n.Ask("EXISTS", key); err == nil { // another node's key is MOVED
			return n, nil
		}
		last = err
	}
	return nil, fmt.Errorf("no node owns %s: %w", key, last)
}

// awaitReplication waits until a master has so many replicas, or a replica its master.
func (r *Redis) awaitReplication(replicas int) {
	r.t.Helper()
	r.await("replicates", func() error {
		info, err := r.Ask("INFO", "replication")
		if err != nil {
			return err
		}
		online := strings.Count(info, "state=online")
		if strings.Contains(info, "role:master") && online >= replicas || strings.Contains(info, "master_link_status:up") {
			return nil
		}
		return fmt.Errorf("%s", info)
	})
}

// Sentinel is a primary with a replica and the sentinels that watch them.
type Sentinel struct {
	Primary, Replica *Redis
	Sentinels        []*Redis
}

const sentinelName = "plimsoll"

// RedisSentinel starts a primary, a replica and three sentinels, and waits until they know each other. args are for both
// redis-servers. The sentinels call no primary down that is only slow, as it is on a busy machine, until FailOver.
func RedisSentinel(t testing.TB, args ...string) *Sentinel {
	t.Helper()
	s := &Sentinel{}
	args = append([]string{"--repl-diskless-sync-delay", "0"}, args...)
	s.Primary = RedisServer(t, args...)
	s.Replica = RedisServer(t, append([]string{"--replicaof", "127.0.0.1 " + strconv.Itoa(s.Primary.port)}, args...)...)
	s.Primary.awaitReplication(1)
	const sentinels = 3
	for range sentinels {
		s.Sentinels = append(s.Sentinels, sentinelOf(t, s.Primary))
	}
	for _, r := range s.Sentinels {
		r.await("knows primary, replica and sentinels", func() error {
			info, err := r.Ask("INFO", "sentinel")
			if err == nil &&
				!strings.Contains(info, fmt.Sprintf("status=ok,address=%s,slaves=1,sentinels=%d", s.Primary.Addr(), sentinels)) {
				err = fmt.Errorf("%s", info)
			}
			return err
		})
	}
	return s
}

// LateSentinel starts a sentinel that takes the replica r for the primary, as sentinels do that have not heard of a failover.
// It is alone, and cannot fail over.
func LateSentinel(t testing.TB, r *Redis) *Sentinel {
	t.Helper()
	return &Sentinel{Replica: r, Sentinels: []*Redis{sentinelOf(t, r)}}
}

func sentinelOf(t testing.TB, primary *Redis) *Redis {
	t.Helper()
	r := newRedis(t)
	file := filepath.Join(r.dir, "sentinel.conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, `port %d
bind 127.0.0.1
dir %s
sentinel monitor %s 127.0.0.1 %d 2
sentinel down-after-milliseconds %[3]s 600000
sentinel failover-timeout %[3]s 5000
`, r.port, r.dir, sentinelName, primary.port), 0o600); err != nil {
		t.Fatal(err)
	}
	r.start([]string{file, "--sentinel"})
	return r
}

// FailOver kills the primary, and waits until every sentinel names the replica in its place.
func (s *Sentinel) FailOver() {
	s.downAfter("1000")
	s.Primary.Kill()
	s.Replica.await("is the primary", func() error {
		role, err := s.Replica.Ask("ROLE")
		if err == nil && !strings.HasPrefix(role, "master") {
			err = errors.New(role)
		}
		return err
	})
	for _, r := range s.Sentinels {
		r.await("knows the primary", func() error {
			addr, err := r.Ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", sentinelName)
			if err == nil && strings.ReplaceAll(addr, "\n", ":") != s.Replica.Addr() {
				err = fmt.Errorf("%s", addr)
			}
			return err
		})
	}
	s.downAfter("600000")
}

// downAfter tells the sentinels after how many milliseconds without an answer a primary is down.
func (s *Sentinel) downAfter(milliseconds string) {
	for _, r := range s.Sentinels {
		r.await("takes another time for down", func() error {
			_, err := r.Ask("SENTINEL", "SET", sentinelName, "down-after-milliseconds", milliseconds)
			return err
		})
	}
}

// URL is its store URL, with every sentinel in it.
func (s *Sentinel) URL() string {
	url := "redis+sentinel://" + s.Sentinels[0].Addr() + "?master_name=" + sentinelName
	for _, r := range s.Sentinels[1:] {
		url += "&addr=" + r.Addr()
	}
	return url
}
