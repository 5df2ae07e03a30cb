package compliance

import (
	"slices"
	"time"

	"plimsoll/declarations"
	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
	"plimsoll/status"
)

// keptCodes is how many codes a Summary keeps.
const keptCodes = 4

// notifier writes reasons about one Mac from what its summary and its facts hold.
type notifier struct {
	s *Summary
	f *status.Facts
}

// known is the evidence that every reason can draw on; nil when there is none under that key.
func (t notifier) known(key string) any {
	switch key {
	case "version":
		return t.s.Version
	case "letter":
		return t.s.Letter
	case "build":
		return t.s.Build
	case "policy":
		return t.s.Policy
	case "deadline_local":
		return t.s.Deadline
	case "due_local":
		return t.s.Due
	case "overdue_at":
		return t.s.OverdueAt
	case "phase_at":
		return t.s.PhaseAt
	case "served_at":
		return t.s.ServedAt
	case "install_state":
		if !t.s.Phase.known() {
			return string(t.s.Phase)
		}
	case "count":
		return t.s.Fails
	case "withdrawn_build":
		return t.s.Withdrawn
	default:
		return t.fact(key)
	}
	return nil
}

// fact is evidence from the facts about the Mac; nil for a key that is none.
func (t notifier) fact(key string) any {
	switch key {
	case "macos":
		return t.f.Version
	case "macos_build":
		return t.f.Build
	case "board":
		return t.f.Board
	case "model":
		return t.f.Model
	case "enrolled_at":
		return t.f.EnrolledAt
	case "last_seen_at":
		return t.f.LastContactAt
	case "family":
		return t.f.Family
	case "serial":
		return t.f.Serial
	case "cause":
		return t.f.Refused
	case "refused_at":
		return t.f.RefusedAt
	case "why":
		return RefusalText(t.f.Refused)
	case "advice":
		return refusals[t.f.Refused].advice
	case "identity_ends":
		return t.f.IdentityEnds
	case "last_report_at":
		return t.f.LastReportAt
	}
	return nil
}

// present tells whether a piece of evidence says anything; an empty string or a zero time does not.
func present(v any) bool {
	switch v := v.(type) {
	case nil:
		return false
	case string:
		return v != ""
	case release.Version:
		return v != ""
	case int:
		return v != 0
	case time.Time:
		return !v.IsZero()
	case declarations.Local:
		return v != 0
	}
	return true
}

// reason writes the reason with that code. What the documentation of the code does not list is left out of the evidence.
func (t notifier) reason(code string, extra map[string]any) policy.Reason {
	i, ok := ranks[code]
	if !ok {
		return policy.Reason{Code: code, Text: code + ".", Evidence: map[string]any{}}
	}
	c := &Codes[i]
	evidence := make(map[string]any, len(c.Evidence))
	for _, key := range c.Evidence {
		v, given := extra[key]
		if release := key == "version" || key == "letter" || key == "build"; !given &&
			!(release && slices.Contains(otherReleases, code)) {
			v = t.known(key)
		}
		if !present(v) {
			continue
		}
		if at, ok := v.(time.Time); ok {
			v = at.UTC().Truncate(time.Second)
		}
		evidence[key] = v
	}
	return policy.Reason{Code: code, Text: fill(c.Text, evidence), Advice: fill(c.Advice, evidence), Evidence: evidence}
}

// adopt completes a reason of the plan: its own sentence and evidence stay.
func (t notifier) adopt(r policy.Reason) policy.Reason {
	if r.Text != "" && r.Advice != "" && r.Evidence != nil {
		return r
	}
	own := t.reason(r.Code, r.Evidence)
	if r.Text == "" {
		r.Text = own.Text
	}
	if r.Advice == "" {
		r.Advice = own.Advice
	}
	if r.Evidence == nil {
		r.Evidence = own.Evidence
	}
	return r
}

// arrange merges the reasons that hold whatever the time with those that time brought, the most decisive first.
// While a Mac is on its way, the documented order decides; in every other state what made the state comes first.
func arrange(s *Summary, past bool, fixed, timed []policy.Reason) []policy.Reason {
	all := make([]policy.Reason, 0, len(fixed)+len(timed)+1)
	for _, r := range fixed {
		// "downloading" is said better by "downloading_long".
		if r.Code != string(Downloading) ||
			!slices.ContainsFunc(timed, func(t policy.Reason) bool { return t.Code == DownloadingLong }) {
			all = append(all, r)
		}
	}
	all = append(all, timed...)
	from := 0
	if s.State != Pending {
		from = len(fixed)
	}
	if from < len(all) {
		slices.SortStableFunc(all[from:], func(a, b policy.Reason) int { return urgency(a.Code, past) - urgency(b.Code, past) })
	}
	return all
}

// urgency is the rank of a code. Once the deadline has passed, a missing bootstrap token is a better answer than a phase, and
// that the Mac was away before is no answer any more.
func urgency(code string, past bool) int {
	switch {
	case past && code == NoBootstrapToken:
		return 2 * rankOf(DownloadingLong)
	case past && code == Returned:
		return 2*rankOf(DeadlinePassed) + 2
	}
	return 2*rankOf(code) + 1
}

// fallback is the code for a state that nothing else explains.
func (s *Summary) fallback() string {
	switch s.State {
	case Compliant:
		return ""
	case Unmanaged:
		return codeNotGoverned
	case Unsupported:
		return codeUnsupported
	case Held:
		return codeHeld
	case Exempt:
		return codeExempt
	case Incompatible:
		return MacOSTooOld
	case Failing:
		if s.Phase == Failed {
			return InstallFailed
		}
		return DeclarationRejected
	case Pending, Overdue:
		return DeadlineAhead
	default:
		return codeVersionUnknown
	}
}

// ReasonsAt are the reasons as far as the summary tells them, for the rows of a list: its codes and those that the passing of
// time brings, the most decisive first. Only a compliant Mac may have none.
func ReasonsAt(s Summary, f *status.Facts, now time.Time, catalogueStale bool) []policy.Reason {
	t := notifier{&s, f}
	fixed := make([]policy.Reason, 0, len(s.Codes))
	for _, code := range s.Codes {
		fixed = append(fixed, t.reason(code, nil))
	}
	return t.all(fixed, now, catalogueStale)
}

// all completes the fixed reasons by those that depend on time.
func (t notifier) all(fixed []policy.Reason, now time.Time, catalogueStale bool) []policy.Reason {
	all := arrange(t.s, t.s.past(now), fixed, t.timed(now, catalogueStale))
	if len(all) == 0 {
		if code := t.s.fallback(); code != "" {
			all = append(all, t.reason(code, nil))
		}
	}
	return all
}
