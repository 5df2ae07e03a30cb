package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"time"

	"plimsoll/server/companion"
	"plimsoll/server/fleet"
	"plimsoll/server/mdm"
	"plimsoll/server/mdm/commandlog"
	"plimsoll/server/metrics"
	"plimsoll/storage/nano"
)

// macSide is what the process serves to Macs, and to those who queue commands for them.
type macSide struct {
	routes                  map[string]http.Handler
	push, enqueue, pushCert http.Handler // nil beside another MDM server
	counts                  []metrics.Count
}

// reach says in the fleet's options how Macs are reached: by this server's own MDM, or by that of another one.
func (s *Server) reach(o *fleet.Options, store *nano.Store) (err error) {
	if s.MDMURL != "" {
		if s.beside, err = s.newBeside(s.db); err != nil {
			return err
		}
		o.Notifier, o.Companion, o.Queued = s.beside.notifier, true, s.beside.notifier.Queued
		o.Commands = companion.CommandLog{Notifier: s.beside.notifier}
		return nil
	}
	if s.notifier, err = mdm.NewNotifier(mdm.NotifierOptions{Store: store, Log: s.log}); err != nil {
		return fmt.Errorf("prepare pushing: %w", err)
	}
	o.Notifier, o.Commands = s.notifier, commandlog.New(store)
	o.SweepResults = func(ctx context.Context, id string, before time.Time) error {
		_, err := store.SweepResults(ctx, id, before)
		return err
	}
	o.Push = &fleet.PushSource{Certificates: s.notifier.Certificates, TopicOf: s.notifier.TopicOf}
	o.Identities = &fleet.Identities{Further: s.deviceCAs, DeviceOf: s.notifier.DeviceOf}
	if s.Data != "" {
		o.Identities.CA, err = replacedCA(s.Data)
	}
	return err
}

// macSide makes it, once there is a fleet.
func (s *Server) macSide(ctx context.Context) (macSide, error) {
	if s.beside != nil {
		return macSide{counts: besideCounts(s.beside.notifier.Counters())}, s.beside.open(ctx, s)
	}
	macs, err := s.mdmServer(s.notifier)
	if err != nil {
		return macSide{}, err
	}
	return macSide{
		routes: map[string]http.Handler{"/mdm": macs.MDM(), "/scep": macs.SCEP(), "/enroll": macs.Enroll()},
		push:   macs.PushHandler(), enqueue: macs.EnqueueHandler(), pushCert: macs.PushCertHandler(), counts: counts(macs.Counters()),
	}, nil
}

// mdmServer makes the MDM server.
func (s *Server) mdmServer(notifier *mdm.Notifier) (*mdm.Server, error) {
	o := mdm.Options{
		Fleet: s.fleet, Notifier: notifier, Log: s.log, URL: s.URL, CertHeader: s.CertHeader, MachineCAs: s.machineCAs,
		ListenLoopback: isLoopback(s.listener.Addr().String()), Enter: make(slots, inFlightMacs).enter,
	}
	if s.ProfileIdentity != "" {
		pair, err := tls.LoadX509KeyPair(s.ProfileIdentity, s.ProfileIdentity)
		if err != nil {
			return nil, fmt.Errorf("--profile-identity: %w", err)
		}
		if pair.Leaf, err = x509.ParseCertificate(pair.Certificate[0]); err != nil {
			return nil, fmt.Errorf("--profile-identity: %w", err)
		}
		o.ProfileIdentity = &pair
	}
	return mdm.New(o)
}
