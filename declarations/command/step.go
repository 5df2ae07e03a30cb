package command

import (
	"time"

	"plimsoll/declarations/release"
)

// The times of rules 14.
const (
	retryAfter    = 24 * time.Hour   // a download that failed, a refused command, an install that did not bring the version
	statusFirst   = 10 * time.Minute // from the acknowledged download to the first OSUpdateStatus
	statusEvery   = 3 * time.Hour
	notifyEvery   = 24 * time.Hour
	notifyBefore  = 24 * time.Hour // before the deadline, NotifyOnly whether cached or not
	installFrom   = time.Hour      // after the NotifyOnly that was acknowledged past the deadline
	installUntil  = 4 * time.Hour
	fetchWithin   = 15 * time.Minute // an install command that nobody fetched
	lostAfter     = 24 * time.Hour   // in contact and no answer
	queryAfter    = time.Hour        // from the acknowledged install command to the question for the version
	pushEvery     = 24 * time.Hour
	acknowledged  = "Acknowledged"
	notNow        = "NotNow"
	stateInstall  = "Installing"
	stateDownload = "Downloading"
	endTarget     = "target_changed"
	endVersion    = "version_changed"
	endLife       = "life_ended"
	endNotAsked   = "not_asked"
	endSatisfied  = "satisfied"
)

// Cause is why a course is looked at.
type Cause int

// The causes. Contact is a message of the Mac that asks for the next command (Idle) or any other check-in; Fetched and Answered
// belong to the command Event.UUID. Passing is everything else: time, a plan, a start of the server.
const (
	Passing Cause = iota
	Contact
	Fetched
	Answered
)

// Event is one cause with what belongs to it.
type Event struct {
	Cause  Cause
	UUID   string  // of the command that was fetched
	Answer *Answer // the answer that came
}

// Queue is a command to be queued.
type Queue struct {
	UUID    string
	Action  Action
	Version release.Version // of ScheduleOSUpdate's one item; empty for OSUpdateStatus
}

// Effects is what has to be done in the commit that keeps the course.
type Effects struct {
	Withdraw string // UUID of the command to take out of the queue, before Queue is put there; empty: none
	Queue    *Queue
	// Push wakes the Mac once the commit is durable.
	Push bool
	// Query: OSVersion and BuildVersion are to be asked, unless such a question waits already.
	Query bool
	// Odd: the answer was to no command that waits; it changed nothing.
	Odd bool
	// Ended is why a course ended; empty: none did.
	Ended string
	// NextAt is the next moment at which a Passing can have an effect; zero: none.
	NextAt time.Time
}

func (e *Effects) until(at time.Time) {
	if !at.IsZero() && (e.NextAt.IsZero() || at.Before(e.NextAt)) {
		e.NextAt = at
	}
}

// Step is the course after one event, and what has to be done (rules 14). It is pure: the same arguments give the same course and
// the same commands, UUIDs included. t is what the plan asks at now; nil ends the course.
func Step(c Course, t *Task, f Facts, now time.Time, ev Event) (Course, Effects) {
	now = now.UTC().Truncate(time.Second)
	var e Effects
	if c.Waiting != nil { // the caller's course is not written to
		w := *c.Waiting
		c.Waiting = &w
	}
	if t != nil && t.Version.Compare(f.Version) <= 0 {
		t = nil
	}
	if c.Active() && (t == nil || !c.follows(t, &f)) {
		e.Ended = c.ending(t, &f)
		e.Odd = ev.Cause == Answered
		c.withdraw(&e)
		c = Course{Number: c.Number}
		if ev.Cause == Answered || ev.Cause == Fetched {
			ev = Event{}
		}
	}
	if t == nil {
		e.Odd = ev.Cause == Answered || e.Odd
		return c, e
	}
	if !c.Active() {
		c = begin(c.Number, t, &f, now)
	}
	c.Deadline = t.Deadline
	inContact := c.take(ev, now, &e)
	c.expire(t, now, inContact, &e)
	if f.Told {
		c.advance(t, &f, now, inContact, &e)
	}
	c.ask(now, ev.Cause == Contact, &e)
	c.watch(t, now, &e)
	return c, e
}

func (c *Course) ending(t *Task, f *Facts) string {
	switch {
	case c.Life != f.Life:
		return endLife
	case f.Version.Compare(c.Version) >= 0:
		return endSatisfied
	case c.FromVersion != f.Version || c.FromBuild != f.Build:
		return endVersion
	case t != nil:
		return endTarget
	}
	return endNotAsked
}

// withdraw takes the waiting command back.
func (c *Course) withdraw(e *Effects) {
	if c.Waiting != nil {
		e.Withdraw, c.Waiting = c.Waiting.UUID, nil
	}
}

// take records the event, and tells whether the Mac would fetch now what is queued now.
func (c *Course) take(ev Event, now time.Time, e *Effects) bool {
	switch ev.Cause {
	case Contact:
		if c.Waiting != nil && c.Waiting.ContactAt.IsZero() {
			c.Waiting.ContactAt = now
		}
		return true
	case Fetched:
		if w := c.Waiting; w != nil && w.UUID == ev.UUID {
			first(&w.FetchedAt, now)
			first(&w.ContactAt, now)
			first(&c.FetchedAt, now)
		}
	case Answered:
		if ev.Answer == nil || c.Waiting == nil || c.Waiting.UUID != ev.Answer.UUID {
			e.Odd = true
			return false
		}
		return c.answered(ev.Answer, now, e)
	case Passing:
	}
	return false
}

func first(t *time.Time, now time.Time) {
	if t.IsZero() {
		*t = now
	}
}

// expire ends what waited too long, and what must not wait any more.
func (c *Course) expire(t *Task, now time.Time, inContact bool, e *Effects) {
	w := c.Waiting
	if w == nil {
		return
	}
	switch {
	case w.Action.Installs() && (now.Before(t.At()) || w.FetchedAt.IsZero() && !now.Before(w.QueuedAt.Add(fetchWithin))):
		c.withdraw(e)
	case inContact && !w.ContactAt.IsZero() && !now.Before(w.ContactAt.Add(lostAfter)):
		c.withdraw(e)
	}
}

// advance queues the command that is due, if one is.
func (c *Course) advance(t *Task, f *Facts, now time.Time, inContact bool, e *Effects) {
	action, at := c.due(t, now, inContact)
	e.until(at)
	if action == "" || !c.yields(action, t, now) {
		return
	}
	c.withdraw(e)
	c.Waiting = &Waiting{UUID: c.newUUID(f.ID), Action: action, QueuedAt: now}
	e.Queue = &Queue{UUID: c.Waiting.UUID, Action: action}
	if action != UpdateStatus {
		e.Queue.Version = t.Version
	}
	if inContact {
		c.Waiting.ContactAt = now
	} else {
		e.Push = true
	}
}

// yields tells whether the waiting command, if there is one, makes room for the action: past the deadline every other one does.
func (c *Course) yields(action Action, t *Task, now time.Time) bool {
	return c.Waiting == nil || !now.Before(t.At()) && c.Waiting.Action != action && !c.Waiting.Action.Installs()
}

// due is the action that is due now, or none and the moment at which one will be (zero: at a contact, or at an answer).
func (c *Course) due(t *Task, now time.Time, inContact bool) (Action, time.Time) {
	deadline := t.At()
	switch {
	case now.Before(deadline) && t.Lane == Patch:
		return c.prepare(deadline, now)
	case now.Before(deadline):
		return "", deadline
	}
	if again := c.InstallTry.Add(retryAfter); !c.InstallTry.Before(deadline) && now.Before(again) {
		return "", again
	}
	if t.Lane == Upgrade {
		return at(inContact, InstallASAP), time.Time{}
	}
	refused := c.NotifyTry.After(c.NotifiedAt) && !c.NotifyTry.Before(deadline)
	if again := c.NotifyTry.Add(retryAfter); refused && now.Before(again) {
		return "", again
	}
	switch {
	case !c.warned(deadline), now.After(c.NotifiedAt.Add(installUntil)):
		return at(inContact, NotifyOnly), time.Time{}
	case now.Before(c.NotifiedAt.Add(installFrom)):
		return "", c.NotifiedAt.Add(installFrom)
	}
	return at(inContact, InstallForceRestart), time.Time{}
}

func at(inContact bool, a Action) Action {
	if inContact {
		return a
	}
	return ""
}

// warned: the user was told since the deadline, and since the last install command.
func (c *Course) warned(deadline time.Time) bool {
	return !c.NotifiedAt.IsZero() && !c.NotifiedAt.Before(deadline) && c.NotifiedAt.After(c.InstallTry)
}

// prepare is the patch lane before its deadline: steps 2 to 4 of rules 14.
func (c *Course) prepare(deadline, now time.Time) (Action, time.Time) {
	next := Effects{NextAt: deadline}
	notifyFrom := deadline.Add(-notifyBefore)
	if c.Cached() || !now.Before(notifyFrom) {
		again := later(c.NotifiedAt, c.NotifyTry)
		if again.IsZero() || !now.Before(again.Add(notifyEvery)) {
			return NotifyOnly, time.Time{}
		}
		next.until(again.Add(notifyEvery))
	} else {
		next.until(notifyFrom)
	}
	if c.Cached() {
		return "", next.NextAt
	}
	action, when := DownloadOnly, c.DownloadTry
	switch {
	case !c.DownloadAt.IsZero() && c.StatusAt.Before(c.DownloadAt):
		action, when = UpdateStatus, c.DownloadAt.Add(statusFirst)
	case !c.DownloadAt.IsZero():
		action, when = UpdateStatus, c.StatusAt.Add(statusEvery)
	case !c.DownloadTry.IsZero():
		when = c.DownloadTry.Add(retryAfter)
	}
	if !now.Before(when) {
		return action, time.Time{}
	}
	next.until(when)
	return "", next.NextAt
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// ask has the version asked for: an hour after every acknowledged install command, and at every contact from the first such
// moment on.
func (c *Course) ask(now time.Time, contact bool, e *Effects) {
	if c.InstallAt.IsZero() {
		return
	}
	at := c.InstallAt.Add(queryAfter)
	passed := !now.Before(at)
	if passed && c.QueriedAt.Before(at) || contact && !now.Before(c.InstalledAny.Add(queryAfter)) {
		c.QueriedAt, e.Query = now, true
	}
	if !passed {
		e.until(at)
	}
}

// watch pushes at the deadline, an hour after the warning and after an install command, and then once a day.
func (c *Course) watch(t *Task, now time.Time, e *Effects) {
	if w := c.Waiting; w != nil && w.Action.Installs() && w.FetchedAt.IsZero() {
		e.until(w.QueuedAt.Add(fetchWithin))
	}
	deadline := t.At()
	if now.Before(deadline) {
		e.until(deadline)
		return
	}
	if !now.Before(c.nextPush(deadline)) {
		c.PushedAt, e.Push = now, true
	}
	e.until(c.nextPush(deadline))
}

// nextPush is the first moment after the last push, from the deadline on, at which the Mac is to be woken.
func (c *Course) nextPush(deadline time.Time) time.Time {
	if c.PushedAt.Before(deadline) {
		return deadline
	}
	next := c.PushedAt.Add(pushEvery)
	for _, at := range [...]time.Time{c.NotifiedAt.Add(installFrom), c.InstallAt.Add(queryAfter)} {
		if at.After(c.PushedAt) && at.Before(next) {
			next = at
		}
	}
	return next
}
