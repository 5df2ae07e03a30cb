package nano_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/micromdm/nanomdm/mdm"

	"plimsoll/storage"
	"plimsoll/storage/bolt"
	"plimsoll/storage/nano"
	"plimsoll/storage/redis"
	"plimsoll/storage/storagetest"
)

const (
	mac   = "66ADE930-5FDF-5EC4-8429-15640684C489"
	other = "663B07BB-783E-9ADE-1DAE-4FBB92EA12AF"
	user  = mac + ":3C0B6E0A-6C43-4C3A-9D5B-0C9B8E7B1F00"
	topic = "com.apple.mgmt.External.e0bd1eac-1f17-4c8e-8a63-dd17d3dd35d9"
)

// onEach runs fn on every database.
func onEach(t *testing.T, fn func(*testing.T, storage.DB)) {
	t.Helper()
	t.Run("bolt", func(t *testing.T) { fn(t, newBolt(t)) })
	t.Run("redis", func(t *testing.T) { fn(t, openRedis(t, storagetest.RedisServer(t).URL())) })
}

func newBolt(t *testing.T) storage.DB {
	t.Helper()
	db, err := bolt.Open(filepath.Join(t.TempDir(), "plimsoll.db"))
	ok(t, err)
	t.Cleanup(func() { ok(t, db.Close()) })
	return db
}

func openRedis(t *testing.T, url string) storage.DB {
	t.Helper()
	db, err := redis.Open(context.Background(), url)
	ok(t, err)
	t.Cleanup(func() { ok(t, db.Close()) })
	return db
}

// request is one of a device or, when there is a colon in id, of a user channel, as NanoMDM's normaliser makes it.
func request(id string) *mdm.Request {
	device, _, isUser := strings.Cut(id, ":")
	r := mdm.NewRequestWithContext(context.Background(), nil)
	r.EnrollID = &mdm.EnrollID{Type: mdm.Device, ID: id}
	if isUser {
		r.Type, r.ParentID = mdm.User, device
	}
	return r
}

func tokenUpdate(magic string) *mdm.TokenUpdate {
	return &mdm.TokenUpdate{Push: mdm.Push{Topic: topic, PushMagic: magic, Token: []byte{1, 2, 3}}}
}

// enrol enrols each id; a device's before its users'.
func enrol(t *testing.T, s *nano.Store, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if !strings.Contains(id, ":") {
			ok(t, s.StoreAuthenticate(request(id), &mdm.Authenticate{SerialNumber: "C02ABC"}))
		}
		ok(t, s.StoreTokenUpdate(request(id), tokenUpdate("magic of "+id)))
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error: got %v, want %v", err, want)
	}
}

// clock is a time that tests set.
type clock struct{ t time.Time }

func newClock() *clock { return &clock{time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time { return c.t }

func (c *clock) add(d time.Duration) { c.t = c.t.Add(d) }

// get reads a key behind the store's back.
func get(t *testing.T, db storage.DB, partition, key string) string {
	t.Helper()
	var val []byte
	ok(t, db.View(context.Background(), partition, func(r storage.Reader) (err error) {
		val, err = r.Get(key)
		return err
	}))
	return string(val)
}

// keys lists a partition behind the store's back.
func keys(t *testing.T, db storage.DB, partition string) []string {
	t.Helper()
	var out []string
	ok(t, db.View(context.Background(), partition, func(r storage.Reader) error {
		entries, err := r.List("", "", 1000)
		out = nil
		for _, e := range entries {
			out = append(out, e.Key)
		}
		return err
	}))
	return out
}
