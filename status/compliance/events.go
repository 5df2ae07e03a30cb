package compliance

import (
	"time"

	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
	"plimsoll/status"
)

// Event is one entry of a timeline (docs/api.md 4).
type Event struct {
	ID     string         `json:"id"` // given by whoever keeps the event
	At     time.Time      `json:"at"` // UTC
	Type   string         `json:"type"`
	Device string         `json:"device"`
	Serial string         `json:"serial"`
	Text   string         `json:"text"`
	Data   map[string]any `json:"data"`
}

// The types of events.
const (
	EventEnrolled            = "enrolled"
	EventReEnrolled          = "re_enrolled"
	EventRemoved             = "removed"
	EventPolicyChanged       = "policy_changed"
	EventTargetSet           = "target_set"
	EventTargetCleared       = "target_cleared"
	EventDeadlineChanged     = "deadline_changed"
	EventManifestServed      = "manifest_served"
	EventDeclarationActive   = "declaration_active"
	EventDeclarationRejected = "declaration_rejected"
	EventPhase               = "phase"
	EventFailed              = "failed"
	EventUpdated             = "updated"
	EventReverted            = "reverted"
	EventState               = "state"
	EventOverdue             = "overdue"
	EventCompliant           = "compliant"
	EventSilent              = "silent"
	EventBack                = "back"
	EventIdentityChanged     = "identity_changed"
	EventRefused             = "refused"
	EventContradicted        = "report_contradicts"
	EventConflict            = "conflict"
	EventUpdateCommand       = "update_command"
	EventCommandFailed       = "command_failed"
	EventExempted            = "exempted"
	EventExemptionEnded      = "exemption_ended"
	EventUpdateNow           = "update_now"
	// Those of rings and gates concern no Mac.
	EventRingOpened  = "ring_opened"
	EventGateHalted  = "gate_halted"
	EventGateResumed = "gate_resumed"
	EventAdminAction = "admin_action"
	EventEnrolment   = "enrolment_checked"
)

// Snapshot is a Mac at one moment: what Events compares.
//
// Silence and a deadline come by the passing of time alone. Whoever looks for that gives the snapshots of one Mac the times of
// the last look and of this one; everybody else gives both the same Now, so that nothing is told twice.
type Snapshot struct {
	Summary Summary
	Facts   *status.Facts // nil: there was no such Mac
	// Life counts the Mac's lives (rules 4): in any but the first it enrols again.
	Life int
	// Token is the DeclarationsToken of the manifest, empty without one.
	Token string
	// Reasons are the verdict's. They may be missing; those of the later snapshot give events their evidence.
	Reasons []policy.Reason
	Now     time.Time
}

// Events tells what happened between two snapshots of one Mac, in the order in which a person would tell it. It is pure:
// without a difference there is no event, whatever was reported or judged in between.
func Events(before, after Snapshot) []Event {
	if after.Facts == nil {
		return nil
	}
	d := &diff{before: before, after: after}
	if d.before.Facts == nil {
		d.before.Facts = &status.Facts{}
	}
	if !d.life() {
		return d.out
	}
	d.contact()
	d.version()
	d.asked()
	d.way()
	d.standing()
	return d.out
}

// diff is a comparison in the making.
type diff struct {
	before, after Snapshot
	reached       bool // the target of before is installed now
	out           []Event
}

func (d *diff) add(typ, text string, data map[string]any) {
	f := d.after.Facts
	e := Event{At: d.after.Now.UTC(), Type: typ, Device: f.ID, Serial: f.Serial, Text: text, Data: map[string]any{}}
	for k, v := range data {
		if at, ok := v.(time.Time); ok {
			v = at.UTC().Truncate(time.Second)
		}
		if present(v) {
			e.Data[k] = v
		}
	}
	d.out = append(d.out, e)
}

// life compares enrolments; false when there is nothing to tell of a Mac that is not enrolled.
func (d *diff) life() bool {
	b, a := d.before.Facts, d.after.Facts
	switch {
	case !a.Enrolled:
		if b.Enrolled {
			d.add(EventRemoved, "The Mac checked out: it is not managed any more.", nil)
		}
		return false
	case b.Enrolled && a.EnrolledAt.Equal(b.EnrolledAt):
		return true
	case d.after.Life <= 1 && (b.EnrolledAt.IsZero() || a.EnrolledAt.Equal(b.EnrolledAt)):
		d.add(EventEnrolled, "The Mac enrolled.", nil)
	default:
		d.add(EventReEnrolled, "The Mac enrolled again; what was known of it was cleared.", nil)
	}
	// A new life is compared with nothing.
	d.before.Summary, d.before.Token, d.before.Reasons = Summary{}, "", nil
	d.before.Facts = &status.Facts{LastContactAt: a.LastContactAt, EnrolledAt: a.EnrolledAt}
	return true
}

// contact tells of silence and of its end.
func (d *diff) contact() {
	b, a := d.before.Facts, d.after.Facts
	switch gap := a.LastContactAt.Sub(b.LastContactAt); {
	case !b.LastContactAt.IsZero() && gap > silentAfter:
		d.add(EventBack, "The Mac came back after "+days(gap)+" of silence.",
			map[string]any{"silent_since": b.LastContactAt, "silent_seconds": int(gap / time.Second)})
	case d.before.Now.Before(silentAt(b)) && !d.after.Now.Before(silentAt(a)):
		d.add(EventSilent, "The Mac has not been in contact for 7 days.", map[string]any{"last_seen_at": a.LastContactAt})
	}
}

// version tells of a version, build or letter that changed.
func (d *diff) version() {
	b, a := d.before.Facts, d.after.Facts
	s := &d.before.Summary
	if b.Version == "" || a.Version == "" {
		return
	}
	from, to := runs(b), runs(a)
	newer := a.Version.Compare(b.Version)
	same := newer == 0 && a.Build == b.Build
	if same && a.Letter == b.Letter {
		return
	}
	data := map[string]any{"from": from, "to": to, "from_build": buildOf(b), "to_build": buildOf(a)}
	if newer < 0 || same && a.Letter < b.Letter {
		d.add(EventReverted, "The Mac went back from macOS "+from+" to "+to+".", data)
		return
	}
	text := "The Mac was updated from macOS " + from + " to " + to
	if s.Kind != "" && has(a, s) {
		d.reached = true
		data["reached_target"] = true
		if took := d.after.Now.Sub(s.TargetAt); !s.TargetAt.IsZero() && took >= 0 {
			data["seconds_since_target"] = int(took / time.Second)
			text += ", " + days(took) + " after it became the target"
		}
		if took := d.after.Now.Sub(s.ServedAt); !s.ServedAt.IsZero() && took >= 0 {
			data["seconds_since_served"] = int(took / time.Second)
		}
	}
	d.add(EventUpdated, text+".", data)
}

// has tells whether a Mac runs the target of a summary, or something newer.
func has(f *status.Facts, s *Summary) bool {
	n := f.Version.Compare(s.Version)
	if s.Kind == release.KindBSI {
		return n > 0 || n == 0 && (f.SupplementalBuild == s.Build || s.Letter != "" && f.Letter >= s.Letter)
	}
	return n >= 0
}

// asked tells of policy, target and deadline.
func (d *diff) asked() {
	b, a := &d.before.Summary, &d.after.Summary
	if a.Policy != b.Policy {
		text := "No policy governs the Mac any more."
		if a.Policy != "" {
			text = "The Mac is governed by the policy " + a.Policy + "."
		}
		d.add(EventPolicyChanged, text, map[string]any{"from": b.Policy, "to": a.Policy})
	}
	switch {
	case a.Kind != "" && (a.Kind != b.Kind || a.Build != b.Build):
		data := target(a)
		data["due_local"], data["deadline_local"] = a.Due, a.Deadline
		if b.Kind != "" {
			data["from"] = wanted(b)
		}
		d.add(EventTargetSet, "macOS "+wanted(a)+" is asked for"+by(a)+".", data)
	case a.Kind == "" && b.Kind != "" && !d.reached:
		d.add(EventTargetCleared, "macOS "+wanted(b)+" is not asked for any more.", target(b))
	case a.Kind != "" && a.Deadline != b.Deadline:
		d.add(
			EventDeadlineChanged,
			"macOS "+wanted(a)+" is now asked for"+by(a)+".",
			map[string]any{"from": b.Deadline, "to": a.Deadline},
		)
	}
}

// way tells how the enforcement of the target went on: one event for each change of the phase, besides the activation that may
// lie between two phases.
func (d *diff) way() {
	b, a := &d.before.Summary, &d.after.Summary
	if d.after.Token != "" && d.after.Token != d.before.Token {
		d.add(EventManifestServed, "The Mac fetched the list of its declarations.",
			map[string]any{"token": d.after.Token, "from": d.before.Token})
	}
	was := b.Phase
	if a.Kind != b.Kind || a.Build != b.Build {
		was = ""
	}
	if a.Phase.wasActive() && !was.wasActive() && !d.byCommand() {
		d.add(EventDeclarationActive, "The Mac activated the declaration for macOS "+wanted(a)+".", target(a))
	}
	switch {
	case a.Phase == Failed && (was != Failed || a.Fails > b.Fails):
		d.add(EventFailed, "Installing macOS "+wanted(a)+" failed.", d.evidence(InstallFailed, a))
	case a.Phase == was:
	case a.Phase == Rejected:
		d.rejected(a)
	case a.Phase == "", a.Phase == Planned && (was == "" || d.byCommand()), d.declared(a.Phase, was):
		// target_set, manifest_served and declaration_active have told it, or there is nothing to tell.
	default:
		d.add(
			EventPhase,
			"The update to macOS "+wanted(a)+" is "+string(a.Phase)+".",
			map[string]any{"from": string(was), "to": string(a.Phase)},
		)
	}
	if a.Phase != Rejected && codes(a, DeclarationRejected) && !codes(b, DeclarationRejected) {
		d.rejected(a)
	}
}

// byCommand tells whether the Mac is told by command: no declaration is served or active, so its first phases are news.
func (d *diff) byCommand() bool { return d.after.Facts.Version.Major() < 14 }

// declared tells whether the phase is one of which the events of declarations tell.
func (d *diff) declared(is, was Phase) bool {
	return !d.byCommand() && (is == Served || is == Active) && !was.wasActive()
}

func (d *diff) rejected(a *Summary) {
	data := d.evidence(DeclarationRejected, a)
	text := "The Mac rejected a declaration."
	if id, ok := data["identifier"].(string); ok {
		text = "The Mac rejected the declaration " + id + "."
	}
	d.add(EventDeclarationRejected, text, data)
}

// evidence is that of the later snapshot's reason, else what the summary has.
func (d *diff) evidence(code string, s *Summary) map[string]any {
	for _, r := range d.after.Reasons {
		if r.Code == code {
			return r.Evidence
		}
	}
	return notifier{s, d.after.Facts}.reason(code, nil).Evidence
}

// standing tells of states that no other event implies.
func (d *diff) standing() {
	b, a := &d.before.Summary, &d.after.Summary
	was, is := b.StateNow(d.before.Now), a.StateNow(d.after.Now)
	if was == is {
		return
	}
	switch is {
	case Overdue:
		data := target(a)
		data["deadline_local"], data["overdue_at"] = a.Deadline, a.OverdueAt
		d.add(EventOverdue, "The deadline for macOS "+wanted(a)+" has passed.", data)
	case Compliant:
		d.add(EventCompliant, "The Mac is compliant.", map[string]any{"from": string(was)})
	case Unmanaged, Unknown, Unsupported, Held, Incompatible:
		if was != "" {
			d.add(
				EventState,
				"The Mac is "+string(is)+" now.",
				map[string]any{"from": string(was), "to": string(is), "reasons": a.Codes},
			)
		}
	}
}
