// Package reconcile changes one Mac for one cause: a pure Step says what follows, and a transaction around it makes it so.
package reconcile

import (
	"strconv"
	"time"

	"plimsoll/declarations"
	"plimsoll/declarations/command"
	"plimsoll/declarations/plan"
	"plimsoll/status/compliance"
	"plimsoll/storage"
	"plimsoll/storage/beside"
)

// Book is the desired state that a Step plans with. It is not changed.
type Book struct {
	*plan.Book
	// SelfURL is the address of the Mac's own page as its declarations carry it; nil: none.
	SelfURL func(*storage.Record) string
	Zone    *time.Location // in which zone-less deadlines are read for "overdue"; nil: UTC
	// NotBefore is the earliest timestamp of an advertisement; zero: any. A Mac may have seen later ones than a backup has that
	// was restored, and they must not go back: what was advertised before is advertised anew.
	NotBefore time.Time
}

func (b *Book) plan(rec *storage.Record, fromDevice bool, now time.Time) *plan.Plan {
	url := ""
	if b.SelfURL != nil {
		url = b.SelfURL(rec)
	}
	return b.Plan(rec.PlanningMac(fromDevice, url), now)
}

// Memory is what this replica knows of a Mac beside the database.
type Memory struct {
	Contact time.Time // the last contact; zero: none
	Back    time.Time // the contact that ended a silence; zero: none did
	// Next and InHand are the tokens of a push that is still to come, and of one that is under way; empty: none.
	Next, InHand string
	// CanPush: there is a push certificate, as far as is known.
	CanPush bool
}

// State is everything that a Step knows of a Mac.
type State struct {
	ID            string
	storage.State // as it is stored; Record is nil for a Mac that is not known
	Memory
	// Beside are the dates of its life, when another server is its MDM (rules 16).
	Beside beside.Life
	// NoQueue: NanoMDM has forgotten the Mac, because somebody is deleting it: no command can be queued. NoRoom: the queue is full.
	NoQueue, NoRoom bool
}

// Outcome is what follows from a cause.
type Outcome struct {
	ID            string
	storage.State // what the Mac is now; Record is a copy
	Plan          *plan.Plan
	Beside        beside.Life
	// Dropped: what was seen of the Mac is older than what is known, so that it counts for nothing (rules 16).
	Dropped bool
	// Nothing: the cause changed nothing, so that nothing else was looked at.
	Nothing bool
	// ClearLife: merged status, manifest and what else belongs to a life go.
	ClearLife bool
	Report    *storage.KeptReport // to be kept, and Status with it
	Served    bool                // the plan's declarations become the manifest
	Queries   []Query             // commands to be queued that ask something
	// Orders are what is told by command: what to withdraw and to queue, and whether to wake the Mac for that (rules 14).
	Orders command.Orders
	// Notify: a command to sync is to be queued, and the Mac to be woken.
	Notify bool
	// Events are those of the timeline, without ids.
	Events []compliance.Event
	// Write: the record is to be written. Share: the other replicas are to learn of it.
	Write, Share bool
	Raised       bool // the server itself raised the generation

	event   command.Event // what the course of the Mac's commands learns by the cause
	retryAt time.Time     // when to try again what the queue took not; zero: nothing
	life    bool          // a new life begins
	begins  bool          // as after a cause of the kind Begins
	full    bool          // the queue took no command
	again   bool          // it was advertised before a restore, and is advertised anew
}

// Step says what follows for a Mac from a cause: it plans, keeps the advertisement if it differs (rules 7), judges,
// notifies (rules 10), and finds the events. It is pure.
func Step(st State, cause Cause, book Book, now time.Time) (Outcome, error) {
	o := Outcome{ID: st.ID, State: st.State, Beside: st.Beside}
	if st.Record != nil {
		rec := *st.Record
		o.Record = &rec
		o.contacts(&st.Memory)
	}
	changed, err := cause.apply(&o, now)
	if err != nil || !changed {
		o.Nothing = true
		return o, err
	}
	if o.begins {
		cause.Kind = Begins
	}
	o.lapse(&book, now)
	o.advertise(cause.Kind, &book, now)
	if cause.Kind != Glancing { // the course is not at hand
		o.drive(&st, now)
	}
	verdict := o.judge(&st, &book, now)
	o.Record.NextAt = o.nextAt()
	if cause.Kind == Glancing {
		o.keepReported(st.Record)
	}
	if verdict.AskVersion && o.Record.Facts.Enrolled {
		o.Queries = append(o.Queries, versionQueries)
	}
	o.notify(cause.Kind, &st, now)
	if cause.Kind != Begins && cause.Kind != Glancing { // TokenUpdate tells of an enrolment; a glance tells nobody
		after := snapshot(o.State, now)
		after.Reasons = verdict.Reasons
		o.Events = append(o.Events, compliance.Events(snapshot(st.State, lookedAt(st.Record, now)), after)...)
	}
	o.decide(&st, cause.Kind, book.Revision, now)
	return o, nil
}

// contacts brings the record up to date with the contacts in memory.
func (o *Outcome) contacts(m *Memory) {
	if m.Contact.After(o.Record.Facts.LastContactAt) {
		o.Record.Facts.LastContactAt = m.Contact
	}
	if m.Back.After(o.Record.BackAt) {
		o.Record.BackAt = m.Back
	}
}

// newLife clears what a new life clears. The advertisement's timestamp and the generation only ever grow.
func (o *Outcome) newLife() {
	var old storage.Record
	if o.Record != nil {
		old = *o.Record
	}
	o.life = true
	o.Record = &storage.Record{
		Facts: old.Facts.NewLife(), Life: old.Life + 1, Generation: old.Generation, RaisedAt: old.RaisedAt,
		AdvertisedAt: old.AdvertisedAt, Book: old.Book, Reports: old.Reports, Events: old.Events, Revision: old.Revision,
	}
	o.Record.Facts.ID = o.ID
	o.Status, o.Manifest, o.Failure = nil, nil, nil
	if o.Commands != nil {
		o.Commands = &command.State{Course: o.Commands.Course} // which ends with the life
	}
}

// raise lets the Mac sync although nothing changed.
func (o *Outcome) raise(now time.Time) {
	o.Record.Generation++
	o.Record.RaisedAt = now
	o.Raised = true
}

// advertise plans, keeps the plan as the advertisement if it differs (rules 7), and makes it the manifest when the Mac asks
// for its items.
func (o *Outcome) advertise(kind Kind, book *Book, now time.Time) {
	rec := o.Record
	o.Plan = book.plan(rec, kind.asks(&rec.Facts), now)
	rec.Lanes = o.Plan.NextLanes
	if again := rec.AdvertisedAt.Before(book.NotBefore); again || o.Plan.Token != rec.Advertised {
		if o.again = again; again { // what is queued has the old timestamp
			rec.Told = ""
		}
		rec.Advertised = o.Plan.Token
		rec.Book = book.Revision
		if again {
			rec.AdvertisedAt = book.NotBefore
		}
		rec.AdvertisedAt = declarations.NextTimestamp(rec.AdvertisedAt, now)
	}
	if kind != Items {
		return
	}
	rec.Told, rec.ToldAt, rec.Tries = "", time.Time{}, 0
	rec.Lanes = rec.Lanes.MarkServed(o.Plan)
	if rec.Manifest == rec.Advertised && o.Manifest != nil {
		return
	}
	o.commandTaken("DeclarativeManagement")
	o.Served = true
	rec.Manifest, rec.ServedAt = rec.Advertised, now
	o.Manifest = &declarations.Manifest{
		DeclarationsToken: rec.Advertised, Timestamp: rec.AdvertisedAt, Items: declarations.ItemsOf(o.Plan.Declarations),
		ServedAt: now,
	}
}

func (o *Outcome) judge(st *State, book *Book, now time.Time) compliance.Verdict {
	var before compliance.Summary
	if st.Record != nil && !o.life {
		before = st.Record.Summary
	}
	v := compliance.Judge(compliance.Input{
		Mac: o.Record.PlanningMac(false, ""), Plan: o.Plan, Index: book.Index, Status: o.Status, Manifest: o.Manifest,
		Now: now, Zone: book.Zone, Before: before, Push: o.Record.PushError(), Failure: o.Failure, ToldAt: o.Record.OutstandingSince(),
		Commands: o.course(),
	})
	o.Record.Summary = v.Summary
	return v
}

// notify decides whether a command is queued: the Mac holds something else than is planned, and is not notified of that
// already (rules 10).
func (o *Outcome) notify(kind Kind, st *State, now time.Time) {
	rec := o.Record
	if kind.fromDevice() || kind == Noting || !rec.Facts.Enrolled {
		return
	}
	token := rec.Advertised
	// A Mac that holds nothing and is to hold nothing, because its macOS is too old for declarations, is notified of nothing.
	if token == rec.Manifest || rec.Manifest == "" && len(o.Plan.Declarations) == 0 {
		rec.Told, rec.ToldAt, rec.Tries = "", time.Time{}, 0
		return
	}
	// Nothing is outstanding any more when the push failed. The sweep does not look at a Mac for that alone: it has patience.
	outstanding := rec.Told == token && (rec.Push == "" || kind == Glancing) &&
		now.Before(rec.ToldAt.Add(storage.Patience(rec.Tries)))
	waiting := !o.again && (st.Next == token || st.InHand == token)
	if st.NoQueue || kind != SyncNow && (outstanding || waiting) {
		return
	}
	o.Notify = true
	if !st.CanPush {
		o.notified(now)
		return
	}
	// It is noted after the push, so that a crash in between notifies the Mac again.
	if rec.Told != token {
		rec.Tries = 0
	}
}

// notified notes that the Mac was notified of what is advertised.
func (o *Outcome) notified(now time.Time) {
	rec := o.Record
	if rec.Told != rec.Advertised {
		rec.Tries = 0
	}
	rec.Told, rec.ToldAt = rec.Advertised, now
	rec.Tries++
}

// retryFull is after how long commands are tried again for which the Mac's queue had no room.
const retryFull = 10 * time.Minute

// noteEvery is how far the times of contact and report that other replicas know may be behind.
const noteEvery = 6 * time.Hour

// decide says whether the record is written, and whether the others are to learn of it.
func (o *Outcome) decide(st *State, kind Kind, revision uint64, now time.Time) {
	rec, before := o.Record, st.Record
	news := before == nil || len(o.Events) > 0 || o.life
	same := (*storage.Record).Same
	if kind == Polling {
		same = sameButTimes
	}
	changed := news || !same(rec, before)
	if !changed && kind != AtBoundary && o.Commands == st.Commands {
		return
	}
	o.Write = true
	rec.LookedAt = now
	if o.Share = changed && (news || now.Sub(rec.NotedAt) >= noteEvery || !sameButTimes(before, rec)); o.Share {
		rec.NotedAt = now
	}
	rec.Events += len(o.Events)
	rec.Book = revision // what is written was made from this book: none that is older may replace it (rules 7)
	for i := range o.Events {
		o.Events[i].At = now
		o.Events[i].Device, o.Events[i].Serial = rec.Facts.ID, rec.Facts.Serial
	}
}

// lookedAt is when the Mac was last looked at: what time alone changed since then makes events too.
func lookedAt(before *storage.Record, now time.Time) time.Time {
	if before == nil || before.LookedAt.IsZero() {
		return now
	}
	return before.LookedAt
}

// sameButTimes compares records but for the times of contact and report, which every report changes.
func sameButTimes(a, b *storage.Record) bool {
	x, y := *a, *b
	for _, r := range []*storage.Record{&x, &y} {
		r.Facts.LastContactAt, r.Facts.LastReportAt, r.NotedAt, r.Reports = time.Time{}, time.Time{}, time.Time{}, 0
	}
	return x.Same(&y)
}

func snapshot(st storage.State, now time.Time) compliance.Snapshot {
	if st.Record == nil {
		return compliance.Snapshot{Now: now}
	}
	return compliance.Snapshot{
		Summary: st.Record.Summary, Facts: &st.Record.Facts, Life: st.Record.Life, Token: st.Record.Manifest, Now: now,
	}
}

// before is the state of the commands as it is; never nil.
func (o *Outcome) before() *command.State {
	if o.Commands == nil {
		return &command.State{}
	}
	return o.Commands
}

// commands is a copy of the state of the commands, to be changed.
func (o *Outcome) commands() *command.State {
	s := *o.before()
	return &s
}

// drive steps what is told to the Mac by command (rules 14), after the plan and before the verdict on it.
func (o *Outcome) drive(st *State, now time.Time) {
	rec := o.Record
	if o.Commands == nil && !Commanded(&rec.Facts) {
		return
	}
	if st.NoQueue || st.NoRoom {
		o.retryAt = now.Add(retryFull)
		return
	}
	m := command.Mac{
		Facts: command.Facts{ID: rec.Facts.ID, Life: strconv.Itoa(rec.Life), Version: rec.Facts.Version, Build: rec.Facts.Build},
		Asked: Commanded(&rec.Facts), CanPush: st.CanPush, Pushing: st.Next != "" || st.InHand != "",
	}
	if rec.Facts.Enrolled {
		m.Task = command.TaskOf(o.Plan)
	}
	was := o.before()
	next, orders := was.Drive(m, now, o.event)
	c := &next.Course
	if !c.NotifiedAt.Equal(was.Course.NotifiedAt) || !c.InstallAt.Equal(was.Course.InstallAt) {
		rec.Lanes = rec.Lanes.MarkCommanded(o.Plan)
	}
	o.Orders = orders
	switch o.Commands = &next; {
	case next.Same(&command.State{}):
		o.Commands = nil
	case st.Commands != nil && next.Same(st.Commands):
		o.Commands = st.Commands
	}
	if orders.Inquire {
		o.Queries = append(o.Queries, Query{deviceInformation, command.DeviceQueries}, Query{"SecurityInfo", nil})
	}
	if orders.Query {
		o.Queries = append(o.Queries, versionQueries)
	}
	if q := orders.Queue; q != nil && q.Action != command.UpdateStatus {
		what := string(q.Action) + " of macOS " + string(q.Version)
		o.say(compliance.EventUpdateCommand, "The Mac is told by command: "+what+".", map[string]any{
			"action": string(q.Action), "uuid": q.UUID, "version": q.Version, "build": c.Build, "deadline_local": c.Deadline,
		})
	}
}

// course is that of the Mac's commands, and who authorises what they install.
func (o *Outcome) course() compliance.Commands {
	s := o.before()
	return compliance.Commands{Course: &s.Course, Token: s.Token(&o.Record.Facts)}
}

// CourseOf is the course of a Mac as it is stored.
func CourseOf(st *storage.State) compliance.Commands {
	o := Outcome{State: *st}
	return o.course()
}
