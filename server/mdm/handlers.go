package mdm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	nanoapi "github.com/micromdm/nanomdm/http/api"
	"github.com/micromdm/nanomdm/mdm"
	"github.com/micromdm/nanomdm/service"

	"plimsoll/server/fleet"
	"plimsoll/storage/nano"
)

// The handlers of NanoMDM's own API, for package api to put behind its tokens. Their answers are NanoMDM's.

// PushCertHandler is PUT /v1/pushcert: certificate and unencrypted key in one PEM file.
func (d *Door) PushCertHandler() http.Handler {
	return d.api(nanoapi.NewStorePushCertHandler(certStorer{d.o.Teller.store, d.o.Fleet}, nanoLog{d.log}), false)
}

// PushHandler is GET /v1/push/{ids}, mounted with its whole path.
func (d *Door) PushHandler() http.Handler {
	h := nanoapi.PushToIDsHandler(d.o.Teller.pusher, nanoLog{d.log}, nanoapi.PathIDGetter)
	return d.api(http.StripPrefix("/v1/push/", h), false)
}

// EnqueueHandler is PUT /v1/enqueue/{ids}, mounted with its whole path; ?nopush=1 only queues.
func (d *Door) EnqueueHandler() http.Handler {
	t := d.o.Teller
	h := nanoapi.RawCommandEnqueueToIDsHandler(t.store, t.pusher, nanoLog{d.log}, nanoapi.PathIDGetter)
	return d.api(http.StripPrefix("/v1/enqueue/", h), true)
}

// api reads the body first, since NanoMDM reads without a limit and answers 500 whatever is wrong with it.
func (d *Door) api(next http.Handler, isPlist bool) http.Handler {
	return d.guarded(func(w http.ResponseWriter, r *http.Request) {
		body, err := readBody(w, r, maxBody)
		if err == nil && isPlist && len(body) > 0 {
			if err = checkPlist(body); err == nil {
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
		next.ServeHTTP(w, r)
	})
}

// certStorer lets the fleet know that pushes are possible now.
type certStorer struct {
	*nano.Store
	fleet *fleet.Fleet
}

// StorePushCert keeps a push certificate.
func (s certStorer) StorePushCert(ctx context.Context, pemCert, pemKey []byte) error {
	if err := s.Store.StorePushCert(ctx, pemCert, pemKey); err != nil {
		return err
	}
	s.fleet.PushReady()
	return nil
}
