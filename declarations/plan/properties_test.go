package plan

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"plimsoll/declarations"
	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
)

// The policies that the random lives switch between; all govern, and none names a release that may be missing.
var somePolicies = []string{
	`{"updates":{"mode":"automatic","within_days":7}}`,
	`{"updates":{"mode":"automatic","within_days":14,"exploited_within_days":3},"background_security":{"mode":"automatic","within_days":2}}`,
	`{"updates":{"mode":"automatic","within_days":30,"min_age_days":5,"time":"18:00"},"notice_days":10}`,
	`{"updates":{"mode":"automatic","within_days":14},"notice_days":0}`,
	`{"os":{"track":"latest","upgrade":"enforce","upgrade_within_days":20},"updates":{"mode":"automatic","within_days":10},"background_security":{"mode":"automatic","within_days":5}}`,
	`{"os":{"track":"latest","upgrade":"enforce","upgrade_within_days":30},"updates":{"mode":"automatic","within_days":10,"min_age_days":9}}`,
	`{"os":{"track":"26","upgrade":"enforce"},"updates":{"mode":"automatic","within_days":21}}`,
	`{"os":{"track":"26","upgrade":"self_service"},"updates":{"mode":"automatic","within_days":21}}`,
	`{"updates":{"mode":"minimum","version":"26.1","deadline":"2026-02-15T09:00:00"}}`,
	`{"updates":{"mode":"minimum","versions":["15.3","26.2"],"deadline":"2026-03-01T12:00:00"},"notice_days":3}`,
	`{"updates":{"mode":"exact","version":"26.2","deadline":"2026-02-20T12:00:00"}}`,
	`{"updates":{"mode":"none"},"background_security":{"mode":"automatic","within_days":3}}`,
}

// life is the random life of one Mac. It keeps to itself what it needs to judge a plan, apart from the code.
type life struct {
	*rapid.T
	w       *world
	now     time.Time
	m       *Mac
	contact time.Time
	serial  int // numbers builds
	minor   map[int]int

	renewals [lanes]struct{ returned, unserved int } // in the obligation at hand
}

func (l *life) releases() []release.Release { return l.w.in.Catalog.Releases }

func (l *life) edit(change func([]release.Release) []release.Release) {
	c := *l.w.in.Catalog
	c.Releases = change(slices.Clone(c.Releases))
	l.w.in.Catalog = &c
}

// appear adds a release of a major, posted today or yesterday.
func (l *life) appear(major int, boards []string) release.Release {
	l.minor[major]++
	l.serial++
	posted := release.DayOf(l.now) - release.Day(rapid.IntRange(0, 1).Draw(l.T, "posted before"))
	r := release.Release{
		Version: release.Version(fmt.Sprintf("%d.%d", major, l.minor[major])), Build: fmt.Sprintf("%dX%d", major, l.serial), Kind: release.KindOS,
		Posted: posted, FirstSeen: l.now, Available: true, Devices: boards,
	}
	l.edit(func(list []release.Release) []release.Release { return append(list, r) })
	return r
}

func newLife(t *rapid.T) *life {
	l := &life{T: t, now: time.Date(2026, 1, 10, 9, 0, 0, 0, time.UTC), minor: map[int]int{}}
	l.w = &world{t, policy.Input{Revision: 1, Catalog: &release.Catalog{}}}
	for range 3 {
		l.now = l.now.Add(24 * time.Hour)
		for _, major := range []int{15, 26} {
			l.appear(major, []string{"J1AP"})
		}
	}
	l.w.in.Policies = []policy.Stored{stored(t, somePolicies[0], "2026-01-13")}
	l.m = mac("15.1", "15X1")
	l.contact = l.now
	return l
}

func (l *life) plan(asks bool) *Plan {
	m := *l.m
	m.Asks = asks
	return l.w.book().Plan(&m, l.now)
}

// keep plans for the Mac, checks the promise that is made against the one found, and keeps it.
func (l *life) keep(asks, serve bool) *Plan {
	if asks {
		if l.now.Sub(l.contact) > 7*24*time.Hour {
			l.m.BackAt = l.now
		}
		l.contact = l.now
	}
	l.m.Asks = asks
	b := l.w.book()
	p := b.Plan(l.m, l.now)
	checkPlan(l, b, l.m, l.now, p)
	for i := range p.Lanes {
		l.checkPromise(p, &p.Lanes[i], asks)
	}
	for i := range p.NextLanes {
		if p.NextLanes[i].Since.IsZero() || !p.NextLanes[i].Since.Equal(l.m.Lanes[i].Since) {
			l.renewals[i] = struct{ returned, unserved int }{}
		}
	}
	l.m.Lanes = p.NextLanes
	if serve {
		l.m.Lanes = l.m.Lanes.MarkServed(p)
		if p.Enforced() {
			l.renewals[p.Lane].unserved = 0
		}
	}
	return p
}

// notice is the N of rules 6.4.
func (l *life) notice(p *Plan, lp *LanePlan) time.Duration {
	n := 5
	if u := p.Policy.Updates; u.Mode == policy.ModeMinimum || u.Mode == policy.ModeExact {
		n = 1
	}
	if p.Policy.NoticeDays != nil {
		n = *p.Policy.NoticeDays
	}
	if lp.DueSetBy != nil {
		n = min(n, lp.DueDays)
	}
	return time.Duration(n) * 24 * time.Hour
}

func (l *life) checkPromise(p *Plan, lp *LanePlan, asks bool) {
	if !p.Enforced() || p.Lane != lp.Lane || lp.Wished {
		return
	}
	found := lp.Promise
	// No new or advanced deadline gives less notice than is promised, in any zone.
	if notice := l.notice(p, lp); notice > 0 && (found == 0 || lp.Own < found) && lp.Own.At(declarations.FirstZone).Sub(l.now) < notice {
		l.Errorf("%v: deadline %s in place of %s gives less notice than %v", l.now, lp.Own, found, notice)
	}
	if lp.Own < lp.Due {
		l.Errorf("%v: deadline %s before the due date %s", l.now, lp.Own, lp.Due)
	}
	if found == 0 || lp.Own <= found {
		return
	}
	// No promise moves later without one of the causes named.
	s := l.m.Lanes[lp.Lane]
	switch lp.Renewed {
	case "":
		if lp.Own != lp.Due {
			l.Errorf("%v: promise %s moved to %s without a cause (due %s)", l.now, found, lp.Own, lp.Due)
		}
	case RenewedReturned:
		if l.renewals[lp.Lane].returned++; l.renewals[lp.Lane].returned > 1 || !asks || l.m.BackAt.IsZero() || found.At(declarations.FirstZone).After(l.m.BackAt) {
			l.Errorf("%v: promise %s moved to %s because of a return that is none", l.now, found, lp.Own)
		}
	case RenewedNeverServed:
		l.renewals[lp.Lane].unserved++
		if l.renewals[lp.Lane].unserved > 1 || !asks || s.Served == found || found.At(declarations.FirstZone).Sub(l.now) >= 24*time.Hour {
			l.Errorf("%v: promise %s moved to %s though it was served", l.now, found, lp.Own)
		}
		if s.Served != 0 && lp.Own > max(lp.Due, s.Served) {
			l.Errorf("%v: promise %s moved to %s, later than %s that was served", l.now, found, lp.Own, s.Served)
		}
	}
}

// unrelated makes changes that must not change what the Mac is told.
func (l *life) unrelated() {
	before := l.plan(false).Token
	in := l.w.in
	same := func(what string) {
		if after := l.plan(false).Token; after != before {
			l.Errorf("%v: %s changes the token", l.now, what)
		}
		l.w.in = in
	}
	l.serial++
	build := fmt.Sprintf("26Z%d", l.serial)
	l.edit(func(list []release.Release) []release.Release {
		return append(list, release.Release{Version: "26.99", Build: build, Kind: release.KindOS, Posted: release.DayOf(l.now), FirstSeen: l.now, Available: true, Devices: []string{"J2AP"}})
	})
	same("a release for another board")
	l.edit(func(list []release.Release) []release.Release { slices.Reverse(list); return list })
	same("the order of the catalogue")
	l.edit(func(list []release.Release) []release.Release {
		for i := range list {
			list[i].Expires += 90
		}
		return list
	})
	same("an expiration date")
	l.w.in.Holds = append(slices.Clone(in.Holds), release.Hold{Subject: "14", Successors: true})
	same("a hold on another major")
	other := stored(l, `{"name":"other","priority":9,"assign":{"groups":["g"]},"updates":{"mode":"automatic","within_days":1}}`, "2026-01-01")
	l.w.in.Groups = []policy.Group{{Name: "g", Devices: []string{"SOMEBODY"}}}
	l.w.in.Policies = append(slices.Clone(in.Policies), other)
	one := l.plan(false).Token
	slices.Reverse(l.w.in.Policies)
	if l.plan(false).Token != one {
		l.Errorf("%v: the order of policies changes the token", l.now)
	}
	same("a policy for somebody else")
	l.w.in.Policies = slices.Clone(in.Policies)
	l.w.in.Policies[0].Label, l.w.in.Policies[0].Name, l.w.in.Policies[0].Priority = "relabelled", "renamed", 77
	same("a label")
}

func TestLives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLife(t)
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) { l.T = t; l.w.t = t },
			"wait": func(t *rapid.T) {
				l.now = l.now.Add(time.Duration(rapid.IntRange(1, 200).Draw(t, "hours")) * time.Hour).Add(time.Duration(rapid.IntRange(0, 3599).Draw(t, "seconds")) * time.Second)
			},
			"wait for the next boundary": func(*rapid.T) {
				p := l.plan(false)
				if p.NextAt.IsZero() {
					return
				}
				// Until then nothing changes by itself.
				token := p.Token
				if p.Enforced() {
					l.m.Lanes = p.NextLanes
					l.now = p.NextAt.Add(-time.Second)
					if got := l.plan(false).Token; got != token {
						l.Errorf("the token changed before %v", p.NextAt)
					}
				}
				l.now = p.NextAt
			},
			"a release appears": func(t *rapid.T) {
				before := l.plan(false)
				r := l.appear(rapid.SampledFrom([]int{15, 26, 27}).Draw(t, "major"), []string{"J1AP"})
				after := l.plan(false)
				if before.Target == nil || before.Target.Kind != release.KindOS {
					return
				}
				if slices.ContainsFunc(l.w.in.Holds, func(h release.Hold) bool { return h.Active(l.now) && h.Covers(l.w.book().Index, &r) }) {
					return // "latest" counts held majors
				}
				floors := before.Policy.Updates.Versions != nil && before.Lane != after.Lane // another floor, in another lane
				if after.Target == nil || after.Deadline > before.Deadline && !floors {
					l.Errorf("%v: %s moved the deadline from %s to %s", l.now, r.Version, before.Deadline, after.Deadline)
				}
			},
			"a release is withdrawn": func(t *rapid.T) {
				l.edit(func(list []release.Release) []release.Release {
					list[rapid.IntRange(0, len(list)-1).Draw(t, "which")].Available = rapid.Bool().Draw(t, "again")
					return list
				})
			},
			"a release is marked as exploited": func(t *rapid.T) {
				l.edit(func(list []release.Release) []release.Release {
					list[rapid.IntRange(0, len(list)-1).Draw(t, "which")].Exploited = true
					return list
				})
			},
			"a BSI appears": func(t *rapid.T) {
				base := l.releases()[rapid.IntRange(0, len(l.releases())-1).Draw(t, "base")]
				letter := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "letter")
				if base.Kind != release.KindOS {
					return
				}
				l.edit(func(list []release.Release) []release.Release {
					return append(list, release.Release{
						Version: base.Version, Letter: letter, PrerequisiteBuild: base.Build, Build: base.Build + letter, Kind: release.KindBSI,
						Posted: release.DayOf(l.now), FirstSeen: l.now, Available: true, Devices: base.Devices,
					})
				})
			},
			"a policy edit": func(t *rapid.T) {
				p := pol(t, rapid.SampledFrom(somePolicies).Draw(t, "policy"))
				before := &l.w.in.Policies[0]
				l.w.in.Policies = []policy.Stored{{Policy: p, CreatedAt: before.CreatedAt, UpdatedAt: l.now, Asks: policy.Asks(before, &p, l.now)}}
			},
			"a hold": func(t *rapid.T) {
				h := release.Hold{Subject: rapid.SampledFrom([]string{"15", "26", "27", "26.2", "26.3", "15.3"}).Draw(t, "subject"), Successors: rapid.Bool().Draw(t, "successors"), Since: l.now}
				if rapid.Bool().Draw(t, "until") {
					h.Until = l.now.Add(time.Duration(rapid.IntRange(1, 300).Draw(t, "hours")) * time.Hour)
				}
				l.w.in.Holds = append(slices.Clone(l.w.in.Holds), h)
			},
			"holds are let go": func(*rapid.T) { l.w.in.Holds = nil },
			"pause or resume": func(*rapid.T) {
				if l.w.in.Pause == nil {
					l.w.in.Pause = &release.Pause{Since: l.now}
				} else {
					l.w.in.Pause = nil
				}
				if p := l.keep(false, false); l.w.in.Pause != nil && p.Enforced() {
					l.Errorf("%v: enforced while paused", l.now)
				}
			},
			"a sweep":               func(*rapid.T) { l.keep(false, false) },
			"the Mac syncs":         func(*rapid.T) { l.keep(true, false); l.keep(true, true) },
			"the Mac asks tokens":   func(*rapid.T) { l.keep(true, false) },
			"something unrelated":   func(*rapid.T) { l.unrelated() },
			"the user wishes":       func(*rapid.T) { l.m.Wish = &Wish{26, l.now} },
			"the user changes mind": func(*rapid.T) { l.m.Wish = nil },
			"the Mac installs": func(*rapid.T) {
				p := l.keep(true, true)
				if p.Target == nil {
					return
				}
				f := &l.m.Facts
				if r := p.Target; r.Kind == release.KindBSI {
					f.Letter, f.SupplementalBuild = r.Letter, r.Build
				} else {
					f.Version, f.Build, f.Letter, f.SupplementalBuild = r.Version, r.Build, "", ""
				}
				if q := l.keep(true, true); q.Target != nil && q.Target.Build == p.Target.Build {
					l.Errorf("%v: %s is enforced though it is installed", l.now, p.Target.Build)
				}
			},
			"the Mac is enrolled again": func(*rapid.T) {
				l.m.Lanes, l.m.BackAt, l.m.Wish, l.contact = LaneStates{}, time.Time{}, nil, l.now
			},
		})
	})
}
