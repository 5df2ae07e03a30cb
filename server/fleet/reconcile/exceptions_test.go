package reconcile

import (
	"slices"
	"testing"
	"time"

	"plimsoll/declarations/plan"
	"plimsoll/status"
	"plimsoll/status/compliance"
)

const dayLong = 24 * time.Hour

// While an exemption lasts nothing is enforced and no promise stands; at its end, told once, the lane is planned with fair notice.
func TestExemption(t *testing.T) {
	m := enrol(t, bookOf(1))
	m.book = bookOf(2, automatic(14)) // 26.6.2 was posted on August 17: due on the 31st
	m.step(Look())
	m.step(AsksItems())
	if m.st.Record.Lanes[plan.Patch].Promise == 0 || m.st.Record.Summary.State != compliance.Pending {
		t.Fatalf("before: %+v", m.st.Record)
	}
	until := m.now.Add(30 * dayLong)
	o := m.step(Exempt(until, "a trade fair", "ada"))
	rec := m.st.Record
	if !slices.Contains(types(o), compliance.EventExempted) || !o.Notify || rec.Summary.State != compliance.Exempt || rec.Lanes[plan.Patch].Promise != 0 ||
		!rec.Lanes[plan.Patch].Since.IsZero() || o.Plan.Enforced() {
		t.Fatalf("exempt: %v, notified %v, %+v", types(o), o.Notify, rec)
	}
	if rec.NextAt.IsZero() || rec.NextAt.After(until) {
		t.Errorf("the next boundary is %v, the end %v", rec.NextAt, until)
	}
	m.st.Record.Exemption.Reason = "a trade fair" // as the database has it
	if o := m.step(Exempt(until, "a trade fair", "ben")); !o.Nothing {
		t.Error("the same again changes something")
	}
	since := m.st.Record.Exemption.Since
	m.now = m.now.Add(dayLong)
	if o := m.step(Exempt(until.Add(dayLong), "it takes longer", "ada")); !slices.Contains(types(o), compliance.EventExempted) || !m.st.Record.Exemption.Since.Equal(since) {
		t.Errorf("longer: %v, since %v", types(o), m.st.Record.Exemption.Since)
	}
	m.step(AsksItems())
	m.now = until.Add(dayLong - time.Second)
	if o := m.step(Boundary()); slices.Contains(types(o), compliance.EventExemptionEnded) {
		t.Error("it ended a second too early")
	}
	m.now = until.Add(dayLong)
	o = m.step(Boundary())
	if !slices.Contains(types(o), compliance.EventExemptionEnded) || m.st.Record.Exemption != nil || !o.Notify || !o.Plan.Enforced() {
		t.Fatalf("at its end: %v, %+v", types(o), m.st.Record)
	}
	// The due date is long past; without a word about days of notice, the policy's default of rules 5 holds: the deadline is ahead.
	if ahead := o.Plan.Deadline.At(0).Sub(m.now); ahead < dayLong {
		t.Errorf("the deadline after it is %s, %s ahead", o.Plan.Deadline, ahead)
	}
	if o := m.step(Look()); slices.Contains(types(o), compliance.EventExemptionEnded) {
		t.Error("its end is told twice")
	}
}

// An exemption of a Mac that nothing is asked of ends by time all the same, and is found by a glance.
func TestExemptionOfAnIdleMacLapses(t *testing.T) {
	m := enrol(t, bookOf(1))
	until := m.now.Add(dayLong)
	m.step(Exempt(until, "a loan", "ada"))
	if !m.st.Record.NextAt.Equal(until) {
		t.Errorf("the next boundary is %v, want %v", m.st.Record.NextAt, until)
	}
	if Follows(m.st.Record, Memory{CanPush: true}, m.book, until.Add(-time.Second)) {
		t.Error("something follows before its end")
	}
	if !Follows(m.st.Record, Memory{CanPush: true}, m.book, until) {
		t.Error("nothing follows at its end")
	}
	m.now = until
	if o := m.step(Boundary()); !slices.Equal(types(o), []string{compliance.EventExemptionEnded}) {
		t.Errorf("at its end: %v", types(o))
	}
}

// An admin ends both, a new life too, and an update now ends when the Mac has the release, or after 7 days.
func TestExceptionsEnd(t *testing.T) {
	wish := func(m *mac) Cause {
		return UpdateNow(plan.UpdateNow{Lane: plan.Patch, Build: "25G83", Version: "26.6.1", At: m.now, Reason: "a hole", By: "ada"})
	}
	authenticate := Authenticate(status.CheckIn{UDID: macID, Serial: "S1", Model: "Mac14,2", Version: "26.5", Build: "25F71"})
	for _, tt := range []struct {
		name   string
		after  time.Duration
		cause  Cause
		exempt bool
		now    bool
	}{
		{"nothing happens", time.Hour, Look(), true, true},
		{"an admin ends the exemption", time.Hour, EndExemption("ben"), false, true},
		{"an admin takes back the update", time.Hour, TakeBackUpdateNow("ben"), true, false},
		{"a new life", time.Hour, authenticate, false, false},
		{"the end of the enrolment", time.Hour, CheckOut(), false, false},
		{"an older version", time.Hour, Report(reportOf(t, full("26.6", "25G72"))), true, true},
		{"the version", time.Hour, Report(reportOf(t, full("26.6.1", "25G83"))), true, false},
		{"a newer version", time.Hour, Report(reportOf(t, full("26.6.2", "25G90"))), true, false},
		{"almost 7 days", 7*dayLong - time.Second, Look(), true, true},
		{"7 days", 7 * dayLong, Look(), true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := enrol(t, bookOf(2, automatic(90)))
			m.step(wish(m))
			m.step(Exempt(m.now.Add(30*dayLong), "a fair", "ada"))
			m.now = m.now.Add(tt.after)
			m.step(tt.cause)
			if rec := m.st.Record; (rec.Exemption != nil) != tt.exempt || (rec.UpdateNow != nil) != tt.now {
				t.Errorf("exemption %+v, update now %+v", rec.Exemption, rec.UpdateNow)
			}
		})
	}
}
