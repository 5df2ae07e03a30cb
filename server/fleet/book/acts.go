package book

import (
	"time"

	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
	"plimsoll/server/fleet/audit"
)

// The states of objects as the audit compares them: what an admin wrote, without times and makers. A state that was not is nil.

func policyState(p *policy.Stored) any {
	if p == nil {
		return nil
	}
	return p.Policy
}

func groupState(g *policy.Group) any {
	if g == nil {
		return nil
	}
	return g
}

func holdState(h *release.Hold) any {
	if h == nil {
		return nil
	}
	s := *h
	s.Since, s.By = time.Time{}, ""
	return struct {
		release.Hold
		Since *struct{} `json:"since,omitempty"` // hides the hold's, which has a value always
	}{Hold: s}
}

func freezeState(f *policy.Freeze) any {
	if f == nil {
		return nil
	}
	s := *f
	s.CreatedAt, s.UpdatedAt, s.By = time.Time{}, time.Time{}, ""
	return s
}

func pauseState(p *release.Pause) any {
	if p == nil {
		return nil
	}
	return struct {
		Reason string `json:"reason"`
	}{p.Reason}
}

// opened is a ring that was opened for a release, and halted a release with what the gate saw of it.
type (
	ringOpened struct {
		Build    string           `json:"build"`
		Ring     string           `json:"ring"`
		Evidence *policy.Evidence `json:"evidence,omitempty"`
	}
	ringHalt struct {
		Build    string          `json:"build"`
		Evidence policy.Evidence `json:"evidence"`
	}
)

// ringAct is the opening of a ring, or what the gate of a policy does.
func ringAct(action, policy, reason string, before, after any) []audit.Act {
	return []audit.Act{{Action: action, Object: "policy/" + policy, Reason: reason, Before: before, After: after}}
}
