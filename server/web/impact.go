package web

import (
	"plimsoll/server/fleet"
	"plimsoll/server/web/view"
)

// impactModel is what a write would do, for people.
type impactModel struct {
	Any     bool
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
	m := impactModel{Any: i.Devices > 0, Numbers: []impactNumber{
		{"Macs that it changes something for", i.Devices, false},
		{"newly asked for an update", i.NewlyTargeted, false},
		{"due within 24 hours", i.DueWithin24h, i.DueWithin24h > 0},
		{"due within 7 days", i.DueWithin7d, false},
		{"newly due within 7 days", i.NewlyDueWithin7d, i.NewlyDueWithin7d > 0},
		{"within 2 hours of a deadline that macOS may enforce all the same", i.TooLate, i.TooLate > 0},
	}}
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
		m.Sample = append(m.Sample, impactRow{Device: name, Link: devicePath(s.Device), Before: sideWords(s.Before), After: sideWords(s.After)})
	}
	return m
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
