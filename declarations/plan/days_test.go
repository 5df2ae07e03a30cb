package plan

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"plimsoll/declarations/calendar"

	"pgregory.net/rapid"

	"plimsoll/declarations"
	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
)

func freeze(t rapid.TB, name, from, to string, strict bool, groups ...string) policy.Freeze {
	t.Helper()
	a, err := release.ParseDay(from)
	if err != nil {
		t.Fatal(err)
	}
	b, err := release.ParseDay(to)
	if err != nil {
		t.Fatal(err)
	}
	return policy.Freeze{Name: name, From: a, To: b, Reason: "closed", Strict: strict, Groups: groups}
}

// rules 11: where a due date falls. August 2026: the 17th is a Monday.
func TestSlots(t *testing.T) {
	const automatic = `{"updates":{"mode":"automatic","within_days":14%s},"notice_days":0}`
	year := []policy.Freeze{freeze(t, "year-end", "2026-12-19", "2027-01-04", false)}
	strict := []policy.Freeze{freeze(t, "launch", "2026-12-19", "2027-01-04", true)}
	for _, tt := range []struct {
		name, policy, release string
		freezes               []policy.Freeze
		due, slot             string
	}{
		{"an open day", fmt.Sprintf(automatic, ""), "26.7 25H10 2026-08-17 J1AP", nil, "2026-08-31T12:00", "2026-08-31T12:00"},
		{"Monday, and deadlines on Tuesdays to Thursdays", fmt.Sprintf(automatic, `,"days":["tue","wed","thu"]`), "26.7 25H10 2026-08-17 J1AP", nil, "2026-08-31T12:00", "2026-08-27T12:00"},
		{"no open day in the second half", `{"updates":{"mode":"automatic","within_days":3,"days":["mon"]},"notice_days":0}`, "26.7 25H10 2026-08-18 J1AP", nil, "2026-08-21T12:00", "2026-08-24T12:00"},
		{"exactly half of the days have passed", `{"updates":{"mode":"automatic","within_days":14,"days":["mon"]},"notice_days":0}`, "26.7 25H10 2026-08-17 J1AP", nil, "2026-08-31T12:00", "2026-08-31T12:00"},
		{"half rounded up", `{"updates":{"mode":"automatic","within_days":13,"days":["mon"]},"notice_days":0}`, "26.7 25H10 2026-08-17 J1AP", nil, "2026-08-30T12:00", "2026-08-24T12:00"},
		{"a release before the freeze", fmt.Sprintf(automatic, ""), "26.7 25H10 2026-12-10 J1AP", year, "2026-12-24T12:00", "2026-12-18T12:00"},
		{"too close before it", fmt.Sprintf(automatic, ""), "26.7 25H10 2026-12-15 J1AP", year, "2026-12-29T12:00", "2027-01-05T12:00"},
		{"a release in it", fmt.Sprintf(automatic, ""), "26.7 25H10 2026-12-20 J1AP", year, "2027-01-03T12:00", "2027-01-05T12:00"},
		{"after it", fmt.Sprintf(automatic, ""), "26.7 25H10 2026-12-23 J1AP", year, "2027-01-06T12:00", "2027-01-06T12:00"},
		{"an exploited one in it", `{"updates":{"mode":"automatic","within_days":14,"exploited_within_days":3},"notice_days":0}`, "26.7 25H10 2026-12-20 J1AP exploited", year, "2026-12-23T12:00", "2026-12-23T12:00"},
		{"an exploited one on a closed weekday", `{"updates":{"mode":"automatic","within_days":14,"exploited_within_days":3,"days":["mon"]},"notice_days":0}`, "26.7 25H10 2026-08-18 J1AP exploited", nil, "2026-08-21T12:00", "2026-08-21T12:00"},
		{"an exploited one in a strict freeze", `{"updates":{"mode":"automatic","within_days":14,"exploited_within_days":3},"notice_days":0}`, "26.7 25H10 2026-12-20 J1AP exploited", strict, "2026-12-23T12:00", "2027-01-05T12:00"},
		{"a named deadline in it", `{"updates":{"mode":"minimum","version":"26.7","deadline":"2026-12-24T09:00:00"},"notice_days":0}`, "26.7 25H10 2026-12-10 J1AP", year, "2026-12-24T09:00", "2027-01-05T09:00"},
		{"two freezes without a day between", fmt.Sprintf(automatic, ""), "26.7 25H10 2026-12-20 J1AP", append(slices.Clone(year), freeze(t, "more", "2027-01-05", "2027-01-07", false)), "2027-01-03T12:00", "2027-01-08T12:00"},
		{"a freeze of others", fmt.Sprintf(automatic, ""), "26.7 25H10 2026-12-10 J1AP", []policy.Freeze{freeze(t, "shops", "2026-12-19", "2027-01-04", false, "shops")}, "2026-12-24T12:00", "2026-12-24T12:00"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := given(t, tt.policy, "2026-01-01", tt.release)
			w.in.Freezes = tt.freezes
			p := w.step(mac("26.5", "25F71"), tt.release[len("26.7 25H10 "):][:10]+"T19:00", true)
			if len(p.Lanes) != 1 || p.Lanes[0].Due != local(t, tt.due) || p.Lanes[0].Slot != local(t, tt.slot) || p.Due != local(t, tt.due) || p.Deadline != local(t, tt.slot) {
				t.Errorf("%+v, want due %s, slot %s", p.Lanes, tt.due, tt.slot)
			}
		})
	}
}

func freezes(list ...policy.Freeze) func(*world, *Mac) {
	return func(w *world, _ *Mac) { w.in.Freezes = list }
}

func TestFreezesAndPromises(t *testing.T) {
	const src = `{"updates":{"mode":"automatic","within_days":14}}`
	year := freeze(t, "year-end", "2026-12-19", "2027-01-04", false)
	for _, tt := range []struct {
		name    string
		release string
		moments []moment
	}{
		{"a Mac that missed the last day before the freeze is not restarted in it", "26.7 25H10 2026-12-10 J1AP", []moment{
			{now: "2026-12-10T19:00", change: freezes(year), asks: true, target: "25H10", deadline: "2026-12-18T12:00"},
			{now: "2026-12-18T23:59", target: "25H10", deadline: "2026-12-18T12:00"},
			{now: "2026-12-19T00:00", target: "25H10", deadline: "2027-01-05T12:00"},
			{now: "2027-01-05T11:00", asks: true, target: "25H10", deadline: "2027-01-05T12:00"},
			{now: "2027-01-06T11:00", asks: true, target: "25H10", deadline: "2027-01-05T12:00"},
		}},
		{"a later freeze moves what a Mac was told", "26.7 25H10 2026-12-06 J1AP", []moment{
			{now: "2026-12-06T19:00", asks: true, target: "25H10", deadline: "2026-12-20T12:00"},
			{now: "2026-12-18T19:00", change: freezes(year), target: "25H10", deadline: "2027-01-05T12:00"},
			{now: "2026-12-19T19:00", target: "25H10", deadline: "2027-01-05T12:00"},
		}},
		{"lifting a freeze restarts nobody within the notice", "26.7 25H10 2026-12-10 J1AP", []moment{
			{now: "2026-12-17T19:00", change: freezes(year), asks: true, target: "25H10", deadline: "2027-01-05T12:00"},
			{now: "2026-12-20T08:00", change: freezes(), target: "25H10", deadline: "2026-12-26T12:00"},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) { live(t, given(t, src, "2026-01-01", tt.release), mac("26.5", "25F71"), tt.moments) })
	}
}

func TestExemption(t *testing.T) {
	w := given(t, automatic14, "2026-01-01", "26.7 25H10 2026-08-17 J1AP")
	m := mac("26.5", "25F71")
	w.step(m, "2026-08-17T19:00", true)
	m.Exemption = &Exemption{Until: at(t, "2026-09-10T08:00"), Reason: "surgery"}
	p := w.step(m, "2026-08-30T12:00", true)
	want{outcome: Exempt, reason: CodeExempt}.check(t, p)
	if !p.NextAt.Equal(at(t, "2026-09-10T08:00")) || m.Lanes[Patch].Promise != 0 || m.Lanes[Patch].Told != "25H10" {
		t.Errorf("next at %v, lane %+v", p.NextAt, m.Lanes[Patch])
	}
	// At its end the lane is planned as if newly declared: five days of notice.
	want{outcome: Targeted, target: "25H10", due: "2026-08-31T12:00", deadline: "2026-09-16T12:00"}.check(t, w.step(m, "2026-09-10T08:00", false))
	// Nothing is asked of a Mac that is up to date, exempt or not.
	want{outcome: Satisfied}.check(t, w.step(func() *Mac { m := mac("26.7", "25H10"); m.Exemption = &Exemption{Until: at(t, "2027-01-01")}; return m }(), "2026-09-01", true))
	w.hold("26.7", "2026-08-30")
	want{outcome: Held, reason: CodeHeld}.check(t, w.step(m, "2026-09-01T12:00", false))
}

func TestUpdateNow(t *testing.T) {
	const src = `{"updates":{"mode":"automatic","within_days":14}}`
	year := freeze(t, "year-end", "2026-08-18", "2026-09-10", false)
	w := given(t, src, "2026-01-01", "26.7 25H10 2026-08-17 J1AP")
	m := mac("26.5", "25F71")
	w.step(m, "2026-08-17T19:00", true)
	m.UpdateNow = &UpdateNow{Lane: Patch, Build: "25H10", Version: "26.7", At: at(t, "2026-08-20T09:00:00.7Z"), Reason: "stolen"}
	w.in.Freezes = []policy.Freeze{year}
	want{outcome: Targeted, target: "25H10", deadline: "2026-08-19T21:00"}.check(t, w.step(m, "2026-08-20T09:00", true))
	if m.Lanes[Patch].Promise != local(t, "2026-08-31T12:00") {
		t.Errorf("it made a promise: %s", m.Lanes[Patch].Promise)
	}
	// A newer release does not take its place.
	w.in.Catalog = catalog(t, "26.7 25H10 2026-08-17 J1AP", "26.8 25J10 2026-08-21 J1AP")
	want{outcome: Targeted, target: "25H10", deadline: "2026-08-19T21:00"}.check(t, w.step(m, "2026-08-22", true))
	// While a strict freeze lasts anywhere it has no effect.
	strict := year
	strict.Strict = true
	w.in.Freezes = []policy.Freeze{strict}
	if p := w.step(m, "2026-08-22", false); p.Deadline != local(t, "2026-09-11T12:00") {
		t.Errorf("in a strict freeze: %s", p.Deadline)
	}
	w.in.Freezes = nil
	// It lapses after seven days.
	if p := w.step(m, "2026-08-27T09:00:01Z", false); p.Target.Build != "25J10" || p.Deadline == local(t, "2026-08-19T21:00") {
		t.Errorf("after seven days: %s, %s", p.Target.Build, p.Deadline)
	}
	// It ends when its release is reached.
	m.Facts.Version, m.Facts.Build = "26.7", "25H10"
	if p := w.step(m, "2026-08-23", true); p.Lanes[0].Now || p.Target.Build != "25J10" {
		t.Errorf("reached: %+v", p.Lanes)
	}
}

func inGroup(w *world, group string) {
	w.in.Groups = []policy.Group{{Name: group, Devices: []string{"ID-1"}}}
}

func TestRings(t *testing.T) {
	const posted = "26.7 25H10 2026-08-17 J1AP"
	opening := func(ring, when string) policy.Opening {
		return policy.Opening{Policy: "ringed", Build: "25H10", Ring: ring, At: at(t, when), Why: policy.OpenedByGate}
	}
	halt := []policy.Halt{{Policy: "ringed", Build: "25H10"}}
	for _, tt := range []struct {
		name     string
		group    string
		openings []policy.Opening
		halts    []policy.Halt
		now      string
		want     want
	}{
		{"the first ring at once", "it", nil, nil, "2026-08-17T19:00", want{outcome: Targeted, target: "25H10", due: "2026-08-19T12:00"}},
		{"closed for the second", "eng", nil, nil, "2026-08-17T19:00", want{outcome: Satisfied, reason: CodeRingClosed}},
		// Due on 24 August, notice 2: it opens three days before.
		{"the second, a second before it opens by time", "eng", nil, nil, "2026-08-21T11:59:59Z", want{outcome: Satisfied, reason: CodeRingClosed}},
		{"the second by time", "eng", nil, nil, "2026-08-21T12:00", want{outcome: Targeted, target: "25H10", due: "2026-08-24T12:00", deadline: "2026-08-24T12:00"}},
		{"the second by the gate", "eng", []policy.Opening{opening("early", "2026-08-20T10:00")}, nil, "2026-08-20T10:00", want{outcome: Targeted, target: "25H10", due: "2026-08-24T12:00"}},
		{"an opening of a later ring counts", "eng", []policy.Opening{opening("broad", "2026-08-20T10:00")}, nil, "2026-08-20T10:00", want{outcome: Targeted, target: "25H10"}},
		{"an opening of an earlier ring does not", "", []policy.Opening{opening("early", "2026-08-20T10:00")}, nil, "2026-08-20T10:00", want{outcome: Satisfied, reason: CodeRingClosed}},
		{"of a ring that is no more", "eng", []policy.Opening{opening("pilots", "2026-08-20T10:00")}, nil, "2026-08-20T10:00", want{outcome: Satisfied, reason: CodeRingClosed}},
		{"a gate that never answers: the last ring by time", "", nil, nil, "2026-08-28T12:00", want{outcome: Targeted, target: "25H10", due: "2026-08-31T12:00", deadline: "2026-08-31T12:00"}},
		{"halted: not by time", "eng", nil, halt, "2026-08-23", want{outcome: Satisfied, reason: CodeRingClosed}},
		{"halted, and opened by hand", "eng", []policy.Opening{opening("early", "2026-08-22")}, halt, "2026-08-23", want{outcome: Targeted, target: "25H10"}},
		{"halted: the first ring keeps it", "it", nil, halt, "2026-08-18", want{outcome: Targeted, target: "25H10"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := given(t, ringed, "2026-01-01", posted)
			inGroup(w, tt.group)
			w.in.Openings, w.in.Halts = tt.openings, tt.halts
			tt.want.check(t, w.step(mac("26.5", "25F71"), tt.now, true))
		})
	}
	t.Run("no halt takes back what a Mac was told", func(t *testing.T) {
		w, m := given(t, ringed, "2026-01-01", posted), mac("26.5", "25F71")
		inGroup(w, "it")
		w.step(m, "2026-08-18", true)
		inGroup(w, "eng")
		w.in.Halts = halt
		want{outcome: Targeted, target: "25H10"}.check(t, w.step(m, "2026-08-18T12:00", true))
	})
	t.Run("an exploited one is open at once", func(t *testing.T) {
		w := given(t, strings.Replace(ringed, `"within_days":14`, `"within_days":14,"exploited_within_days":3`, 1), "2026-01-01", posted+" exploited")
		inGroup(w, "eng")
		want{outcome: Targeted, target: "25H10", due: "2026-08-20T12:00"}.check(t, w.step(mac("26.5", "25F71"), "2026-08-17T19:00", true))
	})
}

// rules 13: the last ring's due dates are those without rings, and by time alone it still installs within its slot.
func TestTheLastRingIsNeverPostponed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		within, notice := rapid.IntRange(3, 30).Draw(t, "within"), rapid.IntRange(0, 7).Draw(t, "notice")
		early := rapid.IntRange(1, within).Draw(t, "early")
		body := fmt.Sprintf(`"updates":{"mode":"automatic","within_days":%d},"notice_days":%d`, within, notice)
		with := given(t, fmt.Sprintf(`{%s,"rings":[{"name":"a","percent":0.001,"within_days":%d},{"name":"b"}],"gate":{}}`, body, early), "2026-01-01", "26.7 25H10 2026-08-17 J1AP")
		without := given(t, "{"+body+"}", "2026-01-01", "26.7 25H10 2026-08-17 J1AP")
		m, n := mac("26.5", "25F71"), mac("26.5", "25F71")
		var p, q *Plan
		for h := range 4 * (within + 1) {
			now := at(t, "2026-08-17T18:00").Add(time.Duration(h) * 6 * time.Hour).Format(time.RFC3339)
			if p, q = with.step(m, now, true), without.step(n, now, true); p.Target != nil && p.Due != q.Due {
				t.Fatalf("%s: due %s, without rings %s", now, p.Due, q.Due)
			}
		}
		if p.Target == nil || p.Deadline > q.Deadline {
			t.Fatalf("within %d, notice %d: %v %s, without rings %s", within, notice, p.Reasons, p.Deadline, q.Deadline)
		}
	})
}

// No deadline falls on a closed day but for what is urgent, and then in no strict freeze; planning twice equals once (step checks it).
func TestDeadlinesFallOnOpenDays(t *testing.T) {
	base := at(t, "2026-08-17")
	rapid.Check(t, func(t *rapid.T) {
		days := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}), 1, 7, rapid.ID[string]).Draw(t, "days")
		within := rapid.IntRange(1, 30).Draw(t, "within")
		exploited := ""
		if rapid.Bool().Draw(t, "exploited") {
			exploited = " exploited"
		}
		w := given(t, fmt.Sprintf(`{"updates":{"mode":"automatic","within_days":%d,"exploited_within_days":3,"days":["%s"]}}`, within, strings.Join(days, `","`)),
			"2026-01-01", "26.7 25H10 2026-08-17 J1AP"+exploited)
		for i := range rapid.IntRange(0, 3).Draw(t, "freezes") {
			from := release.DayOf(base) + release.Day(rapid.IntRange(-10, 40).Draw(t, "from"))
			w.in.Freezes = append(w.in.Freezes, policy.Freeze{
				Name: fmt.Sprint("f", i), From: from, To: from + release.Day(rapid.IntRange(0, 20).Draw(t, "length")), Strict: rapid.Bool().Draw(t, "strict"),
			})
		}
		m, now := mac("26.5", "25F71"), base.Add(19*time.Hour)
		for range 6 {
			first := m.Lanes[Patch].Promise == 0
			p := w.step(m, now.Format(time.RFC3339), rapid.Bool().Draw(t, "asks"))
			d := calendar.DayOf(p.Deadline)
			for _, f := range w.in.Freezes {
				if f.Covers(d) && (f.Strict || exploited == "") {
					t.Fatalf("%v: deadline %s in the freeze %s to %s", now, p.Deadline, f.From, f.To)
				}
			}
			if exploited == "" && !slices.Contains(days, strings.ToLower(d.Time().Weekday().String()[:3])) {
				t.Fatalf("%v: deadline %s on a closed weekday of %v", now, p.Deadline, days)
			}
			n := min(5, within)
			if exploited != "" {
				n = min(n, 3)
			}
			if notice := p.Deadline.At(declarations.FirstZone).Sub(now); first && notice < time.Duration(n)*24*time.Hour {
				t.Fatalf("%v: deadline %s gives a notice of %v", now, p.Deadline, notice)
			}
			now = now.Add(time.Duration(rapid.IntRange(1, 200).Draw(t, "hours")) * time.Hour)
		}
	})
}
