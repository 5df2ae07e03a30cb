// Package main runs Macs that do not exist against a Plimsoll server: they enrol, sync, update, misbehave if asked to, and
// check what they are told.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"plimsoll/examples/macs/sim"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

type settings struct {
	fleet    sim.FleetOptions
	duration time.Duration
	verbose  bool
}

// run is the command; it returns the exit status: 0, 1 when the server broke a promise or Macs are not enrolled, 2 when
// it was called wrongly.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	s, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "macs:", err)
		return 2
	}
	if s.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.duration)
		defer cancel()
	}
	var mu sync.Mutex
	s.fleet.Log = func(e sim.Event) {
		if !s.verbose && !strings.HasPrefix(e.Text, "VIOLATION") {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		_, _ = fmt.Fprintf(stdout, "%s  %-10s %-14s %s\n", e.At.UTC().Format("2006-01-02 15:04:05"), e.Serial, e.Name, e.Text)
	}
	s.fleet.Stats = &sim.Stats{}
	fleet, err := sim.NewFleet(s.fleet)
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "macs:", err)
		return 2
	}
	began := time.Now()
	print := func(at sim.Standing) {
		mu.Lock()
		defer mu.Unlock()
		_, _ = fmt.Fprintln(stdout, standing(at))
	}
	stop := make(chan struct{})
	var told sync.WaitGroup
	told.Go(func() { tell(stop, fleet.Standing, print) })
	err = fleet.Run(ctx)
	close(stop)
	told.Wait()
	return finish(fleet, &s, time.Since(began), err, stdout, stderr)
}

// tell prints where the fleet stands, at once and then whenever it has changed, at most every 2 s, until stop is closed.
func tell(stop <-chan struct{}, now func() sim.Standing, print func(sim.Standing)) {
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	last := now()
	print(last)
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			if at := now(); at != last {
				last = at
				print(at)
			}
		}
	}
}

// standing is the fleet's standing in one line.
func standing(at sim.Standing) string {
	return fmt.Sprintf(
		"%d Macs: %d enrolled, %d have a target, %d have nothing left to do",
		at.Macs,
		at.Enrolled,
		at.Targeted,
		at.Settled,
	)
}

func finish(fleet *sim.Fleet, s *settings, took time.Duration, err error, stdout, stderr io.Writer) int {
	at := fleet.Standing()
	_, _ = fmt.Fprintf(stdout, "\n%s (after %s)\n", standing(at), took.Round(time.Second))
	if perr := s.fleet.Stats.Print(stdout); err == nil {
		err = perr
	}
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "macs:", err)
		return 1
	}
	if at.LastError != "" {
		_, _ = fmt.Fprintln(stdout, "last trouble:", at.LastError)
	}
	if s.fleet.Stats.Violated.Load() > 0 || at.Enrolled < at.Macs {
		return 1
	}
	return 0
}

func parse(args []string, stderr io.Writer) (settings, error) {
	var s settings
	f := &s.fleet
	fs := flag.NewFlagSet("macs", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.IntVar(&f.N, "n", 25, "how many Macs")
	fs.StringVar(&f.URL, "url", "http://127.0.0.1:8080", "the server's base URL")
	fs.StringVar(&f.Code, "code", "", "enrolment code")
	fs.DurationVar(&f.Poll, "poll", 5*time.Second, "how often a Mac looks at its command queue, in place of pushes")
	fs.Float64Var(&f.Speed, "speed", 1, "how many times faster than real the Macs' clocks run")
	fs.Uint64Var(&f.Seed, "seed", 1, "which fleet: the same seed makes the same Macs")
	fs.Float64Var(
		&f.Eager,
		"eager",
		1,
		"share of Macs (0 to 1) whose users install at once; others wait, at most until the deadline",
	)
	fs.StringVar(
		&f.Misbehave,
		"misbehave",
		"",
		"`LIST|SHARE` of misbehaviours: \"20%\", \"all\", or some of "+strings.Join(
			sim.FaultNames(),
			",",
		)+"; name=3 for three Macs",
	)
	fs.StringVar(
		&f.StateDir,
		"state",
		"",
		"`folder` that keeps identities and states, so that a restart goes on without enrolling",
	)
	fs.DurationVar(&s.duration, "for", 0, "stop after so long")
	fs.BoolVar(&s.verbose, "v", false, "one line per event")
	keys := fs.Int("keys", 0, "make only so many RSA keys and share them (0: one for each Mac)")
	fs.StringVar(
		&f.CertHeader,
		"cert-header",
		"",
		"`name` of a header that carries the certificate in place of a signature, as behind a TLS proxy",
	)
	issuer := fs.String(
		"ca",
		"",
		"PEM `file` with certificate and key of a CA that the server trusts: identities are made with it, without profile and SCEP",
	)
	catalog := fs.String("catalog", "", "`file` with a newer response of Apple's feed")
	fs.IntVar(&f.Parallel, "parallel", 64, "how many Macs act at once")
	compliant := fs.Bool("until-compliant", false, "stop when Macs were updated and none has a target left")
	idle := fs.Bool("until-idle", false, "stop when no Mac has anything left to do")
	if err := fs.Parse(args); err != nil {
		return s, err
	}
	if fs.NArg() > 0 {
		return s, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	if f.Eager < 0 || f.Eager > 1 {
		return s, fmt.Errorf("-eager %v is not between 0 and 1", f.Eager)
	}
	f.Keys = sim.NewKeys(*keys)
	switch {
	case *compliant:
		f.Until = sim.UntilCompliant
	case *idle:
		f.Until = sim.UntilIdle
	}
	f.World = sim.NewWorld()
	if *catalog != "" {
		b, err := os.ReadFile(*catalog)
		if err != nil {
			return s, fmt.Errorf("-catalog: %w", err)
		}
		if err := f.World.AddFeed(b); err != nil {
			return s, fmt.Errorf("-catalog %s: %w", *catalog, err)
		}
	}
	if *issuer != "" {
		is, err := sim.LoadIssuer(*issuer)
		if err != nil {
			return s, fmt.Errorf("-ca: %w", err)
		}
		f.Issuer = is
	}
	return s, nil
}
