package nano_test

import (
	"context"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/micromdm/nanomdm/mdm"
	"github.com/micromdm/nanomdm/test/e2e"

	"plimsoll/storage"
	"plimsoll/storage/nano"
	"plimsoll/storage/storagetest"
)

// TestNanoMDM runs NanoMDM's own suite over its HTTP interface.
func TestNanoMDM(t *testing.T) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/micromdm/nanomdm").Output()
	if err != nil {
		t.Fatalf("finding NanoMDM's module: %v", err)
	}
	t.Chdir(filepath.Join(strings.TrimSpace(string(dir)), "storage", "kv")) // the suite's testdata is relative to it
	suite := func(t *testing.T, db storage.DB) {
		e2e.TestE2E(t, context.Background(), &migrator{Store: nano.New(db)})
	}
	onEach(t, suite)
	t.Run("cluster", func(t *testing.T) {
		suite(t, openRedis(t, storagetest.RedisCluster(t, 3, 0).URL()))
	})
	t.Run("sentinel", func(t *testing.T) {
		servers := storagetest.RedisSentinel(t)
		db := openRedis(t, servers.URL())
		t.Run("before", func(t *testing.T) { suite(t, db) })
		servers.FailOver()
		storagetest.Await(t, "the replica takes over", func() error { return db.Ping(context.Background()) })
		t.Run("after the failover", func(t *testing.T) { suite(t, db) })
	})
}

// migrator adds the one interface that the suite wants and Plimsoll has no use for, from the messages that passed.
type migrator struct {
	*nano.Store
	auth []*mdm.Authenticate
	tok  []*mdm.TokenUpdate
}

func (m *migrator) StoreAuthenticate(r *mdm.Request, msg *mdm.Authenticate) error {
	m.auth = slices.DeleteFunc(m.auth, func(old *mdm.Authenticate) bool { return old.UDID == msg.UDID })
	m.auth = append(m.auth, msg)
	return m.Store.StoreAuthenticate(r, msg)
}

func (m *migrator) StoreTokenUpdate(r *mdm.Request, msg *mdm.TokenUpdate) error {
	m.tok = slices.DeleteFunc(m.tok, func(old *mdm.TokenUpdate) bool { return old.UDID == msg.UDID })
	m.tok = append(m.tok, msg)
	return m.Store.StoreTokenUpdate(r, msg)
}

func (m *migrator) RetrieveMigrationCheckins(_ context.Context, out chan<- any) error {
	for _, msg := range m.auth {
		out <- msg
	}
	for _, msg := range m.tok {
		out <- msg
	}
	return nil
}
