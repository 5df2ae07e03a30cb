package policy

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"plimsoll/declarations/release"
	"plimsoll/status"
)

// Ring is one step of a staged rollout (rules 13). Pointers and empty lists mean "left out".
type Ring struct {
	Name       string   `json:"name"`
	Groups     []string `json:"groups,omitempty"`
	Percent    *float64 `json:"percent,omitempty"` // above 0 to 100
	WithinDays *int     `json:"within_days,omitempty"`
	MinAgeDays *int     `json:"min_age_days,omitempty"`
}

// Gate opens a ring when the rings before it went well, and halts a release that does not (rules 13).
type Gate struct {
	MinMacs       *int     `json:"min_macs,omitempty"`        // 1 to 100,000, default 20
	MaxBadPercent *float64 `json:"max_bad_percent,omitempty"` // 0 to 100, default 5
}

// Freeze keeps deadlines away from a stretch of days, the Mac's local dates, both included (rules 11).
type Freeze struct {
	Name          string      `json:"name"`
	From          release.Day `json:"from"`
	To            release.Day `json:"to"`
	Reason        string      `json:"reason,omitempty"`
	Groups        []string    `json:"groups,omitempty"` // none: every Mac
	ExcludeGroups []string    `json:"exclude_groups,omitempty"`
	Strict        bool        `json:"strict,omitempty"` // shields from exploited vulnerabilities too
	CreatedAt     time.Time   `json:"created_at,omitzero"`
	UpdatedAt     time.Time   `json:"updated_at,omitzero"`
	By            string      `json:"by,omitempty"`
}

// Opening records that a release was opened for a ring of a policy and for the rings before it (rules 13). It stays, whatever
// is edited.
type Opening struct {
	Policy string    `json:"policy"`
	Build  string    `json:"build"`
	Ring   string    `json:"ring"` // by name
	At     time.Time `json:"at"`   // UTC
	// Why is "gate" or "hand".
	Why      string    `json:"why"`
	Reason   string    `json:"reason,omitempty"` // of an opening by hand
	By       string    `json:"by,omitempty"`
	Evidence *Evidence `json:"evidence,omitempty"` // of an opening by the gate
}

// The causes of an opening that is recorded.
const (
	OpenedByGate = "gate"
	OpenedByHand = "hand"
)

// Halt records that the gate of a policy keeps a release from the rings that are closed for it (rules 13).
type Halt struct {
	Policy   string    `json:"policy"`
	Build    string    `json:"build"`
	Since    time.Time `json:"since_at"` // UTC
	Evidence Evidence  `json:"evidence"`
}

// Evidence counts the Macs that a release was asked of: all of them, those at its version, and those on which it fails (rules
// 13).
type Evidence struct {
	Asked int `json:"asked"`
	Done  int `json:"done"`
	Bad   int `json:"bad"`
}

// RingRule is a ring with everything that was left out filled in.
type RingRule struct {
	Name string
	// WithinDays counts for the patch lane of the ring's Macs, MinAgeDays is the age from which the gate may open the ring.
	WithinDays int
	MinAgeDays int
	// Percent is the share of Macs that the ring takes by their hash; 0 when it takes none by it.
	Percent float64
	groups  []int
}

// GateRule is a gate with its defaults.
type GateRule struct {
	MinMacs       int
	MaxBadPercent float64
}

const (
	defaultMinMacs       = 20
	defaultMaxBadPercent = 5
)

// ringsRule fills in the rings of an automatic policy.
func (p *Policy) ringsRule(r *Rule) {
	if r.Mode != ModeAutomatic || len(p.Rings) == 0 {
		return
	}
	for i := range p.Rings {
		ring := &p.Rings[i]
		rule := RingRule{Name: ring.Name, WithinDays: r.WithinDays}
		if ring.WithinDays != nil && i < len(p.Rings)-1 {
			rule.WithinDays = *ring.WithinDays
		}
		if ring.MinAgeDays != nil {
			rule.MinAgeDays = *ring.MinAgeDays
		}
		if ring.Percent != nil {
			rule.Percent = *ring.Percent
		}
		r.Rings = append(r.Rings, rule)
	}
	r.MinAgeDays = 0 // each ring has its own
	if p.Gate != nil {
		r.Gate = &GateRule{MinMacs: defaultMinMacs, MaxBadPercent: defaultMaxBadPercent}
		if p.Gate.MinMacs != nil {
			r.Gate.MinMacs = *p.Gate.MinMacs
		}
		if p.Gate.MaxBadPercent != nil {
			r.Gate.MaxBadPercent = *p.Gate.MaxBadPercent
		}
	}
}

// RingHash places a Mac within a policy's percentages: at least 0 and below 100 (rules 13).
func RingHash(policy, enrollmentID string) float64 {
	sum := sha256.Sum256([]byte(policy + "\x00" + enrollmentID))
	const step = 100.0 / (1 << 53) // of the 64 bits a float64 holds 53 exactly, so that the result stays below 100
	return float64(binary.BigEndian.Uint64(sum[:8])>>11) * step
}

// RingOf is the index of a Mac's ring in the policy's rings; 0 when the policy has none.
func (b *Book) RingOf(r *Compiled, f *status.Facts) int {
	last := len(r.Rings) - 1
	if last < 0 {
		return 0
	}
	groups := b.groupsOf(f)
	for i := range r.Rings {
		if share(groups, r.Rings[i].groups) {
			return i
		}
	}
	h, upTo := RingHash(r.Name, f.ID), 0.0
	for i := range r.Rings {
		if p := r.Rings[i].Percent; p > 0 {
			if upTo += p; h < upTo {
				return i
			}
		}
	}
	return last
}

// RingWhy tells in words why a Mac is in its ring.
func (b *Book) RingWhy(r *Compiled, f *status.Facts) string {
	i := b.RingOf(r, f)
	for _, g := range r.Rings[i].groups {
		if share(b.groupsOf(f), []int{g}) {
			return fmt.Sprintf("the Mac is in the group %s, which the ring names", b.groups[g])
		}
	}
	place := fmt.Sprintf("its place in this policy is %.2f of 100", RingHash(r.Name, f.ID))
	if p := r.Rings[i].Percent; p > 0 {
		return fmt.Sprintf("the Mac is in no group that a ring names, and %s: the ring takes %g %%", place, p)
	}
	return fmt.Sprintf("no other ring takes the Mac: it is in no group that one names, and %s", place)
}

// RingNamed is the index of the ring with that name, -1 if there is none.
func (r *Rule) RingNamed(name string) int {
	return slices.IndexFunc(r.Rings, func(ring RingRule) bool { return ring.Name == name })
}

// freeze is a Freeze with its groups looked up.
type freeze struct {
	*Freeze
	everyGroup      bool
	groups, exclude []int
}

func (b *Book) compileFreezes() {
	for i := range b.Freezes {
		f := &b.Freezes[i]
		b.freezes = append(b.freezes, freeze{f, len(f.Groups) == 0, b.groupIndexes(f.Groups), b.groupIndexes(f.ExcludeGroups)})
	}
	slices.SortStableFunc(b.freezes, func(x, y freeze) int { return int(x.From - y.From) })
}

// FreezesOf are the freezes that cover a Mac, those that are over included, by their first day.
func (b *Book) FreezesOf(f *status.Facts) []*Freeze {
	if len(b.freezes) == 0 {
		return nil
	}
	groups := b.groupsOf(f)
	list := make([]*Freeze, 0, len(b.freezes))
	for i := range b.freezes {
		z := &b.freezes[i]
		if (z.everyGroup || share(groups, z.groups)) && !share(groups, z.exclude) {
			list = append(list, z.Freeze)
		}
	}
	return list
}
