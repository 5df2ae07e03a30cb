package web

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	"plimsoll/declarations/plan"
	"plimsoll/declarations/policy"
	"plimsoll/server/fleet"
	"plimsoll/server/web/view"
	"plimsoll/status/compliance"
)

// fleetModel is the page of the fleet.
type fleetModel struct {
	Devices   int
	Headline  string
	AsOf      view.Moment
	States    []view.Share
	Flags     []view.Share // those that some Mac has
	Due       view.DueChart
	Adoption  []view.Adoption
	Newest    []releaseRow
	Attention []attentionModel
	Underway  []attentionModel // Macs that need nothing but time
	Settled   []attentionModel // Macs that an admin's own setting keeps where they are
	Policies  []policyCount
	NoPolicy  bool     // there is none at all
	Problems  []string // what is wrong with pushing
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
	States            []view.Share
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
	if state, err := w.fleet.PushState(ctx); err == nil && (counts.Devices > 0 || len(state.Certificates) > 0) {
		model.Problems = problems(&state)
	}
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

func fleetModelOf(c fleet.Compliance, o fleet.Overview, asOf view.Moment) fleetModel {
	m := fleetModel{
		Devices: c.Devices, AsOf: asOf, NoPolicy: len(c.Policies) == 0,
		States: view.Shares(view.States, c.States, c.Devices, "state", ""), Due: view.DueChartOf(o.Due), Headline: headline(c),
	}
	for _, s := range view.Shares(view.Flags, c.Flags, c.Devices, "flag", "") {
		if s.Devices > 0 && s.Name != "catalogue_stale" {
			m.Flags = append(m.Flags, s)
		}
	}
	for _, a := range o.Attention {
		row := attentionModel{
			Text: view.Sentence(a.Text), Advice: a.Advice, Devices: a.Devices, Link: "/devices?reason=" + url.QueryEscape(a.Code),
		}
		if words, ok := groupWords[a.Code]; ok {
			row.Text = words
		}
		switch {
		case a.Code == "catalogue_stale": // it stands above the page
		case slices.Contains(underway, a.Code):
			row.Advice = ""
			m.Underway = append(m.Underway, row)
		case slices.Contains(settled, a.Code):
			row.Advice = ""
			m.Settled = append(m.Settled, row)
		default:
			m.Attention = append(m.Attention, row)
		}
	}
	for i := range o.Adoption {
		m.Adoption = append(m.Adoption, view.AdoptionOf(&o.Adoption[i]))
	}
	for i := range c.Policies {
		p := &c.Policies[i]
		m.Policies = append(m.Policies, policyCount{
			Name: p.Name, Title: cmp.Or(p.Label, p.Name), Devices: p.Devices, Link: "/devices?policy=" + url.QueryEscape(p.Name),
			States: view.Shares(view.States, p.States, p.Devices, "state", "policy="+url.QueryEscape(p.Name)),
		})
	}
	return m
}

// groupWords head the groups of Macs whose reason, said of one Mac, needs that Mac's own facts.
var groupWords = map[string]string{
	compliance.DeadlineAhead: "Waiting for the deadline", "waiting": "Waiting to begin", "downloading": "Downloading",
	"prepared":   "Downloaded and prepared",
	"installing": "Installing", compliance.DelayedByUser: "Delayed by the user",
	compliance.Returned:              "Back from a silence of more than 7 days",
	compliance.NotSyncedYet:          "Have not fetched yet what they are told now",
	compliance.NotFetched:            "Were served the update's declaration, but do not report having it",
	compliance.DeadlinePassed:        "The deadline has passed and the update is missing",
	compliance.DeadlinePassedOffline: "The deadline passed while they were offline",
	compliance.DownloadingLong:       "Downloading for more than a day",
	compliance.OtherPhase:            "Report a state of the update that this server does not know",
	compliance.FailureDisk:           "The installation failed for lack of disk space",
	compliance.FailureBattery:        "The installation failed because of the battery or power",
	compliance.InstallFailed:         "The installation failed",
	compliance.MacOSTooOld:           "macOS is too old to be told by declaration",
	plan.CodeNotInCatalogue:          "The catalogue has no release for them", plan.CodeHeld: "Held back by a hold on a release",
	plan.CodeUnsupported:       "No release that satisfies the policy exists for them",
	plan.CodeAssignmentUnknown: "Whether a policy applies depends on a fact that is not known yet",
}

// settled are the reasons that an admin's own setting explains.
var settled = []string{plan.CodeHeld, "paused"}

// underway are the reasons that pass by themselves.
var underway = []string{
	compliance.DeadlineAhead, "waiting", "downloading", "prepared", "installing", compliance.DelayedByUser, compliance.Returned,
	compliance.NotSyncedYet,
}

// headline says in one sentence how the fleet stands.
func headline(c fleet.Compliance) string {
	if c.Devices == 0 {
		return "No Mac is enrolled yet."
	}
	s := view.Plural(c.Devices, "Mac") + ", " + view.Percent(c.States["compliant"], c.Devices) + " compliant"
	if n := c.States["overdue"]; n > 0 {
		s += ", " + view.Count(n) + " overdue"
	}
	if n := c.States["failing"]; n > 0 {
		s += ", " + view.Count(n) + " failing"
	}
	return s + "."
}

// policyTitle is a policy's label, or its name.
func policyTitle(p *policy.Policy) string { return cmp.Or(p.Label, p.Name) }
