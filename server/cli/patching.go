package cli

import (
	"encoding/csv"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
)

// patchReport is the command that says how fast releases reached the Macs. Its filters are the API's.
type patchReport struct {
	Remote `embed:""`
	Output `embed:""`

	Release string `help:"Only this release, such as 26.4."`
	From    string `placeholder:"DAY" help:"Releases posted from this day on."`
	To      string `placeholder:"DAY" help:"Releases posted until this day."`
	Policy  string `help:"Only Macs that this policy governed."`
	Group   string `help:"Only Macs that were in this group."`
	SLA     string `name:"sla" help:"A number of days, or a profile such as cyber-essentials."`
	AsOf    string `placeholder:"DAY" help:"A closed day, or now. Default: the last closed day."`
}

type patchRelease struct {
	Version, Letter, Posted                   string
	Macs, Patched, Gone, Silent, Exempt, Open int
	Median                                    *int `json:"median_days"`
	P90                                       *int `json:"p90_days"`
	Within                                    map[string]struct{ Yes, No, Unknown int }
}

// Run prints the report.
func (p *patchReport) Run(env *Env) error {
	c, err := p.open()
	if err != nil {
		return err
	}
	q := url.Values{}
	for name, value := range map[string]string{
		"release": p.Release, "from": p.From, "to": p.To, "policy": p.Policy, "group": p.Group, "sla": p.SLA, "as_of": p.AsOf,
	} {
		if value != "" {
			q.Set(name, value)
		}
	}
	b, _, err := c.do(env, request{method: http.MethodGet, path: "/v1/reports/patching", query: q})
	if err != nil {
		return err
	}
	if p.Output.Output == "json" {
		return printJSON(env.Out, b)
	}
	var report struct{ Releases []patchRelease }
	if err := json.Unmarshal(b, &report); err != nil {
		return err
	}
	header := []string{"RELEASE", "POSTED", "MACS", "PATCHED", "GONE", "SILENT", "EXEMPT", "OPEN", "MEDIAN", "P90", "IN 14 DAYS"}
	rows := make([][]string, 0, len(report.Releases))
	for _, r := range report.Releases {
		name := r.Version
		if r.Letter != "" {
			name += " (" + r.Letter + ")"
		}
		row := []string{name, r.Posted}
		for _, n := range []int{r.Macs, r.Patched, r.Gone, r.Silent, r.Exempt, r.Open} {
			row = append(row, strconv.Itoa(n))
		}
		rows = append(rows, append(row, number(r.Median), number(r.P90), strconv.Itoa(r.Within["14d"].Yes)))
	}
	if p.Output.Output == "csv" {
		w := csv.NewWriter(env.Out)
		_ = w.Write([]string{
			"release", "posted", "macs", "patched", "gone", "silent", "exempt", "open", "median_days", "p90_days", "within_14d",
		})
		return w.WriteAll(rows)
	}
	return printTable(env.Out, header, rows, nil)
}

// number is a number that may be missing.
func number(n *int) string {
	if n == nil {
		return ""
	}
	return strconv.Itoa(*n)
}
