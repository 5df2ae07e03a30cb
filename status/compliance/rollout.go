package compliance

import (
	"fmt"
	"time"

	"plimsoll/declarations/plan"
	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
)

// RingOpened tells that a release was opened for a ring of a policy (rules 13).
func RingOpened(o policy.Opening, v release.Version) Event {
	data := rolloutData(o.Policy, o.Build, v, o.Evidence)
	data["ring"], data["why"] = o.Ring, o.Why
	who := "The gate"
	var why string
	switch {
	case o.Why == policy.OpenedByHand:
		who, why = o.By, ": "+o.Reason
		data["by"], data["reason"] = o.By, o.Reason
	case o.Evidence != nil:
		why = ": " + plan.EvidenceWords(*o.Evidence)
	}
	return fleetEvent(EventRingOpened, o.At,
		fmt.Sprintf("%s opened macOS %s for the ring %s of the policy %s%s", who, v, o.Ring, o.Policy, why), data)
}

// GateHalted tells that the gate of a policy began to halt a release (rules 13).
func GateHalted(h policy.Halt, v release.Version) Event {
	return fleetEvent(EventGateHalted, h.Since,
		fmt.Sprintf("The gate of the policy %s halts macOS %s: %s", h.Policy, v, plan.EvidenceWords(h.Evidence)),
		rolloutData(h.Policy, h.Build, v, &h.Evidence))
}

// GateResumed tells that the halt of a release ended at a time, with what the Macs show then (rules 13).
func GateResumed(h policy.Halt, v release.Version, e policy.Evidence, at time.Time) Event {
	data := rolloutData(h.Policy, h.Build, v, &e)
	data["since_at"] = h.Since
	return fleetEvent(EventGateResumed, at,
		fmt.Sprintf("The gate of the policy %s halts macOS %s no longer: %s", h.Policy, v, plan.EvidenceWords(e)), data)
}

func rolloutData(name, build string, v release.Version, e *policy.Evidence) map[string]any {
	data := map[string]any{"policy": name, "build": build, "version": string(v)}
	if e != nil {
		data["asked"], data["done"], data["bad"] = e.Asked, e.Done, e.Bad
	}
	return data
}

func fleetEvent(typ string, at time.Time, text string, data map[string]any) Event {
	return Event{At: at.UTC(), Type: typ, Text: text + ".", Data: data}
}
