package web

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	"plimsoll/declarations/policy"
	"plimsoll/server/fleet"
	"plimsoll/server/web/editor"
	"plimsoll/server/web/rollout"
	"plimsoll/server/web/view"
)

// policiesModel lists the policies, the most decisive first.
type policiesModel struct {
	Policies   []policyRow
	Ungoverned int
}

// policyRow is a policy in words.
type policyRow struct {
	Name, Title, Link string
	Priority          int
	Lowest            bool // none decides after it
	Words             []string
	Devices           int
	DevicesLink       string
	States            []view.Share
	Halted            int // releases that its gate halts
}

// editorModel is the editor of a policy.
type editorModel struct {
	Title    string
	Form     editor.Form
	Tracks   []view.Option
	Offered  []string // the versions that may be named
	Groups   []string
	Faults   faults
	General  []string // faults that belong to no field
	Warnings []reasonModel
	Impact   *view.Impact // what saving would do; nil: not asked yet
	Words    []string
	Guard    string // why saving must be confirmed; empty: it need not, or was not tried
	Seen     string // stands for the policy whose impact is shown: what is confirmed is that one
	Macs     []int  // that each ring would have; nil: not counted
	Progress rollout.Progress
}

// Counted tells how many Macs the n-th ring would have.
func (m editorModel) Counted(n int) string {
	if n >= len(m.Macs) {
		return "not counted yet"
	}
	return view.Plural(m.Macs[n], "Mac")
}

// Last tells whether the n-th ring takes the Macs that no other has.
func (m editorModel) Last(n int) bool { return n == len(m.Form.Rings)-1 }

func (w *Web) policiesPage(c echo.Context) error {
	ctx := c.Request().Context()
	page, err := w.fleet.Policies(ctx, 1000, "")
	if err != nil {
		return err
	}
	counts, err := w.fleet.Compliance(ctx)
	if err != nil {
		return err
	}
	f := frame{Title: "Policies", Section: "policies", Live: true, Notice: notice(c)}
	return w.render(c, http.StatusOK, "policies", f, policiesModelOf(page.Items, counts, w.fleet.RingCounts().Halted))
}

func policiesModelOf(policies []policy.Policy, counts fleet.Compliance, halted map[string]int) policiesModel {
	m := policiesModel{Ungoverned: counts.Devices}
	for i := range policies {
		p := &policies[i]
		row := policyRow{
			Name: p.Name, Title: policyTitle(p), Link: "/policies/" + url.PathEscape(p.Name), Priority: p.Priority,
			Words:       view.PolicyWords(p),
			DevicesLink: "/devices?policy=" + url.QueryEscape(p.Name), Halted: halted[p.Name],
		}
		for _, n := range counts.Policies {
			if n.Name == p.Name {
				row.Devices, row.States = n.Devices, view.Shares(view.States, n.States, n.Devices, "state", "policy="+url.QueryEscape(n.Name))
				m.Ungoverned -= n.Devices
			}
		}
		m.Policies = append(m.Policies, row)
	}
	slices.SortStableFunc(m.Policies, func(a, b policyRow) int { return cmp.Compare(b.Priority, a.Priority) })
	if n := len(m.Policies); n > 0 {
		m.Policies[n-1].Lowest = true
	}
	m.Ungoverned = max(0, m.Ungoverned)
	return m
}

func (w *Web) policyNew(c echo.Context) error {
	page, err := w.fleet.Policies(c.Request().Context(), 1000, "")
	if err != nil {
		return err
	}
	priority := 10
	for i := range page.Items {
		priority = max(priority, page.Items[i].Priority+10)
	}
	return w.showEditor(c, http.StatusOK, editorModel{Form: editor.New(priority)})
}

func (w *Web) policyEdit(c echo.Context) error {
	p, etag, err := w.fleet.Policy(c.Request().Context(), param(c, "name"))
	if err != nil {
		return err
	}
	form, err := editor.Of(&p)
	if err != nil {
		return err
	}
	form.Original, form.ETag = p.Name, etag
	m := editorModel{Form: form, Words: view.PolicyWords(&p)}
	if len(p.Rings) > 0 {
		rings, err := w.fleet.Rings(c.Request().Context(), p.Name)
		if err != nil {
			return err
		}
		m.Progress = rollout.ProgressOf(&p, rings, w.now(), w.zone)
	}
	// A stored policy that is not valid any more is shown without a count.
	if err := w.countRings(c, &m, p, fleet.WriteOptions{}); errors.Is(err, fleet.ErrUnavailable) {
		return err
	}
	return w.showEditor(c, http.StatusOK, m)
}

// countRings counts the Macs that each ring of a policy would have, with the warnings of such a policy; of one that is not valid
// neither. The error says why.
func (w *Web) countRings(c echo.Context, m *editorModel, p policy.Policy, o fleet.WriteOptions) error {
	res, err := w.fleet.CheckPolicy(c.Request().Context(), p, o)
	m.Macs, m.Warnings = res.Macs, reasonsOf(res.Warnings)
	return err
}

// showEditor fills in what every editor has: the choices.
func (w *Web) showEditor(c echo.Context, status int, m editorModel) error {
	ctx := c.Request().Context()
	all, err := w.allReleases(ctx, time.Time{})
	if err != nil {
		return err
	}
	groups, err := w.fleet.Groups(ctx, 1000, "")
	if err != nil {
		return err
	}
	for _, g := range groups.Items {
		m.Groups = append(m.Groups, g.Name)
	}
	m.Tracks, m.Offered = editor.Choices(all, m.Form.Track)
	m.Title = "New policy"
	if m.Form.Original != "" {
		m.Title = "Policy " + cmp.Or(m.Form.Label, m.Form.Original)
	}
	f := frame{Title: m.Title, Section: "policies", Notice: notice(c), Live: len(m.Progress.Releases) > 0}
	return w.render(c, status, "policy", f, &m)
}

// policySave checks a policy, shows its impact, or writes it.
func (w *Web) policySave(c echo.Context) error {
	ctx := c.Request().Context()
	m := editorModel{Form: editor.Read(c.Request().PostForm)}
	if m.Form.Name == "" {
		m.Form.Name = view.Slug(m.Form.Label)
	}
	var before *policy.Policy
	if m.Form.Original != "" {
		p, _, err := w.fleet.Policy(ctx, m.Form.Original)
		if err != nil {
			return err
		}
		before = &p
	}
	edited := m.Form.Edit(c.FormValue("step"))
	p, wrong := m.Form.Policy(before)
	o := w.options(c)
	o.IfMatch, o.Create = m.Form.ETag, m.Form.Original == ""
	switch {
	case edited: // what is not valid yet is said when the policy is saved
		if len(wrong) == 0 {
			if err := w.countRings(c, &m, p, o); errors.Is(err, fleet.ErrUnavailable) {
				return err
			}
		}
		return w.showEditor(c, http.StatusOK, m)
	case len(wrong) > 0:
		m.Faults, m.General = editor.Place(wrong)
		return w.showEditor(c, http.StatusUnprocessableEntity, m)
	case c.FormValue("step") == "check":
		if err := w.countRings(c, &m, p, o); err != nil {
			return w.policyFault(c, m, err)
		}
		return w.showEditor(c, http.StatusOK, m)
	}
	seen, err := editor.Fingerprint(&p)
	if err != nil {
		return err
	}
	o.Confirm = c.FormValue("confirm") == seen
	res, err := w.fleet.PutPolicy(ctx, p, o)
	switch {
	case err == nil && !o.DryRun && len(res.Warnings) > 0: // its own page says them
		return done(c, "/policies/"+url.PathEscape(p.Name), "saved")
	case err == nil && !o.DryRun:
		return done(c, "/policies", "saved")
	}
	impact := res.Impact
	var fe *fleet.Error
	if errors.As(err, &fe) && fe.Code == "confirm_required" {
		impact = fe.Impact
	} else if err != nil {
		return w.policyFault(c, m, err)
	}
	// The preview is the confirmation: what it shows is what is then saved.
	shown := view.ImpactOf(impact)
	m.Impact, m.Words, m.Warnings, m.Macs = &shown, view.PolicyWords(&p), reasonsOf(res.Warnings), res.Macs
	if m.Guard = shown.Guard; m.Guard != "" {
		m.Seen = seen
	}
	status := http.StatusOK
	if err != nil {
		status, _, _ = explain(err)
	}
	return w.showEditor(c, status, m)
}

// policyFault shows in the editor why a policy was not taken.
func (w *Web) policyFault(c echo.Context, m editorModel, err error) error {
	var fe *fleet.Error
	if !errors.As(err, &fe) {
		return err
	}
	switch fe.Code {
	case "exists":
		m.Faults, m.General = editor.Place([]policy.FieldError{{Field: "name", Reason: fe.Text}})
	case "equal_priority":
		m.Faults, m.General = editor.Place([]policy.FieldError{{Field: "priority", Reason: fe.Text}})
	case "precondition_failed":
		m.General = []string{"Somebody changed this policy in between. Open it again to see how it stands now."}
	default:
		if len(fe.Fields) == 0 {
			return err
		}
		m.Faults, m.General = editor.Place(fe.Fields)
	}
	status, _, _ := explain(err)
	return w.showEditor(c, status, m)
}

func (w *Web) policyDelete(c echo.Context) error {
	name, o := param(c, "name"), w.options(c)
	impact, err := w.fleet.DeletePolicy(c.Request().Context(), name, o)
	return w.finish(c, "Delete the policy "+name, "/policies", "deleted", o, impact, err)
}

// policyMove exchanges a policy with the one above or below it.
func (w *Web) policyMove(c echo.Context) error {
	name, direction, o := param(c, "name"), c.FormValue("direction"), w.options(c)
	if direction != "up" && direction != "down" {
		return &fleet.Error{Kind: fleet.ErrInvalid, Code: "invalid", Text: "a policy moves up or down"}
	}
	impact, err := w.fleet.MovePolicy(c.Request().Context(), name, direction == "up", o)
	return w.finish(c, "Move the policy "+name+" "+direction, "/policies", "reordered", o, impact, err)
}
