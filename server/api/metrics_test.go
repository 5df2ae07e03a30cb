package api

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestMetrics(t *testing.T) {
	r := newRig(t)
	r.enrol(mac("1"))
	r.want(call{method: "POST", target: "/v1/policies", body: minimumPolicy}, 201, nil)
	r.do(call{method: "GET", target: "/v1/policies/nobody"})
	r.send(call{method: "BREW", target: "/v1/teapot/" + strings.Repeat("x", 10)})
	mdm := r.api.Measure("/mdm", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(400) }))
	mdm.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("PUT", "/mdm", nil))

	body := r.want(call{method: "GET", target: "/metrics", as: r.token("prometheus", "metrics")}, 200, nil).Body.String()
	for _, line := range []string{
		`plimsoll_devices{state="overdue"} 0`,
		`plimsoll_flagged{flag="silent"} 0`,
		`plimsoll_policy_devices{policy="everyone",state="failing"} 0`,
		`plimsoll_due_within_days{days="1"} 0`,
		`plimsoll_due_within_days{days="7"} 0`,
		`plimsoll_due_within_days{days="30"} 0`,
		`plimsoll_http_requests_total{code="201",method="post",route="/v1/policies"} 1`,
		`plimsoll_http_requests_total{code="404",method="get",route="/v1/policies/:name"} 1`,
		`plimsoll_http_requests_total{code="400",method="put",route="/mdm"} 1`,
		`plimsoll_http_request_duration_seconds_count{code="201",route="/v1/policies"} 1`,
		`plimsoll_http_requests_in_flight 1`,
		`plimsoll_reports_total{result="accepted"} 0`,
		`plimsoll_reports_total{result="odd"} 0`,
		`plimsoll_reports_total{result="refused"} 0`,
		`plimsoll_catalogue_revision 0`,
		`plimsoll_build_info{version="1.2.3"} 1`,
	} {
		if !strings.Contains(body, line+"\n") {
			t.Errorf("there is no line %s", line)
		}
	}
	for _, name := range []string{"plimsoll_catalogue_age_seconds", "plimsoll_leader", "plimsoll_pushes_total", "plimsoll_sweeps_total", "plimsoll_report_ingest_seconds_count", "go_goroutines", "process_start_time_seconds"} {
		if !strings.Contains(body, "\n"+name) {
			t.Errorf("there is no metric %s", name)
		}
	}
	if strings.Contains(body, "teapot") || strings.Contains(body, "brew") {
		t.Error("a client can invent labels")
	}
	problems, err := testutil.GatherAndLint(r.api.metrics.Registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		// The horizon counts Macs; its name says the label's unit.
		if strings.HasPrefix(p.Metric, "plimsoll_") && p.Metric != "plimsoll_due_within_days" {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}
