package command

import (
	"fmt"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"plimsoll/declarations"
	"plimsoll/declarations/release"
)

// mac plays one Mac against Step and writes down every command, state and reason, at wall times of its zone.
type mac struct {
	t      *testing.T
	now    time.Time
	zone   *time.Location
	course Course
	task   *Task
	facts  Facts
	token  Token
	next   time.Time
	phase  string
	lines  []string
	uuids  map[string]bool
}

func local(t *testing.T, s string) declarations.Local {
	t.Helper()
	l, err := declarations.ParseLocal(s)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// newMac is a Mac on a version since Monday 2026-11-02 08:00 in Berlin, asked for a target by Friday noon.
func newMac(t *testing.T, from release.Version, build string, lane Lane, to release.Version, target string) *mac {
	t.Helper()
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	m := &mac{
		t: t, zone: zone, uuids: map[string]bool{},
		now:   time.Date(2026, 11, 2, 8, 0, 0, 0, zone),
		facts: Facts{ID: "AAAAAAAA-0000-4000-8000-000000000001", Life: "1", Version: from, Build: build, Told: true},
		task:  &Task{Lane: lane, Version: to, Build: target, Deadline: local(t, "2026-11-06T12:00:00"), Zone: zone},
	}
	return m
}

func (m *mac) log(format string, args ...any) {
	m.lines = append(m.lines, m.now.In(m.zone).Format("02 15:04 ")+fmt.Sprintf(format, args...))
}

func (m *mac) step(ev Event) Effects {
	m.t.Helper()
	had := m.course.Waiting
	c, e := Step(m.course, m.task, m.facts, m.now, ev)
	if !e.NextAt.IsZero() && !e.NextAt.After(m.now) {
		m.t.Fatalf("at %s the next moment is %s", m.now, e.NextAt)
	}
	if e.Ended != "" {
		m.log("ended %s", e.Ended)
	}
	if e.Withdraw != "" {
		if had == nil || had.UUID != e.Withdraw {
			m.t.Fatalf("at %s a command is withdrawn that does not wait", m.now)
		}
		m.log("withdraw %s", had.Action)
	}
	if e.Queue != nil {
		if m.uuids[e.Queue.UUID] {
			m.t.Fatalf("at %s the UUID %s comes twice", m.now, e.Queue.UUID)
		}
		m.uuids[e.Queue.UUID] = true
		m.log("queue %s", strings.TrimSpace(string(e.Queue.Action)+" "+string(e.Queue.Version)))
	}
	if e.Query {
		m.log("query")
	}
	if e.Push {
		m.log("push")
	}
	if e.Odd {
		m.log("odd")
	}
	if p := c.Phase(); p != m.phase {
		m.phase = p
		m.log("phase %q", p)
	}
	m.course, m.next = c, e.NextAt
	return e
}

// at lets time pass to a day and time of November 2026; every boundary on the way is a step of its own.
func (m *mac) at(dayTime string) *mac {
	m.t.Helper()
	to, err := time.ParseInLocation("2006-01-02 15:04", "2026-11-"+dayTime, m.zone)
	if err != nil || to.Before(m.now) {
		m.t.Fatalf("%q: %v", dayTime, err)
	}
	for n := 0; !m.next.IsZero() && !m.next.After(to); n++ {
		if n > 1000 {
			m.t.Fatal("a thousand boundaries: the course does not come to rest")
		}
		m.now = m.next
		m.step(Event{})
	}
	m.now = to
	return m
}

func (m *mac) plan() *mac { m.step(Event{}); return m }

// contact is a check-in after which the Mac fetches the command that waits.
func (m *mac) contact() *mac {
	m.step(Event{Cause: Contact})
	return m.fetch()
}

func (m *mac) fetch() *mac {
	if w := m.course.Waiting; w != nil {
		m.step(Event{Cause: Fetched, UUID: w.UUID})
	}
	return m
}

// answer is the Mac's answer to the command that waits, after which it fetches the next.
func (m *mac) answer(a Answer) *mac {
	m.t.Helper()
	if m.course.Waiting == nil {
		m.t.Fatalf("at %s nothing waits to be answered:\n%s", m.now, strings.Join(m.lines, "\n"))
	}
	a.UUID = m.course.Waiting.UUID
	if a.Status == "" {
		a.Status = acknowledged
	}
	m.step(Event{Cause: Answered, Answer: &a})
	if a.Status != notNow {
		m.fetch()
	}
	return m
}

func (m *mac) ok() *mac     { m.t.Helper(); return m.answer(Answer{}) }
func (m *mac) notNow() *mac { m.t.Helper(); return m.answer(Answer{Status: notNow}) }

// result is an acknowledged answer with one item of UpdateResults.
func (m *mac) result(status string) *mac {
	m.t.Helper()
	return m.answer(Answer{Results: []Result{{Key: "MSU_UPDATE_" + m.task.Build + "_patch", Status: status}}})
}

// progress is an answer to OSUpdateStatus; a percentage below 0 stands for an empty list.
func (m *mac) progress(percent float64, downloaded bool) *mac {
	m.t.Helper()
	if percent < 0 {
		return m.answer(Answer{})
	}
	status := "Downloading"
	if downloaded {
		status = "Idle"
	}
	key := "MSU_UPDATE_" + m.task.Build + "_patch"
	return m.answer(Answer{Items: []Item{{Key: key, Percent: percent, Downloaded: downloaded, Status: status}}})
}

// updated is the Mac telling another version, after which the plan asks for nothing.
func (m *mac) updated(v release.Version, build string) *mac {
	m.facts.Version, m.facts.Build, m.task = v, build, nil
	m.step(Event{Cause: Contact})
	return m
}

func (m *mac) reasons() *mac {
	var codes []string
	for _, r := range m.course.Reasons(m.token) {
		codes = append(codes, r.Code)
	}
	m.log("reasons %s", strings.Join(codes, " "))
	return m
}

func (m *mac) idle() {
	m.t.Helper()
	if m.course.Active() || m.course.Waiting != nil || !m.next.IsZero() {
		m.t.Errorf("the course should have ended: %+v, next %s", m.course, m.next)
	}
}

func minor12(t *testing.T) *mac {
	t.Helper()
	return newMac(t, "12.7.5", "21H1222", Patch, "12.7.6", "21H1320")
}

func minor13(t *testing.T) *mac {
	t.Helper()
	return newMac(t, "13.7.2", "22H313", Patch, "13.7.3", "22H417")
}

// cached brings a Mac to a download that is complete on Monday at 09:00, and its first notification.
func (m *mac) cached() *mac {
	m.t.Helper()
	m.plan().contact().result("Downloading").at("02 08:10").contact().progress(0.2, false)
	m.at("02 11:10").contact().progress(1, true).ok()
	m.lines = nil
	return m
}

// Named courses of update commands. Each wants the whole sequence, so a command more or less fails it.
func TestScenarios(t *testing.T) {
	for _, c := range []struct {
		name string
		play func(t *testing.T) *mac
		want string
	}{
		{"a clean minor on 12", func(t *testing.T) *mac {
			m := minor12(t).plan().contact().result("Downloading").reasons()
			m.at("02 08:10").contact().progress(0.3, false)
			m.at("02 11:10").contact().progress(1, true).ok()
			m.at("03 11:10").contact().ok()
			m.at("04 11:10").contact().ok().at("05 11:10").contact().ok()
			m.at("06 12:00").contact().ok()
			m.at("06 13:00").contact().result("Installing")
			m.at("06 14:00").contact()
			m.at("06 14:01").updated("12.7.6", "21H1320").idle()
			return m
		}, `
02 08:00 queue DownloadOnly 12.7.6
02 08:00 push
02 08:00 phase "served"
02 08:00 phase "downloading"
02 08:00 reasons by_command
02 08:10 queue OSUpdateStatus
02 08:10 push
02 11:10 queue OSUpdateStatus
02 11:10 push
02 11:10 queue NotifyOnly 12.7.6
02 11:10 phase "prepared"
03 11:10 queue NotifyOnly 12.7.6
03 11:10 push
04 11:10 queue NotifyOnly 12.7.6
04 11:10 push
05 11:10 queue NotifyOnly 12.7.6
05 11:10 push
06 11:10 queue NotifyOnly 12.7.6
06 11:10 push
06 12:00 push
06 13:00 push
06 13:00 queue InstallForceRestart 12.7.6
06 13:00 phase "installing"
06 14:00 query
06 14:00 push
06 14:00 query
06 14:01 ended satisfied
06 14:01 phase ""
`},
		{"a clean minor on 13, downloads vanish: cached after two answers without progress", func(t *testing.T) *mac {
			m := minor13(t).plan().contact().ok()
			m.at("02 08:10").contact().progress(0.4, false)
			m.at("02 11:10").contact().progress(0.6, false)
			m.at("02 14:10").contact().progress(-1, false).ok()
			return m
		}, `
02 08:00 queue DownloadOnly 13.7.3
02 08:00 push
02 08:00 phase "served"
02 08:00 phase "active"
02 08:10 queue OSUpdateStatus
02 08:10 push
02 08:10 phase "downloading"
02 11:10 queue OSUpdateStatus
02 11:10 push
02 14:10 queue OSUpdateStatus
02 14:10 push
02 14:10 queue NotifyOnly 13.7.3
02 14:10 phase "prepared"
`},
		{"a major from 13 to 26: nothing before its deadline", func(t *testing.T) *mac {
			m := newMac(t, "13.7.8", "22H730", Upgrade, "26.6.2", "25G83").plan().contact()
			m.at("04 09:00").contact().reasons().at("06 11:59").contact()
			m.at("06 12:30").contact().result("Installing")
			m.at("06 13:30").contact()
			m.at("07 12:30").contact().result("Installing")
			m.at("07 13:00").contact()
			m.at("07 13:30").updated("26.6.2", "25G83").idle()
			return m
		}, `
04 09:00 reasons user_can_decline by_command
06 12:00 push
06 12:30 queue InstallASAP 26.6.2
06 12:30 phase "served"
06 12:30 phase "installing"
06 13:30 query
06 13:30 push
06 13:30 query
07 12:30 queue InstallASAP 26.6.2
07 12:30 query
07 13:00 query
07 13:30 query
07 13:30 push
07 13:30 ended satisfied
07 13:30 phase ""
`},
		{"asleep through the deadline, opened on Monday: an hour's notice", func(t *testing.T) *mac {
			m := minor13(t).cached()
			m.at("09 08:00").contact().ok().at("09 08:30").contact()
			m.at("09 09:00").contact().result("Installing")
			return m
		}, `
03 11:10 queue NotifyOnly 13.7.3
03 11:10 push
06 12:00 push
07 12:00 push
08 12:00 push
09 09:00 push
09 09:00 queue InstallForceRestart 13.7.3
09 09:00 phase "installing"
`},
		{"off for the three hours of the rule: notified again", func(t *testing.T) *mac {
			m := minor13(t).cached()
			m.at("06 12:00").contact().ok()
			m.at("06 16:01").contact().ok().at("06 17:01").contact().result("Installing")
			return m
		}, `
03 11:10 queue NotifyOnly 13.7.3
03 11:10 push
06 12:00 push
06 13:00 push
06 16:01 queue NotifyOnly 13.7.3
06 17:01 push
06 17:01 queue InstallForceRestart 13.7.3
06 17:01 phase "installing"
`},
		{"NotNow for three days", func(t *testing.T) *mac {
			m := minor12(t).plan().contact().notNow()
			m.at("03 08:30").contact().notNow().at("04 09:00").contact().notNow().at("05 09:30").contact().ok()
			return m
		}, `
02 08:00 queue DownloadOnly 12.7.6
02 08:00 push
02 08:00 phase "served"
02 08:00 phase "waiting"
05 09:30 phase "active"
`},
		{"NotNow to an install command withdraws it, and an hour is given again once the time is over", func(t *testing.T) *mac {
			m := minor12(t).cached()
			m.at("06 12:00").contact().ok().at("06 13:00").contact().notNow()
			m.at("06 13:30").contact().notNow().at("06 18:00").contact().ok().at("06 19:00").contact().ok()
			return m
		}, `
03 11:10 queue NotifyOnly 12.7.6
03 11:10 push
06 12:00 push
06 13:00 push
06 13:00 queue InstallForceRestart 12.7.6
06 13:00 withdraw InstallForceRestart
06 13:30 queue InstallForceRestart 12.7.6
06 13:30 withdraw InstallForceRestart
06 18:00 queue NotifyOnly 12.7.6
06 19:00 push
06 19:00 queue InstallForceRestart 12.7.6
06 19:00 phase "installing"
`},
		{"an install command that is not fetched within 15 minutes is withdrawn", func(t *testing.T) *mac {
			m := minor12(t).cached()
			m.at("06 12:00").contact().ok()
			m.at("06 13:00").step(Event{Cause: Contact})
			m.at("06 13:20")
			return m
		}, `
03 11:10 queue NotifyOnly 12.7.6
03 11:10 push
06 12:00 push
06 13:00 push
06 13:00 queue InstallForceRestart 12.7.6
06 13:15 withdraw InstallForceRestart
`},
		{"first start over a Mac months overdue: the plan's notice first, and no restart at once", func(t *testing.T) *mac {
			m := minor12(t) // the plan promises Friday, five days from the day of this version
			m.plan().contact().ok().at("05 12:00").contact().ok().ok()
			m.at("06 12:01").contact().ok().at("06 13:00").contact()
			m.at("06 13:01").contact().ok()
			return m
		}, `
02 08:00 queue DownloadOnly 12.7.6
02 08:00 push
02 08:00 phase "served"
02 08:00 phase "active"
02 08:10 queue OSUpdateStatus
02 08:10 push
05 12:00 queue NotifyOnly 12.7.6
05 15:00 queue OSUpdateStatus
05 15:00 push
06 12:00 push
06 12:01 withdraw OSUpdateStatus
06 12:01 queue NotifyOnly 12.7.6
06 13:01 push
06 13:01 queue InstallForceRestart 12.7.6
06 13:01 phase "installing"
`},
		{"the user updates in the middle, to another 13", func(t *testing.T) *mac {
			m := minor13(t).plan().contact().ok()
			m.at("03 09:00")
			m.facts.Version, m.facts.Build = "13.7.2", "22H400"
			m.step(Event{Cause: Contact})
			return m.fetch()
		}, `
02 08:00 queue DownloadOnly 13.7.3
02 08:00 push
02 08:00 phase "served"
02 08:00 phase "active"
02 08:10 queue OSUpdateStatus
02 08:10 push
03 09:00 ended version_changed
03 09:00 withdraw OSUpdateStatus
03 09:00 queue DownloadOnly 13.7.3
03 09:00 phase ""
03 09:00 phase "served"
`},
		{"upgraded to 14: declarations go on", func(t *testing.T) *mac {
			m := minor13(t).plan().contact().ok().at("03 09:00").updated("14.7", "23H124")
			m.idle()
			return m
		}, `
02 08:00 queue DownloadOnly 13.7.3
02 08:00 push
02 08:00 phase "served"
02 08:00 phase "active"
02 08:10 queue OSUpdateStatus
02 08:10 push
03 09:00 ended satisfied
03 09:00 withdraw OSUpdateStatus
03 09:00 phase ""
`},
		{"the target is replaced during a download: again at 1, the late answer counts for nothing", func(t *testing.T) *mac {
			m := minor13(t).plan().contact()
			late := m.course.Waiting.UUID
			m.at("02 09:00")
			next := *m.task
			next.Version, next.Build = "13.7.4", "22H420"
			m.task = &next
			m.step(Event{Cause: Answered, Answer: &Answer{UUID: late, Status: acknowledged}})
			m.at("02 09:01").contact().ok()
			return m
		}, `
02 08:00 queue DownloadOnly 13.7.3
02 08:00 push
02 08:00 phase "served"
02 09:00 ended target_changed
02 09:00 withdraw DownloadOnly
02 09:00 queue DownloadOnly 13.7.4
02 09:00 push
02 09:00 odd
02 09:00 phase ""
02 09:01 phase "served"
02 09:01 phase "active"
`},
		{"a hold or a pause in the middle, and on again", func(t *testing.T) *mac {
			m := minor13(t).cached().at("06 12:00").contact().ok().at("06 13:00")
			m.step(Event{Cause: Contact})
			task := m.task
			m.task = nil
			m.at("06 13:05").plan().idle()
			m.at("07 09:00")
			m.task = task
			return m.contact()
		}, `
03 11:10 queue NotifyOnly 13.7.3
03 11:10 push
06 12:00 push
06 13:00 push
06 13:00 queue InstallForceRestart 13.7.3
06 13:05 ended not_asked
06 13:05 withdraw InstallForceRestart
06 13:05 phase ""
07 09:00 queue NotifyOnly 13.7.3
07 09:00 push
07 09:00 phase "served"
`},
		{"a delay moves the deadline: the install command that waits is withdrawn", func(t *testing.T) *mac {
			m := minor13(t).cached().at("06 12:00").contact().ok().at("06 13:00")
			m.step(Event{Cause: Contact})
			later := *m.task
			later.Deadline = local(t, "2026-11-06T15:00:00")
			m.task = &later
			m.at("06 13:01").contact()
			m.at("06 15:00").contact().ok().at("06 16:00").contact().ok()
			return m
		}, `
03 11:10 queue NotifyOnly 13.7.3
03 11:10 push
06 12:00 push
06 13:00 push
06 13:00 queue InstallForceRestart 13.7.3
06 13:01 withdraw InstallForceRestart
06 15:00 push
06 15:00 queue NotifyOnly 13.7.3
06 16:00 push
06 16:00 queue InstallForceRestart 13.7.3
06 16:00 phase "installing"
`},
		{"disk full", func(t *testing.T) *mac {
			m := minor13(t).plan().contact().result("DownloadInsufficientSpace").reasons()
			m.at("03 08:00").contact().ok().reasons()
			return m
		}, `
02 08:00 queue DownloadOnly 13.7.3
02 08:00 push
02 08:00 phase "served"
02 08:00 phase "failed"
02 08:00 reasons failure_disk by_command
03 08:00 queue DownloadOnly 13.7.3
03 08:00 push
03 08:00 phase "active"
03 08:00 reasons by_command
`},
		{"on battery at the deadline: failing, and again a day later", func(t *testing.T) *mac {
			m := minor13(t).cached().at("06 12:00").contact().ok()
			m.at("06 13:00").contact().result("InstallInsufficientPower").reasons()
			m.at("07 12:59").contact().at("07 13:00").contact().ok().at("07 14:00").contact().ok()
			return m
		}, `
03 11:10 queue NotifyOnly 13.7.3
03 11:10 push
06 12:00 push
06 13:00 push
06 13:00 queue InstallForceRestart 13.7.3
06 13:00 phase "failed"
06 13:00 reasons failure_battery by_command
06 14:00 query
06 14:00 push
07 12:59 query
07 13:00 queue NotifyOnly 13.7.3
07 13:00 query
07 13:00 phase "prepared"
07 14:00 push
07 14:00 queue InstallForceRestart 13.7.3
07 14:00 query
07 14:00 phase "installing"
`},
		{"token required but not allowed", func(t *testing.T) *mac {
			m := minor13(t)
			m.token = Token{AppleSilicon: true, Escrowed: true, Answered: true, Required: true, Allowed: "disallowed"}
			return m.plan().reasons()
		}, `
02 08:00 queue DownloadOnly 13.7.3
02 08:00 push
02 08:00 reasons user_must_authorize by_command
`},
		{"a command is lost: again under a new UUID", func(t *testing.T) *mac {
			m := minor13(t).plan().contact().at("02 20:00").contact().at("03 07:59").contact()
			return m.at("03 08:00").contact().ok()
		}, `
02 08:00 queue DownloadOnly 13.7.3
02 08:00 push
02 08:00 phase "served"
03 08:00 withdraw DownloadOnly
03 08:00 queue DownloadOnly 13.7.3
03 08:00 phase "active"
`},
		{"a Mac that is off loses nothing, and nothing is cached", func(t *testing.T) *mac {
			m := minor13(t).plan().contact().ok().at("04 18:00").contact()
			return m
		}, `
02 08:00 queue DownloadOnly 13.7.3
02 08:00 push
02 08:00 phase "served"
02 08:00 phase "active"
02 08:10 queue OSUpdateStatus
02 08:10 push
`},
		{"an answer twice is taken once", func(t *testing.T) *mac {
			m := minor13(t).plan().contact()
			a := Answer{UUID: m.course.Waiting.UUID, Status: acknowledged}
			m.step(Event{Cause: Answered, Answer: &a})
			m.step(Event{Cause: Answered, Answer: &a})
			return m
		}, `
02 08:00 queue DownloadOnly 13.7.3
02 08:00 push
02 08:00 phase "served"
02 08:00 phase "active"
02 08:00 odd
`},
		{"nothing before DeviceInformation is answered", func(t *testing.T) *mac {
			m := minor13(t)
			m.facts.Told = false
			m.plan().contact().at("03 08:00").contact()
			m.facts.Told = true
			return m.plan()
		}, `
03 08:00 queue DownloadOnly 13.7.3
03 08:00 push
`},
		{"past the deadline NotifyOnly takes the place of a waiting download", func(t *testing.T) *mac {
			m := minor13(t).plan()
			return m.at("06 12:30").contact()
		}, `
02 08:00 queue DownloadOnly 13.7.3
02 08:00 push
06 12:00 push
06 12:30 withdraw DownloadOnly
06 12:30 queue NotifyOnly 13.7.3
06 12:30 phase "served"
`},
		{"a refused command is tried again a day later", func(t *testing.T) *mac {
			m := minor13(t).plan().contact().answer(Answer{Status: "Error", Faults: []Fault{{
				Code: 74, Domain: "MDMClientError",
				Text: "Command requires DEP enrollment: ScheduleOSUpdate <MDMClientError:74>",
			}}}).reasons()
			return m.at("03 08:00")
		}, `
02 08:00 queue DownloadOnly 13.7.3
02 08:00 push
02 08:00 phase "served"
02 08:00 phase "failed"
02 08:00 reasons install_failed by_command
03 08:00 queue DownloadOnly 13.7.3
03 08:00 push
`},
		{"a new life begins anew", func(t *testing.T) *mac {
			m := minor13(t).plan().contact()
			m.facts.Life, m.facts.Told = "2", false
			return m.at("03 08:00").contact()
		}, `
02 08:00 queue DownloadOnly 13.7.3
02 08:00 push
02 08:00 phase "served"
03 08:00 ended life_ended
03 08:00 withdraw DownloadOnly
03 08:00 phase ""
`},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := c.play(t)
			if got, want := strings.Join(m.lines, "\n"), strings.TrimSpace(c.want); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}
