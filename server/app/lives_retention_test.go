package app_test

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"plimsoll/storage"
)

// posted is an answer of Apple's feed, and when it was first seen.
type posted struct {
	At   time.Time       `json:"observed_at"`
	Body json.RawMessage `json:"body"`
}

// appleYear is what Apple's feed said from September 2025 to August 2026.
func appleYear(t *testing.T) []posted {
	t.Helper()
	f, err := os.Open("../../declarations/release/testdata/history-2025-09-20_2026-02-10.ndjson.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var year []posted
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var p posted
		if err := json.Unmarshal(lines.Bytes(), &p); err != nil {
			t.Fatal(err)
		}
		year = append(year, p)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return append(year, posted{instantOf("2026-03-17T18:34"), springFeed(t)}, posted{instantOf("2026-08-22T18:30"), summerFeed(t)})
}

// A year of a Mac's life, with a full report a day, a policy edit a week, and Apple's real releases, stays bounded in the database.
func TestAYearStaysBounded(t *testing.T) {
	t.Parallel()
	year := appleYear(t)
	const keepHistory = 120 * 24 * time.Hour // shorter than the year, so that this limit shows too
	l := newLives(t, "2025-09-22T09:00", year[0].Body, func(l *lives) { l.header, l.keepHistory = "Client-Cert", keepHistory })
	store := storage.New(l.db)
	l.call("POST", "/v1/policies", fortnight, http.StatusCreated, nil)
	m := l.air("C02YEAR", "26.0", "25A354")
	m.enrol()
	l.sweep()
	m.poll()
	year = year[1:]
	var half int
	for week := 1; week <= 52; week++ {
		full := l.lastReport(m)
		for range 6 { // days on which nothing happens but the daily report
			l.clock.Add(24 * 3600)
			m.ok(l.fleet.Ingest(t.Context(), m.id(), full))
		}
		l.clock.Add(24 * 3600)
		for len(year) > 0 && !year[0].At.After(l.now()) {
			l.publish(year[0].Body)
			l.call("POST", "/v1/catalog/refresh", "", http.StatusOK, nil)
			year = year[1:]
		}
		edited := strings.Replace(fortnight, `"within_days":14`, fmt.Sprintf(`"within_days":%d`, 10+week%9), 1)
		edited = strings.TrimSuffix(edited, "}") + fmt.Sprintf(`,"settings":{"Deferrals":{"MinorPeriodInDays":%d}}}`, week)
		l.call("PUT", "/v1/policies/everyone", edited, http.StatusOK, nil)
		l.sweep()
		m.poll()
		if m.Targeted() {
			for m.Targeted() { // the user installs what is asked, in stages
				l.clock.Add(1800)
				m.ok(m.Step(t.Context()))
			}
			l.sweep()
			m.poll()
		}
		m.ok(m.Report(t.Context(), true))
		m.ok(store.SetDay(t.Context(), l.now().Format(time.DateOnly), l.historyRow()))
		if week%4 == 0 {
			l.fleet.Trim(t.Context())
		}
		if week == 26 {
			_, half = l.contents(storage.MacPartition(m.id()))
		}
	}
	l.fleet.Trim(t.Context())
	if got := l.fleet.Stats().Counters.ReportsAccepted.Load(); got < 364 {
		t.Errorf("%d reports in a year", got)
	}
	if got := m.opt.Stats.Updates.Load(); got < 5 {
		t.Errorf("%d updates in a year", got)
	}

	keys, size := l.contents(storage.MacPartition(m.id()))
	count := map[string][]string{}
	for _, k := range keys {
		prefix, _, _ := strings.Cut(k, "/")
		count[prefix] = append(count[prefix], k)
	}
	for prefix, want := range map[string]struct{ least, most int }{
		"r": {20, 20}, "e": {20, 400}, "mh": {10, 60}, "b": {4, 100}, "n": {5, 40}, // NanoMDM's records: answers to commands, mostly
	} {
		if n := len(count[prefix]); n < want.least || n > want.most {
			t.Errorf("%d keys under %s/, want %d to %d", n, prefix, want.least, want.most)
		}
	}
	if len(keys) > 250 {
		t.Errorf("%d keys: %q", len(keys), keys)
	}
	// Half a year later there is no more than there was: what is kept depends on the limits, not on the Mac's age.
	if size > 256<<10 || size > half*3/2 {
		t.Errorf("the Mac takes %d bytes, %d after half a year", size, half)
	}
	for _, e := range l.events(m.id()) {
		if l.now().Sub(e.At) > 90*24*time.Hour {
			t.Errorf("an event of %s is kept", e.At)
		}
	}
	l.manifestsWithin(m, keepHistory)

	days, _ := l.contents(storage.HistoryPartition)
	if n := len(days); n < 17 || n > 18 {
		t.Errorf("%d rows of history are kept", n)
	}
	shards := 0
	for n := range storage.Shards {
		keys, _ := l.contents(storage.ShardPartition(n))
		shards += len(keys)
	}
	if shards > 450 { // of events no more than the Mac's own, and a few keys of the index
		t.Errorf("the index has %d keys for one Mac", shards)
	}
	l.visitAll(m.id())
}

// manifestsWithin holds the kept manifests against the limit: what was replaced before it is gone, what was in force then is still told.
func (l *lives) manifestsWithin(m *simMac, limit time.Duration) {
	l.t.Helper()
	held := func(at time.Time) string {
		var man struct {
			Token string `json:"declarations_token"`
		}
		l.call("GET", "/v1/devices/"+m.id()+"/declarations?at="+at.Format(time.RFC3339), "", http.StatusOK, &man)
		return man.Token
	}
	if at := l.now().Add(-limit); held(at) == "" {
		l.t.Errorf("what the Mac held at %s is not known", at)
	}
	if at := l.now().Add(-limit - 30*24*time.Hour); held(at) != "" {
		l.t.Errorf("what the Mac held at %s is still kept", at)
	}
	if held(l.now()) != m.Token() {
		l.t.Error("what the Mac holds is not told")
	}
}

// lastReport is the full report that the Mac sent last.
func (l *lives) lastReport(m *simMac) []byte {
	l.t.Helper()
	var body []byte
	err := storage.New(l.db).ViewMac(l.t.Context(), m.id(), func(mac *storage.Mac) error {
		reports, err := mac.Reports()
		if err != nil {
			return err
		}
		i := slices.IndexFunc(reports, func(r storage.KeptReport) bool { return r.Full })
		body = reports[max(0, i)].Body
		return nil
	})
	if err != nil || len(body) == 0 {
		l.t.Fatalf("no report is kept: %v", err)
	}
	return body
}

// historyRow is a day's row as the server keeps it, every few minutes by its own clock.
func (l *lives) historyRow() []byte {
	l.t.Helper()
	c, err := l.fleet.Compliance(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	all := map[string]any{"date": l.now().Format(time.DateOnly), "devices": c.Devices, "states": c.States, "flags": c.Flags, "versions": map[string]int{}}
	row, err := json.Marshal(map[string]any{"all": all, "policies": map[string]any{"everyone": all}})
	if err != nil {
		l.t.Fatal(err)
	}
	return row
}

// contents are the keys of a partition, and how many bytes they take with their values.
func (l *lives) contents(partition string) (keys []string, size int) {
	l.t.Helper()
	err := l.db.View(l.t.Context(), partition, func(r storage.Reader) error {
		keys, size = nil, 0
		for after := ""; ; {
			entries, err := r.List("", after, 500)
			if err != nil || len(entries) == 0 {
				return err
			}
			for _, e := range entries {
				keys = append(keys, e.Key)
				size += len(e.Key) + len(e.Value)
			}
			after = keys[len(keys)-1]
		}
	})
	if err != nil {
		l.t.Fatal(err)
	}
	if !slices.IsSorted(keys) {
		l.t.Errorf("the keys of %s are not in order", partition)
	}
	return keys, size
}
