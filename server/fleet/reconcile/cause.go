package reconcile

import (
	"strconv"
	"time"

	"plimsoll/declarations/plan"
	"plimsoll/status"
	"plimsoll/status/compliance"
	"plimsoll/storage"
)

// Kind says which part of a Step a cause has.
type Kind int

// The kinds of cause.
const (
	Ordinary   Kind = iota // something about the Mac changed
	Tokens                 // the Mac asks for the tokens
	Items                  // the Mac asks for the declaration-items: the answer becomes the manifest
	Begins                 // Authenticate: what there is to notify of waits for TokenUpdate
	Noting                 // what became of a notification is noted; the Mac is not notified again for that
	SyncNow                // an admin wants the Mac notified, whatever is outstanding
	Looking                // the sweep looks at the Mac
	AtBoundary             // as Looking, and a boundary in time has passed: the look is written even if nothing else is
	Glancing               // as Looking, but from the record alone: status and manifest are not at hand
	Polling                // the Mac asks for the next command
)

// fromDevice tells whether the Mac itself asks.
func (k Kind) fromDevice() bool { return k == Tokens || k == Items }

// asks tells whether the Mac itself asks, for a promise (rules 6.4): one that is told by command asks by any contact.
func (k Kind) asks(f *status.Facts) bool { return k.fromDevice() || k == Polling && Commanded(f) }

// Cause is one reason to look at a Mac, and what it changes by itself.
type Cause struct {
	Kind  Kind
	apply func(*Outcome, time.Time) (changed bool, err error)
}

// NotEnrolled refuses what only an enrolled Mac may do; the value is the Mac's id.
type NotEnrolled string

// Error says so.
func (e NotEnrolled) Error() string {
	return string(e) + " is not enrolled: " + storage.ErrForbidden.Error()
}

// Unwrap is the kind of the error.
func (e NotEnrolled) Unwrap() error { return storage.ErrForbidden }

// enrolled is a cause that needs an enrolled Mac.
func enrolled(kind Kind, apply func(*Outcome, time.Time) bool) Cause {
	return Cause{kind, func(o *Outcome, now time.Time) (bool, error) {
		if o.Record == nil || !o.Record.Facts.Enrolled {
			return false, NotEnrolled(o.ID)
		}
		return apply(o, now), nil
	}}
}

// known is a cause that means nothing for a Mac which is not known.
func known(kind Kind, apply func(*Outcome, time.Time) bool) Cause {
	return Cause{kind, func(o *Outcome, now time.Time) (bool, error) { return o.Record != nil && apply(o, now), nil }}
}

func always(*Outcome, time.Time) bool { return true }

// AsksTokens is a Mac's request for the tokens.
func AsksTokens() Cause { return enrolled(Tokens, always) }

// AsksItems is a Mac's request for the declaration-items.
func AsksItems() Cause { return enrolled(Items, always) }

// Look is the passing of time, or a change of the book.
func Look() Cause { return known(Looking, lookAgain) }

// Boundary is the passing of an instant at which something changes by time alone.
func Boundary() Cause { return known(AtBoundary, lookAgain) }

// glance is Look from the record alone.
func glance() Cause { return known(Glancing, lookAgain) }

func lookAgain(o *Outcome, now time.Time) bool {
	if compliance.WentStale(&o.Record.Facts, o.Record.RaisedAt, now) {
		o.raise(now)
		o.Queries = append(o.Queries, versionQueries)
	}
	return true
}

// Authenticate begins a new life of a Mac (rules 4): everything but identity is cleared, then what Authenticate carries is
// taken.
func Authenticate(c status.CheckIn) Cause {
	return Cause{Begins, func(o *Outcome, now time.Time) (bool, error) {
		o.newLife()
		o.Record.Facts = o.Record.Facts.CheckIn(c)
		o.Record.Facts.ID = o.ID
		o.Record.Facts.LastContactAt = now
		o.ClearLife = true
		o.identify(c.Identity, now)
		return true, nil
	}}
}

// CheckOut ends a Mac's enrolment.
func CheckOut() Cause {
	return known(Ordinary, func(o *Outcome, now time.Time) bool {
		o.newLife()
		o.Record.Facts.LastContactAt = now
		o.Record.Facts.IdentityCA = "" // the Mac deletes its identity with the profile
		o.ClearLife = true
		return true
	})
}

// TokenUpdate completes an enrolment: from now on the Mac is notified. Later ones, which only bring new push tokens, change
// nothing but the topic, unless a push failed: what the Mac was notified of with the old token never reached it.
func TokenUpdate(topic string) Cause {
	return Cause{Ordinary, func(o *Outcome, now time.Time) (bool, error) {
		if o.Record == nil {
			o.newLife()
		}
		before := o.Record.Facts.Topic
		o.Record.Facts.Topic = status.TopicID(topic)
		return o.tokensUpdated(now) || o.Record.Facts.Topic != before, nil
	}}
}

func (o *Outcome) tokensUpdated(now time.Time) bool {
	rec := o.Record
	if rec.Facts.Enrolled {
		failed := rec.Push != ""
		if failed {
			rec.Push, rec.Told = "", ""
		}
		return failed
	}
	rec.Facts.Enrolled, rec.Facts.EnrolledAt = true, now
	if v := rec.Facts.Version; len(o.Queries) == 0 && (v == "" || v.Major() < 15) && !Commanded(&rec.Facts) { // that is asked more
		o.Queries = append(o.Queries, Query{deviceInformation, []string{"SoftwareUpdateDeviceID", "OSVersion", "BuildVersion"}})
	}
	return true
}

// BootstrapToken says whether the Mac's bootstrap token is escrowed.
func BootstrapToken(escrowed bool) Cause {
	return known(Ordinary, func(o *Outcome, _ time.Time) bool {
		changed := o.Record.Facts.BootstrapToken != escrowed
		o.Record.Facts.BootstrapToken = escrowed
		return changed
	})
}

// Report is a status report (rules 8).
func Report(report *status.Report) Cause {
	return enrolled(Ordinary, func(o *Outcome, now time.Time) bool {
		rec := o.Record
		o.disown(report)
		o.Status = status.Merge(o.Status, report)
		rec.Facts = rec.Facts.Apply(report, now)
		o.conflict()
		if compliance.NeedsResync(o.Manifest, o.Status, now) && compliance.MayRaise(rec.RaisedAt, now) {
			o.raise(now)
		}
		rec.Reports++
		o.Report = &storage.KeptReport{Number: rec.Reports, ReceivedAt: now, Full: report.Full, Odd: report.Odd, Body: report.Raw}
		return true
	})
}

// conflict notes whether the Mac names a declaration of another server as the cause of its update.
func (o *Outcome) conflict() {
	f := &o.Record.Facts
	cause := compliance.ForeignCause(o.Status, o.Manifest)
	if cause != "" && !f.Conflict {
		o.Events = append(o.Events, compliance.Event{
			Type: compliance.EventConflict, Data: map[string]any{"identifier": cause},
			Text: "The Mac names " + cause + ", a declaration of another server, as the cause of its update.",
		})
	}
	f.Conflict = cause != ""
}

// Sync is the wish of an admin that the Mac syncs now, although nothing changed.
func Sync(by string) Cause {
	return enrolled(SyncNow, func(o *Outcome, _ time.Time) bool {
		o.Record.Generation++
		o.Events = append(o.Events, compliance.Event{
			Type: "sync_requested", Text: by + " asked the Mac to sync", Data: map[string]any{"by": by},
		})
		return true
	})
}

// Audited is an event that tells of an entry of the audit about the Mac. It has its id.
func Audited(e compliance.Event) Cause {
	return known(Noting, func(o *Outcome, _ time.Time) bool {
		o.Events = append(o.Events, e)
		return true
	})
}

// Delay is an hour that the Mac's user took.
func Delay(d plan.Delayed, e compliance.Event) Cause {
	return enrolled(Ordinary, func(o *Outcome, _ time.Time) bool {
		o.Record.Delayed = &d
		o.Events = append(o.Events, e)
		return true
	})
}

// Wish is an upgrade that the Mac's user asked for.
func Wish(w plan.Wish, e compliance.Event) Cause {
	return enrolled(Ordinary, func(o *Outcome, _ time.Time) bool {
		o.Record.Wish = &w
		o.Events = append(o.Events, e)
		return true
	})
}

// maxFailure bounds the bytes that are kept of the reason why a push failed.
const maxFailure = 200

// Pushed is the push for a token, and why it failed; empty when it did not. A Mac whose push failed is tried again with the
// patience of one that was notified: a dead token must not be pushed for ever.
func Pushed(token, failed string) Cause {
	return known(Noting, func(o *Outcome, now time.Time) bool {
		rec := o.Record
		if !rec.Facts.Enrolled {
			return false
		}
		failed = failed[:min(len(failed), maxFailure)]
		changed := rec.Push != failed
		if s := o.Commands; s != nil && !s.PushAt.IsZero() {
			made := *s
			made.PushAt = time.Time{}
			o.Commands, changed = &made, true
		}
		rec.Push = failed
		// One to which nothing is declared was woken for a command.
		holdsNothing := rec.Manifest == "" && rec.Summary.Flags&compliance.NotSynced == 0
		// One that was noted when its command was queued, since no push was possible, is not noted twice.
		noted := rec.Told == token && now.Before(rec.ToldAt.Add(storage.Patience(rec.Tries)))
		if noted || rec.Manifest == token || rec.Advertised != token || holdsNothing {
			return changed
		}
		o.notified(now)
		return true
	})
}

// String names the kind in a test's message.
func (k Kind) String() string {
	names := []string{
		"ordinary", "tokens", "items", "begins", "noting", "sync now", "looking", "at a boundary", "glancing", "polling",
	}
	if int(k) < len(names) {
		return names[k]
	}
	return strconv.Itoa(int(k))
}
