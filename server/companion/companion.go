// Package companion stands beside an existing NanoMDM: the listener for its -dm and -webhook-url, and the client of its API
// through which Macs are notified.
package companion

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"

	"plimsoll/server/fleet"
)

const (
	maxBody = 4 << 20 // bytes of a request (docs/api.md 2)
	// MinSecret is how many characters a secret of the listener has at least.
	MinSecret = 32

	dmPath      = "/dm/"
	webhookPath = "/webhook"
	signature   = "X-Hmac-Signature" // base64 of the HMAC-SHA256 of the body, as NanoMDM makes it
)

// Options are what a Listener is made of.
type Options struct {
	Fleet    *fleet.Fleet
	Notifier *Notifier
	// Secret is the password of requests of declarative management, WebhookSecret that of events. They differ: a Mac chooses the
	// path, and with status the body, that NanoMDM requests with the first (rules 16).
	Secret, WebhookSecret string
	// Key and WebhookKey check the bodies of requests and sign answers; empty: neither.
	Key, WebhookKey string
	// Enter is asked once a request has shown its secret and was read; nobody is let in when it returns false, else leave is called
	// at the end. nil: everybody is.
	Enter func() (leave func(), ok bool)
	Log   *slog.Logger
}

// Counters count what came since the process started. Safe for concurrent use.
type Counters struct {
	// Requests of declarative management that were served, refused, for a declaration that is not there, failed (5xx).
	Requests, Refused, Missing, Failed atomic.Int64
	// Events that were answered with 200; of those older than what is known, and none at all; refused; failed (5xx).
	Events, Dropped, Odd, EventsRefused, EventsFailed atomic.Int64
	Unawaited                                         atomic.Int64 // answers to commands that are not ours, or not awaited
	Commands, CommandsFailed                          atomic.Int64 // given to the other server; refused by it, or it was not reached
	Pushes, PushesFailed                              atomic.Int64
}

// Listener answers the other MDM server. Safe for concurrent use.
type Listener struct {
	o     Options
	log   *slog.Logger
	count *Counters
}

// New makes a Listener.
func New(o Options) (*Listener, error) {
	switch {
	case o.Fleet == nil || o.Notifier == nil || o.Log == nil:
		return nil, errors.New("companion: Fleet, Notifier and Log are needed")
	case len(o.Secret) < MinSecret || len(o.WebhookSecret) < MinSecret || o.Secret == o.WebhookSecret:
		return nil, errors.New("companion: two different secrets of at least 32 characters are needed")
	}
	if o.Enter == nil {
		o.Enter = func() (func(), bool) { return func() {}, true }
	}
	return &Listener{o: o, log: o.Log, count: &o.Notifier.count}, nil
}

// reply is an answer: of everything but 200 only the status counts.
type reply struct {
	status int
	body   []byte
}

// ServeHTTP serves the five requests of rules 16 to those who know the right secret, and nothing else to anybody. It is no mux: a
// mux redirects.
func (l *Listener) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	events := r.URL.Path == webhookPath
	var a reply
	defer func() {
		if p := recover(); p != nil {
			l.log.Error("a request of the MDM server could not be served", "panic", p)
			a = reply{status: http.StatusInternalServerError}
		}
		l.note(events, a.status)
		l.write(w, events, a)
	}()
	a = l.answer(w, r, events)
}

func (l *Listener) answer(w http.ResponseWriter, r *http.Request, events bool) reply {
	if !l.knows(r, events) {
		w.Header().Set("WWW-Authenticate", `Basic realm="plimsoll"`)
		return reply{status: http.StatusUnauthorized}
	}
	req, ok := read(r, events)
	if !ok {
		return reply{status: http.StatusBadRequest}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		if errors.As(err, new(*http.MaxBytesError)) {
			return reply{status: http.StatusRequestEntityTooLarge}
		}
		return reply{status: http.StatusBadRequest}
	}
	if key := l.key(events); key != "" && !signed(key, body, r.Header.Values(signature)) {
		return reply{status: http.StatusUnauthorized}
	}
	leave, ok := l.o.Enter()
	if !ok {
		w.Header().Set("Retry-After", "5")
		return reply{status: http.StatusServiceUnavailable}
	}
	defer leave()
	if events {
		return l.event(r.Context(), body)
	}
	return l.declarative(r.Context(), req, body)
}

// knows tells whether a request carries the secret that belongs to its path; where there is nothing, either will do. Both are
// always compared.
func (l *Listener) knows(r *http.Request, events bool) bool {
	_, password, _ := r.BasicAuth()
	dm, webhook := same(password, l.o.Secret), same(password, l.o.WebhookSecret)
	if len(r.Header.Values("Authorization")) != 1 {
		return false
	}
	switch {
	case events:
		return webhook
	case isUnder(r.URL.Path, dmPath):
		return dm
	}
	return dm || webhook
}

func isUnder(path, prefix string) bool {
	return len(path) >= len(prefix) && path[:len(prefix)] == prefix
}

// same compares in constant time, whatever the lengths.
func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

func (l *Listener) key(events bool) string {
	if events {
		return l.o.WebhookKey
	}
	return l.o.Key
}

func sign(key string, body []byte) string {
	h := hmac.New(sha256.New, []byte(key))
	_, _ = h.Write(body)
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

func signed(key string, body []byte, given []string) bool {
	return len(given) == 1 && hmac.Equal([]byte(given[0]), []byte(sign(key, body)))
}

// note counts an answer.
func (l *Listener) note(events bool, status int) {
	all, refused, failed := &l.count.Requests, &l.count.Refused, &l.count.Failed
	if events {
		all, refused, failed = &l.count.Events, &l.count.EventsRefused, &l.count.EventsFailed
	}
	switch {
	case status >= http.StatusInternalServerError:
		failed.Add(1)
	case status == http.StatusNotFound:
		l.count.Missing.Add(1)
	case status >= http.StatusBadRequest:
		refused.Add(1)
		l.log.Debug("a request to the listener of the MDM server was refused", "webhook", events, "status", status)
	default:
		all.Add(1)
	}
}

// write sends an answer, signed when there is a key.
func (l *Listener) write(w http.ResponseWriter, events bool, a reply) {
	if a.status != http.StatusOK {
		a.body = []byte(http.StatusText(a.status) + "\n")
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	} else if len(a.body) > 0 {
		w.Header().Set("Content-Type", "application/json")
	}
	if key := l.key(events); key != "" {
		w.Header().Set(signature, sign(key, a.body))
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body) // who went away needs no answer
}
