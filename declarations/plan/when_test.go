package plan

import (
	"fmt"
	"testing"
	"time"

	"plimsoll/declarations/calendar"

	"pgregory.net/rapid"

	"plimsoll/declarations"
	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
)

// The properties of rules 11 and 13. August 17, 2026, the day of posting, is a Monday.

const (
	postedThen = "26.7 25H10 2026-08-17 J1AP"
	firstHour  = "2026-08-17T19:00"
)

// someFreeze is a freeze near the day of posting.
func someFreeze(t *rapid.T, name string, strict bool) policy.Freeze {
	from := release.DayOf(at(t, "2026-08-17")) + release.Day(rapid.IntRange(-3, 30).Draw(t, "from"))
	return policy.Freeze{Name: name, From: from, To: from + release.Day(rapid.IntRange(0, 20).Draw(t, "length")), Strict: strict}
}

// plain is an automatic policy with a notice, and that notice.
func plain(t *rapid.T) (text string, notice time.Duration) {
	within, n := rapid.IntRange(1, 30).Draw(t, "within"), rapid.IntRange(0, 10).Draw(t, "notice")
	return fmt.Sprintf(`{"updates":{"mode":"automatic","within_days":%d},"notice_days":%d}`, within, n), time.Duration(min(n, within)) * 24 * time.Hour
}

func hours(t *rapid.T, now time.Time, most int) time.Time {
	return now.Add(time.Duration(rapid.IntRange(1, most).Draw(t, "hours")) * time.Hour)
}

func (w *world) on(m *Mac, now time.Time, asks bool) *Plan {
	return w.step(m, now.Format(time.RFC3339), asks)
}

// Lifting a freeze restarts nobody within the notice. Without a notice the deadline may be today's, which has passed somewhere.
func TestLiftingAFreezeKeepsTheNotice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, notice := plain(t)
		w := given(t, text, "2026-01-01", postedThen)
		w.in.Freezes = []policy.Freeze{someFreeze(t, "f", rapid.Bool().Draw(t, "strict"))}
		m, now := mac("26.5", "25F71"), at(t, firstHour)
		told := w.on(m, now, true).Deadline
		for range rapid.IntRange(0, 4).Draw(t, "steps") {
			now = hours(t, now, 200)
			told = w.on(m, now, rapid.Bool().Draw(t, "asks")).Deadline
		}
		w.in.Freezes = nil
		p := w.on(m, now, rapid.Bool().Draw(t, "asks"))
		if notice > 0 && p.Deadline < told && p.Deadline.At(declarations.FirstZone).Sub(now) < notice {
			t.Fatalf("%v: lifting the freeze moves the deadline from %s to %s, with a notice of %v", now, told, p.Deadline, notice)
		}
	})
}

// No ordinary freeze shields an urgent release: its deadlines are those without a freeze.
func TestNoOrdinaryFreezeShieldsAnUrgentRelease(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := fmt.Sprintf(`{"updates":{"mode":"automatic","within_days":%d,"exploited_within_days":%d},"notice_days":%d}`, rapid.IntRange(5, 30).Draw(t, "within"),
			rapid.IntRange(1, 5).Draw(t, "exploited"), rapid.IntRange(0, 10).Draw(t, "notice"))
		with, without := given(t, text, "2026-01-01", postedThen+" exploited"), given(t, text, "2026-01-01", postedThen+" exploited")
		with.in.Freezes = []policy.Freeze{someFreeze(t, "f", false), someFreeze(t, "g", false)}
		m, n, now := mac("26.5", "25F71"), mac("26.5", "25F71"), at(t, firstHour)
		for range 6 {
			asks := rapid.Bool().Draw(t, "asks")
			p, q := with.on(m, now, asks), without.on(n, now, asks)
			// By its days without the hurry it may be due earlier, on an open day before.
			if p.Deadline > q.Deadline {
				t.Fatalf("%v: deadline %s in a freeze, %s without", now, p.Deadline, q.Deadline)
			}
			now = hours(t, now, 100)
		}
	})
}

// A Mac that missed the last day before a freeze is not restarted in it: once the deadline has passed everywhere, the Mac that
// asks is told a day after the freeze.
func TestWhoMissedTheLastDayIsNotRestartedInTheFreeze(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, _ := plain(t)
		w := given(t, text, "2026-01-01", postedThen)
		f := someFreeze(t, "f", rapid.Bool().Draw(t, "strict"))
		w.in.Freezes = []policy.Freeze{f}
		m, now := mac("26.5", "25F71"), at(t, firstHour)
		for now.Before(f.EndsAt()) {
			p := w.on(m, now, rapid.Bool().Draw(t, "asks"))
			inside := !now.Before(f.BeginsAt())
			if passed := !p.Deadline.At(declarations.LastZone).After(now); inside && passed && calendar.DayOf(p.Deadline) <= f.To {
				t.Fatalf("%v: in the freeze %s to %s the deadline is %s", now, f.From, f.To, p.Deadline)
			}
			now = hours(t, now, 60)
		}
	})
}

// Nothing that Apple publishes moves a deadline later, whatever days are closed; and as long as nobody writes a freeze, what a
// Mac that syncs was promised stays or comes earlier, so nothing is postponed for ever.
func TestNoReleaseMovesADeadlineLater(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := fmt.Sprintf(`{"updates":{"mode":"automatic","within_days":%d,"days":[%s]},"notice_days":%d}`, rapid.IntRange(1, 30).Draw(t, "within"),
			rapid.SampledFrom([]string{`"mon"`, `"tue","wed","thu"`, `"sat","sun"`}).Draw(t, "days"), rapid.IntRange(0, 10).Draw(t, "notice"))
		w := given(t, text, "2026-01-01", postedThen)
		m, now := mac("26.5", "25F71"), at(t, firstHour)
		told := w.on(m, now, true)
		m.Lanes = m.Lanes.MarkServed(told)
		last := told.Deadline
		for i := range rapid.IntRange(1, 8).Draw(t, "releases") {
			now = hours(t, now, 120)
			c := *w.in.Catalog
			c.Releases = append(append([]release.Release{}, c.Releases...), release.Release{
				Version: release.Version(fmt.Sprintf("26.7.%d", i+1)), Build: fmt.Sprintf("25H%d", i+11), Kind: release.KindOS, Posted: release.DayOf(now),
				FirstSeen: now, Available: true, Devices: []string{"J1AP"},
			})
			w.in.Catalog = &c
			p := w.on(m, now, true)
			m.Lanes = m.Lanes.MarkServed(p)
			if p.Deadline > last {
				t.Fatalf("%v: a release moved the deadline from %s to %s", now, last, p.Deadline)
			}
			last = p.Deadline
		}
	})
}

// No edit of rings, move of a Mac, halt or new name takes back what a Mac was told.
func TestWhatAMacWasToldStays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := given(t, ringed, "2026-01-01", postedThen)
		inGroup(w, "it")
		m, now := mac("26.5", "25F71"), at(t, firstHour)
		if w.on(m, now, true).Target == nil {
			t.Fatal("the first ring has no target")
		}
		for range rapid.IntRange(1, 6).Draw(t, "changes") {
			switch rapid.IntRange(0, 4).Draw(t, "change") {
			case 0:
				inGroup(w, rapid.SampledFrom([]string{"it", "eng", ""}).Draw(t, "group"))
			case 1:
				w.in.Halts = []policy.Halt{{Policy: w.in.Policies[0].Name, Build: "25H10"}}
			case 2:
				w.in.Openings, w.in.Halts = nil, nil
			case 3:
				w.in.Policies[0].Name = rapid.SampledFrom([]string{"ringed", "renamed"}).Draw(t, "name")
			case 4:
				within := rapid.IntRange(1, 13).Draw(t, "within")
				w.in.Policies[0].Policy = pol(t, fmt.Sprintf(`{"name":"ringed","priority":10,"updates":{"mode":"automatic","within_days":14},"notice_days":2,`+
					`"rings":[{"name":"new","percent":%d,"within_days":%d},{"name":"rest"}],"gate":{}}`, rapid.IntRange(1, 100).Draw(t, "percent"), within))
			}
			now = hours(t, now, 40)
			if p := w.on(m, now, rapid.Bool().Draw(t, "asks")); p.Target == nil || p.Target.Build != "25H10" || !p.Enforced() {
				t.Fatalf("%v: what the Mac was told was taken back: %v", now, p.Reasons)
			}
		}
	})
}

// A halted release reaches nobody in a closed ring, whatever time has passed, unless an admin opens it.
func TestAHaltedReleaseReachesNobodyInAClosedRing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := given(t, ringed, "2026-01-01", postedThen)
		inGroup(w, rapid.SampledFrom([]string{"eng", ""}).Draw(t, "group"))
		w.in.Halts = []policy.Halt{{Policy: "ringed", Build: "25H10"}}
		m, now := mac("26.5", "25F71"), at(t, firstHour)
		for range 6 {
			if p := w.on(m, now, rapid.Bool().Draw(t, "asks")); p.Target != nil {
				t.Fatalf("%v: the halted release is the target, because of %s", now, p.Ring)
			}
			now = hours(t, now, 300)
		}
		w.in.Openings = []policy.Opening{{Policy: "ringed", Build: "25H10", Ring: "broad", At: now, Why: policy.OpenedByHand}}
		if p := w.on(m, now, true); p.Target == nil {
			t.Fatal("opened by hand, and not the target")
		}
	})
}

// An update now ends when its release is reached: the Mac that has it is asked nothing, whatever is left of its seven days.
func TestUpdateNowEndsWhenItsReleaseIsReached(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, _ := plain(t)
		w := given(t, text, "2026-01-01", postedThen)
		m, now := mac("26.5", "25F71"), at(t, firstHour)
		w.on(m, now, true)
		m.UpdateNow = &UpdateNow{Lane: Patch, Build: "25H10", Version: "26.7", At: now, Reason: "a hole"}
		now = hours(t, now, 100)
		if p := w.on(m, now, true); p.Target == nil || p.Deadline.At(declarations.LastZone).After(now) {
			t.Fatalf("%v: update now gives the deadline %s", now, p.Deadline)
		}
		m.Facts.Version, m.Facts.Build = "26.7", "25H10"
		if p := w.on(m, now, true); p.Target != nil {
			t.Fatalf("%v: at its release, and asked for %s", now, p.Target.Build)
		}
	})
}
