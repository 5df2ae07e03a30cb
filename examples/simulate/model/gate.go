package model

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"sync"
	"text/tabwriter"

	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
)

// GateRow is what the gate did with macOS 26.1 when it never installs on a share of the Macs, or hangs on a share of them, over
// several fleets of one size. Numbers of Macs and days are means over the fleets.
type GateRow struct {
	Macs   int     `json:"macs"`
	Fails  float64 `json:"fails_percent"`
	Hangs  float64 `json:"hangs_percent"`
	Fleets int     `json:"fleets"`
	Halted float64 `json:"halted_percent"` // of the fleets
	// HaltedAfter is after how many days the gate halted it, over the fleets in which it did; below 0: in none.
	HaltedAfter Days        `json:"halted_after_days"`
	Hit         float64     `json:"macs_hit"` // by the day before 26.2
	Rings       []RingReach `json:"rings"`
}

// RingReach is how long the release took to the first Mac of a ring.
type RingReach struct {
	Ring string  `json:"ring"`
	In   float64 `json:"reached_percent"` // of the fleets
	Days Days    `json:"days"`            // over those fleets; below 0: in none
}

// gateDays is from Start to 2025-12-12, on which 26.2 appeared.
const gateDays = 82

// rates are the shares of the Macs, in percent, on which the release fails or hangs.
var rates = [][2]float64{{0, 0}, {2, 0}, {5, 0}, {10, 0}, {30, 0}, {0, 2}, {0, 5}, {0, 10}, {0, 30}}

// Gates simulates fleets with rings, every Mac on macOS 26.0 at first and no other install failing, at each rate of failures and
// of installations that hang.
func Gates(sizes []int, seed uint64, u Users) ([]GateRow, error) {
	catalogues, err := Catalogues()
	if err != nil {
		return nil, err
	}
	scenario, err := gateScenario()
	if err != nil {
		return nil, err
	}
	var rows []GateRow
	for _, n := range sizes {
		for _, rate := range rates {
			row := GateRow{Macs: n, Fails: rate[0], Hangs: rate[1], Fleets: max(2, min(40, 4000/n))}
			if err := row.fill(scenario, u, seed, catalogues[:gateDays]); err != nil {
				return nil, err
			}
			rows = append(rows, row)
		}
	}
	return rows, nil
}

func gateScenario() (Scenario, error) {
	rings := new(policy.Policy)
	if err := json.Unmarshal([]byte(ringed), rings); err != nil {
		return Scenario{}, fmt.Errorf("the rings: %w", err)
	}
	return Scenario{Name: "gate", Policy: rings, Faulty: FaultyVersion}, nil
}

// fill simulates the row's fleets.
func (row *GateRow) fill(s Scenario, u Users, seed uint64, catalogues []*release.Catalog) error {
	first := release.NewIndex(catalogues[0])
	start := first.Build("25A354")
	if start == nil {
		return fmt.Errorf("the first catalogue lacks macOS 26.0")
	}
	u.InstallFails, u.FaultyFailsFor, u.FaultyHangsFor = 0, row.Fails/100, row.Hangs/100
	results, errs := make([]Result, row.Fleets), make([]error, row.Fleets)
	var wg sync.WaitGroup
	free := make(chan struct{}, runtime.GOMAXPROCS(0))
	for i := range results {
		wg.Go(func() {
			free <- struct{}{}
			defer func() { <-free }()
			own := seed + uint64(i)
			fleet := people(row.Macs, own, &u, first, start.Devices)
			for j := range fleet {
				f := &fleet[j].facts
				f.ID = fmt.Sprintf("00000000-0000-4000-%04x-%012d", i, j) // another fleet has other Macs in its rings
				f.Version, f.Build = start.Version, start.Build
			}
			results[i], errs[i] = simulate(s, fleet, &u, own, catalogues)
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	row.count(s.Policy.Rings, results)
	return nil
}

// count takes the means over the fleets.
func (row *GateRow) count(rings []policy.Ring, results []Result) {
	halted, after := 0, 0.0
	reached, days := make([]int, len(rings)), make([]float64, len(rings))
	for i := range results {
		if r := &results[i]; r.HaltedAfterDays > 0 {
			halted, after = halted+1, after+r.HaltedAfterDays
		}
		row.Hit += float64(results[i].Hit) / float64(row.Fleets)
		for ring, d := range results[i].reached {
			if d >= 0 {
				reached[ring], days[ring] = reached[ring]+1, days[ring]+d
			}
		}
	}
	row.Halted, row.HaltedAfter, row.Hit = percent(halted, row.Fleets), mean(after, halted), round(row.Hit)
	for i := range rings {
		row.Rings = append(row.Rings, RingReach{rings[i].Name, percent(reached[i], row.Fleets), mean(days[i], reached[i])})
	}
}

func mean(sum float64, n int) Days {
	if n == 0 {
		return -1
	}
	return Days(round(sum / float64(n)))
}

// WriteGates writes the rows as text. Behind a time that not every fleet has stands the share of those that do.
func WriteGates(w io.Writer, rows []GateRow) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprint(t, "Macs\tfails on %\thangs on %\tfleets\thalted %\tafter days\tMacs hit\t")
	for _, ring := range rows[0].Rings {
		_, _ = fmt.Fprint(t, ring.Ring+" after days\t")
	}
	_, _ = fmt.Fprintln(t)
	for _, r := range rows {
		_, _ = fmt.Fprintf(t, "%d\t%.0f\t%.0f\t%d\t%.0f\t%s\t%.1f\t", r.Macs, r.Fails, r.Hangs, r.Fleets, r.Halted,
			never(r.HaltedAfter), r.Hit)
		for _, ring := range r.Rings {
			text := never(ring.Days)
			if ring.In > 0 && ring.In < 100 {
				text += fmt.Sprintf(" (%.0f %%)", ring.In)
			}
			_, _ = fmt.Fprint(t, text+"\t")
		}
		_, _ = fmt.Fprintln(t)
	}
	return t.Flush()
}

func never(d Days) string {
	if d < 0 {
		return "never"
	}
	return d.String()
}
