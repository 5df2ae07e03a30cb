package sim

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/micromdm/plist"
	"github.com/smallstep/pkcs7"
)

// What a Mac sends as Content-Type; it tells check-ins from the command channel.
const (
	typeCheckin = "application/x-apple-aspen-mdm-checkin"
	typeMDM     = "application/x-apple-aspen-mdm"
)

const maxAnswer = 16 << 20

// HTTPError is an answer other than 200.
type HTTPError struct {
	What   string // what was asked
	Status int
	Body   string // the beginning of it
}

func (e *HTTPError) Error() string {
	return fmt.Sprintf("%s: answered %d: %s", e.What, e.Status, e.Body)
}

// IsTemporary tells whether trying again later can help: the server could not be reached, or said that it is its own
// trouble (5xx) or that there is too much of ours (429).
func IsTemporary(err error) bool {
	var he *HTTPError
	if errors.As(err, &he) {
		return he.Status >= 500 || he.Status == http.StatusTooManyRequests
	}
	var ne *netError
	return errors.As(err, &ne)
}

// netError is a request that got no answer.
type netError struct {
	what string
	err  error
}

func (e *netError) Error() string { return e.what + ": " + e.err.Error() }
func (e *netError) Unwrap() error { return e.err }

type answer struct {
	header http.Header
	body   []byte
}

// request sends one request and takes only 200 for an answer.
func (m *Mac) request(ctx context.Context, what, method, url, contentType string, body []byte, identify bool) (*answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	req.Header.Set("User-Agent", "MDM/1.0")
	if identify {
		if err := m.identify(req.Header, body); err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
	}
	resp, err := m.opt.HTTP.Do(req)
	if err != nil {
		if ctx.Err() == nil {
			m.stats.Unreachable.Add(1)
		}
		return nil, &netError{what, err}
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		if ctx.Err() == nil {
			m.stats.Unreachable.Add(1)
		}
		return nil, &netError{what, err}
	}
	if resp.StatusCode == http.StatusOK {
		return &answer{resp.Header, b}, nil
	}
	he := &HTTPError{What: what, Status: resp.StatusCode, Body: strings.TrimSpace(string(b[:min(len(b), 200)]))}
	switch {
	case he.Status >= 500:
		m.stats.ServerErrors.Add(1)
	case he.Status == http.StatusUnauthorized && identify:
		m.violate("401", "%s: answered 401, which a Mac takes as the order to unenrol", what)
		m.st.Enrolled = false
	case he.Status == http.StatusNoContent:
		m.violate("204", "%s: answered 204", what)
	}
	return nil, he
}

// identify proves who the Mac is: by a detached CMS signature over the exact body, or, behind a proxy that ends TLS, by
// the header in which that proxy hands the certificate over.
func (m *Mac) identify(h http.Header, body []byte) error {
	id := m.identity
	if id == nil {
		return errors.New("there is no identity yet")
	}
	if m.opt.CertHeader != "" {
		h.Set(m.opt.CertHeader, ":"+base64.StdEncoding.EncodeToString(id.Cert.Raw)+":")
		return nil
	}
	sd, err := pkcs7.NewSignedData(body)
	if err != nil {
		return fmt.Errorf("signing: %w", err)
	}
	sd.SetDigestAlgorithm(pkcs7.OIDDigestAlgorithmSHA256)
	if err := sd.AddSigner(id.Cert, id.Key, pkcs7.SignerInfoConfig{}); err != nil {
		return fmt.Errorf("signing: %w", err)
	}
	sd.Detach()
	sig, err := sd.Finish()
	if err != nil {
		return fmt.Errorf("signing: %w", err)
	}
	h.Set("Mdm-Signature", base64.StdEncoding.EncodeToString(sig))
	return nil
}

// checkin sends a check-in message.
func (m *Mac) checkin(ctx context.Context, what string, msg any) (*answer, error) {
	return m.putPlist(ctx, what, m.st.Profile.CheckInURL, typeCheckin, msg)
}

func (m *Mac) putPlist(ctx context.Context, what, url, contentType string, msg any) (*answer, error) {
	body, err := plist.MarshalIndent(msg, "\t")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return m.request(ctx, what, http.MethodPut, url, contentType, body, true)
}

func mediaType(h http.Header) string {
	t, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil {
		return h.Get("Content-Type")
	}
	return t
}
