package inventory

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"plimsoll/declarations"
	"plimsoll/declarations/plan"
	"plimsoll/declarations/release"
	"plimsoll/status"
	"plimsoll/status/compliance"
	"plimsoll/storage"
)

var testDay = time.Date(2026, 8, 19, 9, 0, 0, 0, time.UTC)

// mac is an enrolled, compliant Mac that was in contact at testDay.
func mac(id, serial string, change ...func(*storage.Record)) *storage.Record {
	rec := &storage.Record{
		Facts: status.Facts{
			ID: id, Serial: serial, Name: "Mac " + serial, Model: "Mac14,2", Version: "26.6", Build: "25G72", Enrolled: true,
			EnrolledAt: testDay, LastContactAt: testDay, LastReportAt: testDay,
		},
		LookedAt: testDay, Revision: 1, Life: 1, Summary: compliance.Summary{State: compliance.Compliant},
	}
	for _, c := range change {
		c(rec)
	}
	return rec
}

func revision(n int64) func(*storage.Record) { return func(r *storage.Record) { r.Revision = n } }
func version(v string) func(*storage.Record) {
	return func(r *storage.Record) { r.Facts.Version = release.Version(v) }
}

func governed(by string) func(*storage.Record) {
	return func(r *storage.Record) { r.Summary.Policy = by }
}

// due makes a Mac pending with a deadline on the wall, which UTC has.
func due(at time.Time) func(*storage.Record) {
	return func(r *storage.Record) {
		r.Summary.State, r.Summary.Kind, r.Summary.Version, r.Summary.Build = compliance.Pending, "os", "26.6.2", "25G83"
		r.Summary.Deadline, r.Summary.OverdueAt = declarations.LocalAt(at, 0), at
	}
}

func indexOf(t *testing.T, records ...*storage.Record) *Index {
	t.Helper()
	x := New()
	for _, rec := range records {
		if err := x.Take(rec); err != nil {
			t.Fatal(err)
		}
	}
	return x
}

// Of two copies of a record the younger is kept, unless the database has lost the younger.
func TestYoungerWins(t *testing.T) {
	x := indexOf(t, mac("A", "S1", revision(5)))
	for _, c := range []struct {
		name    string
		take    func(*storage.Record) error
		rec     *storage.Record
		version string
	}{
		{"an older one", x.Take, mac("A", "S1", revision(4), version("26.5")), "26.6"},
		{"the same", x.Take, mac("A", "S1", revision(5), version("26.6.1")), "26.6.1"},
		{"a younger one", x.Take, mac("A", "S1", revision(6), version("26.6.2")), "26.6.2"},
		{"an older one after a loss", x.Replace, mac("A", "S1", revision(2), version("26.4")), "26.4"},
	} {
		if err := c.take(c.rec); err != nil || string(x.Get("A").Facts.Version) != c.version {
			t.Errorf("%s: %v, now %s", c.name, err, x.Get("A").Facts.Version)
		}
	}
	for rev, want := range map[int64]bool{1: false, 2: false, 3: true} {
		if got := x.IsStale("A", rev); got != want {
			t.Errorf("the index is stale against revision %d: %v", rev, got)
		}
	}
	if !x.IsStale("B", 0) {
		t.Error("a Mac that is not there is not stale")
	}
}

// A Mac is found by id, by serial number, or not at all; a changed serial number finds it under the new one only.
func TestResolve(t *testing.T) {
	x := indexOf(t, mac("A", "S1"), mac("B", "S1"), mac("C", ""), mac("D", "A"))
	want := func(asked string, ids ...string) {
		t.Helper()
		if got := x.Resolve(asked); !slices.Equal(got, ids) {
			t.Errorf("%q finds %v, want %v", asked, got, ids)
		}
	}
	want("A", "A", "D") // an id that is another's serial number means neither
	want("S1", "A", "B")
	want("")
	want("S2")
	if err := x.Take(mac("B", "S2", revision(2))); err != nil {
		t.Fatal(err)
	}
	want("S1", "A")
	want("S2", "B")
	x.Remove("B")
	x.Remove("B")
	want("S2")
	want("B")
	if known, _ := x.Knows("B"); known || x.Get("B") != nil {
		t.Error("a Mac that was removed is known")
	}
	if err := x.Take(mac("E", "S9", func(r *storage.Record) { r.Facts.Enrolled = false })); err != nil {
		t.Fatal(err)
	}
	if known, enrolled := x.Knows("E"); !known || enrolled || x.AnyEnrolled([]string{"E", "NOBODY"}) || !x.AnyEnrolled([]string{"E", "A"}) {
		t.Error("enrolled and not enrolled are mixed up")
	}
	if n := x.CountEnrolled(); n != 3 {
		t.Errorf("%d Macs are enrolled", n)
	}
}

// Whatever is put, replaced and removed, the order is that of the serial numbers, and the walk is the list.
func TestOrderAfterManyChanges(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	x := New()
	model := map[string]string{}
	for n := range 3000 {
		id := fmt.Sprint("MAC-", random.IntN(200))
		if random.IntN(4) == 0 {
			x.Remove(id)
			delete(model, id)
			continue
		}
		serial := fmt.Sprint("S", random.IntN(50))
		if err := x.Take(mac(id, serial, revision(int64(n+1)))); err != nil {
			t.Fatal(err)
		}
		model[id] = serial
	}
	var want []string
	for id, serial := range model {
		want = append(want, serial+" "+id)
	}
	slices.Sort(want)
	for _, size := range []int{1, 7, 1000} {
		var got []string
		for after := (*Key)(nil); ; {
			found := x.Find(Query{Enrolled: true, Sort: BySerial, Now: testDay}, after, size)
			for i := range found {
				got = append(got, found[i].Key.Text+" "+found[i].Key.ID)
			}
			if len(found) < size {
				break
			}
			after = &found[len(found)-1].Key
		}
		if !slices.Equal(got, want) {
			t.Errorf("in pages of %d: %d Macs, want %d", size, len(got), len(want))
		}
	}
	if ids := x.IDs(); len(ids) != len(model) {
		t.Errorf("%d ids, want %d", len(ids), len(model))
	}
	if macs := x.Enrolled(); len(macs) != len(model) || !slices.IsSortedFunc(macs, func(a, b Mac) int { return strings.Compare(a.ID, b.ID) }) {
		t.Errorf("%d enrolled Macs, want %d by id", len(macs), len(model))
	}
}

// fleet is one Mac of each kind.
func fleet(t *testing.T) *Index {
	return indexOf(t,
		mac("A", "S1", governed("all"), due(testDay.Add(72*time.Hour))),
		mac("B", "S2", governed("all"), due(testDay.Add(-time.Hour)), version("26.5")),
		mac("C", "S3", func(r *storage.Record) {
			r.Facts.Model = "Mac16,1"
			r.Facts.EnrolledAt, r.Facts.LastContactAt, r.Facts.LastReportAt = testDay.AddDate(0, 0, -60), testDay.AddDate(0, 0, -30), testDay.AddDate(0, 0, -30)
		}),
		mac("D", "S4", func(r *storage.Record) { r.Facts.Enrolled = false }),
		mac("E", "S5", governed("all"), func(r *storage.Record) {
			r.Summary.State, r.Summary.Codes = compliance.Unknown, []string{"board_unknown"}
			r.Summary.Flags = compliance.BootstrapTokenMissing
		}),
	)
}

func TestFind(t *testing.T) {
	x := fleet(t)
	if err := x.Take(mac("F", "S6", version("26.3"))); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		q    Query
		want string
	}{
		"all":                 {Query{}, "A B C E F"},
		"not enrolled":        {Query{Enrolled: true}, "D"}, // turned round below
		"pending":             {Query{State: "pending"}, "A"},
		"overdue":             {Query{State: "overdue"}, "B"},
		"no such state":       {Query{State: "fine"}, ""},
		"silent":              {Query{Flag: "silent"}, "C"},
		"without a token":     {Query{Flag: "bootstrap_token_missing"}, "E"},
		"no such flag":        {Query{Flag: "odd"}, ""},
		"of a policy":         {Query{Policy: "all"}, "A B E"},
		"of a policy no more": {Query{Policy: "none"}, ""},
		"of a version":        {Query{Version: "26.5"}, "B"},
		"of a model":          {Query{Model: "Mac16,1"}, "C"},
		"in a group":          {Query{InGroup: true, Members: map[string]bool{"A": true, "S5": true, "S4": true}}, "A E"},
		"in an empty group":   {Query{InGroup: true}, ""},
		"by text":             {Query{Text: "mac s3"}, "C"},
		"by serial number":    {Query{Text: "s2"}, "B"},
		"not seen":            {Query{SeenBefore: testDay}, "C"},
		"by reason":           {Query{Reason: "board_unknown"}, "E"},
		"by deadline":         {Query{Sort: ByDeadline}, "B A C E F"},
		"by contact":          {Query{Sort: ByLastSeen}, "C A B E F"},
	} {
		t.Run(name, func(t *testing.T) {
			q := c.q
			q.Enrolled = !q.Enrolled
			q.Now = testDay
			if q.Sort == "" {
				q.Sort = BySerial
			}
			for size := 1; size < 8; size++ {
				var got []string
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
				if strings.Join(got, " ") != c.want {
					t.Errorf("in pages of %d: %v, want %s", size, got, c.want)
				}
			}
		})
	}
}

func TestCount(t *testing.T) {
	x := fleet(t)
	all, byPolicy := x.Count(testDay, true)
	if all.Devices != 4 || byPolicy["all"].Devices != 3 || byPolicy[""].Devices != 1 {
		t.Errorf("%d Macs, by policy %v", all.Devices, byPolicy)
	}
	states, flags := all.States(), all.Flags()
	if len(states) != len(compliance.States) || states["pending"] != 1 || states["overdue"] != 1 || states["compliant"] != 1 || states["unknown"] != 1 {
		t.Errorf("states %v", states)
	}
	if len(flags) != len(compliance.FlagNames) || flags["silent"] != 1 || flags["bootstrap_token_missing"] != 1 || flags["catalogue_stale"] != 4 {
		t.Errorf("flags %v", flags)
	}
	if v := all.Versions(); len(v) != 2 || v["26.6"] != 3 || v["26.5"] != 1 || byPolicy["all"].Versions()["26.6"] != 2 {
		t.Errorf("versions %v", v)
	}
	if _, within := x.Deadlines(testDay, 1, 7); within[1] != 0 || within[7] != 1 {
		t.Errorf("due within 1 and 7 days: %v", within)
	}
	o := x.Outlook(testDay, false)
	if want := testDay.Add(72 * time.Hour).Format(time.DateOnly); len(o.Due) != 1 || o.Due[want] != 1 {
		t.Errorf("due %v, want one on %s", o.Due, want)
	}
	if again := x.Outlook(testDay, false); fmt.Sprint(again) != fmt.Sprint(o) || o.Codes["board_unknown"] != 1 {
		t.Errorf("codes %v, and then %v", o.Codes, again.Codes)
	}
}

// A Mac is due when a boundary in time has passed since it was looked at: once, and not while its push waits.
func TestDue(t *testing.T) {
	hour := testDay.Add(time.Hour)
	notified := func(r *storage.Record) { r.Told, r.ToldAt, r.Tries, r.Manifest = "2", testDay, 1, "1" }
	x := indexOf(t,
		mac("NOTHING", "S1"),
		mac("PLAN", "S2", func(r *storage.Record) { r.NextAt = hour }),
		mac("OVERDUE", "S3", due(hour)),
		mac("NOTIFIED", "S4", notified),
		mac("WAITING", "S5", notified),
		mac("GONE", "S6", func(r *storage.Record) { r.NextAt, r.Facts.Enrolled = hour, false }),
		mac("LOOKED AT", "S7", func(r *storage.Record) { r.NextAt, r.LookedAt = hour, hour }),
	)
	waiting := func(id string) bool { return id == "WAITING" }
	for _, c := range []struct {
		at   time.Time
		want []string
	}{
		{hour.Add(-time.Second), nil},
		{hour, []string{"OVERDUE", "PLAN"}},
		{testDay.Add(storage.Patience(1)), []string{"NOTIFIED", "OVERDUE", "PLAN"}},
	} {
		passed, rest := x.Due(c.at, false, waiting)
		slices.Sort(passed)
		if !slices.Equal(passed, c.want) || len(rest) > 0 {
			t.Errorf("at %s: %v, want %v", c.at, passed, c.want)
		}
		_, rest = x.Due(c.at, true, waiting)
		if len(rest)+len(passed) != 6 || slices.ContainsFunc(rest, func(m Mac) bool { return m.Record().Facts.ID != m.ID }) {
			t.Errorf("at %s: %d others", c.at, len(rest))
		}
	}
	if out := x.Outstanding(); len(out) != 2 {
		t.Errorf("%d Macs have not fetched what they were notified of", len(out))
	}
}

// A contact is remembered until it is written, and one that ended a silence until the record says so.
func TestContacts(t *testing.T) {
	x := indexOf(t, mac("A", "S1"))
	c := NewContacts(x)
	minute := testDay.Add(time.Minute)
	c.Contact("A", minute)
	c.Contact("NOBODY", minute)
	c.Forget("NOBODY")
	rec := x.Get("A")
	if !c.Last(rec).Equal(minute) || !c.Back("A").IsZero() || !slices.Equal(c.Unwritten(), []string{"A"}) {
		t.Errorf("last %v, back %v, unwritten %v", c.Last(rec), c.Back("A"), c.Unwritten())
	}
	back := minute.Add(Silence + time.Second)
	c.Contact("A", back)
	c.Contact("A", back.Add(time.Hour))
	if !c.Back("A").Equal(back) {
		t.Errorf("back at %v, want %v: the first contact after the silence", c.Back("A"), back)
	}
	c.Written(rec)
	if len(c.Unwritten()) != 1 || c.Back("A").IsZero() {
		t.Error("an older record was taken for the newest")
	}
	c.Apply(rec)
	if !rec.Facts.LastContactAt.Equal(back.Add(time.Hour)) || !rec.BackAt.Equal(back) {
		t.Errorf("applied: %v and %v", rec.Facts.LastContactAt, rec.BackAt)
	}
	c.Written(rec)
	if len(c.Unwritten()) != 0 || !c.Back("A").IsZero() {
		t.Errorf("written, and still held: %v, %v", c.Unwritten(), c.Back("A"))
	}
	// Contacts only grow within a life; a new life begins with its own.
	if err := x.Take(mac("A", "S1", revision(2))); err != nil || !x.Contact("A").Equal(back.Add(time.Hour)) {
		t.Errorf("%v: the contact is now %v", err, x.Contact("A"))
	}
	if err := x.Take(mac("A", "S1", revision(3), func(r *storage.Record) { r.Life = 2 })); err != nil || !x.Contact("A").Equal(testDay) {
		t.Errorf("%v: in a new life the contact is %v", err, x.Contact("A"))
	}
}

// The numbers of a shard grow, are not read back where this replica wrote them, and begin again after a loss.
func TestShards(t *testing.T) {
	x := New()
	want := func(last, revision uint64) {
		t.Helper()
		if l, r := x.Seen(3); l != last || r != revision {
			t.Errorf("seen %d at %d, want %d at %d", l, r, last, revision)
		}
	}
	x.SetSeen(3, 10, 1, true)
	x.Wrote(3, 10, 12)
	want(12, 1)
	x.Wrote(3, 15, 17) // others wrote 13 to 15, which are still to be read
	want(12, 1)
	x.SetSeen(3, 11, 2, false)
	want(12, 2)
	x.SetSeen(3, 5, 3, true)
	want(5, 3)
}

// Versions and policies that no Mac has any more do not fill the memory, whatever Macs say.
func TestNamesThatNoMacHas(t *testing.T) {
	x := indexOf(t, mac("A", "S1"), mac("B", "S2", version("26.5")))
	for i := range 3 * enoughNames {
		if err := x.Take(mac("A", "S1", revision(int64(i+2)), governed(fmt.Sprint("policy ", i)))); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(x.names); n > enoughNames {
		t.Errorf("%d names for two Macs", n)
	}
	if found := x.Find(Query{Enrolled: true, Version: "26.5", Sort: BySerial, Now: testDay}, nil, 10); len(found) != 1 || found[0].Key.ID != "B" {
		t.Errorf("found %d Macs with 26.5", len(found))
	}
	for i := range shareLimit + 10 {
		s := fmt.Sprint("model ", i)
		x.share(&s)
	}
	if n := len(x.shared); n > shareLimit {
		t.Errorf("%d strings are shared", n)
	}
}

// Readers and writers at the same time; the race detector looks on.
func TestAtTheSameTime(t *testing.T) {
	x := fleet(t)
	var all sync.WaitGroup
	for n := range 4 {
		all.Go(func() {
			for i := range 50 {
				if err := x.Take(mac("A", "S1", revision(int64(i)), governed(fmt.Sprint(n, i)))); err != nil {
					t.Error(err)
				}
				x.Count(testDay, false)
				x.Outlook(testDay, i%2 == 0)
				x.Find(Query{Enrolled: true, Sort: ByDeadline, Now: testDay}, nil, 3)
				x.touch("A", testDay.Add(time.Duration(i)*time.Second))
			}
		})
	}
	all.Wait()
}

// The start takes many records at once, and leaves out those that are there already or cannot be read.
func TestFill(t *testing.T) {
	x := indexOf(t, mac("B", "S0", revision(9)))
	if err := x.Fill([]*storage.Record{mac("C", "S3"), nil, mac("A", "S5"), mac("B", "S1")}); err != nil {
		t.Fatal(err)
	}
	found := x.Find(Query{Enrolled: true, Sort: BySerial, Now: testDay}, nil, 10)
	var got []string
	for i := range found {
		got = append(got, found[i].Key.ID)
	}
	if !slices.Equal(got, []string{"B", "C", "A"}) {
		t.Errorf("by serial number: %v", got)
	}
	rec := x.Get("B")
	rec.Delayed = &plan.Delayed{Hours: 3}
	if x.Get("B").Delayed != nil {
		t.Error("a change of a copy changed the index")
	}
}

// A list by last contact is read page by page while Macs check in: each Mac is in it once, also when it reports, and new ones come last.
func TestOrderByLastContactStandsStill(t *testing.T) {
	var records []*storage.Record
	for n := range 12 {
		records = append(records, mac(fmt.Sprintf("MAC-%02d", n), fmt.Sprintf("S%02d", n), func(r *storage.Record) {
			r.Facts.LastContactAt = testDay.Add(-time.Duration(n) * time.Hour)
		}))
	}
	x := indexOf(t, records...)
	now := testDay
	for round := range 3 { // the second within the time of a snapshot, the third behind it
		now = testDay.Add(time.Duration(round) * 40 * time.Second)
		var got []string
		var key *Key
		for page := 0; ; page++ {
			found := x.Find(Query{Sort: ByLastSeen, Enrolled: true, Now: now}, key, 3)
			for i := range found {
				got = append(got, found[i].Record().Facts.ID)
			}
			if len(found) < 3 {
				break
			}
			key = &found[2].Key
			for i, rec := range records {
				x.touch(rec.Facts.ID, now.Add(time.Duration(page)*time.Second))
				if i%2 == page%2 {
					reported := *rec
					reported.Revision, reported.Facts.LastContactAt = int64(2+100*round+page), now.Add(time.Duration(page+1)*time.Second)
					if err := x.Take(&reported); err != nil {
						t.Fatal(err)
					}
				}
			}
			if page == 0 {
				fresh := mac(fmt.Sprintf("NEW-%d", round), "T", func(r *storage.Record) { r.Facts.LastContactAt = now })
				records = append(records, fresh)
				if err := x.Take(fresh); err != nil {
					t.Fatal(err)
				}
			}
		}
		if twice := slices.Compact(slices.Sorted(slices.Values(got))); len(got) != len(records) || len(twice) != len(got) {
			t.Errorf("round %d: %d Macs in the list, %d of them once; there are %d: %v", round, len(got), len(twice), len(records), got)
		}
		if round == 0 && got[0] != "MAC-11" {
			t.Errorf("the order begins with %s", got[0])
		}
	}
}

// Identities that are in use are counted by CA, push topics by topic; both survive a renumbering of names.
func TestIdentitiesAndTopics(t *testing.T) {
	identity := func(ca, topic string, ends time.Time, enrolled bool) func(*storage.Record) {
		return func(r *storage.Record) {
			r.Facts.IdentityCA, r.Facts.Topic, r.Facts.IdentityEnds, r.Facts.Enrolled = ca, topic, ends, enrolled
		}
	}
	later := testDay.Add(time.Hour)
	x := indexOf(
		t,
		mac("A", "1", identity("ca-1", "topic-1", later, true)),
		mac("B", "2", identity("ca-1", "topic-2", later, true)),
		mac("C", "3", identity("ca-2", "", later, false)), // between Authenticate and TokenUpdate
		mac("D", "4", identity("ca-2", "topic-1", testDay, true)),
		mac("E", "5", identity("", "", time.Time{}, true)),
		mac("F", "6", identity("", "topic-1", later, false)), // it has checked out
	)
	for range 2 {
		if got := x.Identities(testDay); len(got) != 3 || got["ca-1"] != 2 || got["ca-2"] != 1 || got[""] != 1 {
			t.Errorf("identities: %v", got)
		}
		got := x.Topics()
		if len(got) != 3 || got["topic-1"].Devices != 2 || got["topic-2"] != (Topic{1, "B"}) || got[""].Devices != 1 {
			t.Errorf("topics: %v", got)
		}
		x.renumber()
	}
	x.Remove("B")
	if got := x.Identities(later); len(got) != 1 || got[""] != 1 {
		t.Errorf("an hour later: %v", got)
	}
}
