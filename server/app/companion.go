package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"plimsoll/server/companion"
	"plimsoll/server/fleet"
	"plimsoll/server/metrics"
	"plimsoll/storage"
)

// CompanionOptions are the flags of serve beside an existing NanoMDM (rules 16). The tags are kong's.
type CompanionOptions struct {
	MDMURL string `env:"PLIMSOLL_MDM_URL" help:"Base URL of the NanoMDM to stand beside." name:"mdm-url"`

	MDMKey string `env:"PLIMSOLL_MDM_KEY" help:"Key of that NanoMDM's API (its -api)." name:"mdm-key" secret:""`

	DMListen string `env:"PLIMSOLL_DM_LISTEN" help:"Address for NanoMDM's -dm and -webhook-url." name:"dm-listen"`

	DMSecret string `env:"PLIMSOLL_DM_SECRET" help:"Password in NanoMDM's -dm." name:"dm-secret" secret:""`

	MDMWebhookSecret string `env:"PLIMSOLL_MDM_WEBHOOK_SECRET" help:"Password of its webhook." name:"mdm-webhook-secret" secret:""`

	DMHMACKey string `env:"PLIMSOLL_DM_HMAC_KEY" help:"NanoMDM's -dm-send- and -recv-hmac-key." name:"dm-hmac-key" secret:""`

	MDMWebhookHMACKey string `env:"PLIMSOLL_MDM_WEBHOOK_HMAC_KEY" help:"Key of its webhook." name:"mdm-webhook-hmac-key" secret:""`
}

const dmListen = "127.0.0.1:8081"

// checkCompanion reads the flags of companion mode; every fault is a *BadOption.
func (s *settings) checkCompanion() error {
	c := &s.CompanionOptions
	if c.MDMURL == "" {
		return s.onlyBeside()
	}
	u, err := url.Parse(strings.TrimSuffix(c.MDMURL, "/"))
	switch {
	case strings.Contains(c.MDMURL, "@"): // which is not repeated: it may be a password
		return bad("mdm-url", "must not carry a user or password; the key belongs in --mdm-key")
	case err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https",
		u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return bad("mdm-url", "%q is not http://HOST or https://HOST, optionally with a path", c.MDMURL)
	case c.MDMKey == "":
		return bad("mdm-key", "is needed beside --mdm-url: the key of NanoMDM's API")
	}
	c.MDMURL = u.String()
	for _, f := range []struct{ flag, value string }{{"dm-secret", c.DMSecret}, {"mdm-webhook-secret", c.MDMWebhookSecret}} {
		if len(f.value) < companion.MinSecret {
			return bad(f.flag, "must have at least %d characters beside --mdm-url", companion.MinSecret)
		}
	}
	if c.DMSecret == c.MDMWebhookSecret {
		return bad("mdm-webhook-secret", "must differ from --dm-secret: Macs choose what NanoMDM sends with that one")
	}
	if c.DMListen == "" {
		c.DMListen = dmListen
	}
	if _, _, err := net.SplitHostPort(c.DMListen); err != nil {
		return bad("dm-listen", "%q is not HOST:PORT", c.DMListen)
	}
	for _, f := range []struct {
		flag string
		set  bool
	}{
		{"device-ca", len(s.DeviceCA) > 0},
		{"cert-header", s.CertHeader != ""},
		{"data", s.Data != ""},
		{"profile-identity", s.ProfileIdentity != ""},
	} {
		if f.set {
			return bad(f.flag, "has no meaning beside --mdm-url: the Macs enrol with the other server")
		}
	}
	return nil
}

// onlyBeside refuses the flags of companion mode without --mdm-url.
func (s *settings) onlyBeside() error {
	c := &s.CompanionOptions
	for _, f := range []struct{ flag, value string }{
		{"mdm-key", c.MDMKey},
		{"dm-listen", c.DMListen},
		{"dm-secret", c.DMSecret},
		{"mdm-webhook-secret", c.MDMWebhookSecret},
		{"dm-hmac-key", c.DMHMACKey},
		{"mdm-webhook-hmac-key", c.MDMWebhookHMACKey},
	} {
		if f.value != "" {
			return bad(f.flag, "has a meaning beside --mdm-url only")
		}
	}
	return nil
}

// beside is this process beside another MDM server.
type beside struct {
	notifier *companion.Notifier
	listener net.Listener
	http     *http.Server
}

func (s *Server) newBeside(db storage.DB) (*beside, error) {
	n, err := companion.NewNotifier(companion.NotifierOptions{DB: db, URL: s.MDMURL, Key: s.MDMKey, Log: s.log})
	if err != nil {
		return nil, err
	}
	b := &beside{notifier: n}
	if b.listener, err = net.Listen("tcp", s.DMListen); err != nil {
		return nil, fmt.Errorf("listen on %s: %w", s.DMListen, err)
	}
	return b, nil
}

// open makes the listener's server. It serves plain HTTP; TLS is a proxy's.
func (b *beside) open(ctx context.Context, s *Server) error {
	if err := b.notifier.Resume(ctx, s.fleet.MacIDs()); err != nil {
		return err
	}
	l, err := companion.New(companion.Options{
		Fleet: s.fleet, Notifier: b.notifier, Log: s.log, Secret: s.DMSecret, WebhookSecret: s.MDMWebhookSecret,
		Key: s.DMHMACKey, WebhookKey: s.MDMWebhookHMACKey, Enter: make(slots, inFlightMacs).enter,
	})
	if err != nil {
		return err
	}
	b.http = &http.Server{
		Handler: l, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: readTime, WriteTimeout: 2 * macTime, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	return nil
}

// run serves until ctx ends; then what is in flight is finished.
func (b *beside) run(ctx context.Context) error {
	context.AfterFunc(ctx, func() {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
		defer cancel()
		if b.http.Shutdown(stop) != nil {
			_ = b.http.Close()
		}
	})
	go b.notifier.Run(ctx)
	if err := b.http.Serve(b.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the MDM server: %w", err)
	}
	return nil
}

func (b *beside) close() {
	b.notifier.Close()
	if b.listener != nil {
		_ = b.listener.Close()
	}
}

// DMAddr is the address of the listener for another MDM server; empty when there is none.
func (s *Server) DMAddr() string {
	if s.beside == nil {
		return ""
	}
	return s.beside.listener.Addr().String()
}

// flags prints the two flags with which NanoMDM finds this server; the secrets are not printed.
func (b *beside) flags(out io.Writer) {
	addr := b.listener.Addr().String()
	_, _ = fmt.Fprintf(out, `Beside NanoMDM: give it these two flags, with --dm-secret and --mdm-webhook-secret in place of SECRET:
  -dm 'http://plimsoll:SECRET@%s/dm/'
  -webhook-url 'http://plimsoll:SECRET@%s/webhook'
`, addr, addr)
}

// besideCounts are the counters of companion mode, for /metrics.
func besideCounts(c *companion.Counters) []metrics.Count {
	const (
		requests = "Requests of declarative management from the other MDM server: served, refused, not found, failed."
		events   = "Events of the other MDM server: taken, dropped as old, odd, refused, failed."
		commands = "Commands given to the other MDM server: queued, failed."
		answers  = "Answers of Macs to commands that were not awaited."
		pushes   = "Pushes that the other MDM server was asked for: made, failed."
	)
	return []metrics.Count{
		{Name: "dm_requests_total", Help: requests, Result: "served", Of: &c.Requests},
		{Name: "dm_requests_total", Help: requests, Result: "refused", Of: &c.Refused},
		{Name: "dm_requests_total", Help: requests, Result: "not_found", Of: &c.Missing},
		{Name: "dm_requests_total", Help: requests, Result: "failed", Of: &c.Failed},
		{Name: "mdm_events_total", Help: events, Result: "taken", Of: &c.Events},
		{Name: "mdm_events_total", Help: events, Result: "dropped", Of: &c.Dropped},
		{Name: "mdm_events_total", Help: events, Result: "odd", Of: &c.Odd},
		{Name: "mdm_events_total", Help: events, Result: "refused", Of: &c.EventsRefused},
		{Name: "mdm_events_total", Help: events, Result: "failed", Of: &c.EventsFailed},
		{Name: "mdm_unawaited_answers_total", Help: answers, Result: "odd", Of: &c.Unawaited},
		{Name: "mdm_commands_total", Help: commands, Result: "queued", Of: &c.Commands},
		{Name: "mdm_commands_total", Help: commands, Result: "failed", Of: &c.CommandsFailed},
		{Name: "mdm_pushes_total", Help: pushes, Result: "made", Of: &c.Pushes},
		{Name: "mdm_pushes_total", Help: pushes, Result: "failed", Of: &c.PushesFailed},
	}
}

var _ fleet.Notifier = (*companion.Notifier)(nil)
