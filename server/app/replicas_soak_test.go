package app_test

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"plimsoll/storage/storagetest"
)

// Three replicas on a Redis Cluster of three nodes, each with a replica of its own, serve Macs that sync and report without a break while policies are
// written, and the nodes of Redis and the replicas are killed one after the other. At the end every acknowledged report and policy is there, and every
// Mac holds the right declarations. PLIMSOLL_SOAK=1 kills all of them, with 1,000 Macs; else it is a small version.
func TestReplicasOnCluster(t *testing.T) {
	t.Parallel()
	macs, more, kills := 20, 20, 2
	soak := os.Getenv("PLIMSOLL_SOAK") != ""
	if soak {
		macs, more, kills = 900, 100, 6
	}
	cluster := storagetest.RedisCluster(t, 3, 1)
	issuer, flags := behindProxy(t)
	url := cluster.URL() + "&wait=1"
	replicas := []*process{start(t, url, flags...), start(t, url, flags...), start(t, url, flags...)}
	l := newLoad(t, issuer, replicas...)
	if soak {
		l.pace, l.every = 4*time.Second, 5*time.Second
	}
	begun := time.Now()
	l.report(l.enrolAll(macs))
	t.Logf("%d Macs enrolled and in sync after %v", macs, time.Since(begun).Round(time.Second))
	l.write(4)
	l.enrolMore(more)
	for i := range kills {
		// The first half of the nodes began as primaries, the second half as their replicas: one of each in turn.
		node := cluster.Nodes[i/2+i%2*3]
		l.goesOn(int64(2 * macs))
		role, err := node.Ask("ROLE")
		if err != nil {
			t.Fatal(err)
		}
		id, err := node.Ask("CLUSTER", "MYID")
		if err != nil {
			t.Fatal(err)
		}
		node.Kill()
		failedOver(t, cluster, node, id) // one that keeps nothing on disk and came back before would be an empty primary
		node.Restart()                   // from then on every slot has a replica again, for which wait=1 waits
		whole(t, cluster)
		l.goesOn(int64(macs))
		t.Logf("after %v: killed node %d of Redis, a %s", time.Since(begun).Round(time.Second), i+1, strings.Fields(role)[0])
		if i%2 == 0 {
			p := replicas[i/2]
			p.kill()
			l.goesOn(int64(macs))
			p.run()
			t.Logf("after %v: killed replica %d", time.Since(begun).Round(time.Second), i/2+1)
		}
	}
	l.goesOn(int64(macs))
	l.kept(replicas[0])
	for _, p := range replicas {
		l.listed(p)
		l.through(p)
		l.inSync(p)
	}
	alike(t, replicas...)
	leader(t, replicas...)
	t.Logf("all of it took %v", time.Since(begun).Round(time.Second))
}

// failedOver waits until every other node takes the one that was killed for failed, and no slot is its own any more.
func failedOver(t *testing.T, c *storagetest.Cluster, killed *storagetest.Redis, id string) {
	t.Helper()
	for _, n := range c.Nodes {
		if n == killed {
			continue
		}
		storagetest.Await(t, "the Redis Cluster does without the node that was killed", func() error {
			nodes, err := n.Ask("CLUSTER", "NODES")
			if err != nil {
				return err
			}
			for line := range strings.Lines(nodes) {
				const beforeSlots = 8
				if f := strings.Fields(line); f[0] == id && slices.Contains(strings.Split(f[2], ","), "fail") && len(f) == beforeSlots {
					return nil
				}
			}
			return errors.New(nodes)
		})
	}
}

// whole waits until every node is there, and has what its primary has.
func whole(t *testing.T, c *storagetest.Cluster) {
	t.Helper()
	for _, n := range c.Nodes {
		storagetest.Await(t, "the Redis Cluster is whole", func() error {
			info, err := n.Ask("CLUSTER", "INFO")
			if err != nil {
				return err
			}
			if !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, "cluster_slots_ok:16384") {
				return errors.New(info)
			}
			info, err = n.Ask("INFO", "replication")
			if err == nil && !strings.Contains(info, "master_link_status:up") && !strings.Contains(info, "state=online") {
				err = errors.New(info)
			}
			return err
		})
	}
}
