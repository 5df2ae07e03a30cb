package reconcile

import (
	"time"

	"plimsoll/declarations"
	"plimsoll/status/compliance"
	"plimsoll/storage"
)

// Advertised is what a Mac that asks is answered.
type Advertised struct {
	Token string
	At    time.Time
	Items []declarations.Item
}

// Advertised is what the Mac is answered when it asks.
func (o *Outcome) Advertised() Advertised {
	return Advertised{o.Record.Advertised, o.Record.AdvertisedAt, declarations.ItemsOf(o.Plan.Declarations)}
}

// Answered is the answer to a Mac that asks when nothing changes by it, from the record alone; false when a whole Step is
// needed.
func Answered(rec *storage.Record, m Memory, cause Cause, book Book, now time.Time) (Advertised, bool) {
	if m.Back.After(rec.BackAt) {
		return Advertised{}, false
	}
	after := *rec
	// The manifest is the one of the record's token.
	o := Outcome{ID: rec.Facts.ID, State: storage.State{Record: &after, Manifest: &declarations.Manifest{}}}
	o.advertise(cause.Kind, &book, now)
	if after.Advertised != rec.Advertised || !after.AdvertisedAt.Equal(rec.AdvertisedAt) ||
		after.Lanes != rec.Lanes || after.Manifest != rec.Manifest || after.Told != rec.Told {
		return Advertised{}, false
	}
	return o.Advertised(), true
}

// Follows tells whether anything follows for a Mac from the book or the time, from its record alone: then it is to be
// looked at.
func Follows(rec *storage.Record, m Memory, book Book, now time.Time) bool {
	m.Contact, m.Back = time.Time{}, time.Time{} // they are written hourly, or when the Mac asks
	o, err := Step(State{ID: rec.Facts.ID, State: storage.State{Record: rec}, Memory: m}, glance(), book, now)
	return err != nil || !o.Nothing && (o.Notify || o.Write)
}

// keepReported puts back what a glance cannot know, if all else is as it was: what depends on the Mac's reports and on its
// manifest, and the next moment of its commands.
func (o *Outcome) keepReported(before *storage.Record) {
	rec := o.Record
	if samePlan(&before.Summary, &rec.Summary) {
		rec.Summary = before.Summary
	}
	if at := before.NextAt; Commanded(&rec.Facts) && !at.IsZero() && (rec.NextAt.IsZero() || at.Before(rec.NextAt)) {
		rec.NextAt = at
	}
}

// planned are the flags that neither reports nor the manifest set.
const planned = compliance.Prerelease | compliance.BSIPending | compliance.BootstrapTokenMissing

// samePlan tells whether a verdict without reports agrees with one that had them, as far as it can.
func samePlan(full, glanced *compliance.Summary) bool {
	if full.Policy != glanced.Policy || full.Kind != glanced.Kind || full.Version != glanced.Version ||
		full.Letter != glanced.Letter ||
		full.Build != glanced.Build || full.Due != glanced.Due || full.Deadline != glanced.Deadline ||
		full.Flags&planned != glanced.Flags&planned {
		return false
	}
	if !sameState(full, glanced) {
		return false
	}
	// A Mac that says it has something newer than its target has no deadline that could pass.
	already := full.State == compliance.Compliant && full.Build != ""
	return already || full.OverdueAt.Equal(glanced.OverdueAt) && full.PastAt.Equal(glanced.PastAt)
}

// sameState: whether a Mac fails, and whether it already has something newer, is in its reports.
func sameState(full, glanced *compliance.Summary) bool {
	reported := func(s compliance.State) bool {
		return s == compliance.Pending || s == compliance.Failing || s == compliance.Compliant
	}
	return full.State == glanced.State || reported(full.State) && reported(glanced.State)
}
