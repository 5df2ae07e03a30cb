package model

import (
	"cmp"
	"slices"
	"time"

	"plimsoll/declarations"
	"plimsoll/declarations/plan"
	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
	"plimsoll/status"
)

// order is an update that a Mac holds.
type order struct {
	target   *release.Release
	deadline declarations.Local
}

// miss is a release that a Mac lacked when it appeared.
type miss struct {
	release *release.Release
	days    float64 // until the Mac ran it or a newer one; negative: not by the end
	used    int     // days on which the Mac was on meanwhile
}

// run is one scenario under way.
type run struct {
	s        Scenario
	users    *Users
	seed     uint64
	lives    []life
	input    policy.Input
	book     *plan.Book
	since    time.Time // when the book became so
	result   Result
	hits     map[int]bool // Macs on which the faulty release failed
	restarts int
	reached  []time.Time // by ring: when the first of its Macs was told the faulty release
}

// Macs use their days from 9 to 18 o'clock; a user who installs by himself does so at 12:30.
const (
	morning = 9 * time.Hour
	evening = 18 * time.Hour
	lunch   = 12*time.Hour + 30*time.Minute
)

// simulate lets a fleet live through the catalogues, one for each day.
func simulate(s Scenario, fleet []person, u *Users, seed uint64, catalogues []*release.Catalog) (Result, error) {
	x := &run{s: s, users: u, seed: seed, lives: make([]life, len(fleet)), result: Result{Name: s.Name}, hits: map[int]bool{}}
	for i := range fleet {
		l := &x.lives[i]
		l.person, l.deadline = &fleet[i], map[string]bool{}
		l.mac.Facts = fleet[i].facts
	}
	if s.Policy != nil {
		x.input.Policies = []policy.Stored{{Policy: *s.Policy, CreatedAt: Start, UpdatedAt: Start}}
	}
	if s.Freeze != nil {
		x.input.Freezes = []policy.Freeze{*s.Freeze}
	}
	for d, c := range catalogues {
		now := Start.AddDate(0, 0, d)
		fresh := x.input.Catalog != c
		if x.input.Catalog = c; fresh {
			if err := x.compile(c.FetchedAt); err != nil {
				return x.result, err
			}
			x.appear(now)
		}
		if err := x.gate(now); err != nil {
			return x.result, err
		}
		for i := range x.lives {
			x.live(&x.lives[i], d)
		}
	}
	x.finish()
	return x.result, nil
}

func (x *run) compile(at time.Time) error {
	x.since = at
	x.input.Revision++
	b, err := plan.Compile(x.input)
	x.book = b
	return err
}

// appear notes for each Mac the releases of the last day that it lacks. Those that were posted over a week before the first day,
// or came too late to be watched for 35 days, are not measured.
func (x *run) appear(now time.Time) {
	for i := range x.lives {
		l := &x.lives[i]
		for _, r := range x.book.Index.Board(l.mac.Facts.Board).OS {
			if r.Posted < release.DayOf(Start)-7 || r.FirstSeen.Before(now.Add(-day)) || r.FirstSeen.After(End.Add(-35*day)) {
				continue
			}
			if f := &l.mac.Facts; r.Version.Major() == f.Version.Major() && r.Version.Compare(f.Version) > 0 {
				l.missed = append(l.missed, miss{release: r, days: -1})
			}
		}
	}
}

// live is one local day of a Mac: the server plans, the Mac asks if it is on, and its user or the deadline installs.
func (x *run) live(l *life, d int) {
	on := l.on(x.seed, x.users, d)
	midnight := declarations.Local(Start.AddDate(0, 0, d).Unix())
	now := midnight.Add(morning).At(l.zone)
	if on {
		if !l.seen.IsZero() && now.Sub(l.seen) > 7*day {
			l.mac.BackAt = now
		}
		l.seen = now
	}
	if l.book != x.book { // the server's sweep
		x.order(l, x.since, false)
	}
	told := x.order(l, now, on)
	if !on {
		return
	}
	for i := range l.missed {
		if m := &l.missed[i]; m.days < 0 {
			m.used++
		}
	}
	x.tell(l, told)
	offered := newest(x.book.Index, &l.mac.Facts)
	switch o := l.order; {
	case o.target != nil && o.deadline <= midnight.Add(evening):
		x.result.Enforced++
		x.install(l, o.target, max(o.deadline, midnight.Add(morning)), d)
	case offered != nil && l.wants(x.seed, x.users, offered, d, o.target != nil):
		x.install(l, offered, midnight.Add(lunch), d)
	}
}

// order is what the Mac is asked for now.
func (x *run) order(l *life, now time.Time, asks bool) order {
	switch {
	case x.s.AfterNewest > 0:
		r := newest(x.book.Index, &l.mac.Facts)
		if r == nil {
			x.token(l, "")
			return order{}
		}
		due := declarations.Local(r.Posted.Time().AddDate(0, 0, x.s.AfterNewest).Unix()).Add(12 * time.Hour)
		x.token(l, r.Build+due.String())
		return order{r, due}
	case x.s.Policy == nil:
		return order{}
	}
	p := x.plan(l, now, asks)
	x.token(l, p.Token)
	if !p.Enforced() {
		return order{}
	}
	x.reach(l, p.Target, now)
	return order{p.Target, p.Deadline}
}

// reach notes when the faulty release is told to the first Mac of a ring.
func (x *run) reach(l *life, target *release.Release, now time.Time) {
	rule := x.book.Rules[0]
	if target.Version != x.s.Faulty || len(rule.Rings) == 0 {
		return
	}
	if x.reached == nil {
		x.reached, x.result.reached = make([]time.Time, len(rule.Rings)), make([]float64, len(rule.Rings))
		for i := range x.result.reached {
			x.result.reached[i] = -1
		}
	}
	ring := x.book.RingOf(rule, &l.mac.Facts)
	if at := x.reached[ring]; at.IsZero() || now.Before(at) {
		x.reached[ring], x.result.reached[ring] = now, max(0, now.Sub(target.FirstSeen).Hours()/24)
	}
}

// plan asks the product's planner. Plan is pure, so its answer holds while its input is the same and NextAt has not come.
func (x *run) plan(l *life, now time.Time, asks bool) *plan.Plan {
	if p := l.last; p != nil && l.book == x.book && l.asked == asks && !l.mac.BackAt.Equal(now) && p.NextLanes == l.mac.Lanes &&
		(p.NextAt.IsZero() || now.Before(p.NextAt)) {
		return p
	}
	l.mac.Asks = asks
	p := x.book.Plan(&l.mac, now)
	l.last, l.book, l.asked = p, x.book, asks
	if l.mac.Lanes = p.NextLanes; asks {
		l.mac.Lanes = p.NextLanes.MarkServed(p)
	}
	return p
}

func (x *run) token(l *life, token string) {
	if l.token != token {
		l.token = token
		x.result.tokens++
	}
}

// tell gives the Mac an order and counts the deadline once.
func (x *run) tell(l *life, o order) {
	l.order = o
	key := o.deadline.String()
	if o.target == nil || l.deadline[key] {
		return
	}
	l.deadline[key] = true
	x.result.Deadlines++
	at := o.deadline.At(0)
	if w := at.Weekday(); w < time.Tuesday || w > time.Thursday {
		x.result.FriToMon++
	}
	if yearEnd(at, 19) {
		x.result.YearEnd++
	}
}

// newest is the newest release of the Mac's own major that Apple offers it and that it lacks; nil if there is none.
func newest(x *release.Index, f *status.Facts) *release.Release {
	for _, r := range x.Board(f.Board).OS {
		if r.Available && r.Version.Major() == f.Version.Major() {
			if r.Version.Compare(f.Version) > 0 {
				return r
			}
			return nil
		}
	}
	return nil
}

// install is one attempt.
func (x *run) install(l *life, r *release.Release, at declarations.Local, d int) {
	faulty := r.Version == x.s.Faulty && draw(x.seed, l.n, drawFaulty, 0) < x.users.FaultyFailsFor
	hangs := r.Version == x.s.Faulty && draw(x.seed, l.n, drawHangs, 0) < x.users.FaultyHangsFor
	if faulty || hangs {
		x.hits[l.n] = true
	}
	if hangs && !faulty {
		if l.hangs.IsZero() {
			l.hangs = at.At(l.zone)
		}
		return
	}
	if l.failing = faulty || draw(x.seed, l.n, drawFails, d) < x.users.InstallFails; l.failing {
		return
	}
	l.mac.Facts.Version, l.mac.Facts.Build = r.Version, r.Build
	l.order, l.last, l.hangs = order{}, nil, time.Time{}
	x.restarts++
	for i := range l.missed {
		if m := &l.missed[i]; m.days < 0 && r.Version.Compare(m.release.Version) >= 0 {
			m.days = max(0, at.At(l.zone).Sub(m.release.FirstSeen).Hours()/24)
		}
	}
}

// gate lets the product's gate look, once a day, at every release that Macs were told.
func (x *run) gate(now time.Time) error {
	if x.s.Policy == nil || x.s.Policy.Gate == nil {
		return nil
	}
	told := map[string]*policy.Evidence{}
	for i := range x.lives {
		l := &x.lives[i]
		build := l.mac.Lanes[plan.Patch].Told
		r := x.book.Index.Build(build)
		if r == nil {
			continue
		}
		if told[build] == nil {
			told[build] = &policy.Evidence{}
		}
		plan.Count(told[build], &plan.Witness{
			Told: build, Version: l.mac.Facts.Version, Failing: l.failing, InstallingSince: l.hangs, Silent: now.Sub(l.seen) > 7*day,
		}, r, now)
	}
	changed := false
	rule := x.book.Rules[0]
	for _, build := range sorted(told) {
		r, e := x.book.Index.Build(build), *told[build]
		found := plan.Decide(&rule.Rule, r, x.book.OpenRing(rule, build), e, now)
		if found.Open != "" {
			x.input.Openings = append(x.input.Openings, policy.Opening{
				Policy: rule.Name, Build: build, Ring: found.Open, At: now, Why: policy.OpenedByGate, Evidence: &e,
			})
			changed = true
		}
		at := slices.IndexFunc(x.input.Halts, func(h policy.Halt) bool { return h.Build == build })
		switch {
		case found.Halt && at < 0:
			x.input.Halts = append(x.input.Halts, policy.Halt{Policy: rule.Name, Build: build, Since: now, Evidence: e})
			x.halted(r, now)
			changed = true
		case !found.Halt && at >= 0:
			x.input.Halts = slices.Delete(slices.Clone(x.input.Halts), at, at+1)
			changed = true
		}
	}
	if changed {
		return x.compile(now)
	}
	return nil
}

func (x *run) halted(r *release.Release, now time.Time) {
	x.result.Halts++
	if r.Version == x.s.Faulty && x.result.HaltedAfterDays == 0 {
		x.result.HaltedAfterDays = now.Sub(r.FirstSeen).Hours() / 24
		x.result.HitAtHalt = len(x.hits)
	}
}

func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, cmp.Compare[string])
	return keys
}
