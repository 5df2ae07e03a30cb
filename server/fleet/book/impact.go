package book

import (
	"cmp"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"plimsoll/declarations"
	"plimsoll/declarations/plan"
	"plimsoll/declarations/policy"
	"plimsoll/server/fleet/answer"
	"plimsoll/status/compliance"
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
	w := &weighing{
		before: cur, after: after, now: k.o.Now(), zone: k.o.Zone, targets: map[plan.Target]int{},
		groups: map[string]*answer.ImpactGroup{},
	}
	n, record := k.o.Macs.Records()
	parts := make([]part, runtime.GOMAXPROCS(0))
	var work errgroup.Group
	for at := range parts {
		parts[at].states = map[compliance.State]int{}
		work.Go(func() error {
			for i := at * n / len(parts); i < (at+1)*n/len(parts); i++ {
				w.weigh(record(i), &parts[at])
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

// part is what one goroutine has counted.
type part struct {
	answer.Impact
	states      map[compliance.State]int
	first, last declarations.Local // of the new deadlines; meaningful when Restarting is not 0
}

func (w *weighing) weigh(rec *storage.Record, out *part) {
	a := w.before.Plan(rec.PlanningMac(false, w.before.SelfURL(rec)), w.now)
	mac := rec.PlanningMac(false, w.after.SelfURL(rec))
	b := w.after.Plan(mac, w.now)
	same := a.Token == b.Token && policyName(a) == policyName(b) && a.Outcome == b.Outcome && a.Deadline == b.Deadline
	state := w.stateAfter(rec, mac, b, same)
	out.states[state]++
	if same {
		return
	}
	out.Devices++
	out.count(a, b, state)
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
		out.Sample = append(out.Sample, answer.ImpactSample{
			Device: rec.Facts.ID, Serial: rec.Facts.Serial, Before: before,
			After: after,
		})
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

// stateAfter is the state that a Mac would have once it was told. What a Mac reports of a declaration says nothing of
// another one, so a Mac that would be told otherwise is judged without its reports.
func (w *weighing) stateAfter(rec *storage.Record, mac *plan.Mac, after *plan.Plan, same bool) compliance.State {
	if same && rec.Summary.State != "" {
		return rec.Summary.StateNow(w.now)
	}
	v := compliance.Judge(compliance.Input{
		Mac: mac, Plan: after, Index: w.after.Index, Now: w.now, Zone: w.zone,
		Before: rec.Summary,
	})
	return v.Summary.StateNow(w.now)
}

// count adds a Mac whose plan would be b instead of a: whether it would restart, and by when.
func (p *part) count(a, b *plan.Plan, state compliance.State) {
	switch {
	case a.Enforced() && !b.Enforced():
		p.NoLongerAsked++
	case !b.Enforced() && b.Policy != nil && slices.Contains(cannot, state):
		p.Cannot++
	}
	if !b.Enforced() || a.Enforced() && a.Deadline == b.Deadline && *plan.TargetOf(a.Target) == *plan.TargetOf(b.Target) {
		return
	}
	if p.Restarting == 0 || b.Deadline < p.first {
		p.first = b.Deadline
	}
	if p.Restarting == 0 || b.Deadline > p.last {
		p.last = b.Deadline
	}
	p.Restarting++
}

// cannot are the states of Macs on which no update can be enforced.
var cannot = []compliance.State{compliance.Incompatible, compliance.Unsupported, compliance.Unknown}

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

// join adds the states and the new deadlines of another part.
func (p *part) join(o *part) {
	for state, n := range o.states {
		p.states[state] += n
	}
	if o.Restarting == 0 {
		return
	}
	if p.Restarting == 0 {
		p.first, p.last = o.first, o.last
	}
	p.first, p.last = min(p.first, o.first), max(p.last, o.last)
	p.Restarting += o.Restarting
}

func (w *weighing) sum(parts []part) *answer.Impact {
	all := part{states: map[compliance.State]int{}}
	total := &answer.Impact{
		StatesAfter: map[string]int{}, ByTarget: []answer.ImpactTarget{},
		ByGroup: []answer.ImpactGroup{}, Sample: []answer.ImpactSample{},
	}
	for i := range parts {
		p := &parts[i]
		total.Devices += p.Devices
		total.NewlyTargeted += p.NewlyTargeted
		total.DueWithin24h += p.DueWithin24h
		total.DueWithin7d += p.DueWithin7d
		total.NewlyDueWithin7d += p.NewlyDueWithin7d
		total.TooLate += p.TooLate
		total.TokensChanged += p.TokensChanged
		total.NoLongerAsked += p.NoLongerAsked
		total.Cannot += p.Cannot
		all.join(p)
		total.Sample = append(total.Sample, p.Sample[:min(len(p.Sample), sampleSize-len(total.Sample))]...)
	}
	for _, state := range compliance.States {
		total.StatesAfter[string(state)] = all.states[state]
	}
	if total.Restarting = all.Restarting; all.Restarting > 0 {
		total.FirstRestartLocal, total.LastRestartLocal = plan.LocalText(all.first), plan.LocalText(all.last)
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
