package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// hostile is a name that a user could give a Mac: it would clear a terminal, change its title, and turn the line around.
const hostile = "Eve\x1b[2J\x1b]0;x\x07\u009b31m\u202elive\u2028\x7f"

// fakeAPI answers as the API does, and keeps the requests.
type fakeAPI struct {
	*httptest.Server
	requests []string
}

func newAPI(t *testing.T) *fakeAPI {
	t.Helper()
	a := &fakeAPI{}
	mux := http.NewServeMux()
	device := func(serial, name, state string) map[string]any {
		return map[string]any{
			"id": "id-" + serial, "serial": serial, "name": name, "state": state, "phase": "", "os": map[string]any{"version": "26.5.2", "build": "25F80"},
			"target": map[string]any{"version": "26.6.2", "build": "25G83"}, "deadline_local": "2026-12-14T12:00:00", "flags": []string{}, "model_name": "MacBook Air",
			"reasons": []map[string]any{{"code": "held", "text": "Only a hold keeps this Mac from an update.", "advice": "Release the hold."}},
		}
	}
	write := func(w http.ResponseWriter, status int, v any) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(v)
	}
	mux.HandleFunc("GET /v1/devices", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		last := q.Get("cursor") == "2"
		if r.Header.Get("Accept") == "text/csv" {
			if !last {
				w.Header().Set("Link", `</v1/devices?cursor=2&limit=1000>; rel="next"`)
			}
			_, _ = fmt.Fprintf(w, "id,name\r\n%s,\"%s\"\r\n", "page"+q.Get("cursor"), hostile)
			return
		}
		page := map[string]any{"devices": []any{device("C01", hostile, "pending")}, "next_cursor": "2"}
		if last {
			page = map[string]any{"devices": []any{device("C02", strings.Repeat("名前", 60), "compliant")}}
		}
		write(w, 200, page)
	})
	mux.HandleFunc("GET /v1/devices/{id}", func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("id") == "nobody" {
			write(w, 404, map[string]any{"error": "there is no such device" + hostile, "code": "not_found", "errors": []any{}})
			return
		}
		write(w, 200, device(r.PathValue("id"), hostile, "held"))
	})
	mux.HandleFunc("GET /v1/devices/{id}/plan", func(w http.ResponseWriter, _ *http.Request) {
		write(w, 200, map[string]any{"deadline_words": []string{"26.6 was posted on July 27.", "14 days later is August 10."}})
	})
	mux.HandleFunc("GET /v1/reports/patching", func(w http.ResponseWriter, _ *http.Request) {
		write(w, 200, map[string]any{"releases": []any{map[string]any{
			"version": "26.3.1", "letter": "a", "posted": "2026-03-02", "macs": 16, "patched": 10, "gone": 1, "median_days": 8, "p90_days": nil,
			"within": map[string]any{"14d": map[string]int{"yes": 9}},
		}}})
	})
	mux.HandleFunc("GET /v1/reports/evidence", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("PK, the pack")) })
	mux.HandleFunc("POST /v1/devices/import", func(w http.ResponseWriter, _ *http.Request) { write(w, 200, map[string]int{"added": 2, "known": 1}) })
	cas := map[string]any{"cas": []any{map[string]any{"fingerprint": strings.Repeat("ab", 32), "subject": "CN=Plimsoll", "issuing": true, "devices": 3}}}
	mux.HandleFunc("GET /v1/ca", func(w http.ResponseWriter, _ *http.Request) { write(w, 200, cas) })
	mux.HandleFunc("POST /v1/ca/rotate", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("confirm") != "true" {
			write(w, 409, map[string]any{"error": "This needs confirmation.", "code": "confirm_required", "errors": []any{}})
			return
		}
		write(w, 200, cas)
	})
	mux.HandleFunc("GET /away", func(w http.ResponseWriter, r *http.Request) {})
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		a.requests = append(a.requests, r.Method+" "+r.URL.RequestURI()+" "+r.Header.Get("Authorization")+" "+string(body))
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(a.Close)
	return a
}

// result is what a command left.
type result struct {
	code      int
	out, errs string
}

// call runs a command line as main does.
func call(t *testing.T, env *Env, args ...string) result {
	t.Helper()
	var c Commands
	var out, errs bytes.Buffer
	parser, err := kong.New(&c, kong.Name("plimsoll"), kong.Writers(&out, &errs), kong.Exit(func(int) {}))
	if err != nil {
		t.Fatal(err)
	}
	if env == nil {
		env = &Env{}
	}
	env.Context, env.Out, env.Err, env.Version = t.Context(), &out, &errs, "test"
	if env.In == nil {
		env.In = strings.NewReader("")
	}
	parsed, err := parser.Parse(args)
	code := 0
	if err != nil {
		code = Fail(&errs, err, ExitUsage)
	} else if err = errors.Join(ReadSecrets(parsed)); err != nil {
		code = Fail(&errs, err, ExitFailed)
	} else if err = parsed.Run(env); err != nil {
		code = Fail(&errs, err, ExitFailed)
	}
	return result{code, out.String(), errs.String()}
}

func TestCommands(t *testing.T) {
	dir := t.TempDir()
	token, ids := filepath.Join(dir, "token"), filepath.Join(dir, "ids")
	for path, text := range map[string]string{token: "from-the-file\r\n", ids: "# of the old server\n11111111-1111-1111-1111-111111111111\n\n AAAA \n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	api := newAPI(t)
	for _, c := range []struct {
		name    string
		args    []string
		code    int
		out     []string // parts of the standard output
		err     string   // a part of standard error; "" for none
		request string   // a part of a request
	}{
		{"all pages as a table", []string{"devices", "--state", "pending"}, 0, []string{"SERIAL", "C01", "C02", "26.6.2", "2026-12-14 12:00", "never", "…"}, "", "state=pending Bearer from-the-file"},
		{"all pages as JSON", []string{"devices", "-o", "json"}, 0, []string{`"devices": [`, `"C01"`, `"C02"`, `\u001b[2J`, `\u009b31m\u202elive\u2028\u007f`}, "", "GET /v1/devices?limit=1000 "},
		{"all pages as CSV with one header", []string{"devices", "-o", "csv"}, 0, []string{"id,name\npage,", "\npage2,", `Eve\x1b[2J`}, "", "cursor=2"},
		{"why, in words", []string{"why", "C01"}, 0, []string{"State       held", "held: Only a hold", "-> Release the hold.", "14 days later is August 10."}, "", "GET /v1/devices/C01/plan"},
		{"patching", []string{"patching", "--sla", "14", "--group", "it"}, 0, []string{"26.3.1 (a)", "2026-03-02", "16"}, "", "GET /v1/reports/patching?group=it&sla=14"},
		{"patching, as CSV", []string{"patching", "-o", "csv"}, 0, []string{"26.3.1 (a),2026-03-02,16,10,1,0,0,0,8,,9"}, "", ""},
		{"patching, as JSON", []string{"patching", "-o", "json", "--as-of", "now"}, 0, []string{`"releases": [`}, "", "GET /v1/reports/patching?as_of=now"},
		{"evidence", []string{"evidence", "-", "--sla", "cis", "--macs"}, 0, []string{"PK, the pack"}, "", "GET /v1/reports/evidence?macs=true&sla=cis"},
		{"why, as JSON", []string{"why", "C01", "-o", "json"}, 0, []string{`"device": {`, `"plan": {`}, "", ""},
		{"a path's characters are escaped", []string{"why", "a/../b?c"}, 0, []string{"a/../b?c"}, "", "GET /v1/devices/a%2F..%2Fb%3Fc"},
		{"no device", []string{"why", "nobody"}, 1, nil, `there is no such deviceEve\x1b[2J`, ""},
		{"dots are no device", []string{"why", ".."}, 2, nil, "neither a serial number", ""},
		{"import", []string{"import", ids}, 0, []string{"2 added, 1 known already"}, "", `{"ids":["11111111-1111-1111-1111-111111111111","AAAA"]}`},
		{"import of nothing", []string{"import", "-"}, 2, nil, "holds no enrollment id", ""},
		{"CAs", []string{"ca"}, 0, []string{"abababababababab", "CN=Plimsoll", "yes"}, "", "GET /v1/ca "},
		{"a rotation asks", []string{"ca", "rotate"}, ExitConfirm, nil, "needs confirmation: repeat the command with --yes", ""},
		{"a rotation that is confirmed", []string{"ca", "rotate", "--yes"}, 0, []string{"CN=Plimsoll"}, "", "POST /v1/ca/rotate?confirm=true"},
		{"a wrong format", []string{"devices", "-o", "xml"}, 2, nil, "--output", ""},
	} {
		api.requests = nil
		got := call(t, nil, append(c.args, "--server", api.URL, "--token", "@"+token)...)
		if got.code != c.code || !strings.Contains(got.errs, c.err) || (c.err == "") != (got.errs == "") {
			t.Errorf("%s: exit status %d, want %d; it says %q, want %q", c.name, got.code, c.code, got.errs, c.err)
		}
		for _, part := range c.out {
			if !strings.Contains(got.out, part) {
				t.Errorf("%s: %q is missing in\n%s", c.name, part, got.out)
			}
		}
		if !strings.Contains(strings.Join(api.requests, "\n"), c.request) {
			t.Errorf("%s: it asked %q, want %q", c.name, api.requests, c.request)
		}
		for _, text := range []string{got.out, got.errs} {
			if raw := strings.Trim(text, "\n"); strings.ContainsFunc(strings.ReplaceAll(raw, "\n", ""), harmful) {
				t.Errorf("%s prints characters that a terminal obeys: %q", c.name, raw)
			}
		}
		if c.args[0] == "devices" && !strings.Contains(c.name, "JSON") && !strings.Contains(c.name, "CSV") {
			for line := range strings.Lines(got.out) {
				if n := columns(strings.TrimSuffix(line, "\n")); n > maxColumns {
					t.Errorf("%s: a line has %d columns: %s", c.name, n, line)
				}
			}
		}
	}
}

// A token goes to the address that was given, over https or to this machine; never to where an answer points.
func TestTokenStaysSafe(t *testing.T) {
	api := newAPI(t)
	away := httptest.NewServer(http.RedirectHandler(api.URL, http.StatusTemporaryRedirect))
	t.Cleanup(away.Close)
	for _, c := range []struct {
		name, server string
		code         int
		err          string
	}{
		{"plain http elsewhere", "http://mdm.example.com", 2, "not sent over plain http"},
		{"an address like loopback", "http://127.0.0.1.example.com", 2, "not sent over plain http"},
		{"a user in the address", "https://user@mdm.example.com", 2, "must be http://HOST"},
		{"no address", "mdm.example.com", 2, "must be http://HOST"},
		{"a redirect", away.URL, 1, "redirects to " + api.URL},
	} {
		got := call(t, nil, "devices", "--server", c.server, "--token", "secret-token-of-mine")
		if got.code != c.code || !strings.Contains(got.errs, c.err) || strings.Contains(got.errs, "secret-token-of-mine") {
			t.Errorf("%s: %d, %q; want %d, %q", c.name, got.code, got.errs, c.code, c.err)
		}
	}
	if len(api.requests) > 0 {
		t.Errorf("the server behind the redirect was asked: %q", api.requests)
	}
	for _, host := range []string{"localhost", "127.0.0.1", "127.9.9.9", "::1"} {
		if !loopback(host) {
			t.Errorf("%s is this machine", host)
		}
	}
	t.Setenv("PLIMSOLL_TOKEN", "")
	if got := call(t, nil, "devices"); got.code != 2 || !strings.Contains(got.errs, "--token") {
		t.Errorf("without a token: %+v", got)
	}
}

func TestReadSecret(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	for text, want := range map[string]string{"a b\n": "a b", "a b\r\n": "a b", "a\n\n": "a\n", "a": "a", "": ""} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := readSecret("@" + path); err != nil || got != want {
			t.Errorf("a file of %q: %q, %v; want %q", text, got, err, want)
		}
	}
	for value, want := range map[string]string{"plain": "plain", "@@at": "@at", "": "", "a@b": "a@b"} {
		if got, err := readSecret(value); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", value, got, err, want)
		}
	}
	if _, err := readSecret("@/nowhere/at/all"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is absent: %v", err)
	}
}

// Colours and questions are for terminals only.
func TestTerminal(t *testing.T) {
	api := newAPI(t)
	remote := []string{"--server", api.URL, "--token", "x"}
	if got := call(t, nil, append([]string{"devices"}, remote...)...); strings.Contains(got.out, "\x1b") {
		t.Errorf("colours without a terminal: %q", got.out)
	}
	if got := call(t, &Env{Terminal: true}, append([]string{"devices"}, remote...)...); !strings.Contains(got.out, "\x1b[33mpending\x1b[0m ") {
		t.Errorf("no colours on a terminal: %q", got.out)
	}
	for answer, code := range map[string]int{"y\n": 0, "YES\n": 0, "n\n": ExitConfirm, "": ExitConfirm, "\n": ExitConfirm} {
		got := call(t, &Env{Terminal: true, In: strings.NewReader(answer)}, append([]string{"ca", "rotate"}, remote...)...)
		if got.code != code || !strings.Contains(got.errs, "Go on? [y/N]") {
			t.Errorf("the answer %q: %+v, want %d", answer, got, code)
		}
	}
}

func TestCut(t *testing.T) {
	for _, c := range []struct {
		in   string
		to   int
		want string
	}{
		{"abc", 3, "abc"}, {"abcd", 3, "ab…"}, {"名前名前", 5, "名前…"}, {"名前", 4, "名前"}, {"e\u0301e\u0301e\u0301", 2, "e\u0301…"}, {"ab", 1, "…"},
	} {
		if got := cut(c.in, c.to); got != c.want || columns(got) > c.to {
			t.Errorf("cut(%q, %d) = %q, want %q", c.in, c.to, got, c.want)
		}
	}
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"Ada’s Mac": "Ada’s Mac", hostile: `Eve\x1b[2J\x1b]0;x\a\u009b31m\u202elive\u2028\x7f`, "a\xffb": `a\xffb`, "a\tb\nc": `a\tb\nc`, "\U000e0041": `\U000e0041`,
	} {
		if got := clean(in); got != want {
			t.Errorf("clean(%q) = %q, want %q", in, got, want)
		}
	}
	var out bytes.Buffer
	if err := printJSON(&out, []byte("{\"a\":\"\U000e0041\"}")); err != nil || !strings.Contains(out.String(), `"\udb40\udc41"`) {
		t.Errorf("%s (%v)", out.String(), err)
	}
}

// A demo whose server or Macs fail ends, and removes its folder.
func TestDemoEnds(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	var folder string
	broken := errors.New("the port is taken")
	got := call(t, &Env{Serve: func(_ context.Context, _ int, f string) (Server, error) { folder = f; return nil, broken }}, "demo")
	if got.code != 1 || !strings.Contains(got.errs, broken.Error()) {
		t.Errorf("%+v", got)
	}
	if _, err := os.Stat(folder); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder %s is still there (%v)", folder, err)
	}
	for _, args := range [][]string{{"demo", "-n", "0"}, {"demo", "--port", "-1"}, {"demo", "-n", "5000"}} {
		if got := call(t, nil, args...); got.code != ExitUsage {
			t.Errorf("%v: %+v", args, got)
		}
	}
}
