package mdm

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"

	nanoapi "github.com/micromdm/nanomdm/http/api"
	"github.com/micromdm/nanomdm/mdm"
	"github.com/micromdm/nanomdm/push"
	"github.com/micromdm/nanomdm/service"

	"plimsoll/server/fleet"
	"plimsoll/server/mdm/message"
)

// The handlers of NanoMDM's own API, for package api to put behind its tokens. Their answers are NanoMDM's, but for a 503 while
// the store is away.

// PushCertHandler is PUT /v1/pushcert: certificate and unencrypted key in one PEM file. The log warns of Macs of other topics.
func (d *Server) PushCertHandler() http.Handler {
	return d.api("", false, func(a *attempt) http.Handler {
		a.stored = func(ctx context.Context) {
			state, err := d.o.Fleet.PushState(ctx)
			if err != nil {
				d.log.DebugContext(ctx, "the push certificates could not be looked at", "error", err)
				return
			}
			d.warn(ctx, state.Problem(), state.OthersProblem())
		}
		return nanoapi.NewStorePushCertHandler(a, nanoLog{d.log})
	})
}

// warn logs problems; one that is empty is none.
func (d *Server) warn(ctx context.Context, problems ...string) {
	for _, p := range problems {
		if p != "" {
			d.log.WarnContext(ctx, p)
		}
	}
}

// PushHandler is GET /v1/push/{ids}, mounted with its whole path.
func (d *Server) PushHandler() http.Handler {
	return d.api("/v1/push/", false, func(a *attempt) http.Handler {
		return nanoapi.PushToIDsHandler(a, nanoLog{d.log}, nanoapi.PathIDGetter)
	})
}

// EnqueueHandler is PUT /v1/enqueue/{ids}, mounted with its whole path; ?nopush=1 only queues.
func (d *Server) EnqueueHandler() http.Handler {
	return d.api("/v1/enqueue/", true, func(a *attempt) http.Handler {
		return nanoapi.RawCommandEnqueueToIDsHandler(a, a, nanoLog{d.log}, nanoapi.PathIDGetter)
	})
}

// api reads the body first, since NanoMDM reads without a limit and answers 500 whatever is wrong with it.
func (d *Server) api(prefix string, isPlist bool, handler func(*attempt) http.Handler) http.Handler {
	return d.guarded(func(w http.ResponseWriter, r *http.Request) {
		body, err := readBody(w, r, maxBody)
		if err == nil && isPlist && len(body) > 0 {
			if err = message.Check(body); err == nil {
				_, err = mdm.DecodeCommand(body)
			}
			if err != nil {
				err = service.NewHTTPStatusError(http.StatusBadRequest, err)
			}
		}
		if err != nil {
			status := statusOf(err)
			if own := (*service.HTTPStatusError)(nil); errors.As(err, &own) {
				err = own.Err
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_ = json.NewEncoder(w).Encode(nanoapi.ErrorResponseJson{Error: err.Error()}) // who went away needs no answer
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		a := &attempt{ResponseWriter: w, notifier: d.o.Notifier, fleet: d.o.Fleet}
		http.StripPrefix(prefix, handler(a)).ServeHTTP(a, r)
		if a.away != nil {
			d.log.Warn(
				"a request of NanoMDM's API did not reach the store",
				"request_id",
				w.Header().Get("X-Request-Id"),
				"path",
				r.URL.Path,
				"error",
				a.away,
			)
		}
	})
}

// attempt is one request of NanoMDM's API, between it and what it works with. To NanoMDM a store that is away is a failure like
// any other, a 500 with hosts and files in its text: the one who asks is to come back, and the rest is for the log.
type attempt struct {
	http.ResponseWriter
	notifier *Notifier
	fleet    *fleet.Fleet
	away     error                 // what the store said
	stored   func(context.Context) // called when a push certificate was stored
	status   int                   // in place of a 500 that is the client's own mistake; 0: none is
}

// mistakes are the kinds of error that the one who queues a command can mend, with their statuses.
var mistakes = []struct {
	kind   error
	status int
}{
	{fleet.ErrConflict, http.StatusConflict}, // the UUID is in use
	{fleet.ErrNotFound, http.StatusNotFound},
	{fleet.ErrInvalid, http.StatusBadRequest},
}

// mistake is the status of errors that are all the client's; 0 when one of them is not.
func mistake(errs []error) (status int) {
	for _, m := range mistakes {
		if slices.ContainsFunc(errs, func(err error) bool { return errors.Is(err, m.kind) }) {
			status = cmp.Or(status, m.status)
			errs = slices.DeleteFunc(errs, func(err error) bool { return errors.Is(err, m.kind) })
		}
	}
	if len(errs) > 0 {
		return 0
	}
	return status
}

var errAway = errors.New("the store is not reachable")

func (a *attempt) told(err error) error {
	if !errors.Is(err, fleet.ErrUnavailable) {
		return err
	}
	a.away = err
	return errAway
}

// WriteHeader is the response's.
func (a *attempt) WriteHeader(status int) {
	if a.away != nil && status == http.StatusInternalServerError {
		status = http.StatusServiceUnavailable
		a.Header().Set("Retry-After", retryAfter)
	} else if a.status != 0 && status == http.StatusInternalServerError {
		status = a.status
	}
	a.ResponseWriter.WriteHeader(status)
}

// EnqueueCommand is the store's.
func (a *attempt) EnqueueCommand(ctx context.Context, ids []string, cmd *mdm.Command) (map[string]error, error) {
	failed, err := a.notifier.store.EnqueueCommand(ctx, ids, cmd)
	errs := slices.Collect(maps.Values(failed))
	if err != nil {
		errs = append(errs, err)
	}
	a.status = mistake(errs)
	for id, why := range failed {
		failed[id] = a.told(why)
	}
	if err = a.told(err); err == nil && a.away != nil &&
		!slices.ContainsFunc(ids, func(id string) bool { return failed[id] == nil }) {
		err = errAway // none has it: NanoMDM must not wait for the store once more to push
	}
	return failed, err
}

// Push is the push service's.
func (a *attempt) Push(ctx context.Context, ids []string) (map[string]*push.Response, error) {
	answers, err := a.notifier.pusher.Push(ctx, ids)
	return answers, a.told(err)
}

// StorePushCert keeps a push certificate, and lets the fleet know that pushes are possible now.
func (a *attempt) StorePushCert(ctx context.Context, pemCert, pemKey []byte) error {
	if err := a.notifier.store.StorePushCert(ctx, pemCert, pemKey); err != nil {
		return a.told(err)
	}
	a.fleet.PushReady()
	a.stored(ctx)
	return nil
}
