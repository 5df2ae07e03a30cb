package app

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// gcHeadroom is how much may be allocated between two garbage collections, however little is in use: with Go's own setting a
	// small fleet's server spends a fifth of its time on collecting. It bounds what that costs in memory.
	gcHeadroom = 64 << 20
	gcLook     = time.Second // how often what is in use is looked at
	gcMost     = 500         // per cent
	gcLeast    = 40          // likewise: the memory of a large fleet is not doubled
)

// paceGC keeps the garbage collector to gcHeadroom as the fleet grows and shrinks, until ctx ends. An operator's GOGC stands.
func paceGC(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	defer debug.SetGCPercent(debug.SetGCPercent(gcMost))
	debug.FreeOSMemory() // what reading the index has left behind
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	tick := time.NewTicker(gcLook)
	defer tick.Stop()
	for {
		metrics.Read(live)
		if live[0].Value.Kind() == metrics.KindUint64 {
			debug.SetGCPercent(gcPercent(live[0].Value.Uint64()))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// gcPercent is what gcHeadroom is of what is in use, within bounds.
func gcPercent(live uint64) int {
	return int(min(max(100*gcHeadroom/max(live, 1), gcLeast), gcMost))
}
