package web

import (
	"cmp"
	"errors"
	"net/http"
	"slices"

	"github.com/labstack/echo/v4"

	"plimsoll/server/fleet"
	"plimsoll/server/web/session"
	"plimsoll/server/web/view"
)

// deviceRemove forgets a Mac, once that was confirmed.
func (w *Web) deviceRemove(c echo.Context) error {
	ctx := c.Request().Context()
	d, err := w.fleet.Device(ctx, param(c, "id"))
	if err != nil {
		return err
	}
	name := cmp.Or(d.Name, d.Serial, d.ID)
	if c.FormValue("confirm") == "" {
		m := confirmModel{
			Title: "Remove " + name, Harm: true, Action: view.DevicePath(d.ID) + "/remove", Back: view.DevicePath(d.ID),
			Text: "Plimsoll forgets this Mac with its reports and its timeline, and refuses it until it enrols again. " +
				"Nothing is removed from the Mac itself: its management profile stays until somebody removes it there.",
		}
		return w.render(c, http.StatusOK, "confirm", frame{Title: m.Title, Section: "devices"}, m)
	}
	if err := w.fleet.Forget(ctx, d.ID, session.By(c)); err != nil {
		return err
	}
	return done(c, "/devices", "removed")
}

// bulkLimit bounds the Macs that one request acts on.
const bulkLimit = 5000

// bulk acts on all Macs of a filtered list: after a page that says how many they are and what would happen.
func (w *Web) bulk(c echo.Context) error {
	ctx := c.Request().Context()
	f := filterOf(c.Request().PostForm)
	q, err := f.ask(w.zone)
	if err != nil {
		return err
	}
	q.Limit = 1000
	var macs []fleet.Device
	for {
		page, err := w.fleet.Devices(ctx, q)
		if err != nil {
			return err
		}
		macs = append(macs, page.Items...)
		if len(macs) > bulkLimit {
			return &fleet.Error{
				Kind: fleet.ErrInvalid, Code: "too_many",
				Text: "these are more than " + view.Count(bulkLimit) + " Macs; narrow the list with a filter",
			}
		}
		if page.Next == "" {
			break
		}
		q.Cursor = page.Next
	}
	back := "/devices" + f.query()
	group := c.FormValue("to")
	var title string
	switch c.FormValue("act") {
	case "sync":
		title = "Tell " + view.Plural(len(macs), "Mac") + " to sync"
	case "add":
		title = "Add " + view.Plural(len(macs), "Mac") + " to the group " + group
	case "remove":
		title = "Take " + view.Plural(len(macs), "Mac") + " out of the group " + group
	default:
		return &fleet.Error{Kind: fleet.ErrInvalid, Code: "invalid", Text: "choose what to do with these Macs"}
	}
	if c.FormValue("act") == "sync" {
		if c.FormValue("confirm") == "" {
			return w.askBulk(c, http.StatusOK, confirmModel{
				Title: title, Back: back, Text: "Each Mac is woken and fetches its declarations.",
			})
		}
		for i := range macs {
			if err := w.fleet.Sync(ctx, macs[i].ID, session.By(c)); err != nil && !errors.Is(err, fleet.ErrConflict) {
				return err
			}
		}
		return done(c, back, "synced-all")
	}
	if group == "" {
		return &fleet.Error{Kind: fleet.ErrInvalid, Code: "invalid", Text: "choose a group"}
	}
	var add, remove []string
	for i := range macs {
		if d := &macs[i]; c.FormValue("act") == "remove" {
			remove = append(remove, d.ID, d.Serial)
		} else if !slices.Contains(d.Groups, group) {
			add = append(add, cmp.Or(d.Serial, d.ID))
		}
	}
	o := fleet.WriteOptions{By: session.By(c), DryRun: c.FormValue("confirm") == "", Confirm: true}
	_, impact, err := w.fleet.EditGroup(ctx, group, add, remove, o)
	if err != nil {
		return err
	}
	if o.DryRun {
		shown := view.ImpactOf(impact)
		return w.askBulk(c, http.StatusOK, confirmModel{Title: title, Back: back, Impact: &shown, Why: shown.Guard})
	}
	return done(c, back, "moved-all")
}

func (w *Web) askBulk(c echo.Context, status int, m confirmModel) error {
	m.Action, m.Fields = "/devices/bulk", view.Posted(c.Request().PostForm)
	return w.render(c, status, "confirm", frame{Title: m.Title, Section: "devices"}, m)
}
