package reconcile

import (
	"cmp"
	"strings"
	"time"

	"plimsoll/status"
	"plimsoll/status/compliance"
	"plimsoll/storage"
)

// identify takes the certificate that the Mac shows. Another one than before is an event: whoever has an enrolment code can
// enrol as any Mac whose id is known, and then the Mac itself is shut out.
func (o *Outcome) identify(i status.Identity, now time.Time) {
	before := o.Identity
	if i.Fingerprint == "" || before != nil && before.Fingerprint == i.Fingerprint {
		return
	}
	i.ChangedAt = time.Time{}
	if before != nil {
		i.ChangedAt = now
		o.Record.Facts.IdentityChangedAt = now
		o.Events = append(o.Events, compliance.Event{
			Type: compliance.EventIdentityChanged, Text: "The device showed a new identity; the one before is refused from now on.",
			Data: map[string]any{
				"from":       before.Fingerprint,
				"to":         i.Fingerprint,
				"expires_at": i.ExpiresAt.UTC().Format(time.RFC3339),
			},
		})
	}
	o.Identity = &i
	o.Record.Facts.IdentityEnds, o.Record.Facts.IdentityCA = i.ExpiresAt, i.CA
}

// Identified is a certificate under which an enrolled Mac is known, and the push topic that it enrolled with, both learnt
// outside its enrolment: it enrolled before they were kept, or the certificate was renewed. An empty topic is not known.
func Identified(i status.Identity, topic string) Cause {
	return known(Noting, func(o *Outcome, now time.Time) bool {
		before, f := o.Identity, &o.Record.Facts
		was := *f
		o.identify(i, now)
		f.IdentityCA = cmp.Or(i.CA, f.IdentityCA)
		f.Topic = cmp.Or(status.TopicID(topic), f.Topic)
		return o.Identity != before || *f != was
	})
}

// Refused is a message in the name of the Mac, or under its certificate, that was refused for a cause. It is an event once a day.
func Refused(cause, fingerprint string) Cause {
	return known(Noting, func(o *Outcome, now time.Time) bool {
		f := &o.Record.Facts
		if !f.Enrolled {
			return false
		}
		if f.Refused != cause || now.UTC().Format(time.DateOnly) != f.RefusedAt.UTC().Format(time.DateOnly) {
			o.Events = append(o.Events, compliance.Event{
				Type: compliance.EventRefused, Text: "A message of the Mac was refused: " + compliance.RefusalText(cause) + ".",
				Data: map[string]any{"cause": cause, "fingerprint": fingerprint},
			})
		}
		f.Refused, f.RefusedAt = cause, now
		return true
	})
}

// disown leaves out of a report what contradicts the enrolment.
func (o *Outcome) disown(report *status.Report) {
	f := &o.Record.Facts
	named := report.Identifies()
	contradicts := report.Disown(*f)
	if contradicts && !f.Contradicted {
		o.Events = append(o.Events, compliance.Event{
			Type: compliance.EventContradicted,
			Text: "The Mac reports another serial number or UDID than it enrolled with; that is not taken.",
			Data: map[string]any{"odd": strings.Join(report.Odd, "; ")},
		})
	}
	if named {
		f.Contradicted = contradicts
	}
}

// CommandFailed is a command that the Mac answered with an error. Of the one to sync it means besides that what the Mac was
// notified of is not outstanding any more (rules 10): it is notified again as after a push that failed.
func CommandFailed(failure status.CommandFailure) Cause {
	return known(Noting, func(o *Outcome, now time.Time) bool {
		if o.Failure != nil && o.Failure.UUID == failure.UUID { // the answer came twice
			return false
		}
		failure.At = now
		o.Failure = &failure
		data := map[string]any{
			"uuid":         failure.UUID,
			"request_type": failure.RequestType,
			"status":       failure.Status,
			"errors":       failure.Errors,
		}
		text := "The Mac answered the command " + failure.RequestType + " with an error"
		if why := failure.Text(); why != "" {
			text += ": " + why
		}
		o.Events = append(o.Events, compliance.Event{Type: compliance.EventCommandFailed, Text: text + ".", Data: data})
		if failure.RequestType == "DeclarativeManagement" && o.Record.Told != "" && o.Record.Push == "" {
			o.Record.Push = storage.CommandRefused
		}
		return true
	})
}

// CommandTaken is a command of that type that the Mac acknowledged.
func CommandTaken(requestType string) Cause {
	return known(Noting, func(o *Outcome, _ time.Time) bool {
		before := o.Failure
		o.commandTaken(requestType)
		return o.Failure != before
	})
}

func (o *Outcome) commandTaken(requestType string) {
	if o.Failure != nil && o.Failure.RequestType == requestType {
		o.Failure = nil
	}
}
