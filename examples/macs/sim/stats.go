package sim

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// Violation is a promise of the protocol that the server broke.
type Violation struct {
	At     time.Time
	Serial string
	Rule   string // a short name
	Text   string
}

func (v Violation) String() string { return fmt.Sprintf("%s %s: %s", v.Serial, v.Rule, v.Text) }

// keptViolations bounds the list; all are counted.
const keptViolations = 1000

// Stats counts what happened to all Macs that share it. It is safe for concurrent use.
type Stats struct {
	Enrolled     atomic.Int64 // enrolments, repeated ones too
	Polls        atomic.Int64
	Commands     atomic.Int64
	Syncs        atomic.Int64 // that found something new
	Fetched      atomic.Int64 // declarations
	Reports      atomic.Int64 // that were acknowledged
	FullReports  atomic.Int64 // of them
	Rejected     atomic.Int64 // declarations that Macs rejected
	Updates      atomic.Int64 // releases installed
	BSIs         atomic.Int64 // Background Security Improvements installed
	Failures     atomic.Int64 // installs that failed
	Unreachable  atomic.Int64 // requests without an answer
	ServerErrors atomic.Int64 // answers 5xx
	Refused      atomic.Int64 // turns of a Mac that ended with a refusal (4xx) or an answer it could not use
	Violated     atomic.Int64

	mu         sync.Mutex
	violations []Violation
}

func (s *Stats) violate(v Violation) {
	s.Violated.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.violations) < keptViolations {
		s.violations = append(s.violations, v)
	}
}

// Violations are the first ones seen, at most 1000.
func (s *Stats) Violations() []Violation {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Violation(nil), s.violations...)
}

// Print writes the summary.
func (s *Stats) Print(w io.Writer) error {
	_, err := fmt.Fprintf(w, `enrolments    %d
polls         %d (%d commands)
syncs         %d (%d declarations fetched, %d rejected)
reports       %d (%d full)
updates       %d, background security improvements %d, failed installs %d
trouble       %d requests without an answer, %d answers 5xx, %d refusals
violations    %d
`, s.Enrolled.Load(), s.Polls.Load(), s.Commands.Load(), s.Syncs.Load(), s.Fetched.Load(), s.Rejected.Load(),
		s.Reports.Load(), s.FullReports.Load(), s.Updates.Load(), s.BSIs.Load(), s.Failures.Load(),
		s.Unreachable.Load(), s.ServerErrors.Load(), s.Refused.Load(), s.Violated.Load())
	return err
}
