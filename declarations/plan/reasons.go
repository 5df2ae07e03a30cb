package plan

import (
	"time"

	"plimsoll/declarations"
	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
)

// The codes of a plan's reasons.
const (
	CodeNotGoverned        = "not_governed"
	CodePaused             = "paused"
	CodeNothingManaged     = "nothing_managed"
	CodeVersionUnknown     = "version_unknown"
	CodeBoardUnknown       = "board_unknown"
	CodeAssignmentUnknown  = "assignment_unknown"
	CodeNotInCatalogue     = "not_in_catalogue"
	CodeUnsupported        = "unsupported"
	CodeNotAMac            = "not_a_mac"
	CodeHeld               = "held"
	CodeAboveTrack         = "above_track"
	CodeUpgradeNotEnforced = "upgrade_not_enforced"
	CodeOtherBuild         = "other_build"
	CodeSoaking            = "soaking"
	CodeSwapRefused        = "swap_refused"

	CodeMacOSTooOld          = "macos_too_old"
	CodeEnforcementNotListed = "enforcement_not_listed"
	CodeNotSupervised        = "not_supervised"
	CodeNeedsInstaller       = "upgrade_needs_installer"
	CodeExempt               = "exempt"
	CodeRingClosed           = "ring_closed"
	CodeFrozen               = "deadline_in_freeze"
	CodeClosedDays           = "closed_days_postpone"
	CodeSettingsNotSupported = "settings_not_supported"
	CodeBetaNotSupported     = "beta_not_supported"
	CodeStatusNotSupported   = "subscriptions_not_supported"
	CodeNoSelfPage           = "self_page_missing"
)

// ReasonTexts are all codes that plans give, with their meaning.
var ReasonTexts = []policy.ReasonText{
	{
		Code:   CodeNotGoverned,
		Text:   "No policy applies to this Mac.",
		Advice: "Put the Mac into a group that a policy is assigned to, or widen a policy's assignment.",
	},
	{
		Code:   CodePaused,
		Text:   "Enforcement is paused[ since {since_at}][: {reason}].",
		Advice: "Resume enforcement when the cause is gone.",
	},
	{
		Code:   CodeNothingManaged,
		Text:   "The policy {policy} that governs this Mac manages nothing.",
		Advice: "Let the policy manage updates, Background Security Improvements or settings.",
	},
	{
		Code:   CodeVersionUnknown,
		Text:   "The Mac has not told which macOS it runs.",
		Advice: "Wait for its first status report; if none comes, request a sync and look at its last contact.",
	},
	{
		Code: CodeBoardUnknown,
		Text: "The board id of the Mac[ ({model})] is not known, so no release can be chosen for it.",
		Advice: "macOS 15 and later report it; before that the Mac answers a query made at enrolment. Request a sync, or enrol " +
			"it again.",
	},
	{
		Code:   CodeAssignmentUnknown,
		Text:   "Whether the policy {policy} applies to this Mac depends on a fact that is not known yet[: {fault}].",
		Advice: "Wait for its first status report, or assign the policy by group.",
	},
	{
		Code:   CodeNotInCatalogue,
		Text:   "The catalogue has no release for this Mac (board {board}, macOS {macos}).",
		Advice: "Refresh the catalogue. Apple may no longer release anything for this model or major version.",
	},
	{
		Code:   CodeNotAMac,
		Text:   "This device is no Mac but an {family}[ ({model})]; only Macs are managed here.",
		Advice: "Remove its enrolment, or leave it: it is asked for nothing and takes no part in the counts.",
	},
	{
		Code:   CodeUnsupported,
		Text:   "No release that satisfies the policy {policy}[ (macOS {version})] exists for this Mac.",
		Advice: "Lower what the policy asks for, assign another policy to this model, or replace the Mac.",
	},
	{
		Code:   CodeHeld,
		Text:   "macOS {version} ({build}) would be the target, but it is held[ until {until}][: {reason}].",
		Advice: "Release the hold when the release may be installed.",
	},
	{
		Code:   CodeAboveTrack,
		Text:   "The Mac runs macOS {macos}, a newer major version than the policy {policy} asks for.",
		Advice: "Nothing, or raise the policy's track.",
	},
	{
		Code:   CodeUpgradeNotEnforced,
		Text:   "What the policy {policy} asks for (macOS {version}) needs an upgrade that it does not enforce.",
		Advice: "Let the policy enforce the upgrade, or offer it to the user on the Mac's own page.",
	},
	{
		Code:   CodeOtherBuild,
		Text:   "The Mac runs macOS {macos} as asked for, but another build ({macos_build} instead of {build}).",
		Advice: "Nothing: another build of the version satisfies the policy.",
	},
	{
		Code:   CodeSoaking,
		Text:   "macOS {version} is younger than the policy's {min_age_days} days and becomes a target on {from}.",
		Advice: "Nothing, or lower the smallest age of releases in the policy.",
	},
	{
		Code:   CodeSwapRefused,
		Text:   "macOS {newer} came so close to the deadline that macOS {version} stays the target.",
		Advice: "Nothing: the newer release becomes the target 72 hours after the deadline.",
	},

	{
		Code:   CodeMacOSTooOld,
		Text:   "macOS {macos} is too old for enforcement by declaration, which came with macOS 14; it needs {mechanism}.",
		Advice: "Update the Mac to macOS 14 or later once by the mechanism named; from then on it is enforced.",
	},
	{
		Code:   CodeEnforcementNotListed,
		Text:   "The Mac on macOS {macos} does not list the enforcement of updates among what it supports.",
		Advice: "Make sure that the Mac is supervised and enrolled by device, then request a sync.",
	},
	{
		Code: CodeSettingsNotSupported,
		Text: "The settings are left out: they need macOS 15 and a Mac that lists them among what it supports[ (it runs macOS " +
			"{macos})].",
		Advice: "Nothing: they are sent once the Mac supports them.",
	},
	{
		Code:   CodeBetaNotSupported,
		Text:   "The Beta settings are left out: they need macOS 15.4 (the Mac runs macOS {macos}).",
		Advice: "Nothing: they are sent once the Mac is updated.",
	},
	{
		Code:   CodeStatusNotSupported,
		Text:   "The status subscriptions are left out: they need macOS 13 (the Mac runs macOS {macos}).",
		Advice: "Update the Mac.",
	},
	{
		Code:   CodeNoSelfPage,
		Text:   "The address of the Mac's own page is left out of the update's declaration: there is none.",
		Advice: "Give the server an https address (--url).",
	},
	{
		Code:   CodeNotSupervised,
		Text:   "The Mac is not supervised, which Apple demands for enforcing macOS {version}.",
		Advice: "Enrol the Mac by Automated Device Enrolment, or approve its enrolment by its user, so that it is supervised.",
	},
	{
		Code: CodeNeedsInstaller,
		Text: "The upgrade to macOS {version} needs the macOS installer: an Intel Mac on macOS {macos} cannot be told to upgrade.",
		Advice: "Run the macOS installer on the Mac, or replace it. Until then it is kept on the newest release of its major " +
			"version.",
	},
	{
		Code:   CodeExempt,
		Text:   "The Mac is exempt until {until}[: {reason}]. Without the exemption macOS {version} would be asked of it.",
		Advice: "Wait until the exemption ends, or end it.",
	},
	{
		Code:   CodeRingClosed,
		Text:   "macOS {version} is not open for the ring {ring} yet[; it opens on {from} at the latest].",
		Advice: "Wait for the rings before it, or open the release for the ring by hand.",
	},
	{
		Code:   CodeFrozen,
		Text:   "The deadline passed before the freeze {freeze} ({first} to {last}), so it is {deadline_local} now.",
		Advice: "Nothing: the Mac is not restarted in the freeze.",
	},
}

// warningTexts are the codes of warnings about closed days.
var warningTexts = []policy.ReasonText{{
	Code: CodeClosedDays,
	Text: "Releases posted from {first} to {last} would have deadlines after their due date because of closed days " +
		"({part}; the latest deadline is {latest_deadline_local}).",
	Advice: "Nothing if that is meant; else open more days, shorten the freeze or raise the days.",
}}

var texts = policy.TextsOf(append(warningTexts, ReasonTexts...))

// reason fills the text of a code in.
func reason(code string, evidence map[string]any) policy.Reason { return texts.Reason(code, evidence) }

// name is a release as people write it: "26.3.1 (a)".
func name(r *release.Release) string {
	if r.Letter != "" {
		return string(r.Version) + " (" + r.Letter + ")"
	}
	return string(r.Version)
}

// TargetOf is a release as a target; nil for none.
func TargetOf(r *release.Release) *Target {
	if r == nil {
		return nil
	}
	return &Target{Kind: r.Kind, Version: r.Version, Build: r.Build}
}

// LocalText is a local time as the API writes it: null for none.
func LocalText(l declarations.Local) *string {
	if l == 0 {
		return nil
	}
	s := l.String()
	return &s
}

func heldEvidence(j *judged) map[string]any {
	e := map[string]any{"version": j.r.Version, "build": j.r.Build, "subject": j.hold.Subject}
	if j.r.Letter != "" {
		e["letter"] = j.r.Letter
	}
	if j.hold.Reason != "" {
		e["reason"] = j.hold.Reason
	}
	if !j.hold.Until.IsZero() {
		e["until"] = j.hold.Until.UTC().Format(time.RFC3339)
	}
	return e
}

// ringEvidence tells which release is closed for the Mac's ring, and when it opens by time.
func (d *draft) ringEvidence(j *judged) map[string]any {
	e := map[string]any{"version": j.r.Version, "build": j.r.Build, "ring": d.plan.Ring}
	if j.opening.halted {
		e["halted"] = true
	} else {
		e["from"] = release.DayOf(j.opening.at).String()
		e["opens_at"] = j.opening.at
	}
	return e
}

func frozenEvidence(f *policy.Freeze, deadline declarations.Local) map[string]any {
	return map[string]any{
		"freeze": f.Name, "first": f.From.String(), "last": f.To.String(), "reason": f.Reason,
		"deadline_local": deadline,
	}
}
