package nano_test

import (
	"context"
	"testing"

	"github.com/micromdm/nanomdm/mdm"
	"github.com/micromdm/nanomdm/service/nanomdm"

	"plimsoll/storage"
	"plimsoll/storage/nano"
)

// counting counts what the database is asked: each read of a transaction and each commit is at most one round trip.
type counting struct {
	storage.DB
	reads, commits int
}

type countingTx struct {
	storage.Tx
	c       *counting
	written bool
}

func (t *countingTx) Get(key string) ([]byte, error) {
	t.c.reads++
	return t.Tx.Get(key)
}

func (t *countingTx) GetMany(keys ...string) ([][]byte, error) {
	t.c.reads++
	return t.Tx.GetMany(keys...)
}

func (t *countingTx) List(prefix, after string, limit int) ([]storage.Entry, error) {
	t.c.reads++
	return t.Tx.List(prefix, after, limit)
}

func (t *countingTx) Set(key string, val []byte) {
	t.written = true
	t.Tx.Set(key, val)
}

func (t *countingTx) Delete(key string) {
	t.written = true
	t.Tx.Delete(key)
}

func (c *counting) View(ctx context.Context, partition string, fn func(storage.Reader) error) error {
	return c.DB.Update(ctx, partition, func(tx storage.Tx) error { return fn(&countingTx{Tx: tx, c: c}) })
}

func (c *counting) Update(ctx context.Context, partition string, fn func(storage.Tx) error) error {
	return c.DB.Update(ctx, partition, func(tx storage.Tx) error {
		counted := &countingTx{Tx: tx, c: c}
		err := fn(counted)
		if err == nil && counted.written {
			c.commits++
		}
		return err
	})
}

func (c *counting) Collect(ctx context.Context, partitions []string, key string) ([][]byte, error) {
	c.reads++
	return c.DB.Collect(ctx, partitions, key)
}

// TestCost holds the number of reads and commits of each message.
func TestCost(t *testing.T) {
	ctx := context.Background()
	db := &counting{DB: newBolt(t)}
	s := nano.New(db)
	core := nanomdm.New(s)
	enrollment := mdm.Enrollment{UDID: mac}
	cert, key := pushPair(t, topic)
	token := mdm.BootstrapToken{BootstrapToken: []byte("token")}
	for _, tc := range []struct {
		name           string
		do             func() error
		reads, commits int
	}{
		{"certificate of a new Mac: look-up", func() error { return second(s.HasCertHash(request(mac), hash1)) }, 1, 0},
		{"certificate of a new Mac: association", func() error { return s.AssociateCertHash(request(mac), hash1) }, 2, 2},
		{"certificate of each message, unless cached", func() error { return second(s.IsCertHashAssociated(request(mac), hash1)) }, 1, 0},
		{"StoreAuthenticate", func() error { return s.StoreAuthenticate(request(mac), &mdm.Authenticate{}) }, 1, 1},
		{"Authenticate through the core", func() error {
			return core.Authenticate(request(mac), &mdm.Authenticate{Enrollment: enrollment})
		}, 3, 1},
		{"TokenUpdate", func() error {
			return core.TokenUpdate(request(mac), &mdm.TokenUpdate{Enrollment: enrollment, Push: tokenUpdate("m").Push})
		}, 1, 1},
		{"SetBootstrapToken", func() error {
			return core.SetBootstrapToken(request(mac), &mdm.SetBootstrapToken{Enrollment: enrollment, BootstrapToken: token})
		}, 1, 1},
		{"SetBootstrapToken, the same again", func() error {
			return core.SetBootstrapToken(request(mac), &mdm.SetBootstrapToken{Enrollment: enrollment, BootstrapToken: token})
		}, 1, 0},
		{"GetBootstrapToken", func() error {
			return second(core.GetBootstrapToken(request(mac), &mdm.GetBootstrapToken{Enrollment: enrollment}))
		}, 1, 0},
		{"a Mac that is idle, nothing queued", func() error { return connect(core, "", "Idle") }, 1, 0},
		{"queueing a command", func() error { return s.EnqueueDeclarative(ctx, mac, "t1", []byte("raw")) }, 1, 1},
		{"replacing it", func() error { return s.EnqueueDeclarative(ctx, mac, "t2", []byte("raw")) }, 1, 1},
		{"a Mac that is idle, one queued", func() error { return connect(core, "", "Idle") }, 1, 0},
		{"NotNow", func() error { return connect(core, "t2", "NotNow") }, 2, 1},
		{"an answer", func() error { return connect(core, "t2", "Acknowledged") }, 2, 1},
		{"an unknown answer", func() error { return connect(core, "t2", "Acknowledged") }, 2, 0},
		{"push data of a thousand", func() error {
			ids := make([]string, 1000)
			for i := range ids {
				ids[i] = mac
			}
			return second(s.RetrievePushInfo(ctx, ids))
		}, 1, 0},
		{"StorePushCert", func() error { return s.StorePushCert(ctx, cert, key) }, 1, 1},
		{"IsPushCertStale", func() error { return second(s.IsPushCertStale(ctx, topic, "1")) }, 1, 0},
		{"RetrievePushCert", func() error { return third(s.RetrievePushCert(ctx, topic)) }, 1, 0},
		{"CheckOut", func() error { return core.CheckOut(request(mac), &mdm.CheckOut{Enrollment: enrollment}) }, 1, 1},
		{"CheckOut again", func() error { return core.CheckOut(request(mac), &mdm.CheckOut{Enrollment: enrollment}) }, 1, 0},
		{"Forget", func() error { return s.Forget(ctx, mac) }, 3, 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			db.reads, db.commits = 0, 0
			ok(t, tc.do())
			if db.reads != tc.reads || db.commits != tc.commits {
				t.Errorf("%d reads and %d commits, want %d and %d", db.reads, db.commits, tc.reads, tc.commits)
			}
		})
	}
}

func connect(core *nanomdm.Service, uuid, status string) error {
	_, err := core.CommandAndReportResults(request(mac), &mdm.CommandResults{
		Enrollment: mdm.Enrollment{UDID: mac}, CommandUUID: uuid, Status: status,
	})
	return err
}
