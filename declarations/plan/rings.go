package plan

import (
	"time"

	"plimsoll/declarations/policy"
)

// ringKey names a release in a policy.
type ringKey struct{ policy, build string }

// rollout is what is recorded of a release in a policy with rings (rules 13).
type rollout struct {
	openings []*policy.Opening
	halt     *policy.Halt
}

func (b *Book) compileRollouts() {
	b.rollouts = map[ringKey]*rollout{}
	of := func(policy, build string) *rollout {
		k := ringKey{policy, build}
		if b.rollouts[k] == nil {
			b.rollouts[k] = &rollout{}
		}
		return b.rollouts[k]
	}
	for i := range b.Openings {
		o := &b.Openings[i]
		r := of(o.Policy, o.Build)
		r.openings = append(r.openings, o)
	}
	for i := range b.Halts {
		of(b.Halts[i].Policy, b.Halts[i].Build).halt = &b.Halts[i]
	}
}

// Why a release is open for a ring.
const (
	OpenFirst  = "first"  // the first ring
	OpenTold   = "told"   // the Mac was told already
	OpenGate   = "gate"   // the gate opened it
	OpenHand   = "hand"   // an admin opened it
	OpenTime   = "time"   // its days before the deadline have come
	OpenUrgent = "urgent" // it fixes an exploited vulnerability
)

// opening tells since when a release is open for a ring, and why.
type opening struct {
	since  time.Time // zero: it is not open
	why    string
	at     time.Time // of one that is not open: when it opens by time; zero while the gate halts it
	halted bool
}

// opened finds the earliest cause for which a release is open for the ring. due is that of the release alone.
func (b *Book) opened(rule *policy.Compiled, ring int, c *candidate, d due, now time.Time) opening {
	if ring == 0 {
		return opening{since: c.r.FirstSeen, why: OpenFirst}
	}
	var o opening
	take := func(at time.Time, why string) {
		if at.Before(c.r.FirstSeen) {
			at = c.r.FirstSeen
		}
		if o.since.IsZero() || at.Before(o.since) {
			o.since, o.why = at, why
		}
	}
	r := b.rollouts[ringKey{rule.Name, c.r.Build}]
	if r != nil {
		o.halted = r.halt != nil && rule.Gate != nil
		for _, record := range r.openings {
			if rule.RingNamed(record.Ring) >= ring { // a ring is open when a later one is
				take(record.At, record.Why)
			}
		}
	}
	if o.halted {
		return o
	}
	if d.urgent {
		take(c.r.ExploitedAt, OpenUrgent)
	}
	notice := min(rule.NoticeDays, d.slotDays)
	o.at = d.slot.At(0).Add(-time.Duration(notice+1) * 24 * time.Hour)
	if !o.at.After(now) {
		take(o.at, OpenTime)
	}
	return o
}
