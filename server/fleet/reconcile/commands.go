package reconcile

import (
	"time"

	"plimsoll/declarations/command"
	"plimsoll/status"
)

// stepped is a cause that the course of a Mac's commands takes.
func stepped(kind Kind, ev command.Event) Cause {
	return known(kind, func(o *Outcome, _ time.Time) bool {
		o.event = ev
		return true
	})
}

// Polled is a Mac that asks for the next command: what is due now is queued before it is answered.
func Polled() Cause { return stepped(Polling, command.Event{Cause: command.Contact}) }

// Fetched is an update command that was handed out to the Mac.
func Fetched(uuid string) Cause {
	return stepped(Ordinary, command.Event{Cause: command.Fetched, UUID: uuid})
}

// CommandAnswered is an answer to an update command.
func CommandAnswered(a command.Answer) Cause {
	return stepped(Polling, command.Event{Cause: command.Answered, Answer: &a})
}

// Answer is the answer to a DeviceInformation or SecurityInfo command, and whatever else it tells.
func Answer(c status.CheckIn, in command.Info) Cause {
	return known(Ordinary, func(o *Outcome, _ time.Time) bool {
		facts := o.Record.Facts.Answer(c)
		facts = facts.BoardAnswer(in.Board)
		if in.AppleSilicon != nil {
			facts.AppleSilicon = status.TruthOf(in.AppleSilicon)
		}
		if in.Supervised != nil {
			facts.Supervised = status.TruthOf(in.Supervised)
		}
		next := o.commands()
		next.Inquiry = next.Inquiry.Take(in)
		changed := facts != o.Record.Facts || !next.Same(o.before())
		o.Record.Facts, o.Commands = facts, next
		return changed
	})
}
