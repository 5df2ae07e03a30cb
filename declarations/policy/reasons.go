package policy

import (
	"fmt"
	"strings"

	"plimsoll/declarations"
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
	CodeHeld               = "held"
	CodeAboveTrack         = "above_track"
	CodeUpgradeNotEnforced = "upgrade_not_enforced"
	CodeOtherBuild         = "other_build"
	CodeSoaking            = "soaking"
	CodeSwapRefused        = "swap_refused"

	CodeMacOSTooOld          = "macos_too_old"
	CodeTypeNotSupported     = "type_not_supported"
	CodeSettingsNotSupported = "settings_not_supported"
	CodeBetaNotSupported     = "beta_not_supported"
	CodeStatusNotSupported   = "subscriptions_not_supported"
	CodeNoSelfPage           = "self_page_missing"
	CodePolicyPart           = "policy_part_left_out"

	CodeUnknownGroup = "unknown_group"
	CodeBetaGate     = "beta_needs_15_4"
	CodeShortWindow  = "min_age_eats_days"
)

// ReasonText documents one code. Text and Advice are patterns: {key} stands for a piece of evidence, and a part in square
// brackets is left out when a piece of evidence in it is missing.
type ReasonText struct{ Code, Text, Advice string }

// ReasonTexts are all codes that plans and validations give, with their meaning.
var ReasonTexts = []ReasonText{
	{CodeNotGoverned, "No policy applies to this Mac.", "Put the Mac into a group that a policy is assigned to, or widen a policy's assignment."},
	{CodePaused, "Enforcement is paused[ since {since_at}][: {reason}].", "Resume enforcement (DELETE /v1/pause) when the cause is gone."},
	{CodeNothingManaged, "The policy {policy} that governs this Mac manages nothing.", "Give the policy updates, background_security or settings to manage."},
	{CodeVersionUnknown, "The Mac has not told which macOS it runs.", "Wait for its first status report; if none comes, request a sync and look at its last contact."},
	{CodeBoardUnknown, "The board id of the Mac[ ({model})] is not known, so no release can be chosen for it.", "macOS 15 and later report it; before that the Mac answers a query made at enrolment. Request a sync, or enrol it again."},
	{CodeAssignmentUnknown, "Whether the policy {policy} applies to this Mac depends on a fact that is not known yet[: {fault}].", "Wait for its first status report, or assign the policy by group."},
	{CodeNotInCatalogue, "The catalogue has no release for this Mac (board {board}, macOS {macos}).", "Refresh the catalogue (POST /v1/catalog/refresh). Apple may no longer release anything for this model or major version."},
	{CodeUnsupported, "No release that satisfies the policy {policy}[ (macOS {version})] exists for this Mac.", "Lower what the policy asks for, assign another policy to this model, or replace the Mac."},
	{CodeHeld, "macOS {version} ({build}) would be the target, but it is held[ until {until}][: {reason}].", "Let the release go (DELETE /v1/holds) when it may be installed."},
	{CodeAboveTrack, "The Mac runs macOS {macos}, a newer major version than the policy {policy} asks for.", "Nothing, or raise the policy's track."},
	{CodeUpgradeNotEnforced, "What the policy {policy} asks for (macOS {version}) needs an upgrade that it does not enforce.", "Set os.upgrade to enforce it; with self_service the user may ask for it on the Mac's own page, whose link the dashboard shows."},
	{CodeOtherBuild, "The Mac runs macOS {macos} as asked for, but another build ({macos_build} instead of {build}).", "Nothing: another build of the version satisfies the policy."},
	{CodeSoaking, "macOS {version} is younger than the policy's {min_age_days} days and becomes a target on {from}.", "Nothing, or lower min_age_days."},
	{CodeSwapRefused, "macOS {newer} came so close to the deadline that macOS {version} stays the target.", "Nothing: the newer release becomes the target 72 hours after the deadline."},

	{CodeMacOSTooOld, "macOS {macos} is too old for enforcement by declaration, which came with macOS 14; it needs {mechanism}.", "Update the Mac to macOS 14 or later once by the mechanism named; from then on it is enforced."},
	{CodeTypeNotSupported, "The Mac on macOS {macos} does not list the enforcement of updates among what it supports.", "Make sure that the Mac is supervised and enrolled by device, then request a sync."},
	{CodeSettingsNotSupported, "The settings are left out: they need macOS 15 and a Mac that lists them among what it supports[ (it runs macOS {macos})].", "Nothing: they are sent once the Mac supports them."},
	{CodeBetaNotSupported, "The Beta settings are left out: they need macOS 15.4 (the Mac runs macOS {macos}).", "Nothing: they are sent once the Mac is updated."},
	{CodeStatusNotSupported, "The status subscriptions are left out: they need macOS 13 (the Mac runs macOS {macos}).", "Update the Mac."},
	{CodeNoSelfPage, "The address of the Mac's own page is left out of the update's declaration: there is none.", "Give the server an https address (--url)."},
	{CodePolicyPart, "A part of the policy {policy} does not resolve: {part}.", "Put the policy again with that part corrected."},

	{CodeUnknownGroup, "The group {group} does not exist; until it does, nothing is in it.", "Create the group, or correct the name."},
	{CodeBetaGate, "The Beta settings reach Macs on macOS 15.4 and later only; the others get the rest.", "Nothing."},
	{CodeShortWindow, "A release becomes a target {min_age_days} days after its posting and is due {within_days} days after it, so the notice may decide the deadline.", "Lower min_age_days or raise within_days."},
}

var reasonTexts = func() map[string]ReasonText {
	m := make(map[string]ReasonText, len(ReasonTexts))
	for _, t := range ReasonTexts {
		m[t.Code] = t
	}
	return m
}()

// reason fills the text of a code in.
func reason(code string, evidence map[string]any) Reason {
	if evidence == nil {
		evidence = map[string]any{}
	}
	t := reasonTexts[code]
	return Reason{Code: code, Text: fill(t.Text, evidence), Advice: t.Advice, Evidence: evidence}
}

// fill replaces each {key}, and drops the parts in square brackets in which a key has no value.
func fill(pattern string, evidence map[string]any) string {
	if !strings.ContainsAny(pattern, "{[") {
		return pattern
	}
	var out strings.Builder
	for pattern != "" {
		i := strings.IndexAny(pattern, "{[")
		if i < 0 {
			out.WriteString(pattern)
			break
		}
		out.WriteString(pattern[:i])
		closing := "}"
		if pattern[i] == '[' {
			closing = "]"
		}
		inner, rest, _ := strings.Cut(pattern[i+1:], closing)
		if pattern[i] == '{' {
			out.WriteString(word(evidence[inner]))
		} else if complete(inner, evidence) {
			out.WriteString(fill(inner, evidence))
		}
		pattern = rest
	}
	return out.String()
}

// complete tells whether every key of a pattern has a value.
func complete(pattern string, evidence map[string]any) bool {
	for {
		_, rest, found := strings.Cut(pattern, "{")
		if !found {
			return true
		}
		key, rest, _ := strings.Cut(rest, "}")
		if word(evidence[key]) == "" {
			return false
		}
		pattern = rest
	}
}

func word(v any) string {
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}

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
