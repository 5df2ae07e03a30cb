package reconcile

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"plimsoll/declarations/command"
	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
	"plimsoll/status"
	"plimsoll/storage"
)

// old is a Mac below macOS 14 with its command queue, as a database keeps both; its log has what followed from each cause.
type old struct {
	*mac
	t       *testing.T
	waiting map[string]command.Action
	seen    map[string]bool
	log     []string
}

func newOld(t *testing.T, version, build string, book Book) *old {
	o := &old{mac: newMac(t, book), t: t, waiting: map[string]command.Action{}, seen: map[string]bool{}}
	o.do(Authenticate(status.CheckIn{UDID: macID, Serial: "S1", Model: "Mac14,2", Version: version, Build: build}))
	o.do(TokenUpdate("com.apple.mgmt.External.1"))
	return o
}

func (m *old) say(format string, args ...any) {
	m.log = append(m.log, m.now.Format("02 15:04 ")+fmt.Sprintf(format, args...))
}

// do makes a step, and does with the queue what it orders. The state of the commands comes back as the database has it.
func (m *old) do(cause Cause) Outcome {
	m.t.Helper()
	o := m.step(cause)
	if m.st.Commands != nil {
		b, err := json.Marshal(m.st.Commands)
		if err != nil {
			m.t.Fatal(err)
		}
		m.st.Commands = &command.State{}
		if err := json.Unmarshal(b, m.st.Commands); err != nil {
			m.t.Fatal(err)
		}
	}
	if uuid := o.Orders.Withdraw; uuid != "" {
		m.say("withdraw %s", m.waiting[uuid])
		delete(m.waiting, uuid)
	}
	if q := o.Orders.Queue; q != nil {
		if m.seen[q.UUID] || len(m.waiting) > 0 {
			m.t.Errorf("%s: %s is queued beside %v", m.now, q.UUID, m.waiting)
		}
		m.seen[q.UUID], m.waiting[q.UUID] = true, q.Action
		m.say("queue %s", strings.TrimSpace(string(q.Action)+" "+string(q.Version)))
	}
	for _, q := range o.Queries {
		m.say("ask %s %d", q.RequestType, len(q.Queries))
	}
	if o.Orders.Push {
		m.say("push")
	}
	if o.Orders.Odd {
		m.say("odd")
	}
	for _, e := range o.Events {
		m.say("event %s", e.Type)
	}
	return o
}

// told is the answer to the questions for the facts.
func (m *old) told(awaiting bool) {
	m.t.Helper()
	yes := true
	m.do(Answer(status.CheckIn{Version: string(m.st.Record.Facts.Version), Build: m.st.Record.Facts.Build}, command.Info{
		Board: "J413AP", AppleSilicon: &yes, Supervised: &yes, AwaitingConfiguration: &awaiting,
	}))
	m.do(Answer(status.CheckIn{}, command.Info{Secured: true, TokenAllowed: "disallowed", TokenRequired: &yes}))
}

func (m *old) uuid() string {
	for uuid := range m.waiting {
		return uuid
	}
	m.t.Helper()
	m.t.Fatalf("nothing waits:\n%s", strings.Join(m.log, "\n"))
	return ""
}

func (m *old) answer(a command.Answer) string {
	m.t.Helper()
	a.UUID = m.uuid()
	m.do(Fetched(a.UUID))
	if a.Status != "NotNow" {
		delete(m.waiting, a.UUID)
	}
	m.do(CommandAnswered(a))
	return a.UUID
}

func (m *old) wants(log ...string) {
	m.t.Helper()
	if !slices.Equal(m.log, log) {
		m.t.Errorf("what followed is\n%s\nwant\n%s", strings.Join(m.log, "\n"), strings.Join(log, "\n"))
	}
	m.log = nil
}

var acknowledged = command.Answer{Status: "Acknowledged"}

func minor(in *policy.Input) {
	days := 14
	in.Policies = append(in.Policies, policy.Stored{Policy: policy.Policy{
		Name: "auto", Priority: 1, OS: &policy.OS{Track: "current"}, Updates: &policy.Updates{Mode: "automatic", WithinDays: &days},
	}})
}

// The facts come first, the promise is kept with the course, and the user's notice is what makes it served.
func TestTheCourseOfAMac(t *testing.T) {
	m := newOld(t, "13.7.7", "22H722", bookOf(1, minor))
	m.wants("19 09:00 event enrolled", "19 09:00 event policy_changed", "19 09:00 event target_set")
	m.do(Polled())
	m.do(Polled()) // not again within 10 minutes
	m.wants("19 09:00 ask DeviceInformation 6", "19 09:00 ask SecurityInfo 0")
	m.told(true)
	m.now = m.now.Add(10 * time.Minute)
	m.do(Polled())
	m.wants("19 09:10 ask DeviceInformation 6", "19 09:10 ask SecurityInfo 0")
	m.told(false)
	m.wants("19 09:10 queue DownloadOnly 13.7.8", "19 09:10 push", "19 09:10 event update_command")
	deadline := m.st.Record.Summary.Deadline
	if deadline == 0 || m.st.Record.Lanes[0].Promise != deadline || m.st.Record.Lanes[0].Served != 0 {
		t.Errorf("deadline %s, lane %+v", deadline, m.st.Record.Lanes[0])
	}
	// Nobody noted that the push was made: it is made again.
	m.now = m.now.Add(time.Minute)
	m.do(Boundary())
	m.wants("19 09:11 push")
	m.do(Pushed(m.st.Record.Advertised, ""))
	m.now = m.now.Add(time.Hour)
	m.do(Boundary())
	m.wants()
	first := m.answer(acknowledged)
	m.wants("19 10:11 event phase", "19 10:11 event phase")
	m.do(CommandAnswered(command.Answer{UUID: first, Status: "Acknowledged"}))
	m.wants("19 10:11 odd")
	m.now = m.now.Add(10 * time.Minute)
	m.do(Boundary())
	m.answer(command.Answer{Status: "Acknowledged", Items: []command.Item{{Key: "MSU_UPDATE_22H730_patch_13.7.8_minor", Downloaded: true}}})
	m.wants("19 10:21 queue OSUpdateStatus", "19 10:21 push",
		"19 10:21 queue NotifyOnly 13.7.8", "19 10:21 event update_command", "19 10:21 event phase")
	m.answer(acknowledged)
	m.now = deadline.In(time.UTC)
	m.do(Boundary())
	m.do(Pushed(m.st.Record.Advertised, ""))
	m.do(Polled())
	m.answer(acknowledged)
	m.wants("25 12:00 ask DeviceInformation 2", "25 12:00 ask DeviceInformation 6", "25 12:00 ask SecurityInfo 0", "25 12:00 push",
		"25 12:00 event overdue", "25 12:00 queue NotifyOnly 13.7.8", "25 12:00 event update_command")
	if l := m.st.Record.Lanes[0]; l.Served != deadline {
		t.Errorf("the lane was served %s, want %s", l.Served, deadline)
	}
	m.now = m.now.Add(time.Hour)
	m.do(Polled())
	m.wants(m.now.Format("02 15:04 ")+"queue InstallForceRestart 13.7.8", m.now.Format("02 15:04 ")+"event update_command")
	m.book = bookOf(2, minor, paused)
	m.do(Look())
	m.wants(m.now.Format("02 15:04 ")+"withdraw InstallForceRestart", m.now.Format("02 15:04 ")+"event target_cleared",
		m.now.Format("02 15:04 ")+"event state")
}

// What ends a course withdraws the command that waits; a glance at the record alone finds nothing to do for a Mac that waits.
func TestTheEndsOfACourse(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(*old)
		want []string
	}{
		"a hold": {func(m *old) {
			m.book = bookOf(2, minor, func(in *policy.Input) {
				in.Holds = append(in.Holds, release.Hold{Subject: "13.7.8", Reason: "VPN", Since: testDay})
			})
			m.do(Look())
		}, []string{"withdraw DownloadOnly", "event target_cleared", "event state"}},
		"an exemption": {
			func(m *old) { m.do(Exempt(m.now.Add(24*time.Hour), "exam", "ada")) },
			[]string{"withdraw DownloadOnly", "event exempted", "event target_cleared"},
		},
		"a strict freeze": {func(m *old) {
			m.book = bookOf(2, minor, func(in *policy.Input) {
				day := release.DayOf(testDay)
				in.Freezes = append(in.Freezes, policy.Freeze{Name: "exams", From: day, To: day + 3, Reason: "exams", Strict: true})
			})
			m.do(Look())
		}, []string{"withdraw DownloadOnly"}},
		"the user updates": {
			func(m *old) { m.do(Answer(status.CheckIn{Version: "13.7.8", Build: "22H730"}, command.Info{})) },
			[]string{"withdraw DownloadOnly", "event updated", "event compliant"},
		},
		"the user upgrades": {
			func(m *old) { m.do(Answer(status.CheckIn{Version: "14.8.9", Build: "23J631"}, command.Info{})) },
			[]string{"withdraw DownloadOnly", "event updated", "event compliant"},
		},
		"it checks out":  {func(m *old) { m.do(CheckOut()) }, []string{"withdraw DownloadOnly", "event removed"}},
		"it stays as is": {func(m *old) { m.do(Look()) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			m := newOld(t, "13.7.7", "22H722", bookOf(1, minor))
			m.told(false)
			m.do(Pushed(m.st.Record.Advertised, ""))
			if Follows(m.st.Record, Memory{CanPush: true}, m.book, m.now) {
				t.Error("a glance finds something to do")
			}
			uuid := m.uuid()
			m.log = nil
			c.do(m)
			for i, line := range m.log {
				m.log[i] = line[len("19 09:00 "):]
			}
			m.wants(c.want...)
			if len(c.want) > 0 {
				m.do(CommandAnswered(command.Answer{UUID: uuid, Status: "Acknowledged"}))
				m.wants("19 09:00 odd")
			}
		})
	}
}

// A Mac on macOS 12 reports nothing and never calls by itself: it is asked and pushed when it enrols, and once a day.
func TestAskedOnceADay(t *testing.T) {
	m := newOld(t, "12.7.5", "21H1222", bookOf(1, minor))
	m.wants("19 09:00 ask DeviceInformation 6", "19 09:00 ask SecurityInfo 0", "19 09:00 push",
		"19 09:00 event enrolled", "19 09:00 event policy_changed", "19 09:00 event target_set")
	m.do(Pushed(m.st.Record.Advertised, ""))
	if m.st.Record.Told != "" {
		t.Error("it counts as notified of declarations")
	}
	if at := m.st.Record.NextAt; !at.Equal(m.now.Add(24 * time.Hour)) {
		t.Errorf("the next boundary is %s", at)
	}
	m.now = m.now.Add(24 * time.Hour)
	m.do(Boundary())
	m.wants("20 09:00 ask DeviceInformation 6", "20 09:00 ask SecurityInfo 0", "20 09:00 push")
}

// A commit that fails leaves neither the command nor the course; the same step made again queues the same command. A queue that
// takes no command leaves the course where it is.
func TestQueueAndCourseAreOneCommit(t *testing.T) {
	w := newWorld(t)
	w.book = bookOf(1, minor)
	w.change(Authenticate(status.CheckIn{UDID: macID, Serial: "S1", Model: "Mac14,2", Version: "13.7.7", Build: "22H722"}))
	w.change(TokenUpdate("com.apple.mgmt.External.1"))
	yes, no := true, false
	tell := Answer(status.CheckIn{}, command.Info{Board: "J413AP", AppleSilicon: &yes, AwaitingConfiguration: &no})
	updates := func() []string {
		return slices.DeleteFunc(slices.Clone(w.queue.sent), func(s string) bool { return !strings.HasPrefix(s, "update ") })
	}
	w.queue.err = errors.New("damaged")
	if _, err := w.Change(t.Context(), macID, tell); err == nil {
		t.Fatal("the command was not queued, and nobody was told")
	}
	if c := w.state().Commands; c != nil && c.Course.Waiting != nil {
		t.Errorf("half of a change was kept: %+v", c)
	}
	w.queue.err = fmt.Errorf("too many: %w", storage.ErrConflict)
	w.change(tell)
	st := w.state()
	if c := st.Commands; c == nil || !c.Inquiry.Answered || c.Course.Waiting != nil || !st.Record.NextAt.Equal(w.now.Add(retryFull)) {
		t.Errorf("a full queue: %+v, next at %s", c, st.Record.NextAt)
	}
	w.queue.err = nil
	w.now = w.now.Add(retryFull)
	w.change(Boundary())
	waits := w.state().Commands.Course.Waiting
	if waits == nil || !slices.Equal(updates(), []string{"update DownloadOnly " + waits.UUID}) || w.count.UpdateCommands.Load() != 1 {
		t.Errorf("waiting %+v, queued %q, counted %d", waits, w.queue.sent, w.count.UpdateCommands.Load())
	}
	w.change(Boundary())
	if again := w.state().Commands.Course.Waiting; again.UUID != waits.UUID || !slices.Equal(updates(), []string{"update DownloadOnly " + waits.UUID}) {
		t.Errorf("the same step again: %+v, queued %q", again, w.queue.sent)
	}
	w.change(CommandAnswered(command.Answer{UUID: "FOREIGN", Status: "Acknowledged"}))
	if w.count.OddAnswers.Load() != 1 || w.state().Commands.Course.Waiting == nil {
		t.Error("an answer to a command that was never sent is taken")
	}
}
