package plan

import (
	"math"
	"slices"
	"time"

	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
)

// Witness is what the gate looks at of one Mac that a policy governs (rules 13).
type Witness struct {
	Ring    string          // of the Mac's plan
	Told    string          // the build that its patch lane was told last (LaneState.Told)
	Version release.Version // that it runs
	Failing bool            // its state
	// InstallingSince is since when the Mac has said that it installs the release; zero when it does not.
	InstallingSince time.Time
	Exempt, Silent  bool
}

// hangsAfter is after which time an installation counts as bad.
const hangsAfter = 4 * time.Hour

// Count adds a Mac to the evidence for a release. What a Mac did before it was asked is no evidence.
func Count(e *policy.Evidence, w *Witness, r *release.Release, now time.Time) {
	if w.Told != r.Build || w.Exempt || w.Silent {
		return
	}
	e.Asked++
	switch {
	case w.Version.Compare(r.Version) >= 0:
		e.Done++
	case w.Failing, !w.InstallingSince.IsZero() && now.Sub(w.InstallingSince) > hangsAfter:
		e.Bad++
	}
}

// Decision is what the gate of a policy finds for one release.
type Decision struct {
	// Open is the name of the ring to be opened; empty when none is.
	Open string
	// Halt: the release is kept from the rings that are closed for it.
	Halt bool
	// Waits is the ring that is next, and For what it waits for: "age", "macs" or "bad"; both empty when every ring is open.
	Waits, For string
}

// What a ring waits for.
const (
	WaitsForAge  = "age"  // the release is not as old as the ring asks
	WaitsForMacs = "macs" // too few Macs have shown what it does
	WaitsForBad  = "bad"  // on too many of them it fails
)

// minBad is how many Macs a release must fail on before the gate halts it.
const minBad = 3

// Decide is what the gate of a rule finds for a release, from counted evidence. open is the index of the last ring that is
// open by record (0:
// none but the first). It is pure; the caller writes what differs from what is recorded. Without a gate it finds nothing.
func Decide(rule *policy.Rule, r *release.Release, open int, e policy.Evidence, now time.Time) Decision {
	if rule.Gate == nil {
		return Decision{}
	}
	d := Decision{Halt: Halts(rule.Gate, e)}
	if open+1 >= len(rule.Rings) {
		return d
	}
	next := &rule.Rings[open+1]
	d.Waits = next.Name
	n := e.Done + e.Bad
	switch {
	case now.Before((posted(r) + release.Day(next.MinAgeDays)).Time()):
		d.For = WaitsForAge
	case n < rule.Gate.MinMacs && (n != e.Asked || n == 0):
		d.For = WaitsForMacs
	case d.Halt || float64(e.Bad)*100 > rule.Gate.MaxBadPercent*float64(n):
		d.For = WaitsForBad
	default:
		d.Open, d.Waits = next.Name, ""
	}
	return d
}

// Halts tells whether so many Macs fail that it is no chance: at least three, and the lower bound of the share is above what
// the gate takes.
func Halts(g *policy.GateRule, e policy.Evidence) bool {
	return e.Bad >= minBad && WilsonLow(e.Bad, e.Done+e.Bad)*100 > g.MaxBadPercent
}

// WilsonLow is the lower bound of Wilson's interval for a share of bad in n, with z = 1.96; 0 for none.
func WilsonLow(bad, n int) float64 {
	if n == 0 {
		return 0
	}
	const z = 1.96
	share, count := float64(bad)/float64(n), float64(n)
	middle := share + z*z/(2*count)
	width := z * math.Sqrt(share*(1-share)/count+z*z/(4*count*count))
	return max(0, (middle-width)/(1+z*z/count))
}

// OpenRing is the index of the last ring that is open for a release by record: 0 when only the first is.
func (b *Book) OpenRing(rule *policy.Compiled, build string) int {
	open := 0
	if r := b.rollouts[ringKey{rule.Name, build}]; r != nil {
		for _, o := range r.openings {
			open = max(open, rule.RingNamed(o.Ring))
		}
	}
	return open
}

// RingOpening tells since when a release is open for a Mac's ring, and why ("first", "gate", "hand", "time" or "urgent");
// Since is zero when it is not open.
type RingOpening struct {
	Since time.Time
	Why   string
}

// RingOpenings tells of each of the releases that the Mac's board and major have, by build, since when it is open for the
// Mac's ring, whatever the Mac runs and was told. Without rings there is none.
func (b *Book) RingOpenings(
	m *Mac,
	builds []string,
	now time.Time,
) (rule *policy.Compiled, ring int, open map[string]RingOpening) {
	in := b.look(m, now)
	in.governedBy(b.Govern(&m.Facts, false).Rule)
	if rule = in.rule; rule == nil || len(rule.Rings) == 0 || in.table == nil {
		return rule, in.ring, nil
	}
	open = map[string]RingOpening{}
	l := &lane{LanePlan: LanePlan{Lane: Patch}, cal: in.calendar(Patch), clock: rule.Time}
	for i := range in.table.os {
		c := &in.table.os[i]
		if c.major == in.major && slices.Contains(builds, c.r.Build) {
			o := b.opened(rule, in.ring, c, in.dueOf(l, c.r), in.now)
			open[c.r.Build] = RingOpening{o.since, o.why}
		}
	}
	return rule, in.ring, open
}
