package web

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"plimsoll/declarations/plan"
	"plimsoll/declarations/policy"
	"plimsoll/server/fleet"
	"plimsoll/status/compliance"
)

// fleetModel is the page of the fleet.
type fleetModel struct {
	Devices   int
	Headline  string
	AsOf      moment
	States    []share
	Flags     []share // those that some Mac has
	Due       dueChart
	Adoption  []adoptionModel
	Newest    []releaseRow
	Attention []attentionModel
	Underway  []attentionModel // Macs that need nothing but time
	Policies  []policyCount
	NoPolicy  bool // there is none at all
}

// share is a number of Macs with its part of the whole.
type share struct {
	stateWords
	Devices int
	Percent string
	Link    string
	X, W    float64 // in a bar of width 1000
}

// dueChart is the number of Macs due on each day.
type dueChart struct {
	Total int
	Max   int
	Days  []dueBar
}

// dueBar is one day of it, in a drawing of 1000 x 100.
type dueBar struct {
	Date, Label string
	Devices     int
	X, Y, W, H  float64
	Tick        bool // its date stands under the axis
}

// adoptionModel is how one release spread, in a drawing of 1000 x 100.
type adoptionModel struct {
	Version, Posted string
	Devices, Of     int
	Percent         string
	Points          string // of the line
	Area            string
	LastX, LastY    float64
	Days            []adoptionDay
}

type adoptionDay struct {
	Date        string
	Devices, Of int
	Percent     string
}

// attentionModel is a group of Macs with one reason.
type attentionModel struct {
	Text, Advice, Link string
	Devices            int
}

// policyCount is what one policy's Macs are like.
type policyCount struct {
	Name, Title, Link string
	Devices           int
	States            []share
}

// newestReleases is how many the fleet's page shows.
const newestReleases = 8

func (w *Web) fleetPage(c echo.Context) error {
	ctx := c.Request().Context()
	counts, err := w.fleet.Compliance(ctx)
	if err != nil {
		return err
	}
	overview, err := w.fleet.Overview(ctx)
	if err != nil {
		return err
	}
	releases, err := w.allReleases(ctx, time.Time{})
	if err != nil {
		return err
	}
	model := fleetModelOf(counts, overview, w.when(counts.AsOf))
	rows := releaseRows(releases, w.now())
	model.Newest = rows[:min(len(rows), newestReleases)]
	return w.render(c, http.StatusOK, "fleet", frame{Title: "Fleet", Section: "fleet", Live: true}, model)
}

// allReleases reads the whole catalogue as of a time (zero: now).
func (w *Web) allReleases(ctx context.Context, asOf time.Time) ([]fleet.Release, error) {
	var all []fleet.Release
	for cursor := ""; ; {
		page, err := w.fleet.Releases(ctx, asOf, 1000, cursor)
		if err != nil {
			return nil, err
		}
		all = append(all, page.Items...)
		if page.Next == "" {
			return all, nil
		}
		cursor = page.Next
	}
}

func fleetModelOf(c fleet.Compliance, o fleet.Overview, asOf moment) fleetModel {
	m := fleetModel{
		Devices: c.Devices, AsOf: asOf, NoPolicy: len(c.Policies) == 0,
		States: shares(stateList, c.States, c.Devices, "state", ""), Due: dueChartOf(o.Due), Headline: headline(c),
	}
	for _, s := range shares(flagList, c.Flags, c.Devices, "flag", "") {
		if s.Devices > 0 {
			m.Flags = append(m.Flags, s)
		}
	}
	for _, a := range o.Attention {
		row := attentionModel{Text: sentence(a.Text), Advice: a.Advice, Devices: a.Devices, Link: "/devices?reason=" + url.QueryEscape(a.Code)}
		if words, ok := groupWords[a.Code]; ok {
			row.Text = words
		}
		if slices.Contains(underway, a.Code) {
			row.Advice = ""
			m.Underway = append(m.Underway, row)
		} else {
			m.Attention = append(m.Attention, row)
		}
	}
	for i := range o.Adoption {
		m.Adoption = append(m.Adoption, adoptionOf(&o.Adoption[i]))
	}
	for i := range c.Policies {
		p := &c.Policies[i]
		m.Policies = append(m.Policies, policyCount{
			Name: p.Name, Title: cmp.Or(p.Label, p.Name), Devices: p.Devices, Link: "/devices?policy=" + url.QueryEscape(p.Name),
			States: shares(stateList, p.States, p.Devices, "state", "policy="+url.QueryEscape(p.Name)),
		})
	}
	return m
}

// groupWords head the groups of Macs whose reason, said of one Mac, needs that Mac's own facts.
var groupWords = map[string]string{
	compliance.DeadlineAhead: "Waiting for the deadline", "waiting": "Waiting to begin", "downloading": "Downloading", "prepared": "Downloaded and prepared",
	"installing": "Installing", compliance.DelayedByUser: "Delayed by the user", compliance.Returned: "Back from a silence of more than 7 days",
	compliance.NotSyncedYet: "Have not fetched yet what they are told now", compliance.NotFetched: "Were served the update's declaration, but do not report having it",
	compliance.DeadlinePassed: "The deadline has passed and the update is missing", compliance.DeadlinePassedOffline: "The deadline passed while they were offline",
	compliance.DownloadingLong: "Downloading for more than a day", compliance.OtherPhase: "Report a state of the update that this server does not know",
	compliance.FailureDisk: "The installation failed for lack of disk space", compliance.FailureBattery: "The installation failed because of the battery or power",
	compliance.InstallFailed: "The installation failed", compliance.MacOSTooOld: "macOS is too old to be told by declaration",
	plan.CodeNotInCatalogue: "The catalogue has no release for them", plan.CodeHeld: "Only a hold stands in the way", plan.CodeUnsupported: "No release that satisfies the policy exists for them",
	plan.CodeAssignmentUnknown: "Whether a policy applies depends on a fact that is not known yet",
}

// underway are the reasons that pass by themselves.
var underway = []string{compliance.DeadlineAhead, "waiting", "downloading", "prepared", "installing", compliance.DelayedByUser, compliance.Returned, compliance.NotSyncedYet}

// headline says in one sentence how the fleet stands.
func headline(c fleet.Compliance) string {
	if c.Devices == 0 {
		return "No Mac is enrolled yet."
	}
	s := plural(c.Devices, "Mac") + ", " + percent(c.States["compliant"], c.Devices) + " compliant"
	if n := c.States["overdue"]; n > 0 {
		s += ", " + count(n) + " overdue"
	}
	if n := c.States["failing"]; n > 0 {
		s += ", " + count(n) + " failing"
	}
	return s + "."
}

// shares are the parts of a whole, with the links to their Macs.
func shares(list []stateWords, counts map[string]int, of int, filter, more string) []share {
	out := make([]share, 0, len(list))
	x := 0.0
	for _, words := range list {
		s := share{stateWords: words, Devices: counts[words.Name], X: x, Link: "/devices?" + filter + "=" + words.Name}
		if more != "" {
			s.Link += "&" + more
		}
		s.Percent = percent(s.Devices, of)
		if of > 0 {
			s.W = 1000 * float64(s.Devices) / float64(of)
		}
		x += s.W
		out = append(out, s)
	}
	return out
}

func dueChartOf(due []fleet.DueDay) dueChart {
	m := dueChart{}
	for _, d := range due {
		m.Total += d.Devices
		m.Max = max(m.Max, d.Devices)
	}
	step := 1000 / float64(max(1, len(due)))
	for i, d := range due {
		b := dueBar{Date: d.Date, Label: dayLabel(d.Date), Devices: d.Devices, X: float64(i)*step + step*0.14, W: step * 0.72, Tick: i%7 == 0}
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

func adoptionOf(a *fleet.Adoption) adoptionModel {
	m := adoptionModel{Version: a.Version, Posted: a.Posted, Percent: "–"}
	if len(a.Days) == 0 {
		return m
	}
	first := dayNumber(a.Posted, a.Days[0].Date)
	last := dayNumber(a.Days[len(a.Days)-1].Date, a.Posted)
	span := float64(max(1, last-first))
	for _, d := range a.Days {
		m.Days = append(m.Days, adoptionDay{Date: d.Date, Devices: d.Devices, Of: d.Of, Percent: percent(d.Devices, d.Of)})
		share := 0.0
		if d.Of > 0 {
			share = float64(d.Devices) / float64(d.Of)
		}
		m.LastX, m.LastY = 1000*float64(dayNumber(d.Date, a.Posted)-first)/span, 100-100*share
		if m.Points == "" {
			m.Area = coordinate(m.LastX) + ",100 "
		} else {
			m.Points += " "
			m.Area += " "
		}
		m.Points += coordinate(m.LastX) + "," + coordinate(m.LastY)
		m.Area += coordinate(m.LastX) + "," + coordinate(m.LastY)
	}
	m.Area += " " + coordinate(m.LastX) + ",100"
	now := m.Days[len(m.Days)-1]
	m.Devices, m.Of, m.Percent = now.Devices, now.Of, now.Percent
	slices.Reverse(m.Days) // the table begins with the latest
	return m
}

func coordinate(v float64) string { return strconv.FormatFloat(v, 'f', 1, 64) }

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

// policyTitle is a policy's label, or its name.
func policyTitle(p *policy.Policy) string { return cmp.Or(p.Label, p.Name) }
