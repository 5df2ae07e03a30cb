package web

import (
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"plimsoll/server/fleet"
	"plimsoll/server/web/session"
	"plimsoll/server/web/view"
)

// notices are what a page says was done, by the word in its address.
var notices = map[string]string{
	"saved": "Saved.", "deleted": "Deleted.", "held": "The release is held.", "released": "The hold is released.",
	"paused": "Enforcement is paused.", "resumed": "Enforcement goes on.", "synced": "The Mac was told to sync.",
	"moved": "The Mac's groups were changed.", "code": "The enrolment code was made.",
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
	if fields := faultsOf(err); fields != nil {
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
	res, err := w.fleet.Refresh(c.Request().Context())
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
	return fleet.WriteOptions{By: session.Who(c), DryRun: c.FormValue("step") == "preview", Confirm: c.FormValue("confirm") != ""}
}

// confirmModel is the page that shows what a write would do, and asks whether it is meant.
type confirmModel struct {
	Title  string
	Text   string // what would happen, where that is no impact
	Why    string // why it is asked for; empty when the admin wanted to see the impact
	Harm   bool   // it takes something away
	Impact *view.Impact
	Action string
	Fields []field // what was posted, to be posted again
	Back   string
}

type field struct{ Name, Value string }

// finish ends a guarded write: with its impact when that was asked for or must be confirmed, else back on the page.
func (w *Web) finish(c echo.Context, title, back, word string, o fleet.WriteOptions, impact *fleet.Impact, err error) error {
	m := confirmModel{
		Title: title, Harm: strings.HasPrefix(title, "Delete ") || strings.HasPrefix(title, "Pause "), Action: c.Request().URL.Path,
		Back: back,
	}
	status := http.StatusOK
	var fe *fleet.Error
	switch {
	case errors.As(err, &fe) && fe.Code == "confirm_required":
		shown := view.ImpactOf(fe.Impact)
		m.Impact, m.Why, status = &shown, shown.Guard, http.StatusConflict
	case err != nil:
		return err
	case o.DryRun:
		shown := view.ImpactOf(impact)
		m.Impact, m.Why = &shown, shown.Guard
	default:
		return done(c, back, word)
	}
	m.Fields = posted(c.Request().PostForm)
	return w.render(c, status, "confirm", frame{Title: title, Section: strings.TrimPrefix(back, "/")}, m)
}

// posted is what a form carried, without what the next one has by itself.
func posted(form url.Values) []field {
	var out []field
	for _, name := range slices.Sorted(maps.Keys(form)) {
		if name == "step" || name == "confirm" {
			continue
		}
		for _, v := range form[name] {
			out = append(out, field{name, v})
		}
	}
	return out
}

// faults are what is wrong with a form, by the name of the field.
type faults map[string][]string

// faultsOf are the faulty fields of an error; nil when it names none.
func faultsOf(err error) faults {
	var fe *fleet.Error
	if !errors.As(err, &fe) || len(fe.Fields) == 0 {
		return nil
	}
	out := faults{}
	for _, f := range fe.Fields {
		out[f.Field] = append(out[f.Field], f.Reason)
	}
	return out
}
