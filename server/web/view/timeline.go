package view

import (
	"slices"
	"strconv"
	"time"

	"plimsoll/declarations/release"
	"plimsoll/server/fleet"
)

// Timeline is the catalogue over time: a row for each major version, in a drawing of 1000 x (rows x 30).
type Timeline struct {
	Height int
	Rows   []TimelineRow
	Months []TimelineMonth
	From   string
	To     string
}

type TimelineRow struct {
	Name   string
	Y      int
	Points []TimelinePoint
}

type TimelinePoint struct {
	X, Y      float64
	BSI, Gone bool
	Exploited bool
	Title     string
}

type TimelineMonth struct {
	X       float64
	Percent string // the same, of the width
	Label   string
}

const (
	timelineDays   = 365
	timelineMajors = 4 // the newest ones
	timelineRowPx  = 30
)

func TimelineOf(all []fleet.Release, now time.Time) Timeline {
	end := release.DayOf(now)
	start := end - timelineDays
	x := func(d release.Day) float64 { return 1000 * float64(d-start) / timelineDays }
	by := map[int][]TimelinePoint{}
	var majors []int
	for i := range all {
		r := &all[i]
		if r.Posted < start || r.Posted > end {
			continue
		}
		major := release.Version(r.Version).Major()
		if _, ok := by[major]; !ok {
			majors = append(majors, major)
		}
		title := "macOS " + OSWords(r.Version, r.Letter) + ", " + r.Build + ", posted " + r.Posted.String()
		by[major] = append(by[major], TimelinePoint{
			X: x(r.Posted), BSI: r.Kind == string(release.KindBSI), Gone: !r.Available, Exploited: r.Exploited, Title: title,
		})
	}
	slices.SortFunc(majors, func(a, b int) int { return b - a })
	majors = majors[:min(len(majors), timelineMajors)]
	t := Timeline{Height: timelineRowPx * len(majors), From: start.String(), To: end.String()}
	for n, major := range majors {
		row := TimelineRow{Name: "macOS " + strconv.Itoa(major), Y: n*timelineRowPx + timelineRowPx/2, Points: by[major]}
		for i := range row.Points {
			row.Points[i].Y = float64(row.Y)
		}
		t.Rows = append(t.Rows, row)
	}
	first := time.Date(start.Time().Year(), start.Time().Month()+1, 1, 0, 0, 0, 0, time.UTC)
	for m := first; !m.After(end.Time()); m = m.AddDate(0, 1, 0) {
		t.Months = append(t.Months, TimelineMonth{
			X: x(release.DayOf(m)), Percent: Coordinate(x(release.DayOf(m)) / 10), Label: m.Format("Jan"),
		})
	}
	return t
}
