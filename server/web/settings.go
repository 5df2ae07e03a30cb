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

// The certificates about whose end the page warns.
const certificateWarning = 30 * 24 * time.Hour

// settingsModel is the page of the installation.
type settingsModel struct {
	Tokens    []tokenModel
	Form      tokenForm
	Made      *madeToken // the token that was just made: shown once
	Push      []certificateModel
	Others    []fleet.OtherTopic // push topics without a certificate
	Problems  []string           // what is wrong with pushing
	CAs       []certificateModel
	Rotates   bool // a new CA can be made here
	CAElse    string
	Catalogue catalogueModel
	LeftOut   []string // entries of the catalogue's source
	Store     string
	Kind      string // of the store
	Format    int    // of the store
	StoreID   string
	Replicas  int    // that run; 0: not known
	StoreIs   string // how the store does: "Reachable."
	Version   string
	URL, Zone string
	MDM       string // the MDM server that the Macs are enrolled with; empty: this one
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
	Macs                     int
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
	m := settingsModel{Form: form, Made: made, Version: w.o.Version, URL: w.o.URL, Zone: w.zone.String()}
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
	w.describeStore(ctx, &m)
	m.Catalogue, m.LeftOut = w.catalogueOf(), w.fleet.CatalogueReadiness().LeftOut
	if err := w.describeCAs(ctx, &m); err != nil {
		return err
	}
	if err := w.describePush(ctx, &m); err != nil {
		return err
	}
	return w.render(c, status, "settings", frame{Title: "Settings", Section: "settings", Notice: notice(c)}, m)
}

func (w *Web) describeStore(ctx context.Context, m *settingsModel) {
	ready := w.fleet.Ready(ctx)
	m.MDM = w.o.MDM
	m.Store, m.Kind, m.Format, m.StoreID, m.StoreIs = w.o.Store, storeKind(w.o.Store), ready.Format, w.fleet.StoreID(), "Reachable."
	if ready.Store != "ok" {
		m.StoreIs = view.Sentence(ready.Store)
	}
}

// storeKind names the kind of a store by its URL.
func storeKind(store string) string {
	switch scheme, _, _ := strings.Cut(store, ":"); scheme {
	case "":
		return ""
	case "bolt":
		return "Embedded (one server)"
	case "redis+sentinel", "rediss+sentinel":
		return "Redis with Sentinel"
	case "redis+cluster", "rediss+cluster":
		return "Redis Cluster"
	}
	return "Redis"
}

func (w *Web) describePush(ctx context.Context, m *settingsModel) error {
	state, err := w.fleet.PushState(ctx)
	if err != nil {
		return err
	}
	for i, p := range state.Certificates {
		cert := w.certificate(p.Topic, "", p.StoredAt, p.ExpiresAt, i == 0)
		cert.Macs = p.Devices
		m.Push = append(m.Push, cert)
	}
	m.Others = state.Others
	m.Problems = problems(&state)
	return nil
}

// problems are what is wrong with pushing, as sentences.
func problems(state *fleet.PushState) (all []string) {
	for _, p := range []string{state.Problem(), state.OthersProblem()} {
		if p != "" {
			all = append(all, view.Sentence(p))
		}
	}
	return all
}

func (w *Web) describeCAs(ctx context.Context, m *settingsModel) error {
	list, err := w.fleet.DeviceCAs(ctx)
	if view.CodeOf(err) == "external_ca" {
		m.CAElse = view.Sentence(err.Error())
		return nil
	}
	if err != nil {
		return err
	}
	m.Rotates = !w.fleet.Authorities().External()
	for _, a := range list.CAs {
		cert := w.certificate(a.Subject, a.Fingerprint, a.CreatedAt, a.ExpiresAt, a.Issuing)
		cert.Macs = a.Devices
		m.CAs = append(m.CAs, cert)
	}
	return nil
}

// rotateCA makes a new device CA, once that is confirmed.
func (w *Web) rotateCA(c echo.Context) error {
	_, err := w.fleet.RotateCA(c.Request().Context(), fleet.WriteOptions{By: session.By(c), Confirm: c.FormValue("confirm") != ""})
	if view.CodeOf(err) == "confirm_required" {
		m := confirmModel{
			Title: "Rotate the device CA", Action: "/settings/ca/rotate", Back: "/settings",
			Text: view.Sentence(err.Error()) + " The old CA stays trusted until its last identity is gone.",
		}
		return w.render(c, http.StatusOK, "confirm", frame{Title: m.Title, Section: "settings"}, m)
	}
	if err != nil {
		return err
	}
	return done(c, "/settings", "rotated")
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
