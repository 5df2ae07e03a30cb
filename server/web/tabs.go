package web

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"plimsoll/server/fleet"
	"plimsoll/server/web/view"
)

// openTab chooses what the page shows; a word that is none of the tabs is the first.
func (m *deviceModel) openTab(asked string) {
	m.Tab = tabs[0].Link
	for _, t := range tabs {
		if t.Link == asked {
			m.Tab = asked
		}
	}
	for i, t := range tabs {
		link := m.Path
		if i > 0 {
			link += "?tab=" + t.Link
		}
		m.Tabs = append(m.Tabs, tabModel{Name: t.Name, Link: link, Here: t.Link == m.Tab})
	}
}

func (w *Web) addEvents(ctx context.Context, m *deviceModel, cursor string) error {
	events, err := w.fleet.DeviceEvents(ctx, m.ID, eventsShown, cursor)
	if err != nil {
		return err
	}
	for _, e := range events.Items {
		m.Events = append(m.Events, eventModel{At: w.when(e.At), Type: e.Type, Text: view.Sentence(e.Text)})
	}
	m.Events = folded(m.Events)
	if events.Next != "" {
		m.OlderEvents = m.Path + "?tab=timeline&events=" + url.QueryEscape(events.Next)
	}
	return nil
}

// folded makes one row of equal events that follow each other; the newest come first.
func folded(events []eventModel) []eventModel {
	var out []eventModel
	for _, e := range events {
		if n := len(out); n > 0 && out[n-1].Type == e.Type && out[n-1].Text == e.Text {
			last := &out[n-1]
			last.Times, last.First = max(1, last.Times)+1, e.At
			continue
		}
		out = append(out, e)
	}
	return out
}

func (w *Web) addReports(ctx context.Context, m *deviceModel) error {
	reports, err := w.fleet.Reports(ctx, m.ID, 20, "")
	if err != nil {
		return err
	}
	for _, r := range reports.Items {
		m.Reports = append(m.Reports, w.reportOf(m.Path, &r))
	}
	status, err := w.fleet.Status(ctx, m.ID)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(mapKeys(status.Items)) {
		m.Status = append(m.Status, statusItem{name, compact(status.Items[name])})
	}
	return nil
}

func mapKeys(m map[string]json.RawMessage) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func (w *Web) reportOf(path string, r *fleet.ReportInfo) reportModel {
	return reportModel{
		ID: r.ID, Link: path + "/reports/" + url.PathEscape(r.ID), At: w.when(r.ReceivedAt), Bytes: r.Bytes, Full: r.Full, Odd: r.Odd,
	}
}

// addCommands lists what the Mac was sent, the last queued first.
func (w *Web) addCommands(ctx context.Context, m *deviceModel, cursor string) error {
	page, err := w.fleet.Commands(ctx, m.ID, eventsShown, cursor)
	if err != nil {
		return err
	}
	for i := range page.Items {
		m.Commands = append(m.Commands, w.commandOf(m.Path, &page.Items[i]))
	}
	if page.Next != "" {
		m.OlderCommands = m.Path + "?tab=commands&commands=" + url.QueryEscape(page.Next)
	}
	return nil
}

func (w *Web) commandOf(path string, c *fleet.Command) commandModel {
	m := commandModel{
		Type: c.RequestType, Link: path + "/commands/" + url.PathEscape(c.UUID),
		Queued: w.when(c.QueuedAt), Answered: w.whenPtr(c.AnsweredAt),
	}
	switch {
	case c.AnsweredAt == nil && c.Status == "NotNow":
		m.Status = "Waiting: the Mac said that it cannot now"
	case c.AnsweredAt == nil:
		m.Status = "Waiting"
	default:
		m.Status = c.Status
	}
	for _, e := range c.Errors {
		m.Errors = append(m.Errors, strings.TrimSpace(e.Description+" ("+e.Domain+" "+strconv.Itoa(e.Code)+")"))
	}
	return m
}

// rawModel is the page of something that a Mac sent, as it is.
type rawModel struct {
	Device, Back, Title string
	Lead, After         string // what stands before and after the time
	At                  view.Moment
	NotesTitle          string
	Notes               []string
	Body                string
}

// raw begins the page of something that belongs to a Mac, on one of its tabs.
func raw(d *fleet.Device, tab string) rawModel {
	return rawModel{Device: cmp.Or(d.Name, d.Serial, d.ID), Back: view.DevicePath(d.ID) + "?tab=" + tab}
}

func (w *Web) reportPage(c echo.Context) error {
	ctx := c.Request().Context()
	d, err := w.fleet.Device(ctx, param(c, "id"))
	if err != nil {
		return err
	}
	r, err := w.fleet.Report(ctx, d.ID, param(c, "report"))
	if err != nil {
		return err
	}
	m := raw(&d, "reports")
	m.Title, m.Lead, m.At, m.After, m.Body = "Report "+r.ID, "Received", w.when(r.ReceivedAt), ".", indent(r.Body)
	if r.Full {
		m.After = ", a full report."
	}
	m.NotesTitle, m.Notes = "What was odd", r.Odd
	return w.render(c, http.StatusOK, "raw", frame{Title: m.Title, Section: "devices"}, m)
}

func (w *Web) commandPage(c echo.Context) error {
	ctx := c.Request().Context()
	d, err := w.fleet.Device(ctx, param(c, "id"))
	if err != nil {
		return err
	}
	a, err := w.fleet.Command(ctx, d.ID, param(c, "uuid"))
	if err != nil {
		return err
	}
	m := raw(&d, "commands")
	m.Title, m.Lead, m.At, m.After = a.RequestType, "Queued", w.when(a.QueuedAt), "; it waits for its answer."
	if a.AnsweredAt != nil {
		m.Lead, m.At, m.After, m.Body = "Answered", w.when(*a.AnsweredAt), ".", indent(a.Answer)
	}
	m.NotesTitle, m.Notes = "Left out: secrets and binary values", a.LeftOut
	return w.render(c, http.StatusOK, "raw", frame{Title: m.Title, Section: "devices"}, m)
}
