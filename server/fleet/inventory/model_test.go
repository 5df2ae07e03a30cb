package inventory

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"plimsoll/declarations/release"
	"plimsoll/status/compliance"
	"plimsoll/storage"
)

// model is what an Index should answer, worked out from the records one by one.
type model map[string]*storage.Record

// randomMacs are many Macs of all kinds, in an Index and in a model.
func randomMacs(t *testing.T, random *rand.Rand, n int) (*Index, model) {
	t.Helper()
	x, m := New(), model{}
	pick := func(list ...string) string { return list[random.IntN(len(list))] }
	day := func(from, to int) time.Time {
		return testDay.Add(time.Duration(from*24+random.IntN((to-from)*24)) * time.Hour)
	}
	for i := range n {
		rec := mac(fmt.Sprintf("MAC-%03d", i), pick("S", "T", "U")+fmt.Sprint(random.IntN(n/2)), version(pick("26.5", "26.6", "15.7.7")), governed(pick("", "all", "lab")))
		rec.Facts.Model, rec.Facts.Enrolled = pick("Mac14,2", "Mac16,1"), random.IntN(8) > 0
		rec.Facts.EnrolledAt = testDay.AddDate(0, 0, -60)
		rec.Facts.LastContactAt, rec.Facts.LastReportAt = day(-30, 0), day(-30, 0)
		rec.LookedAt = day(-3, 0)
		s := &rec.Summary
		switch s.State = compliance.States[random.IntN(len(compliance.States))]; s.State {
		case compliance.Overdue: // it is never kept: time makes it so
			s.State = compliance.Pending
			fallthrough
		case compliance.Pending, compliance.Failing:
			due(day(-5, 40))(rec)
			if random.IntN(3) == 0 {
				s.State = compliance.Failing
			}
		case compliance.Unknown:
			s.Codes = []string{pick("board_unknown", "build_unknown")}
		}
		s.Flags = compliance.Flags(random.IntN(128)) &^ (compliance.Silent | compliance.ReportStale | compliance.PastDeadline)
		if random.IntN(4) == 0 {
			rec.Manifest, rec.Told, rec.ToldAt, rec.Tries = "1", "2", day(-2, 0), 1+random.IntN(4)
		}
		if random.IntN(4) == 0 {
			rec.NextAt = day(-3, 3)
		}
		b, err := rec.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if rec, err = storage.DecodeRecord(b); err != nil {
			t.Fatal(err)
		}
		if err := x.Take(rec); err != nil {
			t.Fatal(err)
		}
		m[rec.Facts.ID] = rec
	}
	return x, m
}

func (m model) matches(rec *storage.Record, q *Query) bool {
	f, s := &rec.Facts, &rec.Summary
	reasons := compliance.ReasonsAt(*s, f, q.Now, q.Stale)
	return f.Enrolled == q.Enrolled &&
		(q.State == "" || f.Enrolled && string(s.StateNow(q.Now)) == q.State) &&
		(q.Flag == "" || slices.Contains(s.FlagsAt(q.Now, f, q.Stale).Names(), q.Flag)) &&
		(q.Policy == "" || s.Policy == q.Policy) &&
		(q.Version == "" || f.Version == release.Version(q.Version)) &&
		(q.Model == "" || f.Model == q.Model) &&
		(!q.InGroup || q.Members[f.ID] || q.Members[f.Serial]) &&
		(q.SeenBefore.IsZero() || f.LastContactAt.Before(q.SeenBefore)) &&
		(q.Text == "" || strings.Contains(strings.ToLower(f.Serial), q.Text) || strings.Contains(strings.ToLower(f.Name), q.Text)) &&
		(q.Reason == "" || len(reasons) > 0 && reasons[0].Code == q.Reason)
}

// find is what Find should find, in its order.
func (m model) find(q *Query) (ids []string) {
	var found []*storage.Record
	for _, rec := range m {
		if m.matches(rec, q) {
			found = append(found, rec)
		}
	}
	deadline := func(r *storage.Record) int64 {
		if !r.Facts.Enrolled || r.Summary.Deadline == 0 {
			return 1 << 62
		}
		return int64(r.Summary.Deadline)
	}
	slices.SortFunc(found, func(a, b *storage.Record) int {
		order := cmp.Compare(a.Facts.Serial, b.Facts.Serial)
		switch q.Sort {
		case ByDeadline:
			order = cmp.Compare(deadline(a), deadline(b))
		case ByLastSeen:
			order = a.Facts.LastContactAt.Compare(b.Facts.LastContactAt)
		}
		return cmp.Or(order, cmp.Compare(a.Facts.ID, b.Facts.ID))
	})
	for _, rec := range found {
		ids = append(ids, rec.Facts.ID)
	}
	return ids
}

// Whatever is asked for, the index finds what a look at every record finds, in the same order, in pages of any size.
func TestFindAsTheModel(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	x, m := randomMacs(t, random, 120)
	maybe := func(list ...string) string {
		if random.IntN(3) > 0 {
			return ""
		}
		return list[random.IntN(len(list))]
	}
	states := make([]string, 0, len(compliance.States))
	for _, s := range compliance.States {
		states = append(states, string(s))
	}
	hits := 0
	for n := range 600 {
		q := Query{
			State: maybe(states...), Flag: maybe(compliance.FlagNames...), Policy: maybe("all", "lab"), Version: maybe("26.5", "26.6"),
			Model: maybe("Mac14,2", "Mac16,1"), Text: maybe("s1", "mac t", "7"), Reason: maybe("board_unknown", "silent", "overdue"),
			Enrolled: random.IntN(10) > 0, Sort: []string{BySerial, ByDeadline, ByLastSeen}[n%3],
			Now: testDay.Add(time.Duration(random.IntN(400)) * time.Hour), Stale: random.IntN(2) == 0,
		}
		if random.IntN(6) == 0 {
			q.InGroup, q.Members = true, map[string]bool{"MAC-001": true, "MAC-050": true, "S3": true, "T7": true}
		}
		if random.IntN(6) == 0 {
			q.SeenBefore = testDay.AddDate(0, 0, -random.IntN(20))
		}
		want := m.find(&q)
		hits += len(want)
		var got []string
		size := 1 + random.IntN(30)
		for after := (*Key)(nil); ; {
			found := x.Find(q, after, size)
			for i := range found {
				got = append(got, found[i].Record().Facts.ID)
			}
			if len(found) < size {
				break
			}
			after = &found[len(found)-1].Key
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%+v, in pages of %d:\n%v, want\n%v", q, size, got, want)
		}
	}
	if hits < 1000 {
		t.Errorf("%d Macs were found in all: the queries are too narrow to prove anything", hits)
	}
}

// The counts are those of a look at every record, now and as time passes.
func TestCountAsTheModel(t *testing.T) {
	x, m := randomMacs(t, rand.New(rand.NewPCG(5, 6)), 120)
	for hours := 0; hours < 60*24; hours += 37 {
		now, stale := testDay.Add(time.Duration(hours)*time.Hour), hours%2 == 0
		states, flags, codes, days := map[string]int{}, map[string]int{}, map[string]int{}, map[string]int{}
		week, outstanding := 0, 0
		for _, rec := range m {
			f, s := &rec.Facts, &rec.Summary
			if !f.Enrolled {
				continue
			}
			states[string(s.StateNow(now))]++
			for _, name := range s.FlagsAt(now, f, stale).Names() {
				flags[name]++
			}
			if reasons := compliance.ReasonsAt(*s, f, now, stale); s.State != compliance.Compliant && len(reasons) > 0 {
				codes[reasons[0].Code]++
			}
			if s.State == compliance.Pending && s.StateNow(now) == compliance.Pending {
				days[s.Deadline.String()[:10]]++
			}
			if left := s.OverdueAt.Sub(now); s.State == compliance.Pending && !s.OverdueAt.IsZero() && left > 0 && left <= 7*24*time.Hour {
				week++
			}
			if rec.Told != "" {
				outstanding++
			}
		}
		all, byPolicy := x.Count(now, stale)
		sum := 0
		for _, tally := range byPolicy {
			sum += tally.Devices
		}
		if sum != all.Devices {
			t.Errorf("after %d h: %d Macs by policy, %d in all", hours, sum, all.Devices)
		}
		same := func(what string, got, want map[string]int) {
			t.Helper()
			maps.DeleteFunc(got, func(_ string, n int) bool { return n == 0 })
			if !maps.Equal(got, want) {
				t.Errorf("after %d h, %s: %v, want %v", hours, what, got, want)
			}
		}
		same("states", all.States(), states)
		same("flags", all.Flags(), flags)
		for range 2 { // the second answer comes from what the first one worked out
			o := x.Outlook(now, stale)
			same("codes", o.Codes, codes)
			same("due", o.Due, days)
		}
		if out, within := x.Deadlines(now, 7); within[7] != week || out != outstanding {
			t.Errorf("after %d h: due within a week %d, want %d; outstanding %d, want %d", hours, within[7], week, out, outstanding)
		}
	}
}

// A Mac is due when its plan's time, its summary's time, or the patience with what it was notified of has passed since it was looked at.
func TestDueAsTheModel(t *testing.T) {
	x, m := randomMacs(t, rand.New(rand.NewPCG(7, 8)), 120)
	for hours := 0; hours < 30*24; hours += 11 {
		now := testDay.Add(time.Duration(hours) * time.Hour)
		passed, rest := x.Due(now, true, func(id string) bool { return id == "MAC-007" })
		due := map[string]bool{}
		for _, id := range passed {
			due[id] = true
		}
		enrolled := 0
		for id, rec := range m {
			if !rec.Facts.Enrolled {
				continue
			}
			enrolled++
			plan := rec.NextAt.After(rec.LookedAt) && !rec.NextAt.After(now)
			patience := rec.Told != "" && !rec.ToldAt.Add(storage.Patience(rec.Tries)).After(now) && id != "MAC-007"
			next := rec.Summary.NextChange(rec.LookedAt, &rec.Facts)
			summary := !next.IsZero() && !next.After(now)
			stale := compliance.WentStale(&rec.Facts, rec.RaisedAt, now)
			// Not every change of the summary is one that something follows from.
			if must := plan || patience || stale; must && !due[id] || due[id] && !must && !summary {
				t.Errorf("after %d h %s is due: %v; plan %v, patience %v, summary %v (%s), stale %v", hours, id, due[id], plan, patience, summary, next, stale)
			}
		}
		if len(passed)+len(rest) != enrolled {
			t.Errorf("after %d h: %d due and %d others of %d", hours, len(passed), len(rest), enrolled)
		}
	}
}

// A code that was worked out is kept for as long as it is good and no longer: a contact and a new record end it at once.
func TestCodesAreForgotten(t *testing.T) {
	silent := func(rec *storage.Record) {
		rec.Facts.EnrolledAt, rec.Facts.LastContactAt, rec.Facts.LastReportAt = testDay.AddDate(0, 0, -60), testDay.AddDate(0, 0, -6), testDay.AddDate(0, 0, -6)
		rec.Summary.State, rec.Summary.Codes = compliance.Unknown, []string{"board_unknown"}
	}
	x := indexOf(t, mac("A", "S1", silent))
	code := func(now time.Time, stale bool) string {
		t.Helper()
		o := x.Outlook(now, stale)
		again := x.Outlook(now, stale)
		if len(o.Codes) > 1 || !maps.Equal(o.Codes, again.Codes) {
			t.Errorf("codes %v, and then %v", o.Codes, again.Codes)
		}
		for c := range o.Codes {
			return c
		}
		return ""
	}
	first := code(testDay, false)
	if first != "board_unknown" {
		t.Fatalf("the code is %q", first)
	}
	if later := code(testDay.AddDate(0, 0, 3), false); later != x.firstOf(t, "A", testDay.AddDate(0, 0, 3), false) {
		t.Errorf("three days later the code is %q", later)
	}
	x.touch("A", testDay.AddDate(0, 0, 3))
	if back := code(testDay.AddDate(0, 0, 3), false); back != x.firstOf(t, "A", testDay.AddDate(0, 0, 3), false) {
		t.Errorf("after a contact the code is %q", back)
	}
	if err := x.Take(mac("A", "S1", silent, revision(2), func(rec *storage.Record) { rec.Summary.Codes = []string{"build_unknown"} })); err != nil {
		t.Fatal(err)
	}
	if now := code(testDay.AddDate(0, 0, 3), true); now != "build_unknown" {
		t.Errorf("with a new record the code is %q", now)
	}
}

// firstOf works the code of a Mac out afresh.
func (x *Index) firstOf(t *testing.T, id string, now time.Time, stale bool) string {
	t.Helper()
	rec := x.Get(id)
	if c := x.Contact(id); c.After(rec.Facts.LastContactAt) {
		rec.Facts.LastContactAt = c
	}
	if reasons := compliance.ReasonsAt(rec.Summary, &rec.Facts, now, stale); len(reasons) > 0 {
		return reasons[0].Code
	}
	return ""
}
