package api

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What a handler of NanoMDM's answers when it works is passed on as it is; an error has our members beside its own.
func TestNanoMDMsAnswers(t *testing.T) {
	for _, tc := range []struct {
		name   string
		status int
		body   string
		want   map[string]any // nil: the same body
	}{
		{"done", 200, "{\n\t\"status\": {}\n}\n", nil},
		{"partly done", 207, "{\n\t\"status\": {\"A\": {\"push_error\": \"gone\"}}\n}\n", nil},
		{"a bad command", 400, `{"error":"decode the command: EOF"}`, map[string]any{"error": "decode the command: EOF", "code": "bad_request"}},
		{"the store away", 503, `{"push_error":"the store is not reachable"}`, map[string]any{
			"error": "the store is not reachable", "code": "unavailable",
		}},
		{"nothing done", 500, `{"status":{"A":{"push_error":"gone"}}}`, map[string]any{
			"error": "it failed for every device that was named; status says why", "code": "failed", "status": map[string]any{"A": map[string]any{"push_error": "gone"}},
		}},
		{"no certificate", 500, `{"push_error":"no push certificate has this topic"}`, map[string]any{
			"error": "no push certificate has this topic", "code": "failed", "push_error": "no push certificate has this topic",
		}},
		{"what is no JSON", 500, "internal server error\n", map[string]any{"error": "something went wrong here; the log says more", "code": "failed"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t)
			r.api = New(Options{Fleet: r.fleet, Log: slog.New(slog.DiscardHandler), Push: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(tc.status)
				_, _ = io.WriteString(w, tc.body)
			})})
			res := r.want(call{method: "GET", target: "/v1/push/A"}, tc.status, nil)
			if tc.want == nil {
				if res.Body.String() != tc.body {
					t.Errorf("answered %q, want %q", res.Body, tc.body)
				}
				return
			}
			if (res.Header().Get("Retry-After") != "") != (tc.status == 503) {
				t.Errorf("Retry-After is %q", res.Header().Get("Retry-After"))
			}
			tc.want["errors"], tc.want["request_id"] = []any{}, res.Header().Get("X-Request-Id")
			var got map[string]any
			if err := json.Unmarshal(res.Body.Bytes(), &got); err != nil {
				t.Fatalf("%v in %s", err, res.Body)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// On NanoMDM's routes its clients find what they know: the challenge for Basic, and command_error for a command that is not queued.
func TestNanoMDMsClients(t *testing.T) {
	r := newRig(t)
	for target, want := range map[string][]string{
		"/v1/pushcert": {`Bearer realm="plimsoll"`, `Basic realm="plimsoll"`}, "/v1/enqueue/A": {`Bearer realm="plimsoll"`, `Basic realm="plimsoll"`},
		"/v1/policies/a": {`Bearer realm="plimsoll"`},
	} {
		res := r.do(call{method: "PUT", target: target, as: "-"})
		if diff := cmp.Diff(want, res.Header().Values("WWW-Authenticate")); res.Code != 401 || diff != "" {
			t.Errorf("%s: %d\n%s", target, res.Code, diff)
		}
	}
	for _, c := range []struct {
		name   string
		status int
		body   string
		want   string
	}{
		{"a bad command", 400, `{"error":"decode the command: EOF"}`, "decode the command: EOF"},
		{"the store away", 503, `{}`, "the store is not reachable"},
		{"NanoMDM's own words", 500, `{"command_error":"no id"}`, "no id"},
		{"what is no JSON", 500, "internal server error\n", "something went wrong here; the log says more"},
	} {
		r.api = New(Options{Fleet: r.fleet, Log: slog.New(slog.DiscardHandler), Enqueue: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(c.status)
			_, _ = io.WriteString(w, c.body)
		})})
		res := r.want(call{method: "PUT", target: "/v1/enqueue/A", body: "x"}, c.status, nil)
		var got map[string]any
		if err := json.Unmarshal(res.Body.Bytes(), &got); err != nil || got["command_error"] != c.want || got["error"] != c.want {
			t.Errorf("%s: %s, want command_error %q (%v)", c.name, res.Body, c.want, err)
		}
	}
}
