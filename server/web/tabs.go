package web

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"

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

// rawModel is the page of one raw report.
type rawModel struct {
	Device, Back, Body string
	Report             reportModel
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
	path := view.DevicePath(d.ID)
	m := rawModel{
		Device: cmp.Or(d.Name, d.Serial, d.ID), Back: path + "?tab=reports", Body: indent(r.Body),
		Report: w.reportOf(path, &r.ReportInfo),
	}
	return w.render(c, http.StatusOK, "report", frame{Title: "Report " + r.ID, Section: "devices"}, m)
}
