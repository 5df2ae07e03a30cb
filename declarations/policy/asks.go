package policy

import "time"

// asksFor is the highest major that the policy demands upgrades to: 0 for none, AnyMajor for the track "latest".
func (r *Rule) asksFor() int {
	if r.Mode == ModeNone || r.Upgrade != UpgradeEnforce {
		return 0
	}
	return r.Track
}

// Asks keeps since when a policy goes on asking for which majors (rules 5, upgrade_within_days). It is to be called with
// every write of a policy; before is nil for a new one. Lowering the track cuts the list, raising it adds a step, and
// not demanding upgrades any more clears it: so an edit that goes on asking for a major never moves its beginning.
func Asks(before *Stored, p *Policy, now time.Time) []Ask {
	rule := p.Rule()
	upTo := rule.asksFor()
	if upTo == 0 {
		return nil
	}
	var asks []Ask
	if before != nil {
		for _, a := range before.Asks {
			a.UpTo = min(a.UpTo, upTo)
			asks = append(asks, a)
			if a.UpTo == upTo {
				return asks
			}
		}
	}
	return append(asks, Ask{UpTo: upTo, Since: now.UTC().Truncate(time.Second)})
}

// Since is when the policy began to ask for a major, without a break since then; zero when it does not ask for it.
func (s *Stored) Since(major int) time.Time {
	for _, a := range s.Asks {
		if a.UpTo >= major {
			return a.Since
		}
	}
	return time.Time{}
}
