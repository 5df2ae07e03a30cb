package redis

import (
	"context"
	"testing"

	"go.uber.org/goleak"

	"plimsoll/storage"
	"plimsoll/storage/storagetest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// After many failed dials the client tries one a second; it looks only then whether it was closed.
		goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}

func open(t testing.TB, url string) *DB {
	t.Helper()
	db, err := Open(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func TestConformance(t *testing.T) {
	t.Parallel()
	server := storagetest.RedisServer(t)
	storagetest.Run(t, func(t *testing.T) storage.DB { return open(t, server.URL()) })
}

// Functions that met others too often read from a snapshot of the partition, to which every promise applies as well.
func TestConformanceOfSnapshots(t *testing.T) {
	t.Parallel()
	server := storagetest.RedisServer(t)
	storagetest.Run(t, func(t *testing.T) storage.DB {
		db := open(t, server.URL())
		db.whole = 0
		return db
	})
}
