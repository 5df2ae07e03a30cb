package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// serve answers paths with JSON; apply answers an apply.
func serve(t *testing.T, lists map[string]string, apply http.HandlerFunc) Remote {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/apply" {
			apply(w, r)
			return
		}
		_, _ = w.Write([]byte(lists[r.URL.Path]))
	}))
	t.Cleanup(srv.Close)
	return Remote{Server: srv.URL, Token: "t"}
}

func stateFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "state.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func status(err error) int {
	var own *exitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &own):
		return own.code
	}
	return ExitFailed
}

// What export writes is read as what the server has, without times and makers, and the same state gives the same bytes.
func TestExport(t *testing.T) {
	lists := map[string]string{
		"/v1/policies": `{"policies":[{"name":"eng","priority":10,"updates":{"mode":"minimum","version":"26.10","deadline":"2026-12-01T12:00:00"},` +
			`"os":{"track":"26","upgrade":"enforce"},"settings":{"AllowX":true},"label":"yes: no # \"really\""}]}`,
		"/v1/groups":  `{"groups":[{"name":"lab","devices":["0123","1e3","null","C02A"],"unknown_members":3}]}`,
		"/v1/holds":   `{"holds":[{"subject":"26.6.2","reason":"VPN\nand more","successors":false,"until":null,"since_at":"2026-08-19T09:00:00Z","by":"token:ada","releases":["26.6.2"]}]}`,
		"/v1/freezes": `{"freezes":[{"name":"end","from":"2026-12-19","to":"2027-01-04","reason":"on","created_at":"2026-08-19T09:00:00Z","updated_at":"2026-08-19T09:00:00Z","by":"token:ada"}]}`,
	}
	remote := serve(t, lists, nil)
	folder := t.TempDir()
	env := &Env{Context: t.Context(), Out: &bytes.Buffer{}, Err: &bytes.Buffer{}}
	bytesOf := func() map[string]string {
		all := map[string]string{}
		for _, name := range []string{"policy/eng", "group/lab", "hold/26.6.2", "freeze/end"} {
			b, err := os.ReadFile(filepath.Join(folder, name+".yaml"))
			if err != nil {
				t.Fatal(err)
			}
			all[name] = string(b)
		}
		return all
	}
	var first map[string]string
	for range 2 {
		if err := (&exportFiles{Remote: remote, Folder: folder}).Run(env); err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = bytesOf()
		} else if !reflect.DeepEqual(first, bytesOf()) {
			t.Error("the same state gives other bytes")
		}
	}
	objects, err := readObjects(env, []string{folder}, true)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]any{}
	for _, o := range applyRequest(objects, false).body.(map[string]any)["objects"].([]map[string]any) {
		b, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		got[o["kind"].(string)] = string(b)
	}
	want := map[string]any{
		"policy": `{"kind":"policy","label":"yes: no # \"really\"","name":"eng","os":{"track":"26","upgrade":"enforce"},"priority":10,"settings":{"AllowX":true},"updates":{"deadline":"2026-12-01T12:00:00","mode":"minimum","version":"26.10"}}`,
		"group":  `{"devices":["0123","1e3","null","C02A"],"kind":"group","name":"lab"}`,
		"hold":   `{"kind":"hold","name":"26.6.2","reason":"VPN\nand more","successors":false}`,
		"freeze": `{"from":"2026-12-19","kind":"freeze","name":"end","reason":"on","to":"2027-01-04"}`,
	}
	for kind := range want {
		if got[kind] != want[kind] {
			t.Errorf("%s:\n%v, want\n%v", kind, got[kind], want[kind])
		}
	}
}

const twoPolicies = "kind: policy\nname: one\npriority: 5\nupdates: {mode: none}\n---\nkind: group\nname: lab\ndevices: [A]\n"

// plan says what differs and whom it hits, with exit status 3; apply sends the revision that it planned with, and answers the server's
// question only when it is told to.
func TestPlanAndApply(t *testing.T) {
	var asked []*http.Request
	remote := serve(t, nil, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r)
		if r.URL.Query().Get("dry_run") == "" && r.URL.Query().Get("confirm") == "" {
			w.WriteHeader(http.StatusConflict)
			_, _ = w.Write([]byte(`{"error":"the write needs to be confirmed: 12 Macs","code":"confirm_required"}`))
			return
		}
		_, _ = w.Write([]byte(`{"revision":"abc","warnings":[{"text":"beware"}],"impact":{"devices":7,"restarting":5,"first_restart_local":"2026-12-04T12:00:00","last_restart_local":"2026-12-05T12:00:00","no_longer_asked":1,"cannot":2,"guard":"many"},
			"objects":[{"kind":"group","name":"lab","action":"update","fields":[{"path":"/devices","from":null,"to":null,"added":["A"],"removed":["B"]}],"changed_by":"user:ada","changed_at":"2026-11-01T00:00:00Z"},
			{"kind":"hold","name":"26","action":"keep","fields":[]},{"kind":"policy","name":"one","action":"update","fields":[{"path":"/priority","from":5,"to":6}]}]}`))
	})
	var out bytes.Buffer
	env := &Env{Context: t.Context(), Out: &out, Err: &out}
	path := stateFile(t, twoPolicies)
	if code := status((&planFiles{Remote: remote, Paths: []string{path}, Output: "table"}).Run(env)); code != ExitDifferences {
		t.Errorf("exit status %d", code)
	}
	for _, want := range []string{
		"~ group/lab (changed by user:ada at 2026-11-01T00:00:00Z)", "    devices: +A -B", "  hold/26 stays", "    priority: 5 -> 6", "warning: beware",
		"0 to create, 2 to change, 0 to delete", "7 Macs affected; 5 restart between 2026-12-04T12:00:00 and 2026-12-05T12:00:00", "To be confirmed: many.",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the plan lacks %q:\n%s", want, &out)
		}
	}
	if code := status((&applyFiles{Remote: remote, Paths: []string{path}}).Run(env)); code != ExitConfirm {
		t.Errorf("exit status %d", code)
	}
	if err := (&applyFiles{Remote: remote, Paths: []string{path}, Prune: true, Yes: true}).Run(env); err != nil || !strings.Contains(out.String(), "Applied.") {
		t.Errorf("apply: %v", err)
	}
	last := asked[len(asked)-1]
	if last.Header.Get("If-Match") != `"abc"` || last.URL.Query().Get("prune") != "true" || last.URL.Query().Get("confirm") != "true" {
		t.Errorf("the last request: %v", last.URL)
	}
}

// What the server finds stands at its line and column, and secrets come from variables that a file may name.
func TestApplyFaultsAndSecrets(t *testing.T) {
	remote := serve(t, nil, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnprocessableEntity)
		_, _ = w.Write([]byte(`{"error":"no","code":"invalid","errors":[{"field":"objects.1.devices.0","reason":"(group/lab) is odd"},{"field":"objects.0.priority","reason":"(policy/one) must differ"}]}`))
	})
	var out bytes.Buffer
	env := &Env{Context: t.Context(), Out: &out, Err: &out}
	path := stateFile(t, twoPolicies)
	if code := status((&planFiles{Remote: remote, Paths: []string{path}}).Run(env)); code != ExitFailed {
		t.Errorf("exit status %d", code)
	}
	if want := path + ":3:11: priority: must differ\n" + path + ":8:11: devices.0: is odd\n"; out.String() != want {
		t.Errorf("printed\n%s, want\n%s", &out, want)
	}
	t.Setenv("PLIMSOLL_SECRET_X", "hidden")
	for text, want := range map[string]string{
		"{from_env: HOME}":               "must name a variable that begins with PLIMSOLL_SECRET_",
		"{from_env: PLIMSOLL_SECRET_NO}": "names a variable that is not set",
		"{from_env: PLIMSOLL_SECRET_X}":  "",
	} {
		out.Reset()
		objects, err := readObjects(env, []string{stateFile(t, "kind: webhook\nname: chat\nsecret: "+text+"\n")}, true)
		switch {
		case want == "" && (err != nil || objects[0].body["secret"] != "hidden"):
			t.Errorf("%s: %v", text, err)
		case want != "" && (err == nil || !strings.Contains(out.String(), want)):
			t.Errorf("%s: %v, %s", text, err, &out)
		}
	}
}
