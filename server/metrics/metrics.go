// Package metrics counts requests for Prometheus, and asks the fleet for its numbers.
package metrics

import (
	"cmp"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"plimsoll/server/fleet"
)

// Metrics counts requests, and gathers what the fleet counts when it is asked.
type Metrics struct {
	Registry *prometheus.Registry
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	InFlight prometheus.Gauge
}

// New makes Metrics of what the fleet counts, and of counters that are kept elsewhere.
func New(stats func() fleet.Stats, version string, counts []Count) *Metrics {
	m := &Metrics{
		Registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "plimsoll_http_requests_total", Help: "Requests that were answered.",
		}, []string{"route", "method", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "plimsoll_http_request_duration_seconds", Help: "Time from a request to the end of its answer.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"route", "code"}),
		InFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "plimsoll_http_requests_in_flight", Help: "Requests that are being answered.",
		}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "plimsoll_build_info", Help: "1, labelled with the version that runs.",
		ConstLabels: prometheus.Labels{"version": version},
	})
	build.Set(1)
	m.Registry.MustRegister(
		m.requests, m.duration, m.InFlight, build, &fleetCollector{stats: stats},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	for _, c := range counts {
		m.Registry.MustRegister(prometheus.NewCounterFunc(
			prometheus.CounterOpts{Name: "plimsoll_" + c.Name, Help: c.Help, ConstLabels: c.labels()},
			func() float64 { return float64(c.Of.Load()) },
		))
	}
	return m
}

// Count is a counter that is kept elsewhere: plimsoll_NAME{result}, or plimsoll_NAME when there is no result. Those of one name
// have one help.
type Count struct {
	Name, Help, Result string
	Of                 *atomic.Int64
}

func (c *Count) labels() prometheus.Labels {
	if c.Result == "" {
		return nil
	}
	return prometheus.Labels{"result": c.Result}
}

// Refuser is the writer of an answer whose status does not say that the request was refused, as SCEP's.
type Refuser interface{ Refused() }

// measured is an answer of which the status is counted.
type measured struct {
	http.ResponseWriter
	status int
}

// Unwrap is for http.ResponseController.
func (w *measured) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Refused makes the request count as one that was refused.
func (w *measured) Refused() { w.status = http.StatusBadRequest }

// WriteHeader is the answer's.
func (w *measured) WriteHeader(status int) {
	w.status = cmp.Or(w.status, status)
	w.ResponseWriter.WriteHeader(status)
}

// Handler serves the metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.Registry, promhttp.HandlerOpts{})
}

// Count notes a request that was answered.
func (m *Metrics) Count(method, route string, status int, took time.Duration) {
	code := strconv.Itoa(status)
	m.requests.WithLabelValues(route, methodLabel(method), code).Inc()
	m.duration.WithLabelValues(route, code).Observe(took.Seconds())
}

// methodLabel keeps clients from inventing labels.
func methodLabel(method string) string {
	switch method {
	case http.MethodGet,
		http.MethodHead,
		http.MethodPost,
		http.MethodPut,
		http.MethodDelete,
		http.MethodPatch,
		http.MethodOptions:
		return strings.ToLower(method)
	}
	return "unknown"
}

// Measure counts the requests to a handler under a fixed route.
func (m *Metrics) Measure(route string, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.InFlight.Inc()
		defer m.InFlight.Dec()
		began, answer := time.Now(), measured{ResponseWriter: w}
		h.ServeHTTP(&answer, r)
		m.Count(r.Method, route, cmp.Or(answer.status, http.StatusOK), time.Since(began))
	})
}
