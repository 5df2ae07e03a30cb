package rollout

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
	"plimsoll/server/fleet"
	"plimsoll/server/web/view"
)

// Calendar is the page of deadlines, closed days and freezes.
type Calendar struct {
	Months  []month
	Earlier string // the address of the months before; empty: they are past
	Later   string
	Closed  []string // in words: which policies have no deadlines on which days
	Freezes []freezeRow
	Form    freezeForm
	Day     string // the day whose Macs are shown, in words; empty: none
	Macs    []dueRow
	More    bool // there are more Macs than are shown
}

type month struct {
	Name  string
	Weeks [][]day // from Monday
}

// day is one day; the zero value fills a week before the first and after the last of a month.
type day struct {
	Number  int
	Date    string
	Link    string
	Devices int
	Today   bool
	Here    bool   // its Macs are shown
	Closed  string // why it is shaded; empty: it is not
}

// dueRow is a Mac that is due on the day that is shown.
type dueRow struct {
	Link, Serial, Name       string
	State                    view.State
	Target, Deadline, Policy string
}

const (
	monthsShown = 3
	monthsAhead = 24
	macsShown   = 200 // of one day
)

func (r *Room) calendarPage(c echo.Context) error {
	form := freezeForm{}
	if name := c.QueryParam("freeze"); name != "" {
		f, etag, err := r.o.Fleet.Freeze(c.Request().Context(), name)
		if err != nil {
			return err
		}
		form = formOf(&f, etag)
	}
	return r.showCalendar(c, http.StatusOK, form)
}

func (r *Room) showCalendar(c echo.Context, status int, form freezeForm) error {
	ctx := c.Request().Context()
	overview, err := r.o.Fleet.Overview(ctx)
	if err != nil {
		return err
	}
	freezes, err := r.o.Fleet.Freezes(ctx, 1000, "")
	if err != nil {
		return err
	}
	policies, err := r.o.Fleet.Policies(ctx, 1000, "")
	if err != nil {
		return err
	}
	groups, err := r.o.Fleet.Groups(ctx, 1000, "")
	if err != nil {
		return err
	}
	for _, g := range groups.Items {
		form.Known = append(form.Known, g.Name)
	}
	from, err := monthsFrom(c.QueryParam("months"))
	if err != nil {
		return err
	}
	k := closings{freezes.Items, policies.Items}
	today := release.DayOf(r.o.Now().In(r.o.Zone))
	m := Calendar{Form: form, Closed: closedWords(policies.Items), Freezes: freezeRows(k, overview.DueByDay, today)}
	shown := c.QueryParam("day")
	m.Months = monthsOf(today, from, shown, overview.DueByDay, k)
	if from > 0 {
		m.Earlier = monthsLink(max(0, from-monthsShown))
	}
	if from+monthsShown < monthsAhead {
		m.Later = monthsLink(from + monthsShown)
	}
	if shown != "" {
		day, err := release.ParseDay(shown)
		if err != nil {
			return unprocessable("the day must be of the form 2026-12-01")
		}
		m.Day = day.Time().Format("Monday 2 January 2006")
		if m.Macs, m.More, err = r.dueOn(ctx, day.String()); err != nil {
			return err
		}
	}
	return r.o.Show(c, Page{Status: status, Name: "calendar", Title: "Calendar", Section: "calendar", Model: m})
}

// monthsFrom reads how many months after this one the calendar begins.
func monthsFrom(s string) (int, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n >= monthsAhead {
		return 0, unprocessable("the calendar begins from 0 to " + strconv.Itoa(monthsAhead-1) + " months ahead")
	}
	return n, nil
}

func monthsLink(from int) string {
	if from == 0 {
		return "/calendar"
	}
	return "/calendar?months=" + strconv.Itoa(from)
}

// dueOn are the Macs whose deadline falls on a day of their own clock.
func (r *Room) dueOn(ctx context.Context, day string) (rows []dueRow, more bool, err error) {
	q := fleet.DeviceQuery{Sort: "deadline", Limit: 1000}
	for {
		page, err := r.o.Fleet.Devices(ctx, q)
		if err != nil {
			return nil, false, err
		}
		for i := range page.Items {
			d := &page.Items[i]
			if d.DeadlineLocal == nil {
				return rows, false, nil // those without a deadline come last
			}
			switch date, _, _ := strings.Cut(*d.DeadlineLocal, "T"); {
			case date > day:
				return rows, false, nil
			case date == day && len(rows) == macsShown:
				return rows, true, nil
			case date == day:
				rows = append(rows, dueRowOf(d))
			}
		}
		if page.Next == "" {
			return rows, false, nil
		}
		q.Cursor = page.Next
	}
}

func dueRowOf(d *fleet.Device) dueRow {
	row := dueRow{
		Link: view.DevicePath(d.ID), Serial: cmp.Or(d.Serial, d.ID), Name: d.Name, State: view.StateOf(d.State),
		Target: view.TargetWords(d.Target), Deadline: view.ShortWall(d.DeadlineLocal),
	}
	if d.Policy != nil {
		row.Policy = *d.Policy
	}
	return row
}

// monthsOf are the months from so many after this one on.
func monthsOf(today release.Day, from int, shown string, due map[string]int, k closings) []month {
	var out []month
	first := today.Time().AddDate(0, from, 1-today.Time().Day())
	for n := range monthsShown {
		start := first.AddDate(0, n, 0)
		m := month{Name: start.Format("January 2006")}
		week := make([]day, (int(start.Weekday())+6)%7, 7)
		for t := start; t.Month() == start.Month(); t = t.AddDate(0, 0, 1) {
			at := release.DayOf(t)
			date := at.String()
			d := day{Number: t.Day(), Date: date, Devices: due[date], Today: at == today, Here: date == shown, Closed: k.why(at)}
			if d.Devices > 0 {
				d.Link = "/calendar?day=" + date
				if from > 0 {
					d.Link += "&months=" + strconv.Itoa(from)
				}
			}
			week = append(week, d)
			if len(week) == 7 {
				m.Weeks = append(m.Weeks, week)
				week = nil
			}
		}
		if len(week) > 0 {
			m.Weeks = append(m.Weeks, append(week, make([]day, 7-len(week))...))
		}
		out = append(out, m)
	}
	return out
}

// closings are what closes days.
type closings struct {
	freezes  []policy.Freeze
	policies []policy.Policy
}

// why says why a day has no deadlines, for some Macs or all: a freeze, or a weekday that every policy with deadlines closes.
func (k closings) why(day release.Day) string {
	for i := range k.freezes {
		if f := &k.freezes[i]; f.Covers(day) {
			return "Freeze " + f.Name
		}
	}
	word := strings.ToLower(day.Time().Format("Mon"))
	managed := 0
	for i := range k.policies {
		u := k.policies[i].Updates
		if u == nil || u.Mode != policy.ModeAutomatic {
			continue
		}
		if managed++; u.Days == nil || slices.Contains(u.Days, word) {
			return ""
		}
	}
	if managed == 0 {
		return ""
	}
	return "Closed"
}

// openAfter is the first day after a freeze on which deadlines may fall.
func (k closings) openAfter(f *policy.Freeze) release.Day {
	day := f.To + 1
	for range 400 { // freezes that follow each other without a gap
		if k.why(day) == "" {
			break
		}
		day++
	}
	return day
}

// closedWords say which policies set deadlines on some weekdays only.
func closedWords(policies []policy.Policy) []string {
	var out []string
	for i := range policies {
		p := &policies[i]
		if p.Updates == nil || p.Updates.Days == nil {
			continue
		}
		out = append(out, view.Sentence(cmp.Or(p.Label, p.Name)+" sets deadlines on "+view.WeekdayWords(p.Updates.Days)+" only"))
	}
	return out
}
