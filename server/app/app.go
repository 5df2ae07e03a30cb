package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"plimsoll/server/api"
	"plimsoll/server/feed"
	"plimsoll/server/fleet"
	"plimsoll/server/mdm"
	"plimsoll/server/web"
	"plimsoll/storage"
	"plimsoll/storage/nano"
)

// stopTime is how long requests in flight may take after a stop was asked for.
const stopTime = 10 * time.Second

// Server is one running process.
type Server struct {
	*settings
	log      *slog.Logger
	db       storage.DB
	fleet    *fleet.Fleet
	notifier *mdm.Notifier // nil beside another MDM server
	beside   *beside       // nil: this server is the Macs' MDM
	listener net.Listener
	http     *http.Server
	token    string // the generated admin token, if one was
	version  string
	// stopping ends event streams, which would last for ever, when a stop is asked for.
	stopping context.Context
	stop     context.CancelFunc
	// unfinished: requests may still be under way, so that the other replicas have to wait until they are not.
	unfinished bool
}

// Serve starts a server, tells on out what to do next, and runs it until ctx ends. A *BadOption is a wrong flag or value;
// another error, a start that failed.
func Serve(ctx context.Context, o Options, version string, out io.Writer) error {
	s, err := Start(ctx, o, version)
	if err != nil {
		return err
	}
	s.welcome(out)
	return s.Run(ctx)
}

// Start opens the store, reads what there is, and listens; Run must follow.
func Start(ctx context.Context, o Options, version string) (_ *Server, err error) {
	s, err := o.check()
	if err != nil {
		return nil, err
	}
	if err := s.checkCompanion(); err != nil {
		return nil, err
	}
	srv := &Server{settings: s, log: s.logger(os.Stderr), version: version}
	srv.stopping, srv.stop = context.WithCancel(context.WithoutCancel(ctx))
	defer func() {
		if err != nil {
			srv.close()
		}
	}()
	if err := s.readDeviceCAs(); err != nil {
		return nil, err
	}
	if srv.listener, err = net.Listen("tcp", o.Listen); err != nil {
		return nil, fmt.Errorf("listen on %s: %w", o.Listen, err)
	}
	if o.URL == "" { // port 0 is known only now
		_, port, _ := net.SplitHostPort(srv.listener.Addr().String())
		s.url.Host = net.JoinHostPort(s.url.Hostname(), port)
		s.URL = s.url.String()
	}
	alone := strings.HasPrefix(o.Store, "bolt:")
	if srv.db, err = OpenStore(ctx, o.Store); err != nil {
		return nil, err
	}
	handler, err := srv.assemble(ctx, alone)
	if err != nil {
		return nil, err
	}
	// Last: it is printed once, so a start that fails must not have made it.
	if srv.token, err = srv.fleet.FirstToken(ctx); err != nil {
		return nil, fmt.Errorf("make the first admin token: %w", err)
	}
	srv.http = &http.Server{
		Handler: handler, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: readTime, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 64 << 10,
		ErrorLog:       slog.NewLogLogger(srv.log.Handler(), slog.LevelDebug),
	}
	return srv, nil
}

// assemble wires the packages together.
func (s *Server) assemble(ctx context.Context, alone bool) (http.Handler, error) {
	store := storage.New(s.db)
	nanoStore := nano.New(s.db)
	o := fleet.Options{
		Store: store, Log: s.log, Zone: s.zone, URL: s.URL, AdminToken: s.AdminToken, PushRate: s.PushRate,
		KeepReports: s.KeepReports, KeepEvents: s.keepEvents, KeepHistory: s.keepHistory, KeepPatching: s.keepPatching, Alone: alone,
		MaxExemption: s.maxExemption,
	}
	err := s.reach(&o, nanoStore)
	if err != nil {
		return nil, err
	}
	if s.Catalog != "none" {
		if o.Catalogue, err = sourceOf(s.Catalog); err != nil {
			return nil, source("catalog", err)
		}
	}
	if s.Exploited != "" {
		if o.Exploited, err = sourceOf(s.Exploited); err != nil {
			return nil, source("exploited", err)
		}
	}
	if s.fleet, err = fleet.New(o); err != nil {
		return nil, err
	}
	if err := s.fleet.Start(ctx); err != nil {
		return nil, err
	}
	macs, err := s.macSide(ctx)
	if err != nil {
		return nil, err
	}
	logins := api.NewLogins(s.fleet, time.Now)
	pages, err := web.New(web.Options{
		Fleet: s.fleet, Log: s.log, Version: s.version, URL: s.URL, Zone: s.zone, AdminToken: s.AdminToken, Identify: logins.Identify,
		Store: redact(s.Store), MDM: s.MDMURL,
	})
	if err != nil {
		return nil, fmt.Errorf("prepare the dashboard: %w", err)
	}
	others := make(slots, inFlight)
	rest := api.New(api.Options{
		Enter: others.enter, Counts: macs.counts,
		Fleet: s.fleet, Log: s.log, Version: s.version, Logins: logins,
		Push: macs.push, Enqueue: macs.enqueue, PushCert: macs.pushCert, BackupTo: s.backupTo,
	})
	context.AfterFunc(s.stopping, rest.Close)
	mux := http.NewServeMux()
	for p, h := range macs.routes {
		mux.Handle(p, rest.Measure(p, h))
	}
	for _, p := range []string{"/v1/", "/healthz", "/readyz", "/version", "/openapi.json", "/schemas/", "/metrics"} {
		mux.Handle(p, rest.Handler())
	}
	for _, p := range pages.Patterns() {
		mux.Handle(p, pages.Handler())
	}
	return limitInFlight(others, s.endStreams(mux)), nil
}

// source tells a file that cannot be read, which is a start that fails, from a value that makes no sense.
func source(flag string, err error) error {
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("--%s: %w", flag, err)
	}
	return bad(flag, "%w", err)
}

func sourceOf(spec string) (fleet.Source, error) {
	src, err := feed.New(spec, feed.Options{})
	if err != nil {
		return fleet.Source{}, err
	}
	return fleet.Source{
		Name: src.String(),
		URL:  src.IsURL(),
		Fetch: func(ctx context.Context, prev fleet.Validators) ([]byte, fleet.Validators, bool, error) {
			body, v, same, err := src.Fetch(ctx, feed.Validators(prev))
			if errors.Is(err, feed.ErrContent) {
				err = &fleet.UnusableFeed{Err: err}
			}
			return body, fleet.Validators(v), same, err
		},
	}, nil
}

// replacedCA reads the CA that stands in for the generated one; nil when the folder has none.
func replacedCA(folder string) (*fleet.CA, error) {
	if info, err := os.Stat(folder); err != nil {
		return nil, fmt.Errorf("--data: %w", err)
	} else if !info.IsDir() {
		return nil, fmt.Errorf("--data: %s is not a folder", folder)
	}
	cert, err := os.ReadFile(filepath.Join(folder, "ca.pem"))
	missing := errors.Is(err, os.ErrNotExist)
	if err != nil && !missing {
		return nil, fmt.Errorf("--data: %w", err)
	}
	key, err := os.ReadFile(filepath.Join(folder, "ca.key"))
	switch {
	case missing && errors.Is(err, os.ErrNotExist):
		return nil, nil
	case missing:
		return nil, fmt.Errorf("--data: %s has a ca.key, but no ca.pem", folder)
	case err != nil:
		return nil, fmt.Errorf("--data: ca.pem needs its key: %w", err)
	}
	ca, err := fleet.ParseCA(append(append(cert, '\n'), key...))
	if err != nil {
		return nil, fmt.Errorf("--data: %w", err)
	}
	return ca, nil
}

// isLoopback tells whether HOST or HOST:PORT is this machine only.
func isLoopback(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// Addr is the address that is listened on.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// BaseURL is the base URL that Macs and browsers use.
func (s *Server) BaseURL() string { return s.URL }

// Token is the admin token that was generated at this start; empty when there was one already.
func (s *Server) Token() string { return s.token }

// Run serves until ctx ends: then it stops accepting, finishes what is in flight (10 s), and closes the store.
func (s *Server) Run(ctx context.Context) error {
	defer s.close()
	loops, stopLoops := context.WithCancel(context.WithoutCancel(ctx))
	defer stopLoops()
	var g errgroup.Group
	ended := make(chan struct{})
	g.Go(func() error { defer close(ended); return s.fleet.Run(loops) })
	g.Go(func() error { paceGC(loops); return nil })
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(s.listener) }()
	if s.beside != nil {
		g.Go(func() error { return s.beside.run(loops) })
	}
	var err error
	select {
	case <-ended: // the store is not one to run on any more: nothing in flight may be finished
		s.unfinished = true
		s.stop()
		_ = s.http.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			s.log.Warn("the listener did not end as asked", "error", err)
		}
	case <-ctx.Done():
		s.log.Info("stopping: finishing what is in flight")
		s.stop()
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
		if e := s.http.Shutdown(stop); e != nil {
			s.unfinished = true
			s.log.Warn("requests were still in flight when the time to stop was over", "error", e)
			_ = s.http.Close()
		}
		cancel()
		if e := <-served; !errors.Is(e, http.ErrServerClosed) {
			err = fmt.Errorf("serve: %w", e)
		}
	case err = <-served:
		err = fmt.Errorf("serve: %w", err)
	}
	stopLoops()
	return errors.Join(err, g.Wait())
}

func (s *Server) close() {
	s.stop()
	if s.notifier != nil {
		s.notifier.Close()
	}
	if s.beside != nil {
		s.beside.close()
	}
	if s.listener != nil {
		_ = s.listener.Close()
	}
	if s.fleet != nil && !s.unfinished {
		s.fleet.Close()
	}
	if s.db != nil {
		if err := s.db.Close(); err != nil {
			s.log.Error("the store could not be closed", "error", err)
		}
	}
}

// welcome prints where the dashboard is, the admin token if one was made, and the next command to try.
func (s *Server) welcome(out io.Writer) {
	var b strings.Builder
	fmt.Fprintf(&b, "Plimsoll %s serves at %s\n", s.version, s.URL)
	fmt.Fprintf(&b, "  dashboard    %s/\n", s.URL)
	fmt.Fprintf(&b, "  store        %s\n", redact(s.Store))
	if s.token != "" {
		fmt.Fprintf(&b, "  admin token  %s   (shown once; only its hash is kept)\n", s.token)
		fmt.Fprintf(&b, "Next, in another terminal:\n  export TOKEN=%s\n", s.token)
	} else {
		fmt.Fprint(&b, "  admin token  the one that you have already\nNext, in another terminal:\n")
	}
	if s.beside != nil {
		s.beside.flags(&b)
	} else if isLoopback(s.listener.Addr().String()) && isLoopback(s.url.Host) {
		line := "  go run ./examples/macs -n 25 -speed 20" // the README's
		if s.URL != "http://127.0.0.1:8080" {
			line += " -url " + s.URL
		}
		fmt.Fprintln(&b, line)
	} else {
		fmt.Fprintf(&b, "  curl -X POST %s/v1/enrollment-codes -H \"Authorization: Bearer $TOKEN\" -d '{\"label\": \"first Macs\"}'\n", s.URL)
	}
	_, _ = io.WriteString(out, b.String())
}
