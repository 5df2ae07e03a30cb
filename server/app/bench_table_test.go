package app_test

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// machine names processor and number of cores.
func machine() string {
	model := runtime.GOARCH
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if name, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(v)
				break
			}
		}
	}
	return fmt.Sprintf("%d cores, %s, %s, %s", runtime.NumCPU(), model, runtime.GOOS, runtime.Version())
}

// selfTime is the processor time of this process and of the children that have ended.
func selfTime() (d time.Duration) {
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if err := syscall.Getrusage(who, &u); err == nil {
			d += time.Duration(u.Utime.Nano() + u.Stime.Nano())
		}
	}
	return d
}

func verdict(good bool) string {
	if good {
		return "yes"
	}
	return "**no**"
}

// table is the result as Markdown.
func (b *bench) table() string {
	var s strings.Builder
	r := &b.result
	fmt.Fprintf(&s, "\nMeasured %s on %s, in one run of %.0f minutes; client, server and database share it (other programs took %.0f %% of it).\nRedis: %s. %d connections, signed requests of %d Macs of each fleet.\n",
		r.Date, r.Machine, r.Took.Minutes(), r.Busy*100, r.Redis, r.Options.Conns, r.Options.Macs)
	fmt.Fprint(&s, "\n| store | Macs | request | a second | limit | ratio | server CPU us | database CPU us | limit CPU us | CPU ratio | p50 ms | p99 ms | wanted | reached |\n|---|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|\n")
	for _, x := range r.Rows {
		want, reached := "", ""
		if x.Want > 0 {
			want, reached = fmt.Sprintf("%.1f", x.Want), verdict(x.Ratio >= x.Want)
		}
		fmt.Fprintf(&s, "| %s | %d | %s | %.0f | %.0f | %.2f | %.0f | %.0f | %.0f | %.2f | %.1f | %.1f | %s | %s |\n", x.Store, x.Macs, x.Endpoint, x.PerSecond, x.LimitPerSecond,
			x.Ratio, x.CPUMicros, x.DatabaseMicros, x.LimitCPUMicros, x.RatioCPU, x.P50, x.P99, want, reached)
	}
	b.growth(&s)
	fmt.Fprint(&s, "\n| store | Macs | bytes per Mac in the database | memory at start, MiB | after load | most | process ready, s | change answered, s | last command queued, s |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	for _, f := range r.Fleets {
		fmt.Fprintf(&s, "| %s | %d | %d | %d | %d | %d | %.1f | %.2f | %.1f |\n", f.Store, f.Macs, f.BytesPerMac, f.MemoryStart>>20, f.MemoryLoaded>>20, f.MemoryPeak>>20,
			f.StartSeconds, f.ChangeAnswered, f.ChangeQueued)
	}
	fmt.Fprint(&s, "\n| store | Macs | question | p50 ms | p95 ms | max ms |\n|---|--:|---|--:|--:|--:|\n")
	for _, f := range r.Fleets {
		for _, q := range []string{"compliance, idle", "compliance, while Macs report", "page of 100, idle", "page of 100, while Macs report"} {
			l := f.Latencies[q]
			fmt.Fprintf(&s, "| %s | %d | %s | %.1f | %.1f | %.1f |\n", f.Store, f.Macs, q, l.P50, l.P95, l.Max)
		}
	}
	fmt.Fprint(&s, "\n| other targets | measured | reached |\n|---|--:|---|\n")
	for _, f := range r.Fleets {
		fmt.Fprintf(&s, "| %s, %d Macs: at most %d KB per Mac | %.1f KB | %s |\n", f.Store, f.Macs, wantBytes[f.Store]>>10, float64(f.BytesPerMac)/1024, verdict(f.BytesPerMac <= wantBytes[f.Store]))
		if f.Macs >= 100_000 {
			fmt.Fprintf(&s, "| %s, %d Macs: at most %d MiB | %d MiB | %s |\n", f.Store, f.Macs, wantMemory>>20, f.MemoryPeak>>20, verdict(f.MemoryPeak <= wantMemory))
			fmt.Fprintf(&s, "| %s, %d Macs told in at most %.0f s | %.1f s | %s |\n", f.Store, f.Macs, wantChange.Seconds(), f.ChangeQueued, verdict(f.ChangeQueued <= wantChange.Seconds()))
		}
	}
	return s.String()
}

// growth compares the largest fleet with the smallest, by what each reached of the limit beside it.
func (b *bench) growth(s *strings.Builder) {
	sizes := b.o.Sizes
	if len(sizes) < 2 {
		return
	}
	small, large := sizes[0], sizes[len(sizes)-1]
	find := func(store, endpoint string, n int) *row {
		for i, x := range b.result.Rows {
			if x.Store == store && x.Endpoint == endpoint && x.Macs == n {
				return &b.result.Rows[i]
			}
		}
		return nil
	}
	fmt.Fprintf(s, "\n| store | request | %d Macs against %d: slower by | by CPU | wanted | reached |\n|---|---|--:|--:|--:|---|\n", large, small)
	for _, store := range b.o.Stores {
		for _, e := range []string{"tokens", "declaration-items", "declaration", "status", "enrolment"} {
			a, z := find(store, e, small), find(store, e, large)
			if a == nil || z == nil {
				continue
			}
			want := wantSlowerR
			if e == "status" || e == "enrolment" {
				want = wantSlowerW
			}
			slower := a.Ratio / z.Ratio
			cpu := z.CPUMicros / a.CPUMicros * a.LimitCPUMicros / z.LimitCPUMicros
			fmt.Fprintf(s, "| %s | %s | %.0f %% | %.0f %% | %.0f %% | %s |\n", store, e, (slower-1)*100, (cpu-1)*100, (want-1)*100, verdict(slower <= want))
		}
	}
}
