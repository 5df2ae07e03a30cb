package storage

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"plimsoll/declarations"
	"plimsoll/declarations/plan"
	"plimsoll/declarations/release"
	"plimsoll/status"
	"plimsoll/status/compliance"
)

// What is encoded is read back, whatever the values; times have whole seconds.
func TestRecordRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := rapid.Custom(func(t *rapid.T) time.Time {
			if rapid.Bool().Draw(t, "zero") {
				return time.Time{}
			}
			return time.Unix(rapid.Int64Range(1735689610, 1999999999).Draw(t, "unix"), 0).UTC()
		})
		looked := time.Unix(rapid.Int64Range(1735689610, 1999999999).Draw(t, "looked"), 0).UTC()
		local := rapid.Custom(func(t *rapid.T) declarations.Local {
			return declarations.Local(rapid.SampledFrom([]int64{0, 1785000000, 1785003600, 1999999999}).Draw(t, "local"))
		})
		word := rapid.SampledFrom([]string{"", "25G83", "26.6.2", "é\"\\<"})
		r := Record{
			Facts: status.Facts{
				ID: "MAC", UDID: rapid.SampledFrom([]string{"", "MAC", "OTHER"}).Draw(t, "udid"), Serial: word.Draw(t, "serial"), Name: word.Draw(t, "name"),
				Capabilities: status.Capabilities{Known: rapid.Bool().Draw(t, "known"), Enforcement: rapid.Bool().Draw(t, "enf"), Settings: rapid.Bool().Draw(t, "set"), Items: rapid.Uint32().Draw(t, "items")},
				Enrolled:     rapid.Bool().Draw(t, "enrolled"), BootstrapToken: rapid.Bool().Draw(t, "bt"),
				EnrolledAt: at.Draw(t, "e"), LastContactAt: at.Draw(t, "c"), LastReportAt: looked,
			},
			Life: rapid.IntRange(0, 9).Draw(t, "life"), Generation: rapid.Uint64().Draw(t, "gen"), BackAt: at.Draw(t, "back"), RaisedAt: at.Draw(t, "raised"),
			Advertised: rapid.SampledFrom([]string{"", "A", "B"}).Draw(t, "adv"), Manifest: rapid.SampledFrom([]string{"", "A", "B"}).Draw(t, "man"),
			Told: rapid.SampledFrom([]string{"", "A", "B"}).Draw(t, "told"), ToldAt: at.Draw(t, "toldat"), LookedAt: looked, NextAt: at.Draw(t, "next"),
			Revision: 1735689600*1000 + rapid.Int64Range(0, 1<<40).Draw(t, "rev"), Reports: 7, Book: 3, ServedAt: looked, AdvertisedAt: at.Draw(t, "advat"),
			Summary: compliance.Summary{
				State: rapid.SampledFrom(compliance.States).Draw(t, "state"), Phase: "served", PhaseAt: looked, StateAt: at.Draw(t, "sa"), Policy: word.Draw(t, "policy"),
				Due: local.Draw(t, "due"), Deadline: local.Draw(t, "deadline"), OverdueAt: at.Draw(t, "overdue"), Codes: []string{"a"}, Fails: 2, Withdrawn: word.Draw(t, "w"),
			},
		}
		for i := range r.Lanes {
			r.Lanes[i] = plan.LaneState{Since: at.Draw(t, "since"), Target: word.Draw(t, "target"), Promise: local.Draw(t, "promise"), Served: local.Draw(t, "served"), Renewed: rapid.Bool().Draw(t, "renewed")}
		}
		if rapid.Bool().Draw(t, "exempt") {
			r.Exemption = &plan.Exemption{Until: looked.Add(90 * 24 * time.Hour), Since: looked}
		}
		if rapid.Bool().Draw(t, "now") {
			r.Summary.Version, r.Summary.Build = release.Version(word.Draw(t, "summary version")), word.Draw(t, "summary build")
			r.UpdateNow = &plan.UpdateNow{
				Lane: plan.Lane(rapid.IntRange(0, 2).Draw(t, "lane")), At: looked.Add(-time.Hour), Build: word.Draw(t, "build"),
				Version: release.Version(word.Draw(t, "version")),
			}
		}
		if rapid.Bool().Draw(t, "utc") {
			r.Summary.OverdueAt = r.Summary.Deadline.At(0)
		}
		b, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		back, err := DecodeRecord(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(&r, back); diff != "" {
			t.Fatalf("%s\n%s", b, diff)
		}
	})
}
