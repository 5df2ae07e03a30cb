package policy

import (
	"fmt"
	"strings"
)

// The codes of the warnings about a policy, and of a part of one that does not resolve any more.
const (
	CodePolicyPart   = "policy_part_left_out"
	CodeUnknownGroup = "unknown_group"
	CodeBetaGate     = "beta_needs_15_4"
	CodeShortWindow  = "min_age_eats_days"
	CodeRingTooEarly = "ring_opens_early"
	CodeRingTooSmall = "ring_too_small"
)

// ReasonText documents one code. Text and Advice are patterns: {key} stands for a piece of evidence, and a part in square
// brackets is left out when a piece of evidence in it is missing.
type ReasonText struct{ Code, Text, Advice string }

// ReasonTexts are all codes that validations give, with their meaning.
var ReasonTexts = []ReasonText{
	{
		Code:   CodePolicyPart,
		Text:   "A part of the policy {policy} does not resolve: {part}.",
		Advice: "Put the policy again with that part corrected.",
	},
	{
		Code:   CodeUnknownGroup,
		Text:   "The group {group} does not exist; until it does, nothing is in it.",
		Advice: "Create the group, or correct the name.",
	},
	{
		Code:   CodeBetaGate,
		Text:   "The Beta settings reach Macs on macOS 15.4 and later only; the others get the rest.",
		Advice: "Nothing.",
	},
	{
		Code: CodeShortWindow,
		Text: "A release becomes a target {min_age_days} days after its posting and is due {within_days} days after it, so the " +
			"notice may decide the deadline.",
		Advice: "Lower the smallest age of releases, or give more days.",
	},
	{
		Code: CodeRingTooEarly,
		Text: "The ring {ring} opens by time {opens_days} days after a release is posted, before the ring {before} has had its " +
			"deadlines " +
			"({deadline_days} days), so the gate cannot hold it back.",
		Advice: "Raise the days of the ring, lower the notice, or lower the days of the ring before it.",
	},
	{
		Code:   CodeRingTooSmall,
		Text:   "The ring {ring} has {macs} Macs, fewer than the {min_macs} that the gate wants to see.",
		Advice: "Put more Macs into the ring, or let the gate need fewer answers.",
	},
}

// Texts are documented codes, by code.
type Texts map[string]ReasonText

// TextsOf arranges documented codes.
func TextsOf(list []ReasonText) Texts {
	m := make(Texts, len(list))
	for _, t := range list {
		m[t.Code] = t
	}
	return m
}

// Reason fills the text of a code in.
func (t Texts) Reason(code string, evidence map[string]any) Reason {
	if evidence == nil {
		evidence = map[string]any{}
	}
	text := t[code]
	return Reason{Code: code, Text: fill(text.Text, evidence), Advice: text.Advice, Evidence: evidence}
}

var texts = TextsOf(ReasonTexts)

// PartLeftOut says that a part of a stored policy does not resolve.
func PartLeftOut(policy, part string) Reason {
	return texts.Reason(CodePolicyPart, map[string]any{"policy": policy, "part": part})
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
