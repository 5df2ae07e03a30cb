package plan

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"plimsoll/declarations"
	"plimsoll/declarations/release"
)

// feedFile reads one of Apple's real responses from the testdata of package release.
func feedFile(t rapid.TB, name string) []byte {
	t.Helper()
	f, err := os.Open("../release/testdata/" + name + ".gz")
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

func merge(t rapid.TB, known *release.Catalog, raw []byte, now time.Time) (*release.Catalog, bool) {
	t.Helper()
	f, err := release.ParseFeed(raw)
	if err != nil {
		t.Fatal(err)
	}
	next, changed, err := release.Merge(known, f, now)
	if err != nil {
		t.Fatal(err)
	}
	return next, changed
}

type observed struct {
	At   time.Time       `json:"observed_at"`
	Body json.RawMessage `json:"body"`
}

func history(t rapid.TB) []observed {
	t.Helper()
	var out []observed
	sc := bufio.NewScanner(bytes.NewReader(feedFile(t, "history-2025-09-20_2026-02-10.ndjson")))
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		var o observed
		if err := json.Unmarshal(sc.Bytes(), &o); err != nil {
			t.Fatal(err)
		}
		out = append(out, o)
	}
	if err := sc.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// daysAfter is the due date for each within_days, by the posting date of the first release that is missed.
var daysAfter = map[string]map[int]string{
	"2025-09-15": {7: "2025-09-22", 14: "2025-09-29", 21: "2025-10-06", 30: "2025-10-15", 45: "2025-10-30", 90: "2025-12-14"},
	"2025-09-29": {7: "2025-10-06", 14: "2025-10-13", 21: "2025-10-20", 30: "2025-10-29", 45: "2025-11-13", 90: "2025-12-28"},
	"2025-11-03": {7: "2025-11-10", 14: "2025-11-17", 21: "2025-11-24", 30: "2025-12-03", 45: "2025-12-18", 90: "2026-02-01"},
	"2025-12-12": {7: "2025-12-19", 14: "2025-12-26", 21: "2026-01-02", 30: "2026-01-11", 45: "2026-01-26", 90: "2026-03-12"},
}

// Apple's real history, day by day, with Macs that never update by themselves: each is due exactly within_days after the first
// release that it misses, whatever comes later, and what it is told changes only when something changed.
func TestReplay(t *testing.T) {
	macs := []struct {
		board, version, build string
		missed                string // when the first release that it misses was posted
		targets               string // the builds it is told to install, in order
	}{
		{"J413AP", "26.0", "25A354", "2025-09-29", "25A362 25B78 25C56"},
		{"J413AP", "26.0.1", "25A362", "2025-11-03", "25B78 25C56"},
		{"J704AP", "26.0.1", "25A8364", "2025-11-03", "25B78 25C56"},
		{"J604AP", "26.1", "25B78", "2025-12-12", "25C56"},
		{"J132AP", "14.8", "23J21", "2025-09-29", "23J30 23J126 23J220"},
		{"J604AP", "15.7.1", "24G231", "2025-11-03", "24G325 24G419"},
		{"J132AP", "15.6.1", "24G90", "2025-09-15", "24G222 24G231 24G325 24G419"},
		{"J413AP", "14.8.2", "23J126", "2025-12-12", "23J220"},
	}
	// The book of every day: the responses are merged when they came.
	rows := history(t)
	catalog := release.Snapshot()
	catalog.Releases = nil // what came after the history began is not known yet
	type day struct {
		now     time.Time
		catalog *release.Catalog
		changed bool
	}
	var days []day
	for d := at(t, "2025-09-20T23:00"); d.Before(at(t, "2026-03-20")); d = d.AddDate(0, 0, 1) {
		changed := false
		for len(rows) > 0 && !rows[0].At.After(d) {
			var c bool
			catalog, c = merge(t, catalog, rows[0].Body, rows[0].At)
			changed, rows = changed || c, rows[1:]
		}
		days = append(days, day{d, catalog, changed})
	}
	for _, within := range []int{7, 14, 21, 30, 45, 90} {
		w := given(t, fmt.Sprintf(`{"updates":{"mode":"automatic","within_days":%d}}`, within), "2025-01-01")
		lives := make([]*Mac, len(macs))
		last := make([]*Plan, len(macs))
		targets := make([][]string, len(macs))
		promised := make([]declarations.Local, len(macs))
		for i, m := range macs {
			lives[i] = mac(m.version, m.build)
			lives[i].Facts.Board = m.board
		}
		var b *Book
		for _, d := range days {
			if b == nil || d.changed {
				w.in.Catalog = d.catalog
				b = w.book()
			}
			for i, m := range lives {
				m.Asks = true
				p := b.Plan(m, d.now)
				if before := last[i]; before != nil && before.Token != p.Token && !d.changed && (before.NextAt.IsZero() || before.NextAt.After(d.now)) {
					t.Errorf("%s on %s, %d days, %v: the token changed though nothing did", m.Facts.Board, m.Facts.Version, within, d.now)
				}
				if p.Target != nil {
					if n := len(targets[i]); n == 0 || targets[i][n-1] != p.Target.Build {
						targets[i] = append(targets[i], p.Target.Build)
					}
					if promised[i] == 0 {
						promised[i] = p.Deadline
					}
					if p.Deadline != promised[i] {
						t.Errorf("%s on %s, %d days, %v: deadline %s, promised %s", m.Facts.Board, m.Facts.Version, within, d.now, p.Deadline, promised[i])
					}
				}
				m.Lanes, last[i] = p.NextLanes.MarkServed(p), p
			}
		}
		for i, m := range macs {
			due := local(t, daysAfter[m.missed][within]+"T12:00")
			if p := last[i]; p.Target == nil || p.Due != due {
				t.Errorf("%s on %s, %d days: target %v due %s, want %s", m.board, m.version, within, p.Target, p.Due, due)
			}
			deadline := due
			if m.missed == "2025-09-15" && within == 7 { // it was missed before we began: five days from 2025-09-20T23:00Z
				deadline = local(t, "2025-09-27T12:00")
			}
			if promised[i] != deadline {
				t.Errorf("%s on %s, %d days: deadline %s, want %s", m.board, m.version, within, promised[i], deadline)
			}
			if got := strings.Join(targets[i], " "); got != m.targets {
				t.Errorf("%s on %s, %d days: targets %s, want %s", m.board, m.version, within, got, m.targets)
			}
		}
	}
}

// The build 25A8364 of 26.0.1 is for one board, and never a target for another.
func TestReplayOneBoardBuild(t *testing.T) {
	c, _ := merge(t, nil, feedFile(t, "pmv-2025-10-16T0050Z-two-builds-of-26.0.1.json"), at(t, "2025-10-16T00:50"))
	w := given(t, `{"os":{"track":"latest","upgrade":"enforce"},"updates":{"mode":"minimum","version":"26.0.1","deadline":"2025-11-01T12:00:00"}}`, "2025-01-01")
	w.in.Catalog = c
	boards := map[string]bool{}
	for i := range c.Releases {
		for _, d := range c.Releases[i].Devices {
			boards[d] = true
		}
	}
	targeted := 0
	for board := range boards {
		m := mac("15.6.1", "24G90")
		m.Facts.Board = board
		p := w.book().Plan(m, at(t, "2025-10-16T01:00"))
		if p.Target == nil {
			continue
		}
		if (p.Target.Build == "25A8364") != (board == "J704AP") {
			t.Errorf("%s is to install %s", board, p.Target.Build)
		}
		targeted++
	}
	if targeted < 50 {
		t.Errorf("only %d boards have a target", targeted)
	}
}

// As Apple published it: 26.3.2 is for one board, and 26.3.1 came in two entries, one of them for that board.
func TestReplayNewestPerBoard(t *testing.T) {
	w := given(t, automatic14, "2026-01-01")
	w.in.Catalog, _ = merge(t, nil, feedFile(t, "pmv-2026-03-17T1834Z-first-BSI.json"), at(t, "2026-03-17T18:34"))
	for board, build := range map[string]string{"J700AP": "25D2140", "J413AP": "25D2128", "J704AP": "25D2128"} {
		m := mac("26.3", "25D125")
		m.Facts.Board = board
		if p := w.step(m, "2026-03-17T19:00", true); p.Target == nil || p.Target.Build != build {
			t.Errorf("%s is to install %v, want %s", board, p.Target, build)
		}
	}
}

const bsiPolicy = `{"updates":{"mode":"none"},"background_security":{"mode":"automatic","within_days":2}}`

// The two real BSIs, on the day they appeared and five months later.
func TestReplayBSI(t *testing.T) {
	first, _ := merge(t, nil, feedFile(t, "pmv-2026-03-17T1834Z-first-BSI.json"), at(t, "2026-03-17T18:34"))
	later := release.Snapshot()
	payload := map[string]string{
		"25D771280a": `"TargetBuildVersion":"25D771280a","TargetLocalDateTime":"2026-03-19T12:00:00","TargetOSVersion":"26.3.1"`,
		"25D771400a": `"TargetBuildVersion":"25D771400a","TargetLocalDateTime":"2026-03-19T12:00:00","TargetOSVersion":"26.3.2"`,
	}
	const elsewhere = "J132AP" // an Intel Mac that ends with macOS 15
	for _, tt := range []struct {
		name     string
		catalog  *release.Catalog
		now      string
		optional bool
	}{{"on the day", first, "2026-03-17T19:00", false}, {"five months later", later, "2026-08-22T19:00", true}} {
		t.Run(tt.name, func(t *testing.T) {
			w := given(t, `{"notice_days":0,`+bsiPolicy[1:], "2026-01-01")
			w.in.Catalog = tt.catalog
			b := w.book()
			boards := map[string]bool{elsewhere: true}
			for i := range tt.catalog.Releases {
				for _, d := range tt.catalog.Releases[i].Devices {
					boards[d] = true
				}
			}
			count := map[string]int{}
			for board := range boards {
				for _, base := range [][2]string{{"26.3.1", "25D2128"}, {"26.3.2", "25D2140"}, {"26.3", "25D125"}, {"26.6.2", "25G83"}} {
					m := mac(base[0], base[1])
					m.Facts.Board = board
					p := b.Plan(m, at(t, tt.now))
					checkPlan(t, b, m, at(t, tt.now), p)
					want := ""
					switch {
					case board == "J700AP" && base[1] == "25D2140":
						want = "25D771400a"
					case board != "J700AP" && base[1] == "25D2128" && contains(tt.catalog.Releases[indexOf(tt.catalog, "25D771280a")].Devices, board):
						want = "25D771280a"
					}
					got := ""
					if p.Target != nil {
						got = p.Target.Build
					}
					if got != want || p.MissingBSI != p.Target {
						t.Errorf("%s on %s: target %q, want %q", board, base[0], got, want)
						continue
					}
					if got == "" {
						continue
					}
					count[got]++
					deadline := local(t, "2026-03-19T12:00")
					if tt.optional != p.Optional || p.Due != deadline || p.Lane != BSI {
						t.Errorf("%s: optional %v, due %s, lane %s", board, p.Optional, p.Due, p.Lane)
					}
					if !tt.optional && !bytes.Contains(body(p, declarations.IDBSI), []byte(payload[got])) {
						t.Errorf("%s: %s", board, body(p, declarations.IDBSI))
					}
				}
			}
			if count["25D771280a"] != 62 || count["25D771400a"] != 1 {
				t.Errorf("reached %v", count)
			}
		})
	}
}

func indexOf(c *release.Catalog, build string) int {
	for i := range c.Releases {
		if c.Releases[i].Build == build {
			return i
		}
	}
	return -1
}

func body(p *Plan, identifier string) []byte {
	for i := range p.Declarations {
		if p.Declarations[i].Identifier == identifier {
			return p.Declarations[i].Body
		}
	}
	return nil
}
