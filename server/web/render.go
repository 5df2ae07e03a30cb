package web

import (
	"embed"
	"fmt"
	"io/fs"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"plimsoll/server/fleet"
	"plimsoll/server/web/session"
	"plimsoll/server/web/view"
)

//go:embed templates/*.html
var templateFiles embed.FS

// loadPages makes the templates of the dashboard ready.
func loadPages() (*view.Set, error) {
	files, err := fs.Sub(templateFiles, "templates")
	if err != nil {
		return nil, fmt.Errorf("read the templates: %w", err)
	}
	return view.Load(files, "layout.html")
}

// frame is the surroundings of a page.
type frame struct {
	Title   string
	Section string // of the navigation
	Notice  string // what was just done
	Live    bool   // the page refreshes by the event stream

	Who   string // the name of the token that the session was opened with; empty: nobody is signed in
	Write bool   // it may change things
	// Operate: it may act on single Macs.
	Operate bool
	Paused  *pauseModel
	Stale   string // why the catalogue is not up to date; empty when it is
	Page    any
}

// pauseModel is the banner that enforcement is paused.
type pauseModel struct {
	Reason, By string
	Since      view.Moment
}

// render shows a page within its frame.
func (w *Web) render(c echo.Context, status int, name string, f frame, page any) error {
	if s := session.Of(c); s != nil {
		f.Who, f.Write, f.Operate = s.Name, s.May(fleet.ScopeAdmin), s.May(fleet.ScopeOperator)
		if err := w.addBanners(c, &f); err != nil {
			return err
		}
	}
	f.Page = page
	body, err := w.pages.Execute(name, "layout", f)
	if err != nil {
		return err
	}
	if !f.Write {
		body = fleet.HideLinks(body)
	}
	return c.HTMLBlob(status, body)
}

func (w *Web) addBanners(c echo.Context, f *frame) error {
	ctx := c.Request().Context()
	p, err := w.fleet.Pause(ctx)
	if err != nil {
		return err
	}
	if p.Paused {
		f.Paused = &pauseModel{Reason: p.Reason, By: p.By, Since: w.when(p.Since)}
	}
	f.Stale = staleWords(w.fleet.CatalogueReadiness())
	return nil
}

// staleWords say why the catalogue is old; empty when it is not.
func staleWords(c fleet.ReadinessCatalogue) string {
	switch {
	case !c.Stale:
		return ""
	case c.Source == "snapshot":
		return "Apple's feed has not been read yet: the releases shown are those that came with the program."
	case c.Refused != "":
		return "Apple's last answer was refused (" + c.Refused + "); the last good one is in use."
	case c.Error != "":
		return "Apple's feed could not be read (" + c.Error + "); the last good answer is in use."
	}
	return "The catalogue of Apple's releases is old."
}

func (w *Web) asset(c echo.Context) error {
	a, ok := w.pages.Asset(c.Param("name"))
	if !ok {
		return echo.ErrNotFound
	}
	if c.QueryParam("v") == a.Version {
		c.Response().Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	} else {
		c.Response().Header().Set("Cache-Control", "no-cache")
	}
	return c.Blob(http.StatusOK, a.Kind, a.Body)
}

// when puts an instant into words as seen from now; the zero value for the zero time.
func (w *Web) when(t time.Time) view.Moment { return view.MomentOf(t, w.now(), w.zone) }

func (w *Web) whenPtr(t *time.Time) view.Moment {
	if t == nil {
		return view.Moment{}
	}
	return w.when(*t)
}
