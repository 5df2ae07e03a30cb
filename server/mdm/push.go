package mdm

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/micromdm/nanomdm/mdm"
	"github.com/micromdm/nanomdm/push"
	"github.com/micromdm/nanomdm/push/nanopush"
	pushservice "github.com/micromdm/nanomdm/push/service"

	"plimsoll/server/fleet"
)

const (
	pushConns   = 2                  // connections to APNs for each push certificate
	pushTimeout = 30 * time.Second   // of one push
	pushExpiry  = 7 * 24 * time.Hour // APNs keeps the last push for a Mac that is away
)

// Push wakes Macs through APNs; the result holds an error for each id that failed. An error of its own means that nothing
// was pushed: fleet.ErrNoPush when there is no push certificate, fleet.ErrUnavailable, or that APNs cannot be reached.
func (t *Notifier) Push(ctx context.Context, ids []string) (map[string]error, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	certs, err := t.store.PushCerts(ctx)
	if err != nil {
		return nil, fmt.Errorf("push: %w", err)
	}
	if len(certs) == 0 {
		return nil, fleet.ErrNoPush
	}
	answers, err := t.pusher.Push(ctx, ids)
	if errors.Is(err, fleet.ErrUnavailable) && len(answers) == 0 {
		return nil, fmt.Errorf("push: %w", err)
	}
	failed := make(map[string]error)
	unreached := 0
	var lost error
	for _, id := range ids {
		switch a := answers[id]; {
		case a == nil && errors.Is(err, fleet.ErrNotFound):
			failed[id] = errors.New("there is no push certificate for the topic that the Mac enrolled with")
		case a == nil && err != nil:
			failed[id] = fmt.Errorf("the push could not be sent: %w", err)
		case a == nil:
			failed[id] = errors.New("the push could not be sent: another Mac has the same push token")
		case a.Err != nil:
			var reached bool
			if failed[id], reached = pushError(a); !reached {
				unreached, lost = unreached+1, a.Err
			}
		}
	}
	t.count.PushesSent.Add(int64(len(ids) - len(failed)))
	t.count.PushesFailed.Add(int64(len(failed)))
	if unreached == len(ids) {
		return nil, fmt.Errorf("APNs cannot be reached: %w", lost)
	}
	return failed, nil
}

// Certificates are the push certificates, the one stored last first.
func (t *Notifier) Certificates(ctx context.Context) ([]fleet.PushCertificate, error) {
	stored, err := t.store.PushCerts(ctx)
	certs := make([]fleet.PushCertificate, 0, len(stored))
	for _, c := range stored {
		certs = append(certs, fleet.PushCertificate{Topic: c.Topic, StoredAt: c.Stored, ExpiresAt: c.NotAfter})
	}
	return certs, err
}

// TopicOf is the push topic that a device enrolled with.
func (t *Notifier) TopicOf(ctx context.Context, id string) (string, error) {
	return t.store.Topic(ctx, id)
}

// pushError words what APNs answered for an admin; reached is false when it did not answer at all.
func pushError(a *push.Response) (err error, reached bool) { //nolint:revive // the error is the value here
	if errors.Is(a.Err, pushservice.ErrIdNotFound) {
		return errors.New("the Mac has no push token: it is not enrolled, or its enrolment is not complete"), true
	}
	var said *nanopush.JSONPushError
	if !errors.As(a.Err, &said) {
		return fmt.Errorf("APNs could not be reached: %w", a.Err), false
	}
	if text := pushReasons[said.Reason]; text != "" {
		return fmt.Errorf("%s (%s)", text, said.Reason), true
	}
	return fmt.Errorf("APNs refused the push: %.80q", said.Reason), true
}

// pushReasons are APNs' reasons, in words.
var pushReasons = map[string]string{
	"BadDeviceToken":            "APNs does not know the Mac's push token",
	"ExpiredToken":              "the Mac's push token has expired",
	"Unregistered":              "the Mac does not take pushes any more: it was erased or unenrolled",
	"DeviceTokenNotForTopic":    "the Mac enrolled with another push topic than that of the certificate",
	"TopicDisallowed":           "the push certificate may not be used for the Mac's push topic",
	"BadTopic":                  "APNs does not know the push topic",
	"MissingTopic":              "APNs misses the push topic: the push certificate is not one for MDM",
	"BadCertificate":            "APNs does not accept the push certificate",
	"BadCertificateEnvironment": "the push certificate is for another environment of APNs",
	"Forbidden":                 "APNs does not accept the push certificate",
	"TooManyRequests":           "APNs throttles pushes to this Mac",
	"InternalServerError":       "APNs has a fault",
	"ServiceUnavailable":        "APNs is not available",
	"Shutdown":                  "APNs is being restarted",
}

// clients makes one HTTP client for each push certificate.
type clients struct {
	addr  string
	roots *x509.CertPool

	mu  sync.Mutex
	all []*http.Transport
}

// make is a client that keeps to few connections: NanoMDM starts a goroutine for every push of a call, and before the first
// connection is up each of them would dial.
func (c *clients) make(cert *tls.Certificate) (*http.Client, error) {
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	tr := &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if c.addr != "" {
				addr = c.addr
			}
			return dialer.DialContext(ctx, network, addr)
		},
		TLSClientConfig:     &tls.Config{Certificates: []tls.Certificate{*cert}, RootCAs: c.roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: 10 * time.Second,
		ForceAttemptHTTP2:   true,
		HTTP2:               &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 10 * time.Second},
		MaxConnsPerHost:     pushConns,
		MaxIdleConnsPerHost: pushConns,
		IdleConnTimeout:     10 * time.Minute,
	}
	c.mu.Lock()
	for _, old := range c.all { // a new certificate came: what is idle is of no more use
		old.CloseIdleConnections()
	}
	c.all = append(c.all, tr)
	c.mu.Unlock()
	return &http.Client{Transport: plainErrors{tr}, Timeout: pushTimeout}, nil
}

func (c *clients) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, tr := range c.all {
		tr.CloseIdleConnections()
	}
}

// quiet makes providers whose errors do not name the URL, which ends with the Mac's push token.
type quiet struct{ push.PushProviderFactory }

// NewPushProvider is the factory's.
func (q quiet) NewPushProvider(cert *tls.Certificate) (push.PushProvider, error) {
	p, err := q.PushProviderFactory.NewPushProvider(cert)
	return quietProvider{p}, err
}

type quietProvider struct{ push.PushProvider }

// Push is the provider's.
func (q quietProvider) Push(ctx context.Context, pushes []*mdm.Push) (map[string]*push.Response, error) {
	answers, err := q.PushProvider.Push(ctx, pushes)
	for _, a := range answers {
		var named *url.Error
		if a != nil && errors.As(a.Err, &named) {
			a.Err = named.Err
		}
	}
	return answers, err
}

// plainErrors takes the types off a transport's errors: NanoMDM v0.9 ends the process over golang.org/x/net's GoAwayError.
type plainErrors struct{ *http.Transport }

// RoundTrip is the transport's.
func (t plainErrors) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.Transport.RoundTrip(r)
	if err != nil {
		return nil, fmt.Errorf("%v", err) //nolint:errorlint // see above
	}
	return resp, nil
}
