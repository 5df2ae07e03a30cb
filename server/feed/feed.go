// Package feed gets the bytes of a release feed from a URL, a file or a folder.
package feed

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// AppleURL is Apple's feed. Apple asks for at most one fetch a day.
const AppleURL = "https://gdmf.apple.com/v2/pmv"

// The limits that hold when Options names no others. Apple's feed has about 70 kB, SOFA's about 500 kB.
const (
	DefaultMaxSize = 16 << 20
	DefaultTimeout = 60 * time.Second
)

// Options are what differs between uses; the zero value is right for production.
type Options struct {
	// Roots are trusted beside the system's, for every host but Apple's, whose root the program carries.
	Roots []*x509.Certificate
	// MaxSize is the most bytes that a feed may have, after decompression.
	MaxSize int64
	// Timeout is for a whole fetch, redirects and body included.
	Timeout time.Duration

	dial func(ctx context.Context, network, addr string) (net.Conn, error) // for tests: where hosts really are
}

// Validators tell whether a source has changed since it was fetched. They belong to one source: those of
// another are ignored. They may be stored; the zero value fetches in any case.
type Validators struct {
	From         string `json:"from,omitempty"` // the source
	ETag         string `json:"etag,omitempty"`
	LastModified string `json:"last_modified,omitempty"`
	File         string `json:"file,omitempty"` // name, size and modification time
}

// Source is one place to get a feed from. It is safe for concurrent use.
type Source struct {
	path    string // of a file or folder
	url     *url.URL
	client  *http.Client
	maxSize int64
	timeout time.Duration
}

// New takes an http or https URL, or the path of a file or folder, which must exist. Apple's host is reached over https only.
func New(spec string, o Options) (*Source, error) {
	s := &Source{maxSize: o.MaxSize, timeout: o.Timeout}
	if s.maxSize <= 0 {
		s.maxSize = DefaultMaxSize
	}
	if s.timeout <= 0 {
		s.timeout = DefaultTimeout
	}
	if spec == "" {
		return nil, errors.New("feed: no URL, file or folder is named")
	}
	if !strings.Contains(spec, "://") {
		if _, err := os.Stat(spec); err != nil {
			return nil, fmt.Errorf("feed: %w", err)
		}
		s.path = spec
		return s, nil
	}
	u, err := url.Parse(spec)
	if err != nil {
		return nil, fmt.Errorf("feed: the URL cannot be read: %w", withoutPassword(spec))
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("feed: %q is neither http nor https, nor a file", u.Scheme)
	case u.Hostname() == "":
		return nil, fmt.Errorf("feed: %s names no host", u.Redacted())
	case u.Scheme == "http" && isApple(u.Hostname()):
		return nil, fmt.Errorf(
			"feed: %s must be https: what Apple is said to have released is what Macs are made to install",
			u.Redacted(),
		)
	}
	s.url = u
	if s.client, err = newClient(o, u.Scheme == "https"); err != nil {
		return nil, err
	}
	return s, nil
}

// withoutPassword is why url.Parse refuses a URL, with nothing of what stands before its last @: as a whole the error repeats
// the URL, and its reason may quote a password as a port.
func withoutPassword(spec string) error {
	scheme, rest, _ := strings.Cut(spec, "://")
	if _, err := url.Parse(scheme + "://" + rest[strings.LastIndex(rest, "@")+1:]); err != nil {
		return reason(err)
	}
	return errors.New("what stands before the @ must be percent-encoded")
}

// reason is what went wrong, without the method and the URL that *url.Error repeats.
func reason(err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		return ue.Err
	}
	return err
}

// IsURL tells a URL, which must not be asked often, from a file or folder, which may be.
func (s *Source) IsURL() bool { return s.url != nil }

// String names the source, without a password.
func (s *Source) String() string {
	if s.url != nil {
		return s.url.Redacted()
	}
	return s.path
}

// Fetch gets the feed. With the validators of an earlier fetch it may answer notModified, without a body.
// The body begins like a JSON object; nothing else about it is checked. An error names the source, and v.From does
// whatever became of the fetch: with a context that has ended already it is all that is answered.
// Validators of a body that was refused must not be given back, or the refusal is forgotten.
func (s *Source) Fetch(ctx context.Context, prev Validators) (body []byte, v Validators, notModified bool, err error) {
	if prev.From != s.String() {
		prev = Validators{}
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	switch err = ctx.Err(); {
	case err != nil:
	case s.IsURL():
		body, v, err = s.get(ctx, prev)
	default:
		body, v, err = s.read(ctx, prev)
	}
	switch {
	case errors.Is(err, errNotModified):
		return nil, prev, true, nil
	case err != nil:
		return nil, Validators{From: s.String()}, false, fmt.Errorf("fetch %s: %w", s, err)
	}
	v.From = s.String()
	return body, v, false, nil
}

var errNotModified = errors.New("not modified")

// ErrContent is what errors.Is finds in an error about what a source holds, rather than about reaching it.
var ErrContent = errors.New("the content cannot be used")

// content is a sentence about what a source holds.
type content string

func (c content) Error() string        { return string(c) }
func (c content) Is(target error) bool { return target == ErrContent }

func (s *Source) get(ctx context.Context, prev Validators) ([]byte, Validators, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url.String(), nil)
	if err != nil {
		return nil, Validators{}, reason(err)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "plimsoll")
	if prev.ETag != "" {
		req.Header.Set("If-None-Match", prev.ETag)
	}
	if prev.LastModified != "" {
		req.Header.Set("If-Modified-Since", prev.LastModified)
	}
	res, err := s.client.Do(req)
	if err != nil {
		return nil, Validators{}, reason(err) // Fetch names the source already
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode == http.StatusNotModified && (prev.ETag != "" || prev.LastModified != "") {
		return nil, Validators{}, errNotModified
	}
	if res.StatusCode != http.StatusOK {
		return nil, Validators{}, fmt.Errorf("the server answered %s", res.Status)
	}
	if res.ContentLength > s.maxSize {
		return nil, Validators{}, content(
			fmt.Sprintf("the answer has %d bytes, more than the %d allowed", res.ContentLength, s.maxSize),
		)
	}
	body, err := s.readAll(res.Body)
	if err == nil {
		err = ctx.Err() // what was read while the fetch was given up may have been cut where it looks whole
	}
	if err != nil {
		return nil, Validators{}, err
	}
	if err := sane(body); err != nil {
		return nil, Validators{}, fmt.Errorf("%w (Content-Type %.60q)", err, res.Header.Get("Content-Type"))
	}
	return body, Validators{ETag: sendable(res.Header.Get("ETag")), LastModified: sendable(res.Header.Get("Last-Modified"))}, nil
}

// sendable drops a validator that could not be sent back.
func sendable(s string) string {
	if len(s) > 1024 || strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c > '~' }) {
		return ""
	}
	return s
}

func (s *Source) readAll(r io.Reader) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r, s.maxSize+1))
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, fmt.Errorf("the answer ended after %d bytes, before its end: %w", len(body), err)
	case err != nil:
		return nil, err
	case int64(len(body)) > s.maxSize:
		return nil, content(fmt.Sprintf("it has more than the %d bytes allowed", s.maxSize))
	}
	return body, nil
}

// sane tells a JSON object from what proxies and login pages answer with 200.
func sane(body []byte) error {
	begin := bytes.TrimSpace(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")))
	switch {
	case len(begin) == 0:
		return content("it is empty")
	case begin[0] == '<':
		return content("it is HTML or XML, not JSON: is a proxy or a login page in between?")
	case begin[0] != '{':
		return content("it is not a JSON object")
	}
	return nil
}
