package app_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"plimsoll/examples/macs/sim"
	"plimsoll/storage"
	"plimsoll/storage/storagetest"
)

func unzipped(t *testing.T, file string) []byte {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// unpackStore lays the files of an embedded store into a new folder.
func unpackStore(t *testing.T, folder string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "p.db*.gz"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no store in %s (%v)", folder, err)
	}
	dir := t.TempDir()
	for _, f := range files {
		name := filepath.Base(f)
		if err := os.WriteFile(filepath.Join(dir, name[:len(name)-len(".gz")]), unzipped(t, f), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return "bolt:" + filepath.Join(dir, "p.db")
}

// fillRedis gives a new server the commands of a dump, one a line.
func fillRedis(t *testing.T, folder string) string {
	t.Helper()
	url := storagetest.RedisServer(t).URL()
	o, err := goredis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	c := goredis.NewClient(o)
	defer func() { _ = c.Close() }()
	lines := json.NewDecoder(bytes.NewReader(unzipped(t, filepath.Join(folder, "dump.jsonl.gz"))))
	n := 0
	for ; lines.More(); n++ {
		var words [][]byte
		if err := lines.Decode(&words); err != nil {
			t.Fatal(err)
		}
		command := make([]any, len(words))
		for i, w := range words {
			command[i] = w
		}
		if err := c.Do(t.Context(), command...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if n == 0 {
		t.Fatal("the dump is empty")
	}
	return url
}

// restore brings a Mac to life that was saved, and is enrolled.
func (l *load) restore(saved []byte) *reporter {
	l.t.Helper()
	r := &reporter{l: l}
	mac, err := sim.Restore(saved, sim.Options{
		URL: "http://plimsoll.test", HTTP: &http.Client{Transport: r, Timeout: 30 * time.Second}, World: l.world, Keys: l.keys,
		CertHeader: certHeader, Stats: l.stats,
	})
	if err != nil {
		l.t.Fatal(err)
	}
	r.Mac, r.id, r.serial = mac, mac.Spec().UDID, mac.Spec().Serial
	return r
}

// names are the names, subjects or labels in a list of the API.
func names(t *testing.T, list []byte) (all []string) {
	t.Helper()
	var body map[string]json.RawMessage
	if err := json.Unmarshal(list, &body); err != nil {
		t.Fatal(err)
	}
	for _, raw := range body {
		var items []struct{ Name, Subject, Label string }
		if json.Unmarshal(raw, &items) != nil { // what stands beside the list
			continue
		}
		for _, it := range items {
			all = append(all, it.Name+it.Subject+it.Label)
		}
	}
	return all
}

// The stores of the versions that knew no format are opened for ever after: the Macs sync with their identities, the book is
// whole, and the lists are complete.
func TestStoresOfFormat0(t *testing.T) {
	for name, open := range map[string]func(*testing.T, string) string{"bolt": unpackStore, "redis": fillRedis} {
		t.Run(name, func(t *testing.T) {
			folder := filepath.Join("testdata", "format0", name)
			b, err := os.ReadFile(filepath.Join(folder, "said.json"))
			if err != nil {
				t.Fatal(err)
			}
			said := map[string]json.RawMessage{}
			if err := json.Unmarshal(b, &said); err != nil {
				t.Fatal(err)
			}
			tokens := map[string]string{}
			if err := json.Unmarshal(said["tokens"], &tokens); err != nil {
				t.Fatal(err)
			}
			delete(said, "tokens")

			p := start(t, open(t, folder), "--device-ca", filepath.Join(folder, "ca.pem"), "--cert-header", certHeader)
			var version struct{ Format int }
			p.call(http.MethodGet, "/version", "", http.StatusOK, &version)
			if version.Format != storage.Format {
				t.Errorf("the store has format %d", version.Format)
			}
			for path, before := range said {
				status, now := p.request(http.MethodGet, path, "")
				want := names(t, before)
				if got := names(t, now); status != http.StatusOK || len(want) == 0 || !sameNames(got, want) {
					t.Errorf("%s: %d %q, want %q", path, status, got, want)
				}
			}
			listed := map[string]bool{}
			for _, d := range p.devices("") {
				listed[d.ID] = true
			}
			l := newLoad(t, nil, p)
			var macs []*reporter
			for _, line := range bytes.Split(bytes.TrimSpace(unzipped(t, filepath.Join(folder, "macs.jsonl.gz"))), []byte("\n")) {
				r := l.restore(line)
				if _, known := tokens[r.id]; !known || !r.Enrolled() || !listed[r.id] {
					t.Errorf("%s is enrolled: %v, listed: %v", r.serial, r.Enrolled(), listed[r.id])
				}
				macs = append(macs, r)
			}
			if len(macs) == 0 || len(macs) != len(tokens) || len(listed) != len(macs) {
				t.Errorf("%d Macs, %d listed, want %d", len(macs), len(listed), len(tokens))
			}
			l.each(macs, func(r *reporter) error { return r.Poll(context.Background()) })
			for _, r := range macs {
				if r.Token() == "" {
					t.Errorf("%s has not synced", r.serial)
				}
			}
			l.nothingWrong()
		})
	}
}

// sameNames tells whether two lists name the same, in whatever order.
func sameNames(a, b []string) bool {
	count := map[string]int{}
	for _, n := range a {
		count[n]++
	}
	for _, n := range b {
		count[n]--
	}
	for _, n := range count {
		if n != 0 {
			return false
		}
	}
	return true
}
