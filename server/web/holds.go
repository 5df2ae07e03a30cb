package web

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"plimsoll/server/fleet"
	"plimsoll/server/web/rollout"
	"plimsoll/server/web/session"
	"plimsoll/server/web/view"
)

// notices are what a page says was done, by the word in its address.
var notices = map[string]string{
	"saved": "Saved.", "deleted": "Deleted.", "rotated": "Identities come from a new CA from now on.",
	"held": "The release is held.", "released": "The hold is released.",
	"paused": "Enforcement is paused.", "resumed": "Enforcement goes on.", "synced": "The Mac was told to sync.",
	"moved": "The Mac's groups were changed.", "code": "The enrolment code was made.",
	"exempted": "The exemption is saved.", "exemption-ended": "The exemption is ended.",
	"update-now": "The Mac is told to update now.", "update-ended": "The update now is taken back.", "opened": "The ring is open.",
	"lifted": "The freeze is lifted.", "reordered": "The policy was moved.", "removed": "The Mac was removed.",
	"synced-all": "The Macs were told to sync.",
	"moved-all":  "The group was changed.", "changed": "The catalogue changed.",
	"unchanged": "The catalogue is up to date: nothing changed.",
	"refused":   "Apple's answer was refused; the last good catalogue stays.",
}

func notice(c echo.Context) string { return notices[c.QueryParam("done")] }

// done leads back to a page that says what was done.
func done(c echo.Context, page, word string) error {
	mark := "?"
	if strings.Contains(page, "?") {
		mark = "&"
	}
	return c.Redirect(http.StatusSeeOther, page+mark+"done="+url.QueryEscape(word))
}

func (w *Web) holdPut(c echo.Context) error {
	form := holdForm{
		Subject: strings.TrimSpace(c.FormValue("subject")), Reason: strings.TrimSpace(c.FormValue("reason")),
		Until: c.FormValue("until"), Successors: c.FormValue("successors") != "",
	}
	var until *time.Time
	if form.Until != "" {
		t, err := time.ParseInLocation(time.DateOnly, form.Until, w.zone)
		if err != nil {
			form.Faults = faults{"until": {"must be a day such as 2026-12-01"}}
			return w.showReleases(c, http.StatusUnprocessableEntity, form)
		}
		until = &t
	}
	o := w.options(c)
	_, _, impact, err := w.fleet.PutHold(c.Request().Context(), form.Subject, form.Reason, form.Successors, until, o)
	if fields := view.FaultsOf(err); fields != nil {
		form.Faults = fields
		return w.showReleases(c, http.StatusUnprocessableEntity, form)
	}
	return w.finish(c, "Hold "+form.Subject, "/releases", "held", o, impact, err)
}

func (w *Web) holdDelete(c echo.Context) error {
	subject, o := c.FormValue("subject"), w.options(c)
	impact, err := w.fleet.DeleteHold(c.Request().Context(), subject, o)
	return w.finish(c, "Release the hold on "+subject, "/releases", "released", o, impact, err)
}

func (w *Web) pausePut(c echo.Context) error {
	o := w.options(c)
	_, impact, err := w.fleet.SetPause(c.Request().Context(), strings.TrimSpace(c.FormValue("pause-reason")), o)
	return w.finish(c, "Pause all enforcement", "/releases", "paused", o, impact, err)
}

func (w *Web) pauseDelete(c echo.Context) error {
	o := w.options(c)
	_, impact, err := w.fleet.ClearPause(c.Request().Context(), o)
	return w.finish(c, "Resume enforcement", "/releases", "resumed", o, impact, err)
}

func (w *Web) catalogueRefresh(c echo.Context) error {
	res, err := w.fleet.Refresh(c.Request().Context(), session.By(c))
	switch {
	case err != nil:
		return err
	case res.Refused != nil:
		return done(c, "/releases", "refused")
	case res.Changed:
		return done(c, "/releases", "changed")
	}
	return done(c, "/releases", "unchanged")
}

// options are those of a guarded write: whether it is only tried, and whether its impact was seen.
func (w *Web) options(c echo.Context) fleet.WriteOptions {
	return fleet.WriteOptions{By: session.By(c), DryRun: c.FormValue("step") == "preview", Confirm: c.FormValue("confirm") != ""}
}

// section is the part of the navigation that a page of ours belongs to.
func section(page string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(page, "/"), "/")
	return name
}

// confirmModel and faults are the view's, for every room that asks before it writes.
type (
	confirmModel = view.Confirm
	faults       = view.Faults
)

// field is a piece of evidence, or a part of a filter.
type field struct{ Name, Value string }

// finish ends a guarded write without warnings.
func (w *Web) finish(c echo.Context, title, back, word string, o fleet.WriteOptions, impact *fleet.Impact, err error) error {
	return w.finishWrite(c, rollout.Write{Title: title, Back: back, Word: word, Options: o, Impact: impact, Err: err})
}

// finishWrite ends a guarded write: with its impact when that was asked for or must be confirmed, else back on the page.
func (w *Web) finishWrite(c echo.Context, t rollout.Write) error {
	m := confirmModel{
		Title: t.Title, Harm: strings.HasPrefix(t.Title, "Delete ") || strings.HasPrefix(t.Title, "Pause "), Back: t.Back,
		Action: c.Request().URL.Path, Warnings: view.WarningsOf(t.Warnings),
	}
	status, impact := http.StatusOK, t.Impact
	var fe *fleet.Error
	switch {
	case errors.As(t.Err, &fe) && fe.Code == "confirm_required":
		impact, status = fe.Impact, http.StatusConflict
	case t.Err != nil:
		return t.Err
	case !t.Options.DryRun:
		return done(c, t.Back, t.Word)
	}
	shown := view.ImpactOf(impact)
	m.Impact, m.Why = &shown, shown.Guard
	m.Fields = view.Posted(c.Request().PostForm)
	return w.render(c, status, "confirm", frame{Title: t.Title, Section: section(t.Back)}, m)
}
