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

// GateRow is what the gate did with macOS 26.1 when it never installs on a share of the Macs, over several fleets of one size.
// Numbers of Macs and days are means over the fleets.
type GateRow struct {
	Macs   int     `json:"macs"`
	Fails  float64 `json:"fails_percent"`
	Fleets int     `json:"fleets"`
	Halted float64 `json:"halted_percent"` // of the fleets
	Hit    float64 `json:"macs_hit"`       // by the day before 26.2
}

// gateDays is from Start to 2025-12-12, on which 26.2 appeared.
const gateDays = 82

// Gates simulates fleets with rings, every Mac on macOS 26.0 at first and no other install failing, at each failure rate.
func Gates(sizes []int, seed uint64, u Users) ([]GateRow, error) {
	catalogues, err := Catalogues()
	if err != nil {
		return nil, err
	}
	rings := new(policy.Policy)
	if err := json.Unmarshal([]byte(ringed), rings); err != nil {
		return nil, err
	}
	scenario := Scenario{Name: "gate", Policy: rings, Faulty: FaultyVersion}
	var rows []GateRow
	for _, n := range sizes {
		for _, fails := range []float64{0, 2, 5, 10, 30} {
			row := GateRow{Macs: n, Fails: fails, Fleets: max(2, min(40, 4000/n))}
			u.InstallFails, u.FaultyFailsFor = 0, fails/100
			if err := row.fill(scenario, u, seed, catalogues[:gateDays]); err != nil {
				return nil, err
			}
			rows = append(rows, row)
		}
	}
	return rows, nil
}

func (row *GateRow) fill(s Scenario, u Users, seed uint64, catalogues []*release.Catalog) error {
	first := release.NewIndex(catalogues[0])
	start := first.Build("25A354")
	if start == nil {
		return fmt.Errorf("the first catalogue lacks macOS 26.0")
	}
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
	halted := 0
	for i := range results {
		if errs[i] != nil {
			return errs[i]
		}
		if results[i].Halts > 0 {
			halted++
		}
		row.Hit += float64(results[i].Hit) / float64(row.Fleets)
	}
	row.Halted, row.Hit = percent(halted, row.Fleets), round(row.Hit)
	return nil
}

// WriteGates writes the rows as text.
func WriteGates(w io.Writer, rows []GateRow) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(t, "Macs\tfails on %\tfleets\thalted %\tMacs hit\t")
	for _, r := range rows {
		_, _ = fmt.Fprintf(t, "%d\t%.0f\t%d\t%.0f\t%.1f\t\n", r.Macs, r.Fails, r.Fleets, r.Halted, r.Hit)
	}
	return t.Flush()
}
