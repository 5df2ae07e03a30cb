package model

import (
	"fmt"
	"math"
	"time"

	"plimsoll/declarations/plan"
	"plimsoll/declarations/release"
	"plimsoll/status"
)

// Users says how the people behave and how installs fail. Shares and chances are from 0 to 1.
type Users struct {
	Eager          float64 `json:"eager"`            // share that updates by itself soon
	EagerDays      float64 `json:"eager_days"`       // mean days after a release
	Ordinary       float64 `json:"ordinary"`         // share that updates by itself some day; the rest never does
	OrdinaryDays   float64 `json:"ordinary_days"`    // mean days after a release
	ObeysEachDay   float64 `json:"obeys_each_day"`   // chance on each day to install what is announced
	OffAtWeekends  float64 `json:"off_at_weekends"`  // share of Macs that are off on Saturday and Sunday
	DayOff         float64 `json:"day_off"`          // chance of a single day off
	Leave          float64 `json:"leave"`            // chance of two weeks of leave in any eight weeks
	YearEnd        float64 `json:"year_end"`         // share away from 20 December to 4 January
	Drawer         float64 `json:"drawer"`           // share that lies in a drawer for 120 of the days
	InstallFails   float64 `json:"install_fails"`    // chance that one attempt fails; it is repeated on the next day on
	FaultyFailsFor float64 `json:"faulty_fails_for"` // share of Macs on which the faulty release never installs
	FaultyHangsFor float64 `json:"faulty_hangs_for"` // share of Macs on which its installation begins and never ends
}

// Default is the model that the documentation shows. It is a guess, not a measurement.
var Default = Users{
	Eager: 0.15, EagerDays: 2, Ordinary: 0.50, OrdinaryDays: 25, ObeysEachDay: 0.05, OffAtWeekends: 0.85, DayOff: 0.05,
	Leave: 0.30, YearEnd: 0.60, Drawer: 0.03, InstallFails: 0.03, FaultyFailsFor: 0.10,
}

// What a chance is drawn for. A draw depends on the seed, the Mac and its subject alone, so that every scenario meets the same
// people.
const (
	drawBoard = iota
	drawVersion
	drawKind
	drawDelay
	drawObeys
	drawWeekend
	drawDayOff
	drawLeave
	drawLeaveAt
	drawYearEnd
	drawDrawer
	drawDrawerAt
	drawFails
	drawFaulty
	drawZone
	drawHangs
)

// draw is a number from 0 to below 1.
func draw(seed uint64, mac, what, subject int) float64 {
	x := uint64(0)
	for _, v := range [...]uint64{seed, uint64(mac), uint64(what), uint64(subject)} {
		x = (x ^ v) + 0x9e3779b97f4a7c15
		x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
		x = (x ^ x>>27) * 0x94d049bb133111eb
		x ^= x >> 31
	}
	return float64(x>>11) / (1 << 53)
}

// person is a Mac with its user, before the first day.
type person struct {
	n      int
	facts  status.Facts
	zone   time.Duration
	drawer bool
}

// zones are those in which the Macs stand, hours from UTC.
var zones = [...]time.Duration{-8, -5, 0, 1, 1, 9}

// people makes the fleet: boards that the first catalogue knows for macOS 14 and later, each Mac on a release that was out on
// the first day.
func people(n int, seed uint64, u *Users, first *release.Index, boards []string) []person {
	all := make([]person, n)
	for i := range all {
		p := &all[i]
		p.n = i
		board := boards[int(draw(seed, i, drawBoard, 0)*float64(len(boards)))]
		var choice []*release.Release
		for _, r := range first.Board(board).OS {
			if r.Available && r.Version.Major() >= oldestMajor {
				choice = append(choice, r)
			}
		}
		r := choice[int(draw(seed, i, drawVersion, 0)*float64(len(choice)))]
		p.zone = zones[int(draw(seed, i, drawZone, 0)*float64(len(zones)))] * time.Hour
		p.drawer = draw(seed, i, drawDrawer, 0) < u.Drawer
		p.facts = status.Facts{
			ID: fmt.Sprintf("00000000-0000-4000-8000-%012d", i), Serial: fmt.Sprintf("SIM%09d", i), Board: board,
			Version: r.Version, Build: r.Build, Enrolled: true, Supervised: status.Yes, AppleSilicon: status.Yes,
			Capabilities: status.Capabilities{Known: true, Enforcement: true},
		}
	}
	return all
}

// oldestMajor is the oldest macOS of the simulated Macs: declarations reach it (rules 14).
const oldestMajor = 14

// on tells whether the Mac is used on its local day d, counted from Start.
func (p *person) on(seed uint64, u *Users, d int) bool {
	at := Start.AddDate(0, 0, d)
	weekend := at.Weekday() == time.Saturday || at.Weekday() == time.Sunday
	drawerFrom := int(draw(seed, p.n, drawDrawerAt, 0) * 60)
	const block, leave = 56, 14
	leaveFrom := int(draw(seed, p.n, drawLeaveAt, d/block) * (block - leave))
	switch {
	case p.drawer && d >= drawerFrom && d < drawerFrom+120,
		weekend && draw(seed, p.n, drawWeekend, 0) < u.OffAtWeekends,
		draw(seed, p.n, drawDayOff, d) < u.DayOff,
		draw(seed, p.n, drawLeave, d/block) < u.Leave && d%block >= leaveFrom && d%block < leaveFrom+leave,
		yearEnd(at, 20) && draw(seed, p.n, drawYearEnd, 0) < u.YearEnd:
		return false
	}
	return true
}

// yearEnd tells whether a day lies between that of December and 4 January.
func yearEnd(at time.Time, december int) bool {
	return at.Month() == time.December && at.Day() >= december || at.Month() == time.January && at.Day() <= 4
}

// wants tells whether the user installs a release by himself on local day d. Told: the Mac announces it.
func (p *person) wants(seed uint64, u *Users, r *release.Release, d int, told bool) bool {
	if told && draw(seed, p.n, drawObeys, d) < u.ObeysEachDay {
		return true
	}
	mean := u.EagerDays
	switch kind := draw(seed, p.n, drawKind, 0); {
	case kind >= u.Eager+u.Ordinary:
		return false
	case kind >= u.Eager:
		mean = u.OrdinaryDays
	}
	wait := -mean * math.Log(1-draw(seed, p.n, drawDelay, int(r.Posted)))
	return Start.AddDate(0, 0, d).Sub(r.FirstSeen) >= time.Duration(wait*float64(day))
}

// life is a Mac in one scenario.
type life struct {
	*person
	mac      plan.Mac
	last     *plan.Plan
	asked    bool // last was made with the Mac asking
	book     *plan.Book
	token    string
	order    order
	failing  bool
	hangs    time.Time // since when the Mac has said that it installs; zero: it does not
	seen     time.Time // last contact
	missed   []miss
	deadline map[string]bool
}
