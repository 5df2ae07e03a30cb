package compliance

import (
	"encoding/json"
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

// TestCodesAreDocumented holds the table together: it is what the documentation shows.
func TestCodesAreDocumented(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range Codes {
		if seen[c.Code] {
			t.Errorf("%s stands twice", c.Code)
		}
		seen[c.Code] = true
		if c.Advice == "" || !strings.HasSuffix(c.Text, ".") || !strings.HasSuffix(c.Advice, ".") {
			t.Errorf("%s: text and advice are sentences", c.Code)
		}
		full := map[string]any{}
		for _, key := range c.Evidence {
			full[key] = "<" + key + ">"
		}
		for _, text := range []string{fill(c.Text, full), fill(c.Advice, full)} {
			if strings.ContainsAny(text, "[]{}?") {
				t.Errorf("%s: %q uses evidence that is not listed", c.Code, text)
			}
		}
	}
	// What the plan hands out, and what the issue asks for.
	for _, code := range []string{
		"not_governed", "paused", "nothing_managed", "board_unknown", "version_unknown", "assignment_unknown", "not_in_catalogue", "above_track",
		"upgrade_not_enforced", "other_build", "unsupported", "held", "macos_too_old", "enforcement_not_listed",
		"never_contacted", "never_synced", "not_fetched", "rejected", "already_newer", "target_withdrawn", "not_offered_for_board", "base_missing",
		"waiting", "downloading", "downloading_long", "prepared", "installing", "bootstrap_token_missing", "install_failed", "failure_battery", "failure_disk",
		"deadline_passed_offline", "returned", "delayed", "silent", "report_stale", "not_synced", "push_failed", "catalogue_stale", "deadline_ahead",
	} {
		if !seen[code] {
			t.Errorf("%s is missing", code)
		}
	}
}

// TestReasonsOfAList: from the little that a summary holds, every code still makes a whole sentence.
func TestReasonsOfAList(t *testing.T) {
	f := air().Facts
	for _, c := range Codes {
		s := Summary{
			State: Failing, Codes: []string{c.Code}, Kind: release.KindBSI, Version: "26.3.1", Letter: "a", Build: "25D771280a", Phase: "verifying",
			Deadline: local("2026-09-01T12:00:00"),
		}
		r := ReasonsAt(s, &f, f.LastContactAt, false)[0]
		if r.Code != c.Code || strings.ContainsAny(r.Text, "[]{}?") || r.Evidence == nil {
			t.Errorf("%s: %+v", c.Code, r)
		}
		if strings.Contains(c.Text, "{version}") && !slices.Contains(otherReleases, c.Code) && !strings.Contains(r.Text, "26.3.1 (a)") {
			t.Errorf("%s: %q does not name the improvement", c.Code, r.Text)
		}
	}
	if got := ReasonsAt(Summary{}, &status.Facts{}, at("2026-09-01T12:00"), true); !slices.Equal(codesOf(got), []string{NeverContacted, StaleCatalogue}) {
		t.Errorf("of nothing: %q", codesOf(got))
	}
	for _, s := range States {
		if got := ReasonsAt(Summary{State: s}, &f, f.LastContactAt, false); (len(got) == 0) != (s == Compliant) {
			t.Errorf("%s without codes: %q", s, codesOf(got))
		}
	}
}

func TestReasonTexts(t *testing.T) {
	tests := []struct {
		name     string
		planner  func(*life) *plan.Plan
		do       func(*life)
		code     string
		text     string
		evidence map[string]any
	}{
		{
			"macOS 11 needs the installer", as(floor, gated), func(l *life) { l.mac.Facts.Version = "11.7.11" }, MacOSTooOld,
			"macOS 11.7.11 is too old for enforcement by declaration, which came with macOS 14; this Mac needs the macOS installer.",
			map[string]any{"macos": release.Version("11.7.11"), "mechanism": "the macOS installer", "needs": "installer"},
		},
		{"paused", as(floor, func(p *plan.Plan) {
			p.Outcome, p.Target = plan.Unmanaged, nil
			p.Paused = &release.Pause{Reason: "26.6.2 breaks VPN.", Since: at("2026-08-21T08:00")}
		}), nil, "paused", "Enforcement is paused since 2026-08-21 08:00 UTC: 26.6.2 breaks VPN.", map[string]any{"reason": "26.6.2 breaks VPN.", "since_at": at("2026-08-21T08:00")}},
		{
			"failed", floor, func(l *life) {
				l.report(map[string]any{"softwareupdate.failure-reason": map[string]any{"count": 3, "reason": "MADownloadFailed.", "timestamp": "2026-08-22T11:00:00+02:00"}})
			}, InstallFailed, "Installing macOS 26.6.2 failed, the last time at 2026-08-22 09:00 UTC (attempts: 3): MADownloadFailed.",
			map[string]any{"count": 3, "reason": "MADownloadFailed.", "failed_at": at("2026-08-22T09:00"), "version": release.Version("26.6.2"), "build": "25G83"},
		},
		{"rejected", floor, func(l *life) {
			l.report(map[string]any{"management.declarations": l.rejects(declarations.IDOSUpdate, "has an invalid format")})
		}, DeclarationRejected, "The Mac rejected the declaration plimsoll.os-update: Error.ConfigurationCannotBeApplied: Configuration cannot be applied: has an invalid format.", nil},
		{
			"ahead", floor, nil, DeadlineAhead, "macOS 26.6.2 is asked for by 2026-09-01 12:00 (the Mac's own time), which lies ahead.",
			map[string]any{"deadline_local": local("2026-09-01T12:00:00"), "overdue_at": at("2026-09-01T12:00")},
		},
		{"delayed", as(floor, func(p *plan.Plan) { p.Lanes[0].Delayed = true }), func(l *life) {
			l.mac.Delayed = &plan.Delayed{Hours: 2}
		}, DelayedByUser, "The user delayed the update by 2 h; the deadline is now 2026-09-01 12:00.", map[string]any{"hours": 2}},
		{"a newer release is held", as(floor, func(p *plan.Plan) {
			p.Lanes[0].Held = &release.Release{Version: "26.7", Build: "25H1"}
		}), nil, NewerHeld, "A newer release, macOS 26.7 (25H1), would be the target if it were not held.", nil},
		{
			"not fetched", floor, func(l *life) { l.merged = nil }, NotFetched, "The Mac was served the update's declaration at 2026-08-22 09:00 UTC but has not reported having it; its last report came at 2026-08-22 09:00 UTC.",
			map[string]any{"served_at": at("2026-08-22T09:00"), "identifier": "plimsoll.os-update"},
		},
		{"a push that failed", floor, func(l *life) { l.manifest, l.push = nil, "Unregistered" }, PushFailed, "The Mac could not be told to sync: Unregistered.", map[string]any{"push_error": "Unregistered"}},
		{
			"never contacted", floor, func(l *life) { l.mac.Facts.LastContactAt = time.Time{} }, NeverContacted,
			"The Mac has never contacted this server since it enrolled at 2026-08-20 18:00 UTC.", nil,
		},
		{"the feed lacks the target", as(floor, func(p *plan.Plan) {
			r := *p.Target
			r.LackedAt = at("2026-08-21T19:15")
			p.Target = &r
		}), nil, TargetWithdrawn, "Apple does not list the target macOS 26.6.2 (build 25G83) any more, missing since 2026-08-21 19:15 UTC.", nil},
		{
			"named, but not for this board", unsupported("26.6.2"), func(l *life) { l.mac.Facts.Board = "J132AP" }, NotOfferedForBoard,
			"Apple offers what the policy names (macOS 26.6.2), but not for this Mac (board J132AP).",
			map[string]any{"board": "J132AP", "named_version": release.Version("26.6.2")},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := settled(t, tt.planner)
			if tt.do != nil {
				tt.do(l)
			}
			l.judge()
			i := slices.IndexFunc(l.verdict.Reasons, func(r policy.Reason) bool { return r.Code == tt.code })
			if i < 0 {
				t.Fatalf("reasons %q", codesOf(l.verdict.Reasons))
			}
			r := l.verdict.Reasons[i]
			if r.Text != tt.text {
				t.Errorf("text %q\nwant %q", r.Text, tt.text)
			}
			for k, v := range tt.evidence {
				if r.Evidence[k] != v {
					t.Errorf("evidence %s is %v, want %v", k, r.Evidence[k], v)
				}
			}
			checkReasons(t, tt.name, &l.verdict, l.now)
		})
	}
}

func gated(p *plan.Plan) { p.Gated = MacOSTooOld }

// unsupported is a plan for a policy that names a version which the Mac cannot get.
func unsupported(v release.Version) func(*life) *plan.Plan {
	return func(*life) *plan.Plan {
		return &plan.Plan{Outcome: plan.Unsupported, Policy: &policy.Stored{Policy: policy.Policy{Name: "exactly", Updates: &policy.Updates{Mode: "exact", Version: v}}}}
	}
}

func TestWithdrawnTarget(t *testing.T) {
	gone := release.Snapshot()
	for i := range gone.Releases {
		if gone.Releases[i].Build == "25G83" {
			gone.Releases[i].Available, gone.Releases[i].LackedAt = false, at("2026-08-23T19:15")
		}
	}
	withdraw := func(l *life) {
		l.index = release.NewIndex(gone)
		l.planner = asks("25G76", "2026-09-01T12:00:00")
		l.contact()
	}
	l := newAir()
	run(t, l, beginning)
	l.now = at("2026-08-24T20:00")
	withdraw(l)
	l.judge()
	l.judge() // it is remembered
	r := l.verdict.Reasons[0]
	if r.Code != TargetWithdrawn || r.Text != "Apple does not list the target macOS 26.6.2 (build 25G83) any more, missing since 2026-08-23 19:15 UTC; the target is now macOS 26.6.1." {
		t.Errorf("%+v", r)
	}
	l.fetch()
	l.judge()
	if codes := codesOf(l.verdict.Reasons); slices.Contains(codes, TargetWithdrawn) {
		t.Errorf("reasons %q after the Mac fetched what is asked instead", codes)
	}
	// An exact policy that names the withdrawn version cannot be satisfied any more: that stays the reason.
	l.planner = unsupported("26.6.2")
	l.judge()
	if codes := codesOf(l.verdict.Reasons); codes[0] != TargetWithdrawn || codes[1] != "unsupported" {
		t.Errorf("reasons %q", codes)
	}
}

func TestBaseMissing(t *testing.T) {
	bsi := func(l *life) *plan.Plan {
		p := &plan.Plan{Outcome: plan.Satisfied, Policy: &policy.Stored{Policy: policy.Policy{Name: "bsi", BackgroundSecurity: &policy.BackgroundSecurity{Mode: "automatic"}}}}
		declare(p, 0)
		return p
	}
	for _, tt := range []struct {
		name           string
		version, build string
		want           bool
	}{
		{"the base is there", "26.3.1", "25D2128", false},
		{"an older version", "26.3", "25D125", true},
		{"another build of the base version", "26.3.1", "25D2999", true},
		{"a newer version", "26.4", "25E246", false},
		{"another major version", "15.7.9", "24G830", false},
	} {
		l := settled(t, bsi)
		l.index = spring
		l.mac.Facts.Version, l.mac.Facts.Build = release.Version(tt.version), tt.build
		l.judge()
		if got := slices.Contains(codesOf(l.verdict.Reasons), BaseMissing); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
		if tt.want && l.verdict.Reasons[0].Text != "A Background Security Improvement, 26.3.1 (a), is for another macOS build (25D2128) than the Mac runs ("+tt.build+")." {
			t.Errorf("%s: %q", tt.name, l.verdict.Reasons[0].Text)
		}
	}
	// In summer the improvement's base is superseded: it concerns nobody.
	l := settled(t, bsi)
	l.mac.Facts.Version, l.mac.Facts.Build = "26.3", "25D125"
	l.judge()
	if got := codesOf(l.verdict.Reasons); slices.Contains(got, BaseMissing) {
		t.Errorf("in summer: %q", got)
	}
}

func TestThePlansReasonsAreKept(t *testing.T) {
	own := policy.Reason{Code: "held", Text: "Held by Ada.", Advice: "Ask Ada.", Evidence: map[string]any{"subject": "26"}}
	l := settled(t, as(floor, func(p *plan.Plan) {
		p.Outcome, p.Target, p.Reasons = plan.Held, nil, []policy.Reason{own}
		p.LeftOut = []policy.Reason{{Code: "settings_left_out", Text: "Settings need macOS 15.", Advice: "Update.", Evidence: map[string]any{}}}
	}))
	l.judge()
	if r := l.verdict.Reasons[0]; r.Text != own.Text || r.Evidence["subject"] != "26" {
		t.Errorf("%+v", r)
	}
	if got := codesOf(l.verdict.Reasons); !slices.Contains(got, "settings_left_out") {
		t.Errorf("%q", got)
	}
}

// TestNextAt: up to that instant nothing changes by itself, and a list may show what was kept.
func TestNextAt(t *testing.T) {
	l := settled(t, asks("25G83", "2026-08-23T12:00:00"))
	l.report(map[string]any{"softwareupdate.install-state": "downloading"})
	l.judge()
	var all []time.Time
	for now := l.now; len(all) < 20; {
		v := Judge(Input{Mac: &l.mac, Plan: l.planner(l), Index: l.index, Status: l.merged, Manifest: l.manifest, Now: now, Before: l.verdict.Summary})
		if v.NextAt.IsZero() {
			break
		}
		before := v.NextAt.Add(-time.Second)
		if a, b := codesOf(v.Reasons), codesOf(ReasonsAt(v.Summary, &l.mac.Facts, before, false)); !slices.Equal(a, b) {
			t.Errorf("between %s and %s the reasons change from %q to %q", now, before, a, b)
		}
		all = append(all, v.NextAt)
		now = v.NextAt
	}
	// The download gets long, the deadline passes, the Mac counts as offline, its report is stale, it is silent.
	for _, want := range []string{"2026-08-23T10:00", "2026-08-23T12:00", "2026-08-23T14:00", "2026-08-25T10:00", "2026-08-29T10:00"} {
		if !slices.ContainsFunc(all, func(got time.Time) bool { return got.Truncate(time.Minute).Equal(at(want)) }) {
			t.Errorf("%s is not among %v", want, all)
		}
	}
}

func TestLongTextsAreShortenedInSentencesOnly(t *testing.T) {
	l := settled(t, floor)
	long := strings.Repeat("NSLocalizedDescription=é ", 500)
	l.report(map[string]any{"softwareupdate.failure-reason": map[string]any{"count": 1, "reason": long}})
	l.judge()
	r := l.verdict.Reasons[0]
	if len(r.Text) > 400 || r.Evidence["reason"] != long || strings.ContainsRune(r.Text, '\uFFFD') {
		t.Errorf("text of %d bytes, evidence of %d", len(r.Text), len(r.Evidence["reason"].(string)))
	}
}

// TestSummaryIsSmall: a Mac's compact record has at most 600 bytes, of which this is a part.
func TestSummaryIsSmall(t *testing.T) {
	l := settled(t, asks("25G83", "2026-08-23T12:00:00"))
	l.report(map[string]any{"softwareupdate.install-state": strings.Repeat("x", 999), "softwareupdate.failure-reason": map[string]any{"count": 123456}})
	l.mac.Facts.BootstrapToken = false
	l.judge()
	b, err := json.Marshal(l.verdict.Summary)
	if err != nil || len(b) > 420 {
		t.Errorf("%d bytes, %v: %s", len(b), err, b)
	}
	var back Summary
	if err := json.Unmarshal(b, &back); err != nil || !slices.Equal(back.Codes, l.verdict.Codes) || !back.OverdueAt.Equal(l.verdict.OverdueAt) {
		t.Errorf("%v: %+v", err, back)
	}
}
