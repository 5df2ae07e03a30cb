package book

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"plimsoll/declarations/plan"
	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
	"plimsoll/server/fleet/answer"
	"plimsoll/server/fleet/audit"
	"plimsoll/status"
	"plimsoll/status/compliance"
	"plimsoll/storage"
	"plimsoll/storage/bolt"
	"plimsoll/storage/storagetest"
)

// testDay is a Wednesday, two days after 26.6.2 was posted.
var testDay = time.Date(2026, 8, 19, 9, 0, 0, 0, time.UTC)

// macs are Macs as a replica knows them: all are enrolled.
type macs []*storage.Record

func (m macs) Records() (int, func(int) *storage.Record) {
	return len(m), func(i int) *storage.Record { r := *m[i]; return &r }
}
func (m macs) CountEnrolled() int { return len(m) }
func (m macs) Resolve(asked string) (ids []string) {
	for _, r := range m {
		if r.Facts.ID == asked || r.Facts.Serial == asked {
			ids = append(ids, r.Facts.ID)
		}
	}
	return ids
}
func (m macs) AnyEnrolled(ids []string) bool { return len(ids) > 0 }

// fleetOf are n MacBooks Air (M2) with 26.5, which report that they can do everything.
func fleetOf(n int) macs {
	var all macs
	for i := range n {
		all = append(all, &storage.Record{Facts: status.Facts{
			ID: fmt.Sprintf("MAC-%02d", i), Serial: fmt.Sprintf("S%02d", i), Model: "Mac14,2", Board: "J413AP", BoardFrom: "report",
			Version: "26.5", Build: "25F71", Enrolled: true, EnrolledAt: testDay, LastContactAt: testDay, LastReportAt: testDay,
			Capabilities: status.Capabilities{Known: true, Enforcement: true, Settings: true, Items: 1<<17 - 1},
		}, LookedAt: testDay})
	}
	return all
}

type desk struct {
	*Keeper
	t       *testing.T
	db      storage.DB
	audit   *audit.Chain
	log     bytes.Buffer
	changes int
	mute    bool // events are not published
}

func newDesk(t *testing.T, m macs) *desk {
	t.Helper()
	db, err := bolt.Open(filepath.Join(t.TempDir(), "p.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return deskOn(t, db, m)
}

func deskOn(t *testing.T, db storage.DB, m macs) *desk {
	t.Helper()
	d := &desk{t: t, db: db}
	store, now := storage.New(db), func() time.Time { return testDay }
	log := slog.New(slog.NewTextHandler(&d.log, nil))
	d.audit = audit.New(audit.Options{Store: store, Log: log, Now: now})
	d.Keeper = New(Options{
		Store: store, Audit: d.audit, Macs: m, Log: log, Zone: time.UTC, Now: now,
		Address: func(r *storage.Record) string { return "https://mdm.example.com/self/" + r.Facts.ID },
		Pages:   func() bool { return true }, Changed: func() { d.changes++ },
		Publish: func(ctx context.Context) (string, error) {
			if d.mute {
				return "", errors.New("the store is away")
			}
			published, _, _, err := storage.New(db).PublishFleetEvents(ctx)
			return published, err
		},
	})
	d.must(d.ReloadBook(t.Context()))
	return d
}

func (d *desk) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) put(text string, o answer.WriteOptions) (PolicyResult, error) {
	d.t.Helper()
	var p policy.Policy
	d.must(json.Unmarshal([]byte(text), &p))
	return d.PutPolicy(d.t.Context(), p, o)
}

// wantCode checks the code of an error; empty: none.
func wantCode(t *testing.T, what string, err error, code string) *answer.Error {
	t.Helper()
	var e *answer.Error
	errors.As(err, &e)
	if code == "" && err != nil || code != "" && (e == nil || e.Code != code) {
		t.Errorf("%s: %v, want the code %q", what, err, code)
	}
	if e == nil {
		e = &answer.Error{}
	}
	return e
}

const (
	calm   = `{"name":"calm","priority":10,"updates":{"mode":"automatic","within_days":90}}`
	sudden = `{"name":"now","priority":20,"updates":{"mode":"automatic","within_days":7},"notice_days":2}`
)

// Each fault of a policy has its code, and nothing is stored then.
func TestPutPolicy(t *testing.T) {
	d := newDesk(t, fleetOf(12))
	res, err := d.put(calm, answer.WriteOptions{Create: true})
	if err != nil || !res.Created || !res.Changed || res.ETag == "" || res.Impact != nil || res.Warnings == nil {
		t.Fatalf("created: %+v, %v", res, err)
	}
	first := d.Current().Stored.Policy("calm")
	for _, c := range []struct {
		name, text string
		o          answer.WriteOptions
		code       string
	}{
		{"exists", calm, answer.WriteOptions{Create: true}, "exists"},
		{"exists before equal priority", `{"name":"calm","priority":20,"updates":{"mode":"none"}}`, answer.WriteOptions{Create: true}, "exists"},
		{"equal priority", `{"name":"other","priority":10,"updates":{"mode":"none"}}`, answer.WriteOptions{}, "equal_priority"},
		{"If-Match of something else", calm, answer.WriteOptions{IfMatch: `"nonsense"`}, "precondition_failed"},
		{"If-Match of nothing", `{"name":"none","priority":1,"updates":{"mode":"none"}}`, answer.WriteOptions{IfMatch: "*"}, "precondition_failed"},
		{"unknown version", `{"name":"v","priority":6,"updates":{"mode":"minimum","version":"26.99","deadline":"2026-12-01T12:00:00"}}`, answer.WriteOptions{}, "invalid"},
		{"a passed deadline", `{"name":"late","priority":5,"updates":{"mode":"minimum","version":"26.6","deadline":"2026-08-01T12:00:00"}}`, answer.WriteOptions{}, "confirm_required"},
		{"hits all", sudden, answer.WriteOptions{}, "confirm_required"},
	} {
		revision := d.Current().Revision
		_, err := d.put(c.text, c.o)
		if e := wantCode(t, c.name, err, c.code); c.code == "confirm_required" && e.Impact == nil {
			t.Errorf("%s: no impact is shown", c.name)
		}
		if d.Current().Revision != revision {
			t.Errorf("%s: the book was written", c.name)
		}
	}
	res, err = d.put(calm, answer.WriteOptions{IfMatch: res.ETag})
	if err != nil || res.Changed || res.Created {
		t.Errorf("put again as it is: %+v, %v", res, err)
	}
	changed := strings.Replace(calm, "90", "80", 1)
	if res, err = d.put(changed, answer.WriteOptions{IfMatch: res.ETag, Confirm: true}); err != nil || !res.Changed || res.Created {
		t.Errorf("put again with another number: %+v, %v", res, err)
	}
	if again := d.Current().Stored.Policy("calm"); !again.CreatedAt.Equal(first.CreatedAt) {
		t.Errorf("created at %v, and then at %v", first.CreatedAt, again.CreatedAt)
	}
	p, tag, err := d.Policy(t.Context(), "calm")
	if err != nil || tag != res.ETag || *p.Updates.WithinDays != 80 {
		t.Errorf("read: %+v with %s, %v", p, tag, err)
	}
	if _, err := d.DeletePolicy(t.Context(), "calm", answer.WriteOptions{IfMatch: `"old"`}); err == nil {
		t.Error("deleted although it is not the one that If-Match names")
	}
	d.must(second(d.DeletePolicy(t.Context(), "calm", answer.WriteOptions{IfMatch: tag})))
	_ = wantCode(t, "deleted twice", second(d.DeletePolicy(t.Context(), "calm", answer.WriteOptions{})), "not_found")
	_, _, err = d.Policy(t.Context(), "calm")
	_ = wantCode(t, "read after its deletion", err, "not_found")
	page, err := d.Policies(t.Context(), 0, "")
	if err != nil || len(page.Items) != 0 {
		t.Errorf("listed: %+v, %v", page, err)
	}
}

func second[T any](_ T, err error) error { return err }

// A policy that sends users to their own page says so in its declarations, and warns when there are no such pages.
func TestSelfPages(t *testing.T) {
	d := newDesk(t, fleetOf(1))
	rec := fleetOf(1)[0]
	if url := d.Current().SelfURL(rec); url != "" {
		t.Errorf("no policy uses the page, and its address is %q", url)
	}
	self := `{"name":"self","priority":1,"updates":{"mode":"automatic","within_days":90},"details_url":"self"}`
	if res, err := d.put(self, answer.WriteOptions{}); err != nil || len(res.Warnings) != 0 {
		t.Errorf("with pages: %+v, %v", res.Warnings, err)
	}
	if url := d.Current().SelfURL(rec); url != "https://mdm.example.com/self/MAC-00" {
		t.Errorf("the address is %q", url)
	}
	d.o.Pages = func() bool { return false }
	if res, err := d.put(strings.Replace(self, "90", "80", 1), answer.WriteOptions{}); err != nil || len(res.Warnings) != 1 || res.Warnings[0].Code != plan.CodeNoSelfPage {
		t.Errorf("without pages: %+v, %v", res.Warnings, err)
	}
}

// A dry run shows whom the write would hit, and writes nothing; a small fleet needs no confirmation, a large one does.
func TestImpact(t *testing.T) {
	d := newDesk(t, fleetOf(12))
	_, _, _, err := d.PutGroup(t.Context(), "lab", []string{"S00", "MAC-01", "NOBODY"}, answer.WriteOptions{})
	d.must(err)
	revision := d.Current().Revision
	res, err := d.put(sudden, answer.WriteOptions{DryRun: true})
	if err != nil || d.Current().Revision != revision {
		t.Fatalf("%v; written: %v", err, d.Current().Revision != revision)
	}
	i := res.Impact
	if i.Devices != 12 || i.NewlyTargeted != 12 || i.TokensChanged != 12 || i.NewlyDueWithin7d != 12 || i.DueWithin7d != 12 || i.DueWithin24h != 0 {
		t.Errorf("the impact is %+v", i)
	}
	if len(i.ByTarget) != 1 || i.ByTarget[0].Devices != 12 || i.ByTarget[0].Target.Version != "26.6.2" {
		t.Errorf("by target: %+v", i.ByTarget)
	}
	if len(i.ByGroup) != 1 || i.ByGroup[0] != (answer.ImpactGroup{Group: "lab", Devices: 2, DueWithin7d: 2}) {
		t.Errorf("by group: %+v", i.ByGroup)
	}
	if len(i.Sample) != 12 || i.Sample[0].Before.Target != nil || i.Sample[0].After.Target.Build != "25G83" {
		t.Errorf("the sample: %+v", i.Sample)
	}
	// 12 of 12 Macs within 7 days are more than 10 Macs and 5 %.
	if i.Guard == nil || *i.Guard != "12 of 12 Macs would newly be due within 7 days" {
		t.Errorf("the guard: %v", i.Guard)
	}
	if i.Restarting != 12 || *i.FirstRestartLocal != *i.Sample[0].After.DeadlineLocal || *i.LastRestartLocal != *i.FirstRestartLocal || i.NoLongerAsked != 0 || i.Cannot != 0 {
		t.Errorf("restarts: %+v", i)
	}
	if i.StatesAfter["pending"] != 12 || i.StatesAfter["unmanaged"] != 0 || len(i.StatesAfter) != len(compliance.States) {
		t.Errorf("states after: %v", i.StatesAfter)
	}
	if _, err := d.put(sudden, answer.WriteOptions{Confirm: true}); err != nil {
		t.Fatal(err)
	}
	away, err := d.DeletePolicy(t.Context(), res.Policy.Name, answer.WriteOptions{DryRun: true})
	if err != nil || away.NoLongerAsked != 12 || away.Restarting != 0 || away.FirstRestartLocal != nil || away.Guard != nil || away.StatesAfter["unmanaged"] != 12 {
		t.Errorf("a deletion: %+v, %v", away, err)
	}
	res, err = d.put(sudden, answer.WriteOptions{DryRun: true})
	if err != nil || res.Changed || res.Impact.Devices != 0 || res.Impact.ByTarget == nil || res.Impact.Sample == nil {
		t.Errorf("a dry run of what is there: %+v, %v", res.Impact, err)
	}
	small := newDesk(t, fleetOf(manyMacs))
	if _, err := small.put(sudden, answer.WriteOptions{}); err != nil {
		t.Errorf("ten Macs need a confirmation: %v", err)
	}
	// Macs that are not supervised: nothing can be enforced on them, and they do not restart.
	old := fleetOf(3)
	for _, r := range old[:2] {
		r.Facts.Supervised = status.No
	}
	mixed := newDesk(t, old)
	if res, err = mixed.put(sudden, answer.WriteOptions{DryRun: true}); err != nil || res.Impact.Cannot != 2 || res.Impact.Restarting != 1 || res.Impact.StatesAfter["incompatible"] != 2 {
		t.Errorf("Macs that cannot: %+v, %v", res.Impact, err)
	}
	many := newDesk(t, fleetOf(50))
	res, err = many.put(sudden, answer.WriteOptions{DryRun: true})
	if err != nil || len(res.Impact.Sample) != sampleSize || res.Impact.Devices != 50 {
		t.Errorf("of 50 Macs %d are shown, %v", len(res.Impact.Sample), err)
	}
}

// Members are sorted, once each, and changed one by one; a group that stays as it is is not written.
func TestGroups(t *testing.T) {
	d := newDesk(t, fleetOf(2))
	ctx := t.Context()
	g, created, _, err := d.PutGroup(ctx, "lab", []string{"S01", "S00", "S01", "LATER"}, answer.WriteOptions{})
	if err != nil || !created || !slices.Equal(g.Devices, []string{"LATER", "S00", "S01"}) || g.UnknownMembers != 1 {
		t.Fatalf("put: %+v, %v, %v", g, created, err)
	}
	revision := d.Current().Revision
	if _, created, _, err := d.PutGroup(ctx, "lab", []string{"LATER", "S01", "S00"}, answer.WriteOptions{}); err != nil || created || d.Current().Revision != revision {
		t.Errorf("put as it is: created %v, written %v, %v", created, d.Current().Revision != revision, err)
	}
	g, _, err = d.EditGroup(ctx, "lab", []string{"NEW"}, []string{"LATER", "NOT IN IT"}, answer.WriteOptions{IfMatch: g.ETag})
	if err != nil || !slices.Equal(g.Devices, []string{"NEW", "S00", "S01"}) {
		t.Errorf("edited: %+v, %v", g, err)
	}
	for name, c := range map[string]struct {
		group   string
		devices []string
		o       answer.WriteOptions
		code    string
	}{
		"odd name":     {"Lab!", nil, answer.WriteOptions{}, "invalid"},
		"empty member": {"lab", []string{"a", ""}, answer.WriteOptions{}, "invalid"},
		"long member":  {"lab", []string{strings.Repeat("a", 257)}, answer.WriteOptions{}, "invalid"},
		"not the one":  {"lab", nil, answer.WriteOptions{IfMatch: `"old"`}, "precondition_failed"},
	} {
		_, _, _, err := d.PutGroup(ctx, c.group, c.devices, c.o)
		_ = wantCode(t, name, err, c.code)
	}
	_, _, err = d.EditGroup(ctx, "none", nil, nil, answer.WriteOptions{})
	_ = wantCode(t, "edit what is not there", err, "not_found")
	if read, err := d.Group(ctx, "lab"); err != nil || read.ETag != g.ETag {
		t.Errorf("read: %+v, %v", read, err)
	}
	if page, err := d.Groups(ctx, 0, ""); err != nil || len(page.Items) != 1 {
		t.Errorf("listed: %+v, %v", page, err)
	}
	_ = wantCode(t, "not the one", second(d.DeleteGroup(ctx, "lab", answer.WriteOptions{IfMatch: `"old"`})), "precondition_failed")
	d.must(second(d.DeleteGroup(ctx, "lab", answer.WriteOptions{})))
	_ = wantCode(t, "deleted twice", second(d.DeleteGroup(ctx, "lab", answer.WriteOptions{})), "not_found")
	_, err = d.Group(ctx, "lab")
	_ = wantCode(t, "read after its deletion", err, "not_found")
}

// A hold covers its subject and, with successors, what follows it; it keeps its beginning, and ends by itself or by an admin.
func TestHolds(t *testing.T) {
	d := newDesk(t, nil)
	ctx := t.Context()
	past, later := testDay.Add(-time.Second), testDay.AddDate(0, 0, 7)
	for name, c := range map[string]struct {
		subject, reason string
		until           *time.Time
		field           string
	}{
		"no subject":   {"", "r", nil, "subject"},
		"odd subject":  {"Sequoia", "r", nil, "subject"},
		"no reason":    {"26.6.2", "", nil, "reason"},
		"long reason":  {"26.6.2", strings.Repeat("x", 1001), nil, "reason"},
		"over already": {"26.6.2", "r", &past, "until"},
	} {
		_, _, _, err := d.PutHold(ctx, c.subject, c.reason, false, c.until, answer.WriteOptions{})
		if e := wantCode(t, name, err, "invalid"); len(e.Fields) != 1 || e.Fields[0].Field != c.field {
			t.Errorf("%s: the faulty fields are %+v, want %s", name, e.Fields, c.field)
		}
	}
	h, created, _, err := d.PutHold(ctx, "26.6.2", "breaks our VPN", false, &later, answer.WriteOptions{By: answer.Origin{Actor: "ada"}})
	if err != nil || !created || !slices.Equal(h.Releases, []string{"26.6.2"}) || h.By != "ada" || !h.Since.Equal(testDay) || !h.Until.Equal(later) {
		t.Fatalf("put: %+v, %v", h, err)
	}
	now := testDay.Add(time.Hour)
	d.o.Now = func() time.Time { return now }
	if again, created, _, err := d.PutHold(ctx, "26.6.2", "still does", true, &later, answer.WriteOptions{}); err != nil || created || !again.Since.Equal(testDay) {
		t.Errorf("put again: %+v, created %v, %v", again, created, err)
	}
	_, _, _, err = d.PutHold(ctx, "26.6.2", "r", false, nil, answer.WriteOptions{IfMatch: `"old"`})
	_ = wantCode(t, "not the one", err, "precondition_failed")
	now = later
	page, err := d.Holds(ctx, 0, "")
	if err != nil || len(page.Items) != 1 || len(page.Items[0].Releases) != 0 {
		t.Errorf("after its end: %+v, %v", page.Items, err)
	}
	_ = wantCode(t, "not the one", second(d.DeleteHold(ctx, "26.6.2", answer.WriteOptions{IfMatch: `"old"`})), "precondition_failed")
	d.must(second(d.DeleteHold(ctx, "26.6.2", answer.WriteOptions{})))
	_ = wantCode(t, "deleted twice", second(d.DeleteHold(ctx, "26.6.2", answer.WriteOptions{})), "not_found")
}

// The pause withdraws all enforcement, keeps its beginning, and ends.
func TestPause(t *testing.T) {
	d := newDesk(t, fleetOf(3))
	ctx := t.Context()
	if _, err := d.put(calm, answer.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	enforced := func() bool { return d.Current().Plan(fleetOf(1)[0].PlanningMac(false, ""), testDay).Enforced() }
	if !enforced() {
		t.Fatal("nothing is enforced before the pause")
	}
	_, _, err := d.SetPause(ctx, "", answer.WriteOptions{})
	_ = wantCode(t, "no reason", err, "invalid")
	_, impact, err := d.SetPause(ctx, "incident", answer.WriteOptions{DryRun: true})
	if p, _ := d.Pause(ctx); err != nil || impact.TokensChanged != 3 || p.Paused {
		t.Errorf("a dry run: %+v, %v", impact, err)
	}
	d.must(third(d.SetPause(ctx, "incident", answer.WriteOptions{By: answer.Origin{Actor: "ada"}})))
	if p, _ := d.Pause(ctx); !p.Paused || p.By != "ada" || enforced() {
		t.Errorf("paused: %+v, enforced: %v", p, enforced())
	}
	d.o.Now = func() time.Time { return testDay.Add(time.Hour) }
	d.must(third(d.SetPause(ctx, "another reason", answer.WriteOptions{})))
	if p, _ := d.Pause(ctx); p.Reason != "another reason" || !p.Since.Equal(testDay) {
		t.Errorf("paused again: %+v", p)
	}
	d.must(third(d.ClearPause(ctx, answer.WriteOptions{})))
	if p, _ := d.Pause(ctx); p != (Pause{}) || !enforced() {
		t.Errorf("after the pause: %+v", p)
	}
}

func third[A, B any](_ A, _ B, err error) error { return err }

// A replica with an older book takes the newer one when it meets its revision, and repairs a book that lost its newest writes.
func TestBookFrom(t *testing.T) {
	a := newDesk(t, nil)
	b := deskOn(t, a.db, nil)
	if _, err := a.put(calm, answer.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	want := a.Current().Revision
	cur, err := b.BookFrom(t.Context(), b.Current().Revision)
	if err != nil || cur.Stored.Policy("calm") != nil {
		t.Errorf("the book was read although it is new enough: %v", err)
	}
	changes := b.changes
	if cur, err = b.BookFrom(t.Context(), want); err != nil || cur.Revision != want || cur.Stored.Policy("calm") == nil || b.changes != changes+1 {
		t.Errorf("revision %d, want %d; %d changes, %v", cur.Revision, want, b.changes-changes, err)
	}
	if cur, err = b.BookFrom(t.Context(), want+10); err != nil || cur.Revision <= want+10 || !strings.Contains(b.log.String(), "lost its newest writes") {
		t.Errorf("after a loss: revision %d, log %q, %v", cur.Revision, b.log.String(), err)
	}
	if err := b.ReloadBook(t.Context()); err != nil || b.changes != changes+2 {
		t.Errorf("the same book came into force again: %d changes, %v", b.changes-changes, err)
	}
	if err := b.UpdateBook(t.Context(), func(tx *storage.BookTx) error { return errors.New("no") }); err == nil || b.changes != changes+2 {
		t.Error("a write that failed changed the book")
	}
}

// What is checked against the book in force is checked again against the one that is written to.
func TestCheckedAgainInTheTransaction(t *testing.T) {
	a := newDesk(t, nil)
	ctx := t.Context()
	_, err := a.guard(ctx, answer.WriteOptions{Confirm: true}, func(book *storage.Book, _ *plan.Book) (change, error) {
		if book.Policy("calm") != nil {
			return change{}, answer.Conflict("exists", "somebody was quicker")
		}
		if a.Current().Stored.Policy("calm") == nil {
			if _, err := deskOn(t, a.db, nil).put(calm, answer.WriteOptions{}); err != nil && !strings.Contains(err.Error(), "exists") {
				return change{}, err
			}
		}
		return change{write: func(*storage.BookTx) error { t.Error("written"); return nil }}, nil
	})
	_ = wantCode(t, "a write that another replica overtook", err, "exists")
	if len(release.Snapshot().Releases) == 0 || a.Current().Catalog == nil {
		t.Error("there is no catalogue to plan with")
	}
}

// Two policies exchange their priorities; at the end of the list nothing changes.
func TestMovePolicy(t *testing.T) {
	d := newDesk(t, fleetOf(3))
	for _, p := range []string{
		`{"name":"low","priority":10,"updates":{"mode":"none"}}`, `{"name":"mid","priority":20,"updates":{"mode":"none"}}`,
		`{"name":"high","priority":30,"updates":{"mode":"automatic","within_days":14}}`,
	} {
		_, err := d.put(p, answer.WriteOptions{Confirm: true})
		d.must(err)
	}
	order := func() string {
		page, err := d.Policies(t.Context(), 10, "")
		d.must(err)
		slices.SortFunc(page.Items, func(a, b policy.Policy) int { return b.Priority - a.Priority })
		return fmt.Sprintf("%s %s %s", page.Items[0].Name, page.Items[1].Name, page.Items[2].Name)
	}
	if i, err := d.MovePolicy(t.Context(), "mid", true, answer.WriteOptions{DryRun: true}); err != nil || i.Devices != 3 || i.NoLongerAsked != 3 || order() != "high mid low" {
		t.Errorf("a dry run: %+v, %v, %s", i, err, order())
	}
	for _, move := range []struct {
		name string
		up   bool
		want string
	}{
		{"mid", true, "mid high low"}, {"mid", true, "mid high low"}, {"low", true, "mid low high"}, {"high", false, "mid low high"}, {"mid", false, "low mid high"},
	} {
		if _, err := d.MovePolicy(t.Context(), move.name, move.up, answer.WriteOptions{Confirm: true}); err != nil || order() != move.want {
			t.Errorf("%+v: %v, %s", move, err, order())
		}
	}
	_, err := d.MovePolicy(t.Context(), "none", true, answer.WriteOptions{})
	_ = wantCode(t, "a policy that is none", err, "not_found")
}

// While the store is away nothing is written and the book in force stays; when it is back, writing goes on.
func TestStoreIsAway(t *testing.T) {
	whole := newDesk(t, fleetOf(1))
	db := storagetest.Faulty(whole.db)
	d := deskOn(t, db, fleetOf(1))
	ctx := t.Context()
	if _, err := d.put(calm, answer.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	revision := d.Current().Revision
	db.Set(storagetest.Fault{Down: true})
	for name, write := range map[string]func() error{
		"a policy": func() error {
			return second(d.put(strings.Replace(calm, "90", "80", 1), answer.WriteOptions{Confirm: true}))
		},
		"a deletion": func() error { return second(d.DeletePolicy(ctx, "calm", answer.WriteOptions{})) },
		"a dry run":  func() error { return second(d.DeletePolicy(ctx, "calm", answer.WriteOptions{DryRun: true})) },
		"the pause":  func() error { return third(d.SetPause(ctx, "incident", answer.WriteOptions{})) },
		"a reload":   func() error { return d.ReloadBook(ctx) },
		"a newer":    func() error { return second(d.BookFrom(ctx, revision+1)) },
		"a repair":   func() error { return d.RaiseBook(ctx, revision+1) },
	} {
		if err := write(); !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if d.Current().Revision != revision || d.Current().Stored.Policy("calm") == nil {
		t.Error("the book in force changed")
	}
	db.Set(storagetest.Fault{})
	d.must(second(d.DeletePolicy(ctx, "calm", answer.WriteOptions{})))
}

// Two replicas that write at the same time lose nothing of each other's.
func TestTwoWriters(t *testing.T) {
	a := newDesk(t, nil)
	b := deskOn(t, a.db, nil)
	var work sync.WaitGroup
	for n, d := range []*desk{a, b} {
		work.Go(func() {
			for i := range 10 {
				if _, _, _, err := d.PutGroup(context.Background(), fmt.Sprint("g", n, "-", i), []string{"S"}, answer.WriteOptions{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	work.Wait()
	a.must(a.ReloadBook(t.Context()))
	b.must(b.ReloadBook(t.Context()))
	if x, y := len(a.Current().Stored.Groups), len(b.Current().Stored.Groups); x != 20 || y != 20 || a.Current().Revision != b.Current().Revision {
		t.Errorf("%d and %d groups", x, y)
	}
}

// Deadlines that are told by command are read in the server's zone when their policy has none (rules 14).
func TestTheServersZoneIsTheBooks(t *testing.T) {
	d := newDesk(t, fleetOf(1))
	if got := d.Current().Zone; got != d.o.Zone {
		t.Errorf("the book's zone is %v, the server's %v", got, d.o.Zone)
	}
	if _, err := d.put(sudden, answer.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := d.Current().Zone; got != d.o.Zone {
		t.Errorf("after a write the book's zone is %v, the server's %v", got, d.o.Zone)
	}
}
