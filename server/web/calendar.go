package web

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"plimsoll/declarations/policy"
	"plimsoll/declarations/release"
	"plimsoll/server/fleet"
	"plimsoll/server/web/view"
)

// calendarModel is the page of deadlines, closed days and freezes.
type calendarModel struct {
	Months  []monthModel
	Closed  []string // in words: which policies have no deadlines on which days
	Freezes []freezeModel
	Form    freezeForm
	Day     string // the day whose Macs are shown, in words; empty: none
	Macs    []deviceRow
	More    bool // there are more Macs than are shown
}

type monthModel struct {
	Name  string
	Weeks [][]dayModel // from Monday
}

// dayModel is one day; the zero value fills a week before the first and after the last of a month.
type dayModel struct {
	Number  int
	Date    string
	Devices int
	Today   bool
	Here    bool   // its Macs are shown
	Closed  string // why it is shaded; empty: it is not
}

type freezeModel struct {
	Name, Reason, From, To, For, By string
	Strict, Past                    bool
}

// freezeForm is the form for a freeze.
type freezeForm struct {
	Name, Reason, From, To, Groups, Exclude string
	Strict                                  bool
	Known                                   []string // groups
	Faults                                  faults
}

const (
	calendarMonths = 3
	calendarMacs   = 200 // of one day
)

func (w *Web) calendarPage(c echo.Context) error {
	return w.showCalendar(c, http.StatusOK, freezeForm{})
}

func (w *Web) showCalendar(c echo.Context, status int, form freezeForm) error {
	ctx := c.Request().Context()
	overview, err := w.fleet.Overview(ctx)
	if err != nil {
		return err
	}
	freezes, err := w.fleet.Freezes(ctx, 1000, "")
	if err != nil {
		return err
	}
	policies, err := w.fleet.Policies(ctx, 1000, "")
	if err != nil {
		return err
	}
	groups, err := w.fleet.Groups(ctx, 1000, "")
	if err != nil {
		return err
	}
	for _, g := range groups.Items {
		form.Known = append(form.Known, g.Name)
	}
	today := release.DayOf(w.now().In(w.zone))
	m := calendarModel{Form: form, Closed: closedWords(policies.Items)}
	for i := range freezes.Items {
		m.Freezes = append(m.Freezes, freezeOf(&freezes.Items[i], today))
	}
	slices.SortFunc(m.Freezes, func(a, b freezeModel) int { return cmp.Compare(a.From, b.From) })
	shown := c.QueryParam("day")
	m.Months = monthsOf(today, shown, overview.DueByDay, freezes.Items, policies.Items)
	if shown != "" {
		day, err := release.ParseDay(shown)
		if err != nil {
			return &fleet.Error{Kind: fleet.ErrInvalid, Code: "bad_parameter", Text: "the day must be of the form 2026-12-01"}
		}
		m.Day = day.Time().Format("Monday 2 January 2006")
		if m.Macs, m.More, err = w.dueOn(ctx, day.String()); err != nil {
			return err
		}
	}
	return w.render(c, status, "calendar", frame{Title: "Calendar", Section: "calendar", Notice: notice(c)}, m)
}

// dueOn are the Macs whose deadline falls on a day of their own clock.
func (w *Web) dueOn(ctx context.Context, day string) (rows []deviceRow, more bool, err error) {
	q := fleet.DeviceQuery{Sort: "deadline", Limit: 1000}
	for {
		page, err := w.fleet.Devices(ctx, q)
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
			case date == day && len(rows) == calendarMacs:
				return rows, true, nil
			case date == day:
				rows = append(rows, w.row(d))
			}
		}
		if page.Next == "" {
			return rows, false, nil
		}
		q.Cursor = page.Next
	}
}

// monthsOf are this month and the next ones.
func monthsOf(today release.Day, shown string, due map[string]int, freezes []policy.Freeze,
	policies []policy.Policy,
) []monthModel {
	var out []monthModel
	first := today.Time().AddDate(0, 0, 1-today.Time().Day())
	for n := range calendarMonths {
		start := first.AddDate(0, n, 0)
		m := monthModel{Name: start.Format("January 2006")}
		week := make([]dayModel, (int(start.Weekday())+6)%7, 7)
		for t := start; t.Month() == start.Month(); t = t.AddDate(0, 0, 1) {
			day := release.DayOf(t)
			date := day.String()
			week = append(week, dayModel{
				Number: t.Day(), Date: date, Devices: due[date], Today: day == today, Here: date == shown,
				Closed: closedBy(day, freezes, policies),
			})
			if len(week) == 7 {
				m.Weeks = append(m.Weeks, week)
				week = nil
			}
		}
		if len(week) > 0 {
			m.Weeks = append(m.Weeks, append(week, make([]dayModel, 7-len(week))...))
		}
		out = append(out, m)
	}
	return out
}

// closedBy says why a day has no deadlines, for some Macs or all: a freeze, or a weekday that every policy with deadlines closes.
func closedBy(day release.Day, freezes []policy.Freeze, policies []policy.Policy) string {
	for i := range freezes {
		if f := &freezes[i]; f.From <= day && day <= f.To {
			return "Freeze " + f.Name
		}
	}
	word := strings.ToLower(day.Time().Format("Mon"))
	managed := 0
	for i := range policies {
		u := policies[i].Updates
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

var weekdays = map[string]string{
	"mon": "Mondays", "tue": "Tuesdays", "wed": "Wednesdays", "thu": "Thursdays", "fri": "Fridays", "sat": "Saturdays",
	"sun": "Sundays",
}

// closedWords say which policies set deadlines on some weekdays only.
func closedWords(policies []policy.Policy) []string {
	var out []string
	for i := range policies {
		p := &policies[i]
		if p.Updates == nil || p.Updates.Days == nil {
			continue
		}
		days := make([]string, len(p.Updates.Days))
		for n, d := range p.Updates.Days {
			days[n] = cmp.Or(weekdays[d], d)
		}
		out = append(out, view.Sentence(policyTitle(p)+" sets deadlines on "+view.Join(days, "and")+" only"))
	}
	return out
}

func freezeOf(f *policy.Freeze, today release.Day) freezeModel {
	m := freezeModel{
		Name: f.Name, Reason: f.Reason, From: f.From.String(), To: f.To.String(), By: f.By, Strict: f.Strict, Past: f.To < today,
		For: "every Mac",
	}
	if len(f.Groups) > 0 {
		m.For = "Macs in " + view.Join(f.Groups, "or")
	}
	if len(f.ExcludeGroups) > 0 {
		m.For += ", except those in " + view.Join(f.ExcludeGroups, "or")
	}
	return m
}

func (w *Web) freezePut(c echo.Context) error {
	form := freezeForm{
		Name: strings.TrimSpace(c.FormValue("name")), Reason: strings.TrimSpace(c.FormValue("reason")), From: c.FormValue("from"),
		To:     c.FormValue("to"),
		Groups: strings.TrimSpace(c.FormValue("groups")), Exclude: strings.TrimSpace(c.FormValue("exclude_groups")),
		Strict: c.FormValue("strict") != "",
		Faults: faults{},
	}
	f := policy.Freeze{
		Name: form.Name, Reason: form.Reason, Groups: view.Words(form.Groups), ExcludeGroups: view.Words(form.Exclude),
		Strict: form.Strict,
	}
	if !policy.ValidName(f.Name) {
		f.Name = cmp.Or(slug(f.Name), f.Name)
	}
	var err error
	for _, day := range []struct {
		name, text string
		to         *release.Day
	}{{"from", form.From, &f.From}, {"to", form.To, &f.To}} {
		if *day.to, err = release.ParseDay(day.text); err != nil {
			form.Faults[day.name] = []string{"must be a day such as 2026-12-19"}
		}
	}
	if len(form.Faults) > 0 {
		return w.showCalendar(c, http.StatusUnprocessableEntity, form)
	}
	o := w.options(c)
	res, err := w.fleet.PutFreeze(c.Request().Context(), f, o)
	if fields := faultsOf(err); fields != nil {
		form.Faults = fields
		return w.showCalendar(c, http.StatusUnprocessableEntity, form)
	}
	return w.finish(c, "Save the freeze "+f.Name, "/calendar", "saved", o, res.Impact, err)
}

func (w *Web) freezeDelete(c echo.Context) error {
	name, o := c.FormValue("name"), w.options(c)
	impact, err := w.fleet.DeleteFreeze(c.Request().Context(), name, o)
	return w.finish(c, "Lift the freeze "+name, "/calendar", "lifted", o, impact, err)
}
