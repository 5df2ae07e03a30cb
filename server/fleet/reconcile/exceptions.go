package reconcile

import (
	"time"

	"plimsoll/declarations/plan"
	"plimsoll/status"
	"plimsoll/status/compliance"
)

// Exempt is an admin's exemption of the Mac, or another end of the one that it has: since stays then.
func Exempt(until time.Time, reason, by string) Cause {
	return enrolled(Ordinary, func(o *Outcome, now time.Time) bool {
		x := &plan.Exemption{Until: until, Reason: reason, Since: now, By: by}
		if before := o.exemption(now); before != nil {
			x.Since = before.Since
			if before.Until.Equal(until) && before.Reason == reason {
				return false
			}
		}
		o.Record.Exemption = x
		o.say(compliance.EventExempted, by+" exempted the Mac until "+until.Format(time.RFC3339)+": "+reason,
			map[string]any{"until": until, "since": x.Since, "reason": reason, "by": by})
		return true
	})
}

// EndExemption is the end of an exemption before its time.
func EndExemption(by string) Cause {
	return known(Ordinary, func(o *Outcome, now time.Time) bool {
		x := o.exemption(now)
		if x == nil {
			return false
		}
		o.Record.Exemption = nil
		o.say(compliance.EventExemptionEnded, by+" ended the exemption", map[string]any{"until": x.Until, "since": x.Since, "by": by})
		return true
	})
}

// UpdateNow is an admin's wish that the Mac installs at once what is declared to it.
func UpdateNow(u plan.UpdateNow) Cause {
	return enrolled(Ordinary, func(o *Outcome, _ time.Time) bool {
		o.Record.UpdateNow = &u
		o.say(compliance.EventUpdateNow, u.By+" has the Mac install macOS "+string(u.Version)+" now: "+u.Reason,
			map[string]any{"version": u.Version, "build": u.Build, "until": u.EndsAt(), "reason": u.Reason, "by": u.By})
		return true
	})
}

// TakeBackUpdateNow ends an update now before its time: the lane has the deadline that it had.
func TakeBackUpdateNow(by string) Cause {
	return known(Ordinary, func(o *Outcome, _ time.Time) bool {
		u := o.Record.UpdateNow
		if u == nil {
			return false
		}
		o.Record.UpdateNow = nil
		o.say(compliance.EventUpdateNow, by+" took back that the Mac installs macOS "+string(u.Version)+" now",
			map[string]any{"version": u.Version, "build": u.Build, "taken_back": true, "by": by})
		return true
	})
}

func (o *Outcome) say(typ, text string, data map[string]any) {
	o.Events = append(o.Events, compliance.Event{Type: typ, Text: text, Data: data})
}

// exemption is the one that lasts; nil if none does.
func (o *Outcome) exemption(now time.Time) *plan.Exemption {
	if x := o.Record.Exemption; x != nil && now.Before(x.Until) {
		return x
	}
	return nil
}

// lapse ends exceptions whose time is over, or that reached what they were for.
func (o *Outcome) lapse(book *Book, now time.Time) {
	rec := o.Record
	if x := rec.Exemption; x != nil && !now.Before(x.Until) {
		rec.Exemption = nil
		o.say(compliance.EventExemptionEnded, "The exemption ended.", map[string]any{"until": x.Until, "since": x.Since})
	}
	if u := rec.UpdateNow; u != nil && (!now.Before(u.EndsAt()) || reached(&rec.Facts, u, book)) {
		rec.UpdateNow = nil
	}
}

// reached tells whether a Mac is at or above the release that an admin had it install; for a BSI at its letter too.
func reached(f *status.Facts, u *plan.UpdateNow, book *Book) bool {
	if u.Lane != plan.BSI {
		return f.Version != "" && f.Version.Compare(u.Version) >= 0
	}
	r := book.Index.Build(u.Build)
	if c := f.Version.Compare(u.Version); f.Version == "" || c != 0 {
		return f.Version != "" && c > 0
	}
	return r != nil && f.Letter >= r.Letter
}

// nextAt is the next instant at which the Mac changes by the passing of time alone: of the plan, of its commands, or the end of
// an exception, which is told even if nothing would be asked of the Mac.
func (o *Outcome) nextAt() time.Time {
	next := o.Plan.NextAt
	wait := func(at time.Time) {
		if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	if x := o.Record.Exemption; x != nil {
		wait(x.Until)
	}
	if u := o.Record.UpdateNow; u != nil {
		wait(u.EndsAt())
	}
	for _, at := range [...]time.Time{o.Orders.NextAt, o.retryAt} {
		if !at.IsZero() {
			wait(at)
		}
	}
	return next
}
