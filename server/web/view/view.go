// Package view draws and words the pages: templates and assets, charts as SVG, states, dates, numbers and policies in plain
// English.
package view

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"mime"
	"path"
	"slices"
	"strings"
)

//go:embed parts.html
var partsFile embed.FS

//go:embed assets/*
var assetFiles embed.FS

// Asset is a file under /assets.
type Asset struct {
	Body    []byte
	Kind    string
	Version string // a hash of the body; part of its address, so that it may be cached for good
}

// Set holds the templates of one room, each together with the shared parts. Safe for concurrent use.
type Set struct {
	pages  map[string]*template.Template
	assets map[string]Asset
}

// Load parses the templates of a file system: shared are files that every page needs, all others are pages by their base name.
func Load(files fs.FS, shared ...string) (*Set, error) {
	s := &Set{pages: map[string]*template.Template{}, assets: map[string]Asset{}}
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
		s.assets[e.Name()] = Asset{Body: body, Kind: mime.TypeByExtension(path.Ext(e.Name())), Version: hex.EncodeToString(sum[:6])}
	}
	parts, err := template.New("").Funcs(s.funcs()).ParseFS(partsFile, "parts.html")
	if err == nil && len(shared) > 0 {
		parts, err = parts.ParseFS(files, shared...)
	}
	if err != nil {
		return nil, fmt.Errorf("parse the shared templates: %w", err)
	}
	names, err := fs.Glob(files, "*.html")
	if err != nil {
		return nil, fmt.Errorf("list the templates: %w", err)
	}
	for _, name := range names {
		if slices.Contains(shared, name) {
			continue
		}
		page, err := parts.Clone()
		if err == nil {
			page, err = page.ParseFS(files, name)
		}
		if err != nil {
			return nil, fmt.Errorf("parse the template %s: %w", name, err)
		}
		s.pages[strings.TrimSuffix(name, ".html")] = page
	}
	return s, nil
}

// Names are the names of the pages.
func (s *Set) Names() []string {
	out := make([]string, 0, len(s.pages))
	for name := range s.pages {
		out = append(out, name)
	}
	return out
}

// Asset finds a file under /assets.
func (s *Set) Asset(name string) (Asset, bool) {
	a, ok := s.assets[name]
	return a, ok
}

// Execute renders a page from one of its templates.
func (s *Set) Execute(name, entry string, data any) ([]byte, error) {
	page, ok := s.pages[name]
	if !ok {
		return nil, fmt.Errorf("there is no template %q", name)
	}
	var b bytes.Buffer
	if err := page.ExecuteTemplate(&b, entry, data); err != nil {
		return nil, fmt.Errorf("render the page %s: %w", name, err)
	}
	return b.Bytes(), nil
}

func (s *Set) funcs() template.FuncMap {
	return template.FuncMap{
		"asset": func(name string) (string, error) {
			a, ok := s.assets[name]
			if !ok {
				return "", fmt.Errorf("there is no asset %q", name)
			}
			return "/assets/" + name + "?v=" + a.Version, nil
		},
		"icons":  func() string { return "/assets/icons.svg?v=" + s.assets["icons.svg"].Version },
		"count":  Count,
		"plural": Plural,
		"state":  StateOf,
		"dict":   dict,
		"odd":    func(n int) bool { return n%2 == 1 },
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
