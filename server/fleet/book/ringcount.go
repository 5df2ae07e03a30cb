package book

import (
	"time"

	"plimsoll/declarations/policy"
	"plimsoll/status/compliance"
)

// countRingsEvery is how old a count of the rings may be: metrics are read often, and every record is decoded for it.
const countRingsEvery = time.Minute

// RingCounts are the policies with rings in numbers.
type RingCounts struct {
	at       time.Time
	revision uint64

	Halted map[string]int // releases that a policy's gate halts; of each policy with a gate
	Rings  []RingCount
}

// RingCount counts the Macs of a ring by state.
type RingCount struct {
	Policy, Ring string
	States       map[compliance.State]int
}

// RingCounts counts the halts, and the Macs of each ring as they were at most a minute ago.
func (k *Keeper) RingCounts() *RingCounts {
	cur, now := k.Current(), k.o.Now()
	if c := k.ringCounts.Load(); c != nil && c.revision == cur.Revision && !now.Before(c.at) && now.Sub(c.at) < countRingsEvery {
		return c
	}
	c := &RingCounts{at: now, revision: cur.Revision, Halted: map[string]int{}}
	first := map[*policy.Compiled]int{} // where the policy's rings begin
	for _, rule := range cur.Rules {
		if rule.Gate != nil {
			c.Halted[rule.Name] = 0
		}
		if len(rule.Rings) > 0 {
			first[rule] = len(c.Rings)
		}
		for i := range rule.Rings {
			c.Rings = append(c.Rings, RingCount{rule.Name, rule.Rings[i].Name, map[compliance.State]int{}})
		}
	}
	for _, h := range cur.Halts {
		if n, gated := c.Halted[h.Policy]; gated {
			c.Halted[h.Policy] = n + 1
		}
	}
	if len(first) > 0 {
		n, record := k.o.Macs.Records()
		for i := range n {
			rec := record(i)
			rule := cur.Govern(&rec.Facts, false).Rule
			if at, ringed := first[rule]; ringed {
				c.Rings[at+cur.RingOf(rule, &rec.Facts)].States[rec.Summary.StateNow(now)]++
			}
		}
	}
	k.ringCounts.Store(c)
	return c
}
