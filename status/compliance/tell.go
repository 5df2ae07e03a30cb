package compliance

import (
	"fmt"
	"slices"
	"time"

	"plimsoll/declarations/release"
	"plimsoll/status"
)

// wasActive tells whether a phase shows that the declaration is or was active.
func (p Phase) wasActive() bool {
	switch p {
	case "", Planned, Served, Rejected:
		return false
	}
	return true
}

// codes tells whether a summary has a code.
func codes(s *Summary, code string) bool { return slices.Contains(s.Codes, code) }

// runs is what a Mac runs, for a person: "26.3.1 (a)".
func runs(f *status.Facts) string {
	if f.Letter != "" {
		return string(f.Version) + " (" + f.Letter + ")"
	}
	return string(f.Version)
}

// buildOf is the build that a Mac runs, that of an installed Background Security Improvement included.
func buildOf(f *status.Facts) string {
	if f.Letter != "" && f.SupplementalBuild != "" {
		return f.SupplementalBuild
	}
	return f.Build
}

// wanted is the target of a summary, for a person.
func wanted(s *Summary) string {
	if s.Kind == release.KindBSI && s.Letter != "" {
		return string(s.Version) + " (" + s.Letter + ")"
	}
	return string(s.Version)
}

// target is the target of a summary as data.
func target(s *Summary) map[string]any {
	return map[string]any{"kind": string(s.Kind), "version": s.Version, "letter": s.Letter, "build": s.Build}
}

func by(s *Summary) string {
	if s.Deadline == 0 {
		return ""
	}
	return " by " + show(s.Deadline)
}

// days writes a span for a person.
func days(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", int(d/(24*time.Hour)))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", int(d/time.Hour))
	}
	return fmt.Sprintf("%d minutes", int(d/time.Minute))
}
