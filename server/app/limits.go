package app

import (
	"context"
	"net/http"
	"strings"
	"time"

	"plimsoll/server/api"
)

// endStreams lets event streams end when the server stops.
func (s *Server) endStreams(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/stream" || strings.Contains(r.Header.Get("Accept"), "text/event-stream") {
			ctx, cancel := context.WithCancel(r.Context())
			defer cancel()
			defer context.AfterFunc(s.stopping, cancel)()
			r = r.WithContext(ctx)
		}
		next.ServeHTTP(w, r)
	})
}

// The most requests in flight. Macs have their own, so that admins and monitors are answered while every Mac reports.
const (
	inFlight     = 512
	inFlightMacs = 448
)

// slots are a number of requests that may be in flight.
type slots chan struct{}

// enter takes one, if there is one.
func (s slots) enter() (leave func(), ok bool) {
	select {
	case s <- struct{}{}:
		return func() { <-s }, true
	default:
		return nil, false
	}
}

// fromMacs tells the routes whose handlers ask for a slot themselves, once they know who sends and have read all of it.
func fromMacs(path string) bool { return path == "/mdm" || path == "/scep" || path == "/enroll" }

// fromTokens tells the routes whose handlers ask for a slot themselves, once they know whose token it is.
func fromTokens(path string) bool { return strings.HasPrefix(path, "/v1/") || path == "/metrics" }

// sessionOf tells the streams of one session of the dashboard from others.
func sessionOf(r *http.Request) string {
	for _, c := range r.Cookies() {
		if strings.HasSuffix(c.Name, "plimsoll_session") {
			return c.Value
		}
	}
	return ""
}

// free tells the routes that need no slot: those by which a server is taken out of service when they fail, and what
// lies in memory.
func free(path string) bool {
	return path == "/healthz" || path == "/readyz" || path == "/openapi.json" || strings.HasPrefix(path, "/schemas/") ||
		strings.HasPrefix(path, "/assets/")
}

// limitInFlight answers 503 when too much of others than Macs is in flight: nobody holds a slot by sending or reading
// slowly without having shown who they are.
func limitInFlight(others slots, next http.Handler) http.Handler {
	inSlot := func(w http.ResponseWriter, r *http.Request) {
		leave, ok := others.enter()
		if !ok {
			busy(w)
			return
		}
		defer leave()
		next.ServeHTTP(w, r)
	}
	streams := api.NewStreams()
	stream := func(w http.ResponseWriter, r *http.Request) {
		leave, ok := streams.Enter(sessionOf(r))
		if !ok {
			busy(w)
			return
		}
		defer leave()
		next.ServeHTTP(w, r)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if fromMacs(r.URL.Path) {
			// One connection of a proxy carries requests of all kinds, and a deadline stays on it.
			_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(macTime))
			next.ServeHTTP(w, r)
			return
		}
		a := &answer{ResponseWriter: w, control: http.NewResponseController(w)}
		switch {
		case fromStrangers(r.URL.Path) && !a.readForm(r):
		case r.URL.Path == "/stream":
			stream(a, r)
		case free(r.URL.Path), fromTokens(r.URL.Path):
			next.ServeHTTP(a, r)
		default:
			inSlot(a, r)
		}
		a.finish()
	})
}

func busy(w http.ResponseWriter) {
	w.Header().Set("Retry-After", "5")
	http.Error(w, "too many requests are in flight; try again", http.StatusServiceUnavailable)
}
