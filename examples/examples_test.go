package examples_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"plimsoll/server/api"
	"plimsoll/server/app"
	"plimsoll/server/fleet"
	"plimsoll/storage"
	"plimsoll/storage/bolt"
)

const adminToken = "the-admin-token-of-these-tests"

// nobody tells no Mac anything: there is none.
type nobody struct{ fleet.Notifier }

// serve gives the API over a new fleet without Macs, with one policy.
func serve(t *testing.T) http.Handler {
	t.Helper()
	db, err := bolt.Open(filepath.Join(t.TempDir(), "plimsoll.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	log := slog.New(slog.DiscardHandler)
	f, err := fleet.New(fleet.Options{Store: storage.New(db), Notifier: nobody{}, Log: log, AdminToken: adminToken, URL: "https://mdm.example.com", Alone: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	a := api.New(api.Options{Fleet: f, Log: log, Version: "test"})
	t.Cleanup(a.Close)
	h := a.Handler()
	ask(t, h, "POST", "/v1/policies", `{"name": "everyone", "priority": 10, "updates": {"mode": "none"}}`, http.StatusCreated)
	return h
}

func ask(t *testing.T, h http.Handler, method, target, body string, status int) string {
	t.Helper()
	req := httptest.NewRequestWithContext(context.Background(), method, target, strings.NewReader(body))
	req.Header.Set("Authorization", "Bearer "+adminToken)
	req.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	if w.Code != status {
		t.Fatalf("%s %s: %d, want %d: %s", method, target, w.Code, status, w.Body)
	}
	return w.Body.String()
}

// variables are the environment variables that the program reads.
func variables() map[string]bool {
	known := map[string]bool{}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[app.Options]()) {
		if name := f.Tag.Get("env"); name != "" {
			known[name] = true
		}
	}
	return known
}

// checkEnvironment holds the variables that an example sets against those that exist.
func checkEnvironment(t *testing.T, where string, set map[string]string) {
	t.Helper()
	known := variables()
	if len(known) < 15 {
		t.Fatalf("the program reads %d environment variables: %v", len(known), known)
	}
	for name := range set {
		if !known[name] {
			t.Errorf("%s sets %s, which the program does not read", where, name)
		}
	}
	for _, name := range []string{"PLIMSOLL_LISTEN", "PLIMSOLL_STORE"} {
		if set[name] == "" {
			t.Errorf("%s does not set %s", where, name)
		}
	}
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// documents parses all YAML documents of a file; with strict, keys that the type does not have are faults.
func documents[T any](t *testing.T, name string, strict bool) []T {
	t.Helper()
	d := yaml.NewDecoder(bytes.NewReader(read(t, name)))
	d.KnownFields(strict)
	var all []T
	for {
		var one T
		err := d.Decode(&one)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all = append(all, one)
	}
}

func document[T any](t *testing.T, name string, strict bool) T {
	t.Helper()
	all := documents[T](t, name, strict)
	if len(all) != 1 {
		t.Fatalf("%s has %d documents, want one", name, len(all))
	}
	return all[0]
}

// tool runs a program that checks an example better than we can, where it is installed; it says whether it was there.
func tool(t *testing.T, name string, args ...string) bool {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Logf("%s is not installed: parsed only", name)
		return false
	}
	if out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput(); err != nil {
		t.Errorf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return true
}

func decode(t *testing.T, name string, v any) {
	t.Helper()
	if err := json.Unmarshal(read(t, name), v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}
