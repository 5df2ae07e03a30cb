package sim

import (
	"context"
	"errors"
	"fmt"
	"time"

	"plimsoll/declarations"
)

// The values of softwareupdate.install-state.
const (
	stateNone        = "none"
	stateWaiting     = "waiting"
	stateDownloading = "downloading"
	statePrepared    = "prepared"
	stateInstalling  = "installing"
	stateFailed      = "failed"
)

// install is an update under way. Nothing is under way while ID is empty.
type install struct {
	State string `json:"state,omitempty"` // empty: not begun
	ID    string `json:"id,omitempty"`    // of the declaration
	Local string `json:"local,omitempty"` // its deadline
	OS    OS     `json:"os,omitzero"`     // what the Mac will run then
	BSI   bool   `json:"bsi,omitempty"`

	NextAt  time.Time `json:"next_at,omitzero"`  // when the next stage begins by itself
	StartAt time.Time `json:"start_at,omitzero"` // when the user, or the deadline, lets it install

	Failures int       `json:"failures,omitempty"`
	FailText string    `json:"fail_text,omitempty"`
	FailedAt time.Time `json:"failed_at,omitzero"`
}

func (in *install) state() string {
	if in.State == "" {
		return stateNone
	}
	return in.State
}

// schedule makes what is under way agree with what is wanted.
func (m *Mac) schedule() {
	in := &m.st.Install
	if in.State == stateInstalling {
		return // past the point of no return
	}
	t, ok := m.wanted()
	switch {
	case !ok:
		if in.ID != "" {
			m.log("nothing to install any more")
			*in = install{}
			m.st.Owed = true
		}
	case in.ID == t.id && in.OS == t.os:
		if in.Local != t.local {
			in.Local = t.local
			if d := m.deadline(t.local); in.StartAt.After(d) {
				in.StartAt = d
			}
			m.st.Owed = true
		}
	default:
		*in = install{ID: t.id, OS: t.os, BSI: t.bsi, Local: t.local, NextAt: m.now().Add(m.stage())}
		in.StartAt = m.startOf(m.deadline(t.local))
		m.st.Owed = true
		m.log("will install %s, from %s, deadline %s", t.os, in.StartAt.UTC().Format(time.RFC3339), t.local)
	}
}

// startOf is when the user lets an update install: an eager one after a few stages, another at a time of their own or
// not before the deadline. After a deadline macOS waits for less than an hour.
func (m *Mac) startOf(deadline time.Time) time.Time {
	now := m.now()
	switch {
	case m.Faults.OffAtDeadline && deadline.After(now):
		return deadline
	case m.st.Spec.Eager:
		return now.Add(m.chance(2*m.opt.Pace, 4*m.opt.Pace))
	case !deadline.After(now):
		return now.Add(m.chance(0, time.Hour))
	case m.chance(0, 10) < 3:
		return deadline
	}
	return now.Add(m.chance(0, deadline.Sub(now)))
}

// stage is how long a stage of an update lasts.
func (m *Mac) stage() time.Duration {
	if m.st.Spec.Eager {
		return m.chance(m.opt.Pace/2, m.opt.Pace)
	}
	return m.chance(5*time.Minute, 45*time.Minute)
}

// errNothing is the answer to a step of an install that nothing asked for.
var errNothing = errors.New("there is nothing to install")

// to moves the install from one of the given states to the next.
func (m *Mac) to(next string, from ...string) error {
	in := &m.st.Install
	if in.ID == "" {
		return errNothing
	}
	for _, f := range from {
		if in.state() == f {
			in.State = next
			m.st.Owed = true
			m.log("%s: %s", next, in.OS)
			return nil
		}
	}
	return fmt.Errorf("an install that is %s cannot become %s", in.state(), next)
}

// Wait makes the Mac report that the update waits to be downloaded.
func (m *Mac) Wait() error { return m.to(stateWaiting, stateNone, stateFailed) }

// StartDownload begins the download.
func (m *Mac) StartDownload() error {
	return m.to(stateDownloading, stateNone, stateWaiting, stateFailed)
}

// FinishDownload prepares the update: it can be installed now.
func (m *Mac) FinishDownload() error { return m.to(statePrepared, stateDownloading) }

// StartInstall begins the install. The Mac restarts; FinishInstall or FailInstall end it.
func (m *Mac) StartInstall() error { return m.to(stateInstalling, statePrepared) }

// FailInstall ends an install, or any earlier stage, with Apple's text.
func (m *Mac) FailInstall(text string) error {
	if err := m.to(stateFailed, stateWaiting, stateDownloading, statePrepared, stateInstalling); err != nil {
		return err
	}
	in := &m.st.Install
	in.Failures++
	in.FailText, in.FailedAt = text, m.wall()
	m.stats.Failures.Add(1)
	return nil
}

// FinishInstall restarts the Mac into what it installed. The declaration that asked for it stays until the server takes
// it away; some Macs reject it then.
func (m *Mac) FinishInstall() error {
	in := m.st.Install
	if in.State != stateInstalling {
		return fmt.Errorf("an install that is %s cannot be finished", in.state())
	}
	if in.BSI {
		m.stats.BSIs.Add(1)
	} else {
		m.stats.Updates.Add(1)
	}
	m.st.Install = install{}
	if m.st.Spec.Recheck {
		for key, h := range m.st.Held {
			if h.Type == declarations.TypeEnforcement {
				h.Judged = false
				m.st.Held[key] = h
			}
		}
	}
	m.SetOS(in.OS)
	return nil
}

// live lets what is due by the clock happen, one stage at a time.
func (m *Mac) live(ctx context.Context) error {
	now := m.now()
	if at := m.st.ReEnrolAt; m.Faults.ReEnrols && !at.IsZero() && !now.Before(at) {
		m.Faults.ReEnrols = false
		m.Erase()
		return m.Enrol(ctx)
	}
	// It moves while the server waits for the update that it asked for, or, when none is asked for, some time later.
	if at := m.st.UpdateOwnAt; m.Faults.UpdatesItself && (m.st.Install.State == stateWaiting || !at.IsZero() && !now.Before(at)) {
		m.Faults.UpdatesItself = false
		if r, ok := m.opt.World.newest(m.st.Spec.Hardware.Board, 0); ok && r.Version.Compare(m.st.OS.Version) > 0 {
			m.stats.Updates.Add(1)
			m.SetOS(OS{Version: r.Version, Build: r.Build})
			return nil
		}
	}
	if at := m.st.BSISince; m.Faults.RemovesBSI && !at.IsZero() && !now.Before(at.Add(4*m.opt.Pace)) {
		m.Faults.RemovesBSI = false
		return m.RemoveBSI()
	}
	return m.advance(now)
}

// advance begins the next stage of the install when it is time.
func (m *Mac) advance(now time.Time) error {
	in := &m.st.Install
	if in.ID == "" {
		return nil
	}
	deadline := m.deadline(in.Local)
	if m.Faults.OffAtDeadline && !now.Before(deadline.Add(-time.Hour)) {
		m.Faults.OffAtDeadline = false
		m.SwitchOff(max(deadline.Add(26*time.Hour).Sub(now), 26*time.Hour))
		return nil
	}
	if now.Before(in.NextAt) && (in.State != statePrepared || now.Before(deadline)) {
		return nil
	}
	switch in.state() {
	case stateNone, stateFailed:
		in.NextAt = now.Add(m.stage())
		return m.Wait()
	case stateWaiting:
		in.NextAt = now.Add(max(m.stage(), m.Faults.SlowDownload))
		return m.StartDownload()
	case stateDownloading:
		in.NextAt = in.StartAt
		return m.FinishDownload()
	case statePrepared:
		in.NextAt = now.Add(m.stage())
		return m.StartInstall()
	case stateInstalling:
		if m.Faults.FailInstalls == 0 {
			return m.FinishInstall()
		}
		if m.Faults.FailInstalls > 0 {
			m.Faults.FailInstalls--
		}
		text := m.Faults.FailText
		if text == "" {
			text = BatteryText
		}
		in.NextAt = now.Add(3 * m.stage())
		return m.FailInstall(text)
	}
	return nil
}
