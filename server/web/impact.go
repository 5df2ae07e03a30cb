package web

import (
	"strings"

	"plimsoll/server/fleet"
	"plimsoll/server/web/view"
)

// impactModel is what a write would do, for people.
type impactModel struct {
	Any     bool
	Lead    string // in one sentence, the day first
	Guard   string // why the write must be confirmed; empty: it need not
	States  []view.Share
	Numbers []impactNumber
	Targets []impactCount
	Groups  []impactGroup
	Sample  []impactRow
}

type impactNumber struct {
	Label   string
	Devices int
	Loud    bool
}

type impactCount struct {
	Name    string
	Devices int
}

type impactGroup struct {
	Name         string
	Devices, Due int
}

type impactRow struct{ Device, Link, Before, After string }

func impactOf(i *fleet.Impact) impactModel {
	if i == nil {
		return impactModel{}
	}
	m := impactModel{Any: i.Devices > 0, Lead: impactLead(i), Numbers: []impactNumber{
		{"Macs affected", i.Devices, false},
		{"newly asked for an update", i.NewlyTargeted, false},
		{"no longer asked", i.NoLongerAsked, false},
		{"due within 24 hours", i.DueWithin24h, i.DueWithin24h > 0},
		{"due within 7 days", i.DueWithin7d, false},
		{"newly due within 7 days", i.NewlyDueWithin7d, i.NewlyDueWithin7d > 0},
		{"within 2 hours of a deadline that macOS may enforce anyway", i.TooLate, i.TooLate > 0},
	}}
	if i.Guard != nil {
		m.Guard = view.Sentence(*i.Guard)
	}
	total := 0
	for _, n := range i.StatesAfter {
		total += n
	}
	m.States = view.Shares(view.States, i.StatesAfter, total, "state", "")
	for _, t := range i.ByTarget {
		m.Targets = append(m.Targets, impactCount{Name: view.TargetWords(&t.Target), Devices: t.Devices})
	}
	for _, g := range i.ByGroup {
		m.Groups = append(m.Groups, impactGroup{Name: g.Group, Devices: g.Devices, Due: g.DueWithin7d})
	}
	for _, s := range i.Sample {
		name := s.Serial
		if name == "" {
			name = s.Device
		}
		m.Sample = append(m.Sample, impactRow{
			Device: name, Link: devicePath(s.Device), Before: sideWords(s.Before), After: sideWords(s.After),
		})
	}
	return m
}

// impactLead is the impact in one sentence: how many Macs restart and by when, how many are no longer asked, how many cannot.
func impactLead(i *fleet.Impact) string {
	var parts []string
	first, last := view.WallPtr(i.FirstRestartLocal), view.WallPtr(i.LastRestartLocal)
	switch {
	case i.Restarting == 0:
		parts = append(parts, "no Mac restarts because of this")
	case first == last:
		parts = append(parts, view.Verb(i.Restarting, "Mac", "restarts", "restart")+" by "+first)
	default:
		parts = append(parts, view.Verb(i.Restarting, "Mac", "restarts", "restart")+" by "+last+", the first by "+first)
	}
	if n := i.NoLongerAsked; n > 0 {
		parts = append(parts, view.Verb(n, "", "is", "are")+" no longer asked")
	}
	if n := i.Cannot; n > 0 {
		parts = append(parts, view.Count(n)+" cannot be updated this way")
	}
	return view.Sentence(strings.Join(parts, "; "))
}

func sideWords(s fleet.ImpactSide) string {
	if s.Target == nil {
		return "nothing asked"
	}
	words := view.TargetWords(s.Target)
	if s.DeadlineLocal != nil {
		words += " by " + view.ShortWall(s.DeadlineLocal)
	}
	return words
}
