// Package mdm serves the Macs: NanoMDM embedded, check-in, the four endpoints of declarative management, enrolment, SCEP and
// pushes.
package mdm

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/micromdm/nanomdm/mdm"
	"github.com/micromdm/nanomdm/service"
	"github.com/micromdm/nanomdm/service/certauth"
	"github.com/micromdm/nanomdm/service/nanomdm"
	"golang.org/x/time/rate"

	"plimsoll/server/fleet"
	"plimsoll/server/mdm/message"
)

const (
	maxBody    = 4 << 20 // bytes of a request (docs/api.md 2)
	retryAfter = "10"    // seconds, when the server is to blame

	typeCheckin = "application/x-apple-aspen-mdm-checkin" // what tells check-ins from the command channel
)

// Options are what a Server is made of.
type Options struct {
	Notifier *Notifier
	Fleet    *fleet.Fleet
	// CertHeader is the header in which a proxy hands over the client certificate; then nothing else is read. Empty: requests are
	// signed.
	CertHeader string

	// MachineCAs sign what Macs say of themselves before they enrol (rules 15); none: Apple's.
	MachineCAs []*x509.Certificate

	URL string // base URL that Macs use
	// ListenLoopback says that only this machine can reach the server.
	ListenLoopback bool
	// ProfileIdentity signs the enrolment profile; nil: it is not signed.
	ProfileIdentity *tls.Certificate

	// Enter is asked once a request has been read, so that nobody fills the house by sending slowly; nobody is let in when it
	// returns false, else leave is called at the end. nil: everybody is.
	Enter func() (leave func(), ok bool)

	Log *slog.Logger
	Now func() time.Time // nil: time.Now
}

// Counters count what came from Macs since the process started. Safe for concurrent use.
type Counters struct {
	Messages                       atomic.Int64 // check-ins and command channel, all answers
	Refused, TooLarge, TooMany     atomic.Int64 // of those: 400 and other 4xx, 413, 429
	Failed                         atomic.Int64 // of those: 5xx
	Profiles, ProfilesRefused      atomic.Int64
	UpdatesAsked, Unverified       atomic.Int64 // at enrolment (rules 15)
	Identities, IdentitiesRefused  atomic.Int64
	PushesSent, PushesFailed, Asks atomic.Int64

	ByCause   causeCounts  // refused messages by cause, in the order of Causes
	Skewed    atomic.Int64 // messages that were signed by a clock that is wrong
	Unawaited atomic.Int64 // answers to commands that were not awaited
}

// Server answers Macs. Safe for concurrent use.
type Server struct {
	o         Options
	log       *slog.Logger
	url       string
	local     bool // listen address and host of the URL are both loopback
	sender    *sender
	limit     *limiter
	intake    intake
	strangers scepQueue
	traces    *rate.Limiter
	told      recent[traced, time.Time] // when a refusal was last written down
	chain     service.CheckinAndCommandService
	count     *Counters
}

// New makes a Server.
func New(o Options) (*Server, error) {
	if o.Notifier == nil || o.Fleet == nil || o.Fleet.Authorities() == nil || o.Log == nil {
		return nil, errors.New("mdm: Notifier, Fleet with Authorities, and Log are needed")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Enter == nil {
		o.Enter = func() (func(), bool) { return func() {}, true }
	}
	if len(o.MachineCAs) == 0 {
		ca, err := appleDeviceCA()
		if err != nil {
			return nil, err
		}
		o.MachineCAs = []*x509.Certificate{ca}
	}
	u, err := url.Parse(o.URL)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("mdm: %q is not a base URL", o.URL)
	}
	log := nanoLog{o.Log}
	sender := newSender(o.CertHeader, o.Fleet.Authorities(), o.Now)
	store := o.Notifier.store
	core := nanomdm.New(store,
		nanomdm.WithLogger(log),
		nanomdm.WithUserAuthenticate(nanomdm.NewUAService(store, false)),
		nanomdm.WithGetToken(nanomdm.NewTokenMux()),
		nanomdm.WithDeclarativeManagement(endpoints{o.Fleet}),
	)
	return &Server{
		o: o, log: o.Log, url: strings.TrimSuffix(o.URL, "/"),
		local:     o.ListenLoopback && loopback(u.Hostname()),
		sender:    sender,
		limit:     newLimiter(),
		strangers: newSCEPQueue(),
		traces:    rate.NewLimiter(tracesPerSecond, tracesPerSecond),
		told:      recent[traced, time.Time]{max: maxKnown, every: traceEvery},
		chain: certauth.New(
			&lives{core, o.Fleet, o.Notifier, sender, o.Log}, o.Notifier.associations, certauth.WithLogger(log),
		),
		count: &o.Notifier.count,
	}, nil
}

// Counters are the server's own.
func (d *Server) Counters() *Counters { return d.count }

// Mount adds the Macs' routes (docs/api.md 2).
func (d *Server) Mount(mux *http.ServeMux) {
	mux.Handle("/mdm", d.MDM())
	mux.Handle("/scep", d.SCEP())
	mux.Handle("/enroll", d.Enroll())
}

// MDM is the handler of check-ins and of the command channel.
func (d *Server) MDM() http.Handler { return d.guarded(d.serveMDM) }

// guarded keeps a panic inside: what one Mac sends must not end the process, nor its connection without an answer.
func (d *Server) guarded(serve http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if p := recover(); p != nil {
				d.log.Error("a request could not be served", "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
				refuse(w, http.StatusInternalServerError)
			}
		}()
		serve(w, r)
	})
}

func (d *Server) serveMDM(w http.ResponseWriter, r *http.Request) {
	d.count.Messages.Add(1)
	v := &visit{CheckinAndCommandService: d.chain}
	answer, err := d.answer(w, r, v)
	status := http.StatusOK
	if err != nil {
		status = statusOf(err)
		d.note(r.Context(), v.id, status, err)
		if status < 500 {
			d.refused(r.Context(), v, v.cert, status, err)
		}
		refuse(w, status)
		return
	}
	switch {
	case len(answer) == 0:
	case answer[0] == '{':
		w.Header().Set("Content-Type", "application/json")
	default:
		w.Header().Set("Content-Type", "application/xml")
	}
	w.WriteHeader(status)
	_, _ = w.Write(answer) // the Mac went away: it asks again
}

// answer authenticates and answers one message.
func (d *Server) answer(w http.ResponseWriter, r *http.Request, v *visit) ([]byte, error) {
	if r.Method != http.MethodPut && r.Method != http.MethodPost {
		w.Header().Set("Allow", "PUT, POST")
		return nil, service.NewHTTPStatusError(http.StatusMethodNotAllowed, fmt.Errorf("the method is %s", r.Method))
	}
	if err := checkLength(w, r, maxBody); err != nil {
		return nil, err
	}
	by, err := d.sender.certificate(r.Context(), r.Header)
	switch {
	case errors.Is(err, fleet.ErrUnavailable):
		return nil, err
	case err != nil:
		return nil, badRequest(err)
	}
	v.cert = by.Cert
	parcel, err := d.intake.begin(fingerprintOf(by.Cert))
	if err != nil {
		return nil, err
	}
	defer parcel.end()
	body, err := parcel.read(w, r, maxBody)
	if err != nil {
		return nil, err
	}
	leave, ok := d.o.Enter()
	if !ok {
		return nil, errBusy
	}
	defer leave()
	if err := by.Verify(body); err != nil {
		return nil, badRequest(&refusal{causeSignature, nil, fmt.Errorf("verify the Mdm-Signature: %w", err)})
	}
	if !d.limit.allow(fingerprintOf(by.Cert), d.o.Now()) {
		return nil, service.NewHTTPStatusError(http.StatusTooManyRequests, errTooMany)
	}
	body, err = serve(v, mdm.NewRequestWithContext(r.Context(), by.Cert), r.Header.Get("Content-Type"), body)
	d.skewed(by, v.id)
	if err != nil && v.id == "" { // no service saw it: it could not be decoded, or says not whose it is
		return nil, badRequest(err)
	}
	return body, err
}

// serve reads a message and has it answered.
func serve(v *visit, r *mdm.Request, contentType string, body []byte) ([]byte, error) {
	isCheckin := strings.HasPrefix(contentType, typeCheckin)
	if isCheckin {
		if m := readPlainPlist(body); m != nil {
			answer, err := v.DeclarativeManagement(r, m)
			if err != nil {
				err = fmt.Errorf("declarativemanagement service: %w", err) // as service.CheckinRequest says it
			}
			return answer, err
		}
	}
	if err := message.Check(body); err != nil {
		return nil, err
	}
	if isCheckin {
		return service.CheckinRequest(v, r, body)
	}
	return service.CommandAndReportResultsRequest(v, r, body)
}

var (
	errTooMany = fmt.Errorf("the Mac sends more than %d requests a second", macRate)
	errBusy    = service.NewHTTPStatusError(http.StatusServiceUnavailable, errors.New("too much is in flight"))
)

func tooLarge(err error) error {
	return service.NewHTTPStatusError(http.StatusRequestEntityTooLarge, err)
}

// checkLength refuses a body that is announced as larger than limit.
func checkLength(w http.ResponseWriter, r *http.Request, limit int64) error {
	if r.ContentLength <= limit {
		return nil
	}
	w.Header().Set("Connection", "close") // the rest is not read
	return tooLarge(fmt.Errorf("the body has %d bytes", r.ContentLength))
}

// readBody reads at most limit bytes, however they are announced.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if err := checkLength(w, r, limit); err != nil {
		return nil, err
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err != nil {
		return nil, readError(err)
	}
	return body, nil
}

// statusOf is the one table from errors to what a Mac is answered. 401 is never among them: a Mac takes it as the order to
// unenrol; nor is 404, but for a declaration that is not in the manifest.
func statusOf(err error) int {
	var own *service.HTTPStatusError
	switch {
	case errors.As(err, &own) && own.Status != http.StatusUnauthorized:
		return own.Status
	case own != nil,
		errors.Is(err, certauth.ErrNoCertAssoc), errors.Is(err, certauth.ErrNoCertReuse), errors.Is(err, certauth.ErrMissingCert),
		errors.Is(err, fleet.ErrNotFound), errors.Is(err, fleet.ErrInvalid), errors.Is(err, fleet.ErrForbidden):
		return http.StatusBadRequest
	}
	return http.StatusServiceUnavailable
}

// note counts and logs a message that was not taken.
func (d *Server) note(ctx context.Context, id string, status int, err error) {
	level := slog.LevelInfo
	switch {
	case status == http.StatusRequestEntityTooLarge:
		d.count.TooLarge.Add(1)
	case status == http.StatusTooManyRequests:
		d.count.TooMany.Add(1)
	case status < 500:
		d.count.Refused.Add(1)
	default:
		d.count.Failed.Add(1)
		if level = slog.LevelWarn; ctx.Err() != nil {
			level = slog.LevelDebug // the Mac went away
		}
	}
	d.log.Log(ctx, level, "a Mac's message was refused", "mac", clip(id), "status", status, "error", clip(wording(err)))
}

// wording is an error's text without what the Mac sent, where that may be a secret: NanoMDM's decoder puts the whole message
// into it, and the property list's the value that it could not take.
func wording(err error) string {
	var unread *mdm.ParseError
	if !errors.As(err, &unread) {
		return err.Error()
	}
	var syntax *xml.SyntaxError
	var encoding base64.CorruptInputError
	switch {
	case errors.As(unread.Err, &syntax), errors.As(unread.Err, &encoding), errors.Is(unread.Err, mdm.ErrUnrecognizedMessageType):
		return "decode the message: " + unread.Err.Error()
	}
	return fmt.Sprintf("decode the message: a value in it is not of the kind that belongs there (%T)", unread.Err)
}

// refuse answers with a status, in plain text and without reasons: they are for the log.
func refuse(w http.ResponseWriter, status int) {
	refuseWith(w, status, strings.ToLower(http.StatusText(status)))
}

func refuseWith(w http.ResponseWriter, status int, text string) {
	switch status {
	case http.StatusTooManyRequests:
		w.Header().Set("Retry-After", "1")
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", retryAfter)
	}
	http.Error(w, text, status)
}
