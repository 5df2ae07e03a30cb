package model

import (
	"encoding/json"
	"fmt"
	"time"

	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
)

// Scenario is one way to enforce updates.
type Scenario struct {
	Name string
	// Policy is the product's, as an admin posts it; nil: none.
	Policy *policy.Policy
	Freeze *policy.Freeze
	// AfterNewest is the field's way: the newest release is due so many days after it was posted, and a newer release puts the
	// deadline off. 0: not used. The product has no such mode.
	AfterNewest int
	// Faulty is the version that never installs on a share of the Macs; empty: none.
	Faulty release.Version
}

// FaultyVersion is the release that fails in the scenarios of a faulty release.
const FaultyVersion release.Version = "26.1"

const ringed = `{"name":"rings","updates":{"mode":"automatic","within_days":14},"notice_days":2,
"rings":[{"name":"canary","percent":2,"within_days":2},{"name":"early","percent":10,"within_days":7,"min_age_days":3},
{"name":"broad","min_age_days":5}],"gate":{"min_macs":20,"max_bad_percent":5}}`

// Scenarios are those that one run compares.
func Scenarios() ([]Scenario, error) {
	all := []Scenario{{Name: "no enforcement"}}
	for _, n := range []int{14, 30} {
		all = append(all, Scenario{Name: fmt.Sprintf("%d days after the newest", n), AfterNewest: n})
	}
	var failed error
	add := func(name, src string) *Scenario {
		p := new(policy.Policy)
		if err := json.Unmarshal([]byte(src), p); err != nil && failed == nil {
			failed = fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, Scenario{Name: name, Policy: p})
		return &all[len(all)-1]
	}
	for _, n := range []int{7, 14, 21, 30} {
		add(fmt.Sprintf("ours, %d days", n), fmt.Sprintf(`{"name":"ours","updates":{"mode":"automatic","within_days":%d}}`, n))
	}
	add("ours, 14 days, exploited 3",
		`{"name":"ours","updates":{"mode":"automatic","within_days":14,"exploited_within_days":3}}`)
	add("the same, notice 1 day",
		`{"name":"ours","notice_days":1,"updates":{"mode":"automatic","within_days":14,"exploited_within_days":3}}`)
	add("ours, 14 days, Tue to Thu",
		`{"name":"ours","updates":{"mode":"automatic","within_days":14,"days":["tue","wed","thu"]}}`)
	const ours = `{"name":"ours","updates":{"mode":"automatic","within_days":14}}`
	add("ours, 14 days, freeze", ours).Freeze = &policy.Freeze{
		Name: "year-end", From: release.DayOf(time.Date(2025, 12, 19, 0, 0, 0, 0, time.UTC)),
		To: release.DayOf(time.Date(2026, 1, 4, 0, 0, 0, 0, time.UTC)),
	}
	add("ours, 14 days, rings", ringed)
	add("faulty release, no rings", ours).Faulty = FaultyVersion
	add("faulty release, rings", ringed).Faulty = FaultyVersion
	return all, failed
}
