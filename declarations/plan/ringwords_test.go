package plan

import (
	"strings"
	"testing"

	"plimsoll/declarations/policy"
)

// A plan says in which ring the Mac is and why, and of each release since when it is open, or what it waits for. By its hash
// the Mac's place in the policy "ringed" is no pilot's.
func TestRingIsExplained(t *testing.T) {
	const posted = "26.7 25H10 2026-08-17 J1AP"
	seen := policy.Evidence{Asked: 40, Done: 30, Bad: 10}
	byGate := []policy.Opening{{Policy: "ringed", Build: "25H10", Ring: "broad", At: at(t, "2026-08-20T10:00"), Why: policy.OpenedByGate, Evidence: &seen}}
	byHand := []policy.Opening{{Policy: "ringed", Build: "25H10", Ring: "broad", At: at(t, "2026-08-20T10:00"), Why: policy.OpenedByHand, By: "ada", Reason: "tested"}}
	halt := []policy.Halt{{Policy: "ringed", Build: "25H10", Since: at(t, "2026-08-19T09:00"), Evidence: seen}}
	for _, tt := range []struct {
		name, group, now string
		openings         []policy.Opening
		halts            []policy.Halt
		ring, why, words string
		closed           int
	}{
		{"the first", "it", "2026-08-18", nil, nil, "canary", "in the group it, which the ring names", "open for this Mac since 2026-08-17T18:00:00Z: it is in the first ring", 0},
		{"closed", "eng", "2026-08-18", nil, nil, "early", "in the group eng", "closed for this ring. Whatever the gate sees, it opens at 2026-08-21T12:00:00Z", 1},
		{"by time", "eng", "2026-08-22", nil, nil, "early", "in the group eng", "since 2026-08-21T12:00:00Z: so long before its deadline a release opens by itself", 0},
		{"by the gate", "eng", "2026-08-20T11:00", byGate, nil, "early", "in the group eng", "the gate opened the ring broad, when of the 40 Macs that were asked, 30 were done and 10 were bad", 0},
		{"by hand", "eng", "2026-08-20T11:00", byHand, nil, "early", "in the group eng", "ada opened the ring broad: tested", 0},
		{"halted", "eng", "2026-08-20T11:00", nil, halt, "early", "in the group eng", "the gate has halted it since 2026-08-19T09:00:00Z, when of the 40 Macs that were asked", 1},
		{"the rest", "", "2026-08-18", nil, nil, "broad", "no other ring takes the Mac", "closed for this ring", 1},
	} {
		w := given(t, ringed, "2026-01-01", posted)
		inGroup(w, tt.group)
		w.in.Openings, w.in.Halts = tt.openings, tt.halts
		_, x := w.book().Explain(mac("26.5", "25F71"), at(t, tt.now))
		if x.Ring == nil {
			t.Errorf("%s: no ring", tt.name)
			continue
		}
		if words := strings.Join(x.Ring.Words, " "); x.Ring.Ring != tt.ring || !strings.Contains(x.Ring.Why, tt.why) || !strings.Contains(words, tt.words) || len(x.Ring.Closed) != tt.closed {
			t.Errorf("%s: %+v", tt.name, x.Ring)
		}
	}
	w := given(t, automatic14, "2026-01-01", posted)
	if _, x := w.book().Explain(mac("26.5", "25F71"), at(t, "2026-08-18")); x.Ring != nil {
		t.Errorf("without rings: %+v", x.Ring)
	}
}
