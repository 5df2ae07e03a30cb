// Package main compares ways to enforce updates on Macs that do not exist, over Apple's real releases.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"plimsoll/examples/simulate/model"
)

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "simulate:", err)
		os.Exit(1)
	}
}

// run simulates, prints the table and writes simulate.json and simulate.svg into the folder -out.
func run(args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("simulate", flag.ContinueOnError)
	flags.SetOutput(stderr)
	n := flags.Int("n", 5000, "number of Macs, 1 to 1,000,000")
	seed := flags.Uint64("seed", 1, "seed of everything that is drawn")
	out := flags.String("out", "out", "folder for simulate.json and simulate.svg")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *n < 1 || *n > 1_000_000 {
		return fmt.Errorf("-n is %d, and must be from 1 to 1,000,000", *n)
	}
	scenarios, err := model.Scenarios()
	if err != nil {
		return err
	}
	report, err := model.Run(*n, *seed, model.Default, scenarios)
	if err != nil {
		return err
	}
	if err := report.WriteTable(stdout); err != nil {
		return err
	}
	sizes := []int{20, 200, 5000}
	for len(sizes) > 0 && sizes[len(sizes)-1] > *n {
		sizes = sizes[:len(sizes)-1]
	}
	gates, err := model.Gates(sizes, *seed, model.Default)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintln(stdout, "\nthe gate, when macOS 26.1 fails or hangs on a share of the Macs:")
	if err := model.WriteGates(stdout, gates); err != nil {
		return err
	}
	report.Gates = gates
	if err := os.MkdirAll(*out, 0o755); err != nil {
		return err
	}
	b, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(*out, "simulate.json"), append(b, '\n'), 0o644); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(*out, "simulate.svg"))
	if err != nil {
		return err
	}
	if err := report.WriteSVG(f); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}
