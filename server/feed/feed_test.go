package feed

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const sample = `{"PublicAssetSets":{"macOS":[]},"AssetSets":{"macOS":[]}}`

func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func source(t *testing.T, spec string, o Options) *Source {
	t.Helper()
	s, err := New(spec, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func trusting(s *httptest.Server) Options {
	return Options{Roots: []*x509.Certificate{s.Certificate()}}
}

// The carried root is Apple's: its fingerprint is the one that Apple publishes.
func TestAppleRoot(t *testing.T) {
	block, rest := pem.Decode(appleRootPEM)
	if block == nil || len(bytes.TrimSpace(rest)) != 0 {
		t.Fatal("not one PEM block")
	}
	sum := sha256.Sum256(block.Bytes)
	if got := strings.ToUpper(hex.EncodeToString(sum[:])); got != "B0B1730ECBC7FF4505142C49F1295E6EDA6BCAED7E2C68C5BE91B5A11001F024" {
		t.Errorf("fingerprint %s", got)
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil || c.Subject.CommonName != "Apple Root CA" || !c.IsCA {
		t.Errorf("%v, %v", c.Subject, err)
	}
}

func TestFetchURL(t *testing.T) {
	var asked http.Header
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked = r.Header.Clone()
		w.Header().Set("ETag", `"one"`)
		w.Header().Set("Last-Modified", "Sat, 22 Aug 2026 17:26:00 GMT")
		if r.Header.Get("If-None-Match") == `"one"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = io.WriteString(w, sample)
	})
	src := source(t, s.URL+"/v2/pmv", trusting(s))
	if !src.IsURL() || src.String() != s.URL+"/v2/pmv" {
		t.Errorf("%s", src)
	}
	body, v, same, err := src.Fetch(t.Context(), Validators{})
	if err != nil || same || string(body) != sample || v.ETag != `"one"` || v.LastModified == "" {
		t.Fatalf("%q, %+v, %v, %v", body, v, same, err)
	}
	if asked.Get("If-None-Match") != "" || asked.Get("If-Modified-Since") != "" || asked.Get("User-Agent") != "plimsoll" {
		t.Errorf("asked with %v", asked)
	}
	body, again, same, err := src.Fetch(t.Context(), v)
	if err != nil || !same || body != nil || again != v {
		t.Errorf("%q, %+v, %v, %v", body, again, same, err)
	}
	if asked.Get("If-Modified-Since") != v.LastModified {
		t.Errorf("asked with %v", asked)
	}
	// Validators of another source are no use here.
	v.From = AppleURL
	if _, _, same, err = src.Fetch(t.Context(), v); err != nil || same || asked.Get("If-None-Match") != "" {
		t.Errorf("%v, %v", same, err)
	}
}

func TestFetchGzip(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		n := 0
		if r.URL.Path == "/bomb" {
			n = 4 << 20
		}
		_, _ = io.WriteString(z, sample+strings.Repeat(" ", n))
		_ = z.Close()
	})
	o := trusting(s)
	o.MaxSize = 1 << 20
	if body, _, _, err := source(t, s.URL, o).Fetch(t.Context(), Validators{}); err != nil || string(body) != sample {
		t.Errorf("%q, %v", body, err)
	}
	if _, _, _, err := source(t, s.URL+"/bomb", o).Fetch(t.Context(), Validators{}); err == nil || !strings.Contains(err.Error(), "bytes allowed") {
		t.Errorf("a small answer that unpacks to 4 MiB: %v", err)
	}
}

func TestFetchFails(t *testing.T) {
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, sample) }))
	t.Cleanup(plain.Close)
	answers := map[string]http.HandlerFunc{
		"500":   func(w http.ResponseWriter, _ *http.Request) { http.Error(w, sample, 500) },
		"404":   http.NotFound,
		"304":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(304) },
		"204":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) },
		"empty": func(http.ResponseWriter, *http.Request) {},
		"html": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, "\n<!DOCTYPE html><title>Log in</title>")
		},
		"array": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "[]") },
		"truncated": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100000")
			_, _ = io.WriteString(w, sample)
		},
		"cut": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, sample)
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		},
		"huge": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(1<<40))
			_, _ = io.WriteString(w, "{")
		},
		"endless": func(w http.ResponseWriter, _ *http.Request) {
			for {
				if _, err := w.Write(bytes.Repeat([]byte("{"), 64<<10)); err != nil {
					return
				}
			}
		},
		"down":  func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, plain.URL, 302) },
		"round": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/round", 302) },
		"file": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "file:///etc/passwd")
			w.WriteHeader(302)
		},
		"fine":  func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, sample) },
		"moved": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/fine", 301) },
	}
	s := serve(t, func(w http.ResponseWriter, r *http.Request) { answers[strings.Trim(r.URL.Path, "/")](w, r) })
	for path, want := range map[string]string{
		"500":       "500 Internal Server Error",
		"404":       "404 Not Found",
		"304":       "304 Not Modified", // although nothing was asked for that could be unmodified
		"204":       "204 No Content",
		"empty":     "it is empty",
		"html":      `it is HTML or XML, not JSON: is a proxy or a login page in between? (Content-Type "text/html")`,
		"array":     "it is not a JSON object",
		"truncated": "before its end",
		"cut":       "before its end",
		"huge":      "1099511627776 bytes",
		"endless":   "bytes allowed",
		"down":      "redirected from https to http://",
		"round":     "more than 5 redirects",
		"file":      "redirected from https to file:",
		"fine":      "",
		"moved":     "",
	} {
		t.Run(path, func(t *testing.T) {
			o := trusting(s)
			o.MaxSize = 1 << 20
			body, v, same, err := source(t, s.URL+"/"+path, o).Fetch(t.Context(), Validators{})
			if want == "" {
				if err != nil || string(body) != sample {
					t.Errorf("%q, %v", body, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "fetch "+s.URL) {
				t.Errorf("got  %v\nwant %s", err, want)
			}
			if body != nil || same || v != (Validators{From: s.URL + "/" + path}) {
				t.Errorf("%d bytes, %v, %v", len(body), same, v)
			}
		})
	}
	// From http, both http and https may follow.
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, s.URL+"/fine", 302) }))
	t.Cleanup(up.Close)
	if body, _, _, err := source(t, up.URL, trusting(s)).Fetch(t.Context(), Validators{}); err != nil || string(body) != sample {
		t.Errorf("%q, %v", body, err)
	}
}

// A fetch ends with its context, whether the server is silent at first or in the middle.
func TestFetchSlow(t *testing.T) {
	started := make(chan struct{}, 1)
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/middle" {
			_, _ = io.WriteString(w, "{")
			_ = http.NewResponseController(w).Flush()
		}
		started <- struct{}{}
		<-r.Context().Done()
	})
	for _, path := range []string{"/silent", "/middle"} {
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-started
			cancel()
		}()
		if _, _, _, err := source(t, s.URL+path, trusting(s)).Fetch(ctx, Validators{}); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", path, err)
		}
	}
	o := trusting(s)
	o.Timeout = time.Millisecond
	if _, _, _, err := source(t, s.URL+"/silent", o).Fetch(t.Context(), Validators{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("timeout: %v", err)
	}
}

// A fetch whose context has ended asks nobody, and still names its source, without the password.
func TestFetchNamesItsSource(t *testing.T) {
	asked := 0
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { asked++; _, _ = io.WriteString(w, sample) })
	spec := strings.Replace(s.URL, "://", "://u:secret@", 1)
	src := source(t, spec, trusting(s))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	want := Validators{From: strings.Replace(s.URL, "://", "://u:xxxxx@", 1)}
	if body, v, same, err := src.Fetch(ended, Validators{}); body != nil || v != want || same || !errors.Is(err, context.Canceled) || asked != 0 {
		t.Errorf("%q, %+v, %v, %v, asked %d times", body, v, same, err, asked)
	}
	if _, v, _, err := src.Fetch(t.Context(), Validators{}); v != want || err != nil || asked != 1 {
		t.Errorf("%+v, %v, asked %d times", v, err, asked)
	}
	path := filepath.Join(t.TempDir(), "pmv.json")
	write(t, path, sample, start)
	src = source(t, path, Options{})
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if body, v, same, err := src.Fetch(ended, Validators{}); body != nil || v != (Validators{From: path}) || same || !errors.Is(err, context.Canceled) {
		t.Errorf("%q, %+v, %v, %v", body, v, same, err)
	}
}

// Who may say what Apple released: Apple's root for Apple's host, and nothing else there.
func TestTrust(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, sample) })
	here := func(o Options) Options {
		o.dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, s.Listener.Addr().String())
		}
		return o
	}
	tests := []struct {
		name, url string
		options   Options
		ok        bool
	}{
		{"a root given for this site", "https://example.com/feed", trusting(s), true},
		{"a root nobody gave", "https://example.com/feed", Options{}, false},
		{"another host than the certificate's", "https://feed.invalid/feed", trusting(s), false},
		{"Apple, with a root of this site", AppleURL, trusting(s), false},
		{"Apple, with nothing", AppleURL, Options{}, false},
		{"Apple, written otherwise", "https://GDMF.apple.com./v2/pmv", trusting(s), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			body, _, _, err := source(t, tt.url, here(tt.options)).Fetch(t.Context(), Validators{})
			if (err == nil) != tt.ok || tt.ok != (string(body) == sample) {
				t.Errorf("%v", err)
			}
			if !tt.ok && !strings.Contains(err.Error(), "x509: ") && !strings.Contains(err.Error(), "certificate") {
				t.Errorf("the reason is not the certificate: %v", err)
			}
		})
	}
}

// For Apple's host the pool is exactly the carried root, so another chain of trust is not even considered.
func TestAppleTrustIsTheCarriedRoot(t *testing.T) {
	s := serve(t, func(http.ResponseWriter, *http.Request) {})
	c, err := newClient(trusting(s), true)
	if err != nil {
		t.Fatal(err)
	}
	only := x509.NewCertPool()
	only.AppendCertsFromPEM(appleRootPEM)
	trust := c.Transport.(byHost)
	apple, other := trust.apple.(*http.Transport).TLSClientConfig, trust.other.(*http.Transport).TLSClientConfig
	if !apple.RootCAs.Equal(only) || apple.InsecureSkipVerify {
		t.Error("Apple's host is trusted by more than Apple's root")
	}
	if other.RootCAs.Equal(only) || other.InsecureSkipVerify {
		t.Error("other hosts are trusted by Apple's root alone")
	}
	for host, want := range map[string]bool{"gdmf.apple.com": true, "GDMF.Apple.Com": true, "gdmf.apple.com.": true, "apple.com": false, "gdmf.apple.com.example.com": false, "xgdmf.apple.com": false} {
		if isApple(host) != want {
			t.Errorf("%s: %v", host, !want)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for spec, want := range map[string]string{
		"":                             "no URL, file or folder",
		"ftp://example.com/feed":       "neither http nor https",
		"https://":                     "names no host",
		"https://exa mple.com/":        "invalid character",
		"http://gdmf.apple.com/v2/pmv": "must be https",
		"/nowhere/at/all.json":         "no such file",
	} {
		if _, err := New(spec, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", spec, err, want)
		}
	}
	// No error repeats a password, not even one that stands where a port could.
	for spec, want := range map[string]string{
		"https://u:secret@example.com:port/x":   `invalid port ":port"`,
		"https://u:secret@exa mple.com/":        "invalid character",
		"https://u:secret/more@example.com/x":   "percent-encoded",
		"https://u:%secret@example.com/x":       "percent-encoded",
		"https://u:secret more@example.com/x":   "percent-encoded",
		"https://u:secret@[::1/x":               "missing ']'",
		"ftp://u:secret@example.com/feed":       `"ftp" is neither`,
		"u:secret@example.com://feed":           `"u" is neither`,
		"https://u:secret@/feed":                "names no host",
		"http://u:secret@gdmf.apple.com/v2/pmv": "must be https",
		"https://u:secret@example.com\x7f/x":    "control character",
	} {
		if _, err := New(spec, Options{}); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "sec") {
			t.Errorf("%q: %v, want %q and no password", spec, err, want)
		}
	}
	s := source(t, "https://user:secret@example.com/feed", Options{})
	if strings.Contains(s.String(), "secret") {
		t.Errorf("%s names a password", s)
	}
}
