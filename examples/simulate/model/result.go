package model

import (
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"

	"plimsoll/declarations/release"
)

// Days is a length in days; below 0: longer than the simulation.
type Days float64

func (d Days) String() string {
	if d < 0 {
		return "open"
	}
	return fmt.Sprintf("%.1f", float64(d))
}

// Result is what became of the fleet in one scenario. Times are from the moment when a release appeared in the feed until the
// Mac ran it or a newer one, over every Mac that lacked it; shares are in percent.
type Result struct {
	Name   string  `json:"name"`
	Missed int     `json:"missed"` // releases times the Macs that lacked them
	In2    float64 `json:"within_48_hours_percent"`
	In7    float64 `json:"within_7_days_percent"`
	In14   float64 `json:"within_14_days_percent"`
	In21   float64 `json:"within_21_days_percent"`
	In30   float64 `json:"within_30_days_percent"`
	Median Days    `json:"median_days"`
	P90    Days    `json:"p90_days"`
	P95    Days    `json:"p95_days"`
	P99    Days    `json:"p99_days"`
	Worst  Days    `json:"worst_days"`
	// WorstUsed is the most days on which a Mac was on while it lacked a release, in a drawer or not.
	WorstUsed int `json:"worst_days_in_use"`
	// Exploited3 is the share of the releases that fix an exploited vulnerability which were installed within 3 days.
	Exploited3 float64 `json:"exploited_within_3_days_percent"`
	Restarts   float64 `json:"restarts_per_mac_and_year"`
	Enforced   int     `json:"enforced_attempts"`
	Tokens     float64 `json:"tokens_changed_per_mac"`
	// Deadlines that Macs were told, each once for each Mac, and those on Friday to Monday and from 19 December to 4 January.
	Deadlines int `json:"deadlines"`
	FriToMon  int `json:"deadlines_friday_to_monday"`
	YearEnd   int `json:"deadlines_at_year_end"`
	// Halts counts halts of the gate; the others are of the faulty release: Macs on which it failed, at the halt and at the end.
	Halts           int     `json:"halts"`
	HaltedAfterDays float64 `json:"faulty_halted_after_days"`
	HitAtHalt       int     `json:"faulty_macs_hit_before_halt"`
	Hit             int     `json:"faulty_macs_hit"`
	// Curve is the share patched by days since the release, from 0 to 35.
	Curve []float64 `json:"patched_percent_by_day"`

	tokens  int
	reached []float64 // by ring: days until the faulty release was told to the first of its Macs; below 0: to none
	days    []float64 // sorted, each miss; +Inf for one that is open
}

// finish counts what the run noted.
func (x *run) finish() {
	r := &x.result
	exploited, quick := 0, 0
	for i := range x.lives {
		for _, m := range x.lives[i].missed {
			days := m.days
			r.WorstUsed = max(r.WorstUsed, m.used)
			if days < 0 {
				days = math.Inf(1)
			}
			r.days = append(r.days, days)
			if m.release.Exploited {
				exploited++
				if days <= 3 {
					quick++
				}
			}
		}
	}
	slices.Sort(r.days)
	r.Missed, r.Hit = len(r.days), len(x.hits)
	r.In2, r.In7, r.In14, r.In21, r.In30 = r.within(2), r.within(7), r.within(14), r.within(21), r.within(30)
	r.Median, r.P90, r.P95, r.P99, r.Worst = r.part(0.5), r.part(0.9), r.part(0.95), r.part(0.99), r.part(1)
	r.Exploited3 = percent(quick, exploited)
	years := End.Sub(Start).Hours() / 24 / 365 * float64(len(x.lives))
	r.Restarts = round(float64(x.restarts) / years)
	r.Tokens = round(float64(r.tokens) / float64(len(x.lives)))
	for d := range 36 {
		r.Curve = append(r.Curve, r.within(float64(d)))
	}
}

func round(v float64) float64 { return math.Round(v*100) / 100 }

func percent(part, whole int) float64 {
	if whole == 0 {
		return 0
	}
	return round(float64(part) / float64(whole) * 100)
}

func (r *Result) within(days float64) float64 {
	n, _ := slices.BinarySearchFunc(r.days, days, func(have, limit float64) int {
		if have <= limit {
			return -1
		}
		return 1
	})
	return percent(n, len(r.days))
}

// part is the time within which that share of the misses ended, by nearest rank.
func (r *Result) part(share float64) Days {
	if len(r.days) == 0 {
		return 0
	}
	d := r.days[max(0, int(math.Ceil(share*float64(len(r.days))))-1)]
	if math.IsInf(d, 1) {
		return -1
	}
	return Days(round(d))
}

// Report is a run of all scenarios.
type Report struct {
	Macs    int       `json:"macs"`
	Seed    uint64    `json:"seed"`
	From    string    `json:"from"`
	To      string    `json:"to"`
	Users   Users     `json:"users"`
	Results []Result  `json:"results"`
	Gates   []GateRow `json:"gates,omitempty"`
}

// Run simulates a fleet in every scenario. The same arguments give the same report.
func Run(n int, seed uint64, u Users, scenarios []Scenario) (Report, error) {
	out := Report{Macs: n, Seed: seed, From: Start.Format("2006-01-02"), To: End.Format("2006-01-02"), Users: u}
	catalogues, err := Catalogues()
	if err != nil {
		return out, err
	}
	first := release.NewIndex(catalogues[0])
	fleet := people(n, seed, &u, first, boardsOf(catalogues[0]))
	out.Results = make([]Result, len(scenarios))
	errs := make([]error, len(scenarios))
	var wg sync.WaitGroup
	free := make(chan struct{}, runtime.GOMAXPROCS(0))
	for i := range scenarios {
		wg.Go(func() {
			free <- struct{}{}
			defer func() { <-free }()
			out.Results[i], errs[i] = simulate(scenarios[i], fleet, &u, seed, catalogues)
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return out, err
		}
	}
	return out, nil
}

// boardsOf lists the boards for which Apple offers a macOS that declarations reach.
func boardsOf(c *release.Catalog) []string {
	var all []string
	for i := range c.Releases {
		if r := &c.Releases[i]; r.Available && r.Kind == release.KindOS && r.Version.Major() >= oldestMajor {
			for _, d := range r.Devices {
				if _, name := release.ModelOf(d); name != "" { // a Mac with Apple silicon: others share the feed's lists
					all = append(all, d)
				}
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// WriteTable writes the results as text.
func (r *Report) WriteTable(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%d Macs, seed %d, %s to %s\nusers: %+v\n\n", r.Macs, r.Seed, r.From, r.To, r.Users)
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(t, "scenario\t48 h %\t7 d %\t14 d %\t21 d %\t30 d %\tmedian\tp90\tp95\tp99\tworst\tin use\t"+
		"exploited 3 d %\t"+
		"restarts/year\ttokens\tdeadlines\tFri-Mon\tyear end\t")
	for i := range r.Results {
		x := &r.Results[i]
		_, _ = fmt.Fprintf(t, "%s\t%.1f\t%.1f\t%.1f\t%.1f\t%.1f\t%s\t%s\t%s\t%s\t%s\t%d\t%.1f\t%.2f\t%.2f\t%d\t%d\t%d\t\n",
			x.Name, x.In2, x.In7, x.In14, x.In21, x.In30, x.Median, x.P90, x.P95, x.P99, x.Worst, x.WorstUsed, x.Exploited3, x.Restarts,
			x.Tokens, x.Deadlines, x.FriToMon, x.YearEnd)
	}
	_ = t.Flush()
	b.WriteString("\n")
	for i := range r.Results {
		if x := &r.Results[i]; x.Hit > 0 {
			fmt.Fprintf(&b, "%s: it failed on %d Macs by the end", x.Name, x.Hit)
			if x.HaltedAfterDays > 0 {
				fmt.Fprintf(&b, ", on %d before the gate halted it after %.1f days", x.HitAtHalt, x.HaltedAfterDays)
			}
			b.WriteString("\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// colours are those of the curves, in the order of the results.
var colours = [...]string{
	"#888", "#c60", "#e93", "#036", "#06c", "#39f", "#6bf", "#a0a", "#080", "#0a8", "#c03",
	"#963", "#630", "#333",
}

// WriteSVG draws the curves.
func (r *Report) WriteSVG(w io.Writer) error {
	var b strings.Builder
	b.WriteString(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 960 440" font-family="sans-serif" font-size="12">` + "\n" +
		`<rect width="960" height="440" fill="#fff"/>` + "\n")
	for d := 0; d <= 35; d += 7 {
		fmt.Fprintf(&b, `<text x="%d" y="420" text-anchor="middle">%d</text>`+"\n", 50+d*18, d)
	}
	for p := 0; p <= 100; p += 20 {
		y := 400 - p*38/10
		fmt.Fprintf(&b, `<path d="M50 %d H680" stroke="#ddd"/><text x="44" y="%d" text-anchor="end">%d %%</text>`+"\n", y, y+4, p)
	}
	b.WriteString(`<text x="365" y="436" text-anchor="middle">days since the release</text>` + "\n")
	for i := range r.Results {
		colour := colours[i%len(colours)]
		b.WriteString(`<polyline fill="none" stroke-width="1.5" stroke="` + colour + `" points="`)
		for d, share := range r.Results[i].Curve {
			fmt.Fprintf(&b, "%d,%.1f ", 50+d*18, 400-share*3.8)
		}
		fmt.Fprintf(&b, `"/><text x="700" y="%d" fill="%s">%s</text>`+"\n", 30+i*18, colour, r.Results[i].Name)
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}
