package reconcile

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"plimsoll/declarations"
	"plimsoll/declarations/command"
	"plimsoll/declarations/plan"
	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
	"plimsoll/status"
	"plimsoll/status/compliance"
	"plimsoll/storage"
)

// testDay is a Wednesday, two days after 26.6.2 was posted.
var testDay = time.Date(2026, 8, 19, 9, 0, 0, 0, time.UTC)

const macID = "MAC-1"

// bookOf is a book with the built-in catalogue and these policies.
func bookOf(revision uint64, change ...func(*policy.Input)) Book {
	in := policy.Input{Revision: revision, Catalog: release.Snapshot()}
	for _, c := range change {
		c(&in)
	}
	compiled, err := plan.Compile(in)
	if err != nil {
		panic(err)
	}
	return Book{Book: compiled}
}

func automatic(days int) func(*policy.Input) {
	return func(in *policy.Input) {
		in.Policies = append(in.Policies, policy.Stored{Policy: policy.Policy{
			Name: "auto", Priority: 1, Updates: &policy.Updates{Mode: "automatic", WithinDays: &days},
		}})
	}
}

func paused(in *policy.Input) { in.Pause = &release.Pause{Reason: "incident", Since: testDay} }

func held(in *policy.Input) {
	in.Holds = append(in.Holds, release.Hold{Subject: "26.6.2", Reason: "VPN", Since: testDay})
}

func reportOf(t interface{ Fatal(...any) }, body string) *status.Report {
	r, err := status.Parse([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// full is the report of a MacBook Air (M2) with a version, which can do everything.
func full(version, build string) string {
	return fmt.Sprintf(`{"StatusItems":{"device":{"identifier":{"serial-number":"S1"},"model":{"identifier":"Mac14,2"},
		"operating-system":{"version":%q,"build-version":%q}},"softwareupdate":{"device-id":"J413AP"},
		"management":{"client-capabilities":{"supported-versions":["1.0.0"],"supported-features":{},"supported-payloads":{"declarations":{
		"activations":["com.apple.activation.simple"],"assets":[],"management":[],"configurations":[
		"com.apple.configuration.management.status-subscriptions","com.apple.configuration.softwareupdate.enforcement.specific",
		"com.apple.configuration.softwareupdate.settings"]},
		"status-items":["device.operating-system.version","device.operating-system.build-version","softwareupdate.device-id",
		"softwareupdate.install-state","management.declarations"]}}}},"Errors":[],"FullReport":true}`, version, build)
}

// mac is one Mac through several steps, as a database without faults would keep it.
type mac struct {
	t    interface{ Fatal(...any) }
	st   State
	book Book
	now  time.Time
}

func newMac(t interface{ Fatal(...any) }, book Book) *mac {
	return &mac{t: t, st: State{ID: macID, Memory: Memory{CanPush: true}}, book: book, now: testDay}
}

// step makes a step and keeps what is to be written.
func (m *mac) step(cause Cause) Outcome {
	o, err := Step(m.st, cause, m.book, m.now)
	if err != nil {
		m.t.Fatal(cause.Kind, err)
	}
	if o.Write {
		b, err := o.Record.Encode()
		if err != nil {
			m.t.Fatal(err)
		}
		if m.st.Record, err = storage.DecodeRecord(b); err != nil {
			m.t.Fatal(err)
		}
	}
	m.st.Commands = o.Commands
	if o.Report != nil || o.ClearLife {
		m.st.Status = o.Status
	}
	if o.Served || o.ClearLife {
		m.st.Manifest = o.Manifest
	}
	return o
}

// enrol enrols the Mac with 26.5, which has synced and reported.
func enrol(t interface{ Fatal(...any) }, book Book) *mac {
	m := newMac(t, book)
	m.step(Authenticate(status.CheckIn{UDID: macID, Serial: "S1", Model: "Mac14,2", Version: "26.5", Build: "25F71"}))
	m.step(TokenUpdate("com.apple.mgmt.External.1"))
	m.step(Report(reportOf(t, full("26.5", "25F71"))))
	m.step(AsksTokens())
	m.step(AsksItems())
	return m
}

func types(o Outcome) (names []string) {
	for _, e := range o.Events {
		names = append(names, e.Type)
	}
	return names
}

// Each cause on each state of a Mac: whether it is refused, ignored or written, whether the Mac is notified, and which events it makes.
func TestStep(t *testing.T) {
	empty, auto := bookOf(1), bookOf(2, automatic(90))
	unknown := func(t *testing.T) *mac { return newMac(t, empty) }
	begun := func(t *testing.T) *mac {
		m := newMac(t, empty)
		m.step(Authenticate(status.CheckIn{UDID: macID, Serial: "S1", Model: "Mac14,2", Version: "26.5", Build: "25F71"}))
		return m
	}
	idle := func(t *testing.T) *mac { return enrol(t, empty) }
	targeted := func(t *testing.T) *mac { m := enrol(t, empty); m.book = auto; return m }
	notified := func(t *testing.T) *mac {
		m := targeted(t)
		m.step(Look())
		m.step(Pushed(m.st.Record.Advertised, ""))
		return m
	}
	failed := func(t *testing.T) *mac {
		m := targeted(t)
		m.step(Look())
		m.step(Pushed(m.st.Record.Advertised, "BadDeviceToken"))
		return m
	}
	gone := func(t *testing.T) *mac { m := idle(t); m.step(CheckOut()); return m }
	report := func(v, b string) Cause { return Report(reportOf(t, full(v, b))) }
	const refused, nothing, written = "refused", "nothing", "written"
	for _, c := range []struct {
		name   string
		mac    func(*testing.T) *mac
		cause  Cause
		want   string
		notify bool
		events []string
	}{
		{"an unknown Mac asks", unknown, AsksTokens(), refused, false, nil},
		{"an unknown Mac reports", unknown, report("26.5", "25F71"), refused, false, nil},
		{"an unknown Mac checks out", unknown, CheckOut(), nothing, false, nil},
		{"the sweep looks at a Mac that is gone from the store", unknown, Look(), nothing, false, nil},
		{"an unknown Mac escrows", unknown, BootstrapToken(true), nothing, false, nil},
		{"an admin wants an unknown Mac to sync", unknown, Sync("ada"), refused, false, nil},
		{"TokenUpdate without Authenticate", unknown, TokenUpdate("com.apple.mgmt.External.1"), written, true, []string{"enrolled"}},
		{"Authenticate", unknown, Authenticate(status.CheckIn{Serial: "S1"}), written, false, nil},
		{"a Mac that has only authenticated asks", begun, AsksItems(), refused, false, nil},
		{"TokenUpdate completes the enrolment", begun, TokenUpdate("com.apple.mgmt.External.1"), written, true, []string{"enrolled"}},
		{"the first look", idle, Look(), nothing + " written", false, nil},
		{"the same question", idle, AsksTokens(), nothing + " written", false, nil},
		{"the same items", idle, AsksItems(), nothing + " written", false, nil},
		{"TokenUpdate again", idle, TokenUpdate("com.apple.mgmt.External.1"), nothing, false, nil},
		{"a boundary at which nothing happens", idle, Boundary(), written, false, nil},
		{"the token is escrowed", idle, BootstrapToken(true), written, false, nil},
		{"the token is missing still", idle, BootstrapToken(false), nothing, false, nil},
		{"an answer that says nothing new", idle, Answer(status.CheckIn{Version: "26.5", Build: "25F71"}, command.Info{}), nothing, false, nil},
		{"an update", idle, report("26.6", "25G72"), written, false, []string{"updated"}},
		{"an admin wants a sync", idle, Sync("ada"), written, true, []string{"sync_requested"}},
		{"the end of the enrolment", idle, CheckOut(), written, false, []string{"removed"}},
		{"a Mac that checked out asks", gone, AsksTokens(), refused, false, nil},
		{"a Mac that checked out enrols again", gone, TokenUpdate("com.apple.mgmt.External.1"), written, true, []string{"re_enrolled"}},
		{"a new policy", targeted, Look(), written, true, []string{"policy_changed", "target_set"}},
		{"a new policy, and the Mac asks by itself", targeted, AsksTokens(), written, false, []string{"policy_changed", "target_set"}},
		{"a new policy, and the Mac takes it", targeted, AsksItems(), written, false, []string{"policy_changed", "target_set", "manifest_served"}},
		{"it is notified already", notified, Look(), nothing + " written", false, nil},
		{"it is notified, and an admin wants it again", notified, Sync("ada"), written, true, []string{"sync_requested"}},
		{"it answers the command with an error", notified, CommandFailed(status.CommandFailure{RequestType: "DeclarativeManagement", Status: "Error"}), written, false, []string{"command_failed"}},
		{"it takes what it was notified of", notified, AsksItems(), written, false, []string{"manifest_served"}},
		{"the same push again", notified, Pushed("", ""), nothing, false, nil},
		{"a push failed, and something changes", failed, BootstrapToken(true), written, true, nil},
		{"a push failed, and a new push token comes", failed, TokenUpdate("com.apple.mgmt.External.1"), written, true, nil},
		{"a push failed, and it answers an old command", failed, CommandFailed(status.CommandFailure{RequestType: "DeclarativeManagement", Status: "Error"}), written, false, []string{"command_failed"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := c.mac(t)
			before := m.st
			o, err := Step(m.st, c.cause, m.book, m.now)
			got := written
			switch {
			case errors.As(err, new(NotEnrolled)):
				got = refused
			case err != nil:
				t.Fatal(err)
			case o.Nothing:
				got = nothing
			case !o.Write:
				got = nothing + " written"
			}
			if got != c.want || o.Notify != c.notify || !slices.Equal(types(o), c.events) {
				t.Errorf("%s, notified %v, events %v; want %s, %v, %v", got, o.Notify, types(o), c.want, c.notify, c.events)
			}
			if o.Write != (o.Share || c.cause.Kind == AtBoundary || c.cause.Kind == Noting) && len(c.events) > 0 {
				t.Errorf("written %v, shared %v", o.Write, o.Share)
			}
			if before.Record != nil && o.Record != nil && before.Record == o.Record {
				t.Error("the record is no copy")
			}
		})
	}
}

// What a Mac is notified of, step by step (rules 10): once, again with patience, at once where no push is possible or the last one failed.
func TestNotifying(t *testing.T) {
	auto := bookOf(2, automatic(90))
	for _, c := range []struct {
		name    string
		prepare func(*mac)
		after   time.Duration
		cause   Cause
		notify  bool
		tries   int
	}{
		{"first", func(*mac) {}, 0, Look(), true, 0},
		{"while the push waits", func(m *mac) { m.step(Look()); m.st.Next = m.st.Record.Advertised }, 0, Look(), false, 0},
		{"while the push is under way", func(m *mac) { m.step(Look()); m.st.InHand = m.st.Record.Advertised }, 0, Look(), false, 0},
		{"while a push for something else waits", func(m *mac) { m.st.Next = "other" }, 0, Look(), true, 0},
		{"before 4 h", pushedOnce, 4*time.Hour - time.Second, Boundary(), false, 1},
		{"after 4 h", pushedOnce, 4 * time.Hour, Boundary(), true, 1},
		{"no push is possible", func(m *mac) { m.st.CanPush = false }, 0, Look(), true, 1},
		{"no push is possible, again", func(m *mac) { m.st.CanPush = false; m.step(Look()) }, time.Hour, Look(), false, 1},
		{"the push failed", func(m *mac) { m.step(Look()); m.step(Pushed(m.st.Record.Advertised, "bad")) }, 0, Look(), true, 1},
		{"NanoMDM has forgotten it", func(m *mac) { m.st.NoQueue = true }, 0, Look(), false, 0},
		{"the Mac itself asks", func(*mac) {}, 0, AsksTokens(), false, 0},
		{"a push is noted", func(*mac) {}, 0, Pushed("", "bad"), false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := enrol(t, bookOf(1))
			m.book = auto
			c.prepare(m)
			m.now = m.now.Add(c.after)
			o := m.step(c.cause)
			if o.Notify != c.notify || m.st.Record.Tries != c.tries {
				t.Errorf("notified %v after %d tries, want %v after %d", o.Notify, m.st.Record.Tries, c.notify, c.tries)
			}
		})
	}
}

func pushedOnce(m *mac) {
	m.step(Look())
	m.step(Pushed(m.st.Record.Advertised, ""))
}

// Contacts in memory go into the record with the next change, and a return from silence is an event; a new life has its own.
func TestContacts(t *testing.T) {
	m := enrol(t, bookOf(1, automatic(90)))
	m.now = testDay.AddDate(0, 0, 9)
	m.step(Boundary())
	m.st.Contact, m.st.Back = m.now, m.now
	if o := m.step(Look()); !o.Record.Facts.LastContactAt.Equal(m.now) || !o.Record.BackAt.Equal(m.now) || !slices.Contains(types(o), "back") {
		t.Errorf("last contact %v, back at %v, events %v", o.Record.Facts.LastContactAt, o.Record.BackAt, types(o))
	}
	m.now = m.now.Add(time.Hour)
	if o := m.step(CheckOut()); !o.Record.BackAt.IsZero() || o.Status != nil || o.Manifest != nil || !o.ClearLife || o.Record.Life != 2 {
		t.Errorf("a new life begins with %+v", o.Record)
	}
}

// A Mac whose reports have stopped is asked to sync, with a generation that only grows.
func TestRaising(t *testing.T) {
	m := enrol(t, bookOf(1, automatic(90)))
	generation := m.st.Record.Generation
	for range 40 { // it is in contact every day, and reports nothing
		m.now = m.now.AddDate(0, 0, 1)
		m.st.Contact = m.now
		if o := m.step(Look()); o.Raised {
			if o.Record.Generation != generation+1 || !o.Notify || !slices.ContainsFunc(o.Queries, func(q Query) bool { return slices.Equal(q.Queries, versionQueries.Queries) }) {
				t.Errorf("raised to %d from %d, notified %v, asked %v", o.Record.Generation, generation, o.Notify, o.Queries)
			}
			return
		}
	}
	t.Error("the server never asked")
}

// An oversized reason of APNs is cut, and a report is kept under its number.
func TestWhatIsKept(t *testing.T) {
	m := enrol(t, bookOf(1))
	m.book = bookOf(2, automatic(90))
	m.step(Look())
	o := m.step(Pushed(m.st.Record.Advertised, string(make([]byte, 1000))))
	if len(o.Record.Push) != maxFailure {
		t.Errorf("%d bytes of the reason are kept", len(o.Record.Push))
	}
	o = m.step(Report(reportOf(t, full("26.6", "25G72"))))
	if o.Report == nil || o.Report.Number != 2 || o.Record.Reports != 2 || !o.Report.ReceivedAt.Equal(m.now) || !o.Report.Full {
		t.Errorf("the report is kept as %+v", o.Report)
	}
	delayed := plan.Delayed{Hours: 1, Until: declarations.LocalAt(testDay, 0)}
	if o = m.step(Delay(delayed, compliance.Event{Type: "delayed"})); o.Record.Delayed == nil || *o.Record.Delayed != delayed || types(o)[0] != "delayed" {
		t.Errorf("the delay is %+v, events %v", o.Record.Delayed, types(o))
	}
	if o = m.step(Wish(plan.Wish{Major: 27, At: m.now}, compliance.Event{Type: "upgrade_requested"})); o.Record.Wish == nil || o.Record.Wish.Major != 27 {
		t.Errorf("the wish is %+v", o.Record.Wish)
	}
	for _, e := range o.Events {
		if e.Device != macID || e.Serial != "S1" || !e.At.Equal(m.now) || e.ID != "" {
			t.Errorf("the event %+v", e)
		}
	}
}

// books and next are books that a Mac may live under, compiled once.
var (
	books = []Book{
		bookOf(1), bookOf(2, automatic(90)), bookOf(3, automatic(10)), bookOf(4, automatic(30), held), bookOf(5, automatic(30), paused), bookOf(6, held),
	}
	next = []Book{bookOf(11), bookOf(12, automatic(90)), bookOf(13, automatic(10)), bookOf(14, held, automatic(30)), bookOf(15, automatic(30), paused)}
)

// random makes a Mac with a random history, and the book that it lived under last.
func random(t *rapid.T) *mac {
	m := newMac(t, books[0])
	versions := [][2]string{{"26.5", "25F71"}, {"26.6", "25G72"}, {"26.6.2", "25G83"}, {"15.7.7", "24G720"}, {"26.99", "25Z99"}}
	version := func() [2]string { return rapid.SampledFrom(versions).Draw(t, "version") }
	for n := range rapid.IntRange(1, 12).Draw(t, "steps") {
		m.now = m.now.Add(time.Duration(rapid.IntRange(0, 200).Draw(t, "hours")) * time.Hour)
		m.book = books[max(rapid.IntRange(0, len(books)-1).Draw(t, "book"), slices.IndexFunc(books, func(b Book) bool { return b.Revision >= m.book.Revision }))]
		m.st.CanPush = rapid.Bool().Draw(t, "can push")
		enrolled := m.st.Record != nil && m.st.Record.Facts.Enrolled
		switch kind := rapid.IntRange(0, 9).Draw(t, "cause"); {
		case n == 0 || kind == 0:
			v := version()
			m.step(Authenticate(status.CheckIn{UDID: macID, Serial: "S1", Model: "Mac14,2", Version: v[0], Build: v[1]}))
			m.step(TokenUpdate("com.apple.mgmt.External.1"))
		case !enrolled || kind == 1:
			m.step(TokenUpdate("com.apple.mgmt.External.1"))
		case kind == 2:
			v := version()
			m.step(Report(reportOf(t, full(v[0], v[1]))))
		case kind == 3:
			failing := rapid.SampledFrom([]string{"none", "downloading", "failed", "installing"}).Draw(t, "state")
			m.step(Report(reportOf(t, fmt.Sprintf(`{"StatusItems":{"softwareupdate":{"install-state":%q,"failure-reason":{"count":2,"reason":"x","timestamp":"2026-08-20T00:00:00Z"}}},"Errors":[]}`, failing))))
		case kind == 4:
			m.step(AsksItems())
		case kind == 5:
			m.step(Pushed(m.st.Record.Advertised, rapid.SampledFrom([]string{"", "bad"}).Draw(t, "failed")))
		case kind == 6:
			m.step(CommandFailed(status.CommandFailure{RequestType: "DeclarativeManagement", Status: "Error"}))
		case kind == 7:
			m.step(BootstrapToken(rapid.Bool().Draw(t, "escrowed")))
		case kind == 8:
			m.st.Contact = m.now
			m.step(Look())
		default:
			m.step(CheckOut())
		}
	}
	return m
}

// A look at a Mac for which nothing changed does nothing: neither a second one, nor a glance.
func TestUnchangedMacs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := random(t)
		if o := m.step(Boundary()); o.Notify {
			m.step(Pushed(m.st.Record.Advertised, ""))
		}
		if rec := m.st.Record; rec.Facts.Enrolled {
			m.step(Look())
			o := m.step(Look())
			if o.Write || o.Notify || len(o.Events) > 0 || len(o.Queries) > 0 {
				t.Errorf("a second look writes %v, notifies %v, events %v, queries %v:\n%+v\n%+v", o.Write, o.Notify, types(o), o.Queries, rec, o.Record)
			}
		}
		if rec := m.st.Record; rec.Facts.Enrolled && Follows(rec, m.st.Memory, m.book, m.now) {
			o, err := Step(m.st, Look(), m.book, m.now)
			t.Errorf("a glance finds something; a look writes %v, notifies %v (%v):\n%+v\n%+v", o.Write, o.Notify, err, rec.Summary, o.Record.Summary)
		}
	})
}

// Where a look would change the plan, the target, the dates or the advertisement, or notify the Mac, a glance at the record alone says so.
func TestGlanceMissesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := random(t)
		m.book = rapid.SampledFrom(next).Draw(t, "next book")
		rec := m.st.Record
		if rec == nil || !rec.Facts.Enrolled || Follows(rec, m.st.Memory, m.book, m.now) {
			return
		}
		m.st.Contact, m.st.Back = time.Time{}, time.Time{}
		o, err := Step(m.st, Look(), m.book, m.now)
		if err != nil {
			t.Fatal(err)
		}
		a, b := &rec.Summary, &o.Record.Summary
		if o.Record.Advertised != rec.Advertised || o.Record.Lanes != rec.Lanes || !o.Record.NextAt.Truncate(time.Second).Equal(rec.NextAt) ||
			!samePlan(a, b) || o.Notify && rec.Push == "" {
			t.Errorf("a glance finds nothing, and a look notifies %v:\n%+v\n%+v", o.Notify, a, b)
		}
	})
}

// A Mac that asks is answered from its record alone exactly when the whole step would change nothing of what it is answered.
func TestAnswered(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := random(t)
		if m.st.Record == nil || !m.st.Record.Facts.Enrolled {
			return
		}
		if rapid.Bool().Draw(t, "asked before") {
			m.step(AsksItems())
		}
		for _, cause := range []Cause{AsksTokens(), AsksItems()} {
			a, quiet := Answered(m.st.Record, m.st.Memory, cause, m.book, m.now)
			o, err := Step(m.st, cause, m.book, m.now)
			if err != nil {
				t.Fatal(err)
			}
			if quiet && (a.Token != o.Record.Advertised || !a.At.Equal(o.Record.AdvertisedAt) || o.Served || o.Record.Manifest != m.st.Record.Manifest) {
				t.Errorf("%s are answered with %s, and the step has %s, served %v", cause.Kind, a.Token, o.Record.Advertised, o.Served)
			}
			if !quiet && o.Record.Advertised == m.st.Record.Advertised && !o.Served && o.Record.Lanes == m.st.Record.Lanes && o.Record.Told == m.st.Record.Told {
				t.Errorf("%s needed a whole step for nothing", cause.Kind)
			}
		}
	})
}

// Steps are pure: the same state, cause, book and time have the same outcome, and the state stays as it was.
func TestPure(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := random(t)
		if m.st.Record == nil {
			return
		}
		before := *m.st.Record
		for _, cause := range []Cause{Look(), Boundary(), BootstrapToken(true), Pushed(before.Advertised, "bad"), CommandFailed(status.CommandFailure{RequestType: "DeclarativeManagement", Status: "Error"}), CheckOut(), TokenUpdate("com.apple.mgmt.External.1")} {
			a, errA := Step(m.st, cause, m.book, m.now)
			b, errB := Step(m.st, cause, m.book, m.now)
			if errA != errB || a.Write != b.Write || a.Notify != b.Notify || fmt.Sprint(types(a)) != fmt.Sprint(types(b)) || !a.Record.Same(b.Record) {
				t.Errorf("two steps for one cause differ:\n%+v\n%+v", a.Record, b.Record)
			}
			if !m.st.Record.Same(&before) || m.st.Record.Revision != before.Revision {
				t.Error("a step changed the state that it was given")
			}
		}
	})
}
