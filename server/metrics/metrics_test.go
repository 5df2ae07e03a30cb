package metrics

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"plimsoll/server/fleet"
	"plimsoll/status/patching"
)

// The pace of patching is exported: only shares that were reached, and every profile.
func TestPace(t *testing.T) {
	three, nine := 3, 9
	pace := &fleet.Pace{
		Releases: []patching.Release{
			{Version: "26.4", Letter: "a", Median: &three, P90: &nine},
			{Version: "26.4"},
		},
		Open: map[string]int{"cis": 0, "essential-eight": 7},
	}
	collector := &fleetCollector{stats: func() fleet.Stats {
		return fleet.Stats{Counters: &fleet.Counters{}, Rings: &fleet.RingCounts{}, Pace: pace}
	}}
	want := `
# HELP plimsoll_patch_days Days from the posting of a release until a share of the Macs that missed it had it, as of the last closed ` +
		`day; the five newest releases, and only shares that were reached.
# TYPE plimsoll_patch_days gauge
plimsoll_patch_days{quantile="0.5",release="26.4 (a)"} 3
plimsoll_patch_days{quantile="0.9",release="26.4 (a)"} 9
# HELP plimsoll_sla_open Macs that miss a release for longer than the profile allows, once for each release, as of the last closed day.
# TYPE plimsoll_sla_open gauge
plimsoll_sla_open{profile="cis"} 0
plimsoll_sla_open{profile="essential-eight"} 7
`
	names := []string{"plimsoll_patch_days", "plimsoll_sla_open"}
	if err := testutil.CollectAndCompare(collector, strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
	pace = nil // before the first closed day
	if n := testutil.CollectAndCount(collector, names...); n != 0 {
		t.Errorf("%d numbers before the first closed day", n)
	}
}
