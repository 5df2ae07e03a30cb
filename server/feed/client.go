package feed

import (
	"crypto/tls"
	"crypto/x509"
	_ "embed"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Apple's feed is signed by this root, which the usual bundles lack.
//
//go:embed AppleRootCA.pem
var appleRootPEM []byte

const appleHost = "gdmf.apple.com"

func isApple(host string) bool {
	return strings.EqualFold(strings.TrimSuffix(host, "."), appleHost)
}

// byHost trusts Apple's root, and nothing else, for Apple's host, and never for another one;
// a redirect cannot change that.
type byHost struct{ apple, other http.RoundTripper }

func (t byHost) RoundTrip(r *http.Request) (*http.Response, error) {
	if isApple(r.URL.Hostname()) {
		return t.apple.RoundTrip(r)
	}
	return t.other.RoundTrip(r)
}

func newClient(o Options, secure bool) (*http.Client, error) {
	apple := x509.NewCertPool()
	if !apple.AppendCertsFromPEM(appleRootPEM) {
		return nil, errors.New("feed: Apple's root certificate cannot be read")
	}
	var other *x509.CertPool // nil is the system's
	if len(o.Roots) > 0 {
		var err error
		if other, err = x509.SystemCertPool(); err != nil {
			return nil, fmt.Errorf("feed: the system's root certificates: %w", err)
		}
		for _, c := range o.Roots {
			other.AddCert(c)
		}
	}
	transport := func(roots *x509.CertPool) *http.Transport {
		return &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            o.dial,
			TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:    20 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
			DisableKeepAlives:      true, // one request a day
		}
	}
	return &http.Client{
		Transport: byHost{transport(apple), transport(other)},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > 5 {
				return errors.New("more than 5 redirects")
			}
			if r.URL.Scheme != "https" && (secure || r.URL.Scheme != "http") {
				return fmt.Errorf("redirected from https to %s", r.URL.Redacted())
			}
			if isApple(r.URL.Hostname()) && r.URL.Scheme != "https" {
				return errors.New("redirected to Apple without https")
			}
			return nil
		},
	}, nil
}
