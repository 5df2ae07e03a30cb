package app_test

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	nanomdm "github.com/micromdm/nanomdm/mdm"

	"plimsoll/declarations/policy"
	"plimsoll/server/fleet"
	"plimsoll/server/mdm"
	"plimsoll/status"
	"plimsoll/storage"
	"plimsoll/storage/bolt"
	"plimsoll/storage/nano"
	"plimsoll/storage/redis"
	"plimsoll/storage/storagetest"
)

// benchPolicy gives every Mac a subscription and settings, and those behind a target.
func benchPolicy(deadline, download string) string {
	return `{"name": "everyone", "priority": 10, "updates": {"mode": "minimum", "version": "26.6.1", "deadline": "` + deadline + `"},
		"background_security": {"mode": "automatic", "within_days": 2}, "settings": {"AutomaticActions": {"Download": "` + download + `"}}}`
}

func deadlineIn(days int) string {
	return time.Now().AddDate(0, 0, days).Format("2006-01-02") + "T12:00:00"
}

func pushToken(id string) []byte {
	sum := sha256.Sum256([]byte("push token of " + id))
	return sum[:]
}

// target is a store with Macs in it.
type target struct {
	name, url string
	file      string             // bolt
	server    *storagetest.Redis // redis
	perMac    int64              // bytes in the database
	took      time.Duration      // to fill it
}

func (g *target) redisInfo(t *testing.T, section, field string) int64 {
	t.Helper()
	text, err := g.server.Ask("INFO", section)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), field+":"); ok {
			n, err := strconv.ParseInt(v, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("INFO %s says nothing of %s", section, field)
	return 0
}

// calm waits until Redis has rewritten what was written to it: that would be measured with what comes next.
func (g *target) calm(t *testing.T) {
	t.Helper()
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	for _, field := range []string{"aof_rewrite_scheduled", "aof_rewrite_in_progress", "rdb_bgsave_in_progress"} {
		for g.redisInfo(t, "persistence", field) != 0 {
			<-look.C
		}
	}
}

// seed makes a store with n Macs, each after enrolment, first synchronisation, answer to its first command and first report. It goes through
// the use cases and the records of NanoMDM, not through HTTP. certs are those of the Macs that will send requests.
func seed(t *testing.T, kind string, n int, certs map[int]*x509.Certificate) *target {
	t.Helper()
	g := &target{name: kind}
	began := time.Now()
	if kind == "bolt" {
		g.file = filepath.Join(t.TempDir(), "plimsoll.db")
		g.url = "bolt:" + g.file
		file := g.file
		if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() { // there syncing costs nothing
			dir, err := os.MkdirTemp("/dev/shm", "plimsoll")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = os.RemoveAll(dir) }()
			file = filepath.Join(dir, "plimsoll.db")
		}
		db, err := bolt.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		fill(t, db, n, certs)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		copyFile(t, file, g.file)
		info, err := os.Stat(g.file)
		if err != nil {
			t.Fatal(err)
		}
		g.perMac = info.Size() / int64(n)
	} else {
		g.server = storagetest.RedisServer(t, "--appendonly", "yes", "--appendfsync", "everysec")
		g.url = g.server.URL()
		db, err := redis.Open(context.Background(), g.url)
		if err != nil {
			t.Fatal(err)
		}
		before := g.redisInfo(t, "memory", "used_memory")
		fill(t, db, n, certs)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		g.calm(t)
		g.perMac = (g.redisInfo(t, "memory", "used_memory") - before) / int64(n)
	}
	g.took = time.Since(began)
	return g
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	if from == to {
		return
	}
	src, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = src.Close() }()
	dst, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(dst, src); err != nil {
		t.Fatal(err)
	}
	if err := dst.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := dst.Close(); err != nil {
		t.Fatal(err)
	}
}

func fill(t *testing.T, db storage.DB, n int, certs map[int]*x509.Certificate) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	store := nano.New(db)
	notifier, err := mdm.NewNotifier(mdm.NotifierOptions{Store: store, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	defer notifier.Close()
	f, err := fleet.New(fleet.Options{Store: storage.New(db), Notifier: notifier, Log: log, Alone: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if err := f.Start(ctx); err != nil {
		t.Fatal(err)
	}
	var p policy.Policy
	if err := json.Unmarshal([]byte(benchPolicy(deadlineIn(60), "AlwaysOn")), &p); err != nil {
		t.Fatal(err)
	}
	if _, err := f.PutPolicy(ctx, p, fleet.WriteOptions{By: fleet.Origin{Actor: "bench"}, Confirm: true}); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for failed.Load() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := enrol(ctx, store, f, i, certs[i]); err != nil {
					err = fmt.Errorf("Mac %d: %w", i, err)
					failed.Store(&err)
				}
			}
		})
	}
	wg.Wait()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := failed.Load(); err != nil {
		t.Fatal(*err)
	}
}

// enrol is the first quarter of an hour of a Mac.
func enrol(ctx context.Context, store *nano.Store, f *fleet.Fleet, n int, cert *x509.Certificate) error {
	id, k := macID(n), kindOf(n)
	r := nanomdm.NewRequestWithContext(ctx, cert)
	r.EnrollID = &nanomdm.EnrollID{Type: nanomdm.Device, ID: id}
	sum := sha256.Sum256([]byte(id))
	if cert != nil {
		sum = sha256.Sum256(cert.RawTBSCertificate)
	}
	if err := store.AssociateCertHash(r, hex.EncodeToString(sum[:])); err != nil {
		return err
	}
	if err := store.StoreAuthenticate(r, &nanomdm.Authenticate{SerialNumber: macSerial(n)}); err != nil {
		return err
	}
	if err := f.Authenticate(ctx, id, status.CheckIn{
		UDID: id, Serial: macSerial(n), Name: "Mac of person " + strconv.Itoa(n), Model: k.model, ModelName: k.name, Version: k.version, Build: k.build,
	}); err != nil {
		return err
	}
	if err := store.StoreTokenUpdate(r, &nanomdm.TokenUpdate{Push: nanomdm.Push{PushMagic: id, Topic: "com.apple.mgmt.External.bench", Token: pushToken(id)}}); err != nil {
		return err
	}
	if err := f.TokenUpdate(ctx, id, "com.apple.mgmt.External.1"); err != nil {
		return err
	}
	cmd, err := store.RetrieveNextCommand(r, false)
	if err != nil {
		return err
	}
	if cmd != nil {
		raw := []byte("<plist version=\"1.0\"><dict><key>Status</key><string>Acknowledged</string><key>UDID</key><string>" + id + "</string></dict></plist>")
		if err := store.StoreCommandReport(r, &nanomdm.CommandResults{CommandUUID: cmd.CommandUUID, Status: "Acknowledged", Raw: raw}); err != nil {
			return err
		}
	}
	if _, err := f.Tokens(ctx, id); err != nil {
		return err
	}
	if _, err := f.Items(ctx, id); err != nil {
		return err
	}
	if err := f.Ingest(ctx, id, report(n, 0)); err != nil {
		return err
	}
	// The report says what the Mac supports: it is told anew, and synchronises once more.
	if cmd, err = store.RetrieveNextCommand(r, false); err != nil || cmd == nil {
		return err
	}
	if err := store.StoreCommandReport(r, &nanomdm.CommandResults{CommandUUID: cmd.CommandUUID, Status: "Acknowledged", Raw: []byte("<plist/>")}); err != nil {
		return err
	}
	_, err = f.Items(ctx, id)
	return err
}
