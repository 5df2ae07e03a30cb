package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"plimsoll/examples/macs/sim"
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

// The simulator is not silent: it says at once where its fleet stands.
func TestStanding(t *testing.T) {
	stop := make(chan struct{})
	said := make(chan string, 1)
	go tell(stop, func() sim.Standing { return sim.Standing{Macs: 25, Enrolled: 20, Targeted: 8, Settled: 12} }, func(at sim.Standing) {
		said <- standing(at)
		close(stop)
	})
	if got, want := <-said, "25 Macs: 20 enrolled, 8 have a target, 12 have nothing left to do"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
