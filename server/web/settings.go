package web

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"plimsoll/server/fleet"
	"plimsoll/server/web/session"
	"plimsoll/server/web/view"
)

// Installation is what only the process knows of itself: for the page Settings.
type Installation struct {
	// Store is where the data is kept, without a password.
	Store string
	// MDM is the address of the MDM server that the Macs are enrolled with; empty: this one.
	MDM string
	// CAs are the device CAs that are trusted; those that issue identities first.
	CAs []Authority
	// PushCerts are the push certificates, the one in use first.
	PushCerts []PushCert
}

// Authority is a device CA.
type Authority struct {
	Subject, Fingerprint string // SHA-256, hex
	From, Until          time.Time
	Issues               bool // new identities come from it
}

// PushCert is an MDM push certificate.
type PushCert struct {
	Topic         string
	Stored, Until time.Time
}

// The certificates about whose end the page warns.
const certificateWarning = 30 * 24 * time.Hour

// settingsModel is the page of the installation.
type settingsModel struct {
	Tokens    []tokenModel
	Form      tokenForm
	Made      *madeToken // the token that was just made: shown once
	Push      []certificateModel
	CAs       []certificateModel
	Catalogue catalogueModel
	Store     string
	StoreIs   string // how the store does: "Reachable."
	Version   string
	URL, Zone string
	MDM       string // the MDM server that the Macs are enrolled with; empty: this one
	Unknown   bool   // nothing is known of CA, store and push certificates
}

type tokenModel struct {
	Name, Scope, By, Expires string
	Created                  view.Moment
	Expired                  bool
	Own                      bool // the session was opened with it
}

type tokenForm struct {
	Name, Expires string
	Scopes        []view.Option
	Chosen        []string
	Faults        faults
}

type madeToken struct{ Name, Secret string }

type certificateModel struct {
	Name, Fingerprint, Until string
	From                     view.Moment
	Left                     string
	Warn, First              bool
}

// scopeWords say what a scope allows.
func scopeWords(scope fleet.Scope) string {
	switch scope {
	case fleet.ScopeAdmin:
		return "Do everything"
	case fleet.ScopeRead:
		return "Look at everything, change nothing"
	case fleet.ScopeMetrics:
		return "Read the metrics"
	case fleet.ScopeOperator:
		return "Look at everything, act on single Macs"
	case fleet.ScopeMDM:
		return "Queue MDM commands: that includes erasing a Mac"
	case fleet.ScopeBackup:
		return "Take backups"
	}
	return string(scope)
}

func (w *Web) settingsPage(c echo.Context) error {
	return w.showSettings(c, http.StatusOK, tokenForm{}, nil)
}

func (w *Web) showSettings(c echo.Context, status int, form tokenForm, made *madeToken) error {
	ctx := c.Request().Context()
	m := settingsModel{Form: form, Made: made, Version: w.o.Version, URL: w.o.URL, Zone: w.zone.String(), Catalogue: w.catalogueOf()}
	if len(form.Chosen) == 0 {
		m.Form.Chosen = []string{string(fleet.ScopeRead)}
	}
	for _, scope := range fleet.Scopes {
		m.Form.Scopes = append(m.Form.Scopes, view.Option{
			Value: string(scope), Label: scopeWords(scope), Selected: slices.Contains(m.Form.Chosen, string(scope)),
		})
	}
	if err := w.eachToken(ctx, func(t *fleet.TokenInfo) { m.Tokens = append(m.Tokens, w.tokenOf(c, t)) }); err != nil {
		return err
	}
	m.StoreIs = "Reachable."
	if ready := w.fleet.Ready(ctx); ready.Store != "ok" {
		m.StoreIs = view.Sentence(ready.Store)
	}
	if w.o.Installation == nil {
		m.Unknown = true
		return w.render(c, status, "settings", frame{Title: "Settings", Section: "settings", Notice: notice(c)}, m)
	}
	in, err := w.o.Installation(ctx)
	if err != nil {
		return err
	}
	m.Store, m.MDM = in.Store, in.MDM
	for i, p := range in.PushCerts {
		m.Push = append(m.Push, w.certificate(p.Topic, "", p.Stored, p.Until, i == 0))
	}
	for _, a := range in.CAs {
		m.CAs = append(m.CAs, w.certificate(a.Subject, a.Fingerprint, a.From, a.Until, a.Issues))
	}
	return w.render(c, status, "settings", frame{Title: "Settings", Section: "settings", Notice: notice(c)}, m)
}

func (w *Web) certificate(name, fingerprint string, from, until time.Time, first bool) certificateModel {
	m := certificateModel{
		Name: name, Fingerprint: fingerprint, From: w.when(from), Until: until.In(w.zone).Format(time.DateOnly), First: first,
	}
	left := until.Sub(w.now())
	m.Warn = left < certificateWarning
	m.Left = view.Ago(-left)
	if left < 0 {
		m.Left = "expired"
	}
	return m
}

func (w *Web) tokenOf(c echo.Context, t *fleet.TokenInfo) tokenModel {
	words := make([]string, len(t.Scopes))
	for i, scope := range t.Scopes {
		words[i] = scopeWords(scope)
	}
	m := tokenModel{
		Name: t.Name, Scope: strings.Join(words, "; "), By: t.By, Created: w.when(t.CreatedAt),
		Own:     t.Name == session.Who(c) && session.Of(c).Kept(),
		Expires: "never", Expired: t.Expired(w.now()),
	}
	if t.ExpiresAt != nil {
		m.Expires = t.ExpiresAt.In(w.zone).Format("2006-01-02 15:04 MST")
	}
	return m
}

// eachToken goes through all API tokens.
func (w *Web) eachToken(ctx context.Context, do func(*fleet.TokenInfo)) error {
	for cursor := ""; ; {
		page, err := w.fleet.ListTokens(ctx, 1000, cursor)
		if err != nil {
			return err
		}
		for i := range page.Items {
			do(&page.Items[i])
		}
		if page.Next == "" {
			return nil
		}
		cursor = page.Next
	}
}

func (w *Web) tokenCreate(c echo.Context) error {
	form := tokenForm{
		Name: strings.TrimSpace(c.FormValue("name")), Expires: c.FormValue("expires_at"), Chosen: c.Request().PostForm["scopes"],
	}
	wish := fleet.TokenWish{Name: form.Name}
	for _, scope := range form.Chosen {
		wish.Scopes = append(wish.Scopes, fleet.Scope(scope))
	}
	if form.Expires != "" {
		t, err := time.ParseInLocation(time.DateOnly, form.Expires, w.zone)
		if err != nil {
			form.Faults = faults{"expires_at": {"must be a day such as 2026-12-01"}}
			return w.showSettings(c, http.StatusUnprocessableEntity, form, nil)
		}
		wish.ExpiresAt = &t
	}
	made, err := w.fleet.CreateToken(c.Request().Context(), session.By(c), wish)
	if form.Faults = view.FaultsOf(err); form.Faults != nil {
		return w.showSettings(c, http.StatusUnprocessableEntity, form, nil)
	}
	if view.CodeOf(err) == "exists" {
		form.Faults = faults{"name": {"exists already"}}
		return w.showSettings(c, http.StatusConflict, form, nil)
	}
	if err != nil {
		return err
	}
	return w.showSettings(c, http.StatusCreated, tokenForm{}, &madeToken{made.Name, made.Token})
}

func (w *Web) tokenDelete(c echo.Context) error {
	name := c.FormValue("name")
	if c.FormValue("confirm") == "" {
		m := confirmModel{
			Title: "Withdraw the token " + name, Text: "Programs and browser sessions that use it are refused from now on.",
			Action: "/settings/tokens/delete", Back: "/settings", Fields: []view.Field{{Name: "name", Value: name}}, Harm: true,
		}
		return w.render(c, http.StatusOK, "confirm", frame{Title: m.Title, Section: "settings"}, m)
	}
	if err := w.fleet.DeleteToken(c.Request().Context(), name, session.By(c)); err != nil {
		return err
	}
	return done(c, "/settings", "deleted")
}

func (w *Web) catalogueOf() catalogueModel {
	ready := w.fleet.CatalogueReadiness()
	m := catalogueModel{
		Revision: ready.Revision, Source: ready.Source, Fetched: w.when(ready.FetchedAt), Stale: ready.Stale, Error: ready.Error,
	}
	if ready.Refused != "" {
		m.Refused = view.Sentence(ready.Refused)
		m.RefusedAt = w.whenPtr(ready.RefusedAt)
	}
	return m
}
