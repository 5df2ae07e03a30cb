package rollout

import (
	"cmp"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"plimsoll/server/fleet"
	"plimsoll/server/web/view"
)

// Exceptions are the exemption and the update now of one Mac (rules 12), with the forms that set and end them.
type Exceptions struct {
	Path     string // of the Mac's page
	Name     string
	Exempt   *exemption
	Update   *updateNow
	Form     exemptionForm
	Enrolled bool
}

type exemption struct {
	Until, Since view.Moment
	Reason, By   string
}

type updateNow struct {
	Version, Reason, By string
	Until               view.Moment
}

// exemptionForm is the form for an exemption, as it was typed.
type exemptionForm struct {
	Until, Reason string
	Faults        view.Faults
}

// ExceptionsOf are the exceptions of a Mac.
func (r *Room) ExceptionsOf(d *fleet.Device) Exceptions {
	m := Exceptions{Path: view.DevicePath(d.ID), Name: macName(d), Enrolled: d.Enrolled}
	if x := d.Exemption; x != nil {
		m.Exempt = &exemption{Until: r.when(x.Until), Since: r.when(x.Since), Reason: x.Reason, By: x.By}
		m.Form = exemptionForm{Until: x.Until.Add(-time.Second).In(r.o.Zone).Format(time.DateOnly), Reason: x.Reason}
	}
	if u := d.UpdateNow; u != nil {
		m.Update = &updateNow{Version: "macOS " + string(u.Version), Reason: u.Reason, By: u.By, Until: r.when(u.Until)}
	}
	return m
}

func macName(d *fleet.Device) string { return cmp.Or(d.Name, d.Serial, d.ID) }

// maxReason bounds the characters of a reason.
const maxReason = 500

// reasonFault says what is wrong with a reason; empty when nothing is.
func reasonFault(reason string) string {
	if n := utf8.RuneCountInString(reason); n == 0 || n > maxReason {
		return fmt.Sprintf("must have 1 to %d characters", maxReason)
	}
	return ""
}

// device is the Mac that a request is about.
func (r *Room) device(c echo.Context) (fleet.Device, error) {
	return r.o.Fleet.Device(c.Request().Context(), view.Unescaped(c.Request(), c.Param("id")))
}

// exemptionPut makes or changes an exemption, which lasts to the end of a day in the server's zone.
func (r *Room) exemptionPut(c echo.Context) error {
	d, err := r.device(c)
	if err != nil {
		return err
	}
	m := r.ExceptionsOf(&d)
	m.Form = exemptionForm{Until: c.FormValue("until"), Reason: strings.TrimSpace(c.FormValue("reason"))}
	again := func(faults view.Faults) error {
		m.Form.Faults = faults
		return r.o.Show(c, Page{http.StatusUnprocessableEntity, "exemption", "Exemption of " + m.Name, "devices", m})
	}
	day, err := time.ParseInLocation(time.DateOnly, m.Form.Until, r.o.Zone)
	if err != nil {
		return again(view.Faults{"until": {"Must be a day such as 2026-12-01."}})
	}
	o := r.o.Posted(c)
	_, err = r.o.Fleet.PutExemption(c.Request().Context(), d.ID, day.AddDate(0, 0, 1), m.Form.Reason, o.By)
	if faults := view.FaultsOf(err); faults != nil {
		return again(faults)
	}
	return r.o.Finish(c, Write{Back: m.Path, Word: "exempted", Err: err})
}

func (r *Room) exemptionEnd(c echo.Context) error {
	d, err := r.device(c)
	if err != nil {
		return err
	}
	err = r.o.Fleet.DeleteExemption(c.Request().Context(), d.ID, r.o.Posted(c).By)
	return r.o.Finish(c, Write{Back: view.DevicePath(d.ID), Word: "exemption-ended", Err: err})
}

// updatePut has a Mac install at once what is asked of it, once that was confirmed.
func (r *Room) updatePut(c echo.Context) error {
	d, err := r.device(c)
	if err != nil {
		return err
	}
	o, reason := r.o.Posted(c), strings.TrimSpace(c.FormValue("reason"))
	if fault := reasonFault(reason); fault != "" {
		return &fleet.Error{Kind: fleet.ErrInvalid, Code: "invalid", Text: "the reason " + fault}
	}
	path := view.DevicePath(d.ID)
	if !o.Confirm && d.Target != nil {
		return r.o.Show(c, Page{http.StatusOK, "confirm", "Update " + macName(&d) + " now", "devices", view.Confirm{
			Title: "Update " + macName(&d) + " now", Harm: true, Action: path + "/update", Back: path,
			Fields: view.Posted(c.Request().PostForm),
			Text: "The Mac installs " + view.TargetWords(d.Target) + " within about an hour of being on and online, whatever its " +
				"user is doing: it closes the apps and restarts. " +
				"Closed days, an ordinary freeze and a delay of the user do not stop it.",
		}})
	}
	_, err = r.o.Fleet.PutUpdateNow(c.Request().Context(), d.ID, reason, o.By)
	return r.o.Finish(c, Write{Back: path, Word: "update-now", Err: err})
}

func (r *Room) updateEnd(c echo.Context) error {
	d, err := r.device(c)
	if err != nil {
		return err
	}
	err = r.o.Fleet.DeleteUpdateNow(c.Request().Context(), d.ID, r.o.Posted(c).By)
	return r.o.Finish(c, Write{Back: view.DevicePath(d.ID), Word: "update-ended", Err: err})
}
