package web

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"plimsoll/server/fleet"
	"plimsoll/server/web/session"
	"plimsoll/server/web/view"
)

// enrollmentModel is the page on which Macs are invited.
type enrollmentModel struct {
	Codes []codeModel
	Form  codeForm
	// Beside: Macs enrol with another MDM server.
	Beside bool
}

type codeModel struct {
	ID, Code, Label, Link, By, Expires, UsesLeft string
	Created                                      view.Moment
	Dead                                         bool
}

// codeForm is what the form for a code holds.
type codeForm struct {
	Label, Expires, Uses string
	Faults               faults
}

func (w *Web) enrollmentPage(c echo.Context) error {
	return w.showEnrollment(c, http.StatusOK, codeForm{
		Expires: w.fleet.CodeEnd().In(w.zone).Format(time.DateOnly), Uses: strconv.Itoa(fleet.CodeUses),
	})
}

func (w *Web) showEnrollment(c echo.Context, status int, form codeForm) error {
	if w.fleet.IsCompanion() {
		return w.render(c, status, "enrollment", frame{Title: "Enrolment", Section: "enrollment"}, enrollmentModel{Beside: true})
	}
	page, err := w.fleet.ListCodes(c.Request().Context(), 1000, "")
	if err != nil {
		return err
	}
	m := enrollmentModel{Form: form}
	if session.Of(c).May(fleet.ScopeAdmin) { // a code lets a Mac in: it is not for those who may only look
		for i := range page.Items {
			m.Codes = append(m.Codes, w.codeOf(&page.Items[i]))
		}
	}
	return w.render(c, status, "enrollment", frame{Title: "Enrolment", Section: "enrollment", Notice: notice(c)}, m)
}

func (w *Web) codeOf(code *fleet.CodeInfo) codeModel {
	m := codeModel{
		ID: code.ID, Code: code.Code, Label: code.Label, By: code.By, Created: w.when(code.CreatedAt), Expires: "never",
		UsesLeft: "any number",
		Link:     strings.TrimSuffix(w.o.URL, "/") + "/enroll?code=" + url.QueryEscape(code.Code),
	}
	if code.ExpiresAt != nil {
		m.Expires = code.ExpiresAt.In(w.zone).Format("2006-01-02 15:04 MST")
		m.Dead = !w.now().Before(*code.ExpiresAt)
	}
	if code.UsesLeft != nil {
		m.UsesLeft = strconv.Itoa(*code.UsesLeft) + " of " + strconv.Itoa(code.Uses)
		m.Dead = m.Dead || *code.UsesLeft <= 0
	}
	return m
}

func (w *Web) codeCreate(c echo.Context) error {
	if w.fleet.IsCompanion() {
		return w.showEnrollment(c, http.StatusConflict, codeForm{})
	}
	form := codeForm{
		Label: strings.TrimSpace(c.FormValue("label")), Expires: c.FormValue("expires"), Uses: strings.TrimSpace(c.FormValue("uses")),
		Faults: faults{},
	}
	var expires *time.Time
	if form.Expires != "" {
		t, err := time.ParseInLocation(time.DateOnly, form.Expires, w.zone)
		if err != nil {
			form.Faults["expires_at"] = []string{"must be a day such as 2026-12-01"}
		}
		expires = &t
	}
	uses := 0
	if form.Uses != "" {
		n, err := strconv.Atoi(form.Uses)
		if err != nil {
			form.Faults["uses"] = []string{"must be a whole number"}
		}
		uses = n
	}
	if len(form.Faults) > 0 {
		return w.showEnrollment(c, http.StatusUnprocessableEntity, form)
	}
	_, err := w.fleet.CreateCode(c.Request().Context(), session.By(c), form.Label, expires, uses)
	if form.Faults = view.FaultsOf(err); form.Faults != nil {
		return w.showEnrollment(c, http.StatusUnprocessableEntity, form)
	}
	if err != nil {
		return err
	}
	return done(c, "/enrollment", "code")
}

func (w *Web) codeDelete(c echo.Context) error {
	if err := w.fleet.DeleteCode(c.Request().Context(), c.FormValue("id"), session.By(c)); err != nil {
		return err
	}
	return done(c, "/enrollment", "deleted")
}
