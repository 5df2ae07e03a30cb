package web

import (
	"cmp"
	"net/http"
	"net/url"
	"strings"

	"github.com/labstack/echo/v4"

	"plimsoll/declarations/policy"
	"plimsoll/server/web/view"
)

// groupsModel lists the groups.
type groupsModel struct {
	Groups []groupRow
	Form   groupForm
}

type groupRow struct {
	Name, Link, Devices string
	Members, Unknown    int
}

// groupForm is what the form for a group holds.
type groupForm struct {
	Name, Members string
	ETag          string
	New           bool
	Unknown       int
	Faults        faults
}

func (w *Web) groupsPage(c echo.Context) error {
	return w.showGroups(c, http.StatusOK, groupForm{New: true})
}

func (w *Web) showGroups(c echo.Context, status int, form groupForm) error {
	page, err := w.fleet.Groups(c.Request().Context(), 1000, "")
	if err != nil {
		return err
	}
	m := groupsModel{Form: form}
	for _, g := range page.Items {
		m.Groups = append(m.Groups, groupRow{
			Name: g.Name, Link: "/groups/" + url.PathEscape(g.Name), Devices: "/devices?group=" + url.QueryEscape(g.Name),
			Members: len(g.Devices), Unknown: g.UnknownMembers,
		})
	}
	return w.render(c, status, "groups", frame{Title: "Groups", Section: "groups", Notice: notice(c)}, m)
}

func (w *Web) groupPage(c echo.Context) error {
	g, err := w.fleet.Group(c.Request().Context(), param(c, "name"))
	if err != nil {
		return err
	}
	form := groupForm{Name: g.Name, Members: strings.Join(g.Devices, "\n"), ETag: g.ETag, Unknown: g.UnknownMembers}
	return w.render(c, http.StatusOK, "group", frame{Title: "Group " + g.Name, Section: "groups"}, form)
}

func (w *Web) groupSave(c echo.Context) error {
	form := groupForm{
		Name: strings.TrimSpace(c.FormValue("name")), Members: c.FormValue("members"), ETag: c.FormValue("etag"),
		New: c.FormValue("etag") == "",
	}
	if form.New && !policy.ValidName(form.Name) {
		form.Name = cmp.Or(view.Slug(form.Name), form.Name)
	}
	o := w.options(c)
	o.IfMatch = form.ETag
	members := view.Words(form.Members)
	if form.New && o.IfMatch == "" && form.Name != "" {
		if _, err := w.fleet.Group(c.Request().Context(), form.Name); err == nil {
			form.Faults = faults{"name": {"exists already"}}
			return w.showGroups(c, http.StatusConflict, form)
		}
	}
	_, _, impact, err := w.fleet.PutGroup(c.Request().Context(), form.Name, members, o)
	if fields := view.FaultsOf(err); fields != nil {
		form.Faults = faults{}
		for name, texts := range fields {
			if strings.HasPrefix(name, "devices") {
				name = "devices"
			}
			form.Faults[name] = append(form.Faults[name], texts...)
		}
		if form.New {
			return w.showGroups(c, http.StatusUnprocessableEntity, form)
		}
		return w.render(c, http.StatusUnprocessableEntity, "group", frame{Title: "Group " + form.Name, Section: "groups"}, form)
	}
	return w.finish(c, "Save the group "+form.Name, "/groups", "saved", o, impact, err)
}

func (w *Web) groupDelete(c echo.Context) error {
	name, o := param(c, "name"), w.options(c)
	impact, err := w.fleet.DeleteGroup(c.Request().Context(), name, o)
	return w.finish(c, "Delete the group "+name, "/groups", "deleted", o, impact, err)
}
