package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "an enrolment code is needed", http.StatusForbidden)
	}))
	defer srv.Close()
	for _, tc := range []struct {
		name string
		args []string
		want int
		text string // on standard error
	}{
		{"unknown flag", []string{"-nonsense"}, 2, "-nonsense"},
		{"no Macs", []string{"-n", "0"}, 2, "at least one Mac"},
		{"an argument too many", []string{"twenty"}, 2, `unexpected argument "twenty"`},
		{"share out of range", []string{"-eager", "2"}, 2, "-eager 2"},
		{"unknown misbehaviour", []string{"-misbehave", "sings"}, 2, `"sings"`},
		{"catalogue that is not there", []string{"-catalog", "nowhere.json"}, 2, "nowhere.json"},
		{"CA that is not there", []string{"-ca", "nowhere.pem"}, 2, "nowhere.pem"},
		{"refused", []string{"-n", "1", "-poll", "1ms", "-keys", "1", "-url", srv.URL}, 1, "an enrolment code is needed"},
		{"nobody there", []string{"-n", "1", "-poll", "1ms", "-for", "50ms", "-url", "http://127.0.0.1:1"}, 1, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var out, errs bytes.Buffer
			if got := run(t.Context(), tc.args, &out, &errs); got != tc.want {
				t.Errorf("exit status %d, want %d", got, tc.want)
			}
			if !strings.Contains(errs.String(), tc.text) {
				t.Errorf("standard error is %q, want %q in it", errs.String(), tc.text)
			}
			if tc.want == 1 && !strings.Contains(out.String(), "0 enrolled") {
				t.Errorf("summary %q", out.String())
			}
		})
	}
}
