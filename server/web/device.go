package web

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	"plimsoll/declarations/plan"
	"plimsoll/declarations/policy"
	"plimsoll/server/fleet"
	"plimsoll/server/web/rollout"
	"plimsoll/server/web/session"
	"plimsoll/server/web/view"
	"plimsoll/status/compliance"
)

// deviceModel is the page of one Mac for admins.
type deviceModel struct {
	ID, Path, Name, Serial, UDID, Model, Board, OS, Build string
	Enrolled, BootstrapToken                              bool
	EnrolledAt, Seen, Reported                            view.Moment
	State                                                 view.State
	Phase                                                 string
	Flags                                                 []view.State
	Policy                                                string
	Sentence                                              string
	Deadline                                              deadlineModel
	Reasons                                               []reasonModel
	Plan                                                  planModel
	Groups                                                []view.Option
	SelfAddress                                           string // of the Mac's own page, for admins
	Events                                                []eventModel
	OlderEvents                                           string
	Served                                                servedModel
	Reports                                               []reportModel
	Commands                                              []commandModel
	OlderCommands                                         string
	Status                                                []statusItem
	Next                                                  string // the first reason's advice
	Exceptions                                            rollout.Exceptions
	Ring                                                  string // empty: its policy has none
	Tab                                                   string
	Tabs                                                  []tabModel
}

// tabModel is a link to one of the parts of a Mac's page.
type tabModel struct {
	Name, Link string
	Here       bool
}

// tabs are the parts of a Mac's page: by the word in the address, the first one shown without it.
var tabs = []tabModel{
	{Name: "Plan", Link: "plan"},
	{Name: "Timeline", Link: "timeline"},
	{Name: "Declarations", Link: "declarations"},
	{Name: "Reports", Link: "reports"},
	{Name: "Commands", Link: "commands"},
}

// deadlineModel is a deadline in its own wall clock, and as the instant that counts for "overdue".
type deadlineModel struct {
	Local   string
	Counted view.Moment // read in the server's zone
	Due     string      // the due date, where it differs
}

type reasonModel struct {
	Code, Text, Advice string
	Evidence           []field
}

// planModel explains the plan step by step.
type planModel struct {
	Policies     []plan.ExplainedPolicy
	Lanes        []laneModel
	Releases     []releaseModel // that count
	Ignored      []releaseModel
	Words        []string
	Declarations []documentModel
	LeftOut      []reasonModel
}

type laneModel struct{ Name, Target, Due, SetBy, Deadline, Promise string }

type releaseModel struct{ Name, Build, Role, Why, Due string }

type documentModel struct{ Identifier, Type, Token, Body, Reported string }

// eventModel is an event, or several equal ones in a row.
type eventModel struct {
	At         view.Moment // of the last
	First      view.Moment
	Times      int // 0: it happened once
	Type, Text string
}

type servedModel struct {
	Token        string
	At           view.Moment
	Declarations []documentModel
}

type reportModel struct {
	ID, Link string
	At       view.Moment
	Bytes    int
	Full     bool
	Odd      []string
}

// commandModel is a command that the Mac was sent.
type commandModel struct {
	Type, Link, Status string
	Queued, Answered   view.Moment
	Errors             []string
}

type statusItem struct{ Name, Value string }

// eventsShown is how many events a Mac's page shows.
const eventsShown = 100

func (w *Web) devicePage(c echo.Context) error {
	ctx := c.Request().Context()
	id := param(c, "id")
	d, err := w.fleet.Device(ctx, id)
	if err != nil {
		return err
	}
	plan, err := w.fleet.Plan(ctx, d.ID)
	if err != nil {
		return err
	}
	served, err := w.fleet.Declarations(ctx, d.ID, time.Time{})
	if err != nil {
		return err
	}
	groups, err := w.fleet.Groups(ctx, 1000, "")
	if err != nil {
		return err
	}
	m := w.deviceModelOf(&d, &plan, &served)
	m.Exceptions = w.rollout.ExceptionsOf(&d)
	for _, g := range groups.Items {
		m.Groups = append(m.Groups, view.Option{Value: g.Name, Label: g.Name, Selected: slices.Contains(d.Groups, g.Name)})
	}
	if session.Of(c).May(fleet.ScopeAdmin) {
		m.SelfAddress = w.fleet.SelfAddress(d.ID)
	}
	m.openTab(c.QueryParam("tab"))
	switch m.Tab {
	case "timeline":
		err = w.addEvents(ctx, &m, c.QueryParam("events"))
	case "reports":
		err = w.addReports(ctx, &m)
	case "commands":
		err = w.addCommands(ctx, &m, c.QueryParam("commands"))
	}
	if err != nil {
		return err
	}
	title := cmp.Or(d.Name, d.Serial, d.ID)
	return w.render(c, http.StatusOK, "device", frame{Title: title, Section: "devices", Live: true, Notice: notice(c)}, m)
}

func (w *Web) deviceModelOf(d *fleet.Device, plan *plan.Explanation, served *fleet.ServedManifest) deviceModel {
	m := deviceModel{
		ID: d.ID, Path: view.DevicePath(d.ID), Name: d.Name, Serial: d.Serial, UDID: d.UDID, Model: d.Model, Board: d.Board,
		OS: view.OSWords(d.OS.Version, d.OS.Letter), Build: cmp.Or(d.OS.SupplementalBuild, d.OS.Build), Enrolled: d.Enrolled,
		BootstrapToken: d.BootstrapToken,
		EnrolledAt:     w.whenPtr(d.EnrolledAt), Seen: w.whenPtr(d.LastSeenAt), Reported: w.whenPtr(d.LastReportAt),
		State: view.StateOf(d.State), Policy: text(d.Policy), Ring: text(d.Ring), Sentence: standing(d),
		Deadline: deadlineModel{Local: view.WallPtr(d.DeadlineLocal), Counted: w.whenPtr(d.OverdueAt)},
		Plan:     planOf(plan), Served: servedModel{Token: served.DeclarationsToken, At: w.whenPtr(served.ServedAt)},
	}
	if d.ModelName != "" {
		m.Model = d.ModelName + " (" + d.Model + ")"
	}
	if d.Phase != "" {
		m.Phase = view.PhaseOf(d.Phase)
	}
	if d.DueLocal != nil && text(d.DueLocal) != text(d.DeadlineLocal) {
		m.Deadline.Due = view.WallPtr(d.DueLocal)
	}
	for _, f := range d.Flags {
		if f == "catalogue_stale" {
			continue // it is every Mac's, and stands above the page
		}
		m.Flags = append(m.Flags, view.WordsOf(view.Flags, f))
	}
	m.Reasons = reasonsOf(withoutRepeats(d.Reasons))
	for _, r := range d.Reasons {
		if r.Advice != "" {
			m.Next = r.Advice
			break
		}
	}
	if d.State == "failing" {
		m.Phase = "" // the reasons say it whole
	}
	for i := range served.Declarations {
		m.Served.Declarations = append(m.Served.Declarations, servedOf(&served.Declarations[i]))
	}
	return m
}

// standing says in one sentence where a Mac stands.
func standing(d *fleet.Device) string {
	runs := "It runs macOS " + view.OSWords(d.OS.Version, d.OS.Letter)
	if d.OS.Version == "" {
		runs = "It has not told which macOS it runs"
	}
	switch {
	case !d.Enrolled:
		return "This Mac checked out, so nothing is asked of it."
	case d.Target != nil && d.DeadlineLocal != nil && d.State == "overdue":
		return runs + ". " + view.Sentence(view.TargetWords(d.Target)+" should have been installed by "+
			view.Wall(*d.DeadlineLocal)+", local time")
	case d.Target != nil && d.DeadlineLocal != nil:
		return runs + ". " + view.Sentence(view.TargetWords(d.Target)+" is asked for by "+view.Wall(*d.DeadlineLocal)+", local time")
	case d.State == "compliant":
		return runs + ". Nothing is asked of it."
	case len(d.Reasons) > 0:
		return runs + ". " + view.Sentence(view.Prose(d.Reasons[0].Text))
	}
	return runs + "."
}

// withoutRepeats leaves out the failure that another reason explains: its evidence, Apple's words among it, goes with that
// reason.
func withoutRepeats(reasons []policy.Reason) []policy.Reason {
	explained := slices.IndexFunc(reasons, func(r policy.Reason) bool {
		return r.Code == compliance.FailureDisk || r.Code == compliance.FailureBattery
	})
	failed := slices.IndexFunc(reasons, func(r policy.Reason) bool { return r.Code == compliance.InstallFailed })
	if explained < 0 || failed < 0 {
		return reasons
	}
	out := slices.Clone(reasons)
	evidence := maps.Clone(out[explained].Evidence)
	if evidence == nil {
		evidence = map[string]any{}
	}
	maps.Copy(evidence, out[failed].Evidence)
	out[explained].Evidence = evidence
	return slices.Delete(out, failed, failed+1)
}

func reasonsOf(reasons []policy.Reason) []reasonModel {
	out := make([]reasonModel, 0, len(reasons))
	for _, r := range reasons {
		out = append(out, reasonModel{
			Code: r.Code, Text: view.Sentence(view.Prose(r.Text)), Advice: r.Advice, Evidence: evidenceOf(r.Evidence),
		})
	}
	return out
}

// evidenceOf are pieces of evidence in a fixed order; Apple's own words are whole.
func evidenceOf(evidence map[string]any) []field {
	out := make([]field, 0, len(evidence))
	for name, v := range evidence {
		value, ok := v.(string)
		if !ok {
			b, err := json.Marshal(v)
			if err != nil {
				continue
			}
			value = compact(b)
		}
		out = append(out, field{name, value})
	}
	slices.SortFunc(out, func(a, b field) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// compact is JSON for reading: a string without its quotes, everything else as it is.
func compact(b []byte) string {
	var s string
	if json.Unmarshal(b, &s) == nil {
		return s
	}
	return string(b)
}

// indent is JSON for reading in several lines.
func indent(b []byte) string {
	var out bytes.Buffer
	if json.Indent(&out, b, "", "  ") != nil {
		return string(b)
	}
	return out.String()
}

var laneWords = map[string]string{
	"patch": "Update within its macOS", "upgrade": "Upgrade to another macOS", "bsi": "Background Security Improvement",
}

func planOf(p *plan.Explanation) planModel {
	m := planModel{Policies: p.Policies, LeftOut: reasonsOf(p.LeftOut)}
	for _, s := range p.DeadlineWords {
		m.Words = append(m.Words, view.Prose(s))
	}
	for _, l := range p.Lanes {
		m.Lanes = append(m.Lanes, laneModel{
			Name: cmp.Or(laneWords[l.Lane], l.Lane), Target: view.TargetWords(l.Target), SetBy: view.TargetWords(l.DueSetBy),
			Due: view.ShortWall(l.DueLocal), Deadline: view.ShortWall(l.DeadlineLocal), Promise: view.ShortWall(l.PromiseLocal),
		})
	}
	for _, r := range p.Releases {
		row := releaseModel{
			Name: "macOS " + view.OSWords(r.Version, r.Letter), Build: r.Build, Role: r.Role, Why: r.Why, Due: view.ShortWall(r.DueLocal),
		}
		if r.Role == "ignored" {
			m.Ignored = append(m.Ignored, row)
		} else {
			m.Releases = append(m.Releases, row)
		}
	}
	for _, d := range p.Declarations {
		body, err := json.MarshalIndent(d.Payload, "", "  ")
		if err != nil {
			body = []byte("(cannot be shown)")
		}
		m.Declarations = append(m.Declarations, documentModel{
			Identifier: d.Identifier, Type: d.Type, Token: d.ServerToken, Body: string(body),
		})
	}
	return m
}

func servedOf(d *fleet.ServedDeclaration) documentModel {
	m := documentModel{
		Identifier: d.Identifier, Type: d.Kind, Token: d.ServerToken, Body: indent(d.Body), Reported: "nothing reported yet",
	}
	if r := d.Reported; r != nil {
		m.Reported = "inactive"
		if r.Active {
			m.Reported = "active"
		}
		m.Reported += ", " + r.Valid
		if reasons := string(r.Reasons); reasons != "" && reasons != "[]" && reasons != "null" {
			m.Reported += ": " + reasons
		}
	}
	return m
}

func (w *Web) deviceSync(c echo.Context) error {
	id := param(c, "id")
	if err := w.fleet.Sync(c.Request().Context(), id, session.By(c)); err != nil {
		return err
	}
	return done(c, view.DevicePath(id), "synced")
}

// deviceGroups moves a Mac: it is then in the groups that were ticked, of those that the form showed.
func (w *Web) deviceGroups(c echo.Context) error {
	ctx := c.Request().Context()
	d, err := w.fleet.Device(ctx, param(c, "id"))
	if err != nil {
		return err
	}
	o := w.options(c)
	form := c.Request().PostForm
	for _, name := range form["shown"] {
		var add, remove []string
		switch in, want := slices.Contains(d.Groups, name), slices.Contains(form["group"], name); {
		case want && !in:
			add = []string{cmp.Or(d.Serial, d.ID)}
		case in && !want:
			remove = []string{d.ID, d.Serial}
		default:
			continue
		}
		if _, _, err := w.fleet.EditGroup(ctx, name, add, remove, o); err != nil {
			return w.finish(c, "Change the groups of "+cmp.Or(d.Serial, d.ID), view.DevicePath(d.ID), "moved", o, nil, err)
		}
	}
	return done(c, view.DevicePath(d.ID), "moved")
}
