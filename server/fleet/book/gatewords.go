package book

import (
	"fmt"
	"time"

	"plimsoll/declarations/plan"
	"plimsoll/declarations/policy"
)

// seen is what the Macs showed at a moment.
type seen struct {
	at       time.Time
	revision uint64
	told     map[rollout]*tally
}

// lately is what the Macs showed at most a minute ago: every record is decoded for it.
func (k *Keeper) lately() map[rollout]*tally {
	cur, now := k.Current(), k.o.Now()
	s := k.sawLately.Load()
	if s == nil || s.revision != cur.Revision || now.Before(s.at) || now.Sub(s.at) >= countRingsEvery {
		told, _ := k.tallies(cur)
		s = &seen{at: now, revision: cur.Revision, told: told}
		k.sawLately.Store(s)
	}
	return s.told
}

// GateWords tell what the gate of a policy sees of a release and what it waits for.
func (k *Keeper) GateWords(name, build string) string {
	cur := k.Current()
	rule, r := ruleNamed(cur.Book, name), cur.Index.Build(build)
	if rule == nil || r == nil {
		return "The policy or the release is not known any more."
	}
	what := "macOS " + string(r.Version)
	if rule.Gate == nil {
		return "The policy has no gate: " + what + " opens by itself, or by hand."
	}
	var e policy.Evidence
	if t := k.lately()[rollout{name, build}]; t != nil {
		e = t.all
	}
	d := plan.Decide(&rule.Rule, r, cur.OpenRing(rule, build), e, k.o.Now())
	saw := "Of " + what + " the gate sees: " + plan.EvidenceWords(e)
	switch d.For {
	case plan.WaitsForAge:
		age := rule.Rings[rule.RingNamed(d.Waits)].MinAgeDays
		return fmt.Sprintf("%s. Before it opens the ring %s it waits until the release is %d days old.", saw, d.Waits, age)
	case plan.WaitsForMacs:
		return fmt.Sprintf("%s. Before it opens the ring %s it waits for %d Macs that are done or bad, or for all that were asked.",
			saw, d.Waits, rule.Gate.MinMacs)
	case plan.WaitsForBad:
		return fmt.Sprintf("%s. It does not open the ring %s while more than %g %% are bad.", saw, d.Waits, rule.Gate.MaxBadPercent)
	}
	if d.Open != "" {
		return fmt.Sprintf("%s. It opens the ring %s at its next look, within 15 minutes.", saw, d.Open)
	}
	return saw + "."
}
