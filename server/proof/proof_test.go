package proof

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"plimsoll/declarations/release"
	"plimsoll/server/fleet"
	"plimsoll/status/patching"
)

func sample() Contents {
	posted := release.DayOf(time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC))
	sla, _ := patching.ParseSLA("essential-eight-ml3")
	three, nine := 3, 9
	return Contents{
		Report: &patching.Patching{
			Format: 1, AsOf: posted + 20, Closed: true, CompleteFrom: posted - 10, SLA: &sla,
			Releases: []patching.Release{
				{
					Version: "26.4", Letter: "a", Posted: posted, Exploited: true, Macs: 10, Patched: 9, Open: 1, Late: patching.Late{Macs: 1, Open: 1},
					Curve: [][2]float64{{3, 0.5}, {9, 0.9}}, Median: &three, P90: &nine,
					Within: map[string]patching.Within{"48h": {Yes: 3, No: 1, Unknown: 6}, "7d": {Yes: 7, No: 3}, "14d": {Yes: 9, No: 1}, "30d": {Yes: 9, Unknown: 1}},
				},
				{Version: "26.3", Posted: posted - 20, Partial: true, Curve: [][2]float64{}, Within: map[string]patching.Within{"30d": {}}},
			},
		},
		Audit: &fleet.AuditMark{N: 7, Hash: strings.Repeat("ab", 32)},
		Macs:  []fleet.LateMac{{Device: "d", Serial: "=1+1", State: patching.Open, Reasons: []string{"held", "silent"}}},
	}
}

func unpack(t *testing.T, pack []byte) map[string][]byte {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(pack), int64(len(pack)))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		if files[f.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
		if f.Method != zip.Store || !f.Modified.Equal(time.Date(2026, 3, 22, 0, 0, 0, 0, time.UTC)) {
			t.Errorf("%s: method %d, %s", f.Name, f.Method, f.Modified)
		}
	}
	return files
}

// The sums verify, the same contents give the same bytes, and each file can be read as what it is.
func TestPack(t *testing.T) {
	pack, err := Pack(sample())
	if err != nil {
		t.Fatal(err)
	}
	if again, err := Pack(sample()); err != nil || !bytes.Equal(again, pack) {
		t.Errorf("the same contents gave other bytes (%v)", err)
	}
	files := unpack(t, pack)
	sums := strings.Split(strings.TrimSpace(string(files["SHA256SUMS"])), "\n")
	if len(sums) != 5 || len(files) != 6 {
		t.Errorf("%d sums of %d files", len(sums), len(files))
	}
	for _, line := range sums {
		sum, name, _ := strings.Cut(line, "  ")
		if fmt.Sprintf("%x", sha256.Sum256(files[name])) != sum {
			t.Errorf("the sum of %q is wrong", name)
		}
	}
	table, err := csv.NewReader(bytes.NewReader(files["releases.csv"])).ReadAll()
	if err != nil || len(table) != 3 || table[0][17] != "limit" || table[1][17] != "48h" || table[1][18] != "3" || table[2][17] != "30d" {
		t.Errorf("releases.csv: %v, %v", table, err)
	}
	if macs, err := csv.NewReader(bytes.NewReader(files["macs.csv"])).ReadAll(); err != nil || len(macs) != 2 || macs[1][1] == "=1+1" {
		t.Errorf("macs.csv holds a formula: %v, %v", macs, err)
	}
	var report struct{ Releases []struct{ Macs int } }
	if err := json.Unmarshal(files["report.json"], &report); err != nil || report.Releases[0].Macs != 10 {
		t.Errorf("report.json: %+v, %v", report, err)
	}
	if got := string(files["audit.json"]); got != `{"as_of":"2026-03-22","last":{"n":7,"hash":"`+strings.Repeat("ab", 32)+"\"}}\n" {
		t.Errorf("audit.json: %s", got)
	}
	without := sample()
	without.Macs, without.Audit = nil, nil
	if pack, err = Pack(without); err != nil || unpack(t, pack)["macs.csv"] != nil {
		t.Errorf("a list of Macs that nobody asked for (%v)", err)
	}
}

// The page has a section for each release, needs no network, and says how it counts.
func TestReportPage(t *testing.T) {
	c := sample()
	c.Report.Releases[1].Version = `<script>alert(1)</script>`
	body, err := c.page()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?:src|href)="([^"]*)"|url\(`).FindAllStringSubmatch(string(body), -1) {
		if !strings.HasPrefix(m[1], "#") {
			t.Errorf("%s asks for something", m[0])
		}
	}
	for element, want := range map[string]int{"<section": 2, "<svg": 2, "<script": 0, "<link": 0, "<img": 0} {
		if n := bytes.Count(body, []byte(element)); n != want {
			t.Errorf("%d times %s, want %d", n, element, want)
		}
	}
	for _, want := range []string{
		"macOS 26.4 (a)", "Kaplan-Meier", "@media print", "2 days for a release that fixes an exploited vulnerability", "48 hours", "75.0%",
		"3 days", "9 days", "never yet", "Partial", "none is known", "2023-11",
	} {
		if !strings.Contains(string(body), want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	c.Report.Releases, c.Report.SLA = nil, nil
	if body, err = c.page(); err != nil || !strings.Contains(string(body), "No Mac missed a release") {
		t.Errorf("a fleet without rows: %v", err)
	}
}

// A curve begins at nothing, is level until it steps, and never goes down.
func TestCurve(t *testing.T) {
	for _, c := range []struct {
		name       string
		steps      [][2]float64
		last, days int
		want       string
	}{
		{"nobody", nil, 10, 10, "0,100 1000.0,100.0"},
		{"one step", [][2]float64{{5, 0.25}}, 10, 10, "0,100 500.0,100.0 500.0,75.0 1000.0,75.0"},
		{"at once", [][2]float64{{0, 1}}, 4, 8, "0,100 0.0,100.0 0.0,0.0 500.0,0.0"},
		{"beyond what is drawn", [][2]float64{{2, 0.5}, {9, 1}}, 9, 4, "0,100 500.0,100.0 500.0,50.0 1000.0,50.0"},
		{"on the day of the posting", nil, 0, 0, "0,100 0.0,100.0"},
	} {
		if got := Curve(c.steps, c.last, c.days); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestWords(t *testing.T) {
	for key, want := range map[string]string{"48h": "48 hours", "1d": "1 day", "7d": "7 days", "21d": "21 days"} {
		if got := Words(key); got != want {
			t.Errorf("%s: %s, want %s", key, got, want)
		}
	}
	if Percent(0.99996) != "99.9%" || Percent(1) != "100.0%" || Percent(0) != "0.0%" {
		t.Error("what is not all is 100.0%")
	}
}
