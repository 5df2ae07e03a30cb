package release

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// unzipped reads a file of testdata.
func unzipped(t testing.TB, name string) []byte {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name+".gz"))
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

func parsed(t testing.TB, b []byte) *Feed {
	t.Helper()
	f, err := ParseFeed(b)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func merged(t testing.TB, known *Catalog, f *Feed, at string) (*Catalog, bool) {
	t.Helper()
	c, changed, err := Merge(known, f, when(t, at))
	if err != nil {
		t.Fatal(err)
	}
	return c, changed
}

func when(t testing.TB, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// body writes a feed; sets not named are missing. Entries are "version build posted expires devices…", for
// BSIs with "letter prerequisite" before the devices.
func body(t testing.TB, sets map[string][]string) []byte {
	t.Helper()
	out := map[string]any{}
	for name, lines := range sets {
		entries := []map[string]any{}
		for _, l := range lines {
			w := strings.Fields(l)
			e := map[string]any{"ProductVersion": w[0], "Build": w[1], "PostingDate": w[2], "ExpirationDate": w[3]}
			w = w[4:]
			if strings.HasPrefix(name, "PublicBackground") || strings.HasPrefix(name, "PublicRapid") {
				e["ProductVersionExtra"], e["PrerequisiteBuild"] = w[0], w[1]
				w = w[2:]
			}
			e["SupportedDevices"] = w
			entries = append(entries, e)
		}
		out[name] = map[string]any{"macOS": entries, "iOS": []any{}}
	}
	b, err := json.Marshal(out)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func feedOf(t testing.TB, lines ...string) *Feed {
	t.Helper()
	return parsed(t, body(t, map[string][]string{"AssetSets": lines}))
}

func find(t testing.TB, c *Catalog, build string) Release {
	t.Helper()
	for _, r := range c.Releases {
		if r.Build == build {
			return r
		}
	}
	t.Fatalf("the catalogue lacks %s", build)
	return Release{}
}

// on lists the builds that are available, in catalogue order.
func on(c *Catalog) []string {
	var b []string
	for _, r := range c.Releases {
		if r.Available {
			b = append(b, r.Build)
		}
	}
	return b
}

type fetched struct {
	at   time.Time
	body []byte
}

// history is every real response there is, in the order of time.
func history(t testing.TB) []fetched {
	t.Helper()
	var all []fetched
	lines := bufio.NewScanner(bytes.NewReader(unzipped(t, "history-2025-09-20_2026-02-10.ndjson")))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var l struct {
			ObservedAt time.Time       `json:"observed_at"`
			Body       json.RawMessage `json:"body"`
		}
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			t.Fatal(err)
		}
		all = append(all, fetched{l.ObservedAt, slices.Clone(l.Body)})
	}
	if err := lines.Err(); err != nil || len(all) != 22 {
		t.Fatalf("history has %d lines: %v", len(all), err)
	}
	for name, at := range map[string]string{
		"pmv-2025-10-16T0050Z-two-builds-of-26.0.1.json":                            "2025-10-16T00:50:00Z",
		"pmv-2025-10-29T1843Z-last-with-PublicRapidSecurityResponses.json":          "2025-10-29T18:43:00Z",
		"pmv-2025-10-30T0050Z-first-with-PublicBackgroundSecurityImprovements.json": "2025-10-30T00:50:00Z",
		"pmv-2026-03-17T1834Z-first-BSI.json":                                       "2026-03-17T18:34:00Z",
	} {
		all = append(all, fetched{when(t, at), unzipped(t, name)})
	}
	all = append(all, fetched{when(t, "2026-08-22T00:00:00Z"), snapshotJSON})
	slices.SortFunc(all, func(a, b fetched) int { return a.at.Compare(b.at) })
	return all
}
