package view

import (
	"net/url"
	"strings"

	"plimsoll/server/fleet"
)

// Impact is what a write would do, for people.
type Impact struct {
	Any     bool
	Lead    string // in one sentence, the day first
	Guard   string // why the write must be confirmed; empty: it need not
	States  []Share
	Numbers []ImpactNumber
	Targets []ImpactCount
	Groups  []ImpactGroup
	Sample  []ImpactRow
}

// ImpactNumber is how many Macs something happens to.
type ImpactNumber struct {
	Label   string
	Devices int
	Loud    bool
}

// ImpactCount is how many Macs are asked for a target.
type ImpactCount struct {
	Name    string
	Devices int
}

// ImpactGroup is the part of a group.
type ImpactGroup struct {
	Name         string
	Devices, Due int
}

// ImpactRow is one Mac, before and after.
type ImpactRow struct{ Device, Link, Before, After string }

// ImpactOf words an impact; nil is none.
func ImpactOf(i *fleet.Impact) Impact {
	if i == nil {
		return Impact{}
	}
	m := Impact{Any: i.Devices > 0, Lead: impactLead(i), Numbers: []ImpactNumber{
		{"Macs affected", i.Devices, false},
		{"newly asked for an update", i.NewlyTargeted, false},
		{"no longer asked", i.NoLongerAsked, false},
		{"due within 24 hours", i.DueWithin24h, i.DueWithin24h > 0},
		{"due within 7 days", i.DueWithin7d, false},
		{"newly due within 7 days", i.NewlyDueWithin7d, i.NewlyDueWithin7d > 0},
		{"within 2 hours of a deadline that macOS may enforce anyway", i.TooLate, i.TooLate > 0},
	}}
	if i.Guard != nil {
		m.Guard = Sentence(*i.Guard)
	}
	total := 0
	for _, n := range i.StatesAfter {
		total += n
	}
	m.States = Shares(States, i.StatesAfter, total, "state", "")
	for _, t := range i.ByTarget {
		m.Targets = append(m.Targets, ImpactCount{Name: TargetWords(&t.Target), Devices: t.Devices})
	}
	for _, g := range i.ByGroup {
		m.Groups = append(m.Groups, ImpactGroup{Name: g.Group, Devices: g.Devices, Due: g.DueWithin7d})
	}
	for _, s := range i.Sample {
		name := s.Serial
		if name == "" {
			name = s.Device
		}
		m.Sample = append(m.Sample, ImpactRow{
			Device: name, Link: DevicePath(s.Device), Before: sideWords(s.Before), After: sideWords(s.After),
		})
	}
	return m
}

// impactLead is the impact in one sentence: how many Macs restart and by when, how many are no longer asked, how many cannot.
func impactLead(i *fleet.Impact) string {
	var parts []string
	first, last := WallPtr(i.FirstRestartLocal), WallPtr(i.LastRestartLocal)
	switch {
	case i.Restarting == 0:
		parts = append(parts, "no Mac restarts because of this")
	case first == last:
		parts = append(parts, Verb(i.Restarting, "Mac", "restarts", "restart")+" by "+first)
	default:
		parts = append(parts, Verb(i.Restarting, "Mac", "restarts", "restart")+" by "+last+", the first by "+first)
	}
	if n := i.NoLongerAsked; n > 0 {
		parts = append(parts, Verb(n, "", "is", "are")+" no longer asked")
	}
	if n := i.Cannot; n > 0 {
		parts = append(parts, Count(n)+" cannot be updated this way")
	}
	return Sentence(strings.Join(parts, "; "))
}

func sideWords(s fleet.ImpactSide) string {
	if s.Target == nil {
		return "nothing asked"
	}
	words := TargetWords(s.Target)
	if s.DeadlineLocal != nil {
		words += " by " + ShortWall(s.DeadlineLocal)
	}
	return words
}

// DevicePath is the page of one Mac.
func DevicePath(id string) string { return "/devices/" + url.PathEscape(id) }
