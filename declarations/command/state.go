package command

import (
	"reflect"
	"time"

	"plimsoll/declarations/plan"
	"plimsoll/status"
)

// pushAgain is after how long a push is made again of which nobody noted that it was made: its replica may have died.
const pushAgain = time.Minute

// State is everything that is remembered of a Mac that declarations may not reach. It is kept with the Mac, in the same commit as
// the commands that follow from it, so that a crash neither loses nor doubles one. The zero value: nothing.
type State struct {
	Course  Course  `json:"c,omitzero"`
	Inquiry Inquiry `json:"q,omitzero"`
	// PushAt is when a push was asked for that nobody has noted as made yet, UTC; zero: none.
	PushAt time.Time `json:"p,omitzero"`
}

// Same tells whether two states say the same.
func (s *State) Same(o *State) bool { return reflect.DeepEqual(s, o) }

// Token is what decides who authorises an update of the Mac.
func (s *State) Token(f *status.Facts) Token {
	q := &s.Inquiry
	return Token{
		AppleSilicon: f.AppleSilicon == status.Yes, Escrowed: f.BootstrapToken,
		Answered: q.Secured, Required: q.TokenRequired, Allowed: q.TokenAllowed,
	}
}

// TaskOf is what a plan asks by command; nil when it asks nothing so.
func TaskOf(p *plan.Plan) *Task {
	if !p.Enforced() || p.Mechanism != plan.ByCommand || p.Frozen != nil {
		return nil
	}
	return &Task{
		Lane: Lane(p.Lane.String()), Version: p.Target.Version, Build: p.Target.Build, Deadline: p.Deadline, Zone: p.Zone,
	}
}

// Mac is a Mac that is driven: what the plan asks of it, its facts, and what its replica knows.
type Mac struct {
	Task  *Task
	Facts Facts
	// Asked: its facts are to be asked for, because it is an enrolled Mac below macOS 14.
	Asked bool
	// CanPush: there is a push certificate. Pushing: a push is to come or under way.
	CanPush, Pushing bool
}

// Orders is what has to be done in the commit that keeps the State.
type Orders struct {
	Effects
	// Inquire: DeviceInformation with DeviceQueries, and SecurityInfo, are to be asked for.
	Inquire bool
}

// Drive is the state after one event, and what has to be done: the course, the questions and the pushes (rules 14). It is pure.
func (s State) Drive(m Mac, now time.Time, ev Event) (State, Orders) {
	now = now.UTC().Truncate(time.Second)
	var o Orders
	m.Facts.Told = s.Inquiry.Answered
	contact := ev.Cause == Contact || ev.Cause == Answered && ev.Answer != nil && ev.Answer.Status != notNow
	s.Course, o.Effects = Step(s.Course, m.Task, m.Facts, now, ev)
	if m.Asked {
		due := m.Task != nil && (s.Course.Waiting != nil || !now.Before(m.Task.At()))
		ask, push, next := s.Inquiry.Ask(m.Facts.Version, due, now, contact)
		if ask {
			s.Inquiry.AskedAt, o.Inquire = now, true
		}
		o.Push = o.Push || push
		o.until(next)
	}
	if ev.Cause != Passing {
		s.PushAt, o.Push = time.Time{}, o.Push && !contact
	}
	if o.Push = o.Push || !s.PushAt.IsZero() && !m.Pushing && !now.Before(s.PushAt.Add(pushAgain)); o.Push {
		s.PushAt = now
	}
	if !m.CanPush {
		s.PushAt = time.Time{}
	}
	if !s.PushAt.IsZero() {
		o.until(s.PushAt.Add(pushAgain))
	}
	return s, o
}
