package reconcile

import (
	"slices"
	"strings"
	"time"

	"plimsoll/declarations/plan"
	"plimsoll/declarations/release"
	"plimsoll/status"
	"plimsoll/status/compliance"
	"plimsoll/status/patching"
	"plimsoll/storage"
)

// keepVersions writes what a change adds to the Mac's course of versions (API 5.6), exemptions too, in its commit. It reads
// nothing when it adds nothing.
func keepVersions(m *storage.MacTx, book Book, before *storage.Record, o *Outcome, now time.Time) error {
	var had status.Facts
	var was *plan.Exemption
	if before != nil {
		had, was = before.Facts, before.Exemption
	}
	has := &o.Record.Facts
	ends := had.Enrolled && (o.ClearLife || !has.Enrolled)
	begins := has.Enrolled && (o.ClearLife || !had.Enrolled)
	told := has.Enrolled && (has.Version != had.Version || has.Build != had.Build || has.Letter != had.Letter)
	if !ends && !begins && !told && sameExemption(was, o.Record.Exemption) {
		return nil
	}
	h, err := m.Patching()
	if err != nil {
		return err
	}
	if h == nil {
		h = &patching.History{}
		if had.Enrolled {
			if h, err = VersionsFromEvents(&m.Mac, &had); err != nil {
				return err
			}
		}
	}
	keepExemption(h, was, o.Record.Exemption, now)
	if ends && h.Open() {
		h.End(now, had.LastContactAt)
		l := h.Ended()
		l.Board, l.Policy, l.Groups = had.Board, before.Summary.Policy, book.GroupsOf(&had)
	}
	if has.Enrolled {
		if !h.Open() {
			h.Begin(now, had.LastContactAt)
		}
		h.Saw(now, has.Version, has.Build, has.Letter)
	}
	return m.SetPatching(h)
}

func sameExemption(a, b *plan.Exemption) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Since.Equal(b.Since) && a.Until.Equal(b.Until)
}

// keepExemption keeps until when the Mac is exempt, or was. The one before is kept too: an older version of this server did not.
func keepExemption(h *patching.History, was, is *plan.Exemption, now time.Time) {
	for _, x := range []*plan.Exemption{was, is} {
		if x != nil {
			h.Exempted(x.Since, x.Until)
		}
	}
	if is == nil {
		h.EndExemption(now)
	}
}

// VersionsFromEvents makes the course of a Mac for which an older version of this server kept none: from its enrolment, its
// `updated` and `reverted` events as far as they are kept, and the version that it has.
func VersionsFromEvents(m *storage.Mac, f *status.Facts) (*patching.History, error) {
	h := &patching.History{}
	h.Begin(f.EnrolledAt, time.Time{})
	var changes []compliance.Event
	const page = 200
	for before := ""; ; {
		events, err := m.Events(before, page)
		if err != nil {
			return nil, err
		}
		for _, e := range events {
			if (e.Type == compliance.EventUpdated || e.Type == compliance.EventReverted) && !e.At.Before(f.EnrolledAt) {
				changes = append(changes, e)
			}
		}
		if len(events) < page {
			break
		}
		before = events[len(events)-1].ID
	}
	slices.Reverse(changes) // oldest first
	for i, e := range changes {
		if i == 0 {
			saw(h, f.EnrolledAt, e, "from")
		}
		saw(h, e.At, e, "to")
	}
	at := f.EnrolledAt
	if n := len(changes); n > 0 {
		at = changes[n-1].At
	}
	h.Saw(at, f.Version, f.Build, f.Letter)
	return h, nil
}

// saw takes one end of an event: "26.3.1 (a)" is a version with a letter.
func saw(h *patching.History, at time.Time, e compliance.Event, end string) {
	text, _ := e.Data[end].(string)
	build, _ := e.Data[end+"_build"].(string)
	version, letter, _ := strings.Cut(text, " ")
	if v, err := release.ParseVersion(version); err == nil {
		h.Saw(at, v, build, release.NormalLetter(letter))
	}
}
