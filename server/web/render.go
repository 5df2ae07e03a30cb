package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"mime"
	"net/http"
	"path"
	"strings"

	"github.com/labstack/echo/v4"

	"plimsoll/server/fleet"
)

//go:embed templates/*.html
var templateFiles embed.FS

//go:embed assets/*
var assetFiles embed.FS

// asset is a file under /assets.
type asset struct {
	body    []byte
	kind    string
	version string // a hash of the body; part of its address, so that it may be cached for good
}

// view holds templates and assets, made ready.
type view struct {
	pages  map[string]*template.Template
	assets map[string]asset
}

// The templates that are part of others, and those that stand alone.
const (
	layoutFile = "templates/layout.html"
	partsFile  = "templates/parts.html"
	selfFile   = "templates/self.html"
)

func newView() (*view, error) {
	v := &view{pages: map[string]*template.Template{}, assets: map[string]asset{}}
	entries, err := assetFiles.ReadDir("assets")
	if err != nil {
		return nil, fmt.Errorf("read the assets: %w", err)
	}
	for _, e := range entries {
		body, err := assetFiles.ReadFile("assets/" + e.Name())
		if err != nil {
			return nil, fmt.Errorf("read the asset %s: %w", e.Name(), err)
		}
		sum := sha256.Sum256(body)
		v.assets[e.Name()] = asset{body: body, kind: mime.TypeByExtension(path.Ext(e.Name())), version: hex.EncodeToString(sum[:6])}
	}
	parts, err := template.New("").Funcs(v.funcs()).ParseFS(templateFiles, layoutFile, partsFile)
	if err != nil {
		return nil, fmt.Errorf("parse the templates: %w", err)
	}
	files, err := templateFiles.ReadDir("templates")
	if err != nil {
		return nil, fmt.Errorf("read the templates: %w", err)
	}
	for _, f := range files {
		file := "templates/" + f.Name()
		if file == layoutFile || file == partsFile {
			continue
		}
		page, err := parts.Clone()
		if err == nil {
			page, err = page.ParseFS(templateFiles, file)
		}
		if err != nil {
			return nil, fmt.Errorf("parse the template %s: %w", f.Name(), err)
		}
		v.pages[strings.TrimSuffix(f.Name(), ".html")] = page
	}
	return v, nil
}

// frame is what stands around a page.
type frame struct {
	Title   string
	Section string // of the navigation
	Notice  string // what was just done
	Live    bool   // the page refreshes by the event stream

	Who    string // the name of the token that the session was opened with; empty: nobody is signed in
	Write  bool   // it may change things
	CSRF   string
	Paused *pauseModel
	Stale  string // why the catalogue is not up to date; empty when it is
	Page   any
}

// pauseModel is the banner that enforcement is paused.
type pauseModel struct {
	Reason, By string
	Since      moment
}

// render shows a page within its frame.
func (w *Web) render(c echo.Context, status int, name string, f frame, page any) error {
	if s := sessionOf(c); s != nil {
		f.Who, f.Write, f.CSRF = s.Name, s.may(fleet.ScopeAdmin), w.sessions.csrf(s)
		if err := w.addBanners(c, &f); err != nil {
			return err
		}
	}
	f.Page = page
	body, err := w.view.execute(name, f)
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

func (v *view) execute(name string, f frame) ([]byte, error) {
	page, ok := v.pages[name]
	if !ok {
		return nil, fmt.Errorf("there is no template %q", name)
	}
	entry := "layout"
	if name == "self" {
		entry = "self"
	}
	var b bytes.Buffer
	if err := page.ExecuteTemplate(&b, entry, f); err != nil {
		return nil, fmt.Errorf("render the page %s: %w", name, err)
	}
	return b.Bytes(), nil
}

func (w *Web) asset(c echo.Context) error {
	a, ok := w.view.assets[c.Param("name")]
	if !ok {
		return echo.ErrNotFound
	}
	if c.QueryParam("v") == a.version {
		c.Response().Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	} else {
		c.Response().Header().Set("Cache-Control", "no-cache")
	}
	return c.Blob(http.StatusOK, a.kind, a.body)
}

func (v *view) funcs() template.FuncMap {
	return template.FuncMap{
		"asset": func(name string) (string, error) {
			a, ok := v.assets[name]
			if !ok {
				return "", fmt.Errorf("there is no asset %q", name)
			}
			return "/assets/" + name + "?v=" + a.version, nil
		},
		"icons":  func() string { return "/assets/icons.svg?v=" + v.assets["icons.svg"].version },
		"count":  count,
		"plural": plural,
		"state":  stateOf,
		"dict":   dict,
	}
}

// dict hands several values to a template.
func dict(pairs ...any) (map[string]any, error) {
	if len(pairs)%2 != 0 {
		return nil, fmt.Errorf("dict takes pairs")
	}
	m := make(map[string]any, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		name, ok := pairs[i].(string)
		if !ok {
			return nil, fmt.Errorf("dict takes names, not %v", pairs[i])
		}
		m[name] = pairs[i+1]
	}
	return m, nil
}
