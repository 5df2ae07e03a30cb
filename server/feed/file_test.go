package feed

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var start = time.Date(2026, 8, 22, 19, 15, 0, 0, time.UTC)

// write sets the modification time, so that no test depends on the clock or on how finely the disk counts.
func write(t *testing.T, path, body string, at time.Time) {
	t.Helper()
	if err := os.WriteFile(path, []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

func TestFetchFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pmv.json")
	write(t, path, `{"a":1}`, start)
	s := source(t, path, Options{MaxSize: 100})
	if s.IsURL() || s.String() != path {
		t.Errorf("%s", s)
	}
	body, v, same, err := s.Fetch(t.Context(), Validators{})
	if err != nil || same || string(body) != `{"a":1}` {
		t.Fatalf("%q, %v, %v", body, same, err)
	}
	body, again, same, err := s.Fetch(t.Context(), v)
	if err != nil || !same || body != nil || again != v {
		t.Errorf("unchanged: %q, %v, %v", body, same, err)
	}
	write(t, path, `{"a":2}`, start.Add(time.Nanosecond*1e6))
	body, v, same, err = s.Fetch(t.Context(), v)
	if err != nil || same || string(body) != `{"a":2}` {
		t.Errorf("same size, later: %q, %v, %v", body, same, err)
	}
	write(t, path, `{"a":30}`, start.Add(time.Nanosecond*1e6))
	if body, _, same, err = s.Fetch(t.Context(), v); err != nil || same || string(body) != `{"a":30}` {
		t.Errorf("same time, longer: %q, %v, %v", body, same, err)
	}
	for body, want := range map[string]string{"": "empty", "<html>": "HTML", "[]": "not a JSON object", "{" + strings.Repeat(" ", 100): "more than the 100 bytes"} {
		write(t, path, body, start.Add(time.Hour))
		if _, _, _, err = s.Fetch(t.Context(), v); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%.10q: %v, want %q", body, err, want)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err = s.Fetch(t.Context(), v); !os.IsNotExist(unwrapped(err)) {
		t.Errorf("gone: %v", err)
	}
}

func unwrapped(err error) error {
	if u, ok := err.(interface{ Unwrap() error }); ok {
		return u.Unwrap()
	}
	return err
}

// Of a folder the file that was modified last counts, of several the last by name.
func TestFetchFolder(t *testing.T) {
	dir := t.TempDir()
	s := source(t, dir, Options{})
	if _, _, _, err := s.Fetch(t.Context(), Validators{}); !errors.Is(err, ErrContent) || !strings.Contains(err.Error(), "has no file") {
		t.Errorf("empty: %v", err)
	}
	write(t, filepath.Join(dir, "b.json"), `{"b":1}`, start)
	write(t, filepath.Join(dir, "a.json"), `{"a":1}`, start)
	steps := []struct {
		name, file, body string
		at               time.Time
		want             string // empty: not modified
	}{
		{"of equal age the last by name", "", "", start, `{"b":1}`},
		{"nothing new", "", "", start, ""},
		{"a newer one", "a.json", `{"a":2}`, start.Add(time.Hour), `{"a":2}`},
		{"an older one is not looked at", "z.json", `{"z":1}`, start.Add(-time.Hour), ""},
		{"nor a hidden one", ".c.json", `{"c":1}`, start.Add(2 * time.Hour), ""},
		{"nor one that is being copied", "c.json.tmp", `{"c":1}`, start.Add(2 * time.Hour), ""},
		{"the copy is done", "c.json", `{"c":1}`, start.Add(2 * time.Hour), `{"c":1}`},
	}
	var v Validators
	for _, step := range steps {
		if step.file != "" {
			write(t, filepath.Join(dir, step.file), step.body, step.at)
		}
		body, next, same, err := s.Fetch(t.Context(), v)
		if err != nil || same != (step.want == "") || string(body) != step.want {
			t.Errorf("%s: %q, %v, %v", step.name, body, same, err)
		}
		v = next
	}
	if err := os.Mkdir(filepath.Join(dir, "later.json"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, _, same, err := s.Fetch(t.Context(), v); err != nil || !same {
		t.Errorf("a folder in the folder: %v, %v", same, err)
	}
	write(t, filepath.Join(dir, "d.json"), `<html>`, start.Add(3*time.Hour))
	if _, _, _, err := s.Fetch(t.Context(), v); err == nil || !strings.Contains(err.Error(), "d.json: it is HTML") {
		t.Errorf("the file at fault is not named: %v", err)
	}
}
