package app_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"plimsoll/server/app"
	"plimsoll/storage"
	"plimsoll/storage/archive"
	"plimsoll/storage/nano"
	"plimsoll/storage/storagetest"
)

// A backup is taken while Macs enrol, report, are deleted and are planned anew, and restored into the other database: every Mac of it can sync with its
// identity, is in the lists, and was planned with no newer book; its tokens, planned twice, are the same.
func TestBackupUnderLoad(t *testing.T) {
	embedded := func(t *testing.T) string { return "bolt:" + filepath.Join(t.TempDir(), "p.db") }
	server := func(t *testing.T) string { return storagetest.RedisServer(t).URL() }
	for name, c := range map[string]struct{ from, to func(*testing.T) string }{
		"bolt to redis": {embedded, server},
		"redis to bolt": {server, embedded},
	} {
		t.Run(name, func(t *testing.T) {
			issuer, flags := behindProxy(t)
			p := start(t, c.from(t), flags...)
			l := newLoad(t, issuer, p)
			l.pace = 20 * time.Millisecond
			macs := l.enrolAll(440)
			l.write(4)
			l.report(macs[:80])
			l.enrolMore(60)
			l.goesOn(20)
			var wg sync.WaitGroup
			wg.Go(func() {
				for _, r := range macs[80:200] { // they are silent
					if status, b := p.request(http.MethodDelete, "/v1/devices/"+r.id, ""); status != http.StatusNoContent {
						t.Errorf("delete %s: %d %s", r.id, status, b)
					}
				}
			})
			var file []byte
			for range 5 {
				status, b := p.request(http.MethodGet, "/v1/backup", "")
				if status != http.StatusOK {
					t.Fatalf("backup: %d %s", status, b)
				}
				if file == nil || len(b) > len(file) {
					file = b
				}
			}
			wg.Wait()
			l.goesOn(20)
			l.end()
			l.nothingWrong()
			p.stop()

			to := c.to(t)
			there := restored(t, file, to)
			if len(there) < 300 {
				t.Fatalf("%d Macs are in the backup", len(there))
			}
			p2 := start(t, to, flags...)
			listed := map[string]bool{}
			for _, d := range p2.devices("") {
				listed[d.ID] = true
			}
			l.through(p2)
			known := l.all()
			var ours []*reporter
			for _, r := range known {
				if !there[r.id] {
					continue
				}
				ours = append(ours, r)
				if !listed[r.id] {
					t.Errorf("%s is in the backup, and in no list", r.serial)
				}
			}
			if len(listed) < len(there) || len(ours) < 300 {
				t.Errorf("%d Macs in the backup, %d listed, %d of the test's", len(there), len(listed), len(ours))
			}
			l.each(ours, func(r *reporter) error {
				if r.Token() == "" { // it has enrolled, and not synced yet: a command in its queue tells it to
					return r.Poll(context.Background())
				}
				return r.Sync(context.Background())
			})
			tokens := map[string]string{}
			for _, r := range ours {
				tokens[r.id] = r.Token()
			}
			l.each(ours, func(r *reporter) error { return r.Sync(context.Background()) })
			for _, r := range ours {
				if r.Token() == "" || r.Token() != tokens[r.id] {
					t.Errorf("%s: token %q, then %q", r.serial, tokens[r.id], r.Token())
				}
			}
		})
	}
}

// restored restores a backup, holds the store against what a backup promises, and returns the Macs in it.
func restored(t *testing.T, file []byte, url string) map[string]bool {
	t.Helper()
	ctx := context.Background()
	db, err := app.OpenStore(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(file)), nil }
	if _, err := archive.Restore(ctx, open, db, archive.RestoreOptions{Now: time.Now()}); err != nil {
		t.Fatal(err)
	}
	store := storage.New(db)
	book, err := store.Book(ctx)
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	var ids []string
	if err := db.Partitions(ctx, func(names []string) error {
		for _, name := range names {
			if id, ok := strings.CutPrefix(name, storage.MacPartition("")); ok {
				ids = append(ids, id)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	records, err := store.Records(ctx, ids)
	if err != nil {
		t.Fatal(err)
	}
	certs := nano.New(db)
	for i, rec := range records {
		if rec == nil || !rec.Facts.Enrolled { // deleted, or in the middle of its enrolment
			continue
		}
		there[ids[i]] = true
		if rec.Book > book.Revision {
			t.Errorf("%s was planned with book %d, the backup has %d", ids[i], rec.Book, book.Revision)
		}
		var assoc []byte
		if err := db.View(ctx, storage.MacPartition(ids[i]), func(r storage.Reader) (err error) {
			assoc, err = r.Get(storage.KeyCertificates)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		_, hash, _ := strings.Cut(string(assoc), `"hash":"`)
		hash, _, _ = strings.Cut(hash, `"`)
		if id, err := certs.EnrollmentFromHash(ctx, hash); err != nil || id != ids[i] {
			t.Errorf("%s: its certificate %q is that of %q (%v)", ids[i], hash, id, err)
		}
	}
	return there
}
