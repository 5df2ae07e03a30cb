package fleet

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"plimsoll/declarations/plan"
	"plimsoll/declarations/policy"
	"plimsoll/storage"
)

// The bounds of a write that needs to be confirmed (docs/api.md 3), and of what an Impact shows.
const (
	manyMacs    = 10
	manyPercent = 5
	sampleSize  = 20
	soon        = 7 * 24 * time.Hour
	noReturn    = 2 * time.Hour // macOS may enforce a deadline that is nearer than that all the same
)

// checkFunc looks at a write against a book, and returns what writes it; nil when nothing changes. past: a new deadline lies in the past.
type checkFunc func(book *storage.Book, ready *plan.Book) (write func(*storage.BookTx) error, past bool, err error)

// guard makes a write of the book: checked, its impact computed, confirmed where it would hit many people at once, written, in force.
// With DryRun it only answers the impact.
func (f *Fleet) guard(ctx context.Context, o WriteOptions, out **Impact, check checkFunc, apply func(*policy.Input)) error {
	if err := f.reloadBook(ctx); err != nil {
		return err
	}
	cur := f.book.cur.Load()
	write, past, err := check(cur.stored, cur.Book)
	if err != nil {
		return err
	}
	if write == nil && !o.DryRun {
		return nil
	}
	if o.DryRun || !o.Confirm {
		impact, err := f.impact(cur, apply)
		if err != nil {
			return err
		}
		if o.DryRun {
			*out = impact
			return nil
		}
		if many := f.hitsMany(impact); many != "" || past {
			text := "the write needs to be confirmed: " + many
			if past {
				text = "the write needs to be confirmed: its deadline has already passed everywhere"
			}
			return &Error{Kind: ErrConflict, Code: "confirm_required", Text: text, Impact: impact}
		}
	}
	return f.updateBook(ctx, func(tx *storage.BookTx) error {
		write, _, err := check(tx.Book, cur.Book)
		if err != nil || write == nil {
			return err
		}
		return write(tx)
	})
}

// hitsMany says why an impact needs confirmation; empty when it does not.
func (f *Fleet) hitsMany(i *Impact) string {
	fleet := f.index.CountEnrolled()
	if i.NewlyDueWithin7d <= manyMacs || i.NewlyDueWithin7d*100 <= fleet*manyPercent {
		return ""
	}
	return fmt.Sprintf("%d of %d Macs would newly be due within 7 days", i.NewlyDueWithin7d, fleet)
}

// impact plans every enrolled Mac with the book as it is and as it would be, and keeps nothing.
func (f *Fleet) impact(cur *current, apply func(*policy.Input)) (*Impact, error) {
	in := cur.Input
	apply(&in)
	after, err := plan.Compile(in)
	if err != nil {
		return nil, fmt.Errorf("compile the book with the change: %w", err)
	}
	w := &weighing{
		f: f, before: cur, after: &current{Book: after, stored: cur.stored, selfUsed: usesSelf(in.Policies)}, now: f.now(),
		targets: map[plan.Target]int{}, groups: map[string]*ImpactGroup{},
	}
	macs := f.index.Enrolled()
	workers := runtime.GOMAXPROCS(0)
	parts := make([]Impact, workers)
	var wg sync.WaitGroup
	for n := range workers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := n * len(macs) / workers; i < (n+1)*len(macs)/workers; i++ {
				w.weigh(macs[i].Record(), &parts[n])
			}
		}()
	}
	wg.Wait()
	return w.sum(parts), nil
}

// weighing is an impact in the making.
type weighing struct {
	f             *Fleet
	before, after *current
	now           time.Time

	mu      sync.Mutex
	targets map[plan.Target]int
	groups  map[string]*ImpactGroup
}

func (w *weighing) weigh(rec *storage.Record, out *Impact) {
	a := w.before.Plan(rec.PlanningMac(false, w.f.selfURL(w.before, rec)), w.now)
	b := w.after.Plan(rec.PlanningMac(false, w.f.selfURL(w.after, rec)), w.now)
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
		out.Sample = append(out.Sample, ImpactSample{Device: rec.Facts.ID, Serial: rec.Facts.Serial, Before: before, After: after})
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
			g = &ImpactGroup{Group: name}
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
	return p.Deadline.In(w.f.o.Zone).Sub(w.now), true
}

func (w *weighing) dueWithin(p *plan.Plan, d time.Duration) bool {
	left, ok := w.left(p)
	return ok && left <= d
}

func side(p *plan.Plan) ImpactSide {
	if !p.Enforced() {
		return ImpactSide{}
	}
	return ImpactSide{Target: plan.TargetOf(p.Target), DeadlineLocal: plan.LocalText(p.Deadline)}
}

func (w *weighing) sum(parts []Impact) *Impact {
	total := &Impact{ByTarget: []ImpactTarget{}, ByGroup: []ImpactGroup{}, Sample: []ImpactSample{}}
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
		total.ByTarget = append(total.ByTarget, ImpactTarget{Target: t, Devices: n})
	}
	slices.SortFunc(total.ByTarget, func(a, b ImpactTarget) int {
		return cmp.Or(b.Target.Version.Compare(a.Target.Version), cmp.Compare(a.Target.Build, b.Target.Build))
	})
	for _, g := range w.groups {
		total.ByGroup = append(total.ByGroup, *g)
	}
	slices.SortFunc(total.ByGroup, func(a, b ImpactGroup) int { return cmp.Compare(a.Group, b.Group) })
	return total
}
