package fleet

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"plimsoll/status"
	"plimsoll/storage"
	"plimsoll/storage/redis"
	"plimsoll/storage/storagetest"
)

// replica is one of several fleets on the same Redis, with its loops running.
type replica struct {
	*Fleet
	notifier *fakeNotifier
	db       *storagetest.FaultyDB
	stop     func()
}

func startReplica(t *testing.T, url string) *replica {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	db, err := redis.Open(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	r := &replica{db: storagetest.Faulty(db), notifier: &fakeNotifier{queued: map[string][]string{}, asked: map[string][]string{}}}
	r.Fleet, err = New(Options{Store: storage.New(r.db), Notifier: r.notifier, Log: slog.New(slog.DiscardHandler), URL: "https://mdm.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(ctx); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := r.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	r.stop = sync.OnceFunc(func() {
		cancel()
		<-done
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(r.stop)
	return r
}

// eventually waits until cond holds; what it waits for comes by the other replica's poll.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(time.Minute); !cond(); {
		select {
		case <-end:
			t.Fatalf("%s: still not so after a minute", what)
		case <-tick.C:
		}
	}
}

// A replica that dies between a Mac's commit and the shard's leaves the others behind, until it or another starts.
func TestReplicaDiesBeforeItNotes(t *testing.T) {
	url := storagetest.RedisServer(t).URL()
	a, b := startReplica(t, url), startReplica(t, url)
	ctx := context.Background()
	if err := a.Authenticate(ctx, "MAC", status.CheckIn{UDID: "MAC", Serial: "S", Model: "Mac14,2", Version: "26.5", Build: "25F71"}); err != nil {
		t.Fatal(err)
	}
	if err := a.TokenUpdate(ctx, "MAC", "com.apple.mgmt.External.1"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "one leads, and the other replica knows the Mac", func() bool {
		rec := b.index.Get("MAC")
		return rec != nil && rec.Facts.Enrolled && a.lead.Leading() != b.lead.Leading() && !a.missing.Load() && !b.missing.Load()
	})
	a.db.Set(storagetest.Fault{Down: true, Partition: storage.ShardPartition(storage.ShardOf("MAC"))}) // as if it died here
	if err := a.BootstrapToken(ctx, "MAC", true); err != nil {
		t.Fatal(err)
	}
	startReplica(t, url)
	eventually(t, "the other replica knows what changed", func() bool { return b.index.Get("MAC").Facts.BootstrapToken })
}

// A policy written on one replica is in force on all, the index is right on all, exactly one leads, and another takes over.
func TestReplicas(t *testing.T) {
	url := storagetest.RedisServer(t).URL()
	a, b := startReplica(t, url), startReplica(t, url)
	ctx := context.Background()
	eventually(t, "a leader", func() bool { return a.lead.Leading() || b.lead.Leading() })
	if a.lead.Leading() && b.lead.Leading() {
		t.Fatal("both lead")
	}
	for _, id := range []string{"MAC-1", "MAC-2"} {
		if err := b.Authenticate(ctx, id, status.CheckIn{UDID: id, Serial: "S" + id, Model: "Mac14,2", Version: "26.5", Build: "25F71"}); err != nil {
			t.Fatal(err)
		}
		if err := b.TokenUpdate(ctx, id, "com.apple.mgmt.External.1"); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the other replica knows the Macs", func() bool {
		c, err := a.Compliance(ctx)
		return err == nil && c.Devices == 2
	})
	w := &world{t: t, Fleet: a.Fleet}
	if _, err := w.putPolicy(`{"name":"all","priority":1,"updates":{"mode":"automatic","within_days":30},"notice_days":10}`, WriteOptions{Confirm: true}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the policy is in force on the other replica", func() bool {
		_, _, err := b.Policy(ctx, "all")
		return err == nil
	})
	eventually(t, "the leader told both Macs", func() bool {
		return a.notifier.commands("MAC-1")+b.notifier.commands("MAC-1") >= 2 && a.notifier.commands("MAC-2")+b.notifier.commands("MAC-2") >= 2
	})
	for _, f := range []*replica{a, b} {
		eventually(t, "both count the same", func() bool {
			c, err := f.Compliance(ctx)
			return err == nil && c.States["pending"] == 2
		})
	}
	first, second := a, b
	if b.lead.Leading() {
		first, second = b, a
	}
	first.stop()
	eventually(t, "the other replica leads", second.lead.Leading)
	events, err := second.Events(ctx, "", 1000)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, e := range events.Items {
		if seen[e.ID] {
			t.Errorf("event %s %s came twice", e.ID, e.Type)
		}
		seen[e.ID] = true
	}
	if len(seen) == 0 {
		t.Error("the fleet has no timeline")
	}
}
