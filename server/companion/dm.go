package companion

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"plimsoll/declarations"
	"plimsoll/server/fleet"
)

// request is one of the five, without its body.
type request struct {
	endpoint string // of declarative management
	id       string
	isDevice bool // it came on the device channel of something that may be a Mac
}

// deviceTypes are NanoMDM's names of the device channels; all others are users', or Shared iPads'.
var deviceTypes = []string{"Device", "User Enrollment (Device)"}

// read takes a request apart; ok is false for everything that is not one of the five. A Mac chooses the path, so nothing is
// cleaned or guessed.
func read(r *http.Request, events bool) (req request, ok bool) {
	u := r.URL
	if u.Host != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.EscapedPath() != u.Path {
		return req, false
	}
	ids, types := r.Header.Values("X-Enrollment-Id"), r.Header.Values("X-Enrollment-Type")
	if events {
		return req, r.Method == http.MethodPost && len(ids) == 0
	}
	if len(ids) != 1 || len(types) != 1 || ids[0] == "" || types[0] == "" || !isUnder(u.Path, dmPath) {
		return req, false
	}
	req = request{endpoint: u.Path[len(dmPath):], id: ids[0], isDevice: isDevice(types[0])}
	if req.isDevice && !fleet.IsDeviceID(req.id) {
		return req, false
	}
	method := http.MethodGet
	switch req.endpoint {
	case "status":
		method = http.MethodPut
	case "tokens", "declaration-items":
	default:
		if _, _, ok := declarations.ParsePath(req.endpoint); !ok {
			return req, false
		}
	}
	return req, r.Method == method
}

func isDevice(enrolmentType string) bool {
	for _, t := range deviceTypes {
		if t == enrolmentType {
			return true
		}
	}
	return false
}

// declarative answers one request of declarative management.
func (l *Listener) declarative(ctx context.Context, r request, body []byte) reply {
	if !r.isDevice {
		return notDevice(r.endpoint)
	}
	if err := l.o.Fleet.Came(ctx, r.id); err != nil {
		return l.failed(ctx, r, err)
	}
	answer, err := l.serve(ctx, r, body)
	if errors.Is(err, fleet.ErrForbidden) { // it checked out on another replica a moment ago, and came all the same
		if _, err = l.o.Fleet.Sighted(ctx, r.id, fleet.Sighting{Kind: fleet.Came}); err == nil {
			answer, err = l.serve(ctx, r, body)
		}
	}
	if err != nil {
		return l.failed(ctx, r, err)
	}
	return reply{http.StatusOK, answer}
}

func (l *Listener) serve(ctx context.Context, r request, body []byte) ([]byte, error) {
	switch r.endpoint {
	case "tokens":
		return l.o.Fleet.Tokens(ctx, r.id)
	case "declaration-items":
		items, err := l.o.Fleet.Items(ctx, r.id)
		if err == nil {
			err = l.o.Notifier.Fetched(ctx, r.id)
		}
		return items, err
	case "status":
		return nil, l.o.Fleet.Ingest(ctx, r.id, body)
	}
	kind, identifier, _ := declarations.ParsePath(r.endpoint)
	return l.o.Fleet.Declaration(ctx, r.id, kind, identifier)
}

// notDevice answers for a user channel and for Shared iPads: their manifest is empty, and what they report is dropped.
func notDevice(endpoint string) reply {
	tokens, items := declarations.Nothing()
	switch endpoint {
	case "tokens":
		return reply{http.StatusOK, tokens}
	case "declaration-items":
		return reply{http.StatusOK, items}
	case "status":
		return reply{status: http.StatusOK}
	}
	return reply{status: http.StatusNotFound}
}

// failed is the one table from errors to statuses; only 200 reaches the Mac, all else is a 500 there.
func (l *Listener) failed(ctx context.Context, r request, err error) reply {
	status := http.StatusServiceUnavailable
	switch {
	case errors.Is(err, fleet.ErrNotFound) && strings.HasPrefix(r.endpoint, "declaration/"), fleet.NothingServed(err):
		status = http.StatusNotFound
	case errors.Is(err, fleet.ErrNotFound), errors.Is(err, fleet.ErrInvalid), errors.Is(err, fleet.ErrForbidden):
		status = http.StatusBadRequest
	}
	if ctx.Err() == nil {
		l.log.Info("a request of declarative management was not served", "mac", r.id, "status", status, "error", err)
	}
	return reply{status: status}
}
