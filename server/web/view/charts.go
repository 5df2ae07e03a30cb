package view

import (
	"slices"
	"strconv"
	"time"

	"plimsoll/server/fleet"
)

// Share is a number of Macs with its part of the whole.
type Share struct {
	State
	Devices int
	Percent string
	Link    string
	X, W    float64 // in a bar of width 1000
}

// DueChart is the number of Macs due on each day.
type DueChart struct {
	Total int
	Max   int
	Days  []DueBar
}

// DueBar is one day of it, in a drawing of 1000 x 100.
type DueBar struct {
	Date, Label string
	Devices     int
	X, Y, W, H  float64
	Tick        bool // its date stands under the axis
}

// Adoption is how one release spread, in a drawing of 1000 x 100.
type Adoption struct {
	Version, Posted string
	Devices, Of     int
	Percent         string
	Points          string // of the line
	Area            string
	LastX, LastY    float64
	Days            []AdoptionDay
}

type AdoptionDay struct {
	Date        string
	Devices, Of int
	Percent     string
}

// Shares are the parts of a whole, with the links to their Macs.
func Shares(list []State, counts map[string]int, of int, filter, more string) []Share {
	out := make([]Share, 0, len(list))
	x := 0.0
	for _, words := range list {
		s := Share{State: words, Devices: counts[words.Name], X: x, Link: "/devices?" + filter + "=" + words.Name}
		if more != "" {
			s.Link += "&" + more
		}
		s.Percent = Percent(s.Devices, of)
		if of > 0 {
			s.W = 1000 * float64(s.Devices) / float64(of)
		}
		x += s.W
		out = append(out, s)
	}
	return out
}

func DueChartOf(due []fleet.DueDay) DueChart {
	m := DueChart{}
	for _, d := range due {
		m.Total += d.Devices
		m.Max = max(m.Max, d.Devices)
	}
	step := 1000 / float64(max(1, len(due)))
	for i, d := range due {
		b := DueBar{
			Date: d.Date, Label: dayLabel(d.Date), Devices: d.Devices, X: float64(i)*step + step*0.14, W: step * 0.72, Tick: i%7 == 0,
		}
		if m.Max > 0 {
			b.H = 100 * float64(d.Devices) / float64(m.Max)
		}
		b.Y = 100 - b.H
		m.Days = append(m.Days, b)
	}
	return m
}

// dayLabel is a date for an axis: "4 Dec".
func dayLabel(date string) string {
	t, err := time.Parse(time.DateOnly, date)
	if err != nil {
		return date
	}
	return t.Format("2 Jan")
}

func AdoptionOf(a *fleet.Adoption) Adoption {
	m := Adoption{Version: a.Version, Posted: a.Posted, Percent: "–"}
	if len(a.Days) == 0 {
		return m
	}
	first := dayNumber(a.Posted, a.Days[0].Date)
	last := dayNumber(a.Days[len(a.Days)-1].Date, a.Posted)
	span := float64(max(1, last-first))
	for _, d := range a.Days {
		m.Days = append(m.Days, AdoptionDay{Date: d.Date, Devices: d.Devices, Of: d.Of, Percent: Percent(d.Devices, d.Of)})
		Share := 0.0
		if d.Of > 0 {
			Share = float64(d.Devices) / float64(d.Of)
		}
		m.LastX, m.LastY = 1000*float64(dayNumber(d.Date, a.Posted)-first)/span, 100-100*Share
		if m.Points == "" {
			m.Area = Coordinate(m.LastX) + ",100 "
		} else {
			m.Points += " "
			m.Area += " "
		}
		m.Points += Coordinate(m.LastX) + "," + Coordinate(m.LastY)
		m.Area += Coordinate(m.LastX) + "," + Coordinate(m.LastY)
	}
	m.Area += " " + Coordinate(m.LastX) + ",100"
	now := m.Days[len(m.Days)-1]
	m.Devices, m.Of, m.Percent = now.Devices, now.Of, now.Percent
	slices.Reverse(m.Days) // the table begins with the latest
	return m
}

func Coordinate(v float64) string { return strconv.FormatFloat(v, 'f', 1, 64) }

// dayNumber counts days; a date that cannot be read counts as the other.
func dayNumber(date, other string) int {
	t, err := time.Parse(time.DateOnly, date)
	if err != nil {
		if t, err = time.Parse(time.DateOnly, other); err != nil {
			return 0
		}
	}
	return int(t.Unix() / 86400)
}
