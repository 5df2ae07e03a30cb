package view

import (
	"strings"
	"testing"
	"testing/fstest"
)

func TestAssetsAreSmall(t *testing.T) {
	s, err := Load(fstest.MapFS{})
	if err != nil {
		t.Fatal(err)
	}
	all := 0
	for name, a := range s.assets {
		all += len(a.Body)
		if a.Kind == "" {
			t.Errorf("%s has no content type", name)
		}
		if got, ok := s.Asset(name); !ok || len(got.Body) == 0 || len(got.Version) != 12 {
			t.Errorf("%s: %t, %d bytes, version %q", name, ok, len(got.Body), got.Version)
		}
	}
	if all > 60_000 {
		t.Errorf("all assets together have %d bytes, more than 60 kB", all)
	}
}

func TestLoad(t *testing.T) {
	files := fstest.MapFS{
		"shell.html": {Data: []byte(`{{define "shell"}}<i>{{template "main" .}}</i>{{end}}`)},
		"one.html":   {Data: []byte(`{{define "main"}}{{plural . "Mac"}}{{end}}`)},
		"two.html":   {Data: []byte(`{{define "main"}}{{template "input" (dict "name" "a" "label" "A" "value" . "faults" (dict))}}{{end}}`)},
		"wrong.html": {Data: []byte(`{{define "main"}}{{dict .}}{{end}}`)},
	}
	s, err := Load(files, "shell.html")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.Execute("one", "shell", 2); err != nil || string(got) != "<i>2 Macs</i>" {
		t.Errorf("%s, %v", got, err)
	}
	if got, err := s.Execute("two", "shell", `"><script>`); err != nil || strings.Contains(string(got), "<script>") || !strings.Contains(string(got), `for="a"`) {
		t.Errorf("%s, %v", got, err)
	}
	if _, err := s.Execute("wrong", "shell", 1); err == nil {
		t.Error("an odd number of values is taken for pairs")
	}
	if _, err := s.Execute("none", "shell", 1); err == nil {
		t.Error("a template that does not exist is rendered")
	}
	if _, err := Load(fstest.MapFS{"bad.html": {Data: []byte(`{{`)}}); err == nil {
		t.Error("a broken template is loaded")
	}
	if _, err := Load(fstest.MapFS{}, "none.html"); err == nil {
		t.Error("a shared template may be missing")
	}
}
