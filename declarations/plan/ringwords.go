package plan

import (
	"fmt"
	"time"

	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
)

// ExplainedRing tells in which ring a Mac is and why, and what that means for the releases above the version that it runs
// (rules 13).
type ExplainedRing struct {
	Ring  string   `json:"ring"`
	Why   string   `json:"why"`
	Words []string `json:"words"`

	// Closed are the builds that are not open for the Mac.
	Closed []string `json:"-"`
}

// explainRing is nil when the policy has no rings.
func (d *draft) explainRing() *ExplainedRing {
	if d.rule == nil || len(d.rule.Rings) == 0 {
		return nil
	}
	x := &ExplainedRing{Ring: d.rule.Rings[d.ring].Name, Why: d.b.RingWhy(d.rule, &d.m.Facts), Words: []string{}}
	for _, l := range d.worked {
		if l.Lane != Patch {
			continue
		}
		for i := range l.list {
			j := &l.list[i]
			if !j.r.Available {
				continue
			}
			if j.opening.since.IsZero() {
				x.Closed = append(x.Closed, j.r.Build)
			}
			x.Words = append(x.Words, d.openingStory(l, j))
		}
	}
	return x
}

// openingStory tells since when and why a release is open for the Mac, or what it waits for.
func (d *draft) openingStory(l *lane, j *judged) string {
	o, what := j.opening, "macOS "+name(j.r)
	if o.why == OpenTold { // the ring's own cause says more, if it is open
		if own := d.b.opened(d.rule, d.ring, j.candidate, d.dueOf(l, j.r), d.now); !own.since.IsZero() {
			o = own
		}
	}
	if o.since.IsZero() {
		if o.halted {
			h := d.b.rollouts[ringKey{d.rule.Name, j.r.Build}].halt
			return fmt.Sprintf("%s is closed for this ring: the gate has halted it since %s, when %s.", what, instant(h.Since),
				EvidenceWords(h.Evidence))
		}
		return fmt.Sprintf("%s is closed for this ring. Whatever the gate sees, it opens at %s.", what, instant(o.at))
	}
	return fmt.Sprintf("%s is open for this Mac since %s: %s.", what, instant(o.since), d.openedBecause(o, j.r))
}

func (d *draft) openedBecause(o opening, r *release.Release) string {
	switch o.why {
	case OpenFirst:
		return "it is in the first ring"
	case OpenTold:
		return "it was told to install it before"
	case OpenUrgent:
		return "the release fixes a vulnerability that is exploited"
	case OpenTime:
		return "so long before its deadline a release opens by itself"
	}
	rollout := d.b.rollouts[ringKey{d.rule.Name, r.Build}]
	for _, record := range rollout.openings {
		switch {
		case record.Why != o.why || d.rule.RingNamed(record.Ring) < d.ring:
		case record.Why == OpenHand:
			return fmt.Sprintf("%s opened the ring %s: %s", record.By, record.Ring, record.Reason)
		case record.Evidence != nil:
			return fmt.Sprintf("the gate opened the ring %s, when %s", record.Ring, EvidenceWords(*record.Evidence))
		}
	}
	return "the gate opened it"
}

// EvidenceWords tell what Macs show of a release.
func EvidenceWords(e policy.Evidence) string {
	return fmt.Sprintf("of the %d Macs that were asked, %d were done and %d were bad", e.Asked, e.Done, e.Bad)
}

func instant(t time.Time) string { return t.UTC().Format(time.RFC3339) }
