package evidence

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"plimsoll/declarations/plan"
	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
	"plimsoll/server/fleet/answer"
	"plimsoll/status"
	"plimsoll/status/compliance"
	"plimsoll/status/patching"
	"plimsoll/storage"
	"plimsoll/storage/bolt"
	"plimsoll/storage/redis"
	"plimsoll/storage/storagetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const board = "J413AP"

// monday is noon of 2026-03-02, on which 26.4 was posted.
var monday = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

// room is a Reports over a store, a list of Macs and a clock that stands still until it is set.
type room struct {
	*Reports
	t        *testing.T
	store    *storage.Store
	db       storage.DB
	now      time.Time
	ids      []string
	releases []*release.Release
}

func newRoom(t *testing.T, db storage.DB) *room {
	t.Helper()
	r := &room{t: t, db: db, store: storage.New(db), now: monday}
	r.releases = []*release.Release{
		{Version: "26.3", Build: "25D125", Kind: release.KindOS, Posted: release.DayOf(monday) - 40, Devices: []string{board}},
		{Version: "26.4", Build: "25E246", Kind: release.KindOS, Posted: release.DayOf(monday), Devices: []string{board}},
	}
	r.Reports = New(Options{
		Store: r.store, IDs: func() []string { return r.ids }, Releases: func() []*release.Release { return r.releases },
		Groups:      func(f *status.Facts) []string { return []string{"all", "of-" + f.ID} },
		Reasons:     func(*storage.Record) []policy.Reason { return []policy.Reason{{Code: "held"}} },
		KnowsPolicy: func(name string) bool { return name == "p" || name == "empty" },
		KnowsGroup:  func(name string) bool { return name == "all" },
		Now:         func() time.Time { return r.now }, Log: slog.New(slog.DiscardHandler), KeepEvents: 90 * 24 * time.Hour,
	})
	return r
}

func onBolt(t *testing.T) *room {
	t.Helper()
	db, err := bolt.Open(filepath.Join(t.TempDir(), "p.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return newRoom(t, db)
}

func (r *room) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// mac writes a Mac that enrolled thirty days before, with the versions that it told on days counted from Monday.
func (r *room) mac(id string, versions map[int]string) {
	r.t.Helper()
	enrolled := monday.AddDate(0, 0, -30)
	h := &patching.History{}
	h.Begin(enrolled, time.Time{})
	for day := -30; day < 100; day++ {
		if v := versions[day]; v != "" {
			h.Saw(monday.AddDate(0, 0, day), release.Version(v), "b"+v, "")
		}
	}
	r.record(id, "26.3", enrolled, h)
}

func (r *room) record(id string, v release.Version, enrolled time.Time, h *patching.History) {
	r.t.Helper()
	rec := &storage.Record{Life: 1, Revision: 1, Facts: status.Facts{
		ID: id, Serial: "S" + id, Board: board, Version: v, Build: "b" + string(v), Enrolled: true, EnrolledAt: enrolled,
		LastContactAt: monday.AddDate(0, 0, 60),
	}}
	rec.Summary.Policy = "p"
	r.must(r.store.UpdateMac(context.Background(), id, func(m *storage.MacTx) error {
		if _, err := m.SetRecord(rec); err != nil {
			return err
		}
		if h == nil {
			return nil
		}
		return m.SetPatching(h)
	}))
	r.ids = append(r.ids, id)
}

func (r *room) at(day, hour, minute int) {
	r.now = time.Date(2026, 3, 2+day, hour, minute, 0, 0, time.UTC)
}

func (r *room) report(q Question) (patching.Patching, string) {
	r.t.Helper()
	p, err := r.Patching(context.Background(), q)
	r.must(err)
	b, err := json.Marshal(p)
	r.must(err)
	return *p, string(b)
}

func (r *room) close() { r.t.Helper(); r.must(r.CloseDays(context.Background())) }

// What a closed day says stays, whatever happens after it; on both databases, and the same bytes on both.
func TestClosedDays(t *testing.T) {
	var bytes []string
	for name, open := range map[string]func(t *testing.T) *room{
		"bolt": onBolt,
		"redis": func(t *testing.T) *room {
			t.Helper()
			db, err := redis.Open(context.Background(), storagetest.RedisServer(t).URL())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = db.Close() })
			return newRoom(t, db)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := open(t)
			r.mac("a", map[int]string{-30: "26.3", 1: "26.4"})
			r.mac("b", map[int]string{-30: "26.3", 3: "26.4"})
			r.mac("c", map[int]string{-30: "26.3"})
			r.at(2, 1, 59) // Wednesday before 02:00: Monday may be closed, Tuesday may not
			r.close()
			p, _ := r.report(Question{From: "2026-03-02"})
			if p.AsOf.String() != "2026-03-02" || !p.Closed || len(p.Releases) != 1 || p.Releases[0].Macs != 3 || p.Releases[0].Patched != 0 {
				t.Fatalf("Monday: %+v", p)
			}
			r.at(2, 2, 0)
			r.close()
			question := Question{From: "2026-03-01", To: "2026-03-02", SLA: "14", AsOf: "2026-03-03"}
			p, first := r.report(question)
			if rel := p.Releases[0]; rel.Patched != 1 || rel.Open != 2 || rel.Macs != 3 {
				t.Fatalf("Tuesday: %s", first)
			}
			bytes = append(bytes, first)

			// A week of writes, a deletion, a re-mark and another catalogue.
			r.must(r.Leave(context.Background(), "b"))
			r.must(r.store.DropMac(context.Background(), "b"))
			r.ids = []string{"a", "c"}
			r.mac("d", map[int]string{-30: "26.3"})
			r.releases[1].Exploited, r.releases[1].Posted = true, release.DayOf(monday)-1
			r.at(9, 3, 0) // away for a week: each day of it is closed
			r.close()
			if _, again := r.report(question); again != first {
				t.Errorf("a closed day changed:\n%s\n%s", first, again)
			}
			for day := 3; day <= 10; day++ {
				if _, err := r.Patching(context.Background(), Question{AsOf: fmt.Sprintf("2026-03-%02d", day)}); err != nil {
					t.Errorf("day %d: %v", day, err)
				}
			}
			if p, text := r.report(Question{From: "2026-03-01"}); p.Releases[0].Macs != 4 || p.Releases[0].Patched != 2 {
				t.Errorf("the deleted Mac is patched since day 3, one is new: %s", text)
			}
			if p, _ := r.report(Question{AsOf: "now"}); p.Closed || p.AsOf.String() != "2026-03-11" {
				t.Errorf("now: %+v", p)
			}
		})
	}
	if len(bytes) == 2 && bytes[0] != bytes[1] {
		t.Errorf("the databases differ:\n%s\n%s", bytes[0], bytes[1])
	}
}

func TestWrittenOnlyWhereItDiffers(t *testing.T) {
	r := onBolt(t)
	r.mac("a", map[int]string{-30: "26.3", 3: "26.4"})
	for day := 1; day <= 6; day++ {
		r.at(day, 2, 0)
		r.close()
		r.close() // a second leader
	}
	days := 0
	r.must(r.db.View(context.Background(), storage.PatchingPartition, func(rd storage.Reader) error {
		entries, err := rd.List("counts/fleet/", "", 100)
		days = len(entries)
		return err
	}))
	if days != 2 { // Monday, and Thursday on which it was patched
		t.Errorf("the fleet's counts were written on %d days, want 2", days)
	}
}

func TestScopes(t *testing.T) {
	r := onBolt(t)
	r.mac("a", map[int]string{-30: "26.3", 1: "26.4"})
	r.mac("b", map[int]string{-30: "26.3"})
	r.at(3, 3, 0)
	r.close()
	for q, want := range map[Question]int{{}: 2, {Policy: "p"}: 2, {Group: "all"}: 2, {Group: "of-a"}: 1} {
		q.Release = "26.4"
		if p, text := r.report(q); len(p.Releases) != 1 || p.Releases[0].Macs != want {
			t.Errorf("%+v: %s", q, text)
		}
	}
	if p, _ := r.report(Question{Policy: "empty"}); len(p.Releases) != 0 {
		t.Errorf("a policy without Macs: %+v", p)
	}
}

func TestBadQuestions(t *testing.T) {
	r := onBolt(t)
	_, err := r.Patching(context.Background(), Question{})
	if e := (*answer.Error)(nil); !errors.As(err, &e) || e.Code != "not_closed" {
		t.Errorf("before the first day is closed: %v", err)
	}
	r.mac("a", map[int]string{-30: "26.3"})
	r.at(3, 3, 0)
	r.close()
	for _, c := range []struct {
		name  string
		q     Question
		field string // of a 422
		code  string
	}{
		{"from after to", Question{From: "2026-03-02", To: "2026-03-01"}, "from", "invalid"},
		{"from in the future", Question{From: "2026-04-01"}, "from", "invalid"},
		{"to in the future", Question{To: "2027-01-01"}, "to", "invalid"},
		{"no date", Question{From: "yesterday"}, "from", "invalid"},
		{"as_of in the future", Question{AsOf: "2026-03-06"}, "as_of", "invalid"},
		{"as_of today", Question{AsOf: "2026-03-05"}, "", "not_closed"},
		{"as_of before the first day", Question{AsOf: "2026-02-01"}, "", "not_closed"},
		{"policy and group", Question{Policy: "p", Group: "all"}, "group", "invalid"},
		{"unknown profile", Question{SLA: "pci"}, "sla", "invalid"},
		{"unknown policy", Question{Policy: "x"}, "", "not_found"},
		{"unknown group", Question{Group: "x"}, "", "not_found"},
		{"unknown release", Question{Release: "26.9"}, "", "not_found"},
		{"no release", Question{Release: "26.4 beta"}, "release", "invalid"},
	} {
		_, err := r.Patching(context.Background(), c.q)
		var e *answer.Error
		if !errors.As(err, &e) || e.Code != c.code || c.field != "" && (len(e.Fields) != 1 || e.Fields[0].Field != c.field) {
			t.Errorf("%s: %v (%+v)", c.name, err, e)
		}
	}
	r.busy.Lock()
	_, err = r.Patching(context.Background(), Question{AsOf: "now"})
	r.busy.Unlock()
	if e := (*answer.Error)(nil); !errors.As(err, &e) || e.Code != "rate_limited" || e.Wait <= 0 {
		t.Errorf("two at a time: %v", err)
	}
}

func updated(id string, at time.Time, from, to, build string) compliance.Event {
	return compliance.Event{ID: id, At: at, Type: compliance.EventUpdated, Data: map[string]any{"from": from, "to": to, "to_build": build}}
}

// A Mac of an older store has its course made from its enrolment and its events, once.
func TestOlderStore(t *testing.T) {
	r := onBolt(t)
	enrolled := monday.AddDate(0, 0, -20)
	r.record("old", "26.4", enrolled, nil)
	r.must(r.store.UpdateMac(context.Background(), "old", func(m *storage.MacTx) error {
		return m.AddEvents([]compliance.Event{
			updated("01", enrolled.AddDate(0, 0, -100), "25.0", "26.2", "y"),
			updated("02", monday.AddDate(0, 0, -10), "26.2", "26.3.1 (a)", "x"),
			updated("03", monday.AddDate(0, 0, 2), "26.3.1 (a)", "26.4", "b26.4"),
		})
	}))
	r.at(5, 3, 0)
	r.close()
	p, text := r.report(Question{Release: "26.4"})
	if p.CompleteFrom.String() != "2026-02-10" {
		t.Errorf("complete from %s, want the day of the enrolment", p.CompleteFrom)
	}
	if len(p.Releases) != 1 || p.Releases[0].Patched != 1 || p.Releases[0].Curve[0] != [2]float64{2, 1} || p.Releases[0].Partial {
		t.Errorf("patched on day 2: %s", text)
	}
	var h *patching.History
	r.must(r.store.ViewMac(context.Background(), "old", func(m *storage.Mac) (err error) { h, err = m.Patching(); return err }))
	if h == nil || len(h.Lives) != 1 || len(h.Lives[0].Had) != 3 || h.Lives[0].Had[1].Letter != "a" {
		t.Errorf("the course: %+v", h)
	}
}

// Nothing of a deleted Mac tells which one it was.
func TestLeave(t *testing.T) {
	r := onBolt(t)
	r.mac("SECRET-ID", map[int]string{-30: "26.3"})
	r.at(1, 12, 0)
	r.must(r.Leave(context.Background(), "SECRET-ID"))
	r.must(r.Leave(context.Background(), "unknown"))
	n := 0
	r.must(r.db.View(context.Background(), storage.PatchingPartition, func(rd storage.Reader) error {
		entries, err := rd.List("left/", "", 10)
		for _, e := range entries {
			n++
			if text := e.Key + string(e.Value); strings.Contains(text, "SECRET") && !strings.Contains(text, "of-SECRET") {
				t.Errorf("it is told: %s", text)
			}
		}
		return err
	}))
	if n != 1 {
		t.Errorf("%d courses of deleted Macs, want 1", n)
	}
}

// A store that is down closes nothing; the next try closes what is due, and nothing is counted twice.
func TestCloseWhileTheStoreIsDown(t *testing.T) {
	db, err := bolt.Open(filepath.Join(t.TempDir(), "p.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	faulty := storagetest.Faulty(db)
	r := newRoom(t, faulty)
	r.mac("a", map[int]string{-30: "26.3", 1: "26.4"})
	r.at(3, 3, 0)
	for _, fault := range []storagetest.Fault{{Down: true}, {NoWrites: true}} {
		faulty.Set(fault)
		if err := r.CloseDays(context.Background()); !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("%+v: %v", fault, err)
		}
	}
	faulty.Set(storagetest.Fault{})
	r.close()
	if p, text := r.report(Question{Release: "26.4"}); p.AsOf.String() != "2026-03-04" || p.Releases[0].Macs != 1 {
		t.Errorf("after the failures: %s", text)
	}
}

// A Mac that checked out is counted with the policy and the groups that it had.
func TestAMacThatLeft(t *testing.T) {
	r := onBolt(t)
	r.mac("a", map[int]string{-30: "26.3"})
	r.must(r.store.UpdateMac(context.Background(), "a", func(m *storage.MacTx) error {
		h, err := m.Patching()
		if err != nil {
			return err
		}
		h.End(monday.AddDate(0, 0, 2), monday.AddDate(0, 0, 1))
		l := h.Ended()
		l.Board, l.Policy, l.Groups = board, "before", []string{"then"}
		return m.SetPatching(h)
	}))
	r.at(10, 3, 0)
	r.close()
	for _, q := range []Question{{}, {Policy: "before"}, {Group: "then"}} {
		p, text := r.report(q)
		if len(p.Releases) != 1 || p.Releases[0].Gone != 1 || p.Releases[0].Within["48h"].Unknown != 1 || p.Releases[0].Within["7d"].No != 0 {
			t.Errorf("%+v: %s", q, text)
		}
	}
	if p, text := r.report(Question{Policy: "p"}); len(p.Releases) != 0 {
		t.Errorf("it is no longer p's: %s", text)
	}
}

// Run closes what is due as soon as it starts, and ends with its context.
func TestRun(t *testing.T) {
	r := onBolt(t)
	r.mac("a", map[int]string{-30: "26.3"})
	r.at(3, 3, 0)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { r.Run(ctx); close(ended) }()
	storagetest.Await(t, "the day to be closed", func() error {
		st, err := r.store.PatchingState(ctx)
		if err == nil && st.Closed.String() != "2026-03-04" {
			err = fmt.Errorf("closed is %s", st.Closed)
		}
		return err
	})
	cancel()
	<-ended
}

// What is older than its retention is deleted; the days that stay say what they said.
func TestTrim(t *testing.T) {
	r, ctx := onBolt(t), context.Background()
	r.mac("a", map[int]string{-30: "26.3", 1: "26.4"})
	r.mac("b", map[int]string{-30: "26.3", 5: "26.4"})
	r.mac("gone", map[int]string{-30: "26.3"})
	for day := 1; day <= 3; day++ {
		r.at(day, 3, 0)
		r.close()
	}
	r.must(r.Leave(ctx, "gone"))
	r.must(r.store.DropMac(ctx, "gone"))
	r.ids = []string{"a", "b"}
	for day := 4; day <= 9; day++ {
		r.at(day, 3, 0)
		r.close()
	}
	_, before := r.report(Question{AsOf: "2026-03-06"})
	from := release.DayOf(monday) + 4 // Friday: the counts of Thursday still hold then
	r.must(r.store.TrimPatching(ctx, from))
	for _, id := range r.ids {
		r.must(r.store.Trim(ctx, id, storage.Limits{Reports: 20, PatchingFrom: from}))
	}
	for _, gone := range []string{"2026-03-02", "2026-03-05"} {
		if _, err := r.Patching(ctx, Question{AsOf: gone}); err == nil || !strings.Contains(err.Error(), "not kept any more") {
			t.Errorf("%s: %v", gone, err)
		}
	}
	if _, after := r.report(Question{AsOf: "2026-03-06"}); after != before {
		t.Errorf("a day that stays changed:\n%s\n%s", before, after)
	}
	r.at(10, 3, 0)
	r.close()
	if p, text := r.report(Question{From: "2026-03-01"}); len(p.Releases) != 0 {
		t.Errorf("releases from before what is kept are counted: %s", text)
	}
	r.must(r.store.TrimPatching(ctx, from+100)) // the last closed day stays
	if p, _ := r.report(Question{}); p.AsOf.String() != "2026-03-11" {
		t.Errorf("the last closed day is gone: %+v", p)
	}
	r.must(r.db.View(ctx, storage.PatchingPartition, func(rd storage.Reader) error {
		for prefix, want := range map[string]int{"left/": 0, "day/": 1, "counts/fleet/": 1} {
			entries, err := rd.List(prefix, "", 100)
			if err != nil || len(entries) != want {
				t.Errorf("%d of %s are kept, want %d (%v)", len(entries), prefix, want, err)
			}
		}
		return nil
	}))
}

// A Mac is exempt on the days that its exemption covered, although it had ended when they were closed.
func TestExemptions(t *testing.T) {
	r := onBolt(t)
	r.mac("a", map[int]string{-30: "26.3"})
	r.at(3, 3, 0)
	r.must(r.store.UpdateMac(context.Background(), "a", func(m *storage.MacTx) error {
		h, err := m.Patching()
		if err != nil {
			return err
		}
		h.Exempted(monday.AddDate(0, 0, 3), time.Date(2026, 3, 7, 1, 0, 0, 0, time.UTC))
		return m.SetPatching(h)
	}))
	for i, want := range []int{0, 1, 1, 0} { // March 4 to 7
		r.at(i+3, 3, 0)
		r.close()
		p, text := r.report(Question{Release: "26.4"})
		if p.AsOf.String() != fmt.Sprintf("2026-03-%02d", i+4) || p.Releases[0].Exempt != want {
			t.Errorf("March %d: %s", i+4, text)
		}
	}
}

// Which Macs are late is told of today, with their reasons; the numbers for monitoring are of the last closed day.
func TestLateAndPace(t *testing.T) {
	r, ctx := onBolt(t), context.Background()
	if p, err := r.Pace(ctx); p != nil || err != nil {
		t.Errorf("before the first closed day: %+v, %v", p, err)
	}
	r.mac("fast", map[int]string{-30: "26.3", 1: "26.4"})
	r.mac("slow", map[int]string{-30: "26.3", 20: "26.4"})
	r.mac("open", map[int]string{-30: "26.3"})
	r.mac("fine", map[int]string{-30: "26.4"})
	r.at(13, 3, 0)
	r.close()
	if late, err := r.Late(ctx, Question{}); err != nil || len(late) != 0 {
		t.Errorf("on day 13 none is late: %+v, %v", late, err)
	}
	r.at(25, 3, 0)
	r.close()
	late, err := r.Late(ctx, Question{SLA: "cyber-essentials"})
	r.must(err)
	if len(late) != 2 || late[0].Device != "open" || late[0].State != patching.Open || late[0].Days != 25 || late[0].Limit != 14 ||
		strings.Join(late[0].Reasons, " ") != "held" || late[1].Device != "slow" || late[1].Days != 20 || len(late[1].Reasons) != 0 {
		t.Errorf("late: %+v", late)
	}
	for q, want := range map[Question]int{
		{SLA: "21"}: 1, {SLA: "1"}: 3, {SLA: "60"}: 0, {SLA: "1", Group: "of-fast"}: 1, {SLA: "1", Policy: "x"}: 0, {SLA: "1", Release: "26.3"}: 0,
		{SLA: "1", To: "2026-03-01"}: 0,
	} {
		if late, err := r.Late(ctx, q); err != nil || len(late) != want {
			t.Errorf("%+v: %d late, want %d (%v)", q, len(late), want, err)
		}
	}
	p, err := r.Pace(ctx)
	r.must(err)
	if len(p.Releases) != 1 || *p.Releases[0].Median != 20 || p.Open["cyber-essentials"] != 1 || p.Open["cis"] != 0 || len(p.Open) != 4 {
		t.Errorf("for monitoring: %+v", p)
	}
	if again, err := r.Pace(ctx); err != nil || again != p {
		t.Errorf("a day is read once: %v", err)
	}
	scopes, err := r.ByScope(ctx, Question{SLA: "14", Release: "26.4"})
	r.must(err)
	var names []string
	for _, s := range scopes {
		names = append(names, scopeName(s.Scope))
	}
	if strings.Join(names, " ") != "policy:p group:all group:of-fast group:of-open group:of-slow" || scopes[4].Report.Releases[0].Within["14d"].No != 1 {
		t.Errorf("by policy and group: %v", names)
	}
}

// An exemption that an older version of the server made stands in the record alone, and counts all the same.
func TestExemptionOfAnOlderStore(t *testing.T) {
	r, ctx := onBolt(t), context.Background()
	r.mac("a", map[int]string{-30: "26.3"})
	r.must(r.store.UpdateMac(ctx, "a", func(m *storage.MacTx) error {
		rec, err := m.Record()
		if err != nil {
			return err
		}
		rec.Exemption = &plan.Exemption{Since: monday.AddDate(0, 0, -1), Until: monday.AddDate(0, 0, 5)}
		_, err = m.SetRecord(rec)
		return err
	}))
	for i, want := range []int{1, 0} {
		r.at(3+5*i, 3, 0)
		r.close()
		if p, text := r.report(Question{Release: "26.4"}); p.Releases[0].Exempt != want || p.Releases[0].Open != 1-want {
			t.Errorf("want %d exempt: %s", want, text)
		}
	}
}
