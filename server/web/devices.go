package web

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"plimsoll/declarations/release"
	"plimsoll/server/fleet"
	"plimsoll/server/sheet"
	"plimsoll/server/web/view"
)

// devicesModel is the list of Macs.
type devicesModel struct {
	Filter   filter
	Active   []activeFilter
	More     bool // a filter of the second row is in use
	Policies []view.Option
	Groups   []view.Option
	States   []view.Option
	Flags    []view.Option
	Sorts    []view.Option
	Reasons  []view.Option
	Versions []string      // to choose from
	Models   []view.Option // likewise
	Hidden   []field       // the filter, for a form that acts on the whole list
	Enrolled []view.Option
	Rows     []deviceRow
	NextLink string
	CSVLink  string
	Paged    bool // this is not the first page
	First    string
	FirstRun bool // no filter, and no Mac
}

// filter is what the form holds.
type filter struct {
	State, Flag, Policy, Ring, Group, Version, Model, Q, Reason, SeenBefore, Enrolled, Sort string
}

// activeFilter is a filter in use, with the address of the list without it.
type activeFilter struct{ Words, Without string }

// deviceRow is a Mac in a list.
type deviceRow struct {
	Link, Serial, Name, Model, OS string
	State                         view.State
	Phase                         string
	Target, Deadline              string
	Policy                        string
	Flags                         []view.State
	Seen                          view.Moment
}

// filterNames are the query parameters of the list, the same as the API's.
var filterNames = []string{
	"state", "flag", "policy", "ring", "group", "version", "model", "q", "reason", "seen_before", "enrolled", "sort",
}

func (f *filter) fields() map[string]*string {
	return map[string]*string{
		"state": &f.State, "flag": &f.Flag, "policy": &f.Policy, "group": &f.Group, "version": &f.Version, "model": &f.Model, "q": &f.Q,
		"ring": &f.Ring, "reason": &f.Reason, "seen_before": &f.SeenBefore, "enrolled": &f.Enrolled, "sort": &f.Sort,
	}
}

func filterOf(q url.Values) filter {
	var f filter
	for name, p := range f.fields() {
		*p = strings.TrimSpace(q.Get(name))
	}
	return f
}

// query is the filter's address, without empty parts.
func (f filter) query(without ...string) string {
	q := url.Values{}
	for name, p := range f.fields() {
		if *p != "" {
			q.Set(name, *p)
		}
	}
	for _, name := range without {
		q.Del(name)
	}
	if len(q) == 0 {
		return ""
	}
	return "?" + q.Encode()
}

// ask is the filter as the use case takes it.
func (f filter) ask(zone *time.Location) (fleet.DeviceQuery, error) {
	q := fleet.DeviceQuery{
		State: f.State, Flag: f.Flag, Policy: f.Policy, Group: f.Group, Version: f.Version, Model: f.Model, Q: f.Q, Reason: f.Reason,
		Ring: f.Ring, Sort: f.Sort,
	}
	switch f.Enrolled {
	case "", "true":
	case "false":
		no := false
		q.Enrolled = &no
	default:
		return q, &fleet.Error{Kind: fleet.ErrInvalid, Code: "bad_parameter", Text: "enrolled must be true or false"}
	}
	if f.SeenBefore == "" {
		return q, nil
	}
	t, err := time.ParseInLocation(time.DateOnly, f.SeenBefore, zone)
	if err != nil {
		t, err = time.Parse(time.RFC3339, f.SeenBefore)
	}
	if err != nil {
		return q, &fleet.Error{
			Kind: fleet.ErrInvalid, Code: "bad_parameter", Text: "seen_before must be a day such as 2026-12-01, or a time of RFC 3339",
		}
	}
	q.SeenBefore = t
	return q, nil
}

func (w *Web) devicesPage(c echo.Context) error {
	ctx := c.Request().Context()
	f := filterOf(c.QueryParams())
	q, err := f.ask(w.zone)
	if err != nil {
		return err
	}
	q.Cursor = c.QueryParam("cursor")
	page, err := w.fleet.Devices(ctx, q)
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
	m := devicesModelOf(f, page)
	m.Paged = q.Cursor != ""
	all, err := w.allReleases(ctx, time.Time{})
	if err != nil {
		return err
	}
	m.Versions, m.Models = pickers(all)
	m.Policies, m.Groups = view.Options(f.Policy, "", "Any policy"), view.Options(f.Group, "", "Any group")
	for i := range policies.Items {
		p := &policies.Items[i]
		m.Policies = append(m.Policies, view.Option{Value: p.Name, Label: p.Name, Selected: p.Name == f.Policy})
	}
	for _, g := range groups.Items {
		m.Groups = append(m.Groups, view.Option{Value: g.Name, Label: g.Name, Selected: g.Name == f.Group})
	}
	for i := range page.Items {
		m.Rows = append(m.Rows, w.row(&page.Items[i]))
	}
	return w.render(c, http.StatusOK, "devices", frame{Title: "Devices", Section: "devices", Live: true, Notice: notice(c)}, m)
}

func devicesModelOf(f filter, page fleet.Page[fleet.Device]) devicesModel {
	m := devicesModel{
		Filter: f, More: f.Flag+f.Version+f.Model+f.SeenBefore+f.Enrolled+f.Reason+f.Policy+f.Ring+f.Group+f.Sort != "",
		First: "/devices" + f.query(), CSVLink: "/devices.csv" + f.query(),
		States: view.StateOptions(view.States, f.State, "Any state"), Flags: view.StateOptions(view.Flags, f.Flag, "Any flag"),
		Sorts:    view.Options(f.Sort, "", "Serial number", "deadline", "Deadline", "last_seen", "Last contact"),
		Enrolled: view.Options(f.Enrolled, "", "Enrolled", "false", "Not enrolled any more"),
		Reasons:  reasonOptions(f.Reason),
		FirstRun: len(page.Items) == 0 && f.query("sort") == "",
	}
	for _, name := range filterNames {
		value := *f.fields()[name]
		if value == "" || name == "sort" {
			continue
		}
		words := strings.ReplaceAll(name, "_", " ") + ": " + value
		m.Hidden = append(m.Hidden, field{name, value})
		switch name {
		case "state":
			words = "State: " + view.StateOf(value).Label
		case "flag":
			words = "Flag: " + view.WordsOf(view.Flags, value).Label
		case "reason":
			words = "Reason: " + reasonWords(value)
		case "version":
			words = "macOS " + value
		case "seen_before":
			words = "Not seen since " + value
		case "q":
			words = "Search: " + value
		case "enrolled":
			words = "Not enrolled any more"
		default:
			words = strings.ToUpper(words[:1]) + words[1:]
		}
		m.Active = append(m.Active, activeFilter{Words: words, Without: "/devices" + f.query(name)})
	}
	if page.Next != "" {
		m.NextLink = "/devices" + f.query()
		if strings.Contains(m.NextLink, "?") {
			m.NextLink += "&"
		} else {
			m.NextLink += "?"
		}
		m.NextLink += "cursor=" + url.QueryEscape(page.Next)
	}
	return m
}

// pickers are the versions and the models that the catalogue names.
func pickers(all []fleet.Release) (versions []string, models []view.Option) {
	names := map[string]string{}
	for i := range all {
		if r := &all[i]; r.Kind == string(release.KindOS) && !slices.Contains(versions, r.Version) {
			versions = append(versions, r.Version)
		}
		for _, board := range all[i].Devices {
			if model, name := release.ModelOf(board); model != "" {
				names[model] = name
			}
		}
	}
	slices.SortFunc(versions, func(a, b string) int { return release.Version(b).Compare(release.Version(a)) })
	for _, model := range slices.Sorted(maps.Keys(names)) {
		models = append(models, view.Option{Value: model, Label: names[model]})
	}
	return versions, models
}

// reasonWords are a reason's words for a group of Macs.
func reasonWords(code string) string {
	if words, ok := groupWords[code]; ok {
		return words
	}
	return strings.ReplaceAll(code, "_", " ")
}

// reasonOptions are the reasons to choose from; one that is asked for is among them.
func reasonOptions(selected string) []view.Option {
	codes := slices.Collect(maps.Keys(groupWords))
	if _, ok := groupWords[selected]; !ok && selected != "" {
		codes = append(codes, selected)
	}
	slices.SortFunc(codes, func(a, b string) int { return cmp.Compare(reasonWords(a), reasonWords(b)) })
	out := []view.Option{{Label: "Any reason", Selected: selected == ""}}
	for _, code := range codes {
		out = append(out, view.Option{Value: code, Label: reasonWords(code), Selected: code == selected})
	}
	return out
}

func (w *Web) row(d *fleet.Device) deviceRow {
	r := deviceRow{
		Link: view.DevicePath(d.ID), Serial: cmp.Or(d.Serial, d.ID), Name: d.Name, Model: cmp.Or(d.ModelName, d.Model),
		OS:    view.OSWords(d.OS.Version, d.OS.Letter),
		State: view.StateOf(d.State), Target: view.TargetWords(d.Target), Deadline: view.ShortWall(d.DeadlineLocal),
		Seen: w.whenPtr(d.LastSeenAt),
	}
	if d.State != "compliant" && d.Phase != "" {
		r.Phase = view.PhaseOf(d.Phase)
	}
	if d.Policy != nil {
		r.Policy = *d.Policy
	}
	for _, f := range d.Flags {
		if f == "catalogue_stale" {
			continue // it is every Mac's, and stands above the page
		}
		r.Flags = append(r.Flags, view.WordsOf(view.Flags, f))
	}
	return r
}

func (w *Web) devicesCSV(c echo.Context) error {
	f := filterOf(c.QueryParams())
	q, err := f.ask(w.zone)
	if err != nil {
		return err
	}
	q.Limit = 1000
	page, err := w.fleet.Devices(c.Request().Context(), q)
	if err != nil {
		return err
	}
	h := c.Response().Header()
	h.Set(echo.HeaderContentType, "text/csv; charset=utf-8")
	h.Set("Content-Disposition", `attachment; filename="devices.csv"`)
	out := sheet.NewWriter(c.Response())
	if err := out.Write(slices.Clone(sheet.DeviceColumns)); err != nil {
		return err
	}
	for {
		for i := range page.Items {
			if err := out.Write(sheet.DeviceRow(&page.Items[i])); err != nil {
				return err
			}
		}
		if page.Next == "" {
			break
		}
		if page, err = w.nextPage(c.Request().Context(), q, page.Next); err != nil {
			return err
		}
	}
	return out.Flush()
}

func (w *Web) nextPage(ctx context.Context, q fleet.DeviceQuery, cursor string) (fleet.Page[fleet.Device], error) {
	q.Cursor = cursor
	return w.fleet.Devices(ctx, q)
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
