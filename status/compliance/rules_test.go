package compliance

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"plimsoll/declarations"
	"plimsoll/declarations/plan"
	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
	"plimsoll/status"
)

// settled is a Mac that is synced, with a target that is active, judged on 2026-08-22.
func settled(t *testing.T, planner func(*life) *plan.Plan) *life {
	t.Helper()
	l := &life{t: t, index: summer, mac: air(), planner: planner, now: at("2026-08-22T09:00")}
	l.fetch()
	l.report(map[string]any{"management.declarations": l.holds(nil)})
	l.now = at("2026-08-22T10:00")
	return l
}

// as changes a plan after it was made.
func as(planner func(*life) *plan.Plan, change func(*plan.Plan)) func(*life) *plan.Plan {
	return func(l *life) *plan.Plan {
		p := planner(l)
		change(p)
		declare(p, 0)
		return p
	}
}

var floor = asks("25G83", "2026-09-01T12:00:00")

// TestStates is the table of rules 8, each state against those that come after it.
func TestStates(t *testing.T) {
	outcome := func(o plan.Outcome) func(*life) *plan.Plan {
		return as(floor, func(p *plan.Plan) { p.Outcome, p.Target, p.Deadline, p.Due, p.Lanes = o, nil, 0, 0, nil })
	}
	fails := func(l *life) { l.report(map[string]any{"softwareupdate.install-state": "failed"}) }
	tests := []struct {
		name    string
		planner func(*life) *plan.Plan
		do      func(*life)
		want    State
		first   string // the most decisive reason
	}{
		{"no policy governs", as(outcome(plan.Unmanaged), func(p *plan.Plan) { p.Policy = nil }), fails, Unmanaged, "not_governed"},
		{"its policy manages nothing", outcome(plan.Unmanaged), fails, Unmanaged, "nothing_managed"},
		{"paused", as(outcome(plan.Unmanaged), func(p *plan.Plan) { p.Paused = &release.Pause{Reason: "a bad release"} }), fails, Unmanaged, "paused"},
		{"no version yet", outcome(plan.Unknown), func(l *life) { l.mac.Facts.Version = "" }, Unknown, "version_unknown"},
		{"no board yet", outcome(plan.Unknown), func(l *life) { l.mac.Facts.Board = "" }, Unknown, "board_unknown"},
		{"a fact for its assignment", outcome(plan.Unknown), fails, Unknown, "assignment_unknown"},
		{"the plan's own reason", as(outcome(plan.Unknown), func(p *plan.Plan) { p.Reasons = []policy.Reason{{Code: "not_in_catalogue"}} }), nil, Unknown, "not_in_catalogue"},
		{"no plan at all", func(*life) *plan.Plan { return &plan.Plan{} }, nil, Unknown, "assignment_unknown"},
		{"unsupported", outcome(plan.Unsupported), fails, Unsupported, "unsupported"},
		{"held", outcome(plan.Held), fails, Held, "held"},
		{"held, although it has a BSI to take", as(floor, func(p *plan.Plan) { p.Outcome = plan.Held }), nil, Held, "held"},
		{"too old", as(floor, func(p *plan.Plan) { p.Gated = "macos_too_old" }), fails, Incompatible, "macos_too_old"},
		{"does not list the type", as(floor, func(p *plan.Plan) { p.Gated = "enforcement_not_listed" }), fails, Incompatible, "enforcement_not_listed"},
		{"failed", floor, fails, Failing, "install_failed"},
		{"failed more than once, and does not say so in its install-state", floor, says("softwareupdate.failure-reason", map[string]any{"count": 2}), Failing, "install_failed"},
		{"failed after its deadline", asks("25G83", "2026-08-22T09:30:00"), fails, Failing, "install_failed"},
		{"another declaration of ours is rejected", floor, func(l *life) {
			l.report(map[string]any{"management.declarations": l.rejects(declarations.IDStatus, "no")})
		}, Failing, "rejected"},
		{"the target's activation is rejected", floor, func(l *life) {
			l.report(map[string]any{"management.declarations": l.holds(func(id string, e map[string]any) {
				switch id {
				case declarations.IDOSUpdate:
					e["active"], e["valid"] = false, "unknown"
				case declarations.IDOSUpdate + declarations.ActivationSuffix:
					e["valid"] = "invalid"
				}
			})})
		}, Failing, "rejected"},
		{"overdue", asks("25G83", "2026-08-22T09:30:00"), func(l *life) { l.contact() }, Overdue, "deadline_passed"},
		{"overdue from the very second", asks("25G83", "2026-08-22T10:00:00"), func(l *life) { l.contact() }, Overdue, "deadline_passed"},
		{"pending", floor, nil, Pending, "deadline_ahead"},
		{"compliant", asks("25F71", "2026-09-01T12:00:00"), nil, Compliant, ""},
		{"compliant, whatever else fails to install", asks("25F71", "2026-09-01T12:00:00"), fails, Compliant, ""},
		{"an optional BSI is never overdue", as(asks("25G83", "2026-08-22T09:30:00"), func(p *plan.Plan) { p.Optional = true }), func(l *life) { l.contact() }, Pending, "deadline_passed"},
		{"nor failing", as(floor, func(p *plan.Plan) { p.Optional = true }), fails, Pending, "install_failed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := settled(t, tt.planner)
			if tt.do != nil {
				tt.do(l)
			}
			l.judge()
			if got := l.verdict.StateNow(l.now); got != tt.want {
				t.Errorf("state %q, want %q", got, tt.want)
			}
			first := ""
			if len(l.verdict.Reasons) > 0 {
				first = l.verdict.Reasons[0].Code
			}
			if first != tt.first {
				t.Errorf("reasons %q, want %q first", codesOf(l.verdict.Reasons), tt.first)
			}
			if l.verdict.State == Overdue {
				t.Error("the state that is kept is overdue")
			}
			checkReasons(t, tt.name, &l.verdict, l.now)
		})
	}
}

// TestPhases: only what is reported for a ServerToken in the manifest counts, and an install-state counts for the target unless
// pending-version names another version (rules 8).
func TestPhases(t *testing.T) {
	entry := func(id, token, valid string, active bool) map[string]any {
		return map[string]any{"identifier": id, "server-token": token, "valid": valid, "active": active}
	}
	configurations := func(entries ...any) map[string]any {
		return map[string]any{"management.declarations": map[string]any{"activations": []any{}, "assets": []any{}, "management": []any{}, "configurations": entries}}
	}
	ours := func(l *life) string {
		item, _ := l.manifest.Find(declarations.KindConfiguration, declarations.IDOSUpdate)
		return item.ServerToken
	}
	id := declarations.IDOSUpdate
	pending := func(version, build string) map[string]any {
		return map[string]any{"softwareupdate.install-state": "prepared", "softwareupdate.pending-version": map[string]any{"os-version": version, "build-version": build}}
	}
	tests := []struct {
		name   string
		do     func(*life)
		want   Phase
		reason string
	}{
		{"reported under another token only", func(l *life) { l.report(configurations(entry(id, "old", "valid", true))) }, Served, NotFetched},
		{"rejected under another token only", func(l *life) { l.report(configurations(entry(id, "old", "invalid", true))) }, Served, NotFetched},
		{"two tokens, ours is active", func(l *life) {
			l.report(configurations(entry(id, "old", "invalid", true), entry(id, ours(l), "valid", true)))
		}, Active, DeadlineAhead},
		{"two tokens, ours is rejected", func(l *life) {
			l.report(configurations(entry(id, ours(l), "invalid", true), entry(id, "old", "valid", true)))
		}, Rejected, DeclarationRejected},
		{"held but not active", func(l *life) { l.report(configurations(entry(id, ours(l), "unknown", false))) }, Served, NotActive},
		{"active, but of a validity that nobody knows", func(l *life) { l.report(configurations(entry(id, ours(l), "perhaps", true))) }, Served, NotActive},
		{"reported as another kind", func(l *life) {
			l.report(map[string]any{"management.declarations": map[string]any{"activations": []any{entry(id, ours(l), "invalid", false)}, "configurations": []any{}, "assets": []any{}, "management": []any{}}})
		}, Served, NotFetched},
		{"another manifest was planned", func(l *life) { l.planner = asks("25G83", "2026-09-05T12:00:00") }, Planned, NotSyncedYet},
		{"an install-state without a manifest that has the target", func(l *life) {
			l.report(map[string]any{"softwareupdate.install-state": "installing"})
			l.planner = asks("25G83", "2026-09-05T12:00:00")
		}, Planned, NotSyncedYet},
		{"no install-state", func(l *life) { l.report(map[string]any{"softwareupdate.install-state": "none"}) }, Active, DeadlineAhead},
		{"waiting, which Apple's list lacks", says("softwareupdate.install-state", "waiting"), Waiting, "waiting"},
		{"before the declaration is reported", func(l *life) {
			l.report(configurations())
			l.report(map[string]any{"softwareupdate.install-state": "downloading"})
		}, Downloading, "downloading"},
		{"a word that Apple may add", says("softwareupdate.install-state", "Verifying"), "verifying", OtherPhase},
		{"a word of ours says nothing", says("softwareupdate.install-state", "planned"), Active, DeadlineAhead},
		{"not a word", says("softwareupdate.install-state", 7), Active, DeadlineAhead},
		{"a very long word", says("softwareupdate.install-state", strings.Repeat("ä", 1000)), Phase(strings.Repeat("ä", 16)), OtherPhase},
		{"pending names the target", func(l *life) { l.report(pending("26.6.2", "25G83")) }, Prepared, "prepared"},
		{"pending names the target with another build", func(l *life) { l.report(pending("26.6.2", "25G84")) }, Prepared, "prepared"},
		{"pending names the target and a letter", func(l *life) { l.report(pending("26.6.2 (a)", "25G770083a")) }, Prepared, "prepared"},
		{"pending names another version", func(l *life) { l.report(pending("26.6.1", "25G76")) }, Active, DeadlineAhead},
		{"pending names nothing", func(l *life) { l.report(pending("", "")) }, Prepared, "prepared"},
		{"pending is nonsense", func(l *life) { l.report(pending("Tahoe", "")) }, Prepared, "prepared"},
		{"another version failed", func(l *life) {
			l.report(pending("26.6.1", "25G76"))
			l.report(map[string]any{"softwareupdate.failure-reason": map[string]any{"count": 4}})
		}, Active, DeadlineAhead},
		{"failed, and tried again", func(l *life) {
			l.report(map[string]any{"softwareupdate.install-state": "downloading", "softwareupdate.failure-reason": map[string]any{"count": 1}})
		}, Failed, InstallFailed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := settled(t, floor)
			tt.do(l)
			l.judge()
			if l.verdict.Phase != tt.want {
				t.Errorf("phase %q, want %q", l.verdict.Phase, tt.want)
			}
			if !slices.Contains(codesOf(l.verdict.Reasons), tt.reason) {
				t.Errorf("reasons %q lack %q", codesOf(l.verdict.Reasons), tt.reason)
			}
			checkReasons(t, tt.name, &l.verdict, l.now)
		})
	}
}

func TestPendingVersionOfABSI(t *testing.T) {
	bsi := spring.Build("25D771280a")
	for _, tt := range []struct {
		version, build string
		another        bool
	}{
		{"26.3.1 (a)", "25D771280a", false},
		{"26.3.1", "25D771280a", false},
		{"26.3.1 (a)", "", false},
		{"26.3.1(a)", "", false},
		{"26.3.1", "", false},
		{"", "", false},
		{"26.3.1 (b)", "", true},
		{"26.3.1 (b)", "25D771290a", true},
		{"26.3.1", "25D2128", true},
		{"26.4", "", true},
		{"26.4", "25E246", true},
	} {
		if got := namesAnother(tt.version, tt.build, bsi); got != tt.another {
			t.Errorf("%q %q: another %v, want %v", tt.version, tt.build, got, tt.another)
		}
	}
}

// TestAlreadyNewer: a rejection whose text calls the current version the same as or newer than the target is satisfaction.
func TestAlreadyNewer(t *testing.T) {
	words, err := os.ReadFile("testdata/already-newer.txt")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		text string
		want bool
	}{
		{string(words), true},
		{"[kSUCoreErrorDDMInvalidDeclarationFailure] Invalid declaration: target OS version (15.7.3) is older than current version (15.7.9)", true},
		{"Invalid declaration: target OS version (26.6) is the same as current version (26.6)", true},
		{"Invalid declaration: target OS version (26.6) is equal to the current version (26.6.0)", true},
		{"current version (26.7) is newer than target OS version (26.6)", true},
		{"The version is already installed", true},
		{"Invalid declaration: target OS version (26.3.1(a)) has an invalid format", false},
		{"current version (15.7) is older than target OS version (15.7.7)", false},
		{"target OS version (26.10) is older than current version (26.9)", false}, // the numbers say otherwise
		{"target OS version (26.9) is older than current version (26.10)", true},
		{"The declaration is older than the one that is present", false},
		{"", false},
	}
	for _, tt := range tests {
		for where, reason := range map[string]status.Reason{
			"description": {Description: tt.text},
			"details":     {Code: "Error.ConfigurationCannotBeApplied", Description: "Configuration cannot be applied", Details: map[string]any{"Error": tt.text}},
			"deep":        {Details: map[string]any{"Errors": []any{map[string]any{"Text": tt.text}}}},
		} {
			if got := alreadyNewer([]status.Reason{reason}); got != tt.want {
				t.Errorf("%s: %q is %v, want %v", where, tt.text, got, tt.want)
			}
		}
	}
}

func TestCausesNamedByTheFailureText(t *testing.T) {
	for text, want := range map[string][]string{
		`Error Domain=SUOSUErrorDomain Code=8 "BatteryTooLow"`:                     {FailureBattery},
		"The Mac is not plugged in":                                                {FailureBattery},
		"Connect to a power adapter":                                               {FailureBattery},
		"There is not enough disk space available to install this update.":         {FailureDisk},
		"NSLocalizedDescription=Not enough free space":                             {FailureDisk},
		"No space left on device":                                                  {FailureDisk},
		"INSUFFICIENT_DISK_SPACE while the battery is low":                         {FailureBattery, FailureDisk},
		"SUMacControllerError Code=7507":                                           nil, // several causes share this code
		"The operation couldn’t be completed. (NSPOSIXErrorDomain error 60.)":      nil,
		"Namespace CODESIGNING, Code 2: powerful words about space, none of ours.": nil,
	} {
		if got := causes(text); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func TestFlags(t *testing.T) {
	day := 24 * time.Hour
	tests := []struct {
		name string
		do   func(*life)
		want string // separated by spaces
	}{
		{"none", nil, ""},
		{"silent for exactly 7 days", func(l *life) {
			l.mac.Facts.LastContactAt = l.now.Add(-7 * day)
			l.mac.Facts.EnrolledAt = l.now.Add(-9 * day)
		}, "silent"},
		{"not yet silent, so the report is stale", func(l *life) {
			l.mac.Facts.LastContactAt = l.now.Add(-7*day + time.Second)
			l.mac.Facts.LastReportAt = l.now.Add(-7*day + time.Second)
			l.mac.Facts.EnrolledAt = l.now.Add(-9 * day)
		}, "report_stale"},
		{"no report for 3 days", func(l *life) {
			l.mac.Facts.LastReportAt = l.now.Add(-3 * day)
			l.mac.Facts.EnrolledAt = l.now.Add(-9 * day)
		}, "report_stale"},
		{"a report not quite 3 days old", func(l *life) {
			l.mac.Facts.LastReportAt = l.now.Add(-3*day + time.Second)
			l.mac.Facts.EnrolledAt = l.now.Add(-9 * day)
		}, ""},
		{"no report since it enrolled 3 days ago", func(l *life) {
			l.mac.Facts.LastReportAt = time.Time{}
			l.mac.Facts.EnrolledAt = l.now.Add(-3 * day)
		}, "report_stale"},
		{"macOS 12 cannot report", func(l *life) {
			l.mac.Facts.Version = "12.7.6"
			l.mac.Facts.Build = "21H1320"
			l.mac.Facts.LastReportAt = time.Time{}
			l.mac.Facts.EnrolledAt = l.now.Add(-4 * day)
			l.manifest = nil
			l.planner = func(*life) *plan.Plan { return &plan.Plan{Outcome: plan.Satisfied, Token: "of nothing"} }
		}, ""},
		{"no manifest", func(l *life) { l.manifest = nil }, "not_synced"},
		{"a manifest that is not what is planned", func(l *life) { l.planner = asks("25G76", "2026-09-01T12:00:00") }, "not_synced"},
		{"a raised generation", func(l *life) { l.mac.Generation = 1 }, "not_synced"},
		{"a build that the catalogue does not know", func(l *life) { l.mac.Facts.Version = "26.6.1"; l.mac.Facts.Build = "25G5076e" }, "prerelease"},
		{"no bootstrap token on Apple silicon", func(l *life) { l.mac.Facts.BootstrapToken = false }, "bootstrap_token_missing"},
		{"no bootstrap token on Intel", func(l *life) { l.mac.Facts.BootstrapToken = false; l.mac.Facts.Model = "MacBookPro16,1" }, ""},
		{"no bootstrap token, not enrolled", func(l *life) { l.mac.Facts.BootstrapToken = false; l.mac.Facts.Enrolled = false }, ""},
		{"an applicable BSI", func(l *life) {
			l.planner = as(floor, func(p *plan.Plan) { p.MissingBSI = spring.Build("25D771280a") })
		}, "bsi_pending"},
		{"past the deadline", func(l *life) { l.now = at("2026-08-22T12:00"); l.deadline("2026-08-22T12:00:00") }, "past_deadline"},
		{"a second before the deadline", func(l *life) { l.now = at("2026-08-22T11:59"); l.deadline("2026-08-22T12:00:00") }, ""},
		{"past the deadline and failing", func(l *life) {
			l.now = at("2026-08-22T12:00")
			l.deadline("2026-08-22T12:00:00")
			l.report(map[string]any{"softwareupdate.install-state": "failed"})
		}, "past_deadline"},
		{"past the deadline and incompatible", func(l *life) {
			l.now = at("2026-08-22T12:00")
			l.deadline("2026-08-22T12:00:00")
			l.planner = as(l.planner, func(p *plan.Plan) { p.Gated = "macos_too_old" })
			l.manifest.DeclarationsToken = l.planner(l).Token
		}, "past_deadline"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := settled(t, floor)
			if tt.do != nil {
				tt.do(l)
			}
			l.judge()
			if got := strings.Join(l.verdict.FlagsAt(l.now, &l.mac.Facts, false).Names(), " "); got != tt.want {
				t.Errorf("flags %q, want %q", got, tt.want)
			}
		})
	}
	t.Run("catalogue", func(t *testing.T) {
		l := settled(t, floor)
		l.judge()
		if got := l.verdict.FlagsAt(l.now, &l.mac.Facts, true); got != CatalogueStale {
			t.Errorf("flags %q", got.Names())
		}
	})
}

// deadline plans another deadline and serves it.
func (l *life) deadline(s string) {
	l.planner = asks("25G83", s)
	p := l.planner(l)
	l.manifest = &declarations.Manifest{DeclarationsToken: p.Token, Items: declarations.ItemsOf(p.Declarations), ServedAt: l.now}
	l.mac.Facts.LastContactAt = l.now
}

func TestAppleSilicon(t *testing.T) {
	for model, want := range map[string]bool{
		"Mac14,2": true, "Mac13,1": true, "Mac17,9": true, "Mac99,1": true, "MacBookAir10,1": true, "MacBookPro17,1": true, "MacBookPro18,3": true, "Macmini9,1": true,
		"iMac21,1": true, "VirtualMac2,1": true,
		"MacBookAir9,1": false, "MacBookPro16,4": false, "Macmini8,1": false, "iMac20,2": false, "iMacPro1,1": false, "MacPro7,1": false, "MacBook10,1": false,
		"": false, "Mac": false, "Mac,": false, "iPhone14,3": false, "VMware7,1": false,
	} {
		if got := appleSilicon(&status.Facts{Model: model}); got != want {
			t.Errorf("%q: %v, want %v", model, got, want)
		}
	}
	for board, want := range map[string]bool{"J413AP": true, "VMA2MACOSAP": true, "J132AP": false, "Mac-937A206F2EE63C01": false, "": false} {
		if got := appleSilicon(&status.Facts{Board: board}); got != want {
			t.Errorf("board %q: %v, want %v", board, got, want)
		}
	}
}
