// Package proof makes the evidence pack of a patch report: one zip with the report as a page, as a table and as JSON.
package proof

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"plimsoll/server/fleet"
	"plimsoll/server/sheet"
	"plimsoll/status/patching"
)

// Contents are what a pack is made of.
type Contents struct {
	Report *patching.Patching
	// Audit is the last entry of the audit on the day of the report; nil when there is none, or none is kept any more.
	Audit *fleet.AuditMark
	// Macs are those that are not patched in time, from what is known when the pack is made; nil: they were not asked for. With them
	// the pack is another one each day.
	Macs []fleet.LateMac
}

// file is one file of the pack.
type file struct {
	name string
	body []byte
}

// Pack is the zip (API 5.6): stored and not compressed, all its times the day that the report is of. It is a function of its
// contents: the same contents give the same bytes.
func Pack(c Contents) ([]byte, error) {
	files, err := c.files()
	if err != nil {
		return nil, err
	}
	var sums strings.Builder
	for _, f := range files {
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(f.body), f.name)
	}
	files = append(files, file{"SHA256SUMS", []byte(sums.String())})
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, f := range files {
		w, err := z.CreateHeader(&zip.FileHeader{Name: f.name, Method: zip.Store, Modified: c.Report.AsOf.Time()})
		if err == nil {
			_, err = w.Write(f.body)
		}
		if err != nil {
			return nil, fmt.Errorf("write %s: %w", f.name, err)
		}
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("write the evidence pack: %w", err)
	}
	return b.Bytes(), nil
}

func (c *Contents) files() ([]file, error) {
	page, err := c.page()
	if err != nil {
		return nil, err
	}
	table, err := sheet.Table(rows(c.Report))
	if err != nil {
		return nil, err
	}
	report, err := json.Marshal(c.Report)
	if err != nil {
		return nil, fmt.Errorf("encode the report: %w", err)
	}
	audit, err := json.Marshal(auditOfDay{c.Report.AsOf.String(), c.Audit})
	if err != nil {
		return nil, fmt.Errorf("encode the head of the audit: %w", err)
	}
	files := []file{
		{"report.html", page}, {"releases.csv", table}, {"report.json", append(report, '\n')}, {"audit.json", append(audit, '\n')},
	}
	if c.Macs != nil {
		macs, err := sheet.Table(c.Macs)
		if err != nil {
			return nil, err
		}
		files = append(files, file{"macs.csv", macs})
	}
	return files, nil
}

// auditOfDay is audit.json; last is null when nothing was changed by then, or the entry is not kept any more.
type auditOfDay struct {
	AsOf string           `json:"as_of"`
	Last *fleet.AuditMark `json:"last"`
}

// row is a release in releases.csv.
type row struct {
	Version     string `json:"version"`
	Letter      string `json:"letter"`
	Posted      string `json:"posted"`
	Exploited   bool   `json:"exploited"`
	Partial     bool   `json:"partial"`
	Macs        int    `json:"macs"`
	Patched     int    `json:"patched"`
	Gone        int    `json:"gone"`
	Silent      int    `json:"silent"`
	Exempt      int    `json:"exempt"`
	Open        int    `json:"open"`
	LateMacs    int    `json:"late_macs"`
	LatePatched int    `json:"late_patched"`
	LateOpen    int    `json:"late_open"`
	Median      *int   `json:"median_days"`
	P90         *int   `json:"p90_days"`
	P95         *int   `json:"p95_days"`
	// Of the limit that was asked for, or of 14 days.
	Limit   string `json:"limit"`
	Yes     int    `json:"within_limit_yes"`
	No      int    `json:"within_limit_no"`
	Unknown int    `json:"within_limit_unknown"`
}

func rows(p *patching.Patching) []row {
	all := make([]row, 0, len(p.Releases))
	for i := range p.Releases {
		r := &p.Releases[i]
		key := LimitOf(p.SLA, r)
		w := r.Within[key]
		all = append(all, row{
			Version: string(r.Version), Letter: r.Letter, Posted: r.Posted.String(), Exploited: r.Exploited, Partial: r.Partial,
			Macs: r.Macs, Patched: r.Patched, Gone: r.Gone, Silent: r.Silent, Exempt: r.Exempt, Open: r.Open,
			LateMacs: r.Late.Macs, LatePatched: r.Late.Patched, LateOpen: r.Late.Open,
			Median: r.Median, P90: r.P90, P95: r.P95, Limit: key, Yes: w.Yes, No: w.No, Unknown: w.Unknown,
		})
	}
	return all
}

// LimitOf is the key in within of the limit that holds for a release: the one that was asked for, or 14 days.
func LimitOf(sla *patching.SLA, r *patching.Release) string {
	if sla == nil {
		sla = &patching.SLA{Days: 14}
	}
	return sla.Key(r.Exploited)
}

// limits are the keys of within, the shortest first.
func limits(r *patching.Release) []string {
	keys := make([]string, 0, len(r.Within))
	for key := range r.Within {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b string) int { return hours(a) - hours(b) })
	return keys
}

// hours reads "48h" or "14d".
func hours(key string) int {
	if days, ok := strings.CutSuffix(key, "d"); ok {
		key = days + "h"
		d, _ := time.ParseDuration(key)
		return int(d.Hours()) * 24
	}
	d, _ := time.ParseDuration(key)
	return int(d.Hours())
}
