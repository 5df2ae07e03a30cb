package compliance

import (
	"slices"
	"strings"
	"testing"

	"plimsoll/declarations"
	"plimsoll/declarations/plan"
	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
	"plimsoll/status"
)

// TestRealPlans judges Macs by the plans of real policies: what the plan says and what is judged of it agree.
func TestRealPlans(t *testing.T) {
	minimum := func(v release.Version) policy.Policy {
		return policy.Policy{Name: "floor", Priority: 10, Updates: &policy.Updates{Mode: "minimum", Version: v, Deadline: new(local("2026-09-01T12:00:00"))}}
	}
	exact := func(v release.Version) policy.Policy {
		return policy.Policy{Name: "exactly", Priority: 10, Updates: &policy.Updates{Mode: "exact", Version: v, Deadline: new(local("2026-09-01T12:00:00"))}}
	}
	tests := []struct {
		name    string
		policy  policy.Policy
		input   func(*policy.Input)
		mac     func(*plan.Mac)
		want    State
		reasons string // the first ones
		target  string
	}{
		{"below the floor", minimum("26.6.1"), nil, nil, Pending, "never_synced deadline_ahead", "26.6.2 25G83"},
		{"at the floor", minimum("26.5"), nil, nil, Compliant, "", ""},
		{"no policy", minimum("26.6.1"), func(in *policy.Input) { in.Policies = nil }, nil, Unmanaged, "not_governed never_synced", ""},
		{"paused", minimum("26.6.1"), func(in *policy.Input) { in.Pause = &release.Pause{Reason: "wait", Since: at("2026-08-21T08:00")} }, nil, Unmanaged, "paused never_synced", ""},
		{"manages nothing", policy.Policy{Name: "none", Updates: &policy.Updates{Mode: "none"}}, nil, nil, Unmanaged, "nothing_managed never_synced", ""},
		{"no version", minimum("26.6.1"), nil, func(m *plan.Mac) { m.Facts.Version, m.Facts.Build = "", "" }, Unknown, "version_unknown never_synced", ""},
		{"no board", minimum("26.6.1"), nil, func(m *plan.Mac) { m.Facts.Board = "" }, Unknown, "board_unknown never_synced", ""},
		{"a board that the catalogue does not have", minimum("26.6.1"), nil, func(m *plan.Mac) { m.Facts.Board = "J999AP" }, Unknown, "not_in_catalogue never_synced", ""},
		{"macOS 13", minimum("26.6.1"), nil, func(m *plan.Mac) { m.Facts.Version, m.Facts.Build = "13.7.8", "22H730" }, Pending, "never_synced by_command deadline_ahead", "26.6.2 25G83"},
		{"macOS 12 on Apple silicon", minimum("26.6.1"), nil, func(m *plan.Mac) {
			m.Facts.Version, m.Facts.Build, m.Facts.AppleSilicon = "12.7.6", "21H1320", status.Yes
		}, Pending, "by_command deadline_ahead subscriptions_not_supported", "26.6.2 25G83"},
		{"macOS 12, and it may be an Intel Mac", minimum("26.6.1"), nil, func(m *plan.Mac) { m.Facts.Version, m.Facts.Build = "12.7.6", "21H1320" }, Incompatible, "upgrade_needs_installer", "26.6.2 25G83"},
		{"enforcement is not among what it lists", minimum("26.6.1"), nil, func(m *plan.Mac) { m.Facts.Capabilities.Known = true }, Incompatible, "enforcement_not_listed never_synced", "26.6.2 25G83"},
		{"everything is held", minimum("26.6.1"), func(in *policy.Input) {
			in.Holds = []release.Hold{{Subject: "26", Reason: "VPN", Since: at("2026-08-21T08:00")}}
		}, nil, Held, "held never_synced", ""},
		{"the version named is for other boards", exact("26.6.2"), nil, func(m *plan.Mac) {
			m.Facts.Model, m.Facts.Board, m.Facts.Version, m.Facts.Build = "MacBookPro15,1", "J680AP", "15.7.7", "24G720"
		}, Unsupported, "not_offered_for_board unsupported never_synced", ""},
		{"the version named was withdrawn", exact("26.6.1"), func(in *policy.Input) {
			for i := range in.Catalog.Releases {
				if in.Catalog.Releases[i].Build == "25G76" {
					in.Catalog.Releases[i].Available = false
				}
			}
		}, nil, Unsupported, "target_withdrawn unsupported never_synced", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := policy.Input{Policies: []policy.Stored{{Policy: tt.policy}}, Catalog: release.Snapshot()}
			if tt.input != nil {
				tt.input(&in)
			}
			book, err := plan.Compile(in)
			if err != nil {
				t.Fatal(err)
			}
			mac := air()
			if tt.mac != nil {
				tt.mac(&mac)
			}
			now := at("2026-08-22T10:00")
			v := Judge(Input{Mac: &mac, Plan: book.Plan(&mac, now), Index: book.Index, Now: now})
			if v.State != tt.want {
				t.Errorf("state %s, want %s", v.State, tt.want)
			}
			if got := strings.Join(codesOf(v.Reasons), " "); !strings.HasPrefix(got, tt.reasons) || tt.reasons == "" && got != "" {
				t.Errorf("reasons %q, want %q", got, tt.reasons)
			}
			if got := strings.TrimSpace(string(v.Version) + " " + v.Build); got != tt.target {
				t.Errorf("target %q, want %q", got, tt.target)
			}
			checkReasons(t, tt.name, &v, now)
		})
	}
}

// TestARealPlanIsFollowed: the tokens of a real plan lead from planned to active.
func TestARealPlanIsFollowed(t *testing.T) {
	book, err := plan.Compile(policy.Input{Catalog: release.Snapshot(), Policies: []policy.Stored{{Policy: policy.Policy{
		Name: "floor", Updates: &policy.Updates{Mode: "minimum", Version: "26.6.1", Deadline: new(local("2026-09-01T12:00:00"))},
	}}}})
	if err != nil {
		t.Fatal(err)
	}
	l := &life{t: t, index: book.Index, mac: air(), planner: func(l *life) *plan.Plan { return book.Plan(&l.mac, l.now) }}
	var phases []Phase
	for _, do := range []func(*life){func(*life) {}, syncs, activates} {
		l.now = at("2026-08-22T10:00")
		do(l)
		l.judge()
		phases = append(phases, l.verdict.Phase)
	}
	if want := []Phase{Planned, Served, Active}; !slices.Equal(phases, want) {
		t.Errorf("%q, want %q", phases, want)
	}
	if l.verdict.Flags&NotSynced != 0 {
		t.Error("not synced")
	}
	if _, ok := l.manifest.Find(declarations.KindConfiguration, declarations.IDOSUpdate); !ok {
		t.Error("the manifest lacks the target")
	}
}

// TestThePlansCodesAreDocumented: whatever a plan can say is in the table.
func TestThePlansCodesAreDocumented(t *testing.T) {
	for _, r := range append(plan.ReasonTexts, policy.ReasonText{Code: policy.CodePolicyPart}) {
		if _, ok := ranks[r.Code]; !ok {
			t.Errorf("%s is missing", r.Code)
		}
	}
}
