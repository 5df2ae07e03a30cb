package book

import (
	"cmp"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"plimsoll/declarations/plan"
	"plimsoll/declarations/policy"
	"plimsoll/server/fleet/answer"
	"plimsoll/storage"
)

// The bounds of what an Impact shows.
const (
	sampleSize = 20
	soon       = 7 * 24 * time.Hour
	noReturn   = 2 * time.Hour // macOS may enforce a deadline that is nearer than that all the same
)

// impact plans every enrolled Mac with the book as it is and as it would be, and keeps nothing.
func (k *Keeper) impact(cur *Current, apply func(*policy.Input)) (*answer.Impact, error) {
	in := cur.Input
	if apply != nil {
		apply(&in)
	}
	after, err := k.ready(in, cur.Stored)
	if err != nil {
		return nil, fmt.Errorf("compile the book with the change: %w", err)
	}
	w := &weighing{before: cur, after: after, now: k.o.Now(), zone: k.o.Zone, targets: map[plan.Target]int{}, groups: map[string]*answer.ImpactGroup{}}
	n, record := k.o.Macs.Records()
	parts := make([]answer.Impact, runtime.GOMAXPROCS(0))
	var work errgroup.Group
	for part := range parts {
		work.Go(func() error {
			for i := part * n / len(parts); i < (part+1)*n/len(parts); i++ {
				w.weigh(record(i), &parts[part])
			}
			return nil
		})
	}
	_ = work.Wait() // planning does not fail
	return w.sum(parts), nil
}

// weighing is an impact in the making.
type weighing struct {
	before, after *Current
	zone          *time.Location
	now           time.Time

	mu      sync.Mutex
	targets map[plan.Target]int
	groups  map[string]*answer.ImpactGroup
}

func (w *weighing) weigh(rec *storage.Record, out *answer.Impact) {
	a := w.before.Plan(rec.PlanningMac(false, w.before.SelfURL(rec)), w.now)
	b := w.after.Plan(rec.PlanningMac(false, w.after.SelfURL(rec)), w.now)
	if a.Token == b.Token && policyName(a) == policyName(b) && a.Outcome == b.Outcome && a.Deadline == b.Deadline {
		return
	}
	out.Devices++
	if a.Token != b.Token {
		out.TokensChanged++
		if left, ok := w.left(a); ok && left <= noReturn && left >= -noReturn {
			out.TooLate++
		}
	}
	if b.Enforced() && !a.Enforced() {
		out.NewlyTargeted++
	}
	dueA, dueB := w.dueWithin(a, soon), w.dueWithin(b, soon)
	if w.dueWithin(b, 24*time.Hour) {
		out.DueWithin24h++
	}
	if dueB {
		out.DueWithin7d++
	}
	if dueB && !dueA {
		out.NewlyDueWithin7d++
	}
	if before, after := side(a), side(b); len(out.Sample) < sampleSize && !before.Same(after) {
		out.Sample = append(out.Sample, answer.ImpactSample{Device: rec.Facts.ID, Serial: rec.Facts.Serial, Before: before, After: after})
	}
	if !b.Enforced() {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.targets[*plan.TargetOf(b.Target)]++
	for _, name := range w.after.GroupsOf(&rec.Facts) {
		g := w.groups[name]
		if g == nil {
			g = &answer.ImpactGroup{Group: name}
			w.groups[name] = g
		}
		g.Devices++
		if dueB {
			g.DueWithin7d++
		}
	}
}

func policyName(p *plan.Plan) string {
	if p.Policy == nil {
		return ""
	}
	return p.Policy.Name
}

// left is the time left to a declared deadline, read in the server's zone.
func (w *weighing) left(p *plan.Plan) (time.Duration, bool) {
	if !p.Enforced() {
		return 0, false
	}
	return p.Deadline.In(w.zone).Sub(w.now), true
}

func (w *weighing) dueWithin(p *plan.Plan, d time.Duration) bool {
	left, ok := w.left(p)
	return ok && left <= d
}

func side(p *plan.Plan) answer.ImpactSide {
	if !p.Enforced() {
		return answer.ImpactSide{}
	}
	return answer.ImpactSide{Target: plan.TargetOf(p.Target), DeadlineLocal: plan.LocalText(p.Deadline)}
}

func (w *weighing) sum(parts []answer.Impact) *answer.Impact {
	total := &answer.Impact{ByTarget: []answer.ImpactTarget{}, ByGroup: []answer.ImpactGroup{}, Sample: []answer.ImpactSample{}}
	for i := range parts {
		p := &parts[i]
		total.Devices += p.Devices
		total.NewlyTargeted += p.NewlyTargeted
		total.DueWithin24h += p.DueWithin24h
		total.DueWithin7d += p.DueWithin7d
		total.NewlyDueWithin7d += p.NewlyDueWithin7d
		total.TooLate += p.TooLate
		total.TokensChanged += p.TokensChanged
		total.Sample = append(total.Sample, p.Sample[:min(len(p.Sample), sampleSize-len(total.Sample))]...)
	}
	for t, n := range w.targets {
		total.ByTarget = append(total.ByTarget, answer.ImpactTarget{Target: t, Devices: n})
	}
	slices.SortFunc(total.ByTarget, func(a, b answer.ImpactTarget) int {
		return cmp.Or(b.Target.Version.Compare(a.Target.Version), cmp.Compare(a.Target.Build, b.Target.Build))
	})
	for _, g := range w.groups {
		total.ByGroup = append(total.ByGroup, *g)
	}
	slices.SortFunc(total.ByGroup, func(a, b answer.ImpactGroup) int { return cmp.Compare(a.Group, b.Group) })
	return total
}
