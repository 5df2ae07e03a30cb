// Package app is the process: its options, wiring, listeners, start and stop.
package app

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"plimsoll/server/feed"
	"plimsoll/server/fleet"
)

// Options are the flags of serve (docs/api.md 1). The tags are kong's.
type Options struct {
	Listen           string   `default:"127.0.0.1:8080"   env:"PLIMSOLL_LISTEN"           help:"Address to serve on."`
	URL              string   `                           env:"PLIMSOLL_URL"              help:"Base URL that Macs and browsers use. Default: http:// and the listen address."                                                                       name:"url"`
	Store            string   `default:"bolt:plimsoll.db" env:"PLIMSOLL_STORE"            help:"bolt:PATH, redis://…, rediss://…, redis+sentinel://…?master_name=…, redis+cluster://…; wait=N: a write counts when N replicas have it."`
	Data             string   `                           env:"PLIMSOLL_DATA"             help:"Folder with replacements for generated secrets (ca.pem, ca.key)."`
	DeviceCA         []string `                           env:"PLIMSOLL_DEVICE_CA"        help:"PEM file of a further CA whose device identity certificates are trusted. May repeat."                                                                name:"device-ca"        sep:"none"`
	CertHeader       string   `                           env:"PLIMSOLL_CERT_HEADER"      help:"Header in which a TLS-terminating proxy hands over the client certificate; then only that header is read, and the proxy must strip it from clients."`
	Catalog          string   `default:"${catalog}"       env:"PLIMSOLL_CATALOG"          help:"URL, file, or folder (newest file) with Apple's release feed; none keeps the built-in snapshot."`
	Exploited        string   `                           env:"PLIMSOLL_EXPLOITED"        help:"URL or file of SOFA's macOS feed."`
	TimeZone         string   `default:"UTC"              env:"PLIMSOLL_TIME_ZONE"        help:"Zone in which zone-less deadlines are read for overdue."`
	AdminToken       string   `                           env:"PLIMSOLL_ADMIN_TOKEN"      help:"An admin token, valid while the flag is given. Without it and without any token one is generated and printed once."                                                                     secret:""`
	ProfileIdentity  string   `                           env:"PLIMSOLL_PROFILE_IDENTITY" help:"PEM with certificate and key that signs the enrolment profile."`
	PushRate         float64  `default:"50"               env:"PLIMSOLL_PUSH_RATE"        help:"Pushes a second at most."`
	KeepReports      int      `default:"20"               env:"PLIMSOLL_KEEP_REPORTS"     help:"Raw status reports kept of each Mac."`
	KeepEvents       string   `default:"90d"              env:"PLIMSOLL_KEEP_EVENTS"      help:"How long events and command results are kept."`
	KeepPatching     string   `default:"1200d"            env:"PLIMSOLL_KEEP_PATCHING"    help:"How long what patch reports need is kept."`
	MaxExemption     string   `default:"90d"              env:"PLIMSOLL_MAX_EXEMPTION"    help:"Longest exemption of one Mac."`
	KeepHistory      string   `default:"400d"             env:"PLIMSOLL_KEEP_HISTORY"     help:"How long history and manifests are kept."`
	BackupRecipient  []string `                           env:"PLIMSOLL_BACKUP_RECIPIENT" help:"A public key of age (age1…): every backup is encrypted to it. May repeat."                                                                           name:"backup-recipient" sep:"none"`
	CompanionOptions `embed:""`
	EnrolmentOptions `embed:""`

	LogLevel  string `default:"info"             env:"PLIMSOLL_LOG_LEVEL"        help:"debug, info, warn or error."                                                                                                                                                                      enum:"debug,info,warn,error"`
	LogFormat string `default:"text"             env:"PLIMSOLL_LOG_FORMAT"       help:"text, or json for machines."                                                                                                                                                                      enum:"text,json"`
}

// BeforeReset is kong's hook before it reads the environment: a variable that is empty counts as one that is not set.
func (Options) BeforeReset() error {
	for _, v := range os.Environ() {
		if name, value, _ := strings.Cut(v, "="); value == "" && strings.HasPrefix(name, "PLIMSOLL_") {
			if err := os.Unsetenv(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// Demo are the options of a server that shows itself: every flag at its default, whatever the environment says, the catalogue
// that is built in, and nothing logged but trouble.
func Demo(listen, store string) Options {
	return Options{
		Listen: listen, Store: store, Catalog: "none", TimeZone: "UTC", PushRate: 50, KeepReports: 20, KeepEvents: "90d", KeepHistory: "400d",
		KeepPatching: "1200d", MaxExemption: "90d",
		LogLevel: "warn", LogFormat: "text",
	}
}

// DefaultCatalog is Apple's feed.
const DefaultCatalog = feed.AppleURL

// EnrolmentOptions are those of how Macs enrol.
type EnrolmentOptions struct {
	MachineCA string `env:"PLIMSOLL_MACHINE_CA" help:"PEM file in place of Apple's Device CA, for tests." name:"machine-ca"`
}

// BadOption is a wrong flag or value: exit status 2.
type BadOption struct {
	Flag string
	Err  error
}

func (e *BadOption) Error() string { return fmt.Sprintf("--%s: %v", e.Flag, e.Err) }

func (e *BadOption) Unwrap() error { return e.Err }

func bad(flag, format string, a ...any) error {
	return &BadOption{Flag: flag, Err: fmt.Errorf(format, a...)}
}

// settings are the options, checked and read.
type settings struct {
	Options
	url          *url.URL
	zone         *time.Location
	deviceCAs    []*x509.Certificate
	machineCAs   []*x509.Certificate
	keepEvents   time.Duration
	keepHistory  time.Duration
	keepPatching time.Duration
	maxExemption time.Duration
	backupTo     fleet.Encryption
}

// check reads the values of the options; every fault is a *BadOption.
func (o Options) check() (*settings, error) {
	s := &settings{Options: o}
	host, port, err := net.SplitHostPort(o.Listen)
	if err != nil {
		return nil, bad("listen", "%q is not HOST:PORT", o.Listen)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return nil, bad("listen", "%q has no port from 0 to 65535", o.Listen)
	}
	if s.URL == "" {
		if host == "" || host == "0.0.0.0" || host == "::" {
			host = "localhost"
		}
		s.url = &url.URL{Scheme: "http", Host: net.JoinHostPort(host, port)}
	} else if s.url, err = baseURL(s.URL); err != nil {
		return nil, bad("url", "%w", err)
	}
	s.URL = s.url.String()
	if s.zone, err = time.LoadLocation(o.TimeZone); err != nil || o.TimeZone == "" {
		return nil, bad("time-zone", "%q is not a time zone such as UTC or Europe/Berlin", o.TimeZone)
	}
	for _, k := range []struct {
		flag, text string
		into       *time.Duration
	}{
		{"keep-events", o.KeepEvents, &s.keepEvents},
		{"keep-patching", o.KeepPatching, &s.keepPatching},
		{"keep-history", o.KeepHistory, &s.keepHistory},
		{"max-exemption", o.MaxExemption, &s.maxExemption},
	} {
		if *k.into, err = span(k.text); err != nil {
			return nil, bad(k.flag, "%w", err)
		}
	}
	if s.backupTo, err = fleet.Recipients(o.BackupRecipient); err != nil {
		return nil, bad("backup-recipient", "%w", err)
	}
	if o.KeepReports < 1 || o.KeepReports > 1000 {
		return nil, bad("keep-reports", "must be from 1 to 1000")
	}
	if !(o.PushRate > 0 && o.PushRate <= 1e6) { // NaN is neither
		return nil, bad("push-rate", "must be above 0 and at most 1000000")
	}
	if strings.ContainsFunc(
		o.CertHeader,
		func(c rune) bool { return c <= ' ' || c >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, c) },
	) {
		return nil, bad("cert-header", "%q cannot be the name of a header", o.CertHeader)
	}
	if o.AdminToken != "" && len(o.AdminToken) < 16 {
		return nil, bad("admin-token", "must have at least 16 characters")
	}
	return s, nil
}

// baseURL reads --url, and brings it to the one form that others compare and add paths to.
func baseURL(text string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSuffix(text, "/"))
	switch {
	case strings.Contains(text, "@"): // which is not repeated: it may be a password
		return nil, errors.New("must not carry a user or password")
	case err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.Path != "":
		return nil, fmt.Errorf("%q is not http://HOST or https://HOST, without a path", text)
	}
	if n, err := strconv.Atoi(u.Port()); strings.HasSuffix(u.Host, ":") || u.Port() != "" && (err != nil || n < 1 || n > 65535) {
		return nil, fmt.Errorf("%q has no port from 1 to 65535", text)
	}
	return &url.URL{Scheme: u.Scheme, Host: strings.ToLower(u.Host)}, nil
}

// span reads a duration such as 90d or 12h.
func span(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.Atoi(days)
		if err != nil || n < 1 || n > 36500 {
			return 0, fmt.Errorf("%q is not a number of days from 1d to 36500d", s)
		}
		return time.Duration(n) * 24 * time.Hour, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%q is not a duration such as 90d or 12h", s)
	}
	return d, nil
}

// readDeviceCAs reads the files of --device-ca and --machine-ca.
func (s *settings) readDeviceCAs() error {
	for _, path := range s.DeviceCA {
		certs, err := readCertificates(path)
		if err != nil {
			return fmt.Errorf("--device-ca: %w", err)
		}
		s.deviceCAs = append(s.deviceCAs, certs...)
	}
	if s.MachineCA == "" {
		return nil
	}
	var err error
	if s.machineCAs, err = readCertificates(s.MachineCA); err != nil {
		return fmt.Errorf("--machine-ca: %w", err)
	}
	return nil
}

func readCertificates(path string) ([]*x509.Certificate, error) {
	rest, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var certs []*x509.Certificate
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return nil, fmt.Errorf("%s holds no certificate in PEM", path)
	}
	return certs, nil
}

func (s *settings) logger(w *os.File) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(s.LogLevel)); err != nil {
		level = slog.LevelInfo
	}
	o := &slog.HandlerOptions{Level: level}
	if s.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}
