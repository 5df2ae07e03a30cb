package web

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"plimsoll/declarations/release"
	"plimsoll/server/fleet"
	"plimsoll/server/web/view"
)

// releasesModel is the page of the catalogue.
type releasesModel struct {
	AsOf      string // a date, when an earlier catalogue is shown
	Today     string
	Catalogue catalogueModel
	Rows      []releaseRow
	Timeline  view.Timeline
	Boards    []boardGroup
	Holds     []holdModel
	Hold      holdForm
	Subjects  []view.Option // what can be held: majors, versions, builds
	Paused    bool
}

// catalogueModel tells how fresh the catalogue is.
type catalogueModel struct {
	Revision int
	Source   string
	Fetched  view.Moment
	Stale    bool
	// Refused is why the last response was refused; Error why the last fetch failed.
	Refused, Error string
	RefusedAt      view.Moment
}

// releaseRow is one release.
type releaseRow struct {
	Version, Name, Build, Kind string
	Prerequisite               string
	Posted, Age                string
	FirstSeen                  string
	Available, Held, Exploited bool
	BSI                        bool
	Devices                    int
	HoldLink                   string
}

// boardGroup is what the boards have in common that can run the same as their newest.
type boardGroup struct {
	Newest string
	Boards []boardModel
}

type boardModel struct{ Board, Name string }

// holdModel is a hold.
type holdModel struct {
	Subject, Reason, By, Until string
	Successors                 bool
	Since                      view.Moment
	Releases                   string
}

// holdForm is what the form for a hold holds.
type holdForm struct {
	Subject, Reason, Until string
	Successors             bool
	Faults                 faults
}

func (w *Web) releasesPage(c echo.Context) error {
	form := holdForm{Subject: c.QueryParam("hold"), Successors: true}
	return w.showReleases(c, http.StatusOK, form)
}

func (w *Web) showReleases(c echo.Context, status int, form holdForm) error {
	ctx := c.Request().Context()
	asOf, at, err := w.asOf(c)
	if err != nil {
		return err
	}
	all, err := w.allReleases(ctx, at)
	if err != nil {
		return err
	}
	holds, err := w.fleet.Holds(ctx, 1000, "")
	if err != nil {
		return err
	}
	paused, err := w.fleet.Pause(ctx)
	if err != nil {
		return err
	}
	now := w.now()
	if !at.IsZero() {
		now = at
	}
	m := releasesModel{
		AsOf: asOf, Today: w.now().In(w.zone).Format(time.DateOnly), Hold: form, Paused: paused.Paused,
		Rows: releaseRows(all, now), Timeline: view.TimelineOf(all, now), Boards: boardGroups(all),
		Catalogue: w.catalogueOf(), Subjects: subjects(all),
	}
	for i := range holds.Items {
		m.Holds = append(m.Holds, w.holdOf(&holds.Items[i]))
	}
	return w.render(c, status, "releases", frame{Title: "Releases", Section: "releases", Notice: notice(c)}, m)
}

// subjects are what can be held: each macOS, its versions, and their builds.
func subjects(all []fleet.Release) (out []view.Option) {
	seen := map[string]bool{}
	add := func(value, label string) {
		if !seen[value] {
			seen[value] = true
			out = append(out, view.Option{Value: value, Label: label})
		}
	}
	for i := range all {
		r := &all[i]
		major, _, _ := strings.Cut(r.Version, ".")
		add(major, "every macOS "+major)
		if r.Kind == string(release.KindOS) {
			add(r.Version, "macOS "+r.Version)
		}
		add(r.Build, "the build of macOS "+view.OSWords(r.Version, r.Letter))
	}
	return out
}

// asOf reads the day whose catalogue is asked for; the end of that day counts.
func (w *Web) asOf(c echo.Context) (string, time.Time, error) {
	day := c.QueryParam("as_of")
	if day == "" {
		return "", time.Time{}, nil
	}
	t, err := time.ParseInLocation(time.DateOnly, day, w.zone)
	if err != nil {
		return "", time.Time{}, &fleet.Error{
			Kind: fleet.ErrInvalid, Code: "bad_parameter", Text: "the day must be of the form 2026-12-01",
		}
	}
	if end := t.AddDate(0, 0, 1).Add(-time.Second); end.Before(w.now()) {
		return day, end, nil
	}
	return "", time.Time{}, nil
}

func (w *Web) holdOf(h *fleet.Hold) holdModel {
	m := holdModel{
		Subject: h.Subject, Reason: h.Reason, By: h.By, Successors: h.Successors, Since: w.when(h.Since),
		Releases: strings.Join(h.Releases, ", "),
	}
	if h.Until != nil {
		m.Until = h.Until.In(w.zone).Format("2006-01-02 15:04 MST")
	}
	return m
}

// releaseRows are releases for people, the newest posted first.
func releaseRows(all []fleet.Release, now time.Time) []releaseRow {
	sorted := slices.Clone(all)
	slices.SortStableFunc(sorted, func(a, b fleet.Release) int {
		return cmp.Or(cmp.Compare(b.Posted, a.Posted), release.Version(b.Version).Compare(release.Version(a.Version)),
			cmp.Compare(b.Letter, a.Letter), cmp.Compare(b.Build, a.Build))
	})
	rows := make([]releaseRow, 0, len(sorted))
	for i := range sorted {
		r := &sorted[i]
		row := releaseRow{
			Version: r.Version, Name: "macOS " + view.OSWords(r.Version, r.Letter), Build: r.Build, Kind: "macOS",
			Prerequisite: r.PrerequisiteBuild,
			Posted:       r.Posted.String(), Available: r.Available, Held: r.Held, Exploited: r.Exploited, Devices: len(r.Devices),
			HoldLink: "/releases?hold=" + url.QueryEscape(r.Build) + "#hold",
		}
		if r.Kind == string(release.KindBSI) {
			row.Kind, row.BSI = "Background Security Improvement", true
		}
		if r.Posted != 0 {
			row.Age = view.Days(max(0, int(release.DayOf(now)-r.Posted)))
		}
		if !r.FirstSeenAt.IsZero() {
			row.FirstSeen = r.FirstSeenAt.UTC().Format(time.DateOnly)
		}
		rows = append(rows, row)
	}
	return rows
}

// boardGroups tell which Macs can run what: the boards by the newest release that Apple offers them, the newest first.
func boardGroups(all []fleet.Release) []boardGroup {
	newest := map[string]release.Version{}
	for i := range all {
		r := &all[i]
		if !r.Available || r.Kind != string(release.KindOS) {
			continue
		}
		for _, board := range r.Devices {
			if v := release.Version(r.Version); v.Compare(newest[board]) > 0 {
				newest[board] = v
			}
		}
	}
	groups := map[release.Version][]boardModel{}
	for board, v := range newest {
		model, name := release.ModelOf(board)
		words := name
		if model != "" {
			words += " (" + model + ")"
		}
		groups[v] = append(groups[v], boardModel{Board: board, Name: words})
	}
	out := make([]boardGroup, 0, len(groups))
	for v, boards := range groups {
		slices.SortFunc(boards, func(a, b boardModel) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Board, b.Board)) })
		out = append(out, boardGroup{Newest: string(v), Boards: boards})
	}
	slices.SortFunc(out, func(a, b boardGroup) int { return release.Version(b.Newest).Compare(release.Version(a.Newest)) })
	return out
}
