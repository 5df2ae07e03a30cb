// Command gen writes the JSON Schemas and the OpenAPI document from the Go types.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run() error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	if err := os.Chdir(root); err != nil {
		return err
	}
	files, err := generate()
	if err != nil {
		return err
	}
	old, err := filepath.Glob(filepath.Join("schemas", "v1", "*.json"))
	if err != nil {
		return err
	}
	for _, path := range old {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	for name, body := range files {
		if err := os.WriteFile(filepath.Join("schemas", filepath.FromSlash(name)), body, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// moduleRoot is the folder above the working directory that holds go.mod.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", fmt.Errorf("no go.mod above the working directory")
		}
		dir = up
	}
}

// generate makes every file, by its path inside schemas/. The working directory must be the module's folder:
// the comments are found by paths relative to it.
func generate() (map[string][]byte, error) {
	g, err := newGenerator()
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for _, d := range documents() {
		doc, err := g.document(d)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", d.name(), err)
		}
		if files["v1/"+d.file()+".json"], err = indent(doc); err != nil {
			return nil, err
		}
	}
	if err := g.unusedRules(); err != nil {
		return nil, err
	}
	api, err := g.openapi(filepath.Join("schemas", "gen", "openapi.yaml"))
	if err != nil {
		return nil, fmt.Errorf("openapi.yaml: %w", err)
	}
	files["openapi.json"], err = indent(api)
	return files, err
}

// indent encodes with sorted keys, so that the same types give the same bytes.
func indent(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
