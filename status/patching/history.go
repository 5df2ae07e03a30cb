// Package patching turns the course of versions of each Mac into counts by release and day, and those into patch reports.
package patching

import (
	"slices"
	"time"

	"plimsoll/declarations/release"
)

// History is the course of versions of one Mac (API 5.6): the beginning and end of each of its lives, and every change of
// version, build and letter in it. It is kept with the Mac, and written in the commit that takes the check-in or report.
type History struct {
	Lives []Life `json:"l"` // oldest first; they do not overlap
	// Exempt are the times for which an admin exempted the Mac (rules 12), oldest first.
	Exempt []Span `json:"x,omitempty"`
}

// Span is the time from one instant until another, UTC.
type Span struct {
	From time.Time `json:"f"`
	To   time.Time `json:"t"`
}

// Life is one enrolment of a Mac.
type Life struct {
	From time.Time `json:"f"`           // UTC
	To   time.Time `json:"t,omitzero"`  // checked out, deleted or enrolled again; zero: it goes on
	Last time.Time `json:"c,omitzero"`  // the last contact of a life that ended
	Had  []Version `json:"v,omitempty"` // oldest first
	// Board, Policy and Groups are those that the Mac had when the life ended.
	Board  string   `json:"b,omitempty"`
	Policy string   `json:"p,omitempty"`
	Groups []string `json:"g,omitempty"`
}

// Version is what a Mac told of itself, and since when.
type Version struct {
	At      time.Time       `json:"t"`
	Version release.Version `json:"v"`
	Build   string          `json:"b,omitempty"`
	Letter  string          `json:"l,omitempty"`
}

// atLeast tells whether the version is the named one or a higher one; of a Background Security Improvement: that letter of the
// version, or a higher version.
func (v *Version) atLeast(version release.Version, letter string) bool {
	if c := v.Version.Compare(version); c != 0 {
		return c > 0
	}
	return v.Letter >= letter
}

func second(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

// open is the life that goes on, nil if there is none.
func (h *History) open() *Life {
	if n := len(h.Lives); n > 0 && h.Lives[n-1].To.IsZero() {
		return &h.Lives[n-1]
	}
	return nil
}

// Open tells whether a life goes on.
func (h *History) Open() bool { return h.open() != nil }

// Ended is the life that ended last, when none goes on; nil otherwise.
func (h *History) Ended() *Life {
	if n := len(h.Lives); n > 0 && h.open() == nil {
		return &h.Lives[n-1]
	}
	return nil
}

// Begin opens a life, and ends one that went on, whose last contact was at last. Times before what is known are moved to it.
func (h *History) Begin(at, last time.Time) {
	at = h.after(at)
	h.End(at, last)
	h.Lives = append(h.Lives, Life{From: at})
}

// End closes the life that goes on, if there is one; last is the Mac's last contact.
func (h *History) End(at, last time.Time) {
	l := h.open()
	if l == nil {
		return
	}
	l.To, l.Last = h.after(at), second(last)
	if l.Last.Before(l.From) {
		l.Last = l.From
	}
	if l.Last.After(l.To) {
		l.Last = l.To
	}
}

// Saw keeps what the Mac told, and tells whether that is new. A Mac without a life, or one that told no version, keeps nothing.
func (h *History) Saw(at time.Time, version release.Version, build, letter string) bool {
	l := h.open()
	if l == nil || version == "" {
		return false
	}
	if n := len(l.Had); n > 0 {
		if had := &l.Had[n-1]; had.Version == version && had.Build == build && had.Letter == letter {
			return false
		}
	}
	l.Had = append(l.Had, Version{At: h.after(at), Version: version, Build: build, Letter: letter})
	return true
}

// Exempted keeps that the Mac is exempt until a time. An exemption that began at the same instant gets the new end; one that
// began before ends where the new one begins.
func (h *History) Exempted(since, until time.Time) {
	since, until = second(since), second(until)
	if n := len(h.Exempt); n > 0 {
		last := &h.Exempt[n-1]
		if !last.From.Before(since) {
			last.To = until
			return
		}
		h.EndExemption(since)
	}
	h.Exempt = append(h.Exempt, Span{From: since, To: until})
}

// EndExemption ends the exemption that lasts at an instant.
func (h *History) EndExemption(at time.Time) {
	if n := len(h.Exempt); n > 0 && h.Exempt[n-1].To.After(at) {
		h.Exempt[n-1].To = second(at)
	}
}

// exempt tells whether the Mac was exempt when a day ended.
func (h *History) exempt(end time.Time) bool {
	return slices.ContainsFunc(h.Exempt, func(s Span) bool { return s.From.Before(end) && !s.To.Before(end) })
}

// after keeps the course in order when a clock went back.
func (h *History) after(at time.Time) time.Time {
	at = second(at)
	n := len(h.Lives)
	if n == 0 {
		return at
	}
	l := &h.Lives[n-1]
	known := []time.Time{l.From, l.To}
	if m := len(l.Had); m > 0 {
		known = append(known, l.Had[m-1].At)
	}
	for _, k := range known {
		if k.After(at) {
			at = k
		}
	}
	return at
}

// Trim forgets what is over before the given time, and tells whether it forgot anything: lives and exemptions that ended, and
// versions that were followed by another one. Releases that were posted before that time cannot be counted any more.
func (h *History) Trim(before time.Time) bool {
	n := len(h.Lives) + len(h.Exempt)
	h.Lives = slices.DeleteFunc(h.Lives, func(l Life) bool { return !l.To.IsZero() && l.To.Before(before) })
	h.Exempt = slices.DeleteFunc(h.Exempt, func(s Span) bool { return s.To.Before(before) })
	trimmed := len(h.Lives)+len(h.Exempt) != n
	for i := range h.Lives {
		l := &h.Lives[i]
		over := 0
		for over+1 < len(l.Had) && l.Had[over+1].At.Before(before) {
			over++
		}
		if over > 0 {
			l.Had, trimmed = slices.Clone(l.Had[over:]), true
		}
	}
	return trimmed
}

// at is the life that covers an instant, nil if none does.
func (h *History) at(t time.Time) *Life {
	for i := range h.Lives {
		if l := &h.Lives[i]; !l.From.After(t) && (l.To.IsZero() || l.To.After(t)) {
			return l
		}
	}
	return nil
}

// had is what the Mac had at t in this life; before it told anything, what it told first.
func (l *Life) had(t time.Time) *Version {
	if len(l.Had) == 0 {
		return nil
	}
	v := &l.Had[0]
	for i := range l.Had {
		if l.Had[i].At.After(t) {
			break
		}
		v = &l.Had[i]
	}
	return v
}
