package patching

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"

	"plimsoll/declarations/release"
)

// Format is the number of the reports' format. A change of what a number means is a new one, and the old one stays readable.
const Format = 1

// SLA is a time limit for patching: a number of days of the caller's own, or a published profile.
type SLA struct {
	Profile string `json:"profile,omitempty"`
	Days    int    `json:"days"`
	// ExploitedDays replaces Days for a release that is known to fix an actively exploited vulnerability; 0: it does not.
	ExploitedDays int    `json:"exploited_days,omitempty"`
	Source        string `json:"source,omitempty"`
	SourceDate    string `json:"source_date,omitempty"` // of the edition that was read
}

// Profiles are the published limits.
var Profiles = []SLA{
	{
		Profile: "cyber-essentials", Days: 14,
		Source: "NCSC, Cyber Essentials: Requirements for IT Infrastructure v3.2, Security update management", SourceDate: "2025-04",
	},
	{
		Profile: "essential-eight", Days: 30,
		Source: "ASD, Essential Eight Maturity Model, Patch operating systems, maturity level one: one month", SourceDate: "2023-11",
	},
	{
		Profile: "essential-eight-ml3", Days: 30, ExploitedDays: 2,
		Source:     "ASD, Essential Eight Maturity Model, Patch operating systems, maturity level three: 48 hours or one month",
		SourceDate: "2023-11",
	},
	{
		Profile: "cis", Days: 30,
		Source: "CIS Controls v8.1, safeguard 7.3: monthly, or more frequently", SourceDate: "2024-06",
	},
}

const maxSLADays = 365

// ParseSLA reads a number of days from 1 to 365, or the name of a profile.
func ParseSLA(s string) (SLA, error) {
	for _, p := range Profiles {
		if p.Profile == s {
			return p, nil
		}
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > maxSLADays || strconv.Itoa(n) != s {
		names := make([]string, len(Profiles))
		for i, p := range Profiles {
			names[i] = p.Profile
		}
		return SLA{}, fmt.Errorf("sla %q is neither a number of days from 1 to %d nor one of %q", s, maxSLADays, names)
	}
	return SLA{Days: n}, nil
}

// limit is the days that hold for a release, and their key in `within`.
func (s *SLA) limit(exploited bool) (days int, key string) {
	if exploited && s.ExploitedDays > 0 && s.ExploitedDays < s.Days {
		return s.ExploitedDays, strconv.Itoa(24*s.ExploitedDays) + "h"
	}
	return s.Days, strconv.Itoa(s.Days) + "d"
}

// Limit is the days that hold for a release, which may be known to fix an exploited vulnerability.
func (s *SLA) Limit(exploited bool) int {
	days, _ := s.limit(exploited)
	return days
}

// Key names the limit that holds for a release in `within`: "14d", "48h".
func (s *SLA) Key(exploited bool) string {
	_, key := s.limit(exploited)
	return key
}

// Overdue counts the Macs that were enrolled when the release was posted, missed it, and still do on a day on which the limit has
// passed, exempt ones too. Macs that left or fell silent are not among them.
func (c *Count) Overdue(day release.Day, sla SLA) int {
	_, watched := c.censored(day)
	return within(sla.Limit(c.Exploited), nil, nil, watched).No
}

// Question is what a report is asked for.
type Question struct {
	AsOf         release.Day // the closed day
	Closed       bool
	CompleteFrom release.Day
	From, To     release.Day // postings, both included
	SLA          *SLA
	Release      *Key // only this one
}

// Patching is a patch report.
type Patching struct {
	Format       int         `json:"format"`
	AsOf         release.Day `json:"as_of"`
	Closed       bool        `json:"closed"`
	CompleteFrom release.Day `json:"complete_from"`
	SLA          *SLA        `json:"sla"`
	Releases     []Release   `json:"releases"` // newest posting first
}

// Release is the report on one release.
type Release struct {
	Version   release.Version `json:"version"`
	Letter    string          `json:"letter"`
	Posted    release.Day     `json:"posted"`
	Exploited bool            `json:"exploited"`
	Partial   bool            `json:"partial"` // posted before complete_from

	Macs    int `json:"macs"` // the sum of the five below
	Patched int `json:"patched"`
	Gone    int `json:"gone"`
	Silent  int `json:"silent"`
	Exempt  int `json:"exempt"`
	Open    int `json:"open"`

	Late Late `json:"late"`

	// Curve is [day, share] where the estimated share of patched Macs steps: Kaplan-Meier, in millionths.
	Curve  [][2]float64 `json:"curve"`
	Median *int         `json:"median_days"` // the first day on which the curve reaches one half; null: never yet
	P90    *int         `json:"p90_days"`
	P95    *int         `json:"p95_days"`

	Within map[string]Within `json:"within"`
}

// Name is the version, with the letter of a Background Security Improvement: "26.3.1 (a)".
func (r *Release) Name() string {
	if r.Letter == "" {
		return string(r.Version)
	}
	return string(r.Version) + " (" + r.Letter + ")"
}

// Late are the Macs that enrolled after the posting; they are in no other number.
type Late struct {
	Macs    int `json:"macs"`
	Patched int `json:"patched"`
	Open    int `json:"open"`
}

// Step is a day on which the curve steps, and the estimated share that is patched from that day on, in millionths.
type Step struct {
	Day   int
	Share float64
}

// Within tells of a limit how many Macs kept it; the three add up to Macs.
type Within struct {
	Yes     int `json:"yes"`     // patched in time
	No      int `json:"no"`      // seen unpatched when the limit had passed
	Unknown int `json:"unknown"` // censored before
}

// Report is the answer to a question from the counts of one scope. It is a function of these alone.
func Report(counts map[Key]*Count, q Question) Patching {
	p := Patching{
		Format: Format, AsOf: q.AsOf, Closed: q.Closed, CompleteFrom: q.CompleteFrom, SLA: q.SLA, Releases: []Release{},
	}
	for k, c := range counts {
		if c.Posted < q.From || c.Posted > q.To || c.Posted > q.AsOf || q.Release != nil && *q.Release != k {
			continue
		}
		p.Releases = append(p.Releases, c.report(k, &q))
	}
	slices.SortFunc(p.Releases, func(a, b Release) int {
		return cmp.Or(cmp.Compare(b.Posted, a.Posted), b.Version.Compare(a.Version), cmp.Compare(b.Version, a.Version),
			cmp.Compare(b.Letter, a.Letter))
	})
	return p
}

func (c *Count) report(k Key, q *Question) Release {
	left, watched := c.censored(q.AsOf)
	r := Release{
		Version: k.Version, Letter: k.Letter, Posted: c.Posted, Exploited: c.Exploited, Partial: c.Posted < q.CompleteFrom,
		Macs: c.Macs(), Patched: c.Patched.total(), Gone: c.Gone.total(), Silent: c.Silent.total(), Exempt: c.Exempt, Open: c.Open,
		Late:  Late{Macs: c.LateDone + c.LateOpen, Patched: c.LateDone, Open: c.LateOpen},
		Curve: [][2]float64{}, Within: map[string]Within{},
	}
	curve := Curve(c.Patched, left, watched)
	for _, s := range curve {
		r.Curve = append(r.Curve, [2]float64{float64(s.Day), s.Share})
	}
	r.Median, r.P90, r.P95 = reaches(curve, 0.5), reaches(curve, 0.9), reaches(curve, 0.95)
	limits := map[string]int{"48h": 2, "7d": 7, "14d": 14, "30d": 30}
	if q.SLA != nil {
		days, key := q.SLA.limit(c.Exploited)
		limits[key] = days
	}
	for key, days := range limits {
		r.Within[key] = within(days, c.Patched, left, watched)
	}
	return r
}

// within counts against a limit of whole days x 24 h from the posting. A Mac that is watched still was seen until the end of the
// day that is counted, one that left until its last contact.
func within(days int, patched, left, watched Days) Within {
	var w Within
	for _, p := range patched {
		if p[0] < days {
			w.Yes += p[1]
		} else {
			w.No += p[1]
		}
	}
	for _, p := range left {
		if p[0] < days {
			w.Unknown += p[1]
		} else {
			w.No += p[1]
		}
	}
	for _, p := range watched {
		if p[0]+1 < days {
			w.Unknown += p[1]
		} else {
			w.No += p[1]
		}
	}
	return w
}

// Curve is the Kaplan-Meier estimate of the share that is patched, where it steps. Of one day, events come before censorings.
func Curve(events Days, censored ...Days) []Step {
	atRisk := events.total()
	var gone Days
	for _, d := range censored {
		atRisk += d.total()
		for _, p := range d {
			gone.add(p[0], p[1])
		}
	}
	curve := []Step{}
	open, next := 1.0, 0
	for _, e := range events {
		for ; next < len(gone) && gone[next][0] < e[0]; next++ {
			atRisk -= gone[next][1]
		}
		// The conversion keeps the compiler from fusing operations, so that every processor gives the same bits.
		open = float64(open * (float64(atRisk-e[1]) / float64(atRisk)))
		atRisk -= e[1]
		if share := math.Round((1-open)*1e6) / 1e6; len(curve) == 0 || share != curve[len(curve)-1].Share {
			curve = append(curve, Step{e[0], share})
		}
	}
	return curve
}

// reaches is the first day on which the curve is at or above a share, nil if it never is.
func reaches(curve []Step, share float64) *int {
	for _, s := range curve {
		if s.Share >= share {
			day := s.Day
			return &day
		}
	}
	return nil
}
