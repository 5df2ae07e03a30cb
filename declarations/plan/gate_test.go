package plan

import (
	"math"
	"testing"

	"plimsoll/declarations/policy"
)

const ringed = `{"name":"ringed","updates":{"mode":"automatic","within_days":14},"notice_days":2,"rings":[
	{"name":"canary","groups":["it"],"within_days":2},{"name":"early","groups":["eng"],"within_days":7,"min_age_days":3},{"name":"broad","min_age_days":5}],
	"gate":{"min_macs":20,"max_bad_percent":5}}`

func TestDecide(t *testing.T) {
	p := pol(t, ringed)
	rule := p.Rule()
	r := rel(t, "26.6.2 25G83 2026-08-17 J1AP")
	for _, tt := range []struct {
		name             string
		open             int
		asked, done, bad int
		now              string
		want             Decision
	}{
		{"nothing is known", 0, 0, 0, 0, "2026-08-21", Decision{Waits: "early", For: WaitsForMacs}},
		{"too young", 0, 30, 30, 0, "2026-08-19T23:59", Decision{Waits: "early", For: WaitsForAge}},
		{"as old as it must be", 0, 30, 30, 0, "2026-08-20", Decision{Open: "early"}},
		{"nineteen of thirty", 0, 30, 19, 0, "2026-08-21", Decision{Waits: "early", For: WaitsForMacs}},
		{"twenty of thirty", 0, 30, 20, 0, "2026-08-21", Decision{Open: "early"}},
		{"all of a small ring", 0, 1, 1, 0, "2026-08-21", Decision{Open: "early"}},
		{"a canary that never reports", 0, 1, 0, 0, "2026-08-21", Decision{Waits: "early", For: WaitsForMacs}},
		{"one of twenty is bad: 5 percent", 0, 20, 19, 1, "2026-08-21", Decision{Open: "early"}},
		{"two of twenty are bad", 0, 20, 18, 2, "2026-08-21", Decision{Waits: "early", For: WaitsForBad}},
		{"three of three are bad", 0, 10, 0, 3, "2026-08-21", Decision{Halt: true, Waits: "early", For: WaitsForMacs}},
		{"three of forty might be chance", 1, 40, 37, 3, "2026-08-23", Decision{Waits: "broad", For: WaitsForBad}},
		{"thirty of a hundred are not", 1, 100, 70, 30, "2026-08-23", Decision{Halt: true, Waits: "broad", For: WaitsForBad}},
		{"the last ring is open", 2, 100, 100, 0, "2026-08-30", Decision{}},
		{"and halted all the same", 2, 100, 70, 30, "2026-08-30", Decision{Halt: true}},
	} {
		got := Decide(&rule, &r, tt.open, policy.Evidence{Asked: tt.asked, Done: tt.done, Bad: tt.bad}, at(t, tt.now))
		if got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
	without := rule
	without.Gate = nil
	if got := Decide(&without, &r, 0, policy.Evidence{Asked: 30, Done: 30}, at(t, "2026-08-21")); got != (Decision{}) {
		t.Errorf("without a gate: %+v", got)
	}
}

// The bounds are those of statistics textbooks: Wilson, 95 %.
func TestWilsonLow(t *testing.T) {
	for _, tt := range []struct {
		bad, n int
		want   float64
	}{{0, 10, 0}, {1, 10, 0.0179}, {5, 10, 0.2366}, {10, 10, 0.7225}, {30, 100, 0.2189}, {0, 0, 0}} {
		if got := WilsonLow(tt.bad, tt.n); math.Abs(got-tt.want) > 0.00006 {
			t.Errorf("%d of %d: %.4f, want %.4f", tt.bad, tt.n, got, tt.want)
		}
	}
}

func TestCount(t *testing.T) {
	r := rel(t, "26.6.2 25G83 2026-08-17 J1AP")
	now := at(t, "2026-08-21T12:00")
	for _, tt := range []struct {
		name string
		w    Witness
		want policy.Evidence
	}{
		{"not asked", Witness{Version: "26.6.2"}, policy.Evidence{}},
		{"asked", Witness{Told: "25G83", Version: "26.6.1"}, policy.Evidence{Asked: 1}},
		{"done", Witness{Told: "25G83", Version: "26.6.2"}, policy.Evidence{Asked: 1, Done: 1}},
		{"failing", Witness{Told: "25G83", Version: "26.6.1", Failing: true}, policy.Evidence{Asked: 1, Bad: 1}},
		{"installing for four hours", Witness{Told: "25G83", Version: "26.6.1", InstallingSince: at(t, "2026-08-21T08:00")}, policy.Evidence{Asked: 1}},
		{"installing for longer", Witness{Told: "25G83", Version: "26.6.1", InstallingSince: at(t, "2026-08-21T07:59")}, policy.Evidence{Asked: 1, Bad: 1}},
		{"exempt", Witness{Told: "25G83", Version: "26.6.2", Exempt: true}, policy.Evidence{}},
		{"silent", Witness{Told: "25G83", Version: "26.6.1", Silent: true}, policy.Evidence{}},
	} {
		var e policy.Evidence
		if Count(&e, &tt.w, &r, now); e != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, e, tt.want)
		}
	}
}
