package app

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/google/uuid"
)

// endStreams lets event streams end when the server stops.
func (s *Server) endStreams(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.Header.Get("Accept"), "text/event-stream") {
			ctx, cancel := context.WithCancel(r.Context())
			defer cancel()
			defer context.AfterFunc(s.stopping, cancel)()
			r = r.WithContext(ctx)
		}
		next.ServeHTTP(w, r)
	})
}

// The most requests in flight: in all, and from Macs, so that admins and monitors are answered while every Mac reports.
const (
	inFlight     = 512
	inFlightMacs = 448
)

// limitInFlight answers 503 when too much is in flight.
func limitInFlight(next http.Handler) http.Handler {
	all, macs := make(chan struct{}, inFlight), make(chan struct{}, inFlightMacs)
	busy := func(w http.ResponseWriter, r *http.Request) {
		const text = "too many requests are in flight; try again"
		w.Header().Set("Retry-After", "5")
		if !strings.HasPrefix(r.URL.Path, "/v1/") {
			http.Error(w, text, http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = fmt.Fprintf(w, `{"error":%q,"code":"busy","errors":[],"request_id":%q}`+"\n", text, uuid.NewString())
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/mdm" || r.URL.Path == "/scep" || r.URL.Path == "/enroll" {
			select {
			case macs <- struct{}{}:
				defer func() { <-macs }()
			default:
				busy(w, r)
				return
			}
		}
		select {
		case all <- struct{}{}:
			defer func() { <-all }()
			next.ServeHTTP(w, r)
		default:
			busy(w, r)
		}
	})
}
