package proof

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"strconv"

	"plimsoll/status/patching"
)

//go:embed report.html
var pageText string

var pageTemplate = template.Must(template.New("report.html").Parse(pageText))

// page is the report as a page that needs nothing else: no script, no network.
type page struct {
	Report   *patching.Patching
	Releases []releasePage
	Macs     bool // there is a list of late Macs in the pack
}

// releasePage is one release on a page of its own.
type releasePage struct {
	*patching.Release
	Name   string
	Key    string // in within, of the limit that holds
	Share  string // patched in time of those whose outcome is known
	Limit  string
	Line   string
	Ticks  []tick
	Steps  []step
	Limits []limit
}

// tick is a day under the curve.
type tick struct {
	X     string
	Label int
}

type step struct {
	Day   int
	Share string
}

type limit struct {
	Words string
	patching.Within
}

func (c *Contents) page() ([]byte, error) {
	p := page{Report: c.Report, Macs: c.Macs != nil}
	for i := range c.Report.Releases {
		p.Releases = append(p.Releases, releaseOf(c.Report, &c.Report.Releases[i]))
	}
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, p); err != nil {
		return nil, fmt.Errorf("render the report: %w", err)
	}
	return b.Bytes(), nil
}

func releaseOf(p *patching.Patching, r *patching.Release) releasePage {
	age := Age(p, r)
	out := releasePage{Release: r, Name: r.Name(), Line: Curve(r.Curve, age, age)}
	key := LimitOf(p.SLA, r)
	out.Key, out.Limit, out.Share = key, Words(key), "none is known"
	if w := r.Within[key]; w.Yes+w.No > 0 {
		out.Share = Percent(float64(w.Yes) / float64(w.Yes+w.No))
	}
	for _, s := range r.Curve {
		out.Steps = append(out.Steps, step{int(s[0]), Percent(s[1])})
	}
	for _, key := range limits(r) {
		out.Limits = append(out.Limits, limit{Words(key), r.Within[key]})
	}
	every := max(1, (age+7)/8)
	for day := 0; day <= age; day += every {
		out.Ticks = append(out.Ticks, tick{coordinate(1000 * float64(day) / float64(max(1, age))), day})
	}
	return out
}

// Words are a limit in words: "48h" is 48 hours.
func Words(key string) string {
	if h := hours(key); h%24 == 0 && h != 48 {
		if h == 24 {
			return "1 day"
		}
		return strconv.Itoa(h/24) + " days"
	}
	return strconv.Itoa(hours(key)) + " hours"
}

// Percent is a share in words, to one place; what is not all is never 100.0%.
func Percent(share float64) string {
	if share < 1 && share > 0.999 {
		share = 0.999
	}
	return strconv.FormatFloat(100*share, 'f', 1, 64) + "%"
}
